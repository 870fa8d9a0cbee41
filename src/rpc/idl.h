/* The Varlink interface definition language (https://varlink.org/Interface-Definition): its text into a
 * tree, and JSON values held against that tree. */
#pragma once

#include "base/error.h"
#include "base/json.h"

#include <stdbool.h>

enum idl_kind {
        IDL_BOOL,
        IDL_INT,
        IDL_FLOAT,
        IDL_STRING,
        IDL_OBJECT,
        IDL_ENUM,
        IDL_STRUCT,
        IDL_ARRAY,
        IDL_MAP, /* "[string]" */
        IDL_NAMED
};

struct idl_type {
        enum idl_kind kind;
        bool optional;                  /* "?" */
        const char *name;               /* of an IDL_NAMED */
        const struct idl_type *element; /* of an array or a map; what an IDL_NAMED stands for */
        const struct idl_field *fields; /* of a struct; of an enum its values, without type */
        size_t n_fields;
};

struct idl_field {
        const char *name;
        const struct idl_type *type; /* NULL: a value of an enum */
};

enum idl_role { IDL_TYPE, IDL_METHOD, IDL_ERROR };

struct idl_member {
        enum idl_role role;
        const char *name;           /* without the interface's */
        const struct idl_type *in;  /* a method's parameters; the type itself; an error's parameters */
        const struct idl_type *out; /* what a method answers; else NULL */
};

struct idl {
        struct arena *arena; /* owned; everything below is in it */
        const char *name;
        const struct idl_member *members;
        size_t n_members;
};

/* -EINVAL with line and column for anything that the language does not allow, names that are given twice and
 * types that are nowhere. */
int idl_parse(const char *text, struct idl **ret, struct error *err);
void idl_free(struct idl *idl); /* NULL is fine */

/* NULL: there is none. */
const struct idl_member *idl_find(const struct idl *idl, enum idl_role role, const char *name);

/* Is value of that type? null and absent mean the same, and only optional fields may be so. Members that the
 * struct does not have are faults, as are strings with a NUL inside, which C would cut. A float may be
 * written as an integer, not the other way round. */
bool idl_matches(const struct idl_type *type, const json_t *value);
/* The same for the fields of a struct: NULL if all is well, else the first field or member that is not
 * (borrowed from type or value). */
const char *idl_mismatch(const struct idl_type *type, const json_t *value);
