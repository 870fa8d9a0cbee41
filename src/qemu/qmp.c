#include "qemu/qmp.h"

#include "base/clock.h"
#include "base/str.h"
#include "qemu/qmp-message.h"
#include "qemu/qmp-socket.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { READ_SIZE = 16 * 1024, READS_PER_DISPATCH = 16, TIMER_ACCURACY_US = 10000, KEEP_BUFFER = 4096 };

struct command {
        struct command *next;
        char *text; /* owned, ends with a newline, not a NUL */
        size_t len, sent;
        int64_t id;
        uint64_t deadline_us; /* CLOCK_MONOTONIC; 0: none */
        json_t *person_id;    /* owned; NULL: none given */
        bool raw, negotiation;
        bool expired; /* its deadline passed while a part of it was sent */
        qmp_reply_fn fn;
        void *data;
};

enum state { GREETING, NEGOTIATING, READY, CLOSED };

struct qmp {
        sd_event_source *io, *timer; /* owned */
        int fd;                      /* owned */
        enum state state;
        struct strbuf in;
        struct command *first; /* queue, owned */
        struct command **last;
        size_t n_queued, queued_bytes;
        int64_t next_id;
        char *version; /* owned */
        const struct qmp_ops *ops;
        void *data;
        unsigned busy; /* calls on the stack that still look at q */
        bool freed;
};

static void command_free(struct command *c) {
        free(c->text);
        json_decref(c->person_id);
        free(c);
}

/* message gets an id of ours. */
static struct command *command_new(struct qmp *q, json_t *message) {
        struct command *c = xcalloc(1, sizeof(*c));

        c->id = q->next_id++;
        json_put_int(message, "id", c->id);
        c->text = json_text(message);
        c->len = strlen(c->text) + 1;
        c->text[c->len - 1] = '\n';
        return c;
}

static void queue_insert(struct qmp *q, struct command **at, struct command *c) {
        c->next = *at;
        *at = c;
        if (!c->next)
                q->last = &c->next;
        q->n_queued++;
        q->queued_bytes += c->len;
}

static struct command *queue_take(struct qmp *q, struct command **at) {
        struct command *c = *at;

        *at = c->next;
        if (!*at)
                q->last = at;
        q->n_queued--;
        q->queued_bytes -= c->len;
        return c;
}

static void leave(struct qmp *q) {
        q->busy--;
        if (q->busy > 0 || !q->freed)
                return;
        strbuf_done(&q->in);
        free(q->version);
        free(q);
}

static void disconnect(struct qmp *q) {
        q->state = CLOSED;
        q->io = sd_event_source_disable_unref(q->io);
        q->timer = sd_event_source_disable_unref(q->timer);
        cleanup_closep(&q->fd);
}

static void fail_all(struct qmp *q, const struct error *err) {
        while (q->first) {
                struct command *c = queue_take(q, &q->first);

                if (c->fn)
                        c->fn(q, NULL, err, c->data);
                command_free(c);
        }
}

/* Ends the connection and tells everybody. */
static void close_with(struct qmp *q, const struct error *err) {
        _cleanup_error_ struct error gone = ERROR_INIT;

        if (q->state == CLOSED)
                return;
        disconnect(q);
        error_set(&gone, -ECONNRESET, "%s", error_text(err));
        fail_all(q, &gone);
        if (!q->freed && q->ops->closed)
                q->ops->closed(q, err, q->data);
}

void qmp_free(struct qmp *q) {
        _cleanup_error_ struct error err = ERROR_INIT;

        if (!q || q->freed)
                return;
        q->freed = true;
        q->busy++;
        disconnect(q);
        error_set(&err, -ECONNRESET, "the connection to QEMU was given up");
        fail_all(q, &err);
        leave(q);
}

