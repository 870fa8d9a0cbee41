/* Inside the server: its connections and calls, as server.c, connection.c, dispatch.c and call.c share
 * them. Nobody outside this folder includes it.
 *
 * A connection is freed by the loop only (or with its server), never by an answer: a handler may
 * answer while the connection stands on the stack. */
#pragma once

#include "rpc/frame.h"
#include "rpc/idl.h"
#include "rpc/server.h"

struct rpc_bound {
        const struct rpc_interface *interface;
        struct idl *idl; /* owned */
        void *data;      /* for its methods */
};

struct listener {
        int fd; /* owned */
        sd_event_source *source;
        struct listener *next;
        struct rpc_server *server;
};

struct rpc_server {
        sd_event *loop; /* owned reference */
        const struct rpc_identity *identity;
        struct rpc_bound bound[2]; /* org.varlink.service, then the daemon's own */
        struct rpc_limits limits;
        struct listener *listeners;
        struct conn *connections;
        size_t n_connections;
        sd_event_source *pause; /* its end lets connections in again */
        bool paused;            /* nothing is accepted */
        struct turns *turns;
};

struct conn {
        unsigned n_ref;
        struct rpc_server *server; /* NULL once closed */
        struct conn *prev, *next;
        int fd;
        struct ucred peer;
        struct frame_reader in;
        char *out; /* owned; NULL while all is sent */
        size_t out_start, out_len, out_size;
        struct rpc_call *call; /* the one under way; not owned */
        sd_event_source *io;
        sd_event_source *turn;  /* runs the next step */
        sd_event_source *timer; /* set while a message is partial */
        bool eof;               /* the client sends nothing more */
        bool hup;               /* the client is gone: answers vanish */
        bool broken;            /* to be closed at the next turn */
        bool closing;           /* to be closed when all is sent */
        void (*upgraded)(int fd, const char *early, size_t early_len, void *data);
        void *upgraded_data;
};

struct rpc_call {
        struct conn *conn; /* NULL: gone */
        const struct rpc_interface *interface;
        struct ucred peer;
        bool more, oneway;
        void (*gone)(struct rpc_call *call, void *data);
        void *gone_data;
        void (*drained)(struct rpc_call *call, void *data);
        void *drained_data;
        void (*fn)(struct rpc_call *call, const json_t *params, void *data); /* its method's, with its data */
        void *data;
        struct turns *turns;   /* it has a turn */
        json_t *params;        /* owned; while it waits for one */
        struct rpc_call *next; /* that waits */
};

/* turn.c */
int turns_new(struct rpc_server *s);
void turns_free(struct turns *t);
/* The call has its answer: the next one's turn. */
void turn_end(struct rpc_call *call);

/* The rows of org.varlink.service; their data is the server. */
extern const struct rpc_interface rpc_service;

/* Takes over fd, which does not block, and adds itself to the server. */
int conn_new(struct rpc_server *s, int fd, const struct ucred *peer);
/* Closes; the memory goes with the last reference. */
void conn_close(struct conn *c);
/* Queues and sends what can be sent. Steals message. -EPIPE: nobody will read it. */
int conn_send(struct conn *c, json_t *message);
/* Sets sources and timer to what the connection waits for now; after every change of its state. */
void conn_update(struct conn *c);
/* Tells the handler of the call under way that its client is gone. */
void conn_call_gone(struct conn *c);

/* Hands message (borrowed) to its method. On return c may have its answer, a call under way, or be broken. */
void dispatch(struct conn *c, const json_t *message);
/* Answers what is no call at all and closes. */
void dispatch_refuse(struct conn *c, const char *parameter);

/* A connection went: there is a descriptor again. */
void server_conn_closed(struct rpc_server *s);
