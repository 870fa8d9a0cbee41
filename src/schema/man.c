#include "schema/schema.h"

#include "base/size.h"
#include "base/str.h"

#include <inttypes.h>

/* Text as scdoc takes it literally: its own marks get a backslash. */
static void print_part(FILE *out, const char *s, size_t n) {
        for (size_t i = 0; i < n; i++) {
                if (strchr("*_\\#~", s[i]))
                        fputc('\\', out);
                fputc(s[i], out);
        }
}

static void print_text(FILE *out, const char *s) {
        print_part(out, s, strlen(s));
}

static const char *type_name(const struct schema_row *row) {
        switch (row->type) {
        case ROW_BOOL:
                return "true or false";
        case ROW_TRISTATE:
                return row->flags & ROW_AUTO ? "true, false or \"auto\"" : "true or false";
        case ROW_STRING:
                return "string";
        case ROW_PATH:
                return "path";
        case ROW_INT:
                return "integer";
        case ROW_SIZE:
                return row->unit == 1 ? "size; a bare integer is bytes" : "size; a bare integer is MiB";
        case ROW_STRINGS:
                return row->flags & ROW_NUMBERS ? "list of strings or integers" : "list of strings";
        }
        return "";
}

static void print_allowed(FILE *out, const struct schema_row *row) {
        char min[32], max[32];

        if (row->type == ROW_INT && !row->allowed && row->max < INT64_MAX)
                fprintf(out, ", %" PRId64 " to %" PRId64, row->min, row->max);
        if (row->type == ROW_SIZE && row->max)
                fprintf(out, ", %s to %s", size_print((uint64_t) row->min, min),
                        size_print((uint64_t) row->max, max));
        if (!row->allowed)
                return;
        fputs(": ", out);
        for (const char *p = row->allowed; *p;) {
                size_t n = strcspn(p, "|");

                print_part(out, p, n);
                p += n;
                if (*p++ != '|')
                        break;
                fputs(", ", out);
        }
}

static void print_default(FILE *out, const struct schema_row *row) {
        char size[32];

        if (row->flags & ROW_REQUIRED) {
                fputs("; required", out);
                return;
        }
        if (row->words) {
                fputs("; default: ", out);
                print_text(out, row->words);
                return;
        }
        switch (row->type) {
        case ROW_BOOL:
                fprintf(out, "; default: %s", row->number ? "true" : "false");
                break;
        case ROW_TRISTATE:
                fprintf(out, "; default: %s",
                        row->number == TRI_TRUE  ? "true" :
                        row->number == TRI_FALSE ? "false" :
                                                   "\"auto\"");
                break;
        case ROW_INT:
                fprintf(out, "; default: %" PRId64, row->number);
                break;
        case ROW_SIZE:
                fprintf(out, "; default: %s", size_print((uint64_t) row->number, size));
                break;
        case ROW_STRING:
        case ROW_PATH:
                if (row->text) {
                        fputs("; default: ", out);
                        print_text(out, row->text);
                }
                break;
        case ROW_STRINGS:
                break;
        }
}

static void print_row(FILE *out, const struct schema_row *row) {
        fprintf(out, "*%s*", row->name);
        for (size_t j = 0; j < ARRAY_SIZE(row->aliases) && row->aliases[j]; j++)
                fprintf(out, "%s*%s*", j ? ", " : " (also ", row->aliases[j]);
        if (row->aliases[0])
                fputc(')', out);
        fprintf(out, " = %s", type_name(row));
        print_allowed(out, row);
        print_default(out, row);
        fputs("\n\t", out);
        print_text(out, row->doc);
        if (row->flags & ROW_UNSUPPORTED)
                fputs(" Not supported by this version.", out);
        fputs("\n\n", out);
}

void schema_print_man(FILE *out, const struct schema *schema) {
        for (size_t i = 0; i < schema->n_sections; i++) {
                const struct schema_section *s = &schema->sections[i];
                const char *open = s->flags & SECTION_LIST ? "[[" : "[",
                           *close = s->flags & SECTION_LIST ? "]]" : "]";

                fprintf(out, "## %s%s%s%s\n\n", open, s->name, s->flags & SECTION_NAMED ? ".NAME" : "",
                        close);
                print_text(out, s->doc);
                if (s->flags & SECTION_UNSUPPORTED)
                        fputs(" Not supported by this version.", out);
                fputs("\n\n", out);
                for (size_t j = 0; j < s->n_rows; j++)
                        if (!(s->rows[j].flags & ROW_NO_KEY))
                                print_row(out, &s->rows[j]);
        }
}