static void timer_update(struct qmp *q) {
        uint64_t earliest = 0;

        for (struct command *c = q->first; c; c = c->next)
                if (c->deadline_us && (!earliest || c->deadline_us < earliest))
                        earliest = c->deadline_us;
        if (earliest)
                (void) sd_event_source_set_time(q->timer, earliest);
        (void) sd_event_source_set_enabled(q->timer, earliest ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

/* The command whose reply comes next, NULL if none is under way. Before ready() that is only the negotiation.
 */
static struct command *awaited(struct qmp *q) {
        if (q->first && (q->state == READY || (q->state == NEGOTIATING && q->first->negotiation)))
                return q->first;
        return NULL;
}

/* The command whose bytes go next: the awaited one, and behind the negotiation one more, so that a machine
 * that was just built has its first question already. QEMU answers in order. */
static struct command **sendable(struct qmp *q) {
        struct command *c = awaited(q);

        if (!c)
                return NULL;
        if (c->sent < c->len)
                return &q->first;
        return c->negotiation && c->next && c->next->sent < c->next->len ? &c->next : NULL;
}

/* Sends what can be sent. Trouble is left for the reading side to find. */
static void flush(struct qmp *q) {
        struct command **at;
        bool blocked = false;

        while (!blocked && (at = sendable(q))) {
                struct command *c = *at;
                ssize_t n = send(q->fd, c->text + c->sent, c->len - c->sent, MSG_NOSIGNAL | MSG_DONTWAIT);

                if (n < 0 && errno == EINTR)
                        continue;
                blocked = n < 0;
                c->sent += n < 0 ? 0 : (size_t) n;
                if (c->sent == c->len && c->expired)
                        command_free(queue_take(q, at));
        }
        if (q->state != CLOSED)
                (void) sd_event_source_set_io_events(q->io, sendable(q) ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static int submit(struct qmp *q, json_t *message, struct command **ret, struct error *err) {
        if (q->state == CLOSED)
                return error_set(err, -ECONNRESET, "the connection to QEMU is closed");
        struct command *c = command_new(q, message);
        if (q->n_queued >= QMP_QUEUE_MAX || q->queued_bytes + c->len > QMP_QUEUE_BYTES_MAX) {
                command_free(c);
                return error_set(err, -ENOBUFS, "too many commands wait for QEMU");
        }
        queue_insert(q, q->last, c);
        *ret = c;
        return 0;
}

static void arm(struct qmp *q, struct command *c, unsigned timeout_ms, qmp_reply_fn fn, void *data) {
        c->fn = fn;
        c->data = data;
        if (timeout_ms) {
                c->deadline_us = clock_monotonic_us() + (uint64_t) timeout_ms * 1000;
                timer_update(q);
        }
        flush(q);
}

int qmp_execute(struct qmp *q, const char *command, json_t *args, unsigned timeout_ms, qmp_reply_fn fn,
                void *data, struct error *err) {
        _cleanup_json_ json_t *message = qmp_message_command(command, args);
        struct command *c;
        int r = submit(q, message, &c, err);

        if (r < 0)
                return r;
        arm(q, c, timeout_ms, fn, data);
        return 0;
}

int qmp_execute_raw(struct qmp *q, const char *text, unsigned timeout_ms, qmp_reply_fn fn, void *data,
                    struct error *err) {
        _cleanup_json_ json_t *message = NULL, *person_id = NULL;
        struct command *c;
        int r = qmp_message_parse(text, &message, err);

        if (r < 0)
                return r;
        person_id = json_incref(json_object_get(message, "id"));
        r = submit(q, message, &c, err);
        if (r < 0)
                return r;
        c->raw = true;
        c->person_id = TAKE_PTR(person_id);
        arm(q, c, timeout_ms, fn, data);
        return 0;
}

static int on_greeting(struct qmp *q, const json_t *message, struct error *err) {
        _cleanup_json_ json_t *command = qmp_message_command("qmp_capabilities", NULL);

        q->version = qmp_message_version(message);
        if (!q->version)
                return error_set(err, -EBADMSG, "QEMU did not begin with a QMP greeting");
        struct command *c = command_new(q, command);
        c->negotiation = true;
        queue_insert(q, &q->first, c);
        q->state = NEGOTIATING;
        flush(q);
        return 0;
}

static int on_negotiated(struct qmp *q, const json_t *message, struct error *err) {
        if (qmp_message_error(message, err) < 0)
                return error_prefix(err, "QEMU refused to talk QMP");
        q->state = READY;
        if (q->ops->ready)
                q->ops->ready(q, q->version, q->data);
        return 0;
}

/* Gives a raw command's message back with the person's id in place of ours. */
static void reply_raw(struct qmp *q, const struct command *c, json_t *message) {
        (void) json_object_del(message, "id");
        if (c->person_id)
                json_put(message, "id", json_incref(c->person_id));
        c->fn(q, message, NULL, c->data);
}

static void reply(struct qmp *q, const struct command *c, json_t *message) {
        _cleanup_error_ struct error err = ERROR_INIT;

        if (!c->fn)
                return;
        if (c->raw)
                reply_raw(q, c, message);
        else if (qmp_message_error(message, &err) < 0)
                c->fn(q, NULL, &err, c->data);
        else
                c->fn(q, json_object_get(message, "return"), NULL, c->data);
}

static int on_reply(struct qmp *q, json_t *message, struct error *err) {
        const json_t *id = json_object_get(message, "id");
        struct command *c = awaited(q);
        int r = 0;

        /* A reply without an id answers the command under way (QEMU could not read that one's id); one with
         * another id is of a command whose deadline has passed. */
        if (!c || c->sent < c->len || (id && (!json_is_integer(id) || json_integer_value(id) != c->id)))
                return 0;
        queue_take(q, &q->first);
        if (c->deadline_us)
                timer_update(q);
        if (c->negotiation)
                r = on_negotiated(q, message, err);
        else
                reply(q, c, message);
        command_free(c);
        if (q->state != CLOSED)
                flush(q);
        return r;
}

static int on_message(struct qmp *q, json_t *message, struct error *err) {
        const char *event = json_get_str(message, "event", NULL);

        if (!json_is_object(message))
                return error_set(err, -EBADMSG, "QEMU sent something that is no QMP message");
        if (q->state == GREETING)
                return on_greeting(q, message, err);
        if (event) {
                if (q->ops->event)
                        q->ops->event(q, event, json_object_get(message, "data"), qmp_message_time(message),
                                      q->data);
                return 0;
        }
        if (json_object_get(message, "return") || json_object_get(message, "error"))
                return on_reply(q, message, err);
        return error_set(err, -EBADMSG, "QEMU sent a QMP message of an unknown kind");
}

static int on_line(struct qmp *q, const char *line, size_t len, struct error *err) {
        _cleanup_json_ json_t *message = NULL;

        while (len > 0 && strchr(" \t\r", line[len - 1]) && line[len - 1])
                len--;
        if (len == 0)
                return 0;
        int r = qmp_message_decode(line, len, &message, err);
        if (r < 0) {
                error_prefix(err, "QEMU sent a broken QMP message");
                return r;
        }
        return on_message(q, message, err);
}

/* Handles the whole lines of in; fresh is where new bytes begin. */
static int take_lines(struct qmp *q, size_t fresh, struct error *err) {
        size_t start = 0, from = fresh;
        int r = 0;

        while (r >= 0 && q->state != CLOSED) {
                const char *newline = memchr(q->in.data + from, '\n', q->in.len - from);
                size_t end = newline ? (size_t) (newline - q->in.data) : q->in.len;

                if (end - start > QMP_LINE_MAX)
                        return error_set(err, -EMSGSIZE, "QEMU sent a QMP message of more than 4 MiB");
                if (!newline)
                        break;
                r = on_line(q, q->in.data + start, end - start, err);
                start = from = end + 1;
        }
        q->in.len -= start;
        if (q->in.len == 0 && q->in.size > KEEP_BUFFER)
                strbuf_done(&q->in);
        else if (start > 0)
                memmove(q->in.data, q->in.data + start, q->in.len);
        return r;
}

/* 1 when there may be more to read. */
static int read_once(struct qmp *q, struct error *err) {
        char buf[READ_SIZE];
        size_t fresh = q->in.len;
        ssize_t n = recv(q->fd, buf, sizeof(buf), MSG_DONTWAIT);

        if (n < 0 && (errno == EINTR || errno == EAGAIN))
                return errno == EINTR;
        if (n < 0)
                return error_set(err, -ECONNRESET, "the connection to QEMU broke: %s", strerror(errno));
        if (n == 0)
                return error_set(err, -ECONNRESET, "QEMU closed its connection");
        strbuf_addn(&q->in, buf, (size_t) n);
        int r = take_lines(q, fresh, err);
        return r < 0 ? r : n == sizeof(buf);
}

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct qmp *q = userdata;
        int r = 1;

        q->busy++;
        if (revents & EPOLLOUT)
                flush(q);
        if (revents & (EPOLLIN | EPOLLHUP | EPOLLERR))
                for (int i = 0; i < READS_PER_DISPATCH && r > 0 && q->state != CLOSED; i++)
                        r = read_once(q, &err);
        if (r < 0)
                close_with(q, &err);
        leave(q);
        return 0;
}

/* The command whose deadline has passed, NULL if there is none. */
static struct command **overdue(struct qmp *q, uint64_t now) {
        for (struct command **at = &q->first; *at; at = &(*at)->next)
                if ((*at)->deadline_us && (*at)->deadline_us <= now)
                        return at;
        return NULL;
}

static void expire(struct qmp *q, struct command **at) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct command *c = *at;
        qmp_reply_fn fn = c->fn;
        void *data = c->data;

        c->deadline_us = 0;
        c->fn = NULL;
        /* Half a command cannot be taken back: the rest must follow. */
        if (c->sent > 0 && c->sent < c->len)
                c->expired = true;
        else
                command_free(queue_take(q, at));
        error_set(&err, -ETIMEDOUT, "QEMU did not answer in time");
        if (fn)
                fn(q, NULL, &err, data);
}

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata) {
        struct qmp *q = userdata;
        uint64_t now = clock_monotonic_us();
        struct command **at;

        q->busy++;
        while (q->state != CLOSED && (at = overdue(q, now)))
                expire(q, at);
        if (q->state != CLOSED) {
                flush(q);
                timer_update(q);
        }
        leave(q);
        return 0;
}

static int add_sources(struct qmp *q, sd_event *loop, struct error *err) {
        int flags = fcntl(q->fd, F_GETFL);

        if (flags < 0 || fcntl(q->fd, F_SETFL, flags | O_NONBLOCK) < 0)
                return error_errno(err, errno, "cannot use the QMP connection");
        int r = sd_event_add_io(loop, &q->io, q->fd, EPOLLIN, on_io, q);
        if (r >= 0)
                r = sd_event_add_time(loop, &q->timer, CLOCK_MONOTONIC, 0, TIMER_ACCURACY_US, on_timer, q);
        if (r >= 0)
                r = sd_event_source_set_enabled(q->timer, SD_EVENT_OFF);
        if (r < 0)
                return error_errno(err, r, "cannot watch the QMP connection");
        (void) sd_event_source_set_description(q->io, "qmp");
        (void) sd_event_source_set_description(q->timer, "qmp-deadline");
        return 0;
}

int qmp_attach(sd_event *loop, int fd, const struct qmp_ops *ops, void *data, struct qmp **ret,
               struct error *err) {
        struct qmp *q = xcalloc(1, sizeof(*q));

        *q = (struct qmp){ .fd = fd, .ops = ops, .data = data, .next_id = 1 };
        q->last = &q->first;
        int r = add_sources(q, loop, err);
        if (r < 0) {
                qmp_free(q);
                return r;
        }
        *ret = q;
        return 0;
}

int qmp_connect(sd_event *loop, const char *path, const struct qmp_ops *ops, void *data, struct qmp **ret,
                struct error *err) {
        int fd, r = qmp_socket_connect(path, &fd, err);

        return r < 0 ? r : qmp_attach(loop, fd, ops, data, ret, err);
}
