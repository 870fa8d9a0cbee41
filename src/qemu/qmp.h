/* A QMP connection on an sd-event loop. Never blocks. One command after another; each has a callback.
 * Limits: a line of at most 4 MiB from QEMU, 256 queued commands. */
#pragma once

#include "base/error.h"
#include "base/json.h"

#include <systemd/sd-event.h>

struct qmp;

/* reply is the "return" value (borrowed), or NULL with err set: QMP's own error has code -EPROTO and its
 * desc as text; a closed connection -ECONNRESET; a passed deadline -ETIMEDOUT. */
typedef void (*qmp_reply_fn)(struct qmp *q, const json_t *reply, const struct error *err, void *data);

struct qmp_ops {
        /* Greeting seen and qmp_capabilities answered: the machine is built (FACTS 1.4). */
        void (*ready)(struct qmp *q, const char *version, void *data);
        void (*event)(struct qmp *q, const char *name, const json_t *event_data, uint64_t time_us, void *data);
        /* Closed, garbage or too long: no call follows but qmp_free, which may be called inside it. */
        void (*closed)(struct qmp *q, const struct error *err, void *data);
};

/* Connects to a Unix socket (non-blocking; path may exceed 107 bytes: /proc/self/fd is used), and
 * negotiates. Callbacks come from the loop, never from inside this call. */
int qmp_connect(sd_event *loop, const char *path, const struct qmp_ops *ops, void *data, struct qmp **ret,
                struct error *err);
/* The same over a connected descriptor, which is owned from then on. */
int qmp_attach(sd_event *loop, int fd, const struct qmp_ops *ops, void *data, struct qmp **ret,
               struct error *err);
/* Pending callbacks are called with -ECONNRESET. NULL is fine. */
void qmp_free(struct qmp *q);

/* args is stolen (NULL: none); fn may be NULL. timeout_ms 0: none. */
int qmp_execute(struct qmp *q, const char *command, json_t *args, unsigned timeout_ms, qmp_reply_fn fn,
                void *data, struct error *err);
/* As given by a person: {"execute": …, "arguments": …}; a plain word is {"execute": word}. The reply is
 * QEMU's whole message ({"return": …} or {"error": …}). */
int qmp_execute_raw(struct qmp *q, const char *text, unsigned timeout_ms, qmp_reply_fn fn, void *data,
                    struct error *err);
