/* How a machine ends, over a QEMU that hangs, does not greet, or cannot be killed (tests/fake/fake-qemu):
 * every end has its time, everybody who waits has an answer, and the state is QEMU's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"
#include "vm/machine.h"

#include <fcntl.h>
#include <signal.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WAIT_US = 20 * 1000 * 1000, SECOND_US = 1000 * 1000, ANSWERS = 400 };
static const char definition[] = "[machine]\nname = \"vm\"\nmemory = \"64M\"\nkvm = false\n";

/* --- time and SIGKILL as the tests want them --- */

static bool immortal;      /* SIGKILL does not reach QEMU, as if it hung in the kernel */
static unsigned speed = 1; /* of the clock, since: */
static uint64_t real_us, fast_us;

uint64_t __real_clock_monotonic_us(void);
uint64_t __wrap_clock_monotonic_us(void);
int __real_sd_event_add_time(sd_event *loop, sd_event_source **ret, clockid_t clock, uint64_t usec,
                             uint64_t accuracy, sd_event_time_handler_t fn, void *data);
int __wrap_sd_event_add_time(sd_event *loop, sd_event_source **ret, clockid_t clock, uint64_t usec,
                             uint64_t accuracy, sd_event_time_handler_t fn, void *data);
int __real_sd_event_source_set_time(sd_event_source *source, uint64_t usec);
int __wrap_sd_event_source_set_time(sd_event_source *source, uint64_t usec);
int __real_pidfd_send_signal(int pidfd, int sig, siginfo_t *info, unsigned flags);
int __wrap_pidfd_send_signal(int pidfd, int sig, siginfo_t *info, unsigned flags);

uint64_t __wrap_clock_monotonic_us(void) {
        return fast_us + (__real_clock_monotonic_us() - real_us) * speed;
}

static uint64_t real_time(uint64_t us) {
        return us > fast_us ? real_us + (us - fast_us) / speed : us;
}

/* Only timers that are set from now on know of it. */
static void speed_up(unsigned factor) {
        uint64_t now = clock_monotonic_us();

        real_us = __real_clock_monotonic_us();
        fast_us = now;
        speed = factor;
}

int __wrap_sd_event_add_time(sd_event *loop, sd_event_source **ret, clockid_t clock, uint64_t usec,
                             uint64_t accuracy, sd_event_time_handler_t fn, void *data) {
        return __real_sd_event_add_time(loop, ret, clock, real_time(usec), accuracy, fn, data);
}

int __wrap_sd_event_source_set_time(sd_event_source *source, uint64_t usec) {
        return __real_sd_event_source_set_time(source, real_time(usec));
}

int __wrap_pidfd_send_signal(int pidfd, int sig, siginfo_t *info, unsigned flags) {
        return immortal && sig == SIGKILL ? 0 : __real_pidfd_send_signal(pidfd, sig, info, flags);
}

/* --- a machine whose daemon has ended --- */

struct answer {
        bool there;
        enum vm_outcome outcome;
        char *text; /* owned: message or note */
};

struct bench {
        struct arena *arena;
        char folder[32];
        char *dir, *binary; /* owned; dir: of the VM in the run-time folder */
        struct settings *settings;
        struct vm_env env;
        struct process p;
        struct vm *vm;
        struct strbuf events; /* "state:stopping;powerdown;" */
        bool adopted;
        struct answer answers[ANSWERS];
};

static void on_event(struct vm *vm, const char *event, json_t *data, void *bench) {
        struct bench *b = bench;
        const char *state = json_get_str(data, "state", NULL);

        if (!str_eq(event, "step"))
                strbuf_addf(&b->events, "%s%s%s;", event, state ? ":" : "", state ? state : "");
        json_decref(data);
}

static void put(const char *path, const char *text, mode_t mode) {
        assert_int_equal(file_write_atomic(AT_FDCWD, path, text, strlen(text), mode, false, NULL), 0);
}

