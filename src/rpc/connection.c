#include "rpc/connection.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

static void conn_unref(struct conn *c) {
        if (--c->n_ref > 0)
                return;
        frame_reader_done(&c->in);
        free(c->out);
        free(c);
}

void conn_call_gone(struct conn *c) {
        void (*fn)(struct rpc_call * call, void *data) = c->call ? c->call->gone : NULL;

        if (!fn)
                return;
        c->call->gone = NULL;
        fn(c->call, c->call->gone_data);
}

static void unlink_conn(struct conn *c) {
        if (c->prev)
                c->prev->next = c->next;
        else
                c->server->connections = c->next;
        if (c->next)
                c->next->prev = c->prev;
        c->server->n_connections--;
        c->server = NULL;
}

static void give_up_fd(struct conn *c, int fd) {
        void (*fn)(int, const char *, size_t, void *) = TAKE_PTR(c->upgraded);
        size_t n = 0;
        const char *early = frame_reader_rest(&c->in, &n);

        if (fn)
                fn(fd, fd < 0 ? "" : early, fd < 0 ? 0 : n, c->upgraded_data);
        else if (fd >= 0)
                close(fd);
}

void conn_close(struct conn *c) {
        struct rpc_server *s = c->server;
        struct rpc_call *call = c->call;
        /* A descriptor goes to whoever asked for the raw stream only if nothing is in the way of it. */
        bool hand_over = c->upgraded && !c->hup && !c->broken && c->out_len == 0;

        if (!s)
                return;
        unlink_conn(c);
        c->io = sd_event_source_disable_unref(c->io);
        c->turn = sd_event_source_disable_unref(c->turn);
        c->timer = sd_event_source_disable_unref(c->timer);
        c->call = NULL;
        if (!hand_over)
                cleanup_closep(&c->fd);
        if (call) {
                call->conn = NULL;
                if (call->gone)
                        call->gone(call, call->gone_data);
        }
        server_conn_closed(s);
        give_up_fd(c, TAKE_FD(c->fd));
        conn_unref(c);
}

/* A peer that is gone shows as EPIPE here or as EPOLLHUP in the loop, whichever comes first; what it sent
 * before is still read. */
static void hung_up(struct conn *c) {
        c->hup = true;
        c->out_len = 0;
        free(TAKE_PTR(c->out));
}

static void flush(struct conn *c) {
        while (c->out_len > 0) {
                ssize_t n = send(c->fd, c->out + c->out_start, c->out_len, MSG_NOSIGNAL | MSG_DONTWAIT);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno == EAGAIN)
                        return;
                if (n < 0) {
                        /* A handler that still answers has to learn it; else calls may wait that were sent
                         * before. */
                        c->broken = (errno != EPIPE && errno != ECONNRESET) || (c->call && !c->call->oneway);
                        hung_up(c);
                        return;
                }
                c->out_start += (size_t) n;
                c->out_len -= (size_t) n;
        }
        free(TAKE_PTR(c->out));
}

static void queue(struct conn *c, char *text, size_t n) {
        if (!c->out) {
                c->out = text;
                c->out_start = 0;
                c->out_len = c->out_size = n;
                return;
        }
        if (c->out_start + c->out_len + n > c->out_size) {
                memmove(c->out, c->out + c->out_start, c->out_len);
                c->out_start = 0;
        }
        if (c->out_len + n > c->out_size) {
                c->out_size = MAX(c->out_size * 2, c->out_len + n);
                c->out = xrealloc(c->out, c->out_size, 1);
        }
        memcpy(c->out + c->out_start + c->out_len, text, n);
        c->out_len += n;
        free(text);
}

int conn_send(struct conn *c, json_t *message) {
        char *text;
        size_t n;

        if (c->hup || c->broken) {
                json_decref(message);
                return -EPIPE;
        }
        if (c->out_len > c->server->limits.unsent_max) {
                log_debug("rpc: a client (pid %ld) does not read: closed", (long) c->peer.pid);
                c->broken = true;
                json_decref(message);
                conn_update(c);
                return -EPIPE;
        }
        text = frame_text(message, &n);
        json_decref(message);
        queue(c, text, n);
        flush(c);
        conn_update(c);
        return c->hup || c->broken ? -EPIPE : 0;
}

