/* Definitions: what follows from what is written. */
#include "def/def.h"
#include "def/looking-glass.h"

#include "base/file.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

struct world {
        struct arena *arena;
        struct diags diags;
        struct def *def;
};

static int setup(void **state) {
        struct world *w = xcalloc(1, sizeof(*w));

        w->arena = arena_new();
        *state = w;
        return 0;
}

static int teardown(void **state) {
        struct world *w = *state;

        arena_free(w->arena);
        free(w);
        return 0;
}

static int parse(struct world *w, const char *text) {
        diags_init(&w->diags, w->arena, "vm.toml");
        return def_parse(w->arena, text, strlen(text), "/folder", 0, &w->def, &w->diags);
}

static void parse_good(struct world *w, const char *text) {
        if (parse(w, text) != 0)
                fail_msg("%s: %s", w->diags.items[0].key, w->diags.items[0].message);
}

/* Whether an error of this key is among the faults. */
static bool faulty(const struct world *w, const char *key) {
        for (size_t i = 0; i < w->diags.n; i++)
                if (w->diags.items[i].severity == DIAG_ERROR && str_eq(w->diags.items[i].key, key))
                        return true;
        return false;
}

static void test_minimal(void **state) {
        struct world *w = *state;

        parse_good(w, "[machine]\nname = \"a\"\n");
        assert_int_equal(w->diags.n, 0);
        assert_string_equal(w->def->machine.name, "a");
        assert_int_equal(w->def->machine.memory, UINT64_C(2) << 30);
        assert_string_equal(w->def->machine.chipset, "q35");
        assert_int_equal(w->def->machine.kvm, TRI_AUTO);
        assert_int_equal(w->def->machine.hotplug_ports, 2);
        assert_null(w->def->machine.rtc);
        assert_int_equal(w->def->cpu.hyperv, TRI_UNSET);
        assert_false(w->def->uefi.enabled);
        assert_string_equal(w->def->uefi.firmware, "default");
        assert_int_equal(w->def->scream.buffer_size, 2097152);
        assert_int_equal(w->def->n_disk + w->def->n_network, 0);
        assert_string_equal(w->def->directory, "/folder");
        assert_true(DEF_GIVEN(&w->def->machine, name));
        assert_false(DEF_GIVEN(&w->def->machine, memory));
        assert_int_equal(DEF_LOC(&w->def->machine, name).column, 8);
        assert_int_equal(DEF_LOC(&w->def->machine, memory).line, 1);
        assert_int_equal(DEF_LOC(&w->def->cpu, amount).line, 0);
}

static void test_syntax_error_alone(void **state) {
        struct world *w = *state;

        assert_int_equal(parse(w, "[machine]\nnam = 1\nx\n[disks]\n"), -EINVAL);
        assert_int_equal(w->diags.n, 1);
        assert_int_equal(w->diags.items[0].loc.line, 3);
        assert_non_null(w->def);
        assert_null(w->def->machine.name);
}

