/* The steps of a start or a stop, on stderr as they happen: "NAME: STEP ... 12 ms". On a terminal the line
 * appears when the step begins; elsewhere when it is done. */
#pragma once

#include "base/json.h"
#include "rpc/client.h"
#include "vore/cli.h"

struct progress {
        const struct cli *cli;
        const char *name; /* the VM; borrowed */
        char *open;       /* owned: the step whose line has begun; NULL: none */
};

/* What daemon_call_more() is given, the struct progress being its data. NULL with --quiet and --json: the
 * daemon then streams nothing, which keeps two processes from waking each other for every step. */
rpc_reply_fn progress_wanted(const struct cli *c);
/* What --json prints of such a call's last reply: name, state, pid, seconds, steps; with devices also those.
 * Exit status. */
int progress_print_json(struct cli *c, const json_t *reply, const char *name, bool devices);
/* Completes a line whose step never ended. */
void progress_done(struct progress *p);
#define _cleanup_progress_ _cleanup_(progress_done)
