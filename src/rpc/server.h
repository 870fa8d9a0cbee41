/* A Varlink server (varlink.org): JSON objects ended by NUL over a Unix socket, on an sd-event loop. It
 * knows no VM: methods come in as rows.
 *
 * Limits (a client costs the others nothing): message 1 MiB, 512 connections, 64 per uid other than root's
 * and the daemon's own, 10 s to finish a message that was begun, 4 MiB of unsent replies when another one
 * comes: past these the connection is closed. Answers are written without blocking; while one call of a
 * connection is not answered, or its answer not sent, its next one waits, unread.
 *
 * Bytes that are no message, and messages that are no call, are answered with InvalidParameter "message" or
 * the member's name, then the connection is closed. A call that is one is held against the interface's
 * description first: handlers only see parameters that are there as described. A client that only ends its
 * sending side still gets its answers. One that goes away loses what it sent behind an unanswered call,
 * unless that is oneway. Of the calls whose methods take turns (rpc_turn), 8 are answered at a time; all
 * others wait for one of them to be done. */
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
        /* params: borrowed object. The handler answers now or later. NULL: MethodNotImplemented. */
        void (*fn)(struct rpc_call *call, const json_t *params, void *data);
        bool more;       /* may stream: without `more` on the call only the last reply goes out */
        bool needs_more; /* without `more` on the call: ExpectedMore */
        bool upgrade; /* needs `upgrade` on the call, else InvalidParameter "upgrade"; all others refuse it */
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

struct rpc_limits {
        size_t message_max; /* bytes without the NUL */
        size_t unsent_max;  /* bytes; one reply may be longer, the next one has to find less than this waiting
                             */
        size_t connections_max, per_uid_max;
        uint64_t message_us; /* from a message's first byte to its NUL */
        uint64_t
                accept_pause_us; /* how long nothing is accepted when descriptors ran out and none is freed */
        size_t turns_max;        /* calls that have a turn at once */
};

/* Does the description parse, is its name the interface's, and has each of its methods one row and each row
 * its method? -EINVAL that names the first one that has not. */
int rpc_interface_check(const struct rpc_interface *interface, struct error *err);

/* Checks the interface. id and interface are borrowed and must outlive the server and all calls. */
int rpc_server_new(sd_event *loop, const struct rpc_identity *id, const struct rpc_interface *interface,
                   void *data, struct rpc_server **ret, struct error *err);
/* Takes over a listening socket (bound by rpc_listen or handed over by systemd); on failure it stays the
 * caller's. Removing its name at the end is the caller's too. */
int rpc_server_add(struct rpc_server *s, int listen_fd, struct error *err);
/* Closes all connections; calls still held by handlers stay valid until answered, their answers vanish and
 * what rpc_on_gone was given is not called. NULL is fine. */
void rpc_server_free(struct rpc_server *s);
size_t rpc_server_connections(const struct rpc_server *s);
/* To be changed before connections come; borrowed. */
struct rpc_limits *rpc_server_limits(struct rpc_server *s);

/* Binds path and listens, with mode and group (gid -1: leave). Names of more than 107 bytes, which no client
 * could reach, are -ENAMETOOLONG. Nobody but the owner can connect before mode and group are as asked. A
 * stale socket (one that refuses connections) is replaced; one that accepts is -EADDRINUSE, and anything else
 * at path -EEXIST. Two that bind the same path at once do not disturb each other: "<path>.lock" stands for
 * the moment of binding. */
int rpc_listen(const char *path, mode_t mode, gid_t gid, int *ret_fd, struct error *err);

/* The caller. */
struct ucred rpc_peer(const struct rpc_call *call);
bool rpc_wants_more(const struct rpc_call *call);
/* Bytes that wait for this client to read. */
size_t rpc_unsent(const struct rpc_call *call);
/* Called once when the client of an unanswered call goes away (the call stays valid and must still be
 * answered; the answer vanishes). It may answer the call. At once, if the client is gone already: then false
 * comes back. fn NULL: no more. */
bool rpc_on_gone(struct rpc_call *call, void (*fn)(struct rpc_call *call, void *data), void *data);

/* Called whenever all that was sent on this unanswered call has left for its client, after some of it had to
 * wait: for long answers in parts. It may answer the call. fn NULL: no more. */
void rpc_on_drained(struct rpc_call *call, void (*fn)(struct rpc_call *call, void *data), void *data);

/* For a handler whose answer costs more than the loop's time, such as a process. true: it goes on, and has
 * the turn until it answers. false: too many have one; it returns, and is called again with the same params
 * when it is the call's turn. A client that goes away before that ends the call. */
bool rpc_turn(struct rpc_call *call, const json_t *params);

/* params is stolen (NULL: {}). rpc_reply_more sends one with "continues": true (nothing, if the client did
 * not ask for `more`); returns -EPIPE once the client is gone or was closed for not reading. None of these
 * calls back into a handler before it returns. */
int rpc_reply_more(struct rpc_call *call, json_t *params);
void rpc_reply(struct rpc_call *call, json_t *params);
/* As rpc_reply, and closes the connection once that is sent. */
void rpc_reply_close(struct rpc_call *call, json_t *params);
/* name without interface ("WrongState") gets the server's interface; params stolen. */
void rpc_fail(struct rpc_call *call, const char *name, json_t *params);
/* org.varlink.service.InvalidParameter {parameter}. */
void rpc_fail_parameter(struct rpc_call *call, const char *parameter);
/* Answers the upgrade call; once the answer is out the raw descriptor is given to fn (owned by it; it does
 * not block), with what the client sent behind its call. fn is called once in any case, from the loop: with
 * fd -1 if the client went, or the server was freed, before that. */
void rpc_upgrade(struct rpc_call *call, json_t *params,
                 void (*fn)(int fd, const char *early, size_t early_len, void *data), void *data);
