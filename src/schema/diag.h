/* Diagnostics: everything wrong with one definition (or settings file), each with its place.
 * A list belongs to an arena; texts are copied into it. */
#pragma once

#include "base/arena.h"
#include "base/json.h"

#include <stdbool.h>
#include <stdint.h>

/* A place in a file: both 1-based, 0 when there is none (a default, a host fact). */
struct loc {
        uint32_t line, column;
};

enum diag_severity { DIAG_ERROR, DIAG_WARNING };

struct diag {
        enum diag_severity severity;
        struct loc loc;
        const char *key;     /* "disk[0].path"; "" for the file as a whole */
        const char *message; /* what is wrong and what is allowed */
        const char *hint;    /* what to type next; NULL if there is nothing to add */
};

struct diags {
        struct arena *arena; /* borrowed */
        const char *file;    /* as the user wrote it; borrowed from the arena */
        struct diag *items;
        size_t n, size, errors;
};

/* At most so many are kept (errors beyond are only counted): a small file can hold ten thousand faults. */
enum { DIAGS_MAX = 1000 };

void diags_init(struct diags *d, struct arena *arena, const char *file);
void diag_error(struct diags *d, struct loc loc, const char *key, const char *hint, const char *fmt, ...)
        _printf_(5, 6);
void diag_warning(struct diags *d, struct loc loc, const char *key, const char *hint, const char *fmt, ...)
        _printf_(5, 6);
/* Nothing more will be kept: no need to look for good words. */
bool diags_full(const struct diags *d);
/* By line, column; without a place last. Stable. */
void diags_sort(struct diags *d);

/* As `check --json` prints them: an array of file, line, column, severity ("error"/"warning"), key, message,
 * hint (null if none). */
json_t *diags_to_json(const struct diags *d);
/* Adds what an array of that form holds. */
void diags_add_json(struct diags *d, const json_t *array);

/* One line each: FILE:LINE:COL: error|warning: KEY: message (hint), without LINE:COL where there is none and
 * without KEY for the file as a whole. With source (a terminal) its line and a caret under it follow; color:
 * with escape sequences. Control characters are printed as "?". */
void diags_print(const struct diags *d, FILE *out, const char *source, bool color);
