/* Stop, row by row: the power button, the guest's time to react, the end of QEMU. */
#include "vm/machine.h"

#include "base/clock.h"
#include "base/str.h"

#include <errno.h>

enum { BOOT_US = 60 * 1000 * 1000 }; /* so long a guest may be deaf */

static void pressed(struct qmp *q, const json_t *reply, const struct error *err, void *data) {
        struct vm *vm = data;

        /* The guest may be off, or QEMU told to go, before the answer to the button comes. */
        if (vm->op.table != &stop_table || vm->op.step != STOP_STEP_POWERDOWN || vm->ending)
                return;
        /* A monitor that is lost says nothing of the guest: QEMU's end does, or its next connection, or the
         * deadline. */
        if (reply || err->code != -ECONNRESET)
                step_finish(vm, reply ? NULL : err);
}

/* A paused guest could not react: it is resumed. */
static int step_powerdown(struct vm *vm, struct error *err) {
        int r;

        if (!vm->qmp_ready)
                return error_set(err, -ENOTCONN, "QEMU's monitor cannot be reached: vore kill %s ends it",
                                 vm->name);
        r = qmp_execute(vm->qmp, "cont", NULL, 0, NULL, NULL, err);
        if (r >= 0)
                r = qmp_execute(vm->qmp, "system_powerdown", NULL, 0, pressed, vm, err);
        vm->pressed_us = clock_monotonic_us();
        return r < 0 ? r : 1;
}

/* A button that nobody listens to is lost. It is not pressed again without being asked for: there are guests
 * that take the second time as the revocation of the first. */
static char *ignored(const struct vm *vm) {
        uint64_t age = vm->boot_us ? vm->pressed_us - vm->boot_us : UINT64_MAX;

        if (age > BOOT_US)
                return xstrdup("the guest did not react to the power button");
        return xasprintf("the guest did not react to the power button, which was pressed %.1f s after it "
                         "began to boot, "
                         "perhaps before it listened; again: vore stop %s; end it: vore kill %s",
                         (double) age / 1e6, vm->name, vm->name);
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

                vm->op.step = STOP_STEP_WAIT;
                stop_fail(vm, reason);
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

static const struct step steps[STOP_STEP_COUNT] = {
        [STOP_STEP_POWERDOWN] = { "powerdown", step_powerdown },
        [STOP_STEP_WAIT] = { "wait", step_wait },
        [STOP_STEP_EXIT] = { "exit", step_exit },
};

const struct step_table stop_table = { "stop", steps, STOP_STEP_COUNT, NULL, stop_fail };

void stop_fail(struct vm *vm, const char *reason) {
        bool timeout = vm->op.step == STOP_STEP_WAIT;

        vm_timer_off(vm);
        vm_log_note(vm, "not stopped: %s", reason);
        vm->stop_deadline_us = 0;
        vm_set_state(vm, vm->paused ? VM_PAUSED : VM_RUNNING, NULL);
        operation_end(vm, timeout ? VM_STOP_TIMEOUT : VM_ERROR, reason, NULL);
}
