/* QMP and the process: how each of their signals moves the machine. */
#include "vm/machine.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "plan/handover.h"

#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/wait.h>

/* How long QEMU may take to go after quit before it is killed. */
enum {
        QUIT_TIMEOUT_US = 3 * 1000 * 1000,
        RECONNECT_US = 500 * 1000,
        DRAIN_TURNS = 64,
        KILL_TIMEOUT_US = 10 * 1000 * 1000
};

int vm_timer(struct vm *vm, uint64_t deadline_us, sd_event_time_handler_t fn, struct error *err) {
        vm_timer_off(vm);
        int r = sd_event_add_time(vm->env->loop, &vm->timer, CLOCK_MONOTONIC, deadline_us, 1000, fn, vm);
        return r < 0 ? error_errno(err, r, "cannot set a timer") : 0;
}

void vm_timer_off(struct vm *vm) {
        vm->timer = sd_event_source_disable_unref(vm->timer);
}

/* -- telling it to go --------------------------------------------------------------------------- */

static void ending_set(struct vm *vm, enum vm_state state, const char *reason) {
        char *copy = reason ? xstrdup(reason) : NULL;

        free(vm->ending_reason);
        vm->ending = true;
        vm->ending_state = state;
        vm->ending_reason = copy;
        record_update(vm);
}

/* Even SIGKILL waits for the kernel: a device that hangs in its reset keeps a process for ever. */
static int unkillable(sd_event_source *source, uint64_t now, void *data) {
        struct vm *vm = data;
        _cleanup_free_ char *message =
                xasprintf("QEMU (process %d) cannot be killed: it hangs in the kernel; its machine "
                          "ends when that does, or when the host restarts",
                          vm->process.pid);

        vm_timer_off(vm);
        end_give_up(vm, message);
        return 0;
}

/* Once more does no harm, and gives no more time: whoever waits already wants to know. */
static void kill_now(struct vm *vm) {
        if (!vm->killed || !vm->timer)
                (void) vm_timer(vm, clock_monotonic_us() + KILL_TIMEOUT_US, unkillable, NULL);
        vm->killed = true;
        (void) process_kill(vm->process.pidfd, SIGKILL);
}

static int quit_timeout(sd_event_source *source, uint64_t now, void *data) {
        struct vm *vm = data;

        vm_timer_off(vm);
        vm_log_note(vm, "QEMU does not end: killed");
        kill_now(vm);
        return 0;
}

void guest_end_now(struct vm *vm, enum vm_state state, const char *reason) {
        ending_set(vm, state, reason);
        kill_now(vm);
}

void guest_end(struct vm *vm, enum vm_state state, const char *reason) {
        ending_set(vm, state, reason);
        if (vm->killed || !vm->qmp_ready || qmp_execute(vm->qmp, "quit", NULL, 0, NULL, NULL, NULL) < 0 ||
            vm_timer(vm, clock_monotonic_us() + QUIT_TIMEOUT_US, quit_timeout, NULL) < 0)
                kill_now(vm);
}

/* It may never greet: without a time of its own this end would have none. */
void guest_end_adopted(struct vm *vm) {
        if (vm_timer(vm, clock_monotonic_us() + QUIT_TIMEOUT_US, quit_timeout, NULL) < 0)
                kill_now(vm);
}

/* -- the process -------------------------------------------------------------------------------- */

static char *words_or(struct vm *vm, const char *fallback) {
        _cleanup_free_ char *path = vm_log_path(vm);
        _cleanup_free_ char *words = process_last_words(path, vm->log_offset);

        if (!words)
                return xstrdup(fallback);
        return vm->plan ? handover_readable(vm->plan, words) : TAKE_PTR(words);
}

char *guest_away_reason(struct vm *vm) {
        _cleanup_free_ char *words = words_or(vm, "");

        return xasprintf("ended while vored was away%s%s", *words ? ": " : "", words);
}

/* What the exit status says (a child of ours), else what the log says. */
static char *exit_reason(struct vm *vm) {
        siginfo_t info = { 0 };

        /* It was on its way out before this vored told anybody its state. */
        if (vm->adopted && !vm->env->serving)
                return guest_away_reason(vm);
        if (waitid(P_PIDFD, (id_t) vm->process.pidfd, &info, WEXITED | WNOHANG) < 0 || info.si_pid == 0)
                return words_or(vm, "QEMU ended by itself");
        if (info.si_code == CLD_EXITED) {
                _cleanup_free_ char *plain = xasprintf("QEMU ended with status %d", info.si_status);
                return words_or(vm, plain);
        }
        _cleanup_free_ char *words = words_or(vm, "");
        return xasprintf("QEMU was ended by signal %d (%s)%s%s", info.si_status, strsignal(info.si_status),
                         *words ? ": " : "", words);
}

