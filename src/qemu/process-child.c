#include "qemu/process-child.h"

#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

extern char **environ;

/* What the child has of its own: descriptors that were moved above every target, and paths to look at. */
struct child {
        const struct process_spec *spec;
        struct process_pipes pipes;
        int base;    /* one above the highest target */
        int *moved;  /* owned: of spec->fds */
        char **real; /* owned: of spec->reach, NULL for what does not exist */
};

static _noreturn_ void fail(const struct child *c, const struct error *err) {
        char line[PIPE_BUF];
        int n = snprintf(line, sizeof(line), "%d %s\n", -err->code, error_text(err));

        /* One write of at most PIPE_BUF bytes goes in whole; when nobody reads, nobody wants to know. */
        (void) !write(c->pipes.report_fd, line, MIN((size_t) n, sizeof(line) - 1));
        _exit(EXIT_FAILURE);
}

void process_reset_signals(void) {
        sigset_t none;

        for (int sig = 1; sig < NSIG; sig++) /* SIGKILL, SIGSTOP and libc's own refuse */
                (void) signal(sig, SIG_DFL);
        sigemptyset(&none);
        (void) sigprocmask(SIG_SETMASK, &none, NULL);
}

static int compare_fds(const void *a, const void *b) {
        return *(const int *) a - *(const int *) b;
}

/* Moves a descriptor out of the way of the targets. */
static int move_up(const struct child *c, int fd, int *ret, struct error *err) {
        int up = fcntl(fd, F_DUPFD_CLOEXEC, c->base);

        if (up < 0)
                return error_errno(err, errno, "cannot copy descriptor %d", fd);
        *ret = up;
        return 0;
}

static int close_rest(const struct child *c, struct error *err) {
        size_t n = c->spec->n_fds + 2;
        _cleanup_free_ int *keep = xcalloc(n, sizeof(*keep));
        unsigned from = 0;

        memcpy(keep, c->moved, c->spec->n_fds * sizeof(*keep));
        keep[n - 2] = c->pipes.hold_fd;
        keep[n - 1] = c->pipes.report_fd;
        qsort(keep, n, sizeof(*keep), compare_fds);
        for (size_t i = 0; i < n; i++) {
                if ((unsigned) keep[i] > from && close_range(from, (unsigned) keep[i] - 1, 0) < 0)
                        return error_errno(err, errno, "cannot close descriptors");
                from = (unsigned) keep[i] + 1;
        }
        if (close_range(from, UINT_MAX, 0) < 0)
                return error_errno(err, errno, "cannot close descriptors");
        /* Until the log is there; 0 stays this. */
        if (open("/dev/null", O_RDWR) != 0 || dup2(0, 1) < 0 || dup2(0, 2) < 0)
                return error_errno(err, errno, "cannot open /dev/null");
        return 0;
}

static int keep_descriptors(struct child *c, struct error *err) {
        const struct process_spec *spec = c->spec;
        int r = move_up(c, c->pipes.report_fd, &c->pipes.report_fd, err);

        if (r >= 0)
                r = move_up(c, c->pipes.hold_fd, &c->pipes.hold_fd, err);
        for (size_t i = 0; i < spec->n_fds && r >= 0; i++)
                r = move_up(c, spec->fds[i].fd, &c->moved[i], err);
        return r < 0 ? r : close_rest(c, err);
}

static void wait_for_release(const struct child *c) {
        char byte;
        ssize_t n;

        do
                n = read(c->pipes.hold_fd, &byte, 1);
        while (n < 0 && errno == EINTR);
        if (n != 1)
                _exit(EXIT_SUCCESS);
        close(c->pipes.hold_fd);
}

