/* vored.toml, its modes and options. As root the mode is the system's: what depends on it asks for the uid.
 */
#include "settings/settings.h"

#include "base/file.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

struct world {
        struct arena *arena;
        struct diags diags;
        struct error err;
        struct settings *settings;
        struct settings_options options;
        char dir[64];
        char *config;
        bool root;
};

static int setup(void **state) {
        struct world *w = xcalloc(1, sizeof(*w));

        w->arena = arena_new();
        diags_init(&w->diags, w->arena, NULL);
        strcpy(w->dir, "/tmp/test-settings-XXXXXX");
        if (!mkdtemp(w->dir))
                return -1;
        w->config = xasprintf("%s/vored.toml", w->dir);
        w->root = geteuid() == 0;
        setenv("XDG_CONFIG_HOME", w->dir, 1);
        setenv("XDG_STATE_HOME", "/xdg/state", 1);
        setenv("XDG_RUNTIME_DIR", "/xdg/run", 1);
        setenv("XDG_CACHE_HOME", "/xdg/cache", 1);
        *state = w;
        return 0;
}

static int teardown(void **state) {
        struct world *w = *state;

        (void) file_remove_tree(AT_FDCWD, w->dir, NULL);
        arena_free(w->arena);
        error_done(&w->err);
        free(w->config);
        free(w);
        return 0;
}

static int load(struct world *w) {
        return settings_load(w->arena, &w->options, &w->settings, &w->diags, &w->err);
}

static int load_text(struct world *w, const char *text) {
        assert_int_equal(file_write_atomic(AT_FDCWD, w->config, text, strlen(text), 0644, false, NULL), 0);
        w->options.config = w->config;
        return load(w);
}

static void assert_fault(struct world *w, const char *text, uint32_t line, uint32_t column, const char *key) {
        assert_int_equal(load_text(w, text), -EINVAL);
        assert_int_equal(w->diags.n, 1);
        assert_string_equal(w->diags.items[0].key, key);
        assert_int_equal(w->diags.items[0].loc.line, line);
        assert_int_equal(w->diags.items[0].loc.column, column);
        assert_string_equal(w->diags.file, w->config);
        assert_non_null(w->err.text);
        assert_null(w->settings);
}

static void test_defaults(void **state) {
        struct world *w = *state;

        assert_int_equal(load(w), 0);
        const struct settings *s = w->settings;
        assert_int_equal(s->system, w->root);
        assert_string_equal(s->vore.group, "vore");
        assert_string_equal(s->vore.log_level, "info");
        assert_string_equal(s->vore.state_dir, w->root ? "/var/lib/vore" : "/xdg/state/vore");
        assert_string_equal(s->vore.runtime_dir, w->root ? "/run/vore" : "/xdg/run/vore");
        assert_string_equal(s->vore.socket, w->root ? "/run/vore/vored.sock" : "/xdg/run/vore/vored.sock");
        assert_string_equal(s->log_dir, w->root ? "/var/log/vore" : "/xdg/state/vore/log");
        assert_string_equal(s->cache_dir, w->root ? "/var/lib/vore/cache" : "/xdg/cache/vore");
        assert_true(str_starts(s->shm_dir, w->root ? "/dev/shm/vore" : "/dev/shm/vore-"));
        assert_null(s->qemu.script);
        assert_null(s->qemu.binary);
        assert_true(s->qemu.sandbox);
        assert_int_equal(s->qemu.uid_first, 70000);
        assert_int_equal(s->qemu.uid_last, 70999);
        assert_int_equal(s->vfio.timeout, 10);
        assert_int_equal(s->n_uefi, 0);
}

static void test_xdg_fallbacks(void **state) {
        struct world *w = *state;

        assert_string_equal(settings_session_socket(w->arena), "/xdg/run/vore/vored.sock");
        assert_string_equal(settings_system_socket(), "/run/vore/vored.sock");

        /* Relative ones do not count. */
        setenv("XDG_RUNTIME_DIR", "run", 1);
        const char *socket = settings_session_socket(w->arena);
        _cleanup_free_ char *user = xasprintf("/run/user/%u/vore/vored.sock", (unsigned) geteuid());
        _cleanup_free_ char *tmp = xasprintf("/tmp/vore-%u/vore/vored.sock", (unsigned) geteuid());
        assert_true(str_eq(socket, user) || str_eq(socket, tmp));

        unsetenv("XDG_STATE_HOME");
        setenv("HOME", "/home/someone", 1);
        assert_int_equal(load(w), 0);
        if (!w->root)
                assert_string_equal(w->settings->vore.state_dir, "/home/someone/.local/state/vore");
}

/* As a user that this machine hardly has: root can put it on, others skip. */
enum { STRANGER = 1654321 };

