/* The whole walk: a definition (tests/golden/argv/NAME.toml) on a captured host -> NAME.expected: its faults,
 * the command line for people, the one for vored with the descriptors that it hands over, and what a start
 * does besides. Lines "#! KEY VALUE" at the beginning of a definition say on which host, with which settings
 * and options. VORE_UPDATE_GOLDEN=1 writes the expectations anew. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/json.h"
#include "base/size.h"
#include "base/str.h"
#include "plan/plan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

enum { LIST_MAX = 4 };

struct scene {
        struct arena *arena;
        const char *host, *script, *state_dir;
        struct strbuf vored_toml;
        struct complete_use uses[LIST_MAX];
        const char *cdroms[LIST_MAX];
        struct plan_request req;
};

static void scene_use(struct scene *s, char *value) {
        char *rest = NULL, *vm = strtok_r(value, " ", &rest), *path = strtok_r(NULL, " ", &rest),
             *how = strtok_r(NULL, " ", &rest);

        assert_true(s->req.n_uses < LIST_MAX && how);
        s->uses[s->req.n_uses++] = (struct complete_use){ vm, path, str_eq(how, "ro") };
}

static void scene_word(struct scene *s, const char *key, char *value) {
        if (str_eq(key, "host"))
                s->host = value;
        else if (str_eq(key, "uid"))
                s->req.uid = (uid_t) atoi(value);
        else if (str_eq(key, "display"))
                s->req.display = str_eq(value, "true");
        else if (str_eq(key, "save"))
                s->req.def_flags = str_eq(value, "true") ? DEF_SAVE : 0;
        else if (str_eq(key, "state-dir"))
                s->state_dir = value;
        else if (str_eq(key, "memory-used"))
                assert_int_equal(size_parse(value, 1, &s->req.memory_used), 0);
        else if (str_eq(key, "script"))
                s->script = arena_printf(s->arena, "%s/%s", TEST_GOLDEN, value);
        else if (str_eq(key, "vored"))
                strbuf_addf(&s->vored_toml, "%s\n", value);
        else if (str_eq(key, "use"))
                scene_use(s, value);
        else if (str_eq(key, "cdrom")) {
                assert_true(s->req.n_cdroms < LIST_MAX);
                s->cdroms[s->req.n_cdroms++] = value;
        } else
                fail_msg("unknown word %s", key);
}

/* The settings as vored reads them, of system mode whoever runs the tests. */
static const struct settings *scene_settings(struct scene *s) {
        _cleanup_close_ int fd = memfd_create("vored.toml", MFD_CLOEXEC);
        _cleanup_(error_done) struct error err = ERROR_INIT;
        struct settings_options options = { .state_dir = s->state_dir, .runtime_dir = "/run/vore" };
        struct settings *settings = NULL;
        struct diags diags;

        options.config = arena_printf(s->arena, "/proc/self/fd/%d", fd);
        if (s->vored_toml.len)
                assert_int_equal(file_write_all(fd, s->vored_toml.data, s->vored_toml.len), 0);
        strbuf_done(&s->vored_toml);
        diags_init(&diags, s->arena, "vored.toml");
        if (settings_load(s->arena, &options, &settings, &diags, &err) < 0)
                fail_msg("%s", error_text(&err));
        settings->system = true;
        settings->cache_dir = "/nonexistent";
        settings->shm_dir = "/dev/shm/vore";
        if (s->script)
                settings->qemu.script = s->script;
        return settings;
}

static void scene_read(struct scene *s, const char *text) {
        s->state_dir = "/var/lib/vore";
        s->req = (struct plan_request){
                .text = text,
                .len = strlen(text),
                .directory = "/home/alice/vms",
                .cdroms = s->cdroms,
                .uses = s->uses,
                .goal = PLAN_ARGV,
                .uid = (uid_t) -1,
        };
        for (; str_starts(text, "#! "); text = strchr(text, '\n') + 1) {
                char *line = arena_strndup(s->arena, text + 3, strcspn(text + 3, "\n"));
                char *space = strchr(line, ' ');

                assert_non_null(space);
                *space = '\0';
                scene_word(s, line, space + 1);
        }
        assert_non_null(s->host);
        assert_int_equal(setenv("VORE_HOST_ROOT", arena_printf(s->arena, "%s/%s", TEST_HOSTS, s->host), 1),
                         0);
        s->req.settings = scene_settings(s);
}

/* --- the plan as lines --- */

