/* Devices that were attached, over a QEMU that does with them what it is told to (tests/fake/fake-qemu): what
 * the next daemon makes of them, and what detach says of guests that let go, refuse, are late, ignore it or
 * end. A file stands for what the journal gives back: it is gone when its unit was. */
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
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WAIT_US = 20 * 1000 * 1000 };
#define A "0000:0b:00.0"
#define B "0000:0b:00.1"
#define A_ID "attached-0000-0b-00.0"
#define B_ID "attached-0000-0b-00.1"
static const char definition[] = "[machine]\nname = \"vm\"\nmemory = \"64M\"\nkvm = false\n";

struct bench {
        struct arena *arena;
        char folder[32];
        char *dir, *binary, *unit_file, *other_file; /* owned; dir: of the VM in the run-time folder */
        struct settings *settings;
        struct vm_env env;
        struct process p;
        struct vm *vm;
        struct strbuf events; /* "state;attached;" */
        bool adopted, answered;
        enum vm_outcome outcome;
        char *message; /* owned: of the answer, with its devices */
};

static void on_event(struct vm *vm, const char *event, json_t *data, void *bench) {
        struct bench *b = bench;

        if (!str_eq(event, "step"))
                strbuf_addf(&b->events, "%s;", event);
        json_decref(data);
}

static void put(struct bench *b, const char *path, const char *text, mode_t mode) {
        assert_int_equal(file_write_atomic(AT_FDCWD, path, text, strlen(text), mode, false, NULL), 0);
}

static int setup(void **state) {
        struct bench *b = xcalloc(1, sizeof(*b));
        struct settings_options options = { .config = "/dev/null" };
        struct diags diags;
        _cleanup_free_ char *script = NULL;

        log_set_level(LOG_LEVEL_ERROR);
        strcpy(b->folder, "/tmp/vore-hotplug-XXXXXX");
        assert_non_null(mkdtemp(b->folder));
        b->arena = arena_new();
        diags_init(&diags, b->arena, "vored.toml");
        options.state_dir = arena_printf(b->arena, "%s/state", b->folder);
        options.runtime_dir = arena_printf(b->arena, "%s/run", b->folder);
        assert_int_equal(settings_load(b->arena, &options, &b->settings, &diags, NULL), 0);
        b->settings->system = false;
        b->settings->cache_dir = "/nonexistent";
        b->env = (struct vm_env){
                .settings = b->settings, .group = (gid_t) -1, .user = (uid_t) -1, .event = on_event, .data = b
        };
        assert_true(sd_event_new(&b->env.loop) >= 0);
        b->dir = xasprintf("%s/run/vm/vm", b->folder);
        b->binary = xasprintf("%s/fake-qemu", b->folder);
        b->unit_file = xasprintf("%s/of-the-unit", b->folder);
        b->other_file = xasprintf("%s/of-the-start", b->folder);
        b->p = PROCESS_INIT;
        assert_int_equal(file_mkdirs(b->dir, 0700, NULL), 0);
        assert_int_equal(file_mkdirs(b->settings->log_dir, 0700, NULL), 0);
        assert_int_equal(file_read(AT_FDCWD, TEST_FAKE_QEMU, 1 << 20, &script, NULL, NULL), 0);
        put(b, b->binary, script, 0755);
        put(b, b->unit_file, "", 0644);
        put(b, b->other_file, "", 0644);
        *state = b;
        return 0;
}

static int teardown(void **state) {
        struct bench *b = *state;
        siginfo_t info;

        vm_free(b->vm);
        if (b->p.pid > 0 && process_kill(b->p.pidfd, SIGKILL) == 0)
                (void) waitid(P_PIDFD, (id_t) b->p.pidfd, &info, WEXITED);
        process_done(&b->p);
        sd_event_unref(b->env.loop);
        strbuf_done(&b->events);
        assert_int_equal(file_remove_tree(AT_FDCWD, b->folder, NULL), 0);
        free(b->dir);
        free(b->binary);
        free(b->unit_file);
        free(b->other_file);
        free(b->message);
        arena_free(b->arena);
        free(b);
        return 0;
}

/* --- a daemon has ended, its QEMU runs --- */

