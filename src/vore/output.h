/* Text for people: escaping what came from elsewhere, columns, spans of time, colours. */
#pragma once

#include "base/str.h"

#include <stdbool.h>

/* Adds s with what could move the cursor or hide text made visible: control characters as \n, \t, \x1b,
 * U+0080…U+009F and the characters that change the direction of writing as \u202e, bytes that are no UTF-8 as
 * \xff. Characters of keep ("\n\t") stay as they are. */
void output_escape(struct strbuf *b, const char *s, const char *keep);
/* The same as a new string with nothing kept; owned by the caller. NULL gives NULL. */
char *output_escaped(const char *s);

/* Columns that a UTF-8 string takes on a terminal: 0 for combining marks, 2 for wide East Asian characters
 * and emoji. Bytes that are no UTF-8 count 1. */
size_t output_width(const char *s);

/* "12 ms", from 10 s on "12.3 s". buf holds at least 32 bytes. */
const char *output_span(double seconds, char buf[static 32]);

enum output_color { COLOR_NONE, COLOR_RED, COLOR_GREEN, COLOR_YELLOW, COLOR_CYAN, COLOR_DIM, COLOR_BOLD };
/* The escape sequences that begin and end it; "" for COLOR_NONE. */
const char *output_color_begin(enum output_color color);
const char *output_color_end(enum output_color color);

/* Rows of cells. On a terminal aligned columns under a header, else tab-separated without one. */
struct table {
        const char *const *titles; /* borrowed, NULL-terminated */
        size_t n_columns;
        uint32_t right;           /* bit per column: aligned to the right */
        struct table_cell *cells; /* owned */
        struct strbuf texts;      /* of all cells, each with its NUL */
        size_t n, size;
};
void table_init(struct table *t, const char *const *titles, uint32_t right);
void table_done(struct table *t);
#define _cleanup_table_ _cleanup_(table_done)
/* The next cell, row by row; text is copied and escaped, NULL or "" is shown as "-". */
void table_add(struct table *t, const char *text, enum output_color color);
void table_print(const struct table *t, FILE *out, bool terminal, bool color);