static int setup(void **state) {
        struct bench *b = xcalloc(1, sizeof(*b));
        struct settings_options options = { .config = "/dev/null" };
        struct diags diags;
        _cleanup_free_ char *script = NULL;

        log_set_level(LOG_LEVEL_ERROR);
        real_us = fast_us = __real_clock_monotonic_us();
        speed = 1;
        immortal = false;
        strcpy(b->folder, "/tmp/vore-end-XXXXXX");
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
        b->p = PROCESS_INIT;
        assert_int_equal(file_mkdirs(b->dir, 0700, NULL), 0);
        assert_int_equal(file_mkdirs(b->settings->log_dir, 0700, NULL), 0);
        assert_int_equal(file_read(AT_FDCWD, TEST_FAKE_QEMU, 1 << 20, &script, NULL, NULL), 0);
        put(b->binary, script, 0755);
        *state = b;
        return 0;
}

static int teardown(void **state) {
        struct bench *b = *state;
        siginfo_t info;

        immortal = false;
        vm_free(b->vm);
        if (b->p.pid > 0 && process_kill(b->p.pidfd, SIGKILL) == 0)
                (void) waitid(P_PIDFD, (id_t) b->p.pidfd, &info, WEXITED);
        process_done(&b->p);
        sd_event_unref(b->env.loop);
        strbuf_done(&b->events);
        assert_int_equal(file_remove_tree(AT_FDCWD, b->folder, NULL), 0);
        for (size_t i = 0; i < ANSWERS; i++)
                free(b->answers[i].text);
        free(b->dir);
        free(b->binary);
        arena_free(b->arena);
        free(b);
        return 0;
}

static int listen_at(struct bench *b, const char *name) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", b->dir, name);
        assert_int_equal(bind(fd, (struct sockaddr *) &address, sizeof(address)), 0);
        assert_int_equal(listen(fd, 8), 0);
        return fd;
}

static void start_qemu(struct bench *b, const char *faults) {
        const char *const argv[] = { b->binary,  "-no-shutdown",
                                     "-chardev", "socket,id=qmp,fd=3,server=on,wait=off",
                                     "-qmp",     "chardev:qmp",
                                     "-chardev", "socket,id=qmp-user,fd=4,server=on,wait=off",
                                     "-qmp",     "chardev:qmp-user",
                                     "-device",  "pcie-root-port,id=hotplug0",
                                     "-device",  "vfio-pci,id=attached-0000-0b-00.0,bus=hotplug0",
                                     NULL };
        _cleanup_free_ char *log = xasprintf("%s/qemu.log", b->folder),
                            *config = xasprintf("%s.json", b->binary);
        _cleanup_close_ int qmp = listen_at(b, "qmp.sock"), user = listen_at(b, "qmp-user.sock");
        struct process_fd fds[] = { { 3, qmp }, { 4, user } };
        struct process_spec spec = {
                .argv = (char *const *) argv, .log_path = log, .fds = fds, .n_fds = ARRAY_SIZE(fds)
        };
        _cleanup_error_ struct error err = ERROR_INIT;

        put(config, faults, 0644);
        if (process_spawn(&spec, &b->p, &err) < 0 || process_release(&b->p, &err) < 0)
                fail_msg("%s", error_text(&err));
}

/* more (stolen) is what the daemon before noted besides. */
static void write_record(struct bench *b, json_t *more) {
        _cleanup_free_ char *id = NULL, *state = xasprintf("%s/state.json", b->dir), *text = NULL;
        _cleanup_free_ char *toml = xasprintf("%s/definition.toml", b->dir);
        _cleanup_json_ json_t *stolen = more;

        assert_int_equal(file_read_line(AT_FDCWD, "/proc/sys/kernel/random/boot_id", &id), 0);
        _cleanup_json_ json_t *j =
                json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:I, s:i, s:b}", "boot_id", id, "name", "vm",
                          "state", "running", "file", "vm.toml", "directory", "/", "pid", (int) b->p.pid,
                          "start_time", (json_int_t) b->p.start_time, "uid", -1, "ran", 1);
        assert_int_equal(json_object_update(j, stolen), 0);
        text = json_text(j);
        put(state, text, 0600);
        put(toml, definition, 0600);
}