static void process_gone(struct vm *vm) {
        _cleanup_free_ char *reason = exit_reason(vm);
        bool ending = vm->ending;
        enum vm_state state = ending ? vm->ending_state : VM_FAILED;
        _cleanup_free_ char *ending_reason = TAKE_PTR(vm->ending_reason);

        vm_end(vm, state, ending ? ending_reason : reason);
}

static int pidfd_ready(sd_event_source *source, int fd, uint32_t revents, void *data) {
        struct vm *vm = data;

        vm->report_source = sd_event_source_disable_unref(vm->report_source);
        /* The monitor's last words come before the end: a power-off is told apart from a crash by its event.
         */
        if (vm->qmp && vm->drained++ < DRAIN_TURNS)
                return 0;
        /* The child's own report says more than its exit status. */
        if (vm->process.report_fd >= 0 && vm->op.table == &start_table) {
                _cleanup_error_ struct error err = ERROR_INIT;
                int r = process_report(&vm->process, &err);

                if (r < 0 && !vm->ending) {
                        char *text = xstrdup(error_text(&err));
                        free(vm->ending_reason);
                        vm->ending = true;
                        vm->ending_state = VM_FAILED;
                        vm->ending_reason = text;
                }
        }
        process_gone(vm);
        return 0;
}

int guest_watch_process(struct vm *vm, struct error *err) {
        int r = sd_event_add_io(vm->env->loop, &vm->pidfd_source, vm->process.pidfd, EPOLLIN, pidfd_ready,
                                vm);

        if (r < 0)
                return error_errno(err, r, "cannot watch QEMU's process");
        return 0;
}

/* -- QMP ---------------------------------------------------------------------------------------- */

static void guest_shut_down(struct vm *vm, const json_t *data) {
        const char *cause = json_get_str(data, "reason", "unknown");

        vm_event(vm, "shutdown", json_pack("{s:s}", "reason", cause));
        if (vm->ending)
                return;
        if (vm->op.table == &stop_table && vm->op.step == STOP_STEP_WAIT) {
                step_finish(vm, NULL);
                return;
        }
        if (str_eq(cause, "guest-shutdown")) {
                vm_log_note(vm, "the guest powered off");
                guest_end(vm, VM_STOPPED, NULL);
        } else if (str_eq(cause, "host-qmp-quit")) {
                vm_log_note(vm, "QEMU was told to quit over its second monitor");
                guest_end(vm, VM_STOPPED, NULL);
        } else if (str_eq(cause, "host-signal"))
                guest_end(vm, VM_FAILED, "QEMU was ended from outside by a signal");
        else if (str_eq(cause, "guest-panic"))
                guest_end(vm, VM_FAILED, "the guest panicked");
        else if (str_eq(cause, "guest-reset"))
                guest_end(vm, VM_FAILED, "the guest reset, and its QEMU is told to end at that");
        else {
                _cleanup_free_ char *reason = xasprintf("QEMU shut down: %s", cause);
                guest_end(vm, VM_FAILED, reason);
        }
}

static bool steady(const struct vm *vm) {
        return !vm->ending && (vm->state == VM_RUNNING || vm->state == VM_PAUSED);
}

/* One that is off is stopped as well, but not paused: QEMU was told to go then. */
void guest_paused(struct vm *vm, bool paused) {
        bool news = vm->paused != paused;

        if (vm->ending)
                return;
        vm->paused = paused;
        if (steady(vm) && paused != (vm->state == VM_PAUSED))
                vm_set_state(vm, paused ? VM_PAUSED : VM_RUNNING, NULL);
        else if (news)
                record_update(vm);
}

