#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

static char out_of_memory[] = "out of memory";

static void text_free(char *text) {
        if (text != out_of_memory)
                free(text);
}

_printf_(1, 0) static char *format(const char *fmt, va_list ap) {
        char *text = NULL;

        return vasprintf(&text, fmt, ap) < 0 ? out_of_memory : text;
}

static void text_replace(struct error *err, char *text) {
        text_free(err->text);
        err->text = text;
}

int error_set(struct error *err, int code, const char *fmt, ...) {
        va_list ap;

        if (code > 0)
                code = -code;
        if (!err)
                return code;
        va_start(ap, fmt);
        text_replace(err, format(fmt, ap));
        va_end(ap);
        err->code = code;
        return code;
}

int error_errno(struct error *err, int code, const char *fmt, ...) {
        char *full = NULL;
        va_list ap;

        if (code > 0)
                code = -code;
        if (!err)
                return code;
        va_start(ap, fmt);
        char *text = format(fmt, ap);
        va_end(ap);
        if (asprintf(&full, "%s: %s", text, strerror(-code)) < 0)
                full = out_of_memory;
        text_free(text);
        text_replace(err, full);
        err->code = code;
        return code;
}

int error_prefix(struct error *err, const char *fmt, ...) {
        char *full = NULL;
        va_list ap;

        if (!err || !err->text)
                return err ? err->code : 0;
        va_start(ap, fmt);
        char *prefix = format(fmt, ap);
        va_end(ap);
        if (asprintf(&full, "%s: %s", prefix, err->text) < 0)
                full = out_of_memory;
        text_free(prefix);
        text_replace(err, full);
        return err->code;
}

const char *error_text(const struct error *err) {
        if (!err)
                return "no error";
        if (err->text)
                return err->text;
        return err->code ? strerror(-err->code) : "no error";
}

int error_move(struct error *dst, struct error *src) {
        int code = src->code;

        if (!dst || dst == src) {
                if (!dst)
                        error_done(src);
                return code;
        }
        error_done(dst);
        *dst = *src;
        *src = ERROR_INIT;
        return code;
}

void error_done(struct error *err) {
        if (!err)
                return;
        text_free(err->text);
        *err = ERROR_INIT;
}