static void test_session_of_a_stranger(void **state) {
        struct world *w = *state;

        if (!w->root)
                skip();
        setenv("XDG_CONFIG_HOME", "/absent", 1);
        assert_int_equal(seteuid(STRANGER), 0);
        int r = load(w);
        const char *session = settings_session_socket(w->arena);
        assert_int_equal(seteuid(0), 0);
        assert_int_equal(r, 0);
        assert_false(w->settings->system);
        assert_string_equal(w->settings->vore.state_dir, "/xdg/state/vore");
        assert_string_equal(w->settings->log_dir, "/xdg/state/vore/log");
        assert_string_equal(w->settings->vore.socket, "/xdg/run/vore/vored.sock");
        assert_string_equal(w->settings->vore.socket, session);
        assert_string_equal(w->settings->shm_dir, "/dev/shm/vore-1654321");
        assert_string_equal(w->settings->cache_dir, "/xdg/cache/vore");
}

/* Without XDG_RUNTIME_DIR and /run/user it is a folder in /tmp, which must be the user's own and closed to
 * others. */
static void test_runtime_dir_in_tmp(void **state) {
        static const char dir[] = "/tmp/vore-1654321";
        static const struct {
                uid_t owner;
                mode_t mode;
                int result;
        } cases[] = { { STRANGER, 0700, 0 }, { STRANGER, 0750, -EPERM }, { 0, 0700, -EPERM } };
        struct world *w = *state;

        if (!w->root)
                skip();
        setenv("XDG_CONFIG_HOME", "/absent", 1);
        unsetenv("XDG_RUNTIME_DIR");
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                assert_int_equal(mkdir(dir, 0700), 0);
                assert_int_equal(chown(dir, cases[i].owner, 0), 0);
                assert_int_equal(chmod(dir, cases[i].mode), 0);
                assert_int_equal(seteuid(STRANGER), 0);
                int r = load(w);
                assert_int_equal(seteuid(0), 0);
                assert_int_equal(rmdir(dir), 0);
                assert_int_equal(r, cases[i].result);
                if (r == 0)
                        assert_string_equal(w->settings->vore.runtime_dir, "/tmp/vore-1654321/vore");
                else
                        assert_non_null(strstr(w->err.text, dir));
        }
}

static void test_file(void **state) {
        struct world *w = *state;
        _cleanup_free_ char *script = xasprintf("%s/my.lua", w->dir),
                            *binary = xasprintf("%s/bin/qemu", w->dir);

        assert_int_equal(file_write_atomic(AT_FDCWD, script, "", 0, 0644, false, NULL), 0);
        assert_int_equal(
                load_text(w, "[vore]\ngroup = \"kvm\"\nstate-dir = \"/s\"\nruntime-dir = \"run\"\n"
                             "log-level = \"debug\"\n[qemu]\nscript = \"my.lua\"\nbinary = \"bin/qemu\"\n"
                             "uids = \"900000-900001\"\nsandbox = false\n[vfio]\ntimeout = 3\n"
                             "[uefi.default]\nboot-code = \"/c.fd\"\ntemplate = \"v.fd\"\n"
                             "[uefi.\"2M\"]\nboot-code = \"/d\"\ntemplate = \"/e\"\n"),
                0);
        const struct settings *s = w->settings;
        assert_string_equal(s->file, w->config);
        assert_string_equal(s->vore.group, "kvm");
        assert_string_equal(s->vore.state_dir, "/s");
        assert_string_equal(s->log_dir, "/s/log");
        _cleanup_free_ char *socket = xasprintf("%s/run/vored.sock", w->dir),
                            *vars = xasprintf("%s/v.fd", w->dir);
        assert_string_equal(s->vore.socket, socket);
        assert_string_equal(s->qemu.script, script);
        assert_string_equal(s->qemu.binary, binary);
        assert_int_equal(s->qemu.uid_first, 900000);
        assert_int_equal(s->qemu.uid_last, 900001);
        assert_false(s->qemu.sandbox);
        assert_int_equal(s->vfio.timeout, 3);
        assert_int_equal(s->n_uefi, 2);
        assert_string_equal(settings_uefi_find(s, "default")->template_, vars);
        assert_string_equal(settings_uefi_find(s, "2M")->boot_code, "/d");
        assert_null(settings_uefi_find(s, "absent"));

        _cleanup_json_ json_t *j = settings_to_json(s);
        assert_string_equal(
                json_get_str(json_object_get(json_object_get(j, "uefi"), "default"), "boot_code", ""),
                "/c.fd");
        assert_string_equal(json_get_str(json_object_get(j, "vore"), "log_level", ""), "debug");
        assert_int_equal(json_get_int(json_object_get(j, "vfio"), "timeout", 0), 3);
}