static void test_topology(void **state) {
        static const struct {
                const char *given;
                int64_t amount, sockets, dies, cores, threads; /* amount 0: an error */
        } cases[] = {
                { "", 4, 1, 1, 2, 2 },
                { "cores = 6", 12, 1, 1, 6, 2 },
                { "threads = 1", 2, 1, 1, 2, 1 },
                { "sockets = 2\ndies = 2", 16, 2, 2, 2, 2 },
                { "amount = 12", 12, 1, 1, 6, 2 },
                { "amount = 9", 9, 1, 1, 9, 1 },
                { "amount = 1", 1, 1, 1, 1, 1 },
                { "amount = 2", 2, 1, 1, 1, 2 },
                { "amount = 12\nsockets = 2", 12, 2, 1, 3, 2 },
                { "amount = 6\nsockets = 2", 6, 2, 1, 3, 1 },
                { "amount = 12\nthreads = 1", 12, 1, 1, 12, 1 },
                { "amount = 12\ncores = 12", 12, 1, 1, 12, 1 },
                { "amount = 12\ncores = 6", 12, 1, 1, 6, 2 },
                { "amount = 8\ncores = 2\nthreads = 2\nsockets = 2", 8, 2, 1, 2, 2 },
                { "amount = 9\ncores = 3", 0 },
                { "amount = 10\nsockets = 4", 0 },
                { "amount = 9\nthreads = 2", 0 },
                { "amount = 4\ncores = 2\nthreads = 2\nsockets = 2", 0 },
                { "amount = 2\nsockets = 4", 0 },
                { "sockets = 1024\ncores = 1024\ndies = 1024\nthreads = 1024", 0 },
        };
        struct world *w = *state;

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_free_ char *text = xasprintf("[machine]\nname = \"a\"\n[cpu]\n%s\n", cases[i].given);
                int r = parse(w, text);
                const struct def_cpu *c = &w->def->cpu;

                if (!cases[i].amount) {
                        assert_int_equal(r, -EINVAL);
                        assert_true(faulty(w, "cpu.amount"));
                        assert_int_equal(w->diags.n, 1);
                        continue;
                }
                assert_int_equal(r, 0);
                assert_int_equal(c->amount, cases[i].amount);
                assert_int_equal(c->sockets, cases[i].sockets);
                assert_int_equal(c->dies, cases[i].dies);
                assert_int_equal(c->cores, cases[i].cores);
                assert_int_equal(c->threads, cases[i].threads);
        }
}

static void test_topology_shows_arithmetic(void **state) {
        struct world *w = *state;

        assert_int_equal(parse(w, "[machine]\nname = \"a\"\n[cpu]\namount = 9\ncores = 3\n"), -EINVAL);
        assert_string_equal(w->diags.items[0].message,
                            "is 9, but sockets 1 x dies 1 x cores 3 x threads 1 = 3");
        assert_int_equal(w->diags.items[0].loc.line, 4);
}

static void test_features(void **state) {
        struct world *w = *state;

        parse_good(w, "[machine]\nname = \"a\"\nfeatures = [\"uefi\", \"spice\"]\n[uefi]\nenabled = true\n");
        assert_true(w->def->uefi.enabled);
        assert_true(w->def->spice.enabled);
        assert_int_equal(DEF_LOC(&w->def->spice, enabled).line, 3);
        assert_int_equal(DEF_LOC(&w->def->uefi, enabled).line, 5);

        /* Presence does not enable, and its keys warn. */
        parse_good(w, "[machine]\nname = \"a\"\n[spice]\nsocket-path = \"/x\"\n");
        assert_false(w->def->spice.enabled);
        assert_int_equal(w->diags.n, 1);
        assert_int_equal(w->diags.items[0].severity, DIAG_WARNING);
        assert_string_equal(w->diags.items[0].key, "spice.socket-path");
}

static void test_looking_glass_implies_spice(void **state) {
        struct world *w = *state;

        parse_good(w, "[machine]\nname = \"a\"\nfeatures = \"looking-glass\"\n");
        assert_true(w->def->spice.enabled);
        parse_good(w, "[machine]\nname = \"a\"\nfeatures = \"looking-glass\"\n[spice]\nenabled = false\n");
        assert_false(w->def->spice.enabled);
}

static void looking_glass(struct world *w, const char *keys) {
        _cleanup_free_ char *text =
                xasprintf("[machine]\nname = \"a\"\n[looking-glass]\nenabled = true\n%s\n", keys);

        parse_good(w, text);
}

