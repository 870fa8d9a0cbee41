/* What outlives the daemon: a machine's record, written and read, and everything that may be wrong with it;
 * the states with their names, reasons and events. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/log.h"
#include "base/str.h"
#include "vm/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static const char definition[] = "# mine\n[machine]\nname = \"vm\"\nmemory = \"64M\"\n[cpu]\namount = 3\n";

static char folder[] = "/tmp/vore-record.XXXXXX";
static struct settings settings;
static struct vm_env env;
static json_t *events; /* of the last test: {event, data} */

static void note_event(struct vm *vm, const char *event, json_t *data, void *unused) {
        json_push(events, json_pack("{s:s, s:o}", "event", event, "data", data));
}

static struct vm *machine(void) {
        static const char *const cdroms[] = { "/a.iso", "/b c.iso" };
        struct def_summary summary;
        struct vm_definition d = { .text = definition,
                                   .len = strlen(definition),
                                   .file = "my.toml",
                                   .directory = "/home/alice",
                                   .cdroms = cdroms,
                                   .n_cdroms = 2 };

        assert_int_equal(def_summarize(definition, strlen(definition), "/", &summary, NULL), 0);
        struct vm *vm = vm_new(&env, &summary);
        assert_int_equal(vm_define(vm, &d, &summary, NULL), 0);
        return vm;
}

static char *record_path(const char *file) {
        return xasprintf("%s/run/vm/vm/%s", folder, file);
}

static void test_read_back(void **state) {
        struct vm *vm = machine(), *read = NULL;
        uint64_t start_time = 0;
        pid_t pid = 0;

        vm_set_state(vm, VM_STARTING, NULL);
        vm->process.pid = 4711;
        vm->process.start_time = UINT64_MAX / 4;
        vm->uid = 70003;
        vm->log_offset = 12345;
        vm->has_console = vm->stop_force = vm->ending = true;
        vm->ending_state = VM_STOPPED;
        vm->stop_deadline_us = 99;
        vm->disks = json_pack("[{s:s, s:b}]", "path", "/a.img", "read_only", 1);
        vm_set_state(vm, VM_RUNNING, NULL);
        vm_free(vm);

        assert_int_equal(record_read(&env, "vm", &read, &pid, &start_time, NULL), 0);
        assert_int_equal(pid, 4711);
        assert_true(start_time == UINT64_MAX / 4);
        assert_int_equal(vm_state(read), VM_RUNNING);
        assert_null(vm_reason(read));
        assert_int_equal(read->uid, 70003);
        assert_int_equal(read->log_offset, 12345);
        assert_true(read->has_console && read->stop_force && read->ending);
        assert_int_equal(read->ending_state, VM_STOPPED);
        assert_int_equal(read->stop_deadline_us, 99);
        const struct vm_definition *d = vm_definition(read);
        assert_int_equal(d->len, strlen(definition));
        assert_memory_equal(d->text, definition, d->len);
        assert_string_equal(d->file, "my.toml");
        assert_string_equal(d->directory, "/home/alice");
        assert_int_equal(d->n_cdroms, 2);
        assert_string_equal(d->cdroms[1], "/b c.iso");
        struct vm_uses uses = { 0 };
        vm_add_uses(read, &uses);
        assert_int_equal(uses.n_disks, 1);
        assert_string_equal(uses.disks[0].path, "/a.img");
        assert_true(uses.disks[0].read_only);
        vm_uses_done(&uses);
        assert_int_equal(read->summary.vcpus, 3);
        vm_free(read);
}

static void test_without_qemu(void **state) {
        struct vm *vm = machine(), *read = NULL;
        uint64_t start_time = 1;
        pid_t pid = 1;

        vm_free(vm);
        assert_int_equal(record_read(&env, "vm", &read, &pid, &start_time, NULL), 0);
        assert_true(pid <= 0);
        assert_int_equal(vm_state(read), VM_LOADED);
        assert_true(read->uid == (uid_t) -1);
        vm_free(read);
}

static void test_modes(void **state) {
        struct vm *vm = machine();
        static const char *const files[] = { "state.json", "definition.toml", "" };
        struct stat st;

        for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
                _cleanup_free_ char *path = record_path(files[i]);

                assert_int_equal(stat(path, &st), 0);
                assert_int_equal(st.st_mode & 077, 0);
        }
        vm_free(vm);
}

static void test_broken(void **state) {
        static const struct {
                const char *file, *text;
                int code;
        } rows[] = {
                { "state.json", "", -EBADMSG },
                { "state.json", "[]", -ESTALE },
                { "state.json", "{\"boot_id\": \"of another boot\"}", -ESTALE },
                { "state.json", "{\"boot_id\": 1}", -ESTALE },
                { "definition.toml", "[machine", -EINVAL },
                { "definition.toml", "[machine]\nname = \"other\"\n", -EINVAL },
        };

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                struct vm *vm = machine(), *read = NULL;
                _cleanup_free_ char *path = record_path(rows[i].file);
                _cleanup_(error_done) struct error err = ERROR_INIT;
                uint64_t start_time;
                pid_t pid;

                vm_free(vm);
                assert_int_equal(file_write_atomic(AT_FDCWD, path, rows[i].text, strlen(rows[i].text), 0600,
                                                   false, NULL),
                                 0);
                if (record_read(&env, "vm", &read, &pid, &start_time, &err) != rows[i].code)
                        fail_msg("%s \"%s\": %s", rows[i].file, rows[i].text, error_text(&err));
                assert_null(read);
        }
}

