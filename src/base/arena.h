/* An arena: memory that is released all at once. One per definition and per plan. Allocation never
 * returns NULL: out of memory ends the process, as there is nothing sensible left to do for a parse. */
#pragma once

#include "base/macros.h"

struct arena;

struct arena *arena_new(void);
/* Releases everything; NULL is fine. */
void arena_free(struct arena *a);

/* Zeroed, aligned for any type. */
void *arena_alloc(struct arena *a, size_t size);
char *arena_strdup(struct arena *a, const char *s); /* NULL gives NULL */
char *arena_strndup(struct arena *a, const char *s, size_t n);
char *arena_printf(struct arena *a, const char *fmt, ...) _printf_(2, 3);
/* A copy of old with room for new_n elements of size; old may be NULL. */
void *arena_grow(struct arena *a, const void *old, size_t old_n, size_t new_n, size_t size);

#define arena_new0(a, type, n) ((type *) arena_alloc((a), sizeof(type) * (n)))

static inline void arena_freep(struct arena **a) {
        arena_free(*a);
}
#define _cleanup_arena_ _cleanup_(arena_freep)
