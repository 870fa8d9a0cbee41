#include "def/internal.h"

#include "base/str.h"

static bool *enabled_of(const struct schema_section *section, struct def *def,
                        const struct schema_row **ret) {
        *ret = schema_row_find(section, "enabled");
        return (bool *) ((char *) schema_item(section, def, 0) + (*ret)->offset);
}

static void unknown_feature(const struct node *n, const char *key, struct diags *diags) {
        _cleanup_strbuf_ struct strbuf all = STRBUF_INIT;
        const char *names[32], *nearest;
        size_t count = 0;

        for (size_t i = 0; i < def_schema.n_sections; i++)
                if (def_schema.sections[i].flags & SECTION_FEATURE)
                        names[count++] = def_schema.sections[i].name;
        for (size_t i = 0; i < count; i++)
                strbuf_addf(&all, "%s%s", i ? ", " : "possible: ", names[i]);
        nearest = diags_full(diags) ? NULL : schema_nearest(n->string.data, names, count);
        diag_error(diags, n->loc, key,
                   nearest ? arena_printf(diags->arena, "did you mean \"%s\"?", nearest) : all.data,
                   "unknown feature \"%.64s\"", n->string.data);
}

static void enable(struct def *def, const struct node *n, const char *key, struct diags *diags) {
        const struct schema_section *section = schema_section_find(&def_schema, n->string.data);
        const struct schema_row *row;

        if (!section || !(section->flags & SECTION_FEATURE)) {
                unknown_feature(n, key, diags);
                return;
        }

        bool *enabled = enabled_of(section, def, &row);
        struct section *item = schema_item(section, def, 0);

        const struct origin *origin = &item->origins[row - section->rows];

        if (origin->kind != ORIGIN_FILE) {
                *enabled = true;
                section_mark_file(item, row->offset, n->loc);
        } else if (!*enabled)
                diag_error(diags, n->loc, key, "remove one of them",
                           "has \"%s\", but line %u says [%s] enabled = false", section->name,
                           section_loc(item, row->offset).line, section->name);
}

static void warn_disabled(const struct schema_section *section, struct def *def, struct diags *diags) {
        const struct section *item = schema_item(section, def, 0);
        const struct schema_row *enabled;

        if (*enabled_of(section, def, &enabled))
                return;
        for (size_t i = 0; i < section->n_rows; i++) {
                const struct schema_row *row = &section->rows[i];

                if (row == enabled || item->origins[i].kind != ORIGIN_FILE)
                        continue;
                diag_warning(diags, item->origins[i].loc, section_key(diags->arena, item, row->name),
                             arena_printf(diags->arena, "add \"%s\" to features of [machine]", section->name),
                             "has no effect: [%s] is not enabled", section->name);
        }
}

void def_features(struct def *def, const struct node *root, struct diags *diags) {
        const struct node *list = node_get(node_get(root, "machine"), "features");
        bool array = list && list->type == NODE_ARRAY;
        size_t i = 0;

        for (const struct node *n = array ? list->first : list; n; n = array ? n->next : NULL, i++)
                if (n->type == NODE_STRING)
                        enable(def, n, arena_printf(diags->arena, "machine.features[%zu]", i), diags);

        if (def->looking_glass.enabled && !DEF_GIVEN(&def->spice, enabled)) {
                def->spice.enabled = true;
                DEF_MARK(&def->spice, enabled, ORIGIN_DEFAULT, "looking-glass");
        }
        for (i = 0; i < def_schema.n_sections; i++)
                if (def_schema.sections[i].flags & SECTION_FEATURE)
                        warn_disabled(&def_schema.sections[i], def, diags);
}
