#include "schema/node.h"

#include "base/str.h"

const char *node_type_name(enum node_type type) {
        static const char *const names[] = {
                [NODE_TABLE] = "a table",           [NODE_ARRAY] = "a list",
                [NODE_STRING] = "a string",         [NODE_INT] = "an integer",
                [NODE_FLOAT] = "a fraction",        [NODE_BOOL] = "true or false",
                [NODE_DATETIME] = "a date or time",
        };

        return names[type];
}

const struct node *node_get(const struct node *table, const char *key) {
        if (!table || table->type != NODE_TABLE)
                return NULL;
        for (const struct node *n = table->first; n; n = n->next)
                if (str_eq(n->key, key))
                        return n;
        return NULL;
}