static int open_log(const struct process_spec *spec, struct error *err) {
        umask(0);
        int fd =
                open(spec->log_path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC, 0640);

        if (fd < 0)
                return error_errno(err, errno, "cannot open the log %s", spec->log_path);
        if (dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
                return error_errno(err, errno, "cannot use the log %s", spec->log_path);
        close(fd);
        return 0;
}

/* -- the way to a file, link by link ------------------------------------------------------------ */

enum { LINKS_MAX = 40 };

struct way {
        const struct process_spec *spec;
        struct stat beneath;
        int fd;      /* owned: how far we are */
        bool inside; /* below spec->beneath */
        char *rest;  /* owned: what is still to go */
        unsigned links;
};

static void way_done(struct way *w) {
        cleanup_closep(&w->fd);
        free(w->rest);
}

static int way_root(struct way *w) {
        cleanup_closep(&w->fd);
        w->inside = false;
        w->fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        return w->fd < 0 ? -errno : 0;
}

static int way_link(struct way *w, int link, const struct stat *st, const char *rest, struct error *err) {
        char target[PATH_MAX];
        ssize_t n = readlinkat(link, "", target, sizeof(target) - 1);

        if (w->spec->drop && st->st_uid == w->spec->uid && (w->spec->alone || w->inside))
                return error_set(err, -ELOOP,
                                 "a link on the way belongs to the VM itself, and is not followed");
        if (n < 0 || ++w->links > LINKS_MAX)
                return n < 0 ? -errno : -ELOOP;
        target[n] = '\0';
        char *joined = xasprintf("%s/%s", target, rest);
        free(w->rest);
        w->rest = joined;
        return *target == '/' ? way_root(w) : 0;
}

/* One component. 1: that was the last one. */
static int way_step(struct way *w, struct error *err) {
        char *name = w->rest + strspn(w->rest, "/"), *end = name + strcspn(name, "/");
        _cleanup_close_ int next = -1;
        struct stat st;

        if (!*name)
                return 1;
        _cleanup_free_ char *part = strndup(name, (size_t) (end - name)), *rest = xstrdup(end);
        next = openat(w->fd, part, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (next < 0 || fstat(next, &st) < 0)
                return -errno;
        if (S_ISLNK(st.st_mode))
                return way_link(w, next, &st, rest, err);
        w->inside = (w->inside && !str_eq(part, "..")) ||
                    (st.st_dev == w->beneath.st_dev && st.st_ino == w->beneath.st_ino);
        close(w->fd);
        w->fd = TAKE_FD(next);
        free(w->rest);
        w->rest = TAKE_PTR(rest);
        return 0;
}

/* Opened with O_NONBLOCK, so that a FIFO or a tape in the place of a disk does not hold us up. */
static int open_path(const struct process_spec *spec, const char *path, int flags, struct error *err) {
        _cleanup_(way_done) struct way w = { .spec = spec, .fd = -1, .rest = xstrdup(path) };
        char self[40];
        int r;

        if (*path != '/' || !spec->drop)
                r = open(path, flags);
        else {
                if (spec->beneath)
                        (void) stat(spec->beneath, &w.beneath);
                r = way_root(&w);
                while (r == 0)
                        r = way_step(&w, err);
                if (r < 0)
                        return r;
                snprintf(self, sizeof(self), "/proc/self/fd/%d", w.fd);
                r = open(self, flags);
        }
        return r < 0 ? -errno : r;
}

/* The descriptor at its number, without O_CLOEXEC. */
static int place(int fd, int target_fd, const char *path, struct error *err) {
        int r = fd == target_fd ? fcntl(fd, F_SETFD, 0) : dup2(fd, target_fd);

        if (r < 0)
                return error_errno(err, errno, "cannot hand over %s", path);
        if (fd != target_fd)
                close(fd);
        return 0;
}

static int open_file(const struct process_spec *spec, const struct process_file *file, struct error *err) {
        _cleanup_error_ struct error why = ERROR_INIT;
        int fd = open_path(spec, file->path, file->flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, &why);

        if (fd == -EBUSY && (file->flags & O_EXCL))
                return error_set(err, -EBUSY, "%s is in use by the host", file->path);
        if (fd == -EAGAIN)
                return error_set(err, -EBUSY, "%s is in use: another program holds a lease on it",
                                 file->path);
        if (fd < 0 && why.code)
                return error_set(err, fd, "cannot open the disk %s: %s", file->path, error_text(&why));
        if (fd < 0)
                return error_errno(err, fd, "cannot open the disk %s", file->path);
        if (!(file->flags & O_NONBLOCK)) {
                int flags = fcntl(fd, F_GETFL);

                if (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0)
                        return error_errno(err, errno, "cannot use the disk %s", file->path);
        }
        return place(fd, file->target_fd, file->path, err);
}

static int open_others(const struct process_file *file, struct error *err) {
        int fd = process_open_as(file->path, file->flags, file->as, err);

        return fd < 0 ? fd : place(fd, file->target_fd, file->path, err);
}

static int place_copy(const struct process_spec *spec, struct error *err) {
        if (!spec->copy.target_fd)
                return 0;
        int fd = process_copy(&spec->copy, spec->drop ? spec->uid : geteuid(), err);
        return fd < 0 ? fd : place(fd, spec->copy.target_fd, spec->copy.places[0], err);
}

static int place_descriptors(const struct child *c, struct error *err) {
        const struct process_spec *spec = c->spec;

        for (size_t i = 0; i < spec->n_fds; i++) {
                if (dup2(c->moved[i], spec->fds[i].target_fd) < 0)
                        return error_errno(err, errno, "cannot hand over descriptor %d",
                                           spec->fds[i].target_fd);
                close(c->moved[i]);
        }
        for (size_t i = 0; i < spec->n_files; i++) {
                const struct process_file *file = &spec->files[i];
                int r = file->flags & O_PATH ? open_others(file, err) : open_file(spec, file, err);
                if (r < 0)
                        return r;
        }
        return place_copy(spec, err);
}

static int set_memlock(const struct process_spec *spec, struct error *err) {
        rlim_t want = spec->memlock == UINT64_MAX ? RLIM_INFINITY : (rlim_t) spec->memlock;
        struct rlimit limit;

        if (spec->memlock == 0 || getrlimit(RLIMIT_MEMLOCK, &limit) < 0)
                return 0;
        if (limit.rlim_cur >= want && limit.rlim_max >= want)
                return 0;
        if (setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){ want, MAX(want, limit.rlim_max) }) == 0)
                return 0;
        int r = -errno;
        limit.rlim_cur = MIN(want, limit.rlim_max);
        (void) setrlimit(RLIMIT_MEMLOCK, &limit);
        if (!spec->memlock_required || limit.rlim_cur >= want)
                return 0;
        return error_set(err, r,
                         "the limit of locked memory is %llu KiB and cannot be raised to %llu KiB: %s (set "
                         "LimitMEMLOCK= of "
                         "the service that runs vored, or give it CAP_SYS_RESOURCE)",
                         (unsigned long long) limit.rlim_max / 1024, (unsigned long long) want / 1024,
                         strerror(-r));
}

