/* The QEMU process: spawned held, recorded, released; watched by pidfd; its start time tells it from
 * another process with the same number. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <sys/types.h>

/* A file that the child opens, while it still has the daemon's rights, at exactly this number. */
struct process_file {
        int target_fd; /* >= 3 */
        const char *path;
        int flags; /* O_RDWR, O_RDONLY, O_EXCL for block devices, O_DIRECTORY, O_PATH … */
        uid_t as; /* with O_PATH: opened with the rights of this user, and refused unless it is this user's */
};

/* A secret of a user's, of which the child gets a copy: in memory, read-only, for nobody but who it becomes.
 */
struct process_copy {
        int target_fd; /* 0: none */
        uid_t as;      /* whose it is: read with this user's rights, and only a plain file of this user's */
        const char *const *places; /* the first that is there; none: the copy is empty */
        size_t n_places;
};

/* A descriptor of ours that the child gets at exactly this number. */
struct process_fd {
        int target_fd; /* >= 3 */
        int fd;        /* borrowed */
};

struct process_spec {
        char *const *argv;    /* argv[0]: path of the binary */
        const char *log_path; /* stdout and stderr, O_APPEND|O_CREAT 0640; not through a link */
        const struct process_file *files;
        size_t n_files;
        const struct process_fd *fds;
        size_t n_fds;
        struct process_copy copy;
        bool drop; /* take uid, gid, no groups, no capability; else stay who we are */
        uid_t uid;
        gid_t gid;
        gid_t more_gid;           /* one supplementary group; 0: none */
        const char *const *reach; /* paths of the arguments that uid must reach, NULL-terminated, or NULL: an
                                   * unreachable one is an error naming the component that blocks. What does
                                   * not exist for the daemon either is not looked at. Reachable: every folder
                                   * on the way may be entered; a socket may be written, a folder entered,
                                   * anything else read */
        /* Files are opened with the rights of who we are, and uid may put links on the way to them. None of
         * its own is followed in the folder beneath; and where uid is a machine's alone, none of its own at
         * all. */
        const char *beneath; /* NULL: none */
        bool alone;
        mode_t umask;
        const char *chdir; /* NULL: "/" */
        uint64_t memlock;  /* bytes; 0: leave; UINT64_MAX: infinity. As much as may be set is set */
        bool memlock_required;
        char *const *environ; /* NULL: a minimal one: PATH, LANG, HOME */
        char *const *more;    /* variables besides it, "NAME=VALUE", NULL-terminated; NULL: none */
};

/* A child that waits before it opens anything. */
struct process {
        pid_t pid;
        uint64_t start_time; /* field 22 of /proc/PID/stat, clock ticks since boot */
        int pidfd;           /* owned */
        int hold_fd;         /* owned: writing one byte lets it go, closing it makes it exit; -1 afterwards */
        int report_fd;       /* owned, non-blocking: EOF after exec; else one line of text: what failed */
};
#define PROCESS_INIT ((struct process){ .pid = -1, .pidfd = -1, .hold_fd = -1, .report_fd = -1 })

/* Forks the child, which closes every descriptor but those it needs, resets signals, setsid, and waits.
 * spec need not outlive the call. The caller waits for the child's end (waitid with the pidfd); after a
 * failure here there is none. */
int process_spawn(const struct process_spec *spec, struct process *ret, struct error *err);
/* Lets it go on: open files, umask, chdir, memlock, groups, capabilities, uid, reach check, exec. hold_fd is
 * closed in any case. -EPIPE: it has ended already. */
int process_release(struct process *p, struct error *err);
/* Reads report_fd when it is readable: 0 at EOF (exec succeeded, or the child was killed before: its pidfd
 * tells; report_fd closed), 1 if there is nothing to read yet, or the child's error, whichever it is, after
 * which it exits with status 1. */
int process_report(struct process *p, struct error *err);
void process_done(struct process *p); /* closes; does not kill */

/* Start time of pid, or -ESRCH. */
int process_start_time(pid_t pid, uint64_t *ret);
/* A pidfd for pid if its start time is still this one; else -ESRCH. */
int process_open(pid_t pid, uint64_t start_time, int *ret_pidfd, struct error *err);
/* Its end has begun (proc_pid_stat(5): state Z or X), though its pidfd tells of it only when the last of its
 * threads is gone: until then it may hold what the machine has. */
bool process_dying(pid_t pid);
/* -ESRCH when it has ended. */
int process_kill(int pidfd, int sig);

/* The last lines of a log from offset on, that say why QEMU ended: without time prefix and program name,
 * without the daemon's own lines ("TIME vored: …"), joined by "; ", at most 400 bytes; warnings only if there
 * is nothing else; NULL if there are none. Owned by the caller. */
char *process_last_words(const char *log_path, uint64_t offset);
char *process_last_words_fd(int fd, uint64_t offset); /* of an open regular file */
