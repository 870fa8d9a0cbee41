#include "qemu/process.h"

#include "base/file.h"
#include "base/str.h"
#include "qemu/process-child.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int make_pipes(int hold[2], int report[2], struct error *err) {
        /* A socket pair, as its writer can be told not to raise SIGPIPE. */
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, hold) < 0)
                return error_errno(err, errno, "cannot make a socket pair");
        if (pipe2(report, O_CLOEXEC) < 0)
                return error_errno(err, errno, "cannot make a pipe");
        if (fcntl(report[0], F_SETFL, O_NONBLOCK) < 0)
                return error_errno(err, errno, "cannot use a pipe");
        return 0;
}

/* All signals are blocked over the fork, so that no handler of ours runs in the child. */
static pid_t fork_child(const struct process_spec *spec, struct process_pipes pipes) {
        sigset_t all, old;

        sigfillset(&all);
        (void) sigprocmask(SIG_SETMASK, &all, &old);
        pid_t pid = fork();
        if (pid == 0)
                process_child(spec, pipes);
        int saved = errno;
        (void) sigprocmask(SIG_SETMASK, &old, NULL);
        errno = saved;
        return pid;
}

/* Until it is waited for, the child's number is its own: no other process can be meant. */
static int identify(struct process *p, struct error *err) {
        p->pidfd = pidfd_open(p->pid, 0);
        if (p->pidfd < 0)
                return error_errno(err, errno, "cannot watch process %d", (int) p->pid);
        int r = process_start_time(p->pid, &p->start_time);
        return r < 0 ? error_errno(err, r, "cannot read the start time of process %d", (int) p->pid) : 0;
}

int process_spawn(const struct process_spec *spec, struct process *ret, struct error *err) {
        _cleanup_(process_done) struct process p = PROCESS_INIT;
        int hold[2] = { -1, -1 }, report[2] = { -1, -1 };
        int r = make_pipes(hold, report, err);
        _cleanup_close_ int child_hold = hold[0], child_report = report[1];

        p.hold_fd = hold[1];
        p.report_fd = report[0];
        if (r < 0)
                return r;
        p.pid = fork_child(spec, (struct process_pipes){ .hold_fd = child_hold, .report_fd = child_report });
        if (p.pid < 0)
                return error_errno(err, errno, "cannot fork");
        r = identify(&p, err);
        if (r < 0) {
                (void) kill(p.pid, SIGKILL);
                (void) waitpid(p.pid, NULL, 0);
                return r;
        }
        *ret = p;
        p = PROCESS_INIT;
        return 0;
}

int process_release(struct process *p, struct error *err) {
        ssize_t n = send(p->hold_fd, "", 1, MSG_NOSIGNAL);
        int r = n == 1 ? 0 :
                         error_errno(err, errno, "process %d ended before it could run QEMU", (int) p->pid);

        cleanup_closep(&p->hold_fd);
        return r;
}

int process_report(struct process *p, struct error *err) {
        char line[PIPE_BUF + 1];
        ssize_t n = read(p->report_fd, line, PIPE_BUF);
        char *text;

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return 1;
        int r = n < 0 ? error_errno(err, errno, "cannot read what became of QEMU") : 0;
        cleanup_closep(&p->report_fd);
        if (n <= 0)
                return r;
        line[n] = '\0';
        line[strcspn(line, "\n")] = '\0';
        long code = strtol(line, &text, 10);
        return error_set(err, code > 0 && code < 4096 ? (int) code : EIO, "%s",
                         *text == ' ' ? text + 1 : text);
}

void process_done(struct process *p) {
        cleanup_closep(&p->pidfd);
        cleanup_closep(&p->hold_fd);
        cleanup_closep(&p->report_fd);
}

/* /proc/PID/stat from field 3 on, where words are words: field 2, the name, may hold spaces and parentheses
 * and ends at the last parenthesis. Owned by the caller; NULL: there is no such process. */
static char *stat_words(pid_t pid) {
        _cleanup_free_ char *text = NULL;
        char path[40];

        snprintf(path, sizeof(path), "/proc/%d/stat", (int) pid);
        if (file_read(AT_FDCWD, path, 4095, &text, NULL, NULL) < 0)
                return NULL;
        char *p = strrchr(text, ')');
        return p && p[1] == ' ' ? xstrdup(p + 2) : NULL;
}

int process_start_time(pid_t pid, uint64_t *ret) {
        _cleanup_free_ char *words = stat_words(pid);
        unsigned long long value;
        char *p = words;

        for (int field = 3; p && field < 22; field++) {
                p = strchr(p, ' ');
                p = p ? p + 1 : NULL;
        }
        if (!p || sscanf(p, "%llu", &value) != 1)
                return -ESRCH;
        *ret = value;
        return 0;
}

bool process_dying(pid_t pid) {
        _cleanup_free_ char *words = stat_words(pid);

        return !words || *words == 'Z' || *words == 'X';
}

int process_open(pid_t pid, uint64_t start_time, int *ret_pidfd, struct error *err) {
        _cleanup_close_ int fd = pidfd_open(pid, 0);
        uint64_t now;

        if (fd < 0 && errno != ESRCH && errno != EINVAL)
                return error_errno(err, errno, "cannot watch process %d", (int) pid);
        /* Looked at after the pidfd was opened: if it is right now, the pidfd is of the right process. */
        if (fd < 0 || process_start_time(pid, &now) < 0 || now != start_time)
                return error_set(err, -ESRCH, "process %d has ended", (int) pid);
        *ret_pidfd = TAKE_FD(fd);
        return 0;
}

int process_kill(int pidfd, int sig) {
        return pidfd_send_signal(pidfd, sig, NULL, 0) < 0 ? -errno : 0;
}
