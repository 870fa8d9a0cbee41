/* Strings: comparing, a growing buffer, shell quoting. */
#pragma once

#include "base/macros.h"

#include <stdbool.h>
#include <string.h>

static inline bool str_eq(const char *a, const char *b) {
        return a && b ? strcmp(a, b) == 0 : a == b;
}
static inline bool str_empty(const char *s) {
        return !s || !*s;
}
static inline bool str_starts(const char *s, const char *prefix) {
        return strncmp(s, prefix, strlen(prefix)) == 0;
}
bool str_ends(const char *s, const char *suffix);

/* strdup and asprintf that never return NULL (out of memory ends the process). */
char *xstrdup(const char *s);
char *xasprintf(const char *fmt, ...) _printf_(1, 2);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t n, size_t size);

/* A decimal or 0x number that is the whole string, in [min, max]; -EINVAL or -ERANGE. */
int str_to_int(const char *s, long long min, long long max, long long *ret);

/* Edit distance (Damerau-Levenshtein, optimal string alignment) of two short names; names over 64
 * bytes compare as their length. */
unsigned str_distance(const char *a, const char *b);

/* A growing, always NUL-terminated string. STRBUF_INIT needs no release until something was added. */
struct strbuf {
        char *data; /* owned; NULL while empty */
        size_t len, size;
};
#define STRBUF_INIT ((struct strbuf){ 0 })

void strbuf_add(struct strbuf *b, const char *s);
void strbuf_addn(struct strbuf *b, const char *s, size_t n);
void strbuf_addf(struct strbuf *b, const char *fmt, ...) _printf_(2, 3);
/* s as one word of a POSIX shell, quoted only where needed. */
void strbuf_add_shell(struct strbuf *b, const char *s);
/* The string ("" if nothing was added), to be freed by the caller; b is empty afterwards. */
char *strbuf_take(struct strbuf *b);
void strbuf_done(struct strbuf *b);
#define _cleanup_strbuf_ _cleanup_(strbuf_done)
