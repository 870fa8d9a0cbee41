/* Host devices through the whole walk: a definition (tests/golden/vfio/NAME.toml) on a captured host ->
 * NAME.expected: its faults, what is known of each device, the arguments about them, and what is claimed.
 * Lines
 * "#! KEY VALUE" at the beginning of a definition say on which host, for whom, and beside which other VMs;
 * with "attach ADDRESS [force] [group]" the machine runs, has the devices "held ADDRESS", and is to get that
 * one. VORE_UPDATE_GOLDEN=1 writes the expectations anew. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "plan/plan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

enum { USES_MAX = 4, ATTACHED_MAX = 4 };

struct scene {
        struct arena *arena;
        struct settings *settings;
        struct complete_device uses[USES_MAX];
        struct plan_attached attached[ATTACHED_MAX];
        struct plan_request req;
};

static void scene_attached(struct scene *s, char *value, bool wanted) {
        char *space = strchr(value, ' ');

        assert_true(s->req.n_attached < ATTACHED_MAX);
        if (space)
                *space = '\0';
        s->attached[s->req.n_attached++] =
                (struct plan_attached){ value, wanted, space && strstr(space + 1, "force"),
                                        space && strstr(space + 1, "group") };
        s->req.attached = s->attached;
        if (wanted)
                s->req.goal = PLAN_ATTACH;
}

static void scene_word(struct scene *s, const char *key, char *value) {
        if (str_eq(key, "host"))
                assert_int_equal(
                        setenv("VORE_HOST_ROOT", arena_printf(s->arena, "%s/%s", TEST_HOSTS, value), 1), 0);
        else if (str_eq(key, "system"))
                s->settings->system = str_eq(value, "true");
        else if (str_eq(key, "display"))
                s->req.display = str_eq(value, "true");
        else if (str_eq(key, "device")) {
                char *space = strchr(value, ' ');

                assert_true(space && s->req.n_device_uses < USES_MAX);
                *space = '\0';
                s->uses[s->req.n_device_uses++] = (struct complete_device){ value, space + 1 };
        } else if (str_eq(key, "held") || str_eq(key, "attach"))
                scene_attached(s, value, str_eq(key, "attach"));
        else
                fail_msg("unknown word %s", key);
}

static void scene_read(struct scene *s, const char *name, const char *text) {
        const struct settings_options options = { .config = "/dev/null",
                                                  .state_dir = "/var/lib/vore",
                                                  .runtime_dir = "/run/vore" };
        struct diags diags;

        diags_init(&diags, s->arena, "vored.toml");
        assert_int_equal(settings_load(s->arena, &options, &s->settings, &diags, NULL), 0);
        s->settings->system = true;
        s->settings->cache_dir = "/nonexistent";
        s->req = (struct plan_request){ .text = text,
                                        .len = strlen(text),
                                        .file = name,
                                        .directory = "/home/alice/vms",
                                        .def_flags = DEF_ALL,
                                        .settings = s->settings,
                                        .device_uses = s->uses,
                                        .goal = PLAN_ARGV,
                                        .uid = (uid_t) -1 };
        for (; str_starts(text, "#! "); text = strchr(text, '\n') + 1) {
                char *line = arena_strndup(s->arena, text + 3, strcspn(text + 3, "\n"));
                char *space = strchr(line, ' ');

                assert_non_null(space);
                *space = '\0';
                scene_word(s, line, space + 1);
        }
}

/* --- the plan as lines --- */

static void add_faults(struct strbuf *b, const json_t *faults) {
        const json_t *fault;
        size_t i;

        json_array_foreach (faults, i, fault) {
                const char *hint = json_get_str(fault, "hint", NULL);

                strbuf_addf(b, "%s:%d:%d: %s: %s: %s%s%s%s\n", json_get_str(fault, "file", "?"),
                            (int) json_get_int(fault, "line", 0), (int) json_get_int(fault, "column", 0),
                            json_get_str(fault, "severity", "?"), json_get_str(fault, "key", ""),
                            json_get_str(fault, "message", "?"), hint ? " (" : "", hint ? hint : "",
                            hint ? ")" : "");
        }
}

static void add_json(struct strbuf *b, const char *title, const json_t *value) {
        _cleanup_free_ char *text = json_text(value);

        strbuf_addf(b, "%s %s\n", title, text);
}

static bool about_devices(const char *arg) {
        static const char *const words[] = {
                "vfio-pci", "fw_cfg", "opt/ovmf", "virtio-vga", "VGA", "-display"
        };

        for (size_t i = 0; i < ARRAY_SIZE(words); i++)
                if (strstr(arg, words[i]))
                        return true;
        return false;
}