static void guest_event(struct qmp *q, const char *name, const json_t *data, uint64_t time_us,
                        void *userdata) {
        struct vm *vm = userdata;

        if (str_eq(name, "SHUTDOWN"))
                guest_shut_down(vm, data);
        else if (str_eq(name, "STOP") || str_eq(name, "RESUME"))
                guest_paused(vm, str_eq(name, "STOP"));
        else if (str_eq(name, "RESET")) {
                vm->boot_us = clock_monotonic_us();
                vm_log_note(vm, "reset (%s)", json_get_str(data, "reason", "unknown"));
                vm_event(vm, "reset",
                         json_pack("{s:b, s:s}", "guest", json_get_bool(data, "guest", false), "reason",
                                   json_get_str(data, "reason", "unknown")));
        } else if (str_eq(name, "BLOCK_IO_ERROR"))
                vm_warn(vm, "a disk error: %s (%s)", json_get_str(data, "reason", "?"),
                        json_get_str(data, "node-name", json_get_str(data, "device", "?")));
        else if (str_eq(name, "GUEST_PANICKED"))
                vm_warn(vm, "the guest panicked");
        else if (str_eq(name, "GUEST_CRASHLOADED"))
                vm_warn(vm, "the guest crashed and its crash kernel took over");
        else if (str_eq(name, "DEVICE_DELETED"))
                detach_device_gone(vm, json_get_str(data, "device", ""));
        else if (str_eq(name, "DEVICE_UNPLUG_GUEST_ERROR") || str_eq(name, "MEM_UNPLUG_ERROR"))
                detach_device_refused(vm, json_get_str(data, "device", ""));
        else if (str_eq(name, "POWERDOWN"))
                vm_event(vm, "powerdown", json_object());
}

void adoption_done(struct vm *vm) {
        void (*fn)(struct vm *, void *) = vm->adopted;

        vm->adopted = NULL;
        if (fn)
                fn(vm, vm->adopted_data);
}

/* After a reconnection: events were lost, so the state is asked for. */
static void status_known(struct qmp *q, const json_t *reply, const struct error *err, void *data) {
        struct vm *vm = data;
        const char *status = json_get_str(reply, "status", "");

        /* A lost connection comes again, or QEMU's end. */
        if (!reply && err->code != -ECONNRESET)
                adoption_done(vm);
        if (!reply || vm->ending)
                return;
        bool off = str_eq(status, "shutdown");
        guest_paused(vm, !off && !str_eq(status, "running") && !str_eq(status, "prelaunch"));

        /* An adopted start: the guest may have begun, or even ended, before the one who started it. */
        if (!off && vm->op.table == &start_table) {
                vm_timer_off(vm);
                vm->op.step = str_eq(status, "prelaunch") ? vm->op.step : START_STEP_RUN;
                step_finish(vm, NULL);
                return;
        }
        if (off && vm->op.table != &stop_table) {
                vm_log_note(vm, "the guest powered off while vored was away");
                guest_end(vm, VM_STOPPED, NULL);
        } else if (vm->op.table == &stop_table && vm->op.step < STOP_STEP_EXIT) {
                /* The button waited for the monitor, if it was not pressed between question and answer. */
                bool press = vm->op.step == STOP_STEP_POWERDOWN && vm->op.waiting == 0;

                vm->op.step = off ? STOP_STEP_EXIT : vm->op.step;
                if (off || press)
                        step_advance(vm);
        }
        /* A guest that is off while vored learns of it: its machine ends before anybody is told its state. */
        if (!vm->ending)
                hotplug_resume(vm);
}

static void status_ask(struct vm *vm) {
        if (qmp_execute(vm->qmp, "query-status", NULL, 0, status_known, vm, NULL) < 0)
                adoption_done(vm);
}

/* What became of attached devices meanwhile. */
static void peripherals_known(struct qmp *q, const json_t *reply, const struct error *err, void *data) {
        struct vm *vm = data;

        if (err && err->code == -ECONNRESET)
                return;
        if (reply)
                attached_compare(vm, reply);
        status_ask(vm);
}

static void guest_ready(struct qmp *q, const char *version, void *data) {
        struct vm *vm = data;

        vm->qmp_ready = true;
        vm->qmp_losses = 0;
        if (vm->ending) {
                guest_end(vm, vm->ending_state, vm->ending_reason);
                return;
        }
        if (vm->op.table == &start_table && vm->op.step == START_STEP_CONNECT && vm->plan) {
                vm_timer_off(vm);
                step_finish(vm, NULL);
                return;
        }
        if (vm->n_attached == 0 || qmp_execute(q, "qom-list", json_pack("{s:s}", "path", ATTACHED_QOM_PATH),
                                               0, peripherals_known, vm, NULL) < 0)
                status_ask(vm);
}

static int reconnect(sd_event_source *source, uint64_t now, void *data) {
        struct vm *vm = data;
        _cleanup_error_ struct error err = ERROR_INIT;

        vm->reconnect_timer = sd_event_source_disable_unref(vm->reconnect_timer);
        if (vm->ending || vm->qmp)
                return 0;
        if (guest_connect(vm, &err) < 0 && !process_dying(vm->process.pid)) {
                vm_warn(vm, "its QEMU cannot be reached any more: %s; it runs on, kill works",
                        error_text(&err));
                hotplug_lost(vm, &err);
                adoption_done(vm);
        }
        return 0;
}

