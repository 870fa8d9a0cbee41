#include "rpc/frame.h"

#include "base/str.h"

#include <errno.h>

#define SIZE_FIRST ((size_t) 4096)
/* An idle reader keeps no more than this. */
#define SIZE_KEPT ((size_t) 16384)

void frame_reader_init(struct frame_reader *r, size_t max) {
        *r = (struct frame_reader){ .max = max };
}

void frame_reader_done(struct frame_reader *r) {
        free(r->data);
        frame_reader_init(r, r->max);
}

static void scan(struct frame_reader *r) {
        const char *from = r->data + r->start + r->scanned, *nul;

        if (r->whole || r->scanned == r->len)
                return;
        nul = memchr(from, '\0', r->len - r->scanned);
        r->whole = nul != NULL;
        r->scanned = nul ? r->scanned + (size_t) (nul - from) : r->len;
}

char *frame_reader_room(struct frame_reader *r, size_t *ret_room) {
        if (r->len > r->max)
                return NULL;
        if (r->start > 0 && r->start + r->len == r->size) {
                memmove(r->data, r->data + r->start, r->len);
                r->start = 0;
        }
        if (r->start + r->len == r->size) {
                r->size = MIN(MAX(r->size * 2, SIZE_FIRST), r->max + 1);
                r->data = xrealloc(r->data, r->size, 1);
        }
        *ret_room = r->size - r->start - r->len;
        return r->data + r->start + r->len;
}

void frame_reader_added(struct frame_reader *r, size_t n) {
        r->len += n;
        scan(r);
}

static void drop_first(struct frame_reader *r) {
        r->start += r->scanned + 1;
        r->len -= r->scanned + 1;
        r->scanned = 0;
        r->whole = false;
        if (r->len > 0) {
                scan(r);
                return;
        }
        r->start = 0;
        if (r->size > SIZE_KEPT) {
                free(TAKE_PTR(r->data));
                r->size = 0;
        }
}

int frame_reader_next(struct frame_reader *r, json_t **ret, struct error *err) {
        _cleanup_json_ json_t *message = NULL;
        int k;

        if (!r->whole && r->len > r->max)
                return error_set(err, -EMSGSIZE, "message is longer than %zu bytes", r->max);
        if (!r->whole)
                return 0;
        k = json_parse(r->data + r->start, r->scanned, &message, err);
        drop_first(r);
        if (k < 0)
                return k;
        if (!json_is_object(message))
                return error_set(err, -EBADMSG, "message is not a JSON object");
        *ret = TAKE_PTR(message);
        return 1;
}

bool frame_reader_ready(const struct frame_reader *r) {
        return r->whole || r->len > r->max;
}

bool frame_reader_partial(const struct frame_reader *r) {
        return r->len > 0 && !r->whole;
}

const char *frame_reader_rest(const struct frame_reader *r, size_t *ret_len) {
        *ret_len = r->len;
        return r->data ? r->data + r->start : "";
}

char *frame_text(const json_t *message, size_t *ret_len) {
        char *text = json_text(message);

        *ret_len = strlen(text) + 1;
        return text;
}
