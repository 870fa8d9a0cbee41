/* console: the connection becomes the VM's serial line. */
#include "base/file.h"
#include "base/str.h"
#include "vore/daemon.h"
#include "vore/errors.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

enum {
        LEAVE_KEY = 0x1d, /* Ctrl-] */
        /* After the end of the input the daemon shows what it has and closes the line. Should it not, silence
         * for that long or that much of a talkative guest is the end as well. */
        DRAIN_MS = 2000,
        DRAIN_MAX = 256 * 1024,
        CHUNK = 16 * 1024,
};

static const int ending[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGABRT, SIGSEGV, SIGBUS };
static struct termios cooked;
static volatile sig_atomic_t raw;

static void terminal_restore(void) {
        if (raw)
                tcsetattr(STDIN_FILENO, TCSADRAIN, &cooked);
        raw = 0;
}

/* tcsetattr is async-signal-safe; the signal then does what it does by itself. */
static void on_end(int signal_number) {
        if (raw)
                tcsetattr(STDIN_FILENO, TCSANOW, &cooked);
        raw = 0;
        raise(signal_number);
}

static int terminal_raw(void) {
        struct sigaction action = { .sa_handler = on_end, .sa_flags = SA_RESETHAND | SA_NODEFER };
        struct termios t;

        if (tcgetattr(STDIN_FILENO, &cooked) < 0)
                return -errno;
        for (size_t i = 0; i < ARRAY_SIZE(ending); i++)
                sigaction(ending[i], &action, NULL);
        t = cooked;
        cfmakeraw(&t);
        /* cfmakeraw stops output processing as well, which is right: the guest sends its own carriage
         * returns. */
        raw = 1;
        if (tcsetattr(STDIN_FILENO, TCSADRAIN, &t) < 0) {
                raw = 0;
                return -errno;
        }
        return 0;
}

struct line {
        int fd;        /* to the daemon */
        bool terminal; /* stdin is one */
        bool writer;
        bool input_open;
        bool lost;      /* input that nobody took */
        size_t drained; /* bytes that came after the end of the input */
};

/* What the user types. False: leave. */
static bool from_user(struct line *l) {
        char data[CHUNK];
        ssize_t n = read(STDIN_FILENO, data, sizeof(data));
        char *leave;
        bool stay;

        if (n < 0 && (errno == EINTR || errno == EAGAIN))
                return true;
        if (n <= 0) {
                l->input_open = false;
                /* The daemon shows what it still has, then closes. */
                shutdown(l->fd, SHUT_WR);
                return !l->terminal;
        }
        leave = l->terminal ? memchr(data, LEAVE_KEY, (size_t) n) : NULL;
        stay = !leave;
        if (leave)
                n = leave - data;
        if (!l->writer) {
                l->lost = l->lost || n > 0;
                return stay;
        }
        return file_write_all(l->fd, data, (size_t) n) >= 0 && stay;
}

/* What the guest says. 1: go on, 0: the line is closed, -errno: it cannot be shown. */
static int from_guest(struct line *l) {
        char data[CHUNK];
        ssize_t n = recv(l->fd, data, sizeof(data), 0);

        if (n < 0 && errno == EINTR)
                return 1;
        if (n <= 0)
                return 0;
        if (!l->input_open)
                l->drained += (size_t) n;
        int r = file_write_all(STDOUT_FILENO, data, (size_t) n);
        return r < 0 ? r : 1;
}

/* 1: the user left, 0: the line was closed, -errno: stdout is gone. */
static int copy_both_ways(struct line *l) {
        struct pollfd polls[2] = { { .fd = l->fd, .events = POLLIN }, { .events = POLLIN } };

        for (;;) {
                polls[1].fd = l->input_open ? STDIN_FILENO : -1;
                int n = poll(polls, 2, l->input_open ? -1 : DRAIN_MS);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0 || l->drained > DRAIN_MAX)
                        return 1;
                if (polls[0].revents) {
                        int r = from_guest(l);

                        if (r <= 0)
                                return r;
                }
                if (l->input_open && polls[1].revents && !from_user(l))
                        return 1;
        }
}

static int converse(struct cli *c, const char *name, int fd, bool writer, const char *early,
                    size_t early_len) {
        struct line l = { .fd = fd, .terminal = isatty(STDIN_FILENO), .writer = writer, .input_open = true };
        bool quiet = args_has(c->args, OPTION_QUIET) || !l.terminal;
        int r;

        if (!writer)
                cli_fail("another client writes to the console of %s: this one only reads", name);
        if (!quiet)
                fprintf(stderr, "the console of %s; Ctrl-] leaves\n", name);
        r = l.terminal ? terminal_raw() : 0;
        if (r < 0)
                return cli_fail("console: cannot set the terminal: %s", strerror(-r));
        r = early_len ? file_write_all(STDOUT_FILENO, early, early_len) : 0;
        if (r >= 0)
                r = copy_both_ways(&l);
        terminal_restore();
        if (!quiet)
                fprintf(stderr, "\n%s\n",
                        r == 0 ? "the console was closed" : "left the console; the VM goes on");
        if (r < 0 && r != -EPIPE)
                return cli_fail("console: cannot write the output: %s", strerror(-r));
        if (l.lost && !l.terminal)
                return cli_fail("console: the input was not sent, because another client writes");
        return r < 0 ? EXIT_FAILED : EXIT_DONE;
}

int verb_console(struct cli *c) {
        _cleanup_free_ char *name = NULL, *whole = daemon_method("Console"), *early = NULL, *error = NULL;
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_json_ json_t *reply = NULL;
        _cleanup_close_ int fd = -1;
        json_t *params;
        size_t early_len = 0;
        int r = daemon_connect(c);

        if (r == EXIT_DONE)
                r = daemon_name(c, 0, &name);
        if (r != EXIT_DONE)
                return r;
        params = daemon_params(name);
        json_put_bool(params, "write", true);
        r = rpc_client_upgrade(&c->client, whole, params, &reply, &fd, &early, &early_len, &error, &err);
        if (r == -EREMOTEIO)
                return errors_print(c, "Console", error, reply);
        if (r < 0)
                return cli_fail("console: lost the daemon at %s: %s", c->socket, error_text(&err));
        return converse(c, name, fd, json_get_bool(reply, "writer", true), early, early_len);
}