/* What is under way may need the monitor, and nothing else waits for its return. */
static void reconnect_later(struct vm *vm) {
        sd_event_source_disable_unref(TAKE_PTR(vm->reconnect_timer));
        (void) sd_event_add_time(vm->env->loop, &vm->reconnect_timer, CLOCK_MONOTONIC,
                                 clock_monotonic_us() + RECONNECT_US, 1000, reconnect, vm);
}

static void guest_closed(struct qmp *q, const struct error *err, void *data) {
        struct vm *vm = data;
        bool runs = !vm->ending && (steady(vm) || vm->op.table == &stop_table);

        qmp_free(vm->qmp);
        vm->qmp = NULL;
        vm->qmp_ready = false;
        /* Most likely its process ends: the pidfd tells. Otherwise one more try. */
        if (err->code == -ECONNRESET && runs && vm->qmp_losses++ == 0) {
                reconnect_later(vm);
                return;
        }
        if (vm->ending || (err->code == -ECONNRESET && !runs)) {
                hotplug_lost(vm, err);
                return;
        }
        vm_warn(vm, "QEMU's monitor: %s; %s", error_text(err),
                runs ? "it runs on without one, kill works" : "its start fails");
        hotplug_lost(vm, err);
        if (vm->op.table == &start_table) {
                _cleanup_free_ char *reason = xasprintf("QEMU's monitor: %s", error_text(err));
                guest_end_now(vm, VM_FAILED, reason);
        } else
                adoption_done(vm);
}

static const struct qmp_ops guest_ops = { .ready = guest_ready,
                                          .event = guest_event,
                                          .closed = guest_closed };

int guest_connect(struct vm *vm, struct error *err) {
        _cleanup_free_ char *path = vm_runtime_path(vm, "qmp.sock");

        return qmp_connect(vm->env->loop, path, &guest_ops, vm, &vm->qmp, err);
}

/* -- people's commands: over one connection, as QEMU serves one client at a time ------------------ */

enum { PEOPLE_MAX = 64, PERSON_TIMEOUT_MS = 60 * 1000 };

struct person {
        struct vm *vm;
        vm_qmp_fn fn;
        void *data;
};

/* One that has not greeted stays: each that is given up has a place in QEMU's queue until it listens again.
 */
static void people_idle(struct vm *vm) {
        if (vm->n_people == 0 && vm->people_ready)
                guest_leave_people(vm);
}

void guest_leave_people(struct vm *vm) {
        if (vm->n_people > 0)
                return;
        vm->people_ready = false;
        qmp_free(TAKE_PTR(vm->people));
}

static void person_reply(struct qmp *q, const json_t *reply, const struct error *err, void *data) {
        _cleanup_free_ struct person *p = data;
        _cleanup_error_ struct error deaf = ERROR_INIT;
        struct vm *vm = p->vm;

        vm->n_people--;
        if (!reply && err->code == -ETIMEDOUT && !vm->people_ready) {
                error_set(&deaf, err->code,
                          "QEMU's second monitor did not answer in time: QEMU hangs, or another program "
                          "has the monitor");
                err = &deaf;
        }
        p->fn(reply, err, p->data);
        people_idle(vm);
}

static void people_ready(struct qmp *q, const char *version, void *data) {
        struct vm *vm = data;

        vm->people_ready = true;
        people_idle(vm);
}

static void people_closed(struct qmp *q, const struct error *err, void *data) {
        struct vm *vm = data;

        vm->people_ready = false;
        qmp_free(TAKE_PTR(vm->people));
}

static int people_connect(struct vm *vm, struct error *err) {
        static const struct qmp_ops ops = { .ready = people_ready, .closed = people_closed };
        _cleanup_free_ char *path = vm_runtime_path(vm, "qmp-user.sock");

        return vm->people ? 0 : qmp_connect(vm->env->loop, path, &ops, vm, &vm->people, err);
}

void vm_qmp(struct vm *vm, const char *command, vm_qmp_fn fn, void *data) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct person *p = xcalloc(1, sizeof(*p));
        int r;

        *p = (struct person){ .vm = vm, .fn = fn, .data = data };
        if (vm->n_people >= PEOPLE_MAX)
                r = error_set(&err, -EBUSY, "%zu commands wait for QEMU already", vm->n_people);
        else
                r = people_connect(vm, &err);
        if (r >= 0)
                r = qmp_execute_raw(vm->people, command, PERSON_TIMEOUT_MS, person_reply, p, &err);
        if (r >= 0)
                vm->n_people++;
        else {
                free(p);
                fn(NULL, &err, data);
        }
}
