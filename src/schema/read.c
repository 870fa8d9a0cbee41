#include "schema/schema.h"

#include "base/str.h"
#include "schema/value.h"

/* A message that lists more names is not read. */
enum { LISTED_MAX = 16 };

/* Names that an unknown one is compared with, or that a message lists. */
struct names {
        const char *items[64];
        size_t n;
};

static void names_add(struct names *names, const char *name) {
        if (names->n < ARRAY_SIZE(names->items))
                names->items[names->n++] = name;
}

static const char *names_list(const struct names *names, const char *before, struct arena *arena) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

        strbuf_add(&b, before);
        for (size_t i = 0; i < names->n; i++)
                strbuf_addf(&b, "%s%s", i ? ", " : "", names->items[i]);
        return arena_strdup(arena, b.data);
}

/* "[cpu]", "[[disk]]", "[uefi.NAME]" */
static const char *section_header(const struct schema_section *s, struct arena *arena) {
        return s->flags & SECTION_LIST  ? arena_printf(arena, "[[%s]]", s->name) :
               s->flags & SECTION_NAMED ? arena_printf(arena, "[%s.NAME]", s->name) :
                                          arena_printf(arena, "[%s]", s->name);
}

/* The section that a key of this name is for, where the header is missing or the wrong one: the only one that
 * has it, or one that needs it. */
static const struct schema_section *section_having(const struct schema *schema, const char *key) {
        const struct schema_section *found = NULL;
        size_t n = 0;

        for (size_t i = 0; i < schema->n_sections; i++) {
                const struct schema_row *row = schema_row_find(&schema->sections[i], key);

                if (row && (row->flags & ROW_REQUIRED))
                        return &schema->sections[i];
                if (row && n++ == 0)
                        found = &schema->sections[i];
        }
        return n == 1 ? found : NULL;
}

static void unknown_key(const struct schema *schema, const struct section *item, const struct node *n,
                        const struct schema_input *in) {
        const struct schema_section *other = NULL;
        struct names names = { 0 }, own = { 0 };
        const char *hint = NULL, *nearest = NULL;

        if (!diags_full(in->diags)) {
                for (size_t i = 0; i < item->schema->n_rows; i++) {
                        const struct schema_row *row = &item->schema->rows[i];

                        if (row->flags & ROW_NO_KEY)
                                continue;
                        names_add(&own, row->name);
                        names_add(&names, row->name);
                        for (size_t j = 0; j < ARRAY_SIZE(row->aliases) && row->aliases[j]; j++)
                                names_add(&names, row->aliases[j]);
                }
                nearest = schema_nearest(n->key, names.items, names.n);
                other = section_having(schema, n->key);
        }
        if (n->type == NODE_TABLE && schema_section_find(schema, n->key))
                hint = arena_printf(in->arena, "write %s",
                                    section_header(schema_section_find(schema, n->key), in->arena));
        else if (nearest)
                hint = arena_printf(in->arena, "did you mean %s?", nearest);
        else if (other && other != item->schema)
                hint = arena_printf(in->arena, "it belongs to %s", section_header(other, in->arena));
        else if (own.n && own.n <= LISTED_MAX)
                hint = names_list(&own, "possible: ", in->arena);
        diag_error(in->diags, n->key_loc, section_key(in->arena, item, n->key), hint, "unknown key");
}

static void unknown_section(const struct schema *schema, const struct node *n,
                            const struct schema_input *in) {
        const struct schema_section *found = NULL;
        struct names names = { 0 };
        const char *hint = NULL, *nearest = NULL;
        bool table =
                n->type == NODE_TABLE || (n->type == NODE_ARRAY && n->first && n->first->type == NODE_TABLE);

        if (!diags_full(in->diags)) {
                for (size_t i = 0; i < schema->n_sections; i++)
                        names_add(&names, schema->sections[i].name);
                nearest = schema_nearest(n->key, names.items, names.n);
                found = nearest ? schema_section_find(schema, nearest) : NULL;
        }
        if (!table && !diags_full(in->diags) && section_having(schema, n->key))
                hint = arena_printf(in->arena, "it belongs under %s",
                                    section_header(section_having(schema, n->key), in->arena));
        else if (found)
                hint = arena_printf(in->arena, "did you mean %s?", section_header(found, in->arena));
        else if (names.n && names.n <= LISTED_MAX)
                hint = names_list(&names, "possible: ", in->arena);
        diag_error(in->diags, n->key_loc, arena_printf(in->arena, "%.64s", n->key), hint,
                   table ? "unknown section" : "unknown key outside of any section");
}

static void read_row(const struct schema_row *row, const struct node *n, struct section *item,
                     const struct node **seen, const struct schema_input *in) {
        const char *key = section_key(in->arena, item, row->name);
        const struct node **first = &seen[row - item->schema->rows];

        if (*first) {
                diag_error(in->diags, n->key_loc, key, "keep one of them",
                           "given twice: %s and, in line %u, %s", n->key, (*first)->key_loc.line,
                           (*first)->key);
                return;
        }
        *first = n;
        value_read(row, n, item, key, in);
}

