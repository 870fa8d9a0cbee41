#include "rpc/idl.h"

#include "base/str.h"

static const struct idl_field *field_of(const struct idl_type *type, const char *name) {
        for (size_t i = 0; i < type->n_fields; i++)
                if (str_eq(type->fields[i].name, name))
                        return &type->fields[i];
        return NULL;
}

const char *idl_mismatch(const struct idl_type *type, const json_t *value) {
        const char *key;
        json_t *member;

        json_object_foreach ((json_t *) value, key, member) {
                if (!field_of(type, key))
                        return key;
        }
        for (size_t i = 0; i < type->n_fields; i++)
                if (!idl_matches(type->fields[i].type, json_object_get(value, type->fields[i].name)))
                        return type->fields[i].name;
        return NULL;
}

static bool string_ok(const json_t *value) {
        return json_is_string(value) && strlen(json_string_value(value)) == json_string_length(value);
}

static bool array_ok(const struct idl_type *type, const json_t *value) {
        json_t *element;
        size_t i;

        if (!json_is_array(value))
                return false;
        json_array_foreach (value, i, element) {
                if (!idl_matches(type->element, element))
                        return false;
        }
        return true;
}

static bool map_ok(const struct idl_type *type, const json_t *value) {
        const char *key;
        json_t *element;

        if (!json_is_object(value))
                return false;
        json_object_foreach ((json_t *) value, key, element) {
                if (!idl_matches(type->element, element))
                        return false;
        }
        return true;
}

bool idl_matches(const struct idl_type *type, const json_t *value) {
        if (!value || json_is_null(value))
                return type->optional;

        switch (type->kind) {
        case IDL_BOOL:
                return json_is_boolean(value);
        case IDL_INT:
                return json_is_integer(value);
        case IDL_FLOAT:
                return json_is_number(value);
        case IDL_STRING:
                return string_ok(value);
        case IDL_OBJECT:
                return json_is_object(value);
        case IDL_ENUM:
                return string_ok(value) && field_of(type, json_string_value(value));
        case IDL_STRUCT:
                return json_is_object(value) && !idl_mismatch(type, value);
        case IDL_ARRAY:
                return array_ok(type, value);
        case IDL_MAP:
                return map_ok(type, value);
        case IDL_NAMED:
                return idl_matches(type->element, value);
        }
        return false;
}
