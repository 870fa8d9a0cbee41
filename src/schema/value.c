#include "schema/value.h"

#include "base/size.h"
#include "base/str.h"

#include <errno.h>
#include <inttypes.h>

struct value {
        const struct schema_row *row;
        const struct node *node;
        const char *key;
        const struct schema_input *in;
        void *field;
};

/* A list of more is never meant, and makes messages and command lines endless. */
enum { STRINGS_MAX = 1024 };

/* "utc|localtime" -> "\"utc\" or \"localtime\"" */
static const char *allowed_words(const struct schema_row *row, struct arena *arena) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        const char *quote = row->type == ROW_INT ? "" : "\"";

        for (const char *p = row->allowed; *p;) {
                size_t n = strcspn(p, "|");

                strbuf_addf(&b, "%s%.*s%s", quote, (int) n, p, quote);
                p += n;
                if (*p)
                        strbuf_add(&b, strchr(++p, '|') ? ", " : " or ");
        }
        return arena_strdup(arena, b.data);
}

static bool is_allowed(const char *allowed, const char *text) {
        size_t len = strlen(text);

        for (const char *p = allowed; p; p = strchr(p, '|') ? strchr(p, '|') + 1 : NULL)
                if (strcspn(p, "|") == len && memcmp(p, text, len) == 0)
                        return true;
        return false;
}

static const char *range_words(const struct schema_row *row, struct arena *arena) {
        char min[32], max[32];

        if (row->type != ROW_SIZE)
                return row->min > INT64_MIN / 2 && row->max < INT64_MAX ?
                               arena_printf(arena, "from %" PRId64 " to %" PRId64, row->min, row->max) :
                               arena_printf(arena, "of at least %" PRId64, row->min);
        return row->max ? arena_printf(arena, "from %s to %s", size_print((uint64_t) row->min, min),
                                       size_print((uint64_t) row->max, max)) :
                          arena_printf(arena, "of at least %s", size_print((uint64_t) row->min, min));
}

static const char *type_words(const struct schema_row *row, struct arena *arena) {
        if (row->allowed && row->type != ROW_STRINGS)
                return allowed_words(row, arena);
        switch (row->type) {
        case ROW_BOOL:
                return "true or false";
        case ROW_TRISTATE:
                return row->flags & ROW_AUTO ? "true, false or \"auto\"" : "true or false";
        case ROW_STRING:
                return "a string";
        case ROW_PATH:
                return "a path, as a string";
        case ROW_INT:
                return arena_printf(arena, "an integer %s", range_words(row, arena));
        case ROW_SIZE:
                return row->unit == 1 ? "a size: a string such as \"64M\", or an integer of bytes" :
                                        "a size: a string such as \"12G\", or an integer of MiB";
        case ROW_STRINGS:
                return row->flags & ROW_NUMBERS ? "a list of strings or integers" : "a list of strings";
        }
        return "";
}

/* The value as the message shows it: short ones in full. */
static const char *found_words(const struct node *n, struct arena *arena) {
        switch (n->type) {
        case NODE_STRING:
                return n->string.len <= 48 ? arena_printf(arena, "\"%s\"", n->string.data) : "a long string";
        case NODE_INT:
                return arena_printf(arena, "%" PRId64, n->integer);
        case NODE_BOOL:
                return n->boolean ? "true" : "false";
        case NODE_FLOAT:
                return arena_printf(arena, "the fraction %g", n->number);
        case NODE_TABLE:
        case NODE_ARRAY:
        case NODE_DATETIME:
                break;
        }
        return node_type_name(n->type);
}

/* A number as a text. PCI and USB ids are often written as lspci and lsusb print them: four digits of
 * base 16. */
static const char *number_hint(const struct schema_row *row, const char *text, struct arena *arena) {
        char *end;

        if (row->min == 0 && row->max == 0xffff && strlen(text) == 4 &&
            strspn(text, "0123456789abcdefABCDEF") == 4)
                return arena_printf(arena, "write 0x%s, without quotes", text);
        errno = 0;
        (void) strtoll(text, &end, 0);
        return *text && !*end && errno == 0 ? "without quotes" : NULL;
}

static bool value_refuse(const struct value *v, const struct node *found) {
        const char *type = type_words(v->row, v->in->arena), *hint = NULL;

        if (found->type == NODE_STRING && v->row->type == ROW_BOOL &&
            (str_eq(found->string.data, "true") || str_eq(found->string.data, "false")))
                hint = "without quotes";
        if (found->type == NODE_STRING && v->row->type == ROW_INT)
                hint = number_hint(v->row, found->string.data, v->in->arena);
        diag_error(v->in->diags, found->loc, v->key, hint, "must be %s, not %s", type,
                   found_words(found, v->in->arena));
        return false;
}

static bool string_check(const struct value *v, const struct node *n) {
        if (n->type != NODE_STRING)
                return value_refuse(v, n);
        if (strlen(n->string.data) != n->string.len) {
                diag_error(v->in->diags, n->loc, v->key, NULL, "must not contain a NUL character");
                return false;
        }
        return true;
}

static bool read_tristate(const struct value *v) {
        int *field = v->field;

        if (v->node->type == NODE_BOOL)
                *field = v->node->boolean ? TRI_TRUE : TRI_FALSE;
        else if ((v->row->flags & ROW_AUTO) && v->node->type == NODE_STRING &&
                 str_eq(v->node->string.data, "auto"))
                *field = TRI_AUTO;
        else
                return value_refuse(v, v->node);
        return true;
}

static bool read_string(const struct value *v) {
        const char *text = v->node->string.data;

        if (!string_check(v, v->node))
                return false;
        if (v->row->allowed && !is_allowed(v->row->allowed, text))
                return value_refuse(v, v->node);
        *(const char **) v->field = *text ? text : NULL;
        return true;
}

