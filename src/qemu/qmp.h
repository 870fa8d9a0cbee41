/* A QMP connection on an sd-event loop. Never blocks. One command after another; each has a callback.
 * Limits: a line of at most 4 MiB from QEMU, 256 queued commands, 4 MiB of them.
 *
 * Nothing here wakes up while nothing happens: a timer is armed only while a command with a timeout waits. */
#pragma once

#include "base/error.h"
#include "base/json.h"

#include <systemd/sd-event.h>

enum { QMP_LINE_MAX = 4 * 1024 * 1024, QMP_QUEUE_MAX = 256, QMP_QUEUE_BYTES_MAX = 4 * 1024 * 1024 };

struct qmp;

/* reply is the "return" value (borrowed), or NULL with err set: QMP's own error has code -EPROTO and its
 * desc as text; a closed connection -ECONNRESET; a passed deadline -ETIMEDOUT (QEMU may carry it out later
 * all the same; that reply is dropped). */
typedef void (*qmp_reply_fn)(struct qmp *q, const json_t *reply, const struct error *err, void *data);

struct qmp_ops {
        /* Greeting seen and qmp_capabilities answered: the machine is built. (The greeting alone comes
         * before the devices are made.) version: "7.2.22", borrowed. */
        void (*ready)(struct qmp *q, const char *version, void *data);
        /* event_data is borrowed, NULL if the event has none; time_us is of CLOCK_REALTIME, 0 if QEMU does
         * not know it. */
        void (*event)(struct qmp *q, const char *name, const json_t *event_data, uint64_t time_us,
                      void *data);
        /* Closed (-ECONNRESET), garbage (-EBADMSG) or too long (-EMSGSIZE), after the callbacks of all
         * pending commands: no call follows but qmp_free, which may be called inside it. */
        void (*closed)(struct qmp *q, const struct error *err, void *data);
};

/* Connects to a Unix socket (non-blocking; path may exceed 107 bytes: /proc/self/fd is used), and
 * negotiates. Callbacks come from the loop, never from inside this call. ops is borrowed and must stay; each
 * of its members may be NULL. A monitor that has a client already accepts, but greets only when that one has
 * gone. */
int qmp_connect(sd_event *loop, const char *path, const struct qmp_ops *ops, void *data, struct qmp **ret,
                struct error *err);
/* The same over a connected descriptor, which is owned from then on, also on failure. */
int qmp_attach(sd_event *loop, int fd, const struct qmp_ops *ops, void *data, struct qmp **ret,
               struct error *err);
/* Pending callbacks are called with -ECONNRESET; they must not free q again. May be called in any callback.
 * NULL is fine. */
void qmp_free(struct qmp *q);

/* args is stolen, also on failure (NULL: none); fn may be NULL. timeout_ms 0: none; it counts from this call.
 * A command may be given before ready(): the first such is sent right behind qmp_capabilities, the others
 * wait for ready(). -ENOBUFS: the queue is full; -ECONNRESET: closed; then fn is not called. */
int qmp_execute(struct qmp *q, const char *command, json_t *args, unsigned timeout_ms, qmp_reply_fn fn,
                void *data, struct error *err);
/* As given by a person: {"execute": …, "arguments": …}; a plain word is {"execute": word}. The reply is
 * QEMU's whole message ({"return": …} or {"error": …}), with the id that the person gave. -EINVAL says what
 * is wrong with text. */
int qmp_execute_raw(struct qmp *q, const char *text, unsigned timeout_ms, qmp_reply_fn fn, void *data,
                    struct error *err);
