/* Stop, row by row: the power button, the guest's time to react, the end of QEMU. */
#include "vm/machine.h"

#include "base/clock.h"
#include "base/str.h"

#include <errno.h>

enum {
        BOOT_US = 60 * 1000 * 1000, /* so long a guest may be deaf */
        ANSWER_US = 100 * 1000      /* so long a monitor may take its time */
};

/* One press of the button: its answer may come after the end of the stop that it was for. */
struct press {
        struct vm *vm;
        uint64_t operation; /* when it began */
};

static void pressed(struct qmp *q, const json_t *reply, const struct error *err, void *data) {
        _cleanup_free_ struct press *press = data;
        struct vm *vm = press->vm;

        /* The guest may be off, or QEMU told to go, before the answer comes. */
        if (vm->op.table != &stop_table || vm->op.began_us != press->operation ||
            vm->op.step != STOP_STEP_POWERDOWN || vm->ending)
                return;
        vm->op.waiting = 0;
        if (reply || (err->code != -ECONNRESET && err->code != -ETIMEDOUT))
                step_finish(vm, reply ? NULL : err);
        /* The time of this press is over, but another stop has joined that has more. A monitor that is lost
         * says nothing of the guest: QEMU's end does, or its next connection, or the deadline. */
        else if (err->code == -ETIMEDOUT && clock_monotonic_us() < vm->stop_deadline_us)
                step_advance(vm);
}

/* A paused guest could not react: it is resumed. Neither is done by a QEMU that only listens again after the
 * stop has failed. Without a monitor the next connection goes on here, or the deadline comes; one that was
 * given up is tried once more. */
static int step_powerdown(struct vm *vm, struct error *err) {
        uint64_t now = clock_monotonic_us();
        unsigned ms = vm->stop_deadline_us > now ? (unsigned) ((vm->stop_deadline_us - now) / 1000) + 1 : 1;
        struct press *press;

        if (!vm->qmp && !vm->reconnect_timer && guest_connect(vm, err) < 0)
                return error_prefix(err, "QEMU's monitor cannot be reached (vore kill %s ends it)", vm->name);
        if (!vm->qmp_ready)
                return 1;
        press = xcalloc(1, sizeof(*press));
        *press = (struct press){ vm, vm->op.began_us };
        int r = qmp_execute(vm->qmp, "cont", NULL, ms, NULL, NULL, err);
        if (r >= 0)
                r = qmp_execute(vm->qmp, "system_powerdown", NULL, ms, pressed, press, err);
        if (r < 0) {
                free(press);
                return r;
        }
        vm->op.waiting = 1;
        vm->pressed_us = now;
        return 1;
}

/* A button that nobody listens to is lost. It is not pressed again without being asked for: there are guests
 * that take the second time as the revocation of the first. */
static char *ignored(const struct vm *vm) {
        uint64_t age = vm->boot_us ? vm->pressed_us - vm->boot_us : UINT64_MAX;

        if (vm->op.step == STOP_STEP_POWERDOWN && vm->qmp_ready &&
            clock_monotonic_us() < vm->op.began_us + ANSWER_US)
                return xstrdup("the guest did not react to the power button in that time");
        if (vm->op.step == STOP_STEP_POWERDOWN)
                return xasprintf("QEMU's monitor %s: vore kill %s ends it",
                                 vm->qmp_ready ? "does not answer" : "cannot be reached", vm->name);
        if (age > BOOT_US)
                return xstrdup("the guest did not react to the power button");
        return xasprintf("the guest did not react to the power button, which was pressed %.1f s after it "
                         "began to boot, "
                         "perhaps before it listened; again: vore stop %s; end it: vore kill %s",
                         (double) age / 1e6, vm->name, vm->name);
}

static void stop_end(struct vm *vm, enum vm_outcome outcome, const char *reason) {
        vm_timer_off(vm);
        vm_log_note(vm, "not stopped: %s", reason);
        vm->stop_deadline_us = 0;
        vm_set_state(vm, vm->paused ? VM_PAUSED : VM_RUNNING, NULL);
        operation_end(vm, outcome, reason, NULL);
        end_refuse(vm, outcome, reason);
}