/* Those about devices, and the ports that they hang on. */
static void add_arguments(struct strbuf *b, const struct argv *argv) {
        for (size_t i = 1; i < argv->n; i++) {
                const char *next = i + 1 < argv->n ? argv->items[i + 1] : "";
                const char *id = strstr(argv->items[i], "pcie-root-port,id=");
                bool port = false;

                for (size_t k = i + 1; id && k < argv->n && !port; k++) {
                        _cleanup_free_ char *bus =
                                xasprintf("bus=%.*s,", (int) strcspn(id + 18, ","), id + 18);
                        port = strstr(argv->items[k], "vfio-pci") && strstr(argv->items[k], bus);
                }
                if (port || about_devices(argv->items[i]))
                        strbuf_addf(b, "argument %s%s%s\n", argv->items[i],
                                    str_eq(argv->items[i], "-display") ? " " : "",
                                    str_eq(argv->items[i], "-display") ? next : "");
        }
}

static char *print_plan(const struct plan *p, const json_t *json, const json_t *definition) {
        struct strbuf b = STRBUF_INIT;
        const json_t *item;
        size_t i;

        add_faults(&b, p->faults);
        json_array_foreach (json_object_get(definition, "vfio"), i, item)
                add_json(&b, "device", item);
        if (!p->ok)
                return strbuf_take(&b);
        if (p->plain.n > 0)
                add_arguments(&b, &p->plain);
        json_array_foreach (json_object_get(json, "devices"), i, item)
                add_json(&b, "claim", item);
        for (i = 0; i < p->n_allows; i++)
                if (str_starts(p->allows[i].path, "/dev/vfio"))
                        strbuf_addf(&b, "allow %s %s\n", p->allows[i].path, p->allows[i].write ? "rw" : "r");
        strbuf_addf(&b, "memlock %llu\n", (unsigned long long) p->memlock);
        return strbuf_take(&b);
}

static void check_round(const struct plan *p, const json_t *json) {
        const json_t *devices = json_object_get(json, "devices");

        assert_int_equal(json_array_size(devices), p->n_devices);
        for (size_t i = 0; i < p->n_devices; i++) {
                const json_t *d = json_array_get(devices, i);

                assert_string_equal(json_get_str(d, "address", ""), p->devices[i].address);
                assert_int_equal(json_get_int(d, "vendor", -1), p->devices[i].vendor);
                assert_int_equal(json_get_int(d, "device", -1), p->devices[i].device);
                assert_int_equal(json_get_int(d, "iommu_group", -2), p->devices[i].iommu_group);
                assert_true(str_eq(json_get_str(d, "reset_method", NULL), p->devices[i].reset_method));
                assert_int_equal(json_get_bool(d, "keep", false), p->devices[i].keep);
                assert_int_equal(json_get_bool(d, "force", false), p->devices[i].force);
                assert_int_equal(json_get_bool(d, "reserve", false), p->devices[i].reserve);
                assert_int_equal(json_get_bool(d, "along", false), p->devices[i].along);
                assert_int_equal(json_get_int(d, "guest_slot", -1), p->devices[i].guest_slot);
                assert_int_equal(json_get_int(d, "guest_function", -1), p->devices[i].guest_function);
                assert_int_equal(json_get_bool(d, "multifunction", false), p->devices[i].multifunction);
        }
}

static char *walk(const char *name, const char *text) {
        _cleanup_arena_ struct arena *arena = arena_new();
        struct scene s = { .arena = arena };
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_json_ json_t *json = NULL, *show = NULL;
        struct plan *plan = NULL;

        scene_read(&s, name, text);
        if (plan_work(&s.req, -1, &json, &err) < 0 || plan_from_json(json, &plan, &err) < 0)
                fail_msg("%s: %s", name, error_text(&err));
        check_round(plan, json);
        if (s.req.goal != PLAN_ATTACH) {
                s.req.goal = PLAN_SHOW;
                assert_int_equal(plan_work(&s.req, -1, &show, NULL), 0);
        }
        char *lines = print_plan(plan, json, json_object_get(show, "definition"));
        plan_free(plan);
        return lines;
}

static void check_golden(const char *name) {
        _cleanup_free_ char *toml = xasprintf("%s/%s", TEST_GOLDEN, name);
        _cleanup_free_ char *golden =
                xasprintf("%.*s.expected", (int) (strlen(toml) - strlen(".toml")), toml);
        _cleanup_free_ char *text = NULL, *want = NULL, *got = NULL;
        const char *update = getenv("VORE_UPDATE_GOLDEN");

        assert_int_equal(file_read(AT_FDCWD, toml, 65536, &text, NULL, NULL), 0);
        got = walk(name, text);
        if (str_eq(update, "1"))
                assert_int_equal(file_write_atomic(AT_FDCWD, golden, got, strlen(got), 0644, false, NULL), 0);
        if (file_read(AT_FDCWD, golden, 1 << 20, &want, NULL, NULL) < 0)
                fail_msg("%s is not there; VORE_UPDATE_GOLDEN=1 writes it", golden);
        if (!str_eq(want, got))
                fail_msg("%s differs; VORE_UPDATE_GOLDEN=1 shows how in git diff:\n%s", golden, got);
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
        assert_true(n >= 40);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_golden),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
