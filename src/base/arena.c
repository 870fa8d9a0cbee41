#include "base/arena.h"

#include "base/log.h"

#include <stdarg.h>
#include <stdalign.h>
#include <string.h>

enum { CHUNK_SIZE = 4096 };

struct chunk {
        struct chunk *next;
        size_t used, size;
        alignas(max_align_t) char data[];
};

struct arena {
        struct chunk *first;
};

struct arena *arena_new(void) {
        struct arena *a = calloc(1, sizeof(*a));

        if (!a)
                log_oom();
        return a;
}

void arena_free(struct arena *a) {
        if (!a)
                return;
        for (struct chunk *c = a->first, *next; c; c = next) {
                next = c->next;
                free(c);
        }
        free(a);
}

static struct chunk *chunk_add(struct arena *a, size_t size) {
        size_t room = MAX(size, (size_t) CHUNK_SIZE - sizeof(struct chunk));
        struct chunk *c = calloc(1, sizeof(*c) + room);

        if (!c)
                log_oom();
        c->size = room;
        /* A large block goes behind the current one, whose rest stays usable. */
        if (a->first && size > CHUNK_SIZE / 2) {
                c->next = a->first->next;
                a->first->next = c;
        } else {
                c->next = a->first;
                a->first = c;
        }
        return c;
}

void *arena_alloc(struct arena *a, size_t size) {
        const size_t align = alignof(max_align_t);

        if (size > SIZE_MAX / 2)
                log_oom();
        size = (size + align - 1) / align * align;

        struct chunk *c = a->first;
        if (!c || c->size - c->used < size)
                c = chunk_add(a, size);
        void *p = c->data + c->used;
        c->used += size;
        return p;
}

char *arena_strndup(struct arena *a, const char *s, size_t n) {
        char *copy = arena_alloc(a, n + 1);

        memcpy(copy, s, n);
        return copy;
}

char *arena_strdup(struct arena *a, const char *s) {
        return s ? arena_strndup(a, s, strlen(s)) : NULL;
}

char *arena_printf(struct arena *a, const char *fmt, ...) {
        _cleanup_free_ char *text = NULL;
        va_list ap;

        va_start(ap, fmt);
        int n = vasprintf(&text, fmt, ap);
        va_end(ap);
        if (n < 0)
                log_oom();
        return arena_strndup(a, text, (size_t) n);
}

void *arena_grow(struct arena *a, const void *old, size_t old_n, size_t new_n, size_t size) {
        void *p = arena_alloc(a, new_n * size);

        if (old && old_n)
                memcpy(p, old, old_n * size);
        return p;
}
