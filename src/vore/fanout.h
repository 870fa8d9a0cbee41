/* The same call for several VMs at the same time, each over a connection of its own. */
#pragma once

#include "base/json.h"

#include <stdbool.h>

struct fanout_call {
        const char *name; /* the VM; borrowed */
        json_t *params;   /* owned */
        json_t *reply;    /* owned: parameters of the last reply; NULL: the connection broke */
        char *error;      /* owned: the Varlink error without the interface's prefix; NULL: none */
        char *trouble;    /* owned: why the connection broke; NULL: it did not */
};

enum { FANOUT_AT_ONCE = 64 }; /* connections; further calls wait for a free one */

/* Calls method for all of them; done is called as each ends. socket: where the daemon is. */
void fanout_run(const char *socket, const char *method, struct fanout_call *calls, size_t n,
                void (*done)(const struct fanout_call *call, void *data), void *data);
void fanout_call_done(struct fanout_call *call);
