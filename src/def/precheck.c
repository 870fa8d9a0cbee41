#include "def/toml.h"

#include "base/str.h"
#include "def/def.h"

#include <errno.h>

/* A reader that only knows strings, comments, brackets and dots: enough to bound how deep the parser goes.
 * Where it and TOML disagree the text is not TOML, and the parser stops there at the latest. */
struct reader {
        const char *p, *end;
        struct loc loc;
        unsigned depth, dots;
        struct diags *diags;
};

/* Bytes of the valid UTF-8 character at p, 0 if there is none (RFC 3629: no overlong forms, no surrogates).
 */
static unsigned utf8_length(const unsigned char *p, size_t left) {
        unsigned n = *p < 0x80 ? 1 : *p >= 0xc2 && *p < 0xe0 ? 2 : (*p & 0xf0) == 0xe0 ? 3 : 0;

        if (*p >= 0xf0 && *p < 0xf5)
                n = 4;
        if (!n || n > left)
                return 0;
        for (unsigned i = 1; i < n; i++)
                if ((p[i] & 0xc0) != 0x80)
                        return 0;
        if ((*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) || (*p == 0xf0 && p[1] < 0x90) ||
            (*p == 0xf4 && p[1] > 0x8f))
                return 0;
        return n;
}

static int check_bytes(const char *text, size_t len, struct diags *diags) {
        const unsigned char *p = (const unsigned char *) text, *end = p + len;
        struct loc loc = { 1, 1 };

        while (p < end) {
                unsigned n = utf8_length(p, (size_t) (end - p));

                if (!n) {
                        diag_error(diags, loc, "", "save the file as UTF-8", "is not valid UTF-8 here");
                        return -EINVAL;
                }
                if ((*p < 0x20 && *p != '\t' && *p != '\n' && !(*p == '\r' && p + 1 < end && p[1] == '\n')) ||
                    *p == 0x7f) {
                        diag_error(diags, loc, "", NULL, "control character U+%04X is not allowed", *p);
                        return -EINVAL;
                }
                if (*p == '\n')
                        loc = (struct loc){ loc.line + 1, 1 };
                else
                        loc.column++;
                p += n;
        }
        return 0;
}

static void step(struct reader *r, size_t n) {
        for (; n && r->p < r->end; n--, r->p++)
                if (*r->p == '\n')
                        r->loc = (struct loc){ r->loc.line + 1, 1 };
                else if (((unsigned char) *r->p & 0xc0) != 0x80)
                        r->loc.column++;
}

static bool at(const struct reader *r, const char *s) {
        size_t n = strlen(s);

        return (size_t) (r->end - r->p) >= n && memcmp(r->p, s, n) == 0;
}

/* From a quote to behind the one that ends the string, or to where it can no longer be one. */
static void skip_string(struct reader *r) {
        const char *quote = at(r, "\"\"\"") ? "\"\"\"" : at(r, "'''") ? "'''" : at(r, "\"") ? "\"" : "'";
        size_t n = strlen(quote);
        bool escapes = *quote == '"';

        step(r, n);
        while (r->p < r->end && !at(r, quote)) {
                if (n == 1 && *r->p == '\n')
                        return;
                step(r, escapes && *r->p == '\\' ? 2 : 1);
        }
        step(r, n);
        /* One or two quotes may stand right before the three that end it. */
        for (size_t i = 0; n == 3 && i < 2 && r->p < r->end && *r->p == *quote; i++)
                step(r, 1);
}

static int open_bracket(struct reader *r) {
        r->dots = 0;
        if (++r->depth <= DEF_DEPTH_MAX)
                return 0;
        diag_error(r->diags, r->loc, "", NULL, "brackets are nested more than %d deep", DEF_DEPTH_MAX);
        return -EINVAL;
}

static int check_depth(struct reader *r) {
        /* A byte order mark is no part of the text. */
        if (at(r, "\xef\xbb\xbf"))
                r->p += 3;
        while (r->p < r->end) {
                if ((unsigned char) *r->p >= 0x80) {
                        diag_error(r->diags, r->loc, "", "put it in quotes",
                                   "only strings and comments may have characters beyond ASCII");
                        return -EINVAL;
                }
                switch (*r->p) {
                case '"':
                case '\'':
                        skip_string(r);
                        continue;
                case '#':
                        while (r->p < r->end && *r->p != '\n')
                                step(r, 1);
                        continue;
                case '[':
                case '{':
                        if (open_bracket(r) < 0)
                                return -EINVAL;
                        break;
                case ']':
                case '}':
                        r->dots = 0;
                        r->depth -= r->depth > 0;
                        break;
                case '=':
                case ',':
                case '\n':
                        r->dots = 0;
                        break;
                case '.':
                        if (++r->dots < DEF_DEPTH_MAX)
                                break;
                        diag_error(r->diags, r->loc, "", NULL, "a key has more than %d parts", DEF_DEPTH_MAX);
                        return -EINVAL;
                }
                step(r, 1);
        }
        return 0;
}

int toml_precheck(const char *text, size_t len, struct diags *diags) {
        struct reader r = { .p = text, .end = text + len, .loc = { 1, 1 }, .diags = diags };

        if (len > DEF_SIZE_MAX) {
                diag_error(diags, (struct loc){ 1, 1 }, "", NULL, "is longer than %d KiB",
                           DEF_SIZE_MAX / 1024);
                return -EINVAL;
        }
        if (check_bytes(text, len, diags) < 0)
                return -EINVAL;
        return check_depth(&r);
}
