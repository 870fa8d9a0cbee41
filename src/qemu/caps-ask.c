#include "qemu/caps-ask.h"

#include "base/clock.h"
#include "base/file.h"
#include "qemu/process-child.h"
#include "qemu/qmp-message.h"
#include "qemu/qmp.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HELP_MAX = 64 * 1024, WORDS_READ_MAX = 2048 };

/* Moves a descriptor above the numbers that are given out below: a worker may have 0, 1 and 2 closed, so that
 * anything can be there. */
static int move_up(int fd) {
        return fcntl(fd, F_DUPFD_CLOEXEC, 10);
}

/* In the child: out becomes stdout, words stderr, talk descriptor 3; -1 for none. */
static _noreturn_ void run_binary(char *const *argv, pid_t parent, int out, int words, int talk) {
        int null = move_up(open("/dev/null", O_RDWR | O_CLOEXEC));

        out = out >= 0 ? move_up(out) : null;
        words = move_up(words);
        talk = talk >= 0 ? move_up(talk) : null;
        process_reset_signals();
        /* It must not outlive a worker that is killed. */
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent &&
            prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && dup2(null, 0) >= 0 && dup2(out, 1) >= 0 &&
            dup2(words, 2) >= 0 && dup2(talk, 3) >= 0 && close_range(4, ~0U, 0) == 0) {
                execvpe(argv[0], argv, process_minimal_environ());
                dprintf(2, "cannot run %s: %s\n", argv[0], strerror(errno));
        }
        _exit(127);
}

static int fork_binary(char *const *argv, int out, int words, int talk, pid_t *ret, struct error *err) {
        pid_t parent = getpid(), pid = fork();

        if (pid < 0)
                return error_errno(err, errno, "cannot fork");
        if (pid == 0)
                run_binary(argv, parent, out, words, talk);
        *ret = pid;
        return 0;
}

static int timeout_of(uint64_t deadline_us) {
        uint64_t now = clock_monotonic_us();

        return now >= deadline_us ? 0 : (int) MIN((deadline_us - now + 999) / 1000, (uint64_t) 3600000);
}

static int late(struct error *err) {
        return error_set(err, -ETIMEDOUT, "it did not answer in time");
}

/* Adds what QEMU wrote on stderr to an error. */
static void with_words(const struct caps_qemu *q, struct error *err) {
        _cleanup_free_ char *words = err ? process_last_words_fd(q->words_fd, 0) : NULL, *what = NULL;

        if (!words)
                return;
        what = xstrdup(error_text(err));
        error_set(err, err->code, "%s; its last words: %s", what, words);
}

