/* The engine, with a small table of its own. */
#include "schema/schema.h"

#include "base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

struct pot {
        struct section head;
        const char *name, *colour, *lid;
        bool hot;
        int mood;
        int64_t handles, size;
        uint64_t volume;
        struct strings herbs;
        const char *stamp;
};

struct cup {
        struct section head;
        int64_t height;
};

struct shelf {
        struct section head;
        const char *name;
        bool wide;
};

struct kitchen {
        struct pot pot;
        struct cup *cup;
        size_t n_cup;
        struct shelf *shelf;
        size_t n_shelf;
};

#define POT(key, kind, field, ...)                                                                           \
        { .name = key, .type = kind, .offset = offsetof(struct pot, field), __VA_ARGS__ }
static const struct schema_row pot_rows[] = {
        POT("name", ROW_STRING, name, .flags = ROW_REQUIRED, .doc = "Its name."),
        POT("colour", ROW_STRING, colour, .aliases = { "color" }, .allowed = "red|blue", .text = "red",
            .doc = "Its *colour*."),
        POT("lid-path", ROW_PATH, lid, .doc = "Its lid."),
        POT("hot", ROW_BOOL, hot, .number = 1, .doc = "Is it?"),
        POT("mood", ROW_TRISTATE, mood, .flags = ROW_AUTO, .number = TRI_UNSET, .words = "as the cook's",
            .doc = "Its mood."),
        POT("handles", ROW_INT, handles, .min = 1, .max = 4, .number = 2, .doc = "How many."),
        POT("size", ROW_INT, size, .allowed = "8|10", .number = 8, .flags = ROW_UNSUPPORTED,
            .doc = "A size."),
        POT("volume", ROW_SIZE, volume, .unit = 1 << 20, .min = 1 << 20, .max = INT64_C(1) << 40,
            .flags = ROW_MIB, .number = 2 << 20, .doc = "What goes in."),
        POT("herbs", ROW_STRINGS, herbs, .flags = ROW_NUMBERS, .doc = "What is in it."),
        POT("stamp", ROW_STRING, stamp, .flags = ROW_NO_KEY),
};
static const struct schema_row cup_rows[] = {
        { .name = "height",
          .type = ROW_INT,
          .offset = offsetof(struct cup, height),
          .max = 9,
          .doc = "Height." },
};
static const struct schema_row shelf_rows[] = {
        { .name = "wide", .type = ROW_BOOL, .offset = offsetof(struct shelf, wide), .doc = "Wide." },
};
static const struct schema_section sections[] = {
        { .name = "pot",
          .offset = offsetof(struct kitchen, pot),
          .size = sizeof(struct pot),
          .rows = pot_rows,
          .n_rows = ARRAY_SIZE(pot_rows),
          .doc = "The pot." },
        { .name = "cup",
          .lua = "cups",
          .flags = SECTION_LIST | SECTION_UNSUPPORTED,
          .offset = offsetof(struct kitchen, cup),
          .count_offset = offsetof(struct kitchen, n_cup),
          .size = sizeof(struct cup),
          .rows = cup_rows,
          .n_rows = 1,
          .doc = "Cups." },
        { .name = "shelf",
          .flags = SECTION_NAMED,
          .offset = offsetof(struct kitchen, shelf),
          .count_offset = offsetof(struct kitchen, n_shelf),
          .name_offset = offsetof(struct shelf, name),
          .size = sizeof(struct shelf),
          .rows = shelf_rows,
          .n_rows = 1,
          .doc = "Shelves." },
};
static const struct schema schema = { "kitchen.toml", sections, ARRAY_SIZE(sections) };

struct world {
        struct arena *arena;
        struct diags diags;
        struct kitchen kitchen;
        struct node *root, *pot;
        uint32_t line;
        bool absolute;
};

static struct node *add(struct world *w, struct node *to, const char *key, enum node_type type) {
        struct node *n = arena_new0(w->arena, struct node, 1), **tail = &to->first;

