#include "vm/machine.h"

#include "base/file.h"
#include "base/log.h"
#include "base/str.h"

void end_wait(struct vm *vm, const struct vm_watch *watch) {
        if (!watch || !watch->done)
                return;
        vm->waiters = xrealloc(vm->waiters, vm->n_waiters + 1, sizeof(*vm->waiters));
        vm->waiters[vm->n_waiters++] = *watch;
}

static void release_qemu(struct vm *vm) {
        vm_timer_off(vm);
        vm->claim_waits = false;
        detach_timer_off(vm);
        /* A device that is on its way back goes on there. */
        if (!vm->undo_kind) {
                work_cancel(vm->work);
                vm->work = NULL;
        }
        vm->pidfd_source = sd_event_source_disable_unref(vm->pidfd_source);
        vm->report_source = sd_event_source_disable_unref(vm->report_source);
        vm->scope_slot = sd_bus_slot_unref(vm->scope_slot);
        qmp_free(TAKE_PTR(vm->qmp));
        vm->qmp_ready = false;
        vm->qmp_losses = 0;
        vm->drained = 0;
        console_stop(vm);
        process_done(&vm->process);
        vm->process = PROCESS_INIT;
        cleanup_closep(&vm->qmp_fd);
        cleanup_closep(&vm->qmp_user_fd);
        cleanup_closep(&vm->console_fd);
}

static void release_start(struct vm *vm) {
        devices_free(vm);
        ports_free(vm);
        free(vm->attached);
        vm->attached = NULL;
        vm->n_attached = 0;
        vm->attached_known = false;
        plan_free(vm->plan);
        vm->plan = NULL;
        json_decref(vm->disks);
        vm->disks = NULL;
        json_decref(vm->addresses);
        vm->addresses = NULL;
        vm->has_console = false;
        vm->ending = false;
        free(vm->ending_reason);
        vm->ending_reason = NULL;
        vm->stop_deadline_us = 0;
        vm->stop_force = false;
        vm->boot_us = vm->pressed_us = 0;
        vm->ran = false;
}

static void waiters_answer(struct vm *vm) {
        struct vm_watch *waiters = TAKE_PTR(vm->waiters);
        size_t n = vm->n_waiters;
        struct vm_result result = { .outcome = VM_DONE, .note = vm->undo_note };

        vm->n_waiters = 0;
        for (size_t i = 0; i < n; i++)
                waiters[i].done(vm, &result, waiters[i].data);
        free(waiters);
}

static void operation_answer(struct vm *vm, enum vm_state state, const char *reason) {
        if (vm->op.table == &start_table) {
                enum vm_outcome outcome = vm->op.invalid ? VM_INVALID : VM_START_FAILED;
                operation_end(vm, outcome, state == VM_FAILED ? reason : "the start was cancelled", NULL);
        } else if (vm->op.table == &stop_table) {
                if (state == VM_FAILED) {
                        operation_end(vm, VM_ERROR, reason, NULL);
                        return;
                }
                while (vm->op.step < vm->op.last)
                        step_mark_done(vm);
                operation_end(vm, VM_DONE, NULL, vm->undo_note);
        } else if (vm->op.table) {
                _cleanup_free_ char *message =
                        xasprintf("%s ended meanwhile%s%s; its devices were given back", vm->name,
                                  state == VM_FAILED ? ": " : "", state == VM_FAILED ? reason : "");
                operation_end(vm, VM_ERROR, message, NULL);
        }
}

/* Noted before anything is undone, so that a restart of vored in between ends it in the same state. */
void vm_end(struct vm *vm, enum vm_state state, const char *reason) {
        char *why = reason ? xstrdup(reason) : NULL;

        if (vm->unwinding) {
                free(why);
                return;
        }
        release_qemu(vm);
        free(vm->ending_reason);
        vm->ending = vm->unwinding = true;
        vm->ending_state = state;
        vm->ending_reason = why;
        record_update(vm);
        vm_log_note(vm, "ended: %s%s%s", vm_state_name(state), why ? ": " : "", why ? why : "");
        undo_all(vm);
}

void end_finish(struct vm *vm) {
        _cleanup_free_ char *why = TAKE_PTR(vm->ending_reason);
        enum vm_state state = vm->ending_state;

        vm->unwinding = false;
        if (!vm->ending) {
                adoption_done(vm);
                return;
        }
        release_start(vm);
        vm_set_state(vm, state, why);
        adoption_done(vm);
        operation_answer(vm, state, why ? why : "unknown");
        waiters_answer(vm);
        free(TAKE_PTR(vm->undo_note));
}

void end_give_up(struct vm *vm, const char *message) {
        struct vm_watch *waiters = TAKE_PTR(vm->waiters);
        size_t n = vm->n_waiters;

        vm->n_waiters = 0;
        vm_warn(vm, "%s", message);
        operation_end(vm, VM_ERROR, message, NULL);
        for (size_t i = 0; i < n; i++)
                watch_refuse(vm, &waiters[i], VM_ERROR, "%s", message);
        free(waiters);
}