static void start_qemu(struct bench *b, const char *faults, bool with_a, bool with_b) {
        const char *argv[16] = { b->binary,  "-no-shutdown",
                                 "-chardev", "socket,id=qmp,fd=3,server=on,wait=off",
                                 "-qmp",     "chardev:qmp",
                                 "-device",  "pcie-root-port,id=hotplug0" };
        _cleanup_free_ char *log = xasprintf("%s/qemu.log", b->folder),
                            *config = xasprintf("%s.json", b->binary);
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        _cleanup_close_ int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct process_fd fd = { .target_fd = 3, .fd = listener };
        struct process_spec spec = { .argv = (char *const *) argv, .log_path = log, .fds = &fd, .n_fds = 1 };
        _cleanup_error_ struct error err = ERROR_INIT;
        size_t n = 8;

        if (with_a) {
                argv[n++] = "-device";
                argv[n++] = "vfio-pci,id=" A_ID ",bus=hotplug0";
        }
        if (with_b) {
                argv[n++] = "-device";
                argv[n++] = "vfio-pci,id=" B_ID ",bus=hotplug0";
        }
        put(b, config, faults, 0644);
        snprintf(address.sun_path, sizeof(address.sun_path), "%s/qmp.sock", b->dir);
        assert_int_equal(bind(listener, (struct sockaddr *) &address, sizeof(address)), 0);
        assert_int_equal(listen(listener, 4), 0);
        if (process_spawn(&spec, &b->p, &err) < 0 || process_release(&b->p, &err) < 0)
                fail_msg("%s", error_text(&err));
}

static json_t *device(const char *address, int function, bool complete) {
        return json_pack("{s:s, s:i, s:i, s:b, s:s, s:i, s:b}", "address", address, "group", 7, "unit", 1,
                         "complete", complete, "port", "hotplug0", "function", function, "multifunction", 1);
}

static void write_record(struct bench *b, json_t *attached) {
        _cleanup_free_ char *id = NULL, *state_path = xasprintf("%s/state.json", b->dir);
        _cleanup_free_ char *toml = xasprintf("%s/definition.toml", b->dir);
        _cleanup_free_ char *journal = xasprintf("%s/journal", b->dir), *lines = NULL, *text = NULL;

        assert_int_equal(file_read_line(AT_FDCWD, "/proc/sys/kernel/random/boot_id", &id), 0);
        _cleanup_json_ json_t *record = json_pack(
                "{s:s, s:s, s:s, s:s, s:s, s:i, s:I, s:i, s:o, s:o, s:b}", "boot_id", id, "name", "vm",
                "state", "running", "file", "vm.toml", "directory", "/", "pid", (int) b->p.pid, "start_time",
                (json_int_t) b->p.start_time, "uid", -1, "attached", attached, "devices",
                json_pack("[{s:s, s:i}]", "address", "0000:0c:00.0", "group", 8), "ran", 1);
        text = json_text(record);
        lines = xasprintf(
                "{\"boot\": \"%s\"}\n{\"add\": 1, \"kind\": \"file\", \"args\": {\"path\": \"%s\"}}\n"
                "{\"add\": 2, \"kind\": \"file\", \"args\": {\"path\": \"%s\", \"unit\": 1}}\n",
                id, b->other_file, b->unit_file);
        put(b, state_path, text, 0600);
        put(b, toml, definition, 0600);
        put(b, journal, lines, 0600);
}

static void on_adopted(struct vm *vm, void *bench) {
        ((struct bench *) bench)->adopted = true;
}

static void run_until(struct bench *b, const bool *what, const char *words) {
        while (!*what)
                if (sd_event_run(b->env.loop, WAIT_US) <= 0)
                        fail_msg("waited for %s; events: %s", words,
                                 b->events.data ? b->events.data : "none");
}

static void run_until_event(struct bench *b, const char *event) {
        while (!b->events.data || !strstr(b->events.data, event))
                if (sd_event_run(b->env.loop, WAIT_US) <= 0)
                        fail_msg("waited for %s; events: %s", event,
                                 b->events.data ? b->events.data : "none");
}

static void adopt(struct bench *b, const char *faults, bool with_a, bool with_b, json_t *attached) {
        _cleanup_error_ struct error err = ERROR_INIT;

        start_qemu(b, faults, with_a, with_b);
        write_record(b, attached);
        if (vm_adopt(&b->env, "vm", on_adopted, b, &b->vm, &err) < 0)
                fail_msg("%s", error_text(&err));
        run_until(b, &b->adopted, "the adoption");
        assert_int_equal(vm_state(b->vm), VM_RUNNING);
}

