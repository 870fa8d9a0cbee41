#include "vm/machine.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"

/* -- whoever waits ------------------------------------------------------------------------------ */

static void waiter_free(struct vm_waiter *w) {
        sd_event_source_disable_unref(w->timer);
        free(w);
}

static void waiter_remove(struct vm *vm, struct vm_waiter *w) {
        struct vm_waiter **at = &vm->waiters;

        while (*at != w)
                at = &(*at)->next;
        *at = w->next;
        vm->n_waiters--;
}

/* What comes once QEMU is gone has deadlines of its own, and is not cut short by this one. */
static int waited_enough(sd_event_source *source, uint64_t now, void *data) {
        struct vm_waiter *w = data;
        struct vm *vm = w->vm;

        w->timer = sd_event_source_disable_unref(w->timer);
        if (vm->process.pid <= 0)
                return 0;
        waiter_remove(vm, w);
        if (vm->ending)
                watch_refuse(vm, &w->watch, VM_STOP_TIMEOUT,
                             "QEMU (process %d) was told to end and has not yet", vm->process.pid);
        else
                watch_refuse(vm, &w->watch, VM_STOP_TIMEOUT,
                             "the guest has not reacted to the power button yet; another stop waits on");
        waiter_free(w);
        return 0;
}

void end_wait(struct vm *vm, const struct vm_watch *watch, uint64_t deadline_us, bool stop) {
        struct vm_waiter *w, **at = &vm->waiters;

        if (!watch || !watch->done)
                return;
        if (vm->n_waiters >= WAITERS_MAX) {
                watch_refuse(vm, watch, VM_WRONG_STATE, "%zu others wait for the end of %s already",
                             vm->n_waiters, vm->name);
                return;
        }
        while (*at)
                at = &(*at)->next;
        w = *at = xcalloc(1, sizeof(*w));
        *w = (struct vm_waiter){ .vm = vm, .watch = *watch, .since_us = clock_monotonic_us(), .stop = stop };
        vm->n_waiters++;
        if (deadline_us)
                (void) sd_event_add_time(vm->env->loop, &w->timer, CLOCK_MONOTONIC, deadline_us, 1000,
                                         waited_enough, w);
}

/* The answer to one may bring the next: those that are there now. failed (NULL: it is not) is the reason of
 * an end that no stop wanted. */
static void waiters_answer(struct vm *vm, struct vm_result result, const char *failed) {
        struct vm_waiter *w = TAKE_PTR(vm->waiters), *next;

        vm->n_waiters = 0;
        for (; w; w = next) {
                next = w->next;
                result.seconds = (double) (clock_monotonic_us() - w->since_us) / 1e6;
                if (w->stop && failed)
                        watch_refuse(vm, &w->watch, VM_ERROR, "%s", failed);
                else
                        w->watch.done(vm, &result, w->watch.data);
                waiter_free(w);
        }
}

void end_refuse(struct vm *vm, enum vm_outcome outcome, const char *message) {
        waiters_answer(vm, (struct vm_result){ .outcome = outcome, .message = message }, NULL);
}

/* -- the end ------------------------------------------------------------------------------------ */

static void release_qemu(struct vm *vm) {
        vm_timer_off(vm);
        vm->claim_waits = false;
        detach_timer_off(vm);
        vm->reconnect_timer = sd_event_source_disable_unref(vm->reconnect_timer);
        /* A device that is on its way back goes on there. */
        if (!vm->undo_kind) {
                work_cancel(vm->work);
                vm->work = NULL;
        }
        vm->pidfd_source = sd_event_source_disable_unref(vm->pidfd_source);
        vm->report_source = sd_event_source_disable_unref(vm->report_source);
        vm->scope_slot = sd_bus_slot_unref(vm->scope_slot);
        qmp_free(TAKE_PTR(vm->qmp));
        /* One with commands under way still has their answers, and then its end. */
        guest_leave_people(vm);
        vm->qmp_ready = false;
        vm->qmp_losses = 0;
        vm->drained = 0;
        vm->killed = false;
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
        vm->stop_deadline_us = vm->next_stop_us = 0;
        vm->stop_force = false;
        vm->boot_us = vm->pressed_us = 0;
        vm->ran = vm->paused = false;
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
        waiters_answer(vm, (struct vm_result){ .outcome = VM_DONE, .note = vm->undo_note },
                       state == VM_FAILED ? why ? why : "unknown" : NULL);
        free(TAKE_PTR(vm->undo_note));
}

void end_give_up(struct vm *vm, const char *message) {
        vm_warn(vm, "%s", message);
        operation_end(vm, VM_ERROR, message, NULL);
        end_refuse(vm, VM_ERROR, message);
}
