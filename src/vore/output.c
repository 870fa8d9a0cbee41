#include "vore/output.h"

#include <inttypes.h>

struct table_cell {
        size_t text; /* where it begins in the table's texts */
        enum output_color color;
};

/* The character at s: its length in *ret_len; -1 for a byte that begins none. */
static int32_t utf8_next(const char *s, size_t *ret_len) {
        const unsigned char *p = (const unsigned char *) s;
        static const int32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
        size_t n = *p < 0x80               ? 1 :
                   *p >= 0xc2 && *p < 0xe0 ? 2 :
                   (*p & 0xf0) == 0xe0     ? 3 :
                   *p >= 0xf0 && *p < 0xf5 ? 4 :
                                             0;
        int32_t c = n == 1 ? *p : n == 2 ? *p & 0x1f : n == 3 ? *p & 0x0f : *p & 0x07;

        *ret_len = 1;
        if (n == 0)
                return -1;
        for (size_t i = 1; i < n; i++) {
                if ((p[i] & 0xc0) != 0x80)
                        return -1;
                c = c << 6 | (p[i] & 0x3f);
        }
        if (c < least[n] || (c >= 0xd800 && c < 0xe000) || c > 0x10ffff)
                return -1;
        *ret_len = n;
        return c;
}

static bool unsafe(int32_t c) {
        return (c >= 0x80 && c < 0xa0) || c == 0x061c || c == 0x200e || c == 0x200f || c == 0x2028 ||
               c == 0x2029 || (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

/* How many characters from s on mean just what they say: most text has no others. */
static size_t plain_span(const char *s) {
        size_t n = 0;

        while (s[n] >= 0x20 && s[n] < 0x7f)
                n++;
        return n;
}

void output_escape(struct strbuf *b, const char *s, const char *keep) {
        size_t n;

        for (; *s; s += n) {
                n = plain_span(s);
                if (n > 0) {
                        strbuf_addn(b, s, n);
                        continue;
                }
                int32_t c = utf8_next(s, &n);

                if (c > 0 && c < 0x80 && keep && strchr(keep, c))
                        strbuf_addn(b, s, 1);
                else if (c == '\n' || c == '\t')
                        strbuf_add(b, c == '\n' ? "\\n" : "\\t");
                else if (c < 0x20 || c == 0x7f)
                        strbuf_addf(b, "\\x%02x", (unsigned char) *s);
                else if (unsafe(c))
                        strbuf_addf(b, "\\u%04" PRIx32, (uint32_t) c);
                else
                        strbuf_addn(b, s, n);
        }
}

char *output_escaped(const char *s) {
        struct strbuf b = STRBUF_INIT;

        if (!s)
                return NULL;
        output_escape(&b, s, NULL);
        return strbuf_take(&b);
}

/* The blocks that matter in names of people's machines, from Unicode's EastAsianWidth and combining classes.
 */
static const struct {
        int32_t first, last;
        unsigned width;
} widths[] = {
        { 0x0300, 0x036f, 0 },   { 0x0483, 0x0489, 0 },   { 0x0591, 0x05bd, 0 },   { 0x064b, 0x065f, 0 },
        { 0x1100, 0x115f, 2 },   { 0x1ab0, 0x1aff, 0 },   { 0x1dc0, 0x1dff, 0 },   { 0x200b, 0x200d, 0 },
        { 0x20d0, 0x20ff, 0 },   { 0x2e80, 0x303e, 2 },   { 0x3041, 0xa4cf, 2 },   { 0xac00, 0xd7a3, 2 },
        { 0xf900, 0xfaff, 2 },   { 0xfe00, 0xfe0f, 0 },   { 0xfe20, 0xfe2f, 0 },   { 0xfe30, 0xfe6f, 2 },
        { 0xff01, 0xff60, 2 },   { 0xffe0, 0xffe6, 2 },   { 0x1f300, 0x1f64f, 2 }, { 0x1f680, 0x1f6ff, 2 },
        { 0x1f900, 0x1f9ff, 2 }, { 0x20000, 0x3fffd, 2 }, { 0xe0100, 0xe01ef, 0 },
};

size_t output_width(const char *s) {
        size_t total = 0, n;

        for (; *s; s += n) {
                int32_t c = utf8_next(s, &n);
                unsigned width = 1;

                for (size_t i = 0; c >= 0x300 && i < ARRAY_SIZE(widths); i++)
                        if (c >= widths[i].first && c <= widths[i].last)
                                width = widths[i].width;
                total += width;
        }
        return total;
}

const char *output_span(double seconds, char buf[static 32]) {
        if (!(seconds > 0))
                seconds = 0;
        if (seconds < 10)
                snprintf(buf, 32, "%.0f ms", seconds * 1000);
        else
                snprintf(buf, 32, "%.1f s", seconds);
        return buf;
}

static const char *const begins[] = {
        [COLOR_NONE] = "",           [COLOR_RED] = "\033[31m",  [COLOR_GREEN] = "\033[32m",
        [COLOR_YELLOW] = "\033[33m", [COLOR_CYAN] = "\033[36m", [COLOR_DIM] = "\033[2m",
        [COLOR_BOLD] = "\033[1m",
};

const char *output_color_begin(enum output_color color) {
        return begins[color];
}

const char *output_color_end(enum output_color color) {
        return color == COLOR_NONE ? "" : "\033[0m";
}

void table_init(struct table *t, const char *const *titles, uint32_t right) {
        *t = (struct table){ .titles = titles, .right = right };
        while (titles[t->n_columns])
                t->n_columns++;
}

void table_done(struct table *t) {
        strbuf_done(&t->texts);
        free(t->cells);
        *t = (struct table){ 0 };
}

void table_add(struct table *t, const char *text, enum output_color color) {
        if (t->n == t->size) {
                t->size = t->size ? t->size * 2 : 64;
                t->cells = xrealloc(t->cells, t->size, sizeof(*t->cells));
        }
        t->cells[t->n++] = (struct table_cell){ t->texts.len, color };
        output_escape(&t->texts, str_empty(text) ? "-" : text, NULL);
        strbuf_addn(&t->texts, "", 1);
}

static void pad(struct strbuf *b, size_t n) {
        while (n-- > 0)
                strbuf_addn(b, " ", 1);
}

/* One aligned cell; what stands last in its row is not followed by blanks. */
static void cell_align(struct strbuf *b, const struct table *t, size_t column, const char *text,
                       enum output_color color, size_t width) {
        size_t fill = width - MIN(width, output_width(text));
        bool right = t->right & (UINT32_C(1) << column);

        if (column > 0)
                strbuf_add(b, "  ");
        if (right)
                pad(b, fill);
        strbuf_add(b, output_color_begin(color));
        strbuf_add(b, text);
        strbuf_add(b, output_color_end(color));
        if (!right && column + 1 < t->n_columns)
                pad(b, fill);
}

static const struct table_cell *cell_at(const struct table *t, size_t row, size_t column) {
        return &t->cells[row * t->n_columns + column];
}

static const char *text_at(const struct table *t, size_t row, size_t column) {
        return t->texts.data + cell_at(t, row, column)->text;
}

static void print_aligned(const struct table *t, struct strbuf *b, size_t n_rows, bool color) {
        _cleanup_free_ size_t *width = xcalloc(t->n_columns, sizeof(size_t));

        for (size_t c = 0; c < t->n_columns; c++) {
                width[c] = output_width(t->titles[c]);
                for (size_t row = 0; row < n_rows; row++)
                        width[c] = MAX(width[c], output_width(text_at(t, row, c)));
                cell_align(b, t, c, t->titles[c], color ? COLOR_BOLD : COLOR_NONE, width[c]);
        }
        strbuf_add(b, "\n");
        for (size_t row = 0; row < n_rows; row++) {
                for (size_t c = 0; c < t->n_columns; c++)
                        cell_align(b, t, c, text_at(t, row, c),
                                   color ? cell_at(t, row, c)->color : COLOR_NONE, width[c]);
                strbuf_add(b, "\n");
        }
}

static void print_tabs(const struct table *t, struct strbuf *b, size_t n_rows) {
        for (size_t row = 0; row < n_rows; row++)
                for (size_t c = 0; c < t->n_columns; c++) {
                        strbuf_add(b, text_at(t, row, c));
                        strbuf_add(b, c + 1 < t->n_columns ? "\t" : "\n");
                }
}

void table_print(const struct table *t, FILE *out, bool terminal, bool color) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        size_t n_rows = t->n_columns ? t->n / t->n_columns : 0;

        if (terminal)
                print_aligned(t, &b, n_rows, color);
        else
                print_tabs(t, &b, n_rows);
        if (b.len)
                fwrite(b.data, 1, b.len, out);
}
