/* The engine that reads tables of keys: types, ranges, defaults, nearest names, printing. It knows no
 * key. A row is the single truth about a key: parser, range check, default, suggestions, Lua table,
 * origin, JSON and man page all read it. */
#pragma once

#include "schema/diag.h"
#include "schema/node.h"

#include <stdbool.h>

enum origin_kind { ORIGIN_DEFAULT, ORIGIN_FILE, ORIGIN_HOST };

struct origin {
        enum origin_kind kind;
        bool given; /* written in the file */
        struct loc loc;
        const char *where; /* for ORIGIN_HOST: what told it */
};

struct schema_section;

/* Stands first in every struct that a table of keys fills. */
struct section {
        const struct schema_section *schema;
        struct loc loc;         /* of its header; 0 if the file has none */
        const char *path;       /* "machine", "disk[1]" */
        struct origin *origins; /* one per row */
};

void section_mark(struct section *s, size_t offset, enum origin_kind kind, const char *where);
bool section_given(const struct section *s, size_t offset);
struct loc section_loc(const struct section *s, size_t offset);
/* "disk[0].path", in the arena. */
const char *section_key(struct arena *arena, const struct section *s, const char *key);

/* Row and section types, schema_read(), schema_to_json() and the documentation printer follow. */