/* MiB by the tables of both versions' documentation: the larger one. */
static void test_looking_glass_size(void **state) {
        static const struct {
                int width, height, mib, mib_hdr;
        } modes[] = {
                { 1280, 800, 32, 32 },
                { 1920, 1080, 32, 64 },
                { 1920, 1200, 32, 64 },
                { 2560, 1080, 64, 64 },
                { 2560, 1440, 64, 128 },
                { 3440, 1440, 64, 128 },
                { 3840, 1600, 128, 128 },
                { 3840, 2160, 128, 256 },
                { 5120, 1440, 128, 128 },
                { 5120, 2160, 256, 256 },
                { 5120, 2880, 256, 256 },
                { 7680, 4320, 512, 1024 },
                /* the bounds, and sides that no line of 256 bytes fits */
                { 1, 1, 16, 16 },
                { 1921, 1081, 32, 64 },
                { 16384, 16384, 4096, 8192 },
        };
        static const int depths[] = { 8, 10, 12, 16 };
        struct world *w = *state;

        for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
                for (size_t k = 0; k < ARRAY_SIZE(depths); k++) {
                        _cleanup_free_ char *keys = xasprintf("width = %d\nheight = %d\nbit-depth = %d",
                                                              modes[i].width, modes[i].height, depths[k]);
                        uint64_t mib = (uint64_t) (depths[k] == 8 ? modes[i].mib : modes[i].mib_hdr);

                        looking_glass(w, keys);
                        assert_int_equal(w->diags.n, 0);
                        assert_int_equal(w->def->looking_glass.buffer_size, mib << 20);
                }
}

/* Before the power of two: the numbers that the tables show in MiB. */
static void test_looking_glass_formulas(void **state) {
        assert_int_equal(looking_glass_released(1920, 1080, 8), 1920 * 1080 * 8 + (10 << 20));
        assert_int_equal(looking_glass_released(1920, 1080, 10), 1920 * 1080 * 16 + (10 << 20));
        /* 2560 x 4 is a multiple of 256, 1366 x 4 is not */
        assert_int_equal(looking_glass_coming(2560, 1080), 10240 * 1080 * 3 + (4 << 20));
        assert_int_equal(looking_glass_coming(1366, 768), 5632 * 768 * 3 + (4 << 20));
        assert_true(looking_glass_need(65535, 65535, 16) == UINT64_C(1) << 37);
}

static void test_looking_glass_given_size(void **state) {
        struct world *w = *state;

        looking_glass(w, "buffer-size = \"64M\"");
        assert_int_equal(w->def->looking_glass.buffer_size, 64 << 20);
        assert_int_equal(w->diags.n, 0);
        looking_glass(w, "buffer-size = 67108865");
        assert_int_equal(w->def->looking_glass.buffer_size, 128 << 20);
        looking_glass(w, "buffer-size = 999999");
        assert_int_equal(w->def->looking_glass.buffer_size, 1 << 20);
        assert_int_equal(w->diags.n, 1);
        assert_int_equal(w->diags.items[0].severity, DIAG_WARNING);
        assert_string_equal(w->diags.items[0].message, "1M is too small for 1920x1080, which needs 32M");
}

static void test_looking_glass_bounds(void **state) {
        static const struct {
                const char *line, *key;
        } bad[] = {
                { "width = 0", "looking-glass.width" },
                { "height = 0", "looking-glass.height" },
                { "width = -1920", "looking-glass.width" },
                { "width = 999999", "looking-glass.width" },
                { "bit-depth = 9", "looking-glass.bit-depth" },
                { "buffer-size = 0", "looking-glass.buffer-size" },
                { "buffer-size = -1", "looking-glass.buffer-size" },
                { "buffer-size = 9223372036854775807", "looking-glass.buffer-size" },
                { "buffer-size = \"9223372036854775808\"", "looking-glass.buffer-size" },
                { "buffer-size = \"8388608T\"", "looking-glass.buffer-size" },
        };
        struct world *w = *state;

        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                _cleanup_free_ char *text = xasprintf(
                        "[machine]\nname = \"a\"\n[looking-glass]\nenabled = true\n%s\n", bad[i].line);

                if (parse(w, text) != -EINVAL || !faulty(w, bad[i].key))
                        fail_msg("%s was taken", bad[i].line);
        }
        /* TOML's integers end before 2^63. */
        assert_int_equal(parse(w, "[machine]\nname = \"a\"\n[looking-glass]\nenabled = true\n"
                                  "buffer-size = 9223372036854775808\n"),
                         -EINVAL);
        assert_int_equal(w->diags.items[0].loc.line, 5);
}

