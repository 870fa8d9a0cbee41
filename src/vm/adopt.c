/* After any end of vored: what the run-time folder tells, compared with what is there. */
#include "vm/machine.h"

#include "base/file.h"
#include "base/log.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>

static void adopt_running(struct vm *vm) {
        _cleanup_error_ struct error err = ERROR_INIT;

        if (console_start(vm, false, &err) < 0)
                vm_warn(vm, "no console: %s", error_text(&err));
        error_done(&err);
        /* Of one that is on its way out the pidfd tells the end. */
        if (guest_connect(vm, &err) < 0 && !process_dying(vm->process.pid)) {
                vm_warn(vm, "its QEMU cannot be reached: %s; it runs on, kill works", error_text(&err));
                adoption_done(vm);
        }
}

/* Goes on in the step that was cut off: pressing the button or continuing twice does no harm. */
static void adopt_process(struct vm *vm) {
        if (vm->ending) {
                guest_end_adopted(vm);
                adopt_running(vm);
        } else if (vm->state == VM_STARTING &&
                   operation_begin(vm, &start_table, START_STEP_CONNECT, START_STEP_COUNT, "start", NULL))
                step_advance(vm);
        else if (vm->state == VM_STOPPING &&
                 operation_begin(vm, &stop_table, 0, STOP_STEP_COUNT, "stop", NULL)) {
                (void) stop_arm(vm, NULL);
                adopt_running(vm);
        } else
                adopt_running(vm);
}

static void adopt_without_process(struct vm *vm) {
        if (vm->state == VM_PREPARED && !vm->ending) {
                adoption_done(vm);
                return;
        }
        if (!vm_active(vm) && vm->state != VM_PREPARED) {
                /* Nothing is to be ended; leftovers are given back all the same. */
                vm->ending = false;
                vm->unwinding = true;
                undo_all(vm);
                return;
        }
        if (vm->ending) {
                _cleanup_free_ char *reason = TAKE_PTR(vm->ending_reason);
                vm_end(vm, vm->ending_state, reason);
                return;
        }
        if (vm->state == VM_STARTING) {
                vm_end(vm, VM_FAILED, START_CUT_OFF);
                return;
        }
        _cleanup_free_ char *reason = guest_away_reason(vm);
        vm_end(vm, VM_FAILED, reason);
}

/* Is the process there? One that has ended may still wait for its parent, and its pidfd then opens all the
 * same. */
static bool process_alive(struct vm *vm, pid_t pid, uint64_t start_time) {
        if (pid <= 0 || process_open(pid, start_time, &vm->process.pidfd, NULL) < 0)
                return false;
        struct pollfd p = { .fd = vm->process.pidfd, .events = POLLIN };
        if (poll(&p, 1, 0) == 0)
                return true;
        cleanup_closep(&vm->process.pidfd);
        return false;
}

int vm_adopt(struct vm_env *env, const char *name, void (*done)(struct vm *vm, void *data), void *data,
             struct vm **ret, struct error *err) {
        _cleanup_free_ char *dir = plan_runtime_dir(env->settings, name);
        uint64_t start_time = 0;
        struct vm *vm = NULL;
        pid_t pid = -1;
        int r = record_read(env, name, &vm, &pid, &start_time, err);

        if (r == -ESTALE) {
                (void) file_remove_tree(AT_FDCWD, dir, NULL);
                return -ENOENT;
        }
        if (r < 0)
                return r;
        vm->adopted = done;
        vm->adopted_data = data;
        *ret = vm;
        if (vm_active(vm))
                (void) undo_open(vm, NULL);
        if (vm_active(vm) && process_alive(vm, pid, start_time)) {
                vm->process.pid = pid;
                vm->process.start_time = start_time;
                r = guest_watch_process(vm, err);
                if (r >= 0)
                        adopt_process(vm);
                else
                        adoption_done(vm);
        } else
                adopt_without_process(vm);
        return 0;
}
