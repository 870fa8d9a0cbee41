/* An error: a negative errno and one sentence for a person.
 *
 * Functions return 0 or -errno and describe the failure in *err. The text names what was wanted and
 * what was found; whoever is above adds where, with error_prefix(). err may always be NULL. Setting an
 * error that is set already replaces it. */
#pragma once

#include "base/macros.h"

struct error {
        int code;   /* negative errno; 0: no error */
        char *text; /* owned; NULL: no error */
};

#define ERROR_INIT ((struct error){ 0 })

/* Sets *err and returns code (made negative). Formatting never fails visibly: out of memory leaves a
 * fixed text. */
int error_set(struct error *err, int code, const char *fmt, ...) _printf_(3, 4);

/* As error_set(), with ": " and strerror(code) added. */
int error_errno(struct error *err, int code, const char *fmt, ...) _printf_(3, 4);

/* Puts "…: " before the text; returns err->code (or 0 for an err that is NULL or not set). */
int error_prefix(struct error *err, const char *fmt, ...) _printf_(2, 3);

/* The text, or strerror of the code, or "no error". Borrowed. */
const char *error_text(const struct error *err);

/* Moves *src into *dst (which may be NULL: then src is released). Returns the code. */
int error_move(struct error *dst, struct error *src);

void error_done(struct error *err);
#define _cleanup_error_ _cleanup_(error_done)