        w->line++;
        *n = (struct node){ .type = type, .key = key, .key_loc = { w->line, 1 }, .loc = { w->line, 9 } };
        while (*tail)
                tail = &(*tail)->next;
        *tail = n;
        return n;
}

static void add_str(struct world *w, struct node *to, const char *key, const char *text) {
        struct node *n = add(w, to, key, NODE_STRING);

        n->string.data = text;
        n->string.len = strlen(text);
}

static void add_int(struct world *w, struct node *to, const char *key, int64_t value) {
        add(w, to, key, NODE_INT)->integer = value;
}

static int setup(void **state) {
        struct world *w = xcalloc(1, sizeof(*w));

        w->arena = arena_new();
        diags_init(&w->diags, w->arena, "kitchen.toml");
        w->root = arena_new0(w->arena, struct node, 1);
        w->pot = add(w, w->root, "pot", NODE_TABLE);
        add_str(w, w->pot, "name", "p");
        *state = w;
        return 0;
}

static int teardown(void **state) {
        struct world *w = *state;

        arena_free(w->arena);
        free(w);
        return 0;
}

static void read_all(struct world *w) {
        const struct schema_input in = { w->arena, &w->diags, "/kitchen", w->absolute };

        schema_read(&schema, w->root, &w->kitchen, &in);
}

/* Exactly one fault, with this place and text. */
static void assert_fault(struct world *w, uint32_t line, uint32_t column, const char *key,
                         const char *message) {
        read_all(w);
        assert_int_equal(w->diags.n, 1);
        assert_string_equal(w->diags.items[0].key, key);
        assert_string_equal(w->diags.items[0].message, message);
        assert_int_equal(w->diags.items[0].loc.line, line);
        assert_int_equal(w->diags.items[0].loc.column, column);
}

static void test_defaults(void **state) {
        struct world *w = *state;
        const struct pot *p = &w->kitchen.pot;

        w->root = NULL;
        read_all(w);
        assert_int_equal(w->diags.n, 0);
        assert_null(p->name);
        assert_string_equal(p->colour, "red");
        assert_true(p->hot);
        assert_int_equal(p->mood, TRI_UNSET);
        assert_int_equal(p->handles, 2);
        assert_int_equal(p->volume, 2 << 20);
        assert_int_equal(p->herbs.n, 0);
        assert_int_equal(w->kitchen.n_cup, 0);
        assert_string_equal(p->head.path, "pot");
        assert_false(section_given(&p->head, offsetof(struct pot, hot)));
}

static void test_values(void **state) {
        struct world *w = *state;
        const struct pot *p = &w->kitchen.pot;
        struct node *herbs;

        add_str(w, w->pot, "color", "blue");
        add_str(w, w->pot, "lid-path", "./lids/a");
        add_str(w, w->pot, "mood", "auto");
        add_int(w, w->pot, "handles", 4);
        add_str(w, w->pot, "volume", "1536 MiB");
        herbs = add(w, w->pot, "herbs", NODE_ARRAY);
        add_int(w, herbs, NULL, 7);
        add_str(w, herbs, NULL, "dill");
        read_all(w);
        assert_int_equal(w->diags.n, 0);
        assert_string_equal(p->colour, "blue");
        assert_string_equal(p->lid, "/kitchen/lids/a");
        assert_int_equal(p->mood, TRI_AUTO);
        assert_int_equal(p->handles, 4);
        assert_int_equal(p->volume, UINT64_C(1536) << 20);
        assert_int_equal(p->herbs.n, 2);
        assert_string_equal(p->herbs.items[0], "7");
        assert_string_equal(p->herbs.items[1], "dill");
        assert_true(section_given(&p->head, offsetof(struct pot, colour)));
        assert_int_equal(section_loc(&p->head, offsetof(struct pot, colour)).line, 3);
        assert_int_equal(section_loc(&p->head, offsetof(struct pot, hot)).line, 1);
}

