/* What every verb gets: its parsed arguments, how output looks, and the connection to the daemon. */
#pragma once

#include "base/error.h"
#include "base/json.h"
#include "vore/args.h"

#include <stdbool.h>

enum exit_code {
        EXIT_DONE = 0,
        EXIT_FAILED = 1,    /* with the reason on stderr */
        EXIT_USAGE = 2,     /* wrong usage */
        EXIT_NO_DAEMON = 3, /* no daemon at the socket, or no permission */
};

struct rpc_client;
struct progress;

struct cli {
        const struct args *args;
        bool terminal; /* stdout is one: columns and a header */
        bool color;    /* on stdout */
        bool err_terminal, err_color;
        struct rpc_client *client; /* owned; NULL until the first call */
        char *socket;              /* owned: where client is connected to */
        struct progress
                *progress; /* borrowed: its open line is completed before an error is printed; NULL: none */
        /* The definition that is being handed over, for the caret under a fault. Borrowed; NULL: none. */
        const char *source, *source_file;
};

void cli_init(struct cli *c, const struct args *args);
void cli_done(struct cli *c);

/* "vore: " and the text, on stderr; gives EXIT_FAILED. */
int cli_fail(const char *fmt, ...) _printf_(1, 2);
/* A remark that is no error, on stderr; nothing with --quiet. */
void cli_note(const struct cli *c, const char *fmt, ...) _printf_(2, 3);

/* Flushes stdout and says so when that fails; a reader that went away is no message. Gives code, or
 * EXIT_FAILED. */
int cli_flush(int code);

/* One document on stdout: indented on a terminal, compact elsewhere. j is stolen. Gives an exit code. */
int cli_print_json(struct cli *c, json_t *j);
/* One line, always compact and flushed at once. */
int cli_print_json_line(const json_t *j);