static bool there(const char *path) {
        return access(path, F_OK) == 0;
}

/* As its record tells, which the next daemon would read. */
static size_t recorded(struct bench *b) {
        _cleanup_free_ char *text = NULL, *path = xasprintf("%s/state.json", b->dir);
        _cleanup_json_ json_t *record = NULL;

        assert_int_equal(file_read(AT_FDCWD, path, 1 << 20, &text, NULL, NULL), 0);
        assert_int_equal(json_parse(text, strlen(text), &record, NULL), 0);
        return json_array_size(json_object_get(record, "attached"));
}

static void assert_attached(struct bench *b, size_t n) {
        struct vm_uses uses = { 0 };

        assert_int_equal(b->vm->n_attached, n);
        assert_int_equal(recorded(b), n);
        assert_int_equal(there(b->unit_file), n > 0);
        assert_true(there(b->other_file));
        vm_add_uses(b->vm, &uses);
        assert_int_equal(uses.n_devices, n + 1);
        vm_uses_done(&uses);
}

/* --- answers --- */

static void on_done(struct vm *vm, const struct vm_result *result, void *bench) {
        struct bench *b = bench;
        _cleanup_free_ char *devices = result->devices ? json_text(result->devices) : NULL;

        b->answered = true;
        b->outcome = result->outcome;
        free(b->message);
        b->message = xasprintf("%s%s%s", result->message ? result->message : "",
                               result->note ? result->note : "", devices && !result->message ? devices : "");
}

static struct vm_watch watch(struct bench *b) {
        b->answered = false;
        return (struct vm_watch){ .done = on_done, .data = b };
}

static void assert_answer(struct bench *b, enum vm_outcome outcome, const char *words) {
        run_until(b, &b->answered, "an answer");
        if (b->outcome != outcome || !strstr(b->message, words))
                fail_msg("outcome %d: %s", b->outcome, b->message);
}

static void detach(struct bench *b, const char *address, double seconds, enum vm_outcome outcome,
                   const char *words) {
        struct vm_watch w = watch(b);

        vm_detach(b->vm, address, (uint64_t) (seconds * 1e6), &w);
        assert_answer(b, outcome, words);
}

/* --- what the next daemon finds --- */

static void test_the_guest_has_it(void **state) {
        struct bench *b = *state;

        adopt(b, "{}", true, false, json_pack("[o]", device(A, 0, true)));
        assert_attached(b, 1);
        detach(b, A, 20, VM_DONE, "[\"" A "\"]");
        assert_attached(b, 0);
        assert_non_null(strstr(b->events.data, "detached;"));
        detach(b, A, 20, VM_ERROR, A " is not attached to vm; attached are: none");
}

static void test_the_guest_let_go_meanwhile(void **state) {
        struct bench *b = *state;

        adopt(b, "{}", false, false, json_pack("[o]", device(A, 0, true)));
        assert_attached(b, 0);
}

static void test_attach_was_done_but_for_the_record(void **state) {
        struct bench *b = *state;

        adopt(b, "{}", true, true, json_pack("[o, o]", device(B, 1, false), device(A, 0, false)));
        assert_attached(b, 2);
        assert_true(b->vm->attached[0].complete && b->vm->attached[1].complete);
        detach(b, B, 20, VM_DONE, "[\"" B "\",\"" A "\"]");
        assert_attached(b, 0);
}

static void test_attach_was_half_done(void **state) {
        struct bench *b = *state;

        adopt(b, "{}", false, true, json_pack("[o, o]", device(B, 1, false), device(A, 0, false)));
        assert_attached(b, 0);
}

static void test_attach_had_only_begun(void **state) {
        struct bench *b = *state;

        adopt(b, "{}", false, false, json_pack("[o, o]", device(B, 1, false), device(A, 0, false)));
        assert_attached(b, 0);
}

/* --- guests --- */

