#include "vm/machine.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <unistd.h>

void vm_test_kill(const char *table, const char *step, const char *when) {
        test_kill(table, step, when);
}

void test_kill(const char *table, const char *step, const char *when) {
#ifdef VORE_TEST_HOOKS
        const char *wanted = getenv("VORE_TEST_KILL");
        _cleanup_free_ char *here = NULL;

        if (!wanted)
                return;
        here = xasprintf("%s:%s:%s", table, step, when);
        if (str_eq(wanted, here))
                kill(getpid(), SIGKILL);
#endif
}

static double seconds_since(uint64_t us) {
        return (double) (clock_monotonic_us() - us) / 1e6;
}

static void step_report(struct vm *vm, const char *name, double seconds) {
        if (vm->op.watch.step)
                vm->op.watch.step(vm, name, seconds, vm->op.watch.data);
        vm_event(vm, "step",
                 json_pack("{s:s, s:s, s:o}", "operation", vm->op.name, "name", name, "seconds",
                           seconds < 0 ? json_null() : json_real(seconds)));
}

bool operation_begin(struct vm *vm, const struct step_table *table, size_t first, size_t last,
                     const char *name, const struct vm_watch *watch) {
        double age;

        if (vm->op.table) {
                vm_operation(vm, &age);
                watch_refuse(vm, watch, VM_WRONG_STATE, "%s is busy: %s for %.1f s", vm->name, vm->op.name,
                             age);
                return false;
        }
        vm->op = (struct operation){
                .table = table,
                .name = name,
                .watch = watch ? *watch : (struct vm_watch){ 0 },
                .began_us = clock_monotonic_us(),
                .step_began_us = clock_monotonic_us(),
                .step = first,
                .last = last,
                .steps = json_array(),
        };
        return true;
}

void step_mark_done(struct vm *vm) {
        struct operation *op = &vm->op;
        const char *name = op->table->steps[op->step].name;
        double seconds = seconds_since(op->step_began_us);

        test_kill(op->table->name, name, "after");
        json_push(op->steps, json_pack("{s:s, s:f}", "name", name, "seconds", seconds));
        step_report(vm, name, seconds);
        op->step++;
}

static void step_failed(struct vm *vm, const struct error *err) {
        vm->op.table->failed(vm, error_text(err));
}

/* Runs steps until one goes on later. A step may end the operation from inside. */
void step_advance(struct vm *vm) {
        struct operation *op = &vm->op;

        if (op->advancing)
                return;
        op->advancing = true;
        while (op->table && op->step < op->last) {
                const struct step_table *table = op->table;
                const struct step *step = &table->steps[op->step];
                _cleanup_error_ struct error err = ERROR_INIT;

                op->step_began_us = clock_monotonic_us();
                step_report(vm, step->name, -1);
                test_kill(table->name, step->name, "before");
                int r = step->run(vm, &err);
                if (op->table != table)
                        break;
                if (r < 0) {
                        op->advancing = false;
                        step_failed(vm, &err);
                        return;
                }
                if (r > 0)
                        break;
                step_mark_done(vm);
        }
        op->advancing = false;
        if (op->table && op->step >= op->last) {
                if (op->table->complete)
                        op->table->complete(vm);
                _cleanup_free_ char *note = TAKE_PTR(vm->undo_note);
                operation_end(vm, op->failure ? VM_ERROR : VM_DONE, op->failure, note);
        }
}

void step_finish(struct vm *vm, const struct error *err) {
        if (!vm->op.table)
                return;
        /* QEMU was told to go: the machine's end undoes and answers what was under way. */
        if (vm->ending && (vm->op.table == &attach_table || vm->op.table == &detach_table ||
                           (vm->op.table == &start_table && vm->process.pid > 0)))
                return;
        if (err && err->code) {
                step_failed(vm, err);
                return;
        }
        step_mark_done(vm);
        step_advance(vm);
}

void operation_end(struct vm *vm, enum vm_outcome outcome, const char *message, const char *note) {
        struct operation op = vm->op;
        struct vm_result result = { .outcome = outcome,
                                    .message = message,
                                    .note = note,
                                    .faults = op.faults,
                                    .steps = op.steps,
                                    .devices = op.devices,
                                    .seconds = seconds_since(op.began_us) };

        if (!op.table)
                return;
        vm->op = (struct operation){ 0 };
        if (outcome == VM_DONE && op.table == &start_table)
                vm_log_note(vm, "%s done in %.0f ms", op.name, result.seconds * 1000);
        if (op.watch.done)
                op.watch.done(vm, &result, op.watch.data);
        json_decref(op.steps);
        json_decref(op.faults);
        json_decref(op.devices);
        free(op.failure);
        if (stop_next(vm) || hotplug_settle(vm))
                return;
        adoption_done(vm);
        if (vm->env->idle)
                vm->env->idle(vm, vm->env->data);
}

void watch_refuse(struct vm *vm, const struct vm_watch *watch, enum vm_outcome outcome, const char *fmt,
                  ...) {
        _cleanup_free_ char *text = NULL;
        va_list ap;

        va_start(ap, fmt);
        if (vasprintf(&text, fmt, ap) < 0)
                log_oom();
        va_end(ap);
        if (watch && watch->done)
                watch->done(vm, &(struct vm_result){ .outcome = outcome, .message = text }, watch->data);
}

void watch_note(struct vm *vm, const struct vm_watch *watch, const char *note) {
        if (watch && watch->done)
                watch->done(vm, &(struct vm_result){ .outcome = VM_DONE, .note = note }, watch->data);
}
