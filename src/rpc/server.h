/* A Varlink server (varlink.org): JSON objects ended by NUL over a Unix socket, on an sd-event loop. It
 * knows no VM: methods come in as rows.
 *
 * Limits (a client costs the others nothing): message 1 MiB, 512 connections, 64 per uid other than root's
 * and the daemon's own, 10 s to finish a message that was begun, 4 MiB of unsent replies: past these the
 * connection is closed. Answers are written without blocking; while one call of a connection is not
 * answered its next one waits, unread. */
#pragma once

#include "base/error.h"
#include "base/json.h"

#include <stdbool.h>
#include <sys/socket.h>
#include <systemd/sd-event.h>

struct rpc_server;
struct rpc_call; /* one call that wants an answer; lives until rpc_reply/rpc_fail or the connection's end */

struct rpc_method {
        const char *name; /* "dev.vore.Manager.Start" */
        /* params: borrowed object. The handler answers now or later. */
        void (*fn)(struct rpc_call *call, const json_t *params, void *data);
        bool more;    /* may stream: without `more` on the call only the last reply goes out */
        bool upgrade; /* needs `upgrade` on the call */
};

struct rpc_interface {
        const char *name;        /* "dev.vore.Manager" */
        const char *description; /* the text of the interface file */
        const struct rpc_method *methods;
        size_t n_methods;
};

/* vendor, product, version and url answer org.varlink.service.GetInfo. data goes to the methods. */
struct rpc_identity {
        const char *vendor, *product, *version, *url;
};

int rpc_server_new(sd_event *loop, const struct rpc_identity *id, const struct rpc_interface *interface,
                   void *data, struct rpc_server **ret, struct error *err);
/* Takes over a listening socket (bound by rpc_listen or handed over by systemd). */
int rpc_server_add(struct rpc_server *s, int listen_fd, struct error *err);
/* Closes all connections; calls still held by handlers stay valid until answered, their answers vanish. */
void rpc_server_free(struct rpc_server *s);
size_t rpc_server_connections(const struct rpc_server *s);

/* Binds path (through its folder's descriptor, any length; AF_UNIX names at most 107 bytes are what clients can
 * reach: longer is an error that says so) with mode and group (gid -1: leave). A stale socket is replaced,
 * one that accepts a connection is -EADDRINUSE. */
int rpc_listen(const char *path, mode_t mode, gid_t gid, int *ret_fd, struct error *err);

/* The caller. */
struct ucred rpc_peer(const struct rpc_call *call);
bool rpc_wants_more(const struct rpc_call *call);
/* Called once when the client of an unanswered call goes away (the call stays valid and must still be
 * answered; the answer vanishes) */
void rpc_on_gone(struct rpc_call *call, void (*fn)(struct rpc_call *call, void *data), void *data);

/* params is stolen (NULL: {}). rpc_reply_more sends one with "continues": true (nothing, if the client did
 * not ask for `more`); returns -EPIPE once the client is gone or was closed for not reading. */
int rpc_reply_more(struct rpc_call *call, json_t *params);
void rpc_reply(struct rpc_call *call, json_t *params);
/* name without interface ("WrongState") gets the server's interface; params stolen. */
void rpc_fail(struct rpc_call *call, const char *name, json_t *params);
/* org.varlink.service.InvalidParameter {parameter}. */
void rpc_fail_parameter(struct rpc_call *call, const char *parameter);
/* Answers the upgrade call; once the answer is out the raw descriptor is given to fn (owned by it), with what the
 * client sent behind its call. */
void rpc_upgrade(struct rpc_call *call, json_t *params,
                 void (*fn)(int fd, const char *early, size_t early_len, void *data), void *data);