static void on_adopted(struct vm *vm, void *bench) {
        ((struct bench *) bench)->adopted = true;
}

static void turn(struct bench *b, const char *words) {
        if (sd_event_run(b->env.loop, WAIT_US) <= 0)
                fail_msg("waited for %s; events: %s", words, b->events.data ? b->events.data : "none");
}

static void run_until(struct bench *b, const bool *what, const char *words) {
        while (!*what)
                turn(b, words);
}

static void run_until_event(struct bench *b, const char *event) {
        while (!b->events.data || !strstr(b->events.data, event))
                turn(b, event);
}

/* How often QEMU was told to press the power button. */
static size_t presses(const struct bench *b) {
        size_t n = 0;

        for (const char *at = b->events.data; at && (at = strstr(at, "powerdown;")); at++)
                n++;
        return n;
}

/* Lets the loop do what it has to, for a while. */
static void run_for(struct bench *b, uint64_t us) {
        uint64_t now, end = __real_clock_monotonic_us() + us;

        while ((now = __real_clock_monotonic_us()) < end)
                assert_true(sd_event_run(b->env.loop, end - now) >= 0);
}

static void adopt_as(struct bench *b, json_t *more) {
        _cleanup_error_ struct error err = ERROR_INIT;

        write_record(b, more);
        if (vm_adopt(&b->env, "vm", on_adopted, b, &b->vm, &err) < 0)
                fail_msg("%s", error_text(&err));
}

static void adopt(struct bench *b, const char *faults) {
        start_qemu(b, faults);
        adopt_as(b, json_object());
        run_until(b, &b->adopted, "the adoption");
        assert_int_equal(vm_state(b->vm), VM_RUNNING);
}

static void hang(struct bench *b) {
        assert_int_equal(process_kill(b->p.pidfd, SIGSTOP), 0);
}

static void go_on(struct bench *b) {
        assert_int_equal(process_kill(b->p.pidfd, SIGCONT), 0);
}

/* --- answers --- */

static void on_done(struct vm *vm, const struct vm_result *result, void *data) {
        struct answer *a = data;

        assert_false(a->there);
        a->there = true;
        a->outcome = result->outcome;
        a->text = xasprintf("%s%s", result->message ? result->message : "", result->note ? result->note : "");
}

static struct vm_watch watch(struct bench *b, size_t i) {
        free(b->answers[i].text);
        b->answers[i] = (struct answer){ 0 };
        return (struct vm_watch){ .done = on_done, .data = &b->answers[i] };
}

static void stop(struct bench *b, double seconds, bool force, size_t i) {
        struct vm_watch w = watch(b, i);

        vm_stop(b->vm, (uint64_t) (seconds * SECOND_US), force, &w);
}

static void kill_vm(struct bench *b, size_t i) {
        struct vm_watch w = watch(b, i);

        vm_kill(b->vm, &w);
}

static void on_reply(const json_t *reply, const struct error *err, void *data) {
        struct answer *a = data;

        assert_false(a->there);
        a->there = true;
        a->outcome = reply ? VM_DONE : VM_ERROR;
        a->text = reply ? json_text((json_t *) reply) : xstrdup(error_text(err));
}

static void qmp(struct bench *b, const char *command, size_t i) {
        (void) watch(b, i);
        vm_qmp(b->vm, command, on_reply, &b->answers[i]);
}

static void assert_answer(struct bench *b, size_t i, enum vm_outcome outcome, const char *words) {
        const struct answer *a = &b->answers[i];

        run_until(b, &a->there, "an answer");
        if (a->outcome != outcome || !strstr(a->text, words))
                fail_msg("answer %zu, outcome %d: %s", i, a->outcome, a->text);
}

/* --- an end that is under way --- */

static json_t *ending(const char *state) {
        return json_pack("{s:s, s:b, s:s}", "state", state, "ending", 1, "ending_state", "stopped");
}