static void test_options_beat_the_file(void **state) {
        struct world *w = *state;

        w->options = (struct settings_options){ .state_dir = "/o/state",
                                                .runtime_dir = "/o/run",
                                                .log_level = "error" };
        assert_int_equal(
                load_text(w, "[vore]\nstate-dir = \"/s\"\nruntime-dir = \"/r\"\nsocket = \"/r/x.sock\"\n"
                             "log-level = \"debug\"\n"),
                0);
        assert_string_equal(w->settings->vore.state_dir, "/o/state");
        assert_string_equal(w->settings->log_dir, "/o/state/log");
        assert_string_equal(w->settings->vore.runtime_dir, "/o/run");
        assert_string_equal(w->settings->vore.socket, "/o/run/vored.sock");
        assert_string_equal(w->settings->vore.log_level, "error");
}

static void test_options_count_from_here(void **state) {
        struct world *w = *state;
        _cleanup_free_ char *cwd = getcwd(NULL, 0), *wanted = xasprintf("%s/here", cwd);

        w->options =
                (struct settings_options){ .state_dir = "here", .runtime_dir = "/r", .socket = "/x.sock" };
        assert_int_equal(load(w), 0);
        assert_string_equal(w->settings->vore.state_dir, wanted);
        assert_string_equal(w->settings->vore.socket, "/x.sock");
}

static void test_bad_options(void **state) {
        struct world *w = *state;

        w->options = (struct settings_options){ .log_level = "loud" };
        assert_int_equal(load(w), -EINVAL);
        assert_string_equal(w->err.text, "--log-level: must be error, warning, info or debug, not \"loud\"");
        w->options = (struct settings_options){ .state_dir = "" };
        assert_int_equal(load(w), -EINVAL);
        assert_string_equal(w->err.text, "--state-dir: must not be empty");
}

static void test_named_file_missing(void **state) {
        struct world *w = *state;

        w->options.config = w->config;
        assert_int_equal(load(w), -ENOENT);
        assert_non_null(strstr(w->err.text, w->config));
}

static void test_folder_for_a_file(void **state) {
        struct world *w = *state;

        w->options.config = w->dir;
        assert_int_equal(load(w), -EISDIR);
}

static void test_script_missing(void **state) {
        assert_fault(*state, "[qemu]\nscript = \"absent.lua\"\n", 2, 10, "qemu.script");
}

static void test_syntax(void **state) {
        assert_fault(*state, "[qemu\n", 1, 6, "");
}

static void test_unknown(void **state) {
        assert_fault(*state, "[qemu]\nsandbx = true\n", 2, 1, "qemu.sandbx");
}

static void test_uids(void **state) {
        static const char *const bad[] = {
                "70000", "2-1",          "0-5",   "a-b",   "1-",
                "-5",    "1-4294967295", "1-2-3", "1 - 2", "99999999999999999999-5"
        };
        struct world *w = *state;

        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                _cleanup_free_ char *text = xasprintf("[qemu]\nuids = \"%s\"\n", bad[i]);

                diags_init(&w->diags, w->arena, NULL);
                assert_fault(w, text, 2, 8, "qemu.uids");
        }
}

static void test_uids_of_users(void **state) {
        static const char text[] = "[qemu]\nuids = \"1-70000\"\n";
        struct world *w = *state;

        /* Some user of this machine is in that range; in session mode the range is not used. */
        if (w->root && getpwuid(1))
                assert_fault(w, text, 2, 8, "qemu.uids");
        else
                assert_int_equal(load_text(w, text), 0);
}

static void test_socket_too_long(void **state) {
        char text[256];

        snprintf(text, sizeof(text), "[vore]\nsocket = \"/%0107d\"\n", 1);
        assert_fault(*state, text, 2, 10, "vore.socket");
}

static void test_uefi_incomplete(void **state) {
        assert_fault(*state, "[uefi.mine]\nboot-code = \"/x\"\n", 1, 1, "uefi.mine.template");
}

static void test_timeout(void **state) {
        assert_fault(*state, "[vfio]\ntimeout = 0\n", 2, 11, "vfio.timeout");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_defaults),
                TEST(test_xdg_fallbacks),
                TEST(test_session_of_a_stranger),
                TEST(test_runtime_dir_in_tmp),
                TEST(test_file),
                TEST(test_options_beat_the_file),
                TEST(test_options_count_from_here),
                TEST(test_bad_options),
                TEST(test_named_file_missing),
                TEST(test_folder_for_a_file),
                TEST(test_script_missing),
                TEST(test_syntax),
                TEST(test_unknown),
                TEST(test_uids),
                TEST(test_uids_of_users),
                TEST(test_socket_too_long),
                TEST(test_uefi_incomplete),
                TEST(test_timeout),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