/* In whatever step it is: QEMU itself may be what does not answer. */
static int guest_ignores(sd_event_source *source, uint64_t now, void *data) {
        struct vm *vm = data;

        vm_timer_off(vm);
        if (vm->op.table != &stop_table || vm->op.step >= STOP_STEP_EXIT)
                return 0;
        if (vm->stop_force) {
                vm_log_note(vm, "the guest ignored the power button: it is ended");
                while (vm->op.step < STOP_STEP_EXIT)
                        step_mark_done(vm);
                step_advance(vm);
        } else {
                _cleanup_free_ char *reason = ignored(vm);

                stop_end(vm, VM_STOP_TIMEOUT, reason);
        }
        return 0;
}

int stop_arm(struct vm *vm, struct error *err) {
        return vm_timer(vm, vm->stop_deadline_us, guest_ignores, err);
}

/* The SHUTDOWN event ends it, or the deadline. */
static int step_wait(struct vm *vm, struct error *err) {
        return 1;
}

/* Its end is QEMU's: vm_end() counts it as done. */
static int step_exit(struct vm *vm, struct error *err) {
        guest_end(vm, VM_STOPPED, NULL);
        return 1;
}

/* It runs on; with force its time is what it gets all the same, and then its end. */
static void stop_fail(struct vm *vm, const char *reason) {
        if (!vm->stop_force || !vm->timer) {
                stop_end(vm, VM_ERROR, reason);
                return;
        }
        vm_warn(vm, "its power button cannot be pressed (%s): it is ended when the time of its stop is over",
                reason);
        vm->op.step = STOP_STEP_WAIT;
}

static const struct step steps[STOP_STEP_COUNT] = {
        [STOP_STEP_POWERDOWN] = { "powerdown", step_powerdown },
        [STOP_STEP_WAIT] = { "wait", step_wait },
        [STOP_STEP_EXIT] = { "exit", step_exit },
};

const struct step_table stop_table = { "stop", steps, STOP_STEP_COUNT, NULL, stop_fail };

/* -- one wish, and another one --------------------------------------------------------------------- */

void stop_begin(struct vm *vm, uint64_t deadline_us, bool force, const struct vm_watch *watch) {
        _cleanup_error_ struct error err = ERROR_INIT;

        if (!operation_begin(vm, &stop_table, 0, STOP_STEP_COUNT, "stop", watch))
                return;
        vm->stop_deadline_us = deadline_us;
        vm->stop_force = force;
        vm_set_state(vm, VM_STOPPING, NULL);
        vm_log_note(vm, "stop: the power button is pressed");
        if (stop_arm(vm, &err) < 0)
                stop_end(vm, VM_ERROR, error_text(&err));
        else
                step_advance(vm);
}

/* The earliest force leads, else the latest deadline; the others wait, each for its own time. The button is
 * not pressed again. */
void stop_join(struct vm *vm, uint64_t deadline_us, bool force, const struct vm_watch *watch) {
        bool leads = force ? !vm->stop_force || deadline_us < vm->stop_deadline_us :
                             !vm->stop_force && deadline_us > vm->stop_deadline_us;
        struct vm_watch led = vm->op.watch;
        uint64_t led_us = vm->stop_force ? 0 : vm->stop_deadline_us;

        if (!leads) {
                end_wait(vm, watch, force ? 0 : deadline_us, true);
                return;
        }
        vm->op.watch = watch ? *watch : (struct vm_watch){ 0 };
        vm->stop_deadline_us = deadline_us;
        vm->stop_force = force;
        record_update(vm);
        (void) stop_arm(vm, NULL);
        end_wait(vm, &led, led_us, true);
}

static int outlasted(sd_event_source *source, uint64_t now, void *data) {
        struct vm *vm = data;

        vm_timer_off(vm);
        vm_log_note(vm, "the time of a stop is over before its %s: it is ended", vm->op.name);
        guest_end(vm, VM_STOPPED, NULL);
        vm_set_state(vm, VM_STOPPING, NULL);
        return 0;
}

void stop_queue(struct vm *vm, uint64_t deadline_us, const struct vm_watch *watch) {
        end_wait(vm, watch, 0, true);
        if (vm->next_stop_us && vm->next_stop_us <= deadline_us)
                return;
        vm_log_note(vm, "stop: after its %s", vm->op.name);
        vm->next_stop_us = deadline_us;
        (void) vm_timer(vm, deadline_us, outlasted, NULL);
}

bool stop_next(struct vm *vm) {
        uint64_t deadline_us = vm->next_stop_us;

        if (!deadline_us || vm->op.table || vm->ending)
                return false;
        vm->next_stop_us = 0;
        stop_begin(vm, deadline_us, true, NULL);
        return true;
}
