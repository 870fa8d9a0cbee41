#include "schema/schema.h"

#include "base/str.h"

const char *schema_lua_name(const char *lua, const char *name, char buf[static 64]) {
        size_t i = 0;

        if (lua)
                return lua;
        for (; name[i] && i < 63; i++)
                buf[i] = name[i] == '-' ? '_' : name[i];
        buf[i] = '\0';
        return buf;
}

static json_t *strings_to_json(const struct strings *list) {
        json_t *array = json_array();

        for (size_t i = 0; i < list->n; i++)
                json_push(array, json_string_lossy(list->items[i]));
        return array;
}

static json_t *value_to_json(const struct schema_row *row, const void *field, unsigned flags) {
        switch (row->type) {
        case ROW_BOOL:
                return json_boolean(*(const bool *) field);
        case ROW_TRISTATE: {
                int v = *(const int *) field;

                return v == TRI_TRUE || v == TRI_FALSE ? json_boolean(v) : json_string("auto");
        }
        case ROW_STRING:
        case ROW_PATH: {
                const char *text = *(const char *const *) field;

                return text ? json_string_lossy(text) : json_string("");
        }
        case ROW_INT:
                return json_integer(*(const int64_t *) field);
        case ROW_SIZE: {
                uint64_t size = *(const uint64_t *) field;

                return json_integer((json_int_t) ((row->flags & ROW_MIB) && (flags & SCHEMA_JSON_LUA) ?
                                                          size >> 20 :
                                                          size));
        }
        case ROW_STRINGS:
                return strings_to_json(field);
        }
        return json_null();
}

static json_t *origin_to_json(const struct origin *o, const char *file, json_t *value) {
        static const char *const kinds[] = {
                [ORIGIN_DEFAULT] = "default",
                [ORIGIN_FILE] = "file",
                [ORIGIN_HOST] = "host",
                [ORIGIN_ATTACHED] = "attached",
        };
        json_t *j = json_object();

        json_put(j, "value", value);
        json_put_str(j, "origin", kinds[o->kind]);
        if (o->kind == ORIGIN_FILE && o->loc.line) {
                _cleanup_free_ char *where =
                        xasprintf("%s:%u:%u", file ? file : "", o->loc.line, o->loc.column);

                json_put(j, "where", json_string_lossy(where));
        } else
                json_put(j, "where", o->where ? json_string_lossy(o->where) : json_null());
        return j;
}

json_t *schema_item_to_json(const struct section *item, const char *file, unsigned flags) {
        json_t *object = json_object();

        for (size_t i = 0; i < item->schema->n_rows; i++) {
                const struct schema_row *row = &item->schema->rows[i];
                json_t *value = value_to_json(row, (const char *) item + row->offset, flags);
                char name[64];

                if (flags & SCHEMA_JSON_ORIGIN)
                        value = origin_to_json(&item->origins[i], file, value);
                json_put(object, schema_lua_name(row->lua, row->name, name), value);
        }
        return object;
}

json_t *schema_to_json(const struct schema_section *section, const void *target, const char *file,
                       unsigned flags) {
        if (!(section->flags & (SECTION_LIST | SECTION_NAMED)))
                return schema_item_to_json(schema_item(section, target, 0), file, flags);

        json_t *all = section->flags & SECTION_NAMED ? json_object() : json_array();

        for (size_t i = 0; i < schema_items(section, target); i++) {
                struct section *item = schema_item(section, target, i);
                json_t *j = schema_item_to_json(item, file, flags);

                if (section->flags & SECTION_NAMED)
                        json_put(all, *(const char **) ((char *) item + section->name_offset), j);
                else
                        json_push(all, j);
        }
        return all;
}
