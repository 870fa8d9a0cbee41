/* Varlink's framing: one JSON object, then one NUL. A reader that takes bytes as they come and hands out
 * whole messages; pure, so that it can be tested and fuzzed. Every byte is looked at once, however small the
 * pieces are in which a message comes. */
#pragma once

#include "base/error.h"
#include "base/json.h"

#include <stdbool.h>

struct frame_reader {
        char *data; /* owned; NULL while nothing is held */
        size_t start, len, size, max;
        size_t scanned; /* so many of the len bytes are known to hold no NUL */
        bool whole;     /* a NUL is at data[start + scanned] */
};

/* max: the bytes of a message without its NUL. Allocates nothing yet. */
void frame_reader_init(struct frame_reader *r, size_t max);
void frame_reader_done(struct frame_reader *r);
/* Where the next bytes go, at least 1 free byte; *ret_room says how many. NULL: the message is too long. To
 * be asked only while no whole message waits. */
char *frame_reader_room(struct frame_reader *r, size_t *ret_room);
void frame_reader_added(struct frame_reader *r, size_t n);
/* The next message: 1 and a JSON object in *ret; 0: not complete yet; -EBADMSG: not a JSON object (it is
 * dropped); -EMSGSIZE: longer than max (it stays: the stream cannot be read on). */
int frame_reader_next(struct frame_reader *r, json_t **ret, struct error *err);
/* Would frame_reader_next give something else than 0? */
bool frame_reader_ready(const struct frame_reader *r);
/* Has a message been begun and not finished? */
bool frame_reader_partial(const struct frame_reader *r);
/* Bytes behind the last message handed out (for upgraded connections); borrowed. */
const char *frame_reader_rest(const struct frame_reader *r, size_t *ret_len);
/* The text of a message with its NUL; owned by the caller, *ret_len counts the NUL. */
char *frame_text(const json_t *message, size_t *ret_len);
