/* A QEMU that was started only to be asked, and a blocking QMP exchange with it. */
#pragma once

#include "base/error.h"
#include "base/json.h"
#include "base/str.h"

#include <sys/types.h>

struct caps_qemu {
        pid_t pid;    /* our child until caps_qemu_end() */
        int fd;       /* owned: QMP */
        int words_fd; /* owned: what it wrote to stderr */
        struct strbuf in;
        size_t start;         /* of in that is not read yet */
        uint64_t deadline_us; /* CLOCK_MONOTONIC */
};
#define CAPS_QEMU_INIT ((struct caps_qemu){ .pid = -1, .fd = -1, .words_fd = -1 })

/* Starts binary with -M none and negotiates; *ret_greeting (may be NULL) is owned by the caller. */
int caps_qemu_start(struct caps_qemu *q, const char *binary, uint64_t deadline_us, json_t **ret_greeting,
                    struct error *err);
/* Kills it and waits for its end. */
void caps_qemu_end(struct caps_qemu *q);
#define _cleanup_caps_qemu_ _cleanup_(caps_qemu_end)

/* The answer to command number i: "return", or NULL if QEMU refused. Borrowed. */
typedef void (*caps_answer_fn)(size_t i, const json_t *answer, void *data);

/* Sends n commands (n lines in text) without waiting for each other. *ret_n is the number that were
 * answered, also on failure: -ECONNRESET (QEMU died of the next one), -ETIMEDOUT. */
int caps_qemu_ask(struct caps_qemu *q, const char *text, size_t n, caps_answer_fn fn, void *data,
                  size_t *ret_n, struct error *err);

/* What binary prints on stdout for "OPTION help", at most 64 KiB, owned by the caller. */
int caps_qemu_help(const char *binary, const char *option, uint64_t deadline_us, char **ret,
                   struct error *err);
