/* One value of the tree into one field, as its row says. Inside of schema/ only. */
#pragma once

#include "schema/schema.h"

/* Writes the value to its field of item and marks it as given; or one error, and the field stays as it is:
 * given, but of default origin. key is the
 * whole name for messages ("disk[0].path"). */
void value_read(const struct schema_row *row, const struct node *node, struct section *item, const char *key,
                const struct schema_input *in);
