/* Definitions (tests/golden/complete/NAME.toml) on captured hosts -> completed definitions with their
 * origins, and the faults (NAME.json). Lines "#! KEY VALUE" at the beginning of a definition say on which
 * host, with which settings and beside which other VMs. VORE_UPDATE_GOLDEN=1 writes the JSON files anew. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/json.h"
#include "base/size.h"
#include "base/str.h"
#include "complete/complete.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

enum { USES_MAX = 4 };

struct scene {
        struct arena *arena;
        const char *host;
        struct settings settings;
        struct settings_uefi uefi;
        struct complete_use uses[USES_MAX];
        struct complete_request req;
};

static void scene_word(struct scene *s, const char *key, char *value) {
        char *rest = NULL, *first = strtok_r(value, " ", &rest), *second = strtok_r(NULL, " ", &rest),
             *third = strtok_r(NULL, " ", &rest);

        assert_non_null(first);
        if (str_eq(key, "host"))
                s->host = first;
        else if (str_eq(key, "system"))
                s->settings.system = str_eq(first, "true");
        else if (str_eq(key, "state-dir"))
                s->settings.vore.state_dir = first;
        else if (str_eq(key, "runtime-dir"))
                s->settings.vore.runtime_dir = first;
        else if (str_eq(key, "memory-used"))
                assert_int_equal(size_parse(first, 1, &s->req.memory_used), 0);
        else if (str_eq(key, "uefi")) {
                s->uefi = (struct settings_uefi){ .name = first, .boot_code = second, .template_ = third };
                s->settings.uefi = &s->uefi;
                s->settings.n_uefi = 1;
        } else if (str_eq(key, "use")) {
                assert_true(s->req.n_uses < USES_MAX && third);
                s->uses[s->req.n_uses++] = (struct complete_use){ first, second, str_eq(third, "ro") };
        } else
                fail_msg("unknown word %s", key);
}

static void scene_read(struct scene *s, const char *text) {
        s->settings.system = true;
        s->settings.vore.state_dir = "/var/lib/vore";
        s->settings.vore.runtime_dir = "/run/vore";
        for (; str_starts(text, "#! "); text = strchr(text, '\n') + 1) {
                char *line = arena_strndup(s->arena, text + 3, strcspn(text + 3, "\n"));
                char *space = strchr(line, ' ');

                assert_non_null(space);
                *space = '\0';
                scene_word(s, line, space + 1);
        }
        assert_non_null(s->host);
}

/* {definition, faults} of one definition's text. */
static json_t *complete_text(const char *name, const char *text) {
        _cleanup_arena_ struct arena *arena = arena_new();
        _cleanup_host_ struct host *host = NULL;
        _cleanup_free_ char *qemu = NULL, *root = NULL;
        struct scene s = { .arena = arena };
        struct diags diags;
        struct def *def = NULL;

        scene_read(&s, text);
        root = xasprintf("%s/%s", TEST_HOSTS, s.host);
        assert_int_equal(host_open(root, &host, NULL), 0);
        diags_init(&diags, arena, name);
        (void) def_parse(arena, text, strlen(text), "/home/alice/vms", 0, &def, &diags);
        assert_non_null(def);
        (void) host_qemu(host, NULL, def->machine.arch ? def->machine.arch : "x86_64", &qemu, NULL);
        s.req.host = host;
        s.req.settings = &s.settings;
        s.req.uses = s.uses;
        s.req.qemu_binary = qemu;
        complete(def, &s.req, &diags);
        diags_sort(&diags);

        json_t *all = json_object(), *sections = def_to_json(def, DEF_JSON_ORIGIN), *part = json_object();
        json_put(all, "faults", diags_to_json(&diags));
        /* What completion fills in; the rest of the sections is the parser's. */
        static const char *const shown[] = { "machine", "cpu", "disks", "uefi", "spice", "network" };
        for (size_t i = 0; i < ARRAY_SIZE(shown); i++)
                json_put(part, shown[i], json_incref(json_object_get(sections, shown[i])));
        json_decref(sections);
        json_put(all, "definition", part);
        return all;
}

