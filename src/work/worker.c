#include "work/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"

static void child_close_descriptors(int report_fd) {
        int null_fd;

        if (report_fd > 3)
                (void) close_range(3, (unsigned) report_fd - 1, 0);
        (void) close_range((unsigned) report_fd + 1, ~0U, 0);
        null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (null_fd < 0) {
                (void) close_range(0, 1, 0);
                return;
        }
        (void) dup2(null_fd, STDIN_FILENO);
        (void) dup2(null_fd, STDOUT_FILENO);
        if (null_fd > STDERR_FILENO)
                (void) close(null_fd);
}

static void child_reset_signals(void) {
        sigset_t none;

        for (int sig = 1; sig < NSIG; sig++)
                (void) signal(sig, SIG_DFL); /* SIGKILL, SIGSTOP and libc's own refuse: as it should be */
        (void) sigemptyset(&none);
        (void) sigprocmask(SIG_SETMASK, &none, NULL);
}

static int child_report(int fd, int r, json_t *result, const struct error *error) {
        _cleanup_json_ json_t *message = json_object();
        _cleanup_free_ char *text = NULL;

        if (r < 0) {
                json_t *object = json_object();
                json_put_int(object, "code", r);
                json_put(object, "text", json_string_lossy(error->text ? error->text : strerror(-r)));
                json_put(message, "error", object);
        } else
                json_put(message, "result", result ? json_incref(result) : json_null());
        text = json_text(message);
        return text ? file_write_all(fd, text, strlen(text)) : -ENOMEM;
}

