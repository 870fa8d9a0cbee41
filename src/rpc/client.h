/* A blocking Varlink client for the command line. */
#pragma once

#include "base/error.h"
#include "base/json.h"

#include <stdbool.h>

struct rpc_client;

/* -ENOENT, -ECONNREFUSED: no daemon there; -EACCES: no permission. */
int rpc_client_connect(const char *path, struct rpc_client **ret, struct error *err);
void rpc_client_free(struct rpc_client *c);
/* Waiting for a reply ends with -EPIPE when nobody reads from fd, a pipe or socket, any more. Other files: no
 * effect. */
void rpc_client_watch(struct rpc_client *c, int fd);
int rpc_client_fd(const struct rpc_client *c);

/* One reply: params is stolen (NULL: {}). ret, ret_error_name may be NULL. On a Varlink error: -EREMOTEIO,
 * *ret_error_name (owned; without prefix if it is of the interface that was called, whole otherwise, as all
 * of org.varlink.service are) and *ret has its parameters. Broken stream or a message over the client's bound
 * of 64 MiB: -EPROTO, -ECONNRESET. */
int rpc_client_call(struct rpc_client *c, const char *method, json_t *params, json_t **ret,
                    char **ret_error_name, struct error *err);

/* With `more`: each continuing reply goes to fn (return non-zero to stop: then that is returned), the last to
 * *ret. */
typedef int (*rpc_reply_fn)(const json_t *params, void *data);
int rpc_client_call_more(struct rpc_client *c, const char *method, json_t *params, rpc_reply_fn fn,
                         void *data, json_t **ret, char **ret_error_name, struct error *err);

/* With `upgrade`: after the reply the descriptor is the caller's own (the client is freed), and *ret_early is
 * what came behind the reply. */
int rpc_client_upgrade(struct rpc_client **c, const char *method, json_t *params, json_t **ret, int *ret_fd,
                       char **ret_early, size_t *ret_early_len, char **ret_error_name, struct error *err);
