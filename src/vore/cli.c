#include "vore/cli.h"

#include "base/log.h"
#include "base/str.h"
#include "rpc/client.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <unistd.h>

void cli_init(struct cli *c, const struct args *args) {
        const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
        bool color = str_empty(no_color) && !str_eq(term, "dumb");

        *c = (struct cli){ .args = args,
                           .terminal = isatty(STDOUT_FILENO),
                           .err_terminal = isatty(STDERR_FILENO) };
        c->color = c->terminal && color;
        c->err_color = c->err_terminal && color;
}

void cli_done(struct cli *c) {
        rpc_client_free(c->client);
        free(c->socket);
        *c = (struct cli){ 0 };
}

static void say(const char *prefix, const char *fmt, va_list ap) _printf_(2, 0);
static void say(const char *prefix, const char *fmt, va_list ap) {
        _cleanup_free_ char *text = NULL;

        if (vasprintf(&text, fmt, ap) < 0)
                text = NULL;
        fprintf(stderr, "%s%s\n", prefix, text ? text : fmt);
}

int cli_fail(const char *fmt, ...) {
        va_list ap;

        va_start(ap, fmt);
        say("vore: ", fmt, ap);
        va_end(ap);
        return EXIT_FAILED;
}

void cli_note(const struct cli *c, const char *fmt, ...) {
        va_list ap;

        if (args_has(c->args, OPTION_QUIET))
                return;
        va_start(ap, fmt);
        say("", fmt, ap);
        va_end(ap);
}

static bool nobody_reads(int fd) {
        struct pollfd p = { .fd = fd };

        return poll(&p, 1, 0) > 0 && p.revents & POLLERR;
}

int cli_flush(int code) {
        errno = 0;
        if (fflush(stdout) == 0 && !ferror(stdout))
                return code;
        /* It may have failed earlier, when the buffer was full, and errno is another's by now. */
        if (errno != EPIPE && !nobody_reads(STDOUT_FILENO))
                cli_fail("cannot write the output: %s", strerror(errno ? errno : EIO));
        /* Said once; what is still buffered would fail again at exit. */
        clearerr(stdout);
        return EXIT_FAILED;
}

/* Sixteen digits keep microseconds since 1970, and show 0.061 as that. */
static void dump(const json_t *j, size_t flags) {
        _cleanup_free_ char *text = json_dumps(j, flags | JSON_ENCODE_ANY | JSON_REAL_PRECISION(16));

        if (!text)
                log_oom();
        puts(text);
}

int cli_print_json(struct cli *c, json_t *j) {
        dump(j, c->terminal ? JSON_INDENT(2) : JSON_COMPACT);
        json_decref(j);
        return EXIT_DONE;
}

int cli_print_json_line(const json_t *j) {
        dump(j, JSON_COMPACT);
        return cli_flush(EXIT_DONE);
}