/* Is there something to do that needs no event from the socket? */
static bool runnable(const struct conn *c) {
        if (c->broken)
                return true;
        if (c->call || c->out_len > 0)
                return false;
        return c->upgraded || c->closing || c->eof || frame_reader_ready(&c->in);
}

static bool wants_read(const struct conn *c) {
        return !c->call && c->out_len == 0 && !runnable(c);
}

static void step(struct conn *c) {
        _cleanup_json_ json_t *message = NULL;
        int r;

        if (!c->server || !runnable(c))
                return;
        if (c->broken || c->upgraded || c->closing) {
                conn_close(c);
                return;
        }
        r = frame_reader_next(&c->in, &message, NULL);
        if (r > 0)
                dispatch(c, message);
        else if (r < 0)
                dispatch_refuse(c, "message");
        else
                conn_close(c);
}

static int on_turn(sd_event_source *source, void *data) {
        struct conn *c = data;

        c->n_ref++;
        step(c);
        conn_update(c);
        conn_unref(c);
        return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *data) {
        struct conn *c = data;

        log_debug("rpc: a client (pid %ld) did not finish its message in time: closed", (long) c->peer.pid);
        conn_close(c);
        return 0;
}

static void read_some(struct conn *c) {
        size_t room = 0;
        char *p = frame_reader_room(&c->in, &room);
        ssize_t n = recv(c->fd, p, room, MSG_DONTWAIT);

        if (n > 0)
                frame_reader_added(&c->in, (size_t) n);
        else if (n == 0 || (errno != EAGAIN && errno != EINTR))
                c->eof = true;
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *data) {
        struct conn *c = data;

        c->n_ref++;
        if (revents & (EPOLLHUP | EPOLLERR)) {
                bool lasts = !c->call || c->call->oneway;

                hung_up(c);
                if (lasts)
                        conn_call_gone(c);
                else
                        c->broken = true;
        }
        bool waited = c->out_len > 0;
        flush(c);
        if (waited && c->out_len == 0 && !c->hup && c->call && c->call->drained)
                c->call->drained(c->call, c->call->drained_data);
        if ((revents & (EPOLLIN | EPOLLHUP | EPOLLERR)) && wants_read(c))
                read_some(c);
        step(c);
        conn_update(c);
        conn_unref(c);
        return 0;
}

/* Only while the rest of a message is really waited for: an idle connection never wakes the daemon. */
static void update_timer(struct conn *c) {
        bool wanted = wants_read(c) && frame_reader_partial(&c->in);

        if (!wanted) {
                c->timer = sd_event_source_disable_unref(c->timer);
                return;
        }
        if (c->timer)
                return;
        if (sd_event_add_time(c->server->loop, &c->timer, CLOCK_MONOTONIC,
                              clock_monotonic_us() + c->server->limits.message_us, 0, on_timer, c) < 0)
                c->broken = true;
}

void conn_update(struct conn *c) {
        if (!c->server)
                return;
        update_timer(c);
        (void) sd_event_source_set_io_events(c->io, (wants_read(c) ? (uint32_t) EPOLLIN : 0) |
                                                            (c->out_len > 0 ? (uint32_t) EPOLLOUT : 0));
        /* A hang-up is reported whatever is asked for, also while a oneway call runs. */
        (void) sd_event_source_set_enabled(c->io,
                                           c->hup && c->call && c->call->oneway ? SD_EVENT_OFF : SD_EVENT_ON);
        (void) sd_event_source_set_enabled(c->turn, runnable(c) ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

int conn_new(struct rpc_server *s, int fd, const struct ucred *peer) {
        struct conn *c = xcalloc(1, sizeof(*c));
        int r;

        *c = (struct conn){ .n_ref = 1, .fd = fd, .peer = *peer };
        frame_reader_init(&c->in, s->limits.message_max);
        r = sd_event_add_io(s->loop, &c->io, fd, EPOLLIN, on_io, c);
        if (r >= 0)
                r = sd_event_add_defer(s->loop, &c->turn, on_turn, c);
        if (r >= 0)
                r = sd_event_source_set_enabled(c->turn, SD_EVENT_OFF);
        if (r < 0) {
                sd_event_source_disable_unref(c->io);
                sd_event_source_disable_unref(c->turn);
                conn_unref(c);
                return r;
        }
        c->server = s;
        c->next = s->connections;
        if (c->next)
                c->next->prev = c;
        s->connections = c;
        s->n_connections++;
        return 0;
}
