#include "rpc/connection.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

static const struct rpc_limits default_limits = {
        .message_max = 1 << 20,
        .unsent_max = 4 << 20,
        .connections_max = 512,
        .per_uid_max = 64,
        .message_us = 10 * 1000 * 1000,
        .accept_pause_us = 1000 * 1000,
        .turns_max = 8,
};

static void set_accepting(struct rpc_server *s, bool on) {
        s->paused = !on;
        for (struct listener *l = s->listeners; l; l = l->next)
                (void) sd_event_source_set_enabled(l->source, on ? SD_EVENT_ON : SD_EVENT_OFF);
        (void) sd_event_source_set_enabled(s->pause, on ? SD_EVENT_OFF : SD_EVENT_ONESHOT);
}

void server_conn_closed(struct rpc_server *s) {
        if (s->paused)
                set_accepting(s, true);
}

static int on_pause_end(sd_event_source *source, uint64_t usec, void *data) {
        set_accepting(data, true);
        return 0;
}

/* The waiting client keeps the listening socket readable: without a pause the loop would spin. What ran out
 * may come back from elsewhere, so a closed connection is not all that is waited for. */
static void pause_accepting(struct rpc_server *s, int error) {
        log_debug("rpc: cannot take a connection: %s", strerror(error));
        (void) sd_event_source_set_time(s->pause, clock_monotonic_us() + s->limits.accept_pause_us);
        set_accepting(s, false);
}

static bool is_shortage(int error) {
        return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS;
}

static bool has_place(const struct rpc_server *s, uid_t uid) {
        size_t n = 0;

        if (s->n_connections >= s->limits.connections_max)
                return false;
        if (uid == 0 || uid == geteuid())
                return true;
        for (const struct conn *c = s->connections; c; c = c->next)
                n += c->peer.uid == uid;
        return n < s->limits.per_uid_max;
}

static int on_connection(sd_event_source *source, int listen_fd, uint32_t revents, void *data) {
        struct rpc_server *s = ((struct listener *) data)->server;
        _cleanup_close_ int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        struct ucred peer;
        socklen_t len = sizeof(peer);
        int r;

        if (fd < 0) {
                if (is_shortage(errno))
                        pause_accepting(s, errno);
                return 0;
        }
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
                return 0;
        if (!has_place(s, peer.uid)) {
                log_debug("rpc: too many connections: uid %ld is turned away", (long) peer.uid);
                return 0;
        }
        r = conn_new(s, fd, &peer);
        if (r >= 0)
                TAKE_FD(fd);
        else if (is_shortage(-r))
                pause_accepting(s, -r);
        return 0;
}

int rpc_server_add(struct rpc_server *s, int listen_fd, struct error *err) {
        int flags = fcntl(listen_fd, F_GETFL), listening = 0, r;
        socklen_t len = sizeof(listening);
        struct listener *l;

        if (flags < 0 || getsockopt(listen_fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) < 0)
                return error_errno(err, errno, "not a socket to listen on");
        if (!listening)
                return error_set(err, -EINVAL, "the socket that was handed over does not listen");
        if (fcntl(listen_fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(listen_fd, F_SETFD, FD_CLOEXEC) < 0)
                return error_errno(err, errno, "cannot set up the socket");

        l = xcalloc(1, sizeof(*l));
        *l = (struct listener){ .fd = listen_fd, .server = s, .next = s->listeners };
        r = sd_event_add_io(s->loop, &l->source, listen_fd, EPOLLIN, on_connection, l);
        if (r < 0) {
                free(l);
                return error_errno(err, r, "cannot watch the socket");
        }
        s->listeners = l;
        return 0;
}

static int bind_interface(struct rpc_bound *bound, const struct rpc_interface *interface, void *data,
                          struct error *err) {
        int r = rpc_interface_check(interface, err);

        if (r == 0)
                r = idl_parse(interface->description, &bound->idl, err);
        bound->interface = interface;
        bound->data = data;
        return r;
}

int rpc_server_new(sd_event *loop, const struct rpc_identity *id, const struct rpc_interface *interface,
                   void *data, struct rpc_server **ret, struct error *err) {
        struct rpc_server *s = xcalloc(1, sizeof(*s));
        int r;

        s->loop = sd_event_ref(loop);
        s->identity = id;
        s->limits = default_limits;
        /* Made now: the first timer of a loop takes a descriptor, and this one is for when there are none. */
        r = sd_event_add_time(loop, &s->pause, CLOCK_MONOTONIC, 0, 0, on_pause_end, s);
        if (r >= 0)
                r = sd_event_source_set_enabled(s->pause, SD_EVENT_OFF);
        if (r >= 0)
                r = turns_new(s);
        if (r < 0)
                error_errno(err, r, "cannot watch the time");
        else
                r = bind_interface(&s->bound[0], &rpc_service, s, err);
        if (r >= 0)
                r = bind_interface(&s->bound[1], interface, data, err);
        if (r < 0) {
                rpc_server_free(s);
                return r;
        }
        *ret = s;
        return 0;
}

void rpc_server_free(struct rpc_server *s) {
        if (!s)
                return;
        turns_free(s->turns);
        while (s->connections) {
                if (s->connections->call)
                        s->connections->call->gone = NULL;
                s->connections->broken = true;
                conn_close(s->connections);
        }
        while (s->listeners) {
                struct listener *l = s->listeners;

                s->listeners = l->next;
                sd_event_source_disable_unref(l->source);
                close(l->fd);
                free(l);
        }
        sd_event_source_disable_unref(s->pause);
        for (size_t i = 0; i < ARRAY_SIZE(s->bound); i++)
                idl_free(s->bound[i].idl);
        sd_event_unref(s->loop);
        free(s);
}

size_t rpc_server_connections(const struct rpc_server *s) {
        return s->n_connections;
}

struct rpc_limits *rpc_server_limits(struct rpc_server *s) {
        return &s->limits;
}