static void check_golden(const char *name) {
        _cleanup_free_ char *toml = xasprintf("%s/%s", TEST_GOLDEN, name), *golden = xstrdup(toml);
        _cleanup_free_ char *text = NULL, *want = NULL, *got = NULL;
        const char *update = getenv("VORE_UPDATE_GOLDEN");

        strcpy(strrchr(golden, '.'), ".json"); /* as long as ".toml" */
        assert_int_equal(file_read(AT_FDCWD, toml, 65536, &text, NULL, NULL), 0);
        _cleanup_json_ json_t *result = complete_text(name, text);
        _cleanup_free_ char *pretty = json_text_pretty(result);
        got = xasprintf("%s\n", pretty);
        if (update && str_eq(update, "1"))
                assert_int_equal(file_write_atomic(AT_FDCWD, golden, got, strlen(got), 0644, false, NULL), 0);
        int r = file_read(AT_FDCWD, golden, 1024 * 1024, &want, NULL, NULL);
        if (r < 0)
                fail_msg("%s is not there; VORE_UPDATE_GOLDEN=1 writes it", golden);
        if (!str_eq(want, got))
                fail_msg("%s differs; VORE_UPDATE_GOLDEN=1 shows how in git diff", golden);
}

static void test_golden(void **state) {
        DIR *dir = opendir(TEST_GOLDEN);
        struct dirent *e;
        size_t n = 0;

        assert_non_null(dir);
        while ((e = readdir(dir)))
                if (str_ends(e->d_name, ".toml")) {
                        check_golden(e->d_name);
                        n++;
                }
        closedir(dir);
        assert_true(n >= 15);
}

static void test_uuid(void **state) {
        char a[37], b[37], c[37];

        complete_uuid("00112233445566778899aabbccddeeff", "win10", a);
        complete_uuid("00112233445566778899aabbccddeeff", "win10", b);
        complete_uuid("00112233445566778899aabbccddeefe", "win10", c);
        assert_string_equal(a, b);
        assert_string_not_equal(a, c);
        /* Made with another implementation of RFC 9562's version 5. */
        assert_string_equal(a, "9c182641-c257-54ef-b306-aea98c83cade");
        assert_int_equal(strlen(a), 36);
        assert_int_equal(a[14], '5');
        assert_non_null(strchr("89ab", a[19]));
        complete_uuid("", "a-name-so-long-that-the-text-to-be-hashed-needs-more-than-one-block-of-sixty-four",
                      b);
        assert_string_equal(b, "dc21a42c-e65a-597a-a67b-73956a8ac291");
}

static void test_default_firmware(void **state) {
        _cleanup_arena_ struct arena *arena = arena_new();
        _cleanup_host_ struct host *host = NULL, *bare = NULL;
        struct settings_uefi named = { .name = "default", .boot_code = "/a", .template_ = "/b" };
        struct settings s = { .system = true };
        const char *code, *template_;

        assert_int_equal(host_open(TEST_HOSTS "/plain-vm", &host, NULL), 0);
        assert_int_equal(host_open(TEST_HOSTS "/no-kvm", &bare, NULL), 0);
        assert_int_equal(complete_default_firmware(host, &s, NULL, NULL, arena, &code, &template_, NULL), 0);
        assert_string_equal(code, "/usr/share/OVMF/OVMF_CODE_4M.fd");
        assert_string_equal(template_, "/usr/share/OVMF/OVMF_VARS_4M.fd");
        assert_int_equal(complete_default_firmware(bare, &s, NULL, NULL, arena, &code, &template_, NULL),
                         -ENOENT);
        s.uefi = &named;
        s.n_uefi = 1;
        assert_int_equal(complete_default_firmware(bare, &s, NULL, NULL, arena, &code, &template_, NULL), 0);
        assert_string_equal(code, "/a");
}

/* The definition may be in ruins: completion must live with whatever the parser could read. */
static void test_ruins(void **state) {
        static const char *const texts[] = {
                "#! host plain-vm\n",
                "#! host plain-vm\n[",
                "#! host no-kvm\n[[disk]]\n[[disk]]\npath = 7\n[machine]\nname = \"\"\nmemory = \"x\"\n",
                "#! host no-kvm\n[machine]\narch = \"\"\nchipset = \"\"\n[uefi]\nenabled = true\nfirmware = "
                "\"\"\n",
                "#! host no-kvm\n[[disk]]\npreset = \"x\"\npath = \"relative.img\"\n[spice]\nenabled = "
                "true\n",
                "#! host no-kvm\n[[disk]]\npreset = \"x\"\npath = \"/\"\n",
        };

        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                _cleanup_json_ json_t *j = complete_text("ruin.toml", texts[i]);

                assert_true(json_array_size(json_object_get(j, "faults")) > 0);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_golden),
                cmocka_unit_test(test_uuid),
                cmocka_unit_test(test_default_firmware),
                cmocka_unit_test(test_ruins),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
