/* The steps of a start or a stop, on stderr as they happen: "NAME: STEP ... 12 ms". On a terminal the line
 * appears when the step begins; elsewhere when it is done. */
#pragma once

#include "base/json.h"
#include "vore/cli.h"

struct progress {
        const struct cli *cli;
        const char *name; /* the VM; borrowed */
        char *open;       /* owned: the step whose line has begun; NULL: none */
};

/* An rpc_reply_fn, data being the struct progress. Silent with --quiet and --json. */
int progress_reply(const json_t *params, void *data);
/* Completes a line whose step never ended. */
void progress_done(struct progress *p);
#define _cleanup_progress_ _cleanup_(progress_done)