/* What a person or a full disk may have left: of a wrong type, of a state that there is not. */
static void test_odd_values(void **state) {
        static const char *const odd[] = { "state",        "reason",        "file",
                                           "directory",    "cdroms",        "pid",
                                           "start_time",   "uid",           "log_offset",
                                           "disks",        "console",       "ending",
                                           "ending_state", "ending_reason", "stop_deadline_us",
                                           "stop_force" };
        static const char *const values[] = { "null", "true", "\"?\"", "[1]", "{}", "-7" };

        for (size_t i = 0; i < ARRAY_SIZE(odd) * ARRAY_SIZE(values); i++) {
                struct vm *vm = machine(), *read = NULL;
                _cleanup_free_ char *path = record_path("state.json"), *text = NULL, *changed = NULL;
                _cleanup_json_ json_t *j = NULL, *value = NULL;
                uint64_t start_time;
                pid_t pid;

                vm_free(vm);
                assert_int_equal(file_read(AT_FDCWD, path, 1 << 20, &text, NULL, NULL), 0);
                assert_int_equal(json_parse(text, strlen(text), &j, NULL), 0);
                value = json_loads(values[i % ARRAY_SIZE(values)], JSON_DECODE_ANY, NULL);
                json_put(j, odd[i / ARRAY_SIZE(values)], json_incref(value));
                changed = json_text(j);
                assert_int_equal(
                        file_write_atomic(AT_FDCWD, path, changed, strlen(changed), 0600, false, NULL), 0);
                if (record_read(&env, "vm", &read, &pid, &start_time, NULL) < 0)
                        continue;
                struct vm_uses uses = { 0 };
                vm_add_uses(read, &uses);
                for (size_t k = 0; k < uses.n_disks; k++)
                        assert_non_null(uses.disks[k].path);
                vm_uses_done(&uses);
                assert_non_null(vm_state_name(vm_state(read)));
                json_decref(vm_to_json(read));
                vm_free(read);
        }
}

static void test_absent(void **state) {
        struct vm *read = NULL;
        uint64_t start_time;
        pid_t pid;

        assert_int_equal(record_read(&env, "nobody", &read, &pid, &start_time, NULL), -ENOENT);
}

/* --- states --- */

static void test_states(void **state) {
        struct vm *vm = machine();

        for (int i = 0; i < VM_STATE_COUNT; i++)
                for (int k = 0; k < i; k++)
                        assert_string_not_equal(vm_state_name(i), vm_state_name(k));
        assert_int_equal(vm_state(vm), VM_LOADED);
        assert_false(vm_active(vm));
        vm_set_state(vm, VM_STARTING, NULL);
        assert_true(vm_active(vm));
        vm_set_state(vm, VM_FAILED, "its disk is gone");
        assert_string_equal(vm_reason(vm), "its disk is gone");
        assert_false(vm_active(vm));
        vm_set_state(vm, VM_STARTING, NULL);
        assert_null(vm_reason(vm));
        vm_set_state(vm, VM_FAILED, NULL);
        assert_non_null(vm_reason(vm));
        assert_int_equal(json_array_size(events), 4);
        const json_t *failed = json_object_get(json_array_get(events, 1), "data");
        assert_string_equal(json_get_str(failed, "from", ""), "starting");
        assert_string_equal(json_get_str(failed, "state", ""), "failed");
        assert_string_equal(json_get_str(failed, "reason", ""), "its disk is gone");
        vm_free(vm);
}

static void test_list(void **state) {
        struct vm *vm = machine();
        _cleanup_json_ json_t *j = vm_to_json(vm);

        assert_string_equal(json_get_str(j, "name", ""), "vm");
        assert_string_equal(json_get_str(j, "state", ""), "loaded");
        assert_true(json_is_null(json_object_get(j, "pid")));
        assert_true(json_is_null(json_object_get(j, "reason")));
        assert_int_equal(json_get_int(j, "memory", 0), 64 << 20);
        assert_int_equal(json_get_int(j, "vcpus", 0), 3);
        assert_false(json_get_bool(j, "saved", true));
        vm_free(vm);
}

/* A machine that runs keeps its definition. */
static void test_define_refused(void **state) {
        struct vm *vm = machine();
        struct vm_definition d = { .text = "", .file = "x", .directory = "/" };
        struct def_summary summary = { .name = "vm" };
        _cleanup_(error_done) struct error err = ERROR_INIT;

        vm_set_state(vm, VM_STARTING, NULL);
        vm_set_state(vm, VM_RUNNING, NULL);
        assert_int_equal(vm_define(vm, &d, &summary, &err), -EBUSY);
        assert_string_equal(error_text(&err), "vm is running");
        assert_int_equal(vm_definition(vm)->len, strlen(definition));
        vm_free(vm);
}

static int before(void **state) {
        events = json_array();
        return 0;
}

static int after(void **state) {
        _cleanup_free_ char *run = xasprintf("%s/run", folder);

        json_decref(events);
        return file_remove_tree(AT_FDCWD, run, NULL);
}

static int setup(void **state) {
        log_set_level(LOG_LEVEL_ERROR);
        if (!mkdtemp(folder))
                return -1;
        settings.vore.runtime_dir = xasprintf("%s/run", folder);
        settings.vore.state_dir = xasprintf("%s/state", folder);
        settings.log_dir = folder;
        env = (struct vm_env){
                .settings = &settings, .group = (gid_t) -1, .user = (uid_t) -1, .event = note_event
        };
        return 0;
}

static int teardown(void **state) {
        free((char *) settings.vore.runtime_dir);
        free((char *) settings.vore.state_dir);
        return file_remove_tree(AT_FDCWD, folder, NULL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, before, after)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_read_back), TEST(test_without_qemu), TEST(test_modes),
                TEST(test_broken),    TEST(test_odd_values),   TEST(test_absent),
                TEST(test_states),    TEST(test_list),         TEST(test_define_refused),
        };

        return cmocka_run_group_tests(tests, setup, teardown);
}