static void test_scream(void **state) {
        struct world *w = *state;

        parse_good(w, "[machine]\nname = \"a\"\nfeatures = \"scream\"\n");
        assert_int_equal(w->def->scream.buffer_size, 2 << 20);
        assert_false(w->def->spice.enabled);
        parse_good(w, "[machine]\nname = \"a\"\n[scream]\nenabled = true\nbuffer-size = 3000000\n");
        assert_int_equal(w->def->scream.buffer_size, 4 << 20);
        assert_int_equal(w->diags.n, 0);

        parse_good(w, "[machine]\nname = \"a\"\nfeatures = [\"scream\", \"looking-glass\"]\n");
        assert_int_equal(w->diags.n, 1);
        assert_string_equal(w->diags.items[0].key, "scream.enabled");
        assert_int_equal(w->diags.items[0].severity, DIAG_WARNING);

        /* The guest could not tell them apart. */
        assert_int_equal(parse(w, "[machine]\nname = \"a\"\nfeatures = [\"scream\", \"looking-glass\"]\n"
                                  "[scream]\nbuffer-size = \"32M\"\n"),
                         -EINVAL);
        assert_true(faulty(w, "scream.buffer-size"));
        assert_int_equal(parse(w, "[machine]\nname = \"a\"\nfeatures = [\"scream\", \"looking-glass\"]\n"
                                  "[scream]\nmem-path = \"/x\"\n[looking-glass]\nmem-path = \"/x\"\n"),
                         -EINVAL);
        assert_true(faulty(w, "scream.mem-path"));
}

static void test_disk_types(void **state) {
        static const struct {
                const char *path, *type;
        } cases[] = {
                { "/dev/absent", "raw" },   { "/dev/x.qcow2", "raw" }, { "/a/b.img", "raw" },
                { "/a/b.RAW", "raw" },      { "b.iso", "raw" },        { "/a/b.qcow2", "qcow2" },
                { "/a/b.vmdk", "vmdk" },    { "/a/b.vdi", "vdi" },     { "/a/b.vhdx", "vhdx" },
                { "/a/b", NULL },           { "/a.raw/b", NULL },      { "/a/b.raw.bak", NULL },
                { "/a/device.qcow", NULL },
        };
        struct world *w = *state;

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_free_ char *text = xasprintf("[machine]\nname = \"a\"\n[[disk]]\npreset = \"ssd\"\n"
                                                      "path = \"%s\"\n",
                                                      cases[i].path);

                parse_good(w, text);
                if (cases[i].type)
                        assert_string_equal(w->def->disk[0].disk_type, cases[i].type);
                else
                        assert_null(w->def->disk[0].disk_type);
                assert_false(DEF_GIVEN(&w->def->disk[0], disk_type));
        }
        parse_good(
                w,
                "[machine]\nname = \"a\"\n[[disk]]\npreset = \"ssd\"\npath = \"x.img\"\ntype = \"qcow2\"\n");
        assert_string_equal(w->def->disk[0].disk_type, "qcow2");
        assert_string_equal(w->def->disk[0].path, "/folder/x.img");
}

static void test_vfio(void **state) {
        struct world *w = *state;

        (void) parse(
                w, "[machine]\nname = \"a\"\n[[vfio]]\naddr = \"0B:1f.7\"\ndevice = 1\n[[vfio]]\nvendor = 1\n"
                   "device = 2\nindex = 1\n[[vfio]]\nvendor = 1\ndevice = 2\n");
        assert_int_equal(w->diags.n, 0);
        assert_string_equal(w->def->vfio[0].address, "0000:0b:1f.7");
        assert_int_equal(w->def->vfio[0].vendor, -1);
        assert_false(DEF_GIVEN(&w->def->vfio[0], index));
}

static void test_not_asked_for(void **state) {
        struct world *w = *state;

        parse_good(w, "[machine]\nname = \"a\"\n[pulse]\n[tpm]\nenabled = false\n[looking-glass]\n");
        assert_int_equal(w->diags.n, 0);
}