/* Waits for the socket, sends and receives what goes without waiting. */
static int pump(struct caps_qemu *q, const char **out, size_t *left, struct error *err) {
        struct pollfd p = { .fd = q->fd, .events = POLLIN | (*left ? POLLOUT : 0) };
        char buf[16384];
        int r = poll(&p, 1, timeout_of(q->deadline_us));

        if (r < 0 && errno != EINTR)
                return error_errno(err, errno, "cannot wait");
        if (r <= 0)
                return r < 0 ? 0 : late(err);
        if (p.revents & POLLOUT) {
                ssize_t n = send(q->fd, *out, *left, MSG_NOSIGNAL | MSG_DONTWAIT);

                *out += MAX(n, 0);
                *left -= (size_t) MAX(n, 0);
        }
        if (!(p.revents & (POLLIN | POLLHUP | POLLERR)))
                return 0;
        ssize_t n = recv(q->fd, buf, sizeof(buf), MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return 0;
        if (n <= 0)
                return error_set(err, -ECONNRESET, "it ended while it was asked");
        strbuf_addn(&q->in, buf, (size_t) n);
        if (q->in.len - q->start > QMP_LINE_MAX)
                return error_set(err, -EMSGSIZE, "it sent a line of more than 4 MiB");
        return 0;
}

/* 1 and a message, or 0 if no whole one is there. */
static int next_message(struct caps_qemu *q, json_t **ret, struct error *err) {
        const char *line = q->in.data ? q->in.data + q->start : NULL;
        const char *end = line ? memchr(line, '\n', q->in.len - q->start) : NULL;

        if (!end) {
                q->in.len -= q->start;
                if (q->start > 0)
                        memmove(q->in.data, line, q->in.len);
                q->start = 0;
                return 0;
        }
        q->start = (size_t) (end - q->in.data) + 1;
        int r = qmp_message_decode(line, (size_t) (end - line), ret, err);
        if (r < 0)
                error_prefix(err, "it does not speak QMP");
        return r < 0 ? r : 1;
}

int caps_qemu_ask(struct caps_qemu *q, const char *text, size_t n, caps_answer_fn fn, void *data,
                  size_t *ret_n, struct error *err) {
        size_t left = strlen(text), answered = 0;
        int r = 0;

        while (answered < n && r >= 0) {
                _cleanup_json_ json_t *message = NULL;

                r = next_message(q, &message, err);
                if (r == 0)
                        r = pump(q, &text, &left, err);
                else if (r > 0 && (json_object_get(message, "return") || json_object_get(message, "error")))
                        fn(answered++, json_object_get(message, "return"), data);
        }
        *ret_n = answered;
        return r < 0 ? r : 0;
}

static int read_greeting(struct caps_qemu *q, json_t **ret, struct error *err) {
        const char *nothing = "";
        size_t left = 0;
        int r;

        while ((r = next_message(q, ret, err)) == 0) {
                r = pump(q, &nothing, &left, err);
                if (r < 0)
                        return r;
        }
        return r;
}

static void note_refusal(size_t i, const json_t *answer, void *data) {
        *(bool *) data = answer != NULL;
}

static int negotiate(struct caps_qemu *q, json_t **ret_greeting, struct error *err) {
        _cleanup_json_ json_t *greeting = NULL;
        bool accepted = false;
        size_t n;
        int r = read_greeting(q, &greeting, err);

        if (r < 0)
                return r;
        if (!json_object_get(greeting, "QMP"))
                return error_set(err, -EBADMSG, "it does not begin with a QMP greeting");
        r = caps_qemu_ask(q, "{\"execute\":\"qmp_capabilities\"}\n", 1, note_refusal, &accepted, &n, err);
        if (r < 0)
                return r;
        if (!accepted)
                return error_set(err, -EPROTO, "it refused to talk QMP");
        if (ret_greeting)
                *ret_greeting = TAKE_PTR(greeting);
        return 0;
}

int caps_qemu_start(struct caps_qemu *q, const char *binary, uint64_t deadline_us, json_t **ret_greeting,
                    struct error *err) {
        const char *argv[] = { binary,     "-M",          "none", "-nodefaults", "-no-user-config",
                               "-display", "none",        "-S",   "-chardev",    "socket,id=qmp,fd=3",
                               "-qmp",     "chardev:qmp", NULL };
        int pair[2];

        *q = CAPS_QEMU_INIT;
        q->deadline_us = deadline_us;
        q->words_fd = memfd_create("qemu-stderr", MFD_CLOEXEC);
        if (q->words_fd < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
                return error_errno(err, errno, "cannot talk to %s", binary);
        q->fd = pair[0];
        int r = fork_binary((char *const *) argv, -1, q->words_fd, pair[1], &q->pid, err);
        close(pair[1]);
        if (r >= 0)
                r = negotiate(q, ret_greeting, err);
        if (r < 0)
                with_words(q, err);
        return r;
}

void caps_qemu_end(struct caps_qemu *q) {
        if (q->pid > 0) {
                (void) kill(q->pid, SIGKILL);
                (void) waitpid(q->pid, NULL, 0);
        }
        cleanup_closep(&q->fd);
        cleanup_closep(&q->words_fd);
        strbuf_done(&q->in);
        *q = CAPS_QEMU_INIT;
}

static int read_help(int fd, uint64_t deadline_us, struct strbuf *b, struct error *err) {
        char buf[4096];

        for (;;) {
                struct pollfd p = { .fd = fd, .events = POLLIN };
                int r = poll(&p, 1, timeout_of(deadline_us));
                ssize_t n = r > 0 ? read(fd, buf, sizeof(buf)) : -1;

                if (r == 0)
                        return late(err);
                if (n == 0)
                        return 0;
                if (n < 0 && errno != EINTR)
                        return error_errno(err, errno, "cannot read its output");
                if (n > 0)
                        strbuf_addn(b, buf, (size_t) n);
                if (b->len > HELP_MAX)
                        return error_set(err, -EMSGSIZE, "its output is longer than 64 KiB");
        }
}

int caps_qemu_help(const char *binary, const char *option, uint64_t deadline_us, char **ret,
                   struct error *err) {
        const char *argv[] = { binary, "-M", "none", option, "help", NULL };
        _cleanup_caps_qemu_ struct caps_qemu q = CAPS_QEMU_INIT;
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        int out[2];

        q.words_fd = memfd_create("qemu-stderr", MFD_CLOEXEC);
        if (q.words_fd < 0 || pipe2(out, O_CLOEXEC) < 0)
                return error_errno(err, errno, "cannot talk to %s", binary);
        q.fd = out[0];
        int r = fork_binary((char *const *) argv, out[1], q.words_fd, -1, &q.pid, err);
        close(out[1]);
        if (r >= 0)
                r = read_help(q.fd, deadline_us, &b, err);
        if (r < 0) {
                with_words(&q, err);
                return r;
        }
        *ret = strbuf_take(&b);
        return 0;
}