static void test_empty_is_not_given(void **state) {
        struct world *w = *state;

        add_str(w, w->pot, "lid-path", "");
        read_all(w);
        assert_int_equal(w->diags.n, 0);
        assert_null(w->kitchen.pot.lid);
        assert_false(section_given(&w->kitchen.pot.head, offsetof(struct pot, lid)));
}

static void test_single_string_is_a_list(void **state) {
        struct world *w = *state;

        add_str(w, w->pot, "herbs", "dill");
        read_all(w);
        assert_int_equal(w->diags.n, 0);
        assert_int_equal(w->kitchen.pot.herbs.n, 1);
}

static void test_unknown_key(void **state) {
        struct world *w = *state;

        add_int(w, w->pot, "handels", 1);
        assert_fault(w, 3, 1, "pot.handels", "unknown key");
        assert_string_equal(w->diags.items[0].hint, "did you mean handles?");
}

static void test_no_key_is_unknown(void **state) {
        struct world *w = *state;

        add_str(w, w->pot, "stamp", "x");
        assert_fault(w, 3, 1, "pot.stamp", "unknown key");
}

static void test_key_of_other_section(void **state) {
        struct world *w = *state;

        add_int(w, w->pot, "height", 1);
        assert_fault(w, 3, 1, "pot.height", "unknown key");
        assert_string_equal(w->diags.items[0].hint, "it belongs to [[cup]]");
}

static void test_unknown_section(void **state) {
        struct world *w = *state;

        add(w, w->root, "cups", NODE_TABLE);
        assert_fault(w, 3, 1, "cups", "unknown section");
        assert_string_equal(w->diags.items[0].hint, "did you mean [[cup]]?");
}

static void test_key_without_section(void **state) {
        struct world *w = *state;

        add_str(w, w->root, "name", "x");
        assert_fault(w, 3, 1, "name", "unknown key outside of any section");
        assert_string_equal(w->diags.items[0].hint, "it belongs under [pot]");
}

static void test_alias_twice(void **state) {
        struct world *w = *state;

        add_str(w, w->pot, "color", "blue");
        add_str(w, w->pot, "colour", "red");
        assert_fault(w, 4, 1, "pot.colour", "given twice: colour and, in line 3, color");
        assert_string_equal(w->kitchen.pot.colour, "blue");
}

static void test_required(void **state) {
        struct world *w = *state;

        w->pot->first = NULL;
        assert_fault(w, 1, 9, "pot.name", "is required");
}

static void test_required_empty(void **state) {
        struct world *w = *state;

        w->pot->first->string.data = "";
        w->pot->first->string.len = 0;
        assert_fault(w, 2, 9, "pot.name", "must not be empty");
}

static void test_wrong_type(void **state) {
        struct world *w = *state;

        add(w, w->pot, "handles", NODE_BOOL)->boolean = true;
        assert_fault(w, 3, 9, "pot.handles", "must be an integer from 1 to 4, not true");
        assert_int_equal(w->kitchen.pot.handles, 2);
        /* Given, but its value is the default's. */
        assert_true(section_given(&w->kitchen.pot.head, offsetof(struct pot, handles)));
        assert_int_equal(w->kitchen.pot.head.origins[5].kind, ORIGIN_DEFAULT);
}

static void test_date(void **state) {
        struct world *w = *state;

        add(w, w->pot, "hot", NODE_DATETIME);
        assert_fault(w, 3, 9, "pot.hot", "must be true or false, not a date or time");
}

static void test_enum(void **state) {
        struct world *w = *state;

        add_str(w, w->pot, "colour", "re");
        assert_fault(w, 3, 9, "pot.colour", "must be \"red\" or \"blue\", not \"re\"");
}

static void test_number_of_a_list(void **state) {
        struct world *w = *state;

        add_int(w, w->pot, "size", 9);
        assert_fault(w, 3, 9, "pot.size", "must be 8 or 10, not 9");
}

static void test_size_range(void **state) {
        struct world *w = *state;

        add_str(w, w->pot, "volume", "1K");
        assert_fault(w, 3, 9, "pot.volume", "must be a size from 1M to 1T, not \"1K\"");
}

