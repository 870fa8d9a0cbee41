/* The engine that reads tables of keys: types, ranges, defaults, nearest names, printing. It knows no
 * key. A row is the single truth about a key: parser, range check, default, suggestions, Lua table,
 * origin, JSON and man page all read it. */
#pragma once

#include "schema/diag.h"
#include "schema/node.h"

#include <stdbool.h>
#include <stddef.h>

enum origin_kind { ORIGIN_DEFAULT, ORIGIN_FILE, ORIGIN_HOST, ORIGIN_ATTACHED };

struct origin {
        enum origin_kind kind;
        bool given; /* written in the file; with ORIGIN_DEFAULT: but it was faulty */
        struct loc loc;
        const char *where; /* for ORIGIN_HOST: what told it */
};

/* bool that may also be "auto" or not given at all. */
enum tristate { TRI_UNSET = -1, TRI_FALSE = 0, TRI_TRUE = 1, TRI_AUTO = 2 };

/* A list of strings; of the file: with the place of each. */
struct strings {
        const char **items;
        struct loc *locs;
        size_t n;
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
/* Given by `vore attach`: it counts as given, and is in no file. */
void section_mark_attached(struct section *s, size_t offset);
bool section_given(const struct section *s, size_t offset);
/* A rule was broken, and that was told: the value counts as given and faulty. */
void section_refuse(struct section *s, size_t offset);
/* Given, but told to be faulty: nobody need find more fault with it. */
bool section_faulty(const struct section *s, size_t offset);
/* The place of the value, else of the section, else none. */
struct loc section_loc(const struct section *s, size_t offset);
/* "disk[0].path", in the arena; a name over 64 bytes is cut. */
const char *section_key(struct arena *arena, const struct section *s, const char *key);

/* What a row's field is in C. */
enum row_type {
        ROW_BOOL,     /* bool */
        ROW_TRISTATE, /* int, enum tristate: true, false, and "auto" with ROW_AUTO */
        ROW_STRING,   /* const char *; "" is not given */
        ROW_PATH,    /* const char *, absolute: relative ones count from the file's folder; "" is not given */
        ROW_INT,     /* int64_t from min to max, or one of allowed */
        ROW_SIZE,    /* uint64_t bytes from min to max; "12G", or a bare integer of `unit` bytes */
        ROW_STRINGS, /* struct strings; a single string is a list of one */
};

enum row_flags {
        ROW_REQUIRED = 1 << 0,
        ROW_NO_KEY = 1 << 1,      /* filled in by others; the file cannot give it */
        ROW_UNSUPPORTED = 1 << 2, /* parsed and checked; asking for it is an error */
        ROW_AUTO = 1 << 3,        /* ROW_TRISTATE may be "auto" */
        ROW_MIB = 1 << 4,         /* Lua sees MiB, not bytes */
        ROW_NUMBERS = 1 << 5,     /* ROW_STRINGS: integers too, as their decimal text */
};

struct schema_row {
        const char *name;       /* as written in the file and in messages */
        const char *aliases[3]; /* other spellings, or NULL */
        const char *lua;        /* as in Lua and JSON; NULL: the name with "_" for "-" */
        enum row_type type;
        unsigned flags;
        size_t offset; /* of the field */
        int64_t min, max;
        const char *allowed; /* "utc|localtime": nothing else; NULL: anything of the type */
        uint64_t unit;
        int64_t number;    /* default of bool, tristate, int and size (bytes) */
        const char *text;  /* default of string and path */
        const char *words; /* the default in words, for people, where it is not number or text; NULL: that */
        const char *doc;   /* one or two sentences */
};

enum section_flags {
        SECTION_LIST = 1 << 0,        /* [[name]]; the field is a pointer to an array, count beside it */
        SECTION_NAMED = 1 << 1,       /* [name.ANY]: as a list; each entry's name goes to name_offset */
        SECTION_FEATURE = 1 << 2,     /* has a row `enabled` and may stand in a list of features */
        SECTION_UNSUPPORTED = 1 << 3, /* parsed and checked; asking for it is an error */
};

struct schema_section {
        const char *name;
        const char *lua; /* NULL: the name with "_" for "-" */
        unsigned flags;
        size_t offset;       /* of the struct, or of the pointer to the array, in the target */
        size_t count_offset; /* of the size_t beside that pointer */
        size_t name_offset;  /* SECTION_NAMED: of a const char * in the struct */
        size_t size;         /* of the struct */
        const struct schema_row *rows;
        size_t n_rows;
        const char *doc;
};

struct schema {
        const char *file; /* "vore.toml" */
        const struct schema_section *sections;
        size_t n_sections;
};

struct schema_input {
        struct arena *arena;
        struct diags *diags;
        const char *directory; /* relative paths count from here */
        bool absolute;         /* relative paths are errors */
};

/* Fills target (a struct that the sections' offsets describe) from root, which may be NULL: then with
 * defaults only. Unknown sections and keys, wrong types and ranges, and missing required keys go to the
 * diags; a faulty value leaves the default. Single sections get a path and origins even where the file has
 * none. */
void schema_read(const struct schema *schema, const struct node *root, void *target,
                 const struct schema_input *in);

/* Initialises one struct of a section with its defaults; path is an arena string. */
void schema_defaults(const struct schema_section *section, void *item, const char *path, struct arena *arena);
/* Marks a row as given at that place of the file. */
void section_mark_file(struct section *s, size_t offset, struct loc loc);

/* Sections and rows by name (rows also by alias); NULL if there is none. */
const struct schema_section *schema_section_find(const struct schema *schema, const char *name);
const struct schema_row *schema_row_find(const struct schema_section *section, const char *name);
/* The items of a section in target: one, or as many as there are. */
size_t schema_items(const struct schema_section *section, const void *target);
struct section *schema_item(const struct schema_section *section, const void *target, size_t i);

/* One error "KEY is not supported by this version" for each instance of an unsupported section that is asked
 * for (features: enabled) at its header, or where it was enabled, and for each unsupported key that is given.
 */
void schema_check_supported(const struct schema *schema, const void *target, struct diags *diags);

/* Of names[], the nearest to a mistyped one, near enough to be meant; NULL otherwise. */
const char *schema_nearest(const char *name, const char *const *names, size_t n);

/* JSON of one item, or of all (a list is an array). SCHEMA_JSON_LUA: ROW_MIB rows in MiB. SCHEMA_JSON_ORIGIN:
 * each value is {value, origin, where}; `where` is "FILE:LINE:COL", or what told it, or null. Unset strings
 * are "", tristates that are not resolved "auto". */
enum schema_json_flags { SCHEMA_JSON_LUA = 1 << 0, SCHEMA_JSON_ORIGIN = 1 << 1 };
json_t *schema_item_to_json(const struct section *item, const char *file, unsigned flags);
json_t *schema_to_json(const struct schema_section *section, const void *target, const char *file,
                       unsigned flags);
/* A name as Lua has it: given or with "_" for "-". buf holds at least 64 bytes. */
const char *schema_lua_name(const char *lua, const char *name, char buf[static 64]);

/* All keys as a part of a man page in scdoc's language: a heading per section, an entry per row. */
void schema_print_man(FILE *out, const struct schema *schema);