/* It was told to go by a vored that has ended, and hangs: nobody but the clock can say that it does not. */
static void test_an_end_is_adopted(void **state) {
        struct bench *b = *state;

        speed_up(20);
        start_qemu(b, "{}");
        hang(b);
        adopt_as(b, ending("stopping"));
        stop(b, 60, true, 0);
        run_until(b, &b->adopted, "the adoption");
        assert_answer(b, 0, VM_DONE, "");
        assert_int_equal(vm_state(b->vm), VM_STOPPED);
}

static void assert_ended_away(struct bench *b) {
        run_until(b, &b->adopted, "the adoption");
        assert_int_equal(vm_state(b->vm), VM_FAILED);
        if (!strstr(vm_reason(b->vm), "ended while vored was away"))
                fail_msg("reason: %s", vm_reason(b->vm));
}

/* It goes while its state is being asked for. */
static void test_an_end_during_adoption(void **state) {
        struct bench *b = *state;

        start_qemu(b, "{\"die\": \"query-status\", \"how\": \"kill\"}");
        adopt_as(b, json_object());
        assert_ended_away(b);
}

/* Nobody knows its state, but everybody is answered: what happens to it now did not happen before. */
static void test_an_end_after_adoption(void **state) {
        struct bench *b = *state;

        start_qemu(b, "{\"greet\": \"never\"}");
        adopt_as(b, json_object());
        b->env.serving = true;
        assert_int_equal(process_kill(b->p.pidfd, SIGKILL), 0);
        run_until(b, &b->adopted, "the end");
        assert_non_null(strstr(vm_reason(b->vm), "ended by signal 9"));
}

/* It is on its way out: nothing listens there any more, and its pidfd is still silent. */
static void test_adoption_of_a_dying_process(void **state) {
        struct bench *b = *state;

        start_qemu(b, "{\"die\": \"start\", \"linger\": 0.3}");
        while (!process_dying(b->p.pid))
                (void) sched_yield();
        adopt_as(b, json_object());
        assert_false(b->adopted);
        assert_ended_away(b);
}

/* Every call has an answer, also those that come when it was given up, and a process that goes after all is
 * an end like any other. */
static void test_qemu_that_cannot_be_killed(void **state) {
        struct bench *b = *state;

        adopt(b, "{}");
        hang(b);
        speed_up(5);
        immortal = true;
        kill_vm(b, 0);
        assert_answer(b, 0, VM_ERROR, "cannot be killed");
        stop(b, 1, false, 1);
        stop(b, 4, false, 2);
        stop(b, 1, true, 3);
        assert_answer(b, 1, VM_STOP_TIMEOUT, "was told to end and has not yet");
        assert_answer(b, 2, VM_STOP_TIMEOUT, "was told to end and has not yet");
        assert_false(b->answers[3].there);
        assert_answer(b, 3, VM_ERROR, "cannot be killed");
        assert_int_equal(b->vm->n_waiters, 0);
        assert_int_equal(vm_state(b->vm), VM_STOPPING);
        immortal = false;
        kill_vm(b, 4);
        assert_answer(b, 4, VM_DONE, "");
        assert_int_equal(vm_state(b->vm), VM_STOPPED);
}

/* The start was cut off, and is cancelled. */
static void test_start_that_cannot_be_killed(void **state) {
        struct bench *b = *state;

        start_qemu(b, "{\"greet\": \"never\"}");
        adopt_as(b, json_pack("{s:s}", "state", "starting"));
        speed_up(5);
        immortal = true;
        stop(b, 1, false, 0);
        stop(b, 1, true, 1);
        assert_answer(b, 0, VM_STOP_TIMEOUT, "was told to end and has not yet");
        assert_answer(b, 1, VM_ERROR, "cannot be killed");
        immortal = false;
        stop(b, 1, false, 2);
        assert_answer(b, 2, VM_DONE, "");
        assert_int_equal(vm_state(b->vm), VM_STOPPED);
}