static int enter_folder(const struct process_spec *spec, struct error *err) {
        const char *folder = spec->chdir ? spec->chdir : "/";

        umask(spec->umask);
        if (chdir(folder) < 0)
                return error_errno(err, errno, "cannot enter the folder %s", folder);
        return 0;
}

/* What does not exist with all rights is QEMU's to make, or to complain about. */
static void resolve_reach(struct child *c) {
        size_t n = 0;

        while (c->spec->reach && c->spec->reach[n])
                n++;
        c->real = xcalloc(n + 1, sizeof(*c->real));
        for (size_t i = 0; i < n; i++)
                c->real[i] = realpath(c->spec->reach[i], NULL);
}

static int check_reach(const struct child *c, struct error *err) {
        for (size_t i = 0; c->spec->reach && c->spec->reach[i]; i++) {
                int r = c->real[i] ? process_reach(c->spec->reach[i], c->real[i], err) : 0;
                if (r < 0)
                        return r;
        }
        return 0;
}

static int become(struct child *c, struct error *err) {
        const struct process_spec *spec = c->spec;

        resolve_reach(c);
        if (spec->drop) {
                int r = process_drop_groups(spec->gid, spec->more_gid, err);
                if (r >= 0)
                        r = process_drop_uid(spec->uid, err);
                if (r < 0)
                        return r;
        }
        /* The change of uid made us undumpable: nobody can ptrace us here, exec makes QEMU dumpable again for
         * its own uid. */
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                return error_errno(err, errno, "cannot give up new privileges");
        return check_reach(c, err);
}

char *const *process_minimal_environ(void) {
        static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        static char lang[] = "LANG=C.UTF-8", home[] = "HOME=/";
        static char *const minimal[] = { path, lang, home, NULL };

        return minimal;
}

/* All of it; the process is about to become another one. */
static char *const *whole_environ(const struct process_spec *spec) {
        char *const *base = spec->environ ? spec->environ : process_minimal_environ();
        size_t n = 0, more = 0;

        while (base[n])
                n++;
        while (spec->more && spec->more[more])
                more++;
        char **all = xcalloc(n + more + 1, sizeof(*all));
        memcpy(all, base, n * sizeof(*all));
        if (more)
                memcpy(all + n, spec->more, more * sizeof(*all));
        return all;
}

static int execute(const struct process_spec *spec, struct error *err) {
        execvpe(spec->argv[0], spec->argv, whole_environ(spec));
        return error_errno(err, errno, "cannot run %s", spec->argv[0]);
}

static int run(struct child *c, struct error *err) {
        int r = keep_descriptors(c, err);

        if (r < 0)
                return r;
        if (setsid() < 0)
                return error_errno(err, errno, "cannot make a session");
        wait_for_release(c);
        r = open_log(c->spec, err);
        if (r >= 0)
                r = place_descriptors(c, err);
        if (r >= 0)
                r = enter_folder(c->spec, err);
        if (r >= 0)
                r = set_memlock(c->spec, err);
        if (r >= 0)
                r = become(c, err);
        return r < 0 ? r : execute(c->spec, err);
}

static int highest_target(const struct process_spec *spec) {
        int highest = 2;

        for (size_t i = 0; i < spec->n_fds; i++)
                highest = MAX(highest, spec->fds[i].target_fd);
        for (size_t i = 0; i < spec->n_files; i++)
                highest = MAX(highest, spec->files[i].target_fd);
        return MAX(highest, spec->copy.target_fd);
}

_noreturn_ void process_child(const struct process_spec *spec, struct process_pipes pipes) {
        struct child c = { .spec = spec, .pipes = pipes, .base = highest_target(spec) + 1 };
        struct error err = ERROR_INIT;

        process_reset_signals();
        c.moved = xcalloc(spec->n_fds + 1, sizeof(*c.moved));
        (void) run(&c, &err);
        fail(&c, &err);
}
