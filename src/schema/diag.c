#include "schema/diag.h"

#include "base/log.h"

#include "base/str.h"

#include <stdarg.h>

void diags_init(struct diags *d, struct arena *arena, const char *file) {
        *d = (struct diags){ .arena = arena, .file = arena_strdup(arena, file ? file : "") };
}

static void diags_push(struct diags *d, struct diag diag) {
        d->errors += diag.severity == DIAG_ERROR;
        if (d->n >= DIAGS_MAX)
                return;
        if (d->n == d->size) {
                size_t size = d->size ? d->size * 2 : 8;

                d->items = arena_grow(d->arena, d->items, d->n, size, sizeof(*d->items));
                d->size = size;
        }
        d->items[d->n++] = diag;
}

static void _printf_(6, 0) diag_addv(struct diags *d, enum diag_severity severity, struct loc loc,
                                     const char *key, const char *hint, const char *fmt, va_list ap) {
        _cleanup_free_ char *text = NULL;

        if (vasprintf(&text, fmt, ap) < 0)
                text = xstrdup("out of memory");
        diags_push(d, (struct diag){
                              .severity = severity,
                              .loc = loc,
                              .key = arena_strdup(d->arena, key ? key : ""),
                              .message = arena_strdup(d->arena, text),
                              .hint = arena_strdup(d->arena, hint),
                      });
}

void diag_error(struct diags *d, struct loc loc, const char *key, const char *hint, const char *fmt, ...) {
        va_list ap;

        va_start(ap, fmt);
        diag_addv(d, DIAG_ERROR, loc, key, hint, fmt, ap);
        va_end(ap);
}

void diag_warning(struct diags *d, struct loc loc, const char *key, const char *hint, const char *fmt, ...) {
        va_list ap;

        va_start(ap, fmt);
        diag_addv(d, DIAG_WARNING, loc, key, hint, fmt, ap);
        va_end(ap);
}

bool diags_full(const struct diags *d) {
        return d->n >= DIAGS_MAX;
}

static int diag_compare(const struct diag *a, const struct diag *b) {
        /* No place sorts last. */
        uint64_t x = a->loc.line ? a->loc.line : UINT64_MAX, y = b->loc.line ? b->loc.line : UINT64_MAX;

        if (x != y)
                return x < y ? -1 : 1;
        return a->loc.column < b->loc.column ? -1 : a->loc.column > b->loc.column;
}

/* Merge sort of [0, n): qsort(3) is not stable. */
static void diag_merge(struct diag *items, size_t n, struct diag *room) {
        if (n < 2)
                return;

        size_t half = n / 2, a = 0, b = half;

        diag_merge(items, half, room);
        diag_merge(items + half, n - half, room);
        for (size_t i = 0; i < n; i++)
                room[i] = a < half && (b == n || diag_compare(&items[a], &items[b]) <= 0) ? items[a++] :
                                                                                            items[b++];
        memcpy(items, room, n * sizeof(*items));
}

void diags_sort(struct diags *d) {
        _cleanup_free_ struct diag *room = NULL;

        if (d->n < 2)
                return;
        room = xcalloc(d->n, sizeof(*room));
        diag_merge(d->items, d->n, room);
}

static const char *severity_name(enum diag_severity s) {
        return s == DIAG_ERROR ? "error" : "warning";
}

json_t *diags_to_json(const struct diags *d) {
        json_t *array = json_array();

        for (size_t i = 0; i < d->n; i++) {
                const struct diag *x = &d->items[i];
                json_t *o = json_object();

                json_put(o, "file", json_string_lossy(d->file));
                json_put_int(o, "line", x->loc.line);
                json_put_int(o, "column", x->loc.column);
                json_put_str(o, "severity", severity_name(x->severity));
                json_put(o, "key", json_string_lossy(x->key));
                json_put(o, "message", json_string_lossy(x->message));
                json_put(o, "hint", x->hint ? json_string_lossy(x->hint) : json_null());
                json_push(array, o);
        }
        return array;
}

static uint32_t place_from_json(const json_t *o, const char *key) {
        int64_t n = json_get_int(o, key, 0);

        return n < 0 || n > UINT32_MAX ? 0 : (uint32_t) n;
}

void diags_add_json(struct diags *d, const json_t *array) {
        for (size_t i = 0; i < json_array_size(array); i++) {
                const json_t *o = json_array_get(array, i);
                bool warning = str_eq(json_get_str(o, "severity", "error"), "warning");

                diags_push(d, (struct diag){
                                      .severity = warning ? DIAG_WARNING : DIAG_ERROR,
                                      .loc = { place_from_json(o, "line"), place_from_json(o, "column") },
                                      .key = arena_strdup(d->arena, json_get_str(o, "key", "")),
                                      .message = arena_strdup(d->arena, json_get_str(o, "message", "")),
                                      .hint = arena_strdup(d->arena, json_get_str(o, "hint", NULL)),
                              });
        }
}

/* What a file says ends up on terminals: no control characters. */
static void print_clean(FILE *out, const char *s, size_t n) {
        for (size_t i = 0; i < n; i++) {
                unsigned char c = (unsigned char) s[i];

                fputc((c < 0x20 && c != '\t') || c == 0x7f ? '?' : c, out);
        }
}

static void print_text(FILE *out, const char *s) {
        print_clean(out, s, strlen(s));
}

/* The source line, then a caret under the column; columns count characters, tabs are kept. */
static void print_caret(FILE *out, const char *source, struct loc loc, bool color) {
        const char *line = source;

        for (uint32_t i = 1; i < loc.line; i++) {
                line = strchr(line, '\n');
                if (!line)
                        return;
                line++;
        }

        size_t n = strcspn(line, "\r\n");
        uint32_t column = 1;

        fputs("    ", out);
        print_clean(out, line, MIN(n, (size_t) 400));
        fputs("\n    ", out);
        for (size_t i = 0; i < MIN(n, (size_t) 400) && column < loc.column; i++) {
                if (((unsigned char) line[i] & 0xc0) == 0x80)
                        continue;
                fputc(line[i] == '\t' ? '\t' : ' ', out);
                column++;
        }
        fputs(color ? "\033[1;32m^\033[0m\n" : "^\n", out);
}

static void print_all(const struct diags *d, FILE *out, const char *source, bool color) {
        for (size_t i = 0; i < d->n; i++) {
                const struct diag *x = &d->items[i];

                print_text(out, d->file);
                if (x->loc.line)
                        fprintf(out, ":%u:%u", x->loc.line, x->loc.column);
                if (color)
                        fprintf(out, ": \033[1;%dm%s\033[0m: ", x->severity == DIAG_ERROR ? 31 : 35,
                                severity_name(x->severity));
                else
                        fprintf(out, ": %s: ", severity_name(x->severity));
                if (*x->key) {
                        print_text(out, x->key);
                        fputs(": ", out);
                }
                print_text(out, x->message);
                if (x->hint) {
                        fputs(" (", out);
                        print_text(out, x->hint);
                        fputc(')', out);
                }
                fputc('\n', out);
                if (source && x->loc.line)
                        print_caret(out, source, x->loc, color);
        }
        if (d->errors > d->n)
                fprintf(out, "and %zu more\n", d->errors - d->n);
}

/* In one piece: stderr has no buffer of its own. */
void diags_print(const struct diags *d, FILE *out, const char *source, bool color) {
        _cleanup_free_ char *text = NULL;
        size_t len = 0;
        FILE *memory = open_memstream(&text, &len);

        if (!memory)
                log_oom();
        print_all(d, memory, source, color);
        fclose(memory);
        (void) !fwrite(text, 1, len, out);
}