/* Each would put it off, if it gave QEMU its whole time again. */
static void test_killing_again_puts_nothing_off(void **state) {
        struct bench *b = *state;
        size_t n = 1;

        adopt(b, "{}");
        hang(b);
        speed_up(20);
        immortal = true;
        kill_vm(b, 0);
        for (; !b->answers[0].there && n < 100; n++) {
                kill_vm(b, n);
                run_for(b, 50 * 1000);
        }
        assert_answer(b, 0, VM_ERROR, "cannot be killed");
        for (size_t i = 1; i < n; i++)
                assert_answer(b, i, VM_ERROR, "cannot be killed");
        immortal = false;
}

static void test_so_many_may_wait(void **state) {
        struct bench *b = *state;

        adopt(b, "{}");
        hang(b);
        immortal = true;
        for (size_t i = 0; i <= WAITERS_MAX; i++)
                kill_vm(b, i);
        assert_answer(b, WAITERS_MAX, VM_WRONG_STATE, "256 others wait for the end of vm already");
        assert_false(b->answers[WAITERS_MAX - 1].there);
        immortal = false;
        kill_vm(b, WAITERS_MAX + 1); /* is carried out all the same */
        assert_answer(b, WAITERS_MAX - 1, VM_DONE, "");
        assert_int_equal(vm_state(b->vm), VM_STOPPED);
}

/* --- a stop without a monitor --- */

#define DEAF "{\"ignore\": [\"system_powerdown\"]}"

/* QEMU may listen again; if it does not, the stop's time is the answer. */
static void test_monitor_that_never_greets(void **state) {
        struct bench *b = *state;

        start_qemu(b, "{\"greet\": \"never\"}");
        adopt_as(b, json_pack("{s:s}", "state", "paused"));
        stop(b, 0.2, false, 0);
        assert_false(b->answers[0].there);
        assert_answer(b, 0, VM_STOP_TIMEOUT, "QEMU's monitor cannot be reached: vore kill vm");
        assert_int_equal(vm_state(b->vm), VM_PAUSED);
        stop(b, 0.2, true, 1);
        assert_answer(b, 1, VM_DONE, "");
        assert_int_equal(vm_state(b->vm), VM_STOPPED);
}

static void test_monitor_that_greets_late(void **state) {
        struct bench *b = *state;

        start_qemu(b, "{\"slow\": {\"greeting\": 0.2}}");
        adopt_as(b, json_object());
        stop(b, 20, false, 0);
        assert_answer(b, 0, VM_DONE, "");
        assert_int_equal(presses(b), 1);
        assert_true(b->adopted);
}

/* Its state is still being asked for when the button is pressed. */
static void test_pressed_once(void **state) {
        struct bench *b = *state;

        start_qemu(b, "{\"slow\": {\"query-status\": 0.1}, \"ignore\": [\"system_powerdown\"]}");
        adopt_as(b, json_object());
        run_until(b, &b->vm->qmp_ready, "the monitor");
        stop(b, 1.5, false, 0);
        assert_answer(b, 0, VM_STOP_TIMEOUT, "did not react to the power button");
        assert_int_equal(presses(b), 1);
}

static void test_monitor_is_lost_at_the_button(void **state) {
        struct bench *b = *state;

        adopt(b, "{\"close\": \"system_powerdown\"}");
        stop(b, 20, false, 0);
        assert_answer(b, 0, VM_DONE, "");
        assert_int_equal(presses(b), 1);
}

/* It was given up; a stop tries it once more. */
static void test_monitor_was_given_up(void **state) {
        struct bench *b = *state;
        _cleanup_free_ char *path = xasprintf("%s/qmp.sock", b->dir), *away = xasprintf("%s.away", path);

        adopt(b, DEAF);
        qmp_free(TAKE_PTR(b->vm->qmp));
        b->vm->qmp_ready = false;
        assert_int_equal(rename(path, away), 0);
        stop(b, 20, false, 0);
        assert_answer(b, 0, VM_ERROR, "QEMU's monitor cannot be reached (vore kill vm ends it): ");
        assert_int_equal(vm_state(b->vm), VM_RUNNING);
        assert_int_equal(rename(away, path), 0);
        stop(b, 1.5, false, 1);
        assert_answer(b, 1, VM_STOP_TIMEOUT, "did not react to the power button");
        assert_int_equal(presses(b), 1);
        assert_int_equal(rename(path, away), 0);
        qmp_free(TAKE_PTR(b->vm->qmp));
        b->vm->qmp_ready = false;
        stop(b, 0.1, true, 2);
        assert_answer(b, 2, VM_DONE, "");
}