static void test_size_overflow(void **state) {
        struct world *w = *state;

        add_int(w, w->pot, "volume", INT64_MAX);
        assert_fault(w, 3, 9, "pot.volume", "must be a size from 1M to 1T, not 9223372036854775807");
}

static void test_list_item(void **state) {
        struct world *w = *state;
        struct node *herbs = add(w, w->pot, "herbs", NODE_ARRAY);

        add_str(w, herbs, NULL, "dill");
        add(w, herbs, NULL, NODE_TABLE);
        assert_fault(w, 5, 9, "pot.herbs[1]", "must be a string or an integer, not a table");
        assert_int_equal(w->kitchen.pot.herbs.n, 0);
}

static void test_nul(void **state) {
        struct world *w = *state;

        w->pot->first->string.data = "a\0b";
        w->pot->first->string.len = 3;
        assert_fault(w, 2, 9, "pot.name", "must not contain a NUL character");
}

static void test_home(void **state) {
        struct world *w = *state;

        add_str(w, w->pot, "lid-path", "~/lid");
        assert_fault(w, 3, 9, "pot.lid-path", "~ is not expanded: \"~/lid\"");
}

static void test_absolute(void **state) {
        struct world *w = *state;

        w->absolute = true;
        add_str(w, w->pot, "lid-path", "lid");
        assert_fault(w, 3, 9, "pot.lid-path",
                     "a saved definition needs absolute paths, and \"lid\" is relative");
        assert_string_equal(w->diags.items[0].hint, "write \"/kitchen/lid\"");
}

static void test_kinds(void **state) {
        struct world *w = *state;
        struct node *cup = add(w, w->root, "cup", NODE_TABLE);

        add_int(w, cup, "height", 3);
        assert_fault(w, 3, 1, "cup", "is a list of sections, not one section");
        /* Read all the same. */
        assert_int_equal(w->kitchen.n_cup, 1);
        assert_int_equal(w->kitchen.cup[0].height, 3);
}

static void test_list_of_values(void **state) {
        struct world *w = *state;
        struct node *cups = add(w, w->root, "cup", NODE_ARRAY);

        add_int(w, cups, NULL, 3);
        add_int(w, add(w, cups, NULL, NODE_TABLE), "height", 5);
        assert_fault(w, 4, 9, "cup[0]", "must be one section, not an integer");
        assert_int_equal(w->kitchen.n_cup, 1);
        assert_string_equal(w->kitchen.cup[0].head.path, "cup[1]");
}

static void test_named(void **state) {
        struct world *w = *state;
        struct node *shelf = add(w, w->root, "shelf", NODE_TABLE);

        add(w, add(w, shelf, "upper", NODE_TABLE), "wide", NODE_BOOL)->boolean = true;
        read_all(w);
        assert_int_equal(w->diags.n, 0);
        assert_int_equal(w->kitchen.n_shelf, 1);
        assert_string_equal(w->kitchen.shelf[0].name, "upper");
        assert_string_equal(w->kitchen.shelf[0].head.path, "shelf.upper");
        assert_true(w->kitchen.shelf[0].wide);
}

static void test_unsupported(void **state) {
        struct world *w = *state;
        struct node *cups = add(w, w->root, "cup", NODE_ARRAY);

        add(w, cups, NULL, NODE_TABLE);
        add(w, cups, NULL, NODE_TABLE);
        add_int(w, w->pot, "size", 10);
        read_all(w);
        schema_check_supported(&schema, &w->kitchen, &w->diags);
        assert_int_equal(w->diags.n, 3);
        assert_string_equal(w->diags.items[0].key, "pot.size");
        assert_string_equal(w->diags.items[1].key, "cup[0]");
        assert_string_equal(w->diags.items[2].key, "cup[1]");
        assert_string_equal(w->diags.items[2].message, "is not supported by this version");
}