static void test_names(void **state) {
        static const char *const good[] = {
                "a", "A.b_c-9", "0", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        };
        static const char *const bad[] = {
                "",
                ".",
                "..",
                "-a",
                "_a",
                ".a",
                "a/b",
                "a b",
                "a\n",
                "\xc3\xa4",
                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        };

        for (size_t i = 0; i < ARRAY_SIZE(good); i++)
                assert_true(def_name_valid(good[i]));
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_false(def_name_valid(bad[i]));
}

static void test_summary(void **state) {
        static const char good[] =
                "[machine]\nname = \"win\"\nmemory = 512\nauto-start = true\n[cpu]\ncores = 3\n";
        static const char bad[] = "[machine]\nname = \"win\"\nmemory = -1\nfoo = 1\n";
        _cleanup_error_ struct error err = ERROR_INIT;
        struct def_summary s;

        assert_int_equal(def_summarize(good, strlen(good), "/", &s, &err), 0);
        assert_string_equal(s.name, "win");
        assert_int_equal(s.memory, 512 << 20);
        assert_int_equal(s.vcpus, 6);
        assert_true(s.auto_start);
        assert_int_equal(def_summarize(bad, strlen(bad), "/", &s, &err), -EINVAL);
        assert_string_equal(err.text,
                            "line 3, column 10: machine.memory: must be a size: a string such as \"12G\", or "
                            "an integer of MiB, not -1");
}

static void test_cdrom(void **state) {
        struct world *w = *state;

        parse_good(w, "[machine]\nname = \"a\"\n[[disk]]\npreset = \"ssd\"\npath = \"/dev/sda\"\n");
        const struct def_disk *first = def_add_cdrom(w->def, "/a/x.iso");
        assert_string_equal(first->disk_type, "raw");
        assert_string_equal(def_add_cdrom(w->def, "/a/x")->disk_type, "raw");
        assert_string_equal(def_add_cdrom(w->def, "/a/x.qcow2")->disk_type, "qcow2");
        assert_int_equal(w->def->n_disk, 4);
        assert_string_equal(w->def->disk[0].preset, "ssd");
        const struct def_disk *d = &w->def->disk[3];
        assert_string_equal(d->preset, "iso");
        assert_true(d->read_only && d->cdrom);
        assert_string_equal(d->head.path, "disk[3]");

        _cleanup_json_ json_t *j = def_to_json(w->def, 0);
        assert_int_equal(json_array_size(json_object_get(j, "disks")), 4);
        assert_true(json_get_bool(json_array_get(json_object_get(j, "disks"), 3), "read_only", false));
}

/* Every section and key of the table is there, under the name that Lua has for it. */
static void test_json(void **state) {
        struct world *w = *state;

        (void) parse(
                w,
                "[machine]\nname = \"a\"\nmemory = \"1G\"\n[[vfio]]\naddress = \"0b:00.3\"\n[[usb]]\nport = "
                "\"1-2\"\n[[network]]\n[[input]]\nname = \"x\"\n[[disk]]\npreset = \"ssd\"\npath = "
                "\"/x.img\"\n");
        _cleanup_json_ json_t *lua = def_to_json(w->def, DEF_JSON_LUA), *show = def_to_json(w->def, 0);
        _cleanup_json_ json_t *origin = def_to_json(w->def, DEF_JSON_ORIGIN);

        assert_string_equal(json_get_str(lua, "name", ""), "a");
        assert_int_equal(json_get_int(lua, "memory", 0), 1024);
        assert_int_equal(json_get_int(show, "memory", 0), 1 << 30);
        assert_int_equal(json_get_int(json_object_get(show, "machine"), "memory", 0), 1 << 30);
        assert_string_equal(json_get_str(lua, "uuid", "?"), "");
        assert_null(json_object_get(lua, "disk"));
        for (size_t i = 0; i < def_schema.n_sections; i++) {
                const struct schema_section *s = &def_schema.sections[i];
                char name[64], key[64];
                const json_t *j = json_object_get(lua, schema_lua_name(s->lua, s->name, name));

                if (s->flags & SECTION_LIST)
                        j = json_array_get(j, 0);
                assert_int_equal(json_object_size(j), s->n_rows);
                for (size_t k = 0; k < s->n_rows; k++)
                        assert_non_null(
                                json_object_get(j, schema_lua_name(s->rows[k].lua, s->rows[k].name, key)));
        }
        assert_string_equal(json_get_str(json_array_get(json_object_get(lua, "vfio"), 0), "address", ""),
                            "0000:0b:00.3");
        assert_string_equal(json_get_str(json_object_get(origin, "name"), "where", ""), "vm.toml:2:8");
        assert_string_equal(json_get_str(json_object_get(origin, "arch"), "origin", ""), "default");
}