/* What it did not hear in the time of a stop that failed, it does not do later. */
static void test_hung_while_it_is_stopped(void **state) {
        struct bench *b = *state;

        adopt(b, "{}");
        hang(b);
        stop(b, 0.2, false, 0);
        assert_answer(b, 0, VM_STOP_TIMEOUT, "QEMU's monitor does not answer: vore kill vm");
        run_for(b, 50 * 1000);
        go_on(b);
        qmp(b, "query-status", 1);
        assert_answer(b, 1, VM_DONE, "running");
        assert_int_equal(presses(b), 0);
        stop(b, 20, false, 2);
        assert_answer(b, 2, VM_DONE, "");
}

static void test_qemu_refuses_the_button(void **state) {
        struct bench *b = *state;

        adopt(b, "{\"refuse\": {\"system_powerdown\": \"no flux\"}}");
        stop(b, 20, false, 0);
        assert_answer(b, 0, VM_ERROR, "no flux");
        assert_int_equal(vm_state(b->vm), VM_RUNNING);
        stop(b, 0.2, true, 1);
        assert_answer(b, 1, VM_DONE, "");
        assert_int_equal(vm_state(b->vm), VM_STOPPED);
}

/* --- a stop beside a stop --- */

static void test_force_joins(void **state) {
        struct bench *b = *state;

        adopt(b, DEAF);
        stop(b, 60, false, 0);
        run_until_event(b, "powerdown;");
        stop(b, 60, true, 1);
        stop(b, 0.2, true, 2);
        stop(b, 40, true, 3);
        for (size_t i = 0; i < 4; i++)
                assert_answer(b, i, VM_DONE, "");
        assert_int_equal(vm_state(b->vm), VM_STOPPED);
        assert_int_equal(presses(b), 1);
}

/* An end that no stop wanted is an error to all of them; whoever killed it has what was wanted. */
static void test_joined_stops_fail_alike(void **state) {
        struct bench *b = *state;

        adopt(b, DEAF);
        stop(b, 60, false, 0);
        stop(b, 30, false, 1);
        stop(b, 90, true, 2);
        run_until_event(b, "powerdown");
        assert_int_equal(process_kill(b->p.pidfd, SIGKILL), 0);
        for (size_t i = 0; i < 3; i++)
                assert_answer(b, i, VM_ERROR, "ended by signal 9");
        assert_int_equal(vm_state(b->vm), VM_FAILED);
}

/* Each has its answer in its own time. */
static void test_later_deadlines_join(void **state) {
        struct bench *b = *state;

        adopt(b, DEAF);
        stop(b, 1, false, 0);
        stop(b, 3, false, 1);
        stop(b, 2, false, 2);
        assert_answer(b, 0, VM_STOP_TIMEOUT, "another stop waits on");
        assert_false(b->answers[2].there);
        assert_answer(b, 2, VM_STOP_TIMEOUT, "another stop waits on");
        assert_false(b->answers[1].there);
        assert_int_equal(vm_state(b->vm), VM_STOPPING);
        assert_answer(b, 1, VM_STOP_TIMEOUT, "did not react to the power button");
        assert_int_equal(vm_state(b->vm), VM_RUNNING);
        assert_int_equal(presses(b), 1);
        stop(b, 1, false, 3);
        stop(b, 2, true, 4);
        assert_answer(b, 3, VM_STOP_TIMEOUT, "another stop waits on");
        assert_answer(b, 4, VM_DONE, "");
}