static void test_json(void **state) {
        struct world *w = *state;
        _cleanup_json_ json_t *lua = NULL, *bytes = NULL, *origins = NULL;

        read_all(w);
        section_mark(&w->kitchen.pot.head, offsetof(struct pot, hot), ORIGIN_HOST, "a thermometer");
        lua = schema_item_to_json(&w->kitchen.pot.head, "f", SCHEMA_JSON_LUA);
        bytes = schema_item_to_json(&w->kitchen.pot.head, "f", 0);
        origins = schema_item_to_json(&w->kitchen.pot.head, "f", SCHEMA_JSON_ORIGIN);
        assert_int_equal(json_get_int(lua, "volume", 0), 2);
        assert_int_equal(json_get_int(bytes, "volume", 0), 2 << 20);
        assert_string_equal(json_get_str(lua, "lid_path", "?"), "");
        assert_string_equal(json_get_str(lua, "mood", "?"), "auto");
        assert_int_equal(json_object_size(lua), ARRAY_SIZE(pot_rows));

        json_t *name = json_object_get(origins, "name"), *hot = json_object_get(origins, "hot");
        json_t *size = json_object_get(origins, "size");
        assert_string_equal(json_get_str(name, "origin", ""), "file");
        assert_string_equal(json_get_str(name, "where", ""), "f:2:9");
        assert_string_equal(json_get_str(hot, "origin", ""), "host");
        assert_string_equal(json_get_str(hot, "where", ""), "a thermometer");
        assert_string_equal(json_get_str(size, "origin", ""), "default");
        assert_true(json_is_null(json_object_get(size, "where")));
}

static void test_nearest(void **state) {
        static const char *const names[] = { "memory", "name", "tpm", "uefi" };

        assert_string_equal(schema_nearest("memmory", names, 4), "memory");
        assert_string_equal(schema_nearest("nmae", names, 4), "name");
        assert_null(schema_nearest("gpu", names, 4));
        assert_null(schema_nearest("x", names, 4));
        assert_null(schema_nearest("memory-of-the-machine", names, 4));
}

static void test_man(void **state) {
        _cleanup_free_ char *text = NULL;
        size_t len;
        FILE *f = open_memstream(&text, &len);

        assert_non_null(f);
        schema_print_man(f, &schema);
        fclose(f);
        assert_non_null(strstr(text, "## [pot]\n\nThe pot.\n"));
        assert_non_null(strstr(text, "## [[cup]]\n\nCups. Not supported by this version.\n"));
        assert_non_null(strstr(text, "## [shelf.NAME]\n"));
        assert_non_null(strstr(
                text, "*colour* (also *color*) = string: red, blue; default: red\n\tIts \\*colour\\*.\n"));
        assert_non_null(strstr(text, "*volume* = size; a bare integer is MiB, 1M to 1T; default: "));
        assert_non_null(strstr(text, "*handles* = integer, 1 to 4; default: 2\n"));
        assert_non_null(strstr(text, "*mood* = true, false or \"auto\"; default: as the cook's\n"));
        assert_null(strstr(text, "stamp"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_defaults),
                TEST(test_values),
                TEST(test_empty_is_not_given),
                TEST(test_single_string_is_a_list),
                TEST(test_unknown_key),
                TEST(test_no_key_is_unknown),
                TEST(test_key_of_other_section),
                TEST(test_unknown_section),
                TEST(test_key_without_section),
                TEST(test_alias_twice),
                TEST(test_required),
                TEST(test_required_empty),
                TEST(test_wrong_type),
                TEST(test_date),
                TEST(test_enum),
                TEST(test_number_of_a_list),
                TEST(test_size_range),
                TEST(test_size_overflow),
                TEST(test_list_item),
                TEST(test_nul),
                TEST(test_home),
                TEST(test_absolute),
                TEST(test_kinds),
                TEST(test_list_of_values),
                TEST(test_named),
                TEST(test_unsupported),
                TEST(test_json),
                TEST(test_nearest),
                TEST(test_man),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