/* Where the tree lies, and at which of its lines the default script complains, is of no interest. */
static void add_text(struct strbuf *b, const char *text) {
        static const char script[] = "lua/qemu.lua:";
        const char *at;

        while ((at = strstr(text, TEST_TREE "/"))) {
                strbuf_addn(b, text, (size_t) (at - text));
                strbuf_add(b, "TREE/");
                text = at + strlen(TEST_TREE "/");
                if (str_starts(text, script)) {
                        strbuf_addf(b, "%sLINE", script);
                        text += strlen(script);
                        text += strspn(text, "0123456789");
                }
        }
        strbuf_add(b, text);
}

static void add_argv(struct strbuf *b, const char *title, const struct argv *argv) {
        strbuf_addf(b, "%s:", title);
        for (size_t i = 0; i < argv->n; i++) {
                strbuf_add(b, i == 0 || argv->items[i][0] == '-' ? "\n  " : " ");
                add_text(b, argv->items[i]);
        }
        strbuf_add(b, "\n");
}

static void add_faults(struct strbuf *b, const json_t *faults) {
        const json_t *fault;
        size_t i;

        json_array_foreach (faults, i, fault) {
                const char *hint = json_get_str(fault, "hint", NULL);

                strbuf_addf(b, "%s:%d:%d: %s: %s: ", json_get_str(fault, "file", "?"),
                            (int) json_get_int(fault, "line", 0), (int) json_get_int(fault, "column", 0),
                            json_get_str(fault, "severity", "?"), json_get_str(fault, "key", ""));
                add_text(b, json_get_str(fault, "message", "?"));
                strbuf_addf(b, "%s%s\n", hint ? " / " : "", hint ? hint : "");
        }
}

static const char *open_flags(int flags) {
        if (flags & O_DIRECTORY)
                return "folder";
        if (flags & O_EXCL)
                return (flags & O_ACCMODE) == O_RDWR ? "read-write exclusive" : "read-only exclusive";
        return (flags & O_ACCMODE) == O_RDWR ? "read-write" : "read-only";
}

static void add_rest(struct strbuf *b, const struct plan *p) {
        for (size_t i = 0; i < p->n_files; i++)
                strbuf_addf(b, "descriptor %d, set %d, %s: %s\n", p->files[i].fd, p->files[i].set,
                            open_flags(p->files[i].flags), p->files[i].path);
        for (size_t i = 0; i < p->n_copies; i++)
                strbuf_addf(b, "copy %s from %s\n", p->copies[i].target, p->copies[i].source);
        for (size_t i = 0; i < p->n_disks; i++)
                strbuf_addf(b, "uses %s%s\n", p->disks[i].path, p->disks[i].read_only ? " read-only" : "");
        for (size_t i = 0; i < p->n_memories; i++)
                strbuf_addf(b, "shares %s, %llu bytes%s%s\n", p->memories[i].path,
                            (unsigned long long) p->memories[i].size,
                            p->memories[i].own ? ", in its own folder" : "",
                            p->memories[i].make ? ", made" : "");
        if (p->spice_link)
                strbuf_addf(b, "link %s to the SPICE socket\n", p->spice_link);
        strbuf_addf(b, "%s, %lld MiB, %lld vCPUs%s%s%s\n", p->name, (long long) (p->memory >> 20),
                    (long long) p->vcpus, p->kvm ? ", KVM" : "", p->console ? ", console" : "",
                    p->auto_start ? ", auto-start" : "");
}

static char *walk(const char *name, const char *text) {
        _cleanup_arena_ struct arena *arena = arena_new();
        _cleanup_(error_done) struct error err = ERROR_INIT;
        _cleanup_json_ json_t *j = NULL;
        struct strbuf b = STRBUF_INIT;
        struct scene s = { .arena = arena };
        struct plan *p = NULL;

        scene_read(&s, text);
        s.req.file = name;
        if (plan_work(&s.req, -1, &j, &err) < 0)
                fail_msg("%s: %s", name, error_text(&err));
        assert_int_equal(plan_from_json(j, &p, NULL), 0);
        add_faults(&b, p->faults);
        if (p->plain.n > 0) {
                add_argv(&b, "plain", &p->plain);
                add_argv(&b, "exact", &p->exact);
        }
        assert_true(p->ok || p->faults);
        if (p->name)
                add_rest(&b, p);
        plan_free(p);
        return strbuf_take(&b);
}