static void read_item(const struct schema *schema, const struct node *table, struct section *item,
                      const struct schema_input *in) {
        const struct schema_section *section = item->schema;
        const struct node **seen = arena_new0(in->arena, const struct node *, section->n_rows);

        if (table)
                item->loc = table->loc;
        for (const struct node *n = table ? table->first : NULL; n; n = n->next) {
                const struct schema_row *row = schema_row_find(section, n->key);

                if (row)
                        read_row(row, n, item, seen, in);
                else
                        unknown_key(schema, item, n, in);
        }
        /* Where the whole section is missing, the file's beginning is the place. */
        const struct loc place = item->loc.line ? item->loc : (struct loc){ 1, 1 };

        for (size_t i = 0; i < section->n_rows; i++)
                if ((section->rows[i].flags & ROW_REQUIRED) && !seen[i])
                        diag_error(in->diags, place, section_key(in->arena, item, section->rows[i].name),
                                   NULL, "is required");
}

static void wrong_kind(const struct schema_section *section, const struct node *n, const char *path,
                       const struct schema_input *in) {
        bool tables = n->type == NODE_ARRAY && n->first && n->first->type == NODE_TABLE;
        const char *header = section_header(section, in->arena);

        diag_error(in->diags, n->key_loc.line ? n->key_loc : n->loc, path,
                   arena_printf(in->arena, "write %s", header), "is %s, not %s",
                   section->flags & SECTION_LIST  ? "a list of sections" :
                   section->flags & SECTION_NAMED ? "a group of named sections" :
                                                    "one section",
                   tables                ? "a list of sections" :
                   n->type == NODE_TABLE ? "one section" :
                                           node_type_name(n->type));
}

static void read_single(const struct schema *schema, const struct schema_section *section,
                        const struct node *n, void *target, const struct schema_input *in) {
        struct section *item = (struct section *) ((char *) target + section->offset);

        schema_defaults(section, item, section->name, in->arena);
        if (n && n->type != NODE_TABLE) {
                wrong_kind(section, n, section->name, in);
                /* Its keys are looked at all the same: everything wrong in one go. */
                n = n->type == NODE_ARRAY && n->first && n->first->type == NODE_TABLE ? n->first : NULL;
                if (!n)
                        return;
        }
        read_item(schema, n, item, in);
}

static void read_list(const struct schema *schema, const struct schema_section *section, const struct node *n,
                      void *target, const struct schema_input *in) {
        bool named = section->flags & SECTION_NAMED;
        const struct node *first = n ? n->first : NULL;
        size_t *count = (size_t *) ((char *) target + section->count_offset), total = 0, place = 0;
        char *items;

        *count = 0;
        if (n && n->type != (named ? NODE_TABLE : NODE_ARRAY)) {
                wrong_kind(section, n, section->name, in);
                if (named || n->type != NODE_TABLE)
                        return;
        }
        /* [disk] for [[disk]]: read as the only one. */
        bool lone = n && !named && n->type == NODE_TABLE;
        if (lone)
                first = n;
        for (const struct node *c = first; c; c = lone ? NULL : c->next)
                total++;
        items = arena_alloc(in->arena, section->size * total);
        *(char **) ((char *) target + section->offset) = items;
        for (const struct node *c = first; c; c = lone ? NULL : c->next) {
                struct section *item = (struct section *) (items + section->size * *count);
                const char *path = named ? arena_printf(in->arena, "%s.%.64s", section->name, c->key) :
                                           arena_printf(in->arena, "%s[%zu]", section->name, place);

                place++;
                if (c->type != NODE_TABLE) {
                        diag_error(in->diags, c->loc, path, NULL, "must be one section, not %s",
                                   node_type_name(c->type));
                        continue;
                }
                schema_defaults(section, item, path, in->arena);
                if (named)
                        *(const char **) ((char *) item + section->name_offset) = c->key;
                read_item(schema, c, item, in);
                (*count)++;
        }
}

void schema_read(const struct schema *schema, const struct node *root, void *target,
                 const struct schema_input *in) {
        for (size_t i = 0; i < schema->n_sections; i++) {
                const struct schema_section *section = &schema->sections[i];
                const struct node *n = node_get(root, section->name);

                if (!root && !(section->flags & (SECTION_LIST | SECTION_NAMED)))
                        schema_defaults(section, (char *) target + section->offset, section->name, in->arena);
                else if (section->flags & (SECTION_LIST | SECTION_NAMED))
                        read_list(schema, section, n, target, in);
                else
                        read_single(schema, section, n, target, in);
        }
        for (const struct node *n = root ? root->first : NULL; n; n = n->next)
                if (!schema_section_find(schema, n->key))
                        unknown_section(schema, n, in);
}