/* Host shutdown, after a vored that was told to stop it. */
static void test_force_joins_an_adopted_stop(void **state) {
        struct bench *b = *state;

        start_qemu(b, DEAF);
        adopt_as(b, json_pack("{s:s, s:I}", "state", "stopping", "stop_deadline_us",
                              (json_int_t) clock_monotonic_us() + WAIT_US));
        run_until(b, &b->adopted, "the adoption");
        stop(b, 0.2, true, 0);
        assert_answer(b, 0, VM_DONE, "");
}

/* --- a stop beside another operation --- */

static void detach(struct bench *b, const char *faults) {
        struct vm_watch w = watch(b, 0);

        start_qemu(b, faults);
        adopt_as(b, json_pack("{s:[{s:s, s:i, s:i, s:b, s:s, s:i, s:b}]}", "attached", "address",
                              "0000:0b:00.0", "group", 7, "unit", 1, "complete", 1, "port", "hotplug0",
                              "function", 0, "multifunction", 0));
        run_until(b, &b->adopted, "the adoption");
        vm_detach(b->vm, "0000:0b:00.0", WAIT_US, &w);
}

static void test_force_waits_for_a_detach(void **state) {
        struct bench *b = *state;

        detach(b, "{\"unplug\": 0.1}");
        stop(b, 20, false, 1);
        assert_answer(b, 1, VM_WRONG_STATE, "vm is busy: detach");
        stop(b, 20, true, 2);
        stop(b, 19, true, 3);
        assert_answer(b, 0, VM_DONE, "");
        assert_answer(b, 2, VM_DONE, "");
        assert_answer(b, 3, VM_DONE, "");
        assert_int_equal(presses(b), 1);
        assert_int_equal(vm_state(b->vm), VM_STOPPED);
}

static void test_force_ends_a_detach(void **state) {
        struct bench *b = *state;

        detach(b, "{\"unplug\": \"never\"}");
        stop(b, 20, true, 1);
        stop(b, 0.2, true, 2);
        assert_answer(b, 1, VM_DONE, "");
        assert_answer(b, 2, VM_DONE, "");
        assert_answer(b, 0, VM_ERROR, "vm ended meanwhile");
        assert_int_equal(vm_state(b->vm), VM_STOPPED);
}

/* --- a kill beside a stop --- */

/* Its monitor breaks when it is killed, which is not an answer to the power button. */
static void test_killed_while_it_is_stopped(void **state) {
        struct bench *b = *state;

        adopt(b, "{}");
        hang(b);
        stop(b, 60, false, 0);
        kill_vm(b, 1);
        kill_vm(b, 2);
        assert_answer(b, 0, VM_DONE, "");
        assert_answer(b, 1, VM_DONE, "");
        assert_non_null(strstr(b->events.data, "state:stopping;state:stopped;"));
        assert_null(strstr(b->events.data, "state:running;"));
}

/* Nor does it take away the time after which an end counts as failed. */
static void test_monitor_breaks_while_it_is_killed(void **state) {
        struct bench *b = *state;

        adopt(b, "{\"slow\": {\"system_powerdown\": 0.05}, \"garbage\": \"system_powerdown\"}");
        speed_up(20);
        immortal = true;
        stop(b, 60, false, 0);
        kill_vm(b, 1);
        assert_answer(b, 0, VM_ERROR, "cannot be killed");
        assert_answer(b, 1, VM_ERROR, "cannot be killed");
        assert_int_equal(vm_state(b->vm), VM_STOPPING);
}

/* --- people's commands --- */