static void test_ignoring_guest(void **state) {
        struct bench *b = *state;

        adopt(b, "{\"unplug\": \"never\"}", true, false, json_pack("[o]", device(A, 0, true)));
        for (int i = 0; i < 2; i++) { /* QEMU calls the second request an error */
                detach(b, A, 0.1, VM_DETACH_TIMEOUT, "did not let go of " A " within 0.1 s and keeps it");
                assert_non_null(strstr(b->message, "vore reset vm"));
                assert_attached(b, 1);
                assert_int_equal(vm_state(b->vm), VM_RUNNING);
        }
        struct vm_watch w = watch(b);
        vm_reset(b->vm, &w);
        assert_answer(b, VM_DONE, "");
        run_until_event(b, "detached;");
        assert_attached(b, 0);
}

static void test_late_guest(void **state) {
        struct bench *b = *state;

        adopt(b, "{\"unplug\": 0.4}", true, false, json_pack("[o]", device(A, 0, true)));
        detach(b, A, 0.05, VM_DETACH_TIMEOUT, A);
        assert_attached(b, 1);
        run_until_event(b, "detached;");
        assert_attached(b, 0);
}

static void test_refusing_guest(void **state) {
        struct bench *b = *state;

        adopt(b, "{\"unplug\": \"refuse\"}", true, false, json_pack("[o]", device(A, 0, true)));
        detach(b, A, 20, VM_ERROR, "the guest refuses to let go of " A);
        assert_attached(b, 1);
        detach(b, A, 20, VM_ERROR, "the guest refuses to let go of " A);
}

static void test_paused_guest(void **state) {
        struct bench *b = *state;

        adopt(b, "{}", true, false, json_pack("[o]", device(A, 0, true)));
        struct vm_watch w = watch(b);
        vm_pause(b->vm, &w);
        assert_answer(b, VM_DONE, "");
        detach(b, A, 20, VM_WRONG_STATE, "vm is paused, so its guest cannot let go of " A);
        assert_attached(b, 1);
}

/* --- QEMU --- */

static void test_qemu_refuses(void **state) {
        struct bench *b = *state;

        adopt(b, "{\"refuse\": {\"device_del\": \"no flux\"}}", true, false,
              json_pack("[o]", device(A, 0, true)));
        detach(b, A, 20, VM_ERROR, "QEMU does not remove it: no flux");
        assert_attached(b, 1);
}

/* A person removed it over QMP, and the event came while nobody listened. */
static void test_qemu_knows_no_such_device(void **state) {
        struct bench *b = *state;

        adopt(b, "{\"refuse\": {\"device_del\": \"Device '" A_ID "' not found\"}}", true, false,
              json_pack("[o]", device(A, 0, true)));
        detach(b, A, 20, VM_DONE, A);
        assert_attached(b, 0);
}

static void test_qemu_dies(void **state) {
        struct bench *b = *state;

        adopt(b, "{\"die\": \"device_del\", \"how\": \"kill\"}", true, false,
              json_pack("[o]", device(A, 0, true)));
        detach(b, A, 20, VM_ERROR, "vm ended meanwhile: QEMU was ended by signal 9");
        assert_int_equal(vm_state(b->vm), VM_FAILED);
        assert_int_equal(b->vm->n_attached, 0);
        assert_false(there(b->unit_file) || there(b->other_file));
}

/* A monitor that never greets: whether QEMU has the device is not known, and so it is not taken back. */
static void test_qemu_was_never_asked(void **state) {
        struct bench *b = *state;
        _cleanup_error_ struct error err = ERROR_INIT;

        start_qemu(b, "{\"greet\": \"never\"}", true, false);
        write_record(b, json_pack("[o]", device(A, 0, true)));
        assert_int_equal(vm_adopt(&b->env, "vm", on_adopted, b, &b->vm, &err), 0);
        detach(b, A, 20, VM_ERROR, "QEMU's monitor cannot be reached");
        assert_attached(b, 1);
        struct vm_watch w = watch(b);
        vm_stop(b->vm, 1000, false, &w);
        assert_answer(b, VM_STOP_TIMEOUT, "QEMU's monitor cannot be reached");
        assert_attached(b, 1);
        w = watch(b);
        vm_kill(b->vm, &w);
        assert_answer(b, VM_DONE, "");
        assert_false(there(b->unit_file) || there(b->other_file));
}

