/* What QEMU may say over QMP, while commands with and without deadlines wait; and what a person may give as a
 * raw command. The first byte chooses. */
#include "base/macros.h"
#include "qemu/qmp-message.h"
#include "qemu/qmp.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct run {
        struct qmp *q;
        unsigned n;    /* callbacks so far */
        unsigned stop; /* the callback in which the connection is given up; 0: never */
};

static void count(struct run *run) {
        if (++run->n == run->stop) {
                struct qmp *q = TAKE_PTR(run->q);

                qmp_free(q);
        }
}

static void on_reply(struct qmp *q, const json_t *reply, const struct error *err, void *data) {
        struct run *run = data;

        if ((reply == NULL) == (err == NULL))
                abort();
        if (run->n < 20)
                (void) qmp_execute(q, "again", NULL, 0, on_reply, run, NULL);
        count(run);
}

static void on_ready(struct qmp *q, const char *version, void *data) {
        count(data);
}

static void on_event(struct qmp *q, const char *name, const json_t *event_data, uint64_t time_us,
                     void *data) {
        count(data);
}

static void on_closed(struct qmp *q, const struct error *err, void *data) {
        count(data);
}

static const struct qmp_ops ops = { .ready = on_ready, .event = on_event, .closed = on_closed };

static void spin(sd_event *loop) {
        while (sd_event_run(loop, 0) > 0)
                ;
}

static void connection(const uint8_t *data, size_t size) {
        struct run run = { .stop = data[0] & 15 };
        sd_event *loop = NULL;
        int pair[2];

        if (sd_event_new(&loop) < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0 ||
            qmp_attach(loop, pair[0], &ops, &run, &run.q, NULL) < 0)
                abort();
        (void) qmp_execute(run.q, "one", NULL, 0, on_reply, &run, NULL);
        (void) qmp_execute_raw(run.q, "{\"execute\": \"two\", \"id\": [1]}", 100000, on_reply, &run, NULL);
        size_t part = (size_t) (data[0] >> 4) * 7 + 1;
        for (data++, size--; size > 0; data += part, size -= part) {
                part = MIN(part, size);
                if (send(pair[1], data, part, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
                        break;
                spin(loop);
        }
        close(pair[1]);
        spin(loop);
        qmp_free(run.q);
        sd_event_unref(loop);
}

static void person(const uint8_t *data, size_t size) {
        _cleanup_free_ char *text = strndup((const char *) data, size);
        _cleanup_json_ json_t *message = NULL;

        if (text && qmp_message_parse(text, &message, NULL) == 0 &&
            !json_is_string(json_object_get(message, "execute")))
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        if (size < 2)
                return 0;
        if (data[0] == '"')
                person(data + 1, size - 1);
        else
                connection(data, size);
        return 0;
}
