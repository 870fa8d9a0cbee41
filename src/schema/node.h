/* A value tree with places: what a TOML document says, before any table of keys has looked at it.
 * Built by def/toml, in an arena. */
#pragma once

#include "schema/diag.h"

#include <stdbool.h>

enum node_type { NODE_TABLE, NODE_ARRAY, NODE_STRING, NODE_INT, NODE_FLOAT, NODE_BOOL, NODE_DATETIME };

struct node {
        enum node_type type;
        struct loc loc;     /* of the value; for a table of its header */
        struct loc key_loc; /* of the key; arrays' elements have none */
        const char *key;    /* NULL for elements of an array and the root */
        union {
                struct {
                        const char *data; /* NUL-terminated; may hold NUL bytes inside: see len */
                        size_t len;
                } string;
                int64_t integer;
                double number;
                bool boolean;
        };
        struct node *first, *next; /* children of a table or an array, in the order of the file */
};

const char *node_type_name(enum node_type type);
const struct node *node_get(const struct node *table, const char *key);
