#include "schema/schema.h"

#include "base/str.h"

static const struct schema_row *row_at(const struct schema_section *section, size_t offset) {
        for (size_t i = 0; i < section->n_rows; i++)
                if (section->rows[i].offset == offset)
                        return &section->rows[i];
        return NULL;
}

static struct origin *origin_at(const struct section *s, size_t offset) {
        const struct schema_row *row = row_at(s->schema, offset);

        return row ? &s->origins[row - s->schema->rows] : NULL;
}

void section_mark(struct section *s, size_t offset, enum origin_kind kind, const char *where) {
        struct origin *o = origin_at(s, offset);

        if (!o)
                return;
        o->kind = kind;
        o->where = where;
}

void section_mark_file(struct section *s, size_t offset, struct loc loc) {
        struct origin *o = origin_at(s, offset);

        if (o)
                *o = (struct origin){ .kind = ORIGIN_FILE, .given = true, .loc = loc };
}

void section_mark_attached(struct section *s, size_t offset) {
        struct origin *o = origin_at(s, offset);

        if (o)
                *o = (struct origin){ .kind = ORIGIN_ATTACHED, .given = true, .where = "vore attach" };
}

bool section_given(const struct section *s, size_t offset) {
        const struct origin *o = origin_at(s, offset);

        return o && o->given;
}

void section_refuse(struct section *s, size_t offset) {
        struct origin *o = origin_at(s, offset);

        if (!o)
                return;
        o->kind = ORIGIN_DEFAULT;
        o->given = true;
}

bool section_faulty(const struct section *s, size_t offset) {
        const struct origin *o = origin_at(s, offset);

        return o && o->given && o->kind == ORIGIN_DEFAULT;
}

struct loc section_loc(const struct section *s, size_t offset) {
        const struct origin *o = origin_at(s, offset);

        return o && o->loc.line ? o->loc : s->loc;
}

const char *section_key(struct arena *arena, const struct section *s, const char *key) {
        return arena_printf(arena, "%s.%.64s", s->path, key);
}

const struct schema_section *schema_section_find(const struct schema *schema, const char *name) {
        for (size_t i = 0; i < schema->n_sections; i++)
                if (str_eq(schema->sections[i].name, name))
                        return &schema->sections[i];
        return NULL;
}

const struct schema_row *schema_row_find(const struct schema_section *section, const char *name) {
        for (size_t i = 0; i < section->n_rows; i++) {
                const struct schema_row *row = &section->rows[i];

                if (row->flags & ROW_NO_KEY)
                        continue;
                if (str_eq(row->name, name))
                        return row;
                for (size_t j = 0; j < ARRAY_SIZE(row->aliases) && row->aliases[j]; j++)
                        if (str_eq(row->aliases[j], name))
                                return row;
        }
        return NULL;
}

static bool is_list(const struct schema_section *section) {
        return section->flags & (SECTION_LIST | SECTION_NAMED);
}

size_t schema_items(const struct schema_section *section, const void *target) {
        return is_list(section) ? *(const size_t *) ((const char *) target + section->count_offset) : 1;
}

struct section *schema_item(const struct schema_section *section, const void *target, size_t i) {
        char *field = (char *) target + section->offset;

        return (struct section *) (is_list(section) ? *(char **) field + i * section->size : field);
}

void schema_defaults(const struct schema_section *section, void *item, const char *path,
                     struct arena *arena) {
        struct section *head = item;

        *head = (struct section){
                .schema = section,
                .path = path,
                .origins = arena_new0(arena, struct origin, section->n_rows),
        };
        for (size_t i = 0; i < section->n_rows; i++) {
                const struct schema_row *row = &section->rows[i];
                void *field = (char *) item + row->offset;

                switch (row->type) {
                case ROW_BOOL:
                        *(bool *) field = row->number != 0;
                        break;
                case ROW_TRISTATE:
                        *(int *) field = (int) row->number;
                        break;
                case ROW_INT:
                        *(int64_t *) field = row->number;
                        break;
                case ROW_SIZE:
                        *(uint64_t *) field = (uint64_t) row->number;
                        break;
                case ROW_STRING:
                case ROW_PATH:
                        *(const char **) field = row->text;
                        break;
                case ROW_STRINGS:
                        *(struct strings *) field = (struct strings){ 0 };
                        break;
                }
        }
}

const char *schema_nearest(const char *name, const char *const *names, size_t n) {
        /* A third of the letters may be wrong, but one always. */
        unsigned best = MAX((unsigned) (strlen(name) + 1) / 3, 1u) + 1;
        const char *found = NULL;

        for (size_t i = 0; i < n; i++) {
                unsigned d = str_distance(name, names[i]);

                if (d < best && d < strlen(names[i])) {
                        best = d;
                        found = names[i];
                }
        }
        return found;
}

/* A switch that is written as off asks for nothing. */
static bool asks(const struct section *item, const struct schema_row *row) {
        return row->type != ROW_BOOL || *(const bool *) ((const char *) item + row->offset);
}

static void check_rows(const struct section *item, struct diags *diags) {
        for (size_t i = 0; i < item->schema->n_rows; i++) {
                const struct schema_row *row = &item->schema->rows[i];

                if ((row->flags & ROW_UNSUPPORTED) && item->origins[i].given && asks(item, row))
                        diag_error(diags, section_loc(item, row->offset),
                                   section_key(diags->arena, item, row->name), NULL,
                                   "is not supported by this version");
        }
}

static void check_item(const struct section *item, struct diags *diags) {
        const struct schema_section *section = item->schema;
        struct loc loc = item->loc;

        if (!(section->flags & SECTION_UNSUPPORTED)) {
                check_rows(item, diags);
                return;
        }
        if (section->flags & SECTION_FEATURE) {
                const struct schema_row *enabled = schema_row_find(section, "enabled");

                if (!*(const bool *) ((const char *) item + enabled->offset))
                        return;
                if (!loc.line)
                        loc = section_loc(item, enabled->offset);
        } else if (!loc.line)
                return;
        diag_error(diags, loc, item->path, NULL, "is not supported by this version");
}

void schema_check_supported(const struct schema *schema, const void *target, struct diags *diags) {
        for (size_t i = 0; i < schema->n_sections; i++) {
                const struct schema_section *section = &schema->sections[i];

                for (size_t j = 0; j < schema_items(section, target); j++)
                        check_item(schema_item(section, target, j), diags);
        }
}