/* QEMU serves one client at a time. */
static void test_commands_at_once(void **state) {
        struct bench *b = *state;

        adopt(b, "{}");
        for (size_t i = 0; i < 65; i++)
                qmp(b, i % 2 ? "query-status" : "{\"execute\": \"query-version\", \"id\": \"mine\"}", i);
        for (size_t i = 0; i < 64; i++)
                assert_answer(b, i, VM_DONE, i % 2 ? "running" : "mine");
        assert_answer(b, 64, VM_ERROR, "64 commands wait for QEMU already");
        assert_null(b->vm->people);
        qmp(b, "flux", 65);
        assert_answer(b, 65, VM_DONE, "CommandNotFound");
        qmp(b, "{", 66);
        assert_answer(b, 66, VM_ERROR, "");
        qmp(b, "quit", 67);
        assert_answer(b, 67, VM_DONE, "return");
        run_until_event(b, "state:stopped;");
}

/* They have their time there too, and no descriptor each. */
static void test_commands_to_a_qemu_that_hangs(void **state) {
        struct bench *b = *state;

        adopt(b, "{}");
        hang(b);
        speed_up(200);
        for (size_t i = 0; i < 20; i++)
                qmp(b, "query-status", i);
        for (size_t i = 0; i < 20; i++)
                assert_answer(b, i, VM_ERROR, "QEMU's second monitor did not answer in time");
        assert_int_equal(b->vm->n_people, 0);
        speed_up(1);
        go_on(b);
        qmp(b, "query-status", 20);
        assert_answer(b, 20, VM_DONE, "running");
        assert_null(b->vm->people);
}

/* --- paused meanwhile --- */

static void test_paused_while_it_is_stopped(void **state) {
        struct bench *b = *state;
        struct vm_watch w;

        adopt(b, "{\"ignore\": [\"system_powerdown\"]}");
        stop(b, 2, false, 0);
        run_until_event(b, "powerdown;");
        qmp(b, "stop", 1);
        assert_answer(b, 1, VM_DONE, "return");
        assert_answer(b, 0, VM_STOP_TIMEOUT, "did not react to the power button");
        assert_int_equal(vm_state(b->vm), VM_PAUSED);
        w = watch(b, 2);
        vm_resume(b->vm, &w);
        assert_answer(b, 2, VM_DONE, "");
        assert_string_equal(b->answers[2].text, "");
        assert_int_equal(vm_state(b->vm), VM_RUNNING);
}

/* A stop resumes it, as a guest that does not run cannot react. */
static void test_a_paused_one_is_stopped_in_vain(void **state) {
        struct bench *b = *state;
        struct vm_watch w;

        adopt(b, "{\"ignore\": [\"system_powerdown\"]}");
        w = watch(b, 0);
        vm_pause(b->vm, &w);
        assert_answer(b, 0, VM_DONE, "");
        assert_int_equal(vm_state(b->vm), VM_PAUSED);
        stop(b, 1.5, false, 1);
        assert_answer(b, 1, VM_STOP_TIMEOUT, "did not react to the power button");
        assert_int_equal(vm_state(b->vm), VM_RUNNING);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_an_end_is_adopted),
                TEST(test_an_end_during_adoption),
                TEST(test_an_end_after_adoption),
                TEST(test_adoption_of_a_dying_process),
                TEST(test_qemu_that_cannot_be_killed),
                TEST(test_start_that_cannot_be_killed),
                TEST(test_killing_again_puts_nothing_off),
                TEST(test_so_many_may_wait),
                TEST(test_monitor_that_never_greets),
                TEST(test_monitor_that_greets_late),
                TEST(test_pressed_once),
                TEST(test_monitor_is_lost_at_the_button),
                TEST(test_monitor_was_given_up),
                TEST(test_hung_while_it_is_stopped),
                TEST(test_qemu_refuses_the_button),
                TEST(test_force_joins),
                TEST(test_later_deadlines_join),
                TEST(test_joined_stops_fail_alike),
                TEST(test_force_joins_an_adopted_stop),
                TEST(test_force_waits_for_a_detach),
                TEST(test_force_ends_a_detach),
                TEST(test_killed_while_it_is_stopped),
                TEST(test_monitor_breaks_while_it_is_killed),
                TEST(test_commands_at_once),
                TEST(test_commands_to_a_qemu_that_hangs),
                TEST(test_paused_while_it_is_stopped),
                TEST(test_a_paused_one_is_stopped_in_vain),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
