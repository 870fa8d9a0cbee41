/* tests/golden/script/NAME.json, merged over base.json, through the default script (or NAME.lua) gives
 * NAME.argv: one option with its values a line. VORE_UPDATE_GOLDEN=1 rewrites them. The scripts run in this
 * process: leaks are seen. */
#include "script-fixture.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

#include "base/json.h"

static json_t *load(const char *name) {
        _cleanup_free_ char *path = xasprintf(TEST_GOLDEN "/%s.json", name), *text = NULL;
        json_t *j = NULL;
        size_t len;

        assert_int_equal(file_read(AT_FDCWD, path, 1 << 20, &text, &len, NULL), 0);
        assert_int_equal(json_parse(text, len, &j, NULL), 0);
        return j;
}

static char *print_result(const struct script_result *r) {
        struct strbuf b = STRBUF_INIT;

        for (size_t i = 0; i < r->argv.n; i++) {
                bool option = r->argv.items[i][0] == '-';
                if (i > 0)
                        strbuf_add(&b, option ? "\n" : " ");
                strbuf_add(&b, r->argv.items[i]);
        }
        strbuf_add(&b, "\n");
        for (size_t i = 0; i < r->n_copies; i++)
                strbuf_addf(&b, "copy %s from %s\n", r->copies[i].target, r->copies[i].source);
        for (size_t i = 0; i < r->n_warnings; i++)
                strbuf_addf(&b, "warning %s\n", r->warnings[i]);
        return strbuf_take(&b);
}

static char *build(const char *name) {
        _cleanup_json_ json_t *instance = load("base"), *own = str_eq(name, "base") ? NULL : load(name);
        _cleanup_json_ json_t *global =
                json_pack("{s:{s:{s:s,s:s}}}", "uefi", "default", "boot_code",
                          "/usr/share/OVMF/OVMF_CODE_4M.fd", "template", "/usr/share/OVMF/OVMF_VARS_4M.fd");
        _cleanup_(caps_done) struct caps caps = { 0 };
        _cleanup_free_ char *script = xasprintf(TEST_GOLDEN "/%s.lua", name);
        struct script_request req = { .path = script,
                                      .library_dir = TEST_LUA_DIR,
                                      .instance = instance,
                                      .global = global,
                                      .caps = &caps,
                                      .instance_dir = "/var/lib/vore/instance/win10" };
        struct script_result result = { 0 };
        _cleanup_error_ struct error err = ERROR_INIT;
        char *text;

        if (own)
                assert_int_equal(json_object_update_recursive(instance, own), 0);
        assert_int_equal(
                caps_parse("vore-caps 2 x\ndevice usb-redir chardev\nversion 10.0.13\n", &caps, NULL), 0);
        if (access(script, F_OK) < 0)
                req.path = TEST_LUA_DIR "/qemu.lua";
        assert_int_equal(setenv("VORE_HOST_ROOT",
                                strstr(name, "amd") ? TEST_GOLDEN "/host-amd" : TEST_GOLDEN "/host-intel", 1),
                         0);
        if (script_run(&req, -1, &result, &err) < 0)
                print_error("%s: %s\n", name, error_text(&err));
        assert_null(err.text);
        text = print_result(&result);
        script_result_done(&result);
        return text;
}

static void check(const char *name) {
        _cleanup_free_ char *text = build(name), *path = xasprintf(TEST_GOLDEN "/%s.argv", name),
                            *golden = NULL;
        const char *update = getenv("VORE_UPDATE_GOLDEN");

        if (!str_empty(update)) {
                assert_int_equal(file_write_atomic(AT_FDCWD, path, text, strlen(text), 0644, false, NULL), 0);
                return;
        }
        if (file_read(AT_FDCWD, path, 1 << 20, &golden, NULL, NULL) < 0 || !str_eq(golden, text))
                print_error("%s: expected:\n%s\ngot:\n%s\n", name, golden ? golden : "(no file)", text);
        assert_non_null(golden);
        assert_string_equal(golden, text);
}

static void test_golden(void **state) {
        DIR *dir = opendir(TEST_GOLDEN);
        struct dirent *entry;
        unsigned n = 0;

        assert_non_null(dir);
        while ((entry = readdir(dir))) {
                _cleanup_free_ char *name = xstrdup(entry->d_name);
                if (!str_ends(name, ".json"))
                        continue;
                name[strlen(name) - strlen(".json")] = '\0';
                check(name);
                n++;
        }
        (void) closedir(dir);
        assert_true(n >= 14);
}

/* The installed script refuses what it does not know, with a position. */
static void test_refuses(void **state) {
        static const struct {
                const char *key, *value, *text;
        } rows[] = {
                { "chipset", "\"pc\"", "only knows the chipset q35, not pc" },
                { "disks", "[{\"preset\":\"ide\",\"path\":\"/a.img\",\"read_only\":true}]",
                  "cannot be read-only" },
                { "disks", "[{\"preset\":\"none\",\"path\":\"/a.img\"}]",
                  "there are nvme, ssd, hdd, virtio, ide, iso" },
                { "uefi", "{\"enabled\":true,\"boot_code\":\"\",\"template\":\"\"}",
                  "no UEFI firmware was found" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                _cleanup_json_ json_t *instance = load("base"), *value = NULL;
                struct script_request req = { .path = TEST_LUA_DIR "/qemu.lua",
                                              .library_dir = TEST_LUA_DIR,
                                              .instance = instance,
                                              .instance_dir = "/i" };
                struct script_result result = { 0 };
                _cleanup_error_ struct error err = ERROR_INIT;

                assert_int_equal(json_parse(rows[i].value, strlen(rows[i].value), &value, NULL), 0);
                json_put(instance, rows[i].key, TAKE_PTR(value));
                assert_int_equal(script_run(&req, -1, &result, &err), -EINVAL);
                assert_true(str_starts(error_text(&err), TEST_LUA_DIR "/qemu.lua:"));
                assert_non_null(strstr(error_text(&err), rows[i].text));
        }
}

static void test_presets(void **state) {
        struct script_request req = { .path = TEST_LUA_DIR "/qemu.lua", .library_dir = TEST_LUA_DIR };
        _cleanup_json_ json_t *presets = NULL;
        json_t *preset;
        size_t i;

        assert_int_equal(script_presets(&req, -1, &presets, NULL), 0);
        assert_int_equal(json_array_size(presets), 6);
        json_array_foreach (presets, i, preset)
                assert_true(strlen(json_get_str(preset, "description", "")) > 10);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_golden),
                cmocka_unit_test(test_refuses),
                cmocka_unit_test(test_presets),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
