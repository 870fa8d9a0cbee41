#include "base/str.h"

#include "base/log.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>

bool str_ends(const char *s, const char *suffix) {
        size_t n = strlen(s), m = strlen(suffix);

        return n >= m && strcmp(s + n - m, suffix) == 0;
}

char *xstrdup(const char *s) {
        char *copy = strdup(s);

        if (!copy)
                log_oom();
        return copy;
}

char *xasprintf(const char *fmt, ...) {
        char *text = NULL;
        va_list ap;

        va_start(ap, fmt);
        if (vasprintf(&text, fmt, ap) < 0)
                log_oom();
        va_end(ap);
        return text;
}

void *xcalloc(size_t n, size_t size) {
        void *p = calloc(n, size);

        if (!p)
                log_oom();
        return p;
}

void *xrealloc(void *p, size_t n, size_t size) {
        void *q = reallocarray(p, n, size);

        if (!q)
                log_oom();
        return q;
}

int str_to_int(const char *s, long long min, long long max, long long *ret) {
        char *end;

        if (!*s || isspace((unsigned char) *s))
                return -EINVAL;
        errno = 0;
        int base = strncasecmp(s + (*s == '-' || *s == '+'), "0x", 2) == 0 ? 16 : 10;
        long long v = strtoll(s, &end, base);
        if (*end)
                return -EINVAL;
        if (errno == ERANGE || v < min || v > max)
                return -ERANGE;
        *ret = v;
        return 0;
}

unsigned str_distance(const char *a, const char *b) {
        enum { LIMIT = 64 };
        size_t n = strlen(a), m = strlen(b);
        unsigned rows[3][LIMIT + 1];

        if (n > LIMIT || m > LIMIT)
                return (unsigned) MAX(n, m);
        for (size_t j = 0; j <= m; j++)
                rows[0][j] = (unsigned) j;
        for (size_t i = 1; i <= n; i++) {
                unsigned *cur = rows[i % 3], *up = rows[(i + 2) % 3], *up2 = rows[(i + 1) % 3];

                cur[0] = (unsigned) i;
                for (size_t j = 1; j <= m; j++) {
                        unsigned cost = a[i - 1] != b[j - 1];

                        cur[j] = MIN(MIN(up[j] + 1, cur[j - 1] + 1), up[j - 1] + cost);
                        if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                                cur[j] = MIN(cur[j], up2[j - 2] + 1);
                }
        }
        return rows[n % 3][m];
}

static void strbuf_room(struct strbuf *b, size_t n) {
        if (n > SIZE_MAX / 4 - b->len)
                log_oom();
        if (b->size - b->len > n)
                return;
        b->size = MAX(b->len + n + 1, b->size * 2);
        b->data = xrealloc(b->data, b->size, 1);
}

void strbuf_addn(struct strbuf *b, const char *s, size_t n) {
        strbuf_room(b, n);
        memcpy(b->data + b->len, s, n);
        b->len += n;
        b->data[b->len] = '\0';
}

void strbuf_add(struct strbuf *b, const char *s) {
        strbuf_addn(b, s, strlen(s));
}

void strbuf_addf(struct strbuf *b, const char *fmt, ...) {
        _cleanup_free_ char *text = NULL;
        va_list ap;

        va_start(ap, fmt);
        int n = vasprintf(&text, fmt, ap);
        va_end(ap);
        if (n < 0)
                log_oom();
        strbuf_addn(b, text, (size_t) n);
}

void strbuf_add_shell(struct strbuf *b, const char *s) {
        static const char plain[] =
                "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%+=:,./_-";

        if (*s && s[strspn(s, plain)] == '\0') {
                strbuf_add(b, s);
                return;
        }
        strbuf_addn(b, "'", 1);
        for (; *s; s++)
                if (*s == '\'')
                        strbuf_add(b, "'\\''");
                else
                        strbuf_addn(b, s, 1);
        strbuf_addn(b, "'", 1);
}

char *strbuf_take(struct strbuf *b) {
        char *data = b->data ? b->data : xstrdup("");

        *b = STRBUF_INIT;
        return data;
}

void strbuf_done(struct strbuf *b) {
        free(b->data);
        *b = STRBUF_INIT;
}