/* Its stop was cut off while it gave back what it had. */
static void test_a_prepared_one_was_being_stopped(void **state) {
        struct bench *b = *state;
        _cleanup_free_ char *path = xasprintf("%s/state.json", b->dir), *text = NULL;
        _cleanup_json_ json_t *record = NULL;

        write_record(b, json_array());
        assert_int_equal(file_read(AT_FDCWD, path, 1 << 20, &text, NULL, NULL), 0);
        assert_int_equal(json_parse(text, strlen(text), &record, NULL), 0);
        json_put_str(record, "state", "prepared");
        json_put_bool(record, "ending", true);
        json_put_str(record, "ending_state", "stopped");
        free(text);
        text = json_text(record);
        put(b, path, text, 0600);
        assert_int_equal(vm_adopt(&b->env, "vm", on_adopted, b, &b->vm, NULL), 0);
        run_until(b, &b->adopted, "the adoption");
        assert_int_equal(vm_state(b->vm), VM_STOPPED);
        assert_false(there(b->unit_file) || there(b->other_file));
        struct vm_uses uses = { 0 };
        vm_add_uses(b->vm, &uses);
        assert_int_equal(uses.n_devices, 0);
        vm_uses_done(&uses);
}

static void test_qemu_talks_nonsense(void **state) {
        struct bench *b = *state;

        adopt(b, "{\"garbage\": \"device_del\"}", true, false, json_pack("[o]", device(A, 0, true)));
        detach(b, A, 20, VM_ERROR, "QEMU's monitor was lost");
        assert_attached(b, 1);
        detach(b, A, 20, VM_ERROR, "QEMU's monitor cannot be reached");
        struct vm_watch w = watch(b);
        vm_kill(b->vm, &w);
        assert_answer(b, VM_DONE, "");
        assert_false(there(b->unit_file) || there(b->other_file));
}

/* --- one operation at a time --- */

static void test_busy_and_killed(void **state) {
        struct bench *b = *state;
        struct bench other = { 0 };

        adopt(b, "{\"unplug\": \"never\"}", true, false, json_pack("[o]", device(A, 0, true)));
        struct vm_watch w = watch(b), second = watch(&other);
        vm_detach(b->vm, A, WAIT_US, &w);
        vm_attach(b->vm, B, &(struct vm_attach_options){ 0 }, &second);
        assert_true(other.answered && other.outcome == VM_WRONG_STATE);
        assert_non_null(strstr(other.message, "vm is busy: detach for 0.0 s"));
        vm_kill(b->vm, NULL);
        assert_answer(b, VM_ERROR, "vm ended meanwhile; its devices were given back");
        assert_int_equal(vm_state(b->vm), VM_STOPPED);
        assert_false(there(b->unit_file) || there(b->other_file));
        free(other.message);
}

static void test_refusals(void **state) {
        struct bench *b = *state;

        adopt(b, "{}", true, false, json_pack("[o]", device(A, 0, true)));
        detach(b, "0000:0c:00.0", 20, VM_ERROR,
               "0000:0c:00.0 is a device of vm's definition and stays with it");
        detach(b, B, 20, VM_ERROR, B " is not attached to vm; attached is: " A);
        struct vm_watch w = watch(b);
        vm_attach(b->vm, A, &(struct vm_attach_options){ 0 }, &w);
        assert_answer(b, VM_DONE, "it has " A " already");
        w = watch(b);
        vm_attach(b->vm, "ffff:ff:1f.7", &(struct vm_attach_options){ 0 }, &w);
        assert_answer(b, VM_ERROR, "ffff:ff:1f.7");
        assert_attached(b, 1);
        w = watch(b);
        vm_kill(b->vm, &w);
        assert_answer(b, VM_DONE, "");
        detach(b, A, 20, VM_WRONG_STATE, "vm is stopped");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_the_guest_has_it),
                TEST(test_the_guest_let_go_meanwhile),
                TEST(test_attach_was_done_but_for_the_record),
                TEST(test_attach_was_half_done),
                TEST(test_attach_had_only_begun),
                TEST(test_ignoring_guest),
                TEST(test_late_guest),
                TEST(test_refusing_guest),
                TEST(test_paused_guest),
                TEST(test_qemu_refuses),
                TEST(test_qemu_knows_no_such_device),
                TEST(test_qemu_dies),
                TEST(test_qemu_was_never_asked),
                TEST(test_a_prepared_one_was_being_stopped),
                TEST(test_qemu_talks_nonsense),
                TEST(test_busy_and_killed),
                TEST(test_refusals),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
