/* Calls to the daemon. What fails is printed, with what to type next; functions give an exit code. */
#pragma once

#include "rpc/client.h"
#include "vore/cli.h"

/* Connects if that has not been done: --conn, VORE_SOCKET, else the session's socket if it accepts a
 * connection, else the system's. daemon_connect_quietly says nothing and gives 0 or -errno. */
int daemon_connect(struct cli *c);
int daemon_connect_quietly(struct cli *c, struct error *err);

/* method without the interface; params is stolen (NULL: none). *ret is a new reference, touched on success
 * only. */
int daemon_call(struct cli *c, const char *method, json_t *params, json_t **ret);
int daemon_call_more(struct cli *c, const char *method, json_t *params, rpc_reply_fn fn, void *data,
                     json_t **ret);

/* The verb's argument at index if it was given, else the only VM that fits verb->need. Owned by the caller.
 */
int daemon_name(struct cli *c, size_t index, char **ret);

/* {"name": name} */
json_t *daemon_params(const char *name);

/* A method's whole name, in a buffer that the caller frees. */
char *daemon_method(const char *method);