/* Every key says what it is, and can be found by its name. */
static void test_table(void **state) {
        for (size_t i = 0; i < def_schema.n_sections; i++) {
                const struct schema_section *s = &def_schema.sections[i];

                assert_ptr_equal(schema_section_find(&def_schema, s->name), s);
                assert_non_null(s->doc);
                for (size_t k = 0; k < s->n_rows; k++) {
                        const struct schema_row *row = &s->rows[k];

                        if (row->flags & ROW_NO_KEY)
                                continue;
                        assert_ptr_equal(schema_row_find(s, row->name), row);
                        assert_non_null(row->doc);
                        assert_true(str_ends(row->doc, "."));
                }
        }
}

/* A file full of faults costs a bounded time and a bounded message. */
static void test_many_faults(void **state) {
        static const char *const lines[] = { "[[disk]]\n", "[[vfio]]\n", "[[usb]]\n" };
        struct world *w = *state;

        for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
                _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

                strbuf_add(&text, "[machine]\nname = \"a\"\n");
                while (text.len + strlen(lines[i]) <= DEF_SIZE_MAX)
                        strbuf_add(&text, lines[i]);
                assert_int_equal(parse(w, text.data), -EINVAL);
                assert_int_equal(w->diags.n, DIAGS_MAX);
        }

        _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
        strbuf_add(&text, "[cpu]\n");
        for (unsigned i = 0; text.len < DEF_SIZE_MAX - 20; i++)
                strbuf_addf(&text, "k%x=1\n", i);
        assert_int_equal(parse(w, text.data), -EINVAL);
        assert_int_equal(w->diags.n, DIAGS_MAX);
        assert_true(w->diags.errors > 5000);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* What the tree shows to people is right, and warns of nothing. */
static void test_examples(void **state) {
        static const char *const examples[] = { "annotated", "demo", "linux", "minimal", "windows11" };
        struct world *w = *state;

        for (size_t i = 0; i < ARRAY_SIZE(examples); i++) {
                _cleanup_free_ char *path = xasprintf("%s/../../examples/%s.toml", TEST_GOLDEN, examples[i]);
                _cleanup_free_ char *text = NULL;

                assert_int_equal(file_read(AT_FDCWD, path, DEF_SIZE_MAX, &text, NULL, NULL), 0);
                parse_good(w, text);
                assert_int_equal(w->diags.n, 0);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_minimal),
                TEST(test_syntax_error_alone),
                TEST(test_topology),
                TEST(test_topology_shows_arithmetic),
                TEST(test_features),
                TEST(test_looking_glass_implies_spice),
                TEST(test_looking_glass_size),
                TEST(test_looking_glass_formulas),
                TEST(test_looking_glass_given_size),
                TEST(test_looking_glass_bounds),
                TEST(test_scream),
                TEST(test_disk_types),
                TEST(test_vfio),
                TEST(test_not_asked_for),
                TEST(test_names),
                TEST(test_summary),
                TEST(test_cdrom),
                TEST(test_json),
                TEST(test_table),
                TEST(test_many_faults),
                TEST(test_examples),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