static bool read_path(const struct value *v) {
        const char *path = v->node->string.data;
        struct arena *arena = v->in->arena;

        if (!string_check(v, v->node))
                return false;
        if (path[0] == '~' && (path[1] == '/' || !path[1])) {
                diag_error(v->in->diags, v->node->loc, v->key, "write the whole path",
                           "~ is not expanded: \"%.256s\"", path);
                return false;
        }
        if (*path && *path != '/') {
                while (str_starts(path, "./"))
                        path += 2;
                path = arena_printf(arena, "%s%s%s", v->in->directory,
                                    str_ends(v->in->directory, "/") ? "" : "/", path);
                if (v->in->absolute) {
                        diag_error(v->in->diags, v->node->loc, v->key,
                                   arena_printf(arena, "write \"%.512s\"", path),
                                   "a saved definition needs absolute paths, and \"%.256s\" is relative",
                                   v->node->string.data);
                        return false;
                }
        }
        *(const char **) v->field = *path ? path : NULL;
        return true;
}

static bool read_int(const struct value *v) {
        const struct schema_row *row = v->row;
        int64_t n = v->node->integer;
        char text[32];

        if (v->node->type != NODE_INT)
                return value_refuse(v, v->node);
        snprintf(text, sizeof(text), "%" PRId64, n);
        if (row->allowed ? !is_allowed(row->allowed, text) : n < row->min || n > row->max)
                return value_refuse(v, v->node);
        *(int64_t *) v->field = n;
        return true;
}

static bool read_size(const struct value *v) {
        const struct schema_row *row = v->row;
        uint64_t size = 0;
        int r = 0;

        if (v->node->type == NODE_INT) {
                if (v->node->integer < 0)
                        return value_refuse(v, v->node);
                if (__builtin_mul_overflow((uint64_t) v->node->integer, row->unit, &size) || size > INT64_MAX)
                        r = -ERANGE;
        } else if (!string_check(v, v->node))
                return false;
        else
                r = size_parse(v->node->string.data, row->unit, &size);
        if (r == -EINVAL)
                return value_refuse(v, v->node);
        if (r == -ERANGE || (int64_t) size < row->min || (row->max && (int64_t) size > row->max)) {
                diag_error(v->in->diags, v->node->loc, v->key, NULL, "must be a size %s, not %s",
                           range_words(row, v->in->arena), found_words(v->node, v->in->arena));
                return false;
        }
        *(uint64_t *) v->field = size;
        return true;
}

/* One string of a list; where there is only one, its key has no index. */
static bool read_item(const struct value *v, const struct node *n, size_t i, const char **ret) {
        struct value item = *v;
        bool numbers = v->row->flags & ROW_NUMBERS;

        if (numbers && n->type == NODE_INT) {
                *ret = arena_printf(v->in->arena, "%" PRId64, n->integer);
                return true;
        }
        if (n != v->node)
                item.key = arena_printf(v->in->arena, "%s[%zu]", v->key, i);
        if (n != v->node && n->type != NODE_STRING) {
                diag_error(v->in->diags, n->loc, item.key, NULL, "must be %s, not %s",
                           numbers ? "a string or an integer" : "a string", found_words(n, v->in->arena));
                return false;
        }
        if (!string_check(&item, n))
                return false;
        *ret = n->string.data;
        return true;
}

static bool read_strings(const struct value *v) {
        const struct node *first = v->node->type == NODE_ARRAY ? v->node->first : v->node;
        struct strings list = { 0 };
        bool ok = true;

        for (const struct node *n = first; n; n = v->node->type == NODE_ARRAY ? n->next : NULL)
                list.n++;
        if (list.n > STRINGS_MAX) {
                diag_error(v->in->diags, v->node->loc, v->key, NULL, "has %zu items; at most %d are possible",
                           list.n, STRINGS_MAX);
                return false;
        }
        list.items = arena_new0(v->in->arena, const char *, list.n);
        list.locs = arena_new0(v->in->arena, struct loc, list.n);
        list.n = 0;
        for (const struct node *n = first; n; n = v->node->type == NODE_ARRAY ? n->next : NULL, list.n++) {
                list.locs[list.n] = n->loc;
                if (!read_item(v, n, list.n, &list.items[list.n]))
                        ok = false;
        }
        if (ok)
                *(struct strings *) v->field = list;
        return ok;
}

static bool value_store(const struct value *v) {
        switch (v->row->type) {
        case ROW_BOOL:
                if (v->node->type != NODE_BOOL)
                        return value_refuse(v, v->node);
                *(bool *) v->field = v->node->boolean;
                return true;
        case ROW_TRISTATE:
                return read_tristate(v);
        case ROW_STRING:
                return read_string(v);
        case ROW_PATH:
                return read_path(v);
        case ROW_INT:
                return read_int(v);
        case ROW_SIZE:
                return read_size(v);
        case ROW_STRINGS:
                return read_strings(v);
        }
        return false;
}

void value_read(const struct schema_row *row, const struct node *node, struct section *item, const char *key,
                const struct schema_input *in) {
        const struct value v = { row, node, key, in, (char *) item + row->offset };
        bool unset = node->type == NODE_STRING && node->string.len == 0 &&
                     (row->type == ROW_PATH || row->type == ROW_STRING);

        /* "" means not given: the default stays, and so does its origin. */
        if (unset && !(row->flags & ROW_REQUIRED))
                return;
        section_mark_file(item, row->offset, node->loc);
        if (unset)
                diag_error(in->diags, node->loc, key, NULL, "must not be empty");
        /* Given all the same, so that nobody also says that it is missing; but the value is the default. */
        if (unset || !value_store(&v))
                section_mark(item, row->offset, ORIGIN_DEFAULT, NULL);
}
