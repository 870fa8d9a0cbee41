/* A small server and raw clients in one process, for the tests of src/rpc. */
#pragma once

#include "rpc/server.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

struct fixture {
        sd_event *loop;
        struct rpc_server *server;
        char folder[64], path[128];
        int listen_fd;            /* the server's */
        struct rpc_call *held[4]; /* calls of Hold, Follow and Turn that wait for the test's answer */
        int64_t numbers[4];       /* of Turn, in the order of their turns */
        size_t n_held;
        size_t n_notes; /* calls of Note */
        size_t n_gone;  /* clients that went away while held */
        int raw_fd;     /* what Raw was given; -2: not yet */
        char *raw_early;
};

extern const struct rpc_interface fixture_interface;
extern const struct rpc_identity fixture_identity;

int fixture_setup(void **state);
int fixture_teardown(void **state);

/* Runs the loop until there is nothing left to do. */
void fixture_run(struct fixture *f);
/* Runs the loop until fd has something to read or ended, or ms are over. */
void fixture_run_for(struct fixture *f, unsigned ms);
int fixture_connect(struct fixture *f);
/* Sends text with its NUL, and runs the loop. */
void fixture_send(struct fixture *f, int fd, const char *text);
void fixture_send_bytes(struct fixture *f, int fd, const void *data, size_t n);
/* The next message that is there, owned; "" at the end of the stream, NULL if there is none yet. */
char *fixture_receive(int fd);
/* The next message has to be this one. */
void fixture_expect(int fd, const char *text);