_noreturn_ static void child_main(int report_fd, pid_t parent, work_fn fn, void *arg) {
        struct error error = ERROR_INIT;
        json_t *result = NULL;
        int r;

        child_close_descriptors(report_fd);
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
                _exit(EXIT_FAILURE);
        child_reset_signals();
        r = fn(arg, report_fd, &result, &error);
        r = child_report(report_fd, r, result, &error);
        /* The reader need not wait until the kernel has taken this process apart, nor on the processor that
         * does so. */
        (void) close(report_fd);
        (void) sched_yield();
        _exit(r < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}

/* A pipe whose write end is no standard descriptor, even if the caller has closed those. */
static int report_pipe(int fds[static 2]) {
        int r, high;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        if (fds[1] > STDERR_FILENO)
                return 0;
        high = fcntl(fds[1], F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        r = -errno;
        (void) close(fds[1]);
        fds[1] = high;
        if (high >= 0)
                return 0;
        (void) close(fds[0]);
        return r;
}

int worker_spawn(struct worker *w, work_fn fn, void *arg, struct error *err) {
        _cleanup_close_ int read_fd = -1, write_fd = -1;
        int fds[2], r, pidfd;
        pid_t parent = getpid(), pid;
        sigset_t all, old;

        r = report_pipe(fds);
        if (r < 0)
                return error_errno(err, r, "cannot make a pipe");
        read_fd = fds[0];
        write_fd = fds[1];

        /* No handler of ours may run in the child before its dispositions are reset. */
        (void) sigfillset(&all);
        (void) sigprocmask(SIG_SETMASK, &all, &old);
        pid = fork();
        r = -errno;
        if (pid == 0)
                child_main(write_fd, parent, fn, arg);
        (void) sigprocmask(SIG_SETMASK, &old, NULL);
        if (pid < 0)
                return error_errno(err, r, "cannot fork a worker");

        pidfd = pidfd_open(pid, 0);
        r = -errno;
        if (pidfd < 0 || fcntl(read_fd, F_SETFL, O_NONBLOCK) < 0) {
                if (pidfd >= 0)
                        (void) close(pidfd);
                (void) kill(pid, SIGKILL);
                (void) waitpid(pid, NULL, 0);
                return error_errno(err, r, "cannot watch a worker");
        }
        *w = (struct worker){ .pid = pid, .pidfd = pidfd, .report_fd = TAKE_FD(read_fd) };
        return 0;
}

int worker_read(struct worker *w) {
        char buf[65536];

        while (w->report_fd >= 0 && !w->report_ended) {
                ssize_t n = read(w->report_fd, buf, sizeof(buf));
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return errno == EAGAIN ? 0 : -errno;
                if (n == 0) {
                        /* Not closed here: an event source may still watch it, and epoll keeps a descriptor
                         * that another fork holds as well. */
                        w->report_ended = true;
                        return 1;
                }
                if (w->report.len + (size_t) n > WORK_RESULT_MAX)
                        return -EFBIG;
                strbuf_addn(&w->report, buf, (size_t) n);
        }
        return 1;
}

static int report_parse(const struct worker *w, json_t **ret, struct error *err) {
        _cleanup_json_ json_t *message = NULL;
        json_t *error, *result;
        int r;

        r = json_parse(w->report.data, w->report.len, &message, err);
        if (r < 0)
                return error_set(err, -ECHILD, "its report was cut off");
        error = json_object_get(message, "error");
        if (error) {
                int64_t code = json_get_int(error, "code", -EPROTO);
                if (code == -ETIME)
                        code = -ETIMEDOUT;
                return error_set(err, code < 0 && code > -4096 ? (int) code : -EPROTO, "%s",
                                 json_get_str(error, "text", "unknown error"));
        }
        result = json_object_get(message, "result");
        if (!result)
                return error_set(err, -ECHILD, "its report holds no result");
        *ret = json_incref(result);
        return 0;
}

int worker_collect(struct worker *w, json_t **ret, struct error *err) {
        siginfo_t info = { 0 };
        int r;

        r = worker_read(w);
        if (r == -EFBIG)
                return error_set(err, r, "its result is larger than %d MiB", WORK_RESULT_MAX / 1024 / 1024);
        if (r < 0)
                return error_errno(err, r, "cannot read its report");
        if (w->report.len > 0)
                return report_parse(w, ret, err);
        if (waitid(P_PIDFD, (id_t) w->pidfd, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
                info.si_code = CLD_EXITED; /* reaped by somebody else */
        if (info.si_code == CLD_KILLED || info.si_code == CLD_DUMPED)
                return error_set(err, -ECHILD, "ended by signal %d (%s)", info.si_status,
                                 strsignal(info.si_status));
        return error_set(err, -ECHILD, "ended without a result (exit status %d)", info.si_status);
}

bool worker_reap(int pidfd) {
        siginfo_t info = { 0 };

        if (waitid(P_PIDFD, (id_t) pidfd, &info, WEXITED | WNOHANG) < 0)
                return errno == ECHILD;
        return info.si_pid != 0;
}

void worker_kill(const struct worker *w) {
        (void) pidfd_send_signal(w->pidfd, SIGKILL, NULL, 0);
}

void worker_done(struct worker *w) {
        cleanup_closep(&w->pidfd);
        cleanup_closep(&w->report_fd);
        strbuf_done(&w->report);
        *w = WORKER_INIT;
}

/* snprintf is not async-signal-safe: this is. */
static size_t raw_add(char *buf, size_t at, size_t size, const char *s) {
        while (*s && at < size)
                buf[at++] = *s++;
        return at;
}

static size_t raw_add_escaped(char *buf, size_t at, size_t size, const char *s) {
        static const char hex[] = "0123456789abcdef";

        for (; *s && at + 6 < size; s++) {
                unsigned char c = (unsigned char) *s;
                if (c >= 0x80) /* it may be cut or not UTF-8 */
                        buf[at++] = '?';
                else if (c >= 0x20 && c != '"' && c != '\\')
                        buf[at++] = (char) c;
                else {
                        at = raw_add(buf, at, size, "\\u00");
                        buf[at++] = hex[c >> 4];
                        buf[at++] = hex[c & 15];
                }
        }
        return at;
}

void work_report_raw(int report_fd, int code, const char *text) {
        char buf[4096], digits[16];
        size_t at, i = sizeof(digits) - 1;
        unsigned n = (unsigned) (code < 0 ? -code : code);

        digits[i] = '\0';
        do
                digits[--i] = (char) ('0' + n % 10);
        while (n /= 10);
        at = raw_add(buf, 0, sizeof(buf), "{\"error\":{\"code\":-");
        at = raw_add(buf, at, sizeof(buf), digits + i);
        at = raw_add(buf, at, sizeof(buf), ",\"text\":\"");
        at = raw_add_escaped(buf, at, sizeof(buf) - 8, text);
        at = raw_add(buf, at, sizeof(buf), "\"}}");
        for (size_t done = 0; done < at;) {
                ssize_t r = write(report_fd, buf + done, at - done);
                if (r < 0 && errno == EINTR)
                        continue;
                if (r <= 0)
                        return;
                done += (size_t) r;
        }
}