static void check_golden(const char *name) {
        _cleanup_free_ char *toml = xasprintf("%s/%s", TEST_GOLDEN, name), *text = NULL, *want = NULL;
        _cleanup_free_ char *golden = xasprintf("%.*s.expected", (int) strlen(toml) - 5, toml), *got = NULL;
        const char *update = getenv("VORE_UPDATE_GOLDEN");

        assert_int_equal(file_read(AT_FDCWD, toml, 65536, &text, NULL, NULL), 0);
        got = walk(name, text);
        if (!str_empty(update))
                assert_int_equal(file_write_atomic(AT_FDCWD, golden, got, strlen(got), 0644, false, NULL), 0);
        if (file_read(AT_FDCWD, golden, 1024 * 1024, &want, NULL, NULL) < 0)
                fail_msg("%s is not there; VORE_UPDATE_GOLDEN=1 writes it", golden);
        if (!str_eq(want, got))
                print_error("%s: expected:\n%s\ngot:\n%s\n", name, want, got);
        assert_true(str_eq(want, got));
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
        assert_true(n >= 20);
}

/* What crosses the pipe is the plan: JSON and back changes nothing, and what is no plan is refused. */
static void test_wire(void **state) {
        struct plan *p = NULL;
        static const char *const broken[] = {
                "{}",
                "{\"faults\":[]}",
                "{\"faults\":[],\"plain\":[],\"exact\":[1]}",
                "{\"faults\":[],\"plain\":\"x\",\"exact\":[]}",
                "{\"plain\":[],\"exact\":[]}",
        };

        for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
                _cleanup_json_ json_t *j = NULL;

                assert_int_equal(json_parse(broken[i], strlen(broken[i]), &j, NULL), 0);
                assert_true(plan_from_json(j, &p, NULL) < 0);
                assert_null(p);
        }
}

/* What a plan is made for decides what it holds. */
static void test_goals(void **state) {
        static const char text[] = "#! host amd-desktop\n[machine]\nname = \"x\"\n[cpu]\namount = 3\n";
        _cleanup_arena_ struct arena *arena = arena_new();
        struct scene s = { .arena = arena };

        scene_read(&s, text);
        s.req.file = "x.toml";
        for (int show = 0; show < 2; show++) {
                _cleanup_json_ json_t *j = NULL;
                struct plan *p = NULL;

                s.req.goal = show ? PLAN_SHOW : PLAN_ARGV;
                assert_int_equal(plan_work(&s.req, -1, &j, NULL), 0);
                assert_int_equal(plan_from_json(j, &p, NULL), 0);
                assert_true(p->ok && !p->definition == !show);
                assert_int_equal(p->vcpus, 3);
                assert_true(show ? p->origins && p->plain.n == 0 : !p->origins && p->plain.n > 0);
                plan_free(p);
        }
}

/* What the annotations for editors say of instance and global is what a script gets. */
static void test_lua_types(void **state) {
        static const char text[] = "#! host amd-desktop\n"
                                   "[machine]\n"
                                   "name = \"x\"\n"
                                   "features = [\"uefi\", \"spice\"]\n"
                                   "[[disk]]\n"
                                   "preset = \"ide\"\n"
                                   "path = \"/vm/raw.img\"\n"
                                   "[[vfio]]\n"
                                   "addr = \"0b:00.0\"\n"
                                   "group = true\n";
        _cleanup_arena_ struct arena *arena = arena_new();
        _cleanup_(error_done) struct error err = ERROR_INIT;
        _cleanup_json_ json_t *j = NULL;
        _cleanup_strbuf_ struct strbuf faults = STRBUF_INIT;
        struct scene s = { .arena = arena, .script = TEST_TREE "/tests/unit/lua-types.lua" };
        struct plan *p = NULL;

        assert_int_equal(setenv("TEST_TYPES", TEST_TREE "/lua/types", 1), 0);
        scene_read(&s, text);
        s.req.file = "x.toml";
        if (plan_work(&s.req, -1, &j, &err) < 0)
                fail_msg("%s", error_text(&err));
        assert_int_equal(plan_from_json(j, &p, NULL), 0);
        add_faults(&faults, p->faults);
        if (!p->ok)
                fail_msg("%s", faults.data);
        bool seen = false;
        for (size_t i = 0; i + 3 < p->plain.n; i++)
                seen = seen || (str_eq(p->plain.items[i], "-seen") && str_eq(p->plain.items[i + 1], "1") &&
                                str_eq(p->plain.items[i + 2], "2") && str_eq(p->plain.items[i + 3], "1"));
        assert_true(seen);
        plan_free(p);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_golden),
                cmocka_unit_test(test_wire),
                cmocka_unit_test(test_goals),
                cmocka_unit_test(test_lua_types),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
