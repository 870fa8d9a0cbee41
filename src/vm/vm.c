#include "vm/machine.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* -- a machine and its definition ---------------------------------------------------------------- */

static char **strings_copy(const char *const *items, size_t n) {
        char **copy = xcalloc(n + 1, sizeof(*copy));

        for (size_t i = 0; i < n; i++)
                copy[i] = xstrdup(items[i]);
        return copy;
}

static void strings_free(const char *const *items, size_t n) {
        for (size_t i = 0; i < n; i++)
                free((char *) items[i]);
        free((void *) items);
}

static void definition_done(struct vm_definition *d) {
        free((char *) d->text);
        free((char *) d->file);
        free((char *) d->directory);
        strings_free(d->cdroms, d->n_cdroms);
        *d = (struct vm_definition){ 0 };
}

struct vm *vm_new(struct vm_env *env, const struct def_summary *summary) {
        struct vm *vm = xcalloc(1, sizeof(*vm));

        vm->env = env;
        vm->name = xstrdup(summary->name);
        vm->summary = *summary;
        vm->uid = (uid_t) -1;
        vm->process = PROCESS_INIT;
        vm->qmp_fd = vm->qmp_user_fd = vm->console_fd = -1;
        return vm;
}

bool vm_active(const struct vm *vm) {
        return vm->state == VM_STARTING || vm->state == VM_RUNNING || vm->state == VM_PAUSED ||
               vm->state == VM_STOPPING;
}

static bool is_off(const struct vm *vm) {
        return vm->state == VM_LOADED || vm->state == VM_STOPPED || vm->state == VM_FAILED;
}

int vm_define(struct vm *vm, const struct vm_definition *d, const struct def_summary *summary,
              struct error *err) {
        if (vm_active(vm) || vm->state == VM_PREPARED || vm->op.table)
                return error_set(err, -EBUSY, "%s is %s", vm->name, vm_state_name(vm->state));
        struct vm_definition copy = {
                .text = memcpy(xcalloc(d->len + 1, 1), d->text, d->len),
                .len = d->len,
                .file = xstrdup(d->file ? d->file : vm->name),
                .directory = xstrdup(d->directory),
                .cdroms = (const char *const *) strings_copy(d->cdroms, d->n_cdroms),
                .n_cdroms = d->n_cdroms,
        };
        definition_done(&vm->definition);
        vm->definition = copy;
        vm->summary = *summary;
        if (vm->state != VM_LOADED)
                vm_set_state(vm, VM_LOADED, NULL);
        return vm->saved && !vm->recorded ? 0 : record_write_definition(vm, err);
}

void vm_set_saved(struct vm *vm, bool saved) {
        vm->saved = saved;
}

int vm_note(struct vm *vm, struct error *err) {
        return record_write_definition(vm, err);
}

static void options_done(struct vm_start_options *o) {
        strings_free(o->cdroms, o->n_cdroms);
        *o = (struct vm_start_options){ 0 };
}

/* The daemon ends: whoever waits learns it. No operation is left that a pending reply could go on with. */
static void watches_refuse(struct vm *vm) {
        _cleanup_free_ char *message = xasprintf("vored ends; %s is left as it is", vm->name);
        struct vm_watch watch = vm->op.watch;

        vm->op.watch = (struct vm_watch){ 0 };
        watch_refuse(vm, &watch, VM_ERROR, "%s", message);
        end_refuse(vm, VM_ERROR, message);
        vm->op.table = NULL;
}

void vm_free(struct vm *vm) {
        if (!vm)
                return;
        vm_timer_off(vm);
        work_cancel(vm->work);
        detach_timer_off(vm);
        sd_event_source_disable_unref(vm->reconnect_timer);
        sd_event_source_disable_unref(vm->pidfd_source);
        sd_event_source_disable_unref(vm->report_source);
        sd_bus_slot_unref(vm->scope_slot);
        watches_refuse(vm);
        json_decref(vm->op.steps);
        json_decref(vm->op.faults);
        json_decref(vm->op.devices);
        free(vm->op.failure);
        vm->op = (struct operation){ 0 };
        qmp_free(TAKE_PTR(vm->qmp));
        qmp_free(TAKE_PTR(vm->people));
        console_free(vm);
        process_done(&vm->process);
        cleanup_closep(&vm->qmp_fd);
        cleanup_closep(&vm->qmp_user_fd);
        cleanup_closep(&vm->console_fd);
        journal_close(vm->journal);
        devices_free(vm);
        ports_free(vm);
        free(vm->attached);
        plan_free(vm->plan);
        json_decref(vm->disks);
        definition_done(&vm->definition);
        options_done(&vm->options);
        json_decref(vm->addresses);
        free(vm->reason);
        free(vm->ending_reason);
        free(vm->undo_note);
        free(vm->name);
        free(vm);
}

int vm_discard(struct vm *vm, struct error *err) {
        _cleanup_free_ char *dir = plan_runtime_dir(vm->env->settings, vm->name);

        if (vm_active(vm) || vm->state == VM_PREPARED || vm->op.table)
                return error_set(err, -EBUSY, "%s is %s", vm->name, vm_state_name(vm->state));
        if (vm->unwinding)
                return error_set(err, -EBUSY, "%s is just ending", vm->name);
        console_free(vm);
        memory_discard(vm);
        return file_remove_tree(AT_FDCWD, dir, err);
}

const char *vm_name(const struct vm *vm) {
        return vm->name;
}

enum vm_state vm_state(const struct vm *vm) {
        return vm->state;
}

const char *vm_reason(const struct vm *vm) {
        return vm->reason;
}

pid_t vm_pid(const struct vm *vm) {
        return vm->process.pid > 0 ? vm->process.pid : -1;
}

bool vm_saved(const struct vm *vm) {
        return vm->saved;
}

bool vm_auto_start(const struct vm *vm) {
        return vm->summary.auto_start;
}

bool vm_reserves(const struct vm *vm) {
        return vm->summary.reserves;
}

bool vm_has_device(const struct vm *vm, const char *address) {
        json_t *item;
        size_t i;

        json_array_foreach (vm->addresses, i, item) {
                if (str_eq(json_get_str(item, "address", ""), address))
                        return true;
        }
        return attached_find(vm, address) != NULL;
}

uint64_t vm_memory(const struct vm *vm) {
        return vm->summary.memory;
}

const char *vm_operation(const struct vm *vm, double *ret_age) {
        if (!vm->op.table)
                return NULL;
        *ret_age = (double) (clock_monotonic_us() - vm->op.began_us) / 1e6;
        return vm->op.name;
}

const struct vm_definition *vm_definition(const struct vm *vm) {
        return &vm->definition;
}

void vm_add_uses(const struct vm *vm, struct vm_uses *ret) {
        size_t n = json_array_size(vm->disks), n_devices = json_array_size(vm->addresses), i;
        json_t *item;

        ret->memory += vm->summary.memory;
        ret->disks = xrealloc(ret->disks, ret->n_disks + n + 1, sizeof(*ret->disks));
        json_array_foreach (vm->disks, i, item) {
                ret->disks[ret->n_disks++] =
                        (struct complete_use){ .vm = vm->name,
                                               .path = json_get_str(item, "path", ""),
                                               .read_only = json_get_bool(item, "read_only", false) };
        }
        ret->devices = xrealloc(ret->devices, ret->n_devices + n_devices + vm->n_attached + 1,
                                sizeof(*ret->devices));
        json_array_foreach (vm->addresses, i, item) {
                ret->devices[ret->n_devices++] =
                        (struct complete_device){ .vm = vm->name,
                                                  .address = json_get_str(item, "address", ""),
                                                  .iommu_group = (int) json_get_int(item, "group", -1) };
        }
        for (i = 0; i < vm->n_attached; i++)
                ret->devices[ret->n_devices++] =
                        (struct complete_device){ .vm = vm->name,
                                                  .address = vm->attached[i].address,
                                                  .iommu_group = vm->attached[i].iommu_group };
        access_add_uses(vm, ret);
}

void vm_uses_done(struct vm_uses *uses) {
        free(uses->disks);
        free(uses->devices);
        free(uses->accesses);
}

json_t *vm_to_json(const struct vm *vm) {
        json_t *j = json_object();

        json_put_str(j, "name", vm->name);
        json_put_str(j, "state", vm_state_name(vm->state));
        json_put_str(j, "reason", vm->reason);
        json_put(j, "pid", vm->process.pid > 0 ? json_integer(vm->process.pid) : NULL);
        json_put_int(j, "memory", (int64_t) vm->summary.memory);
        json_put_int(j, "vcpus", vm->summary.vcpus);
        json_put_bool(j, "auto_start", vm->summary.auto_start);
        json_put_bool(j, "saved", vm->saved);
        return j;
}

void vm_uses_request(const struct vm_uses *uses, struct plan_request *req) {
        req->uses = uses->disks;
        req->n_uses = uses->n_disks;
        req->device_uses = uses->devices;
        req->n_device_uses = uses->n_devices;
        req->memory_used = uses->memory;
}

uid_t vm_plan_uid(const struct vm_env *env) {
        return env->separate ? (uid_t) env->settings->qemu.uid_first : env->user;
}

void vm_plan_request(struct vm *vm, struct plan_request *ret) {
        static const struct vm_start_options none = { 0 };
        const struct vm_definition *d = &vm->definition;
        /* They were for that one start. */
        const struct vm_start_options *o = is_off(vm) ? &none : &vm->options;
        size_t n = d->n_cdroms + o->n_cdroms;
        const char **cdroms = xcalloc(n + 1, sizeof(*cdroms));
        struct vm_uses uses = { 0 };

        for (size_t i = 0; i < n; i++)
                cdroms[i] = i < d->n_cdroms ? d->cdroms[i] : o->cdroms[i - d->n_cdroms];
        *ret = (struct plan_request){ .text = d->text,
                                      .len = d->len,
                                      .file = d->file,
                                      .directory = d->directory,
                                      .cdroms = cdroms,
                                      .n_cdroms = n,
                                      .display = o->display,
                                      .settings = vm->env->settings,
                                      .uid = vm_plan_uid(vm->env) };
        if (vm->env->uses)
                vm->env->uses(vm, &uses, vm->env->data);
        vm_uses_request(&uses, ret);
        free(uses.accesses);
}

void vm_plan_request_done(struct plan_request *req) {
        free((void *) req->cdroms);
        free((void *) req->uses);
        free((void *) req->device_uses);
}

/* -- operations ----------------------------------------------------------------------------------- */

/* What a prepared machine was told counts for its start, with what comes now. */
static void options_take(struct vm *vm, const struct vm_start_options *o) {
        struct vm_start_options before = { 0 };

        if (vm->state == VM_PREPARED) {
                before = vm->options;
                vm->options = (struct vm_start_options){ 0 };
        }
        size_t n = before.n_cdroms + o->n_cdroms;
        const char **cdroms = xcalloc(n + 1, sizeof(*cdroms));

        for (size_t i = 0; i < n; i++)
                cdroms[i] = xstrdup(i < before.n_cdroms ? before.cdroms[i] : o->cdroms[i - before.n_cdroms]);
        options_done(&vm->options);
        vm->options = *o;
        vm->options.cdroms = cdroms;
        vm->options.n_cdroms = n;
        vm->options.display = o->display || before.display;
        options_done(&before);
}

static bool asks_for_more(const struct vm_start_options *o) {
        return o->n_cdroms > 0 || o->display;
}

void vm_start(struct vm *vm, const struct vm_start_options *o, const struct vm_watch *watch) {
        _cleanup_error_ struct error err = ERROR_INIT;

        if (!vm->op.table && !vm->ending && (vm->state == VM_RUNNING || vm->state == VM_PAUSED)) {
                watch_note(vm, watch,
                           asks_for_more(o) ? "it is running already, without what --cdrom or --display ask "
                                              "for now: they count for a start" :
                                              "it is running already");
                return;
        }
        if (!vm->op.table && vm->state == VM_PREPARED && o->prepare_only) {
                watch_note(vm, watch,
                           asks_for_more(o) ?
                                   "it is prepared already: give --cdrom and --display to vore start" :
                                   "it is prepared already");
                return;
        }
        if (vm->ending || vm->unwinding) {
                watch_refuse(vm, watch, VM_WRONG_STATE, "%s is just ending", vm->name);
                return;
        }
        if (!operation_begin(vm, &start_table, 0, o->prepare_only ? START_STEPS_PREPARE : START_STEP_COUNT,
                             o->prepare_only ? "prepare" : "start", watch))
                return;
        options_take(vm, o);
        vm_set_state(vm, VM_STARTING, NULL);
        if (!vm->recorded && record_write_definition(vm, &err) < 0) {
                start_fail(vm, error_text(&err));
                return;
        }
        step_advance(vm);
}

/* A start that is not done: it is given up. */
static void cancel_start(struct vm *vm, uint64_t deadline_us, const struct vm_watch *watch, bool stop) {
        vm_log_note(vm, "the start is cancelled");
        end_wait(vm, watch, deadline_us, stop);
        if (vm->process.pid > 0)
                guest_end_now(vm, VM_STOPPED, NULL);
        else
                vm_end(vm, VM_STOPPED, NULL);
}

/* QEMU has its time already; if that has passed in vain, it is tried again. */
static void await_end(struct vm *vm, uint64_t deadline_us, const struct vm_watch *watch) {
        end_wait(vm, watch, deadline_us, true);
        if (vm->process.pid > 0 && !vm->timer)
                guest_end_now(vm, vm->ending_state, vm->ending_reason);
}

void vm_stop(struct vm *vm, uint64_t timeout_us, bool force, const struct vm_watch *watch) {
        uint64_t deadline_us = clock_monotonic_us() + timeout_us;

        if (is_off(vm))
                watch_note(vm, watch, "it is not running");
        else if (vm->op.table == &start_table)
                cancel_start(vm, force ? 0 : deadline_us, watch, true);
        else if (vm->ending)
                await_end(vm, force ? 0 : deadline_us, watch);
        else if (vm->state == VM_PREPARED) {
                end_wait(vm, watch, 0, true);
                vm_end(vm, VM_STOPPED, NULL);
        } else if (vm->op.table == &stop_table)
                stop_join(vm, deadline_us, force, watch);
        else if (vm->op.table && force)
                stop_queue(vm, deadline_us, watch);
        else
                stop_begin(vm, deadline_us, force, watch);
}

void vm_kill(struct vm *vm, const struct vm_watch *watch) {
        if (is_off(vm)) {
                watch_note(vm, watch, "it is not running");
                return;
        }
        if (vm->op.table == &start_table) {
                cancel_start(vm, 0, watch, false);
                return;
        }
        end_wait(vm, watch, 0, false);
        if (vm->process.pid <= 0) {
                vm_end(vm, VM_STOPPED, NULL);
                return;
        }
        vm_log_note(vm, "kill");
        if (vm->ending)
                guest_end_now(vm, VM_STOPPED, NULL);
        else
                guest_end(vm, VM_STOPPED, NULL);
        /* After the end is noted: "stopping" alone would be a stop for the next vored. */
        if (vm->state != VM_STOPPING)
                vm_set_state(vm, VM_STOPPING, NULL);
}

/* -- one command, one answer ---------------------------------------------------------------------- */

struct shot {
        struct vm *vm;
        struct vm_watch watch;
        const char *command;
};

static void shot_answered(struct qmp *q, const json_t *reply, const struct error *err, void *data) {
        struct shot *shot = data;
        struct vm *vm = shot->vm;

        if (reply && !str_eq(shot->command, "system_reset"))
                guest_paused(vm, str_eq(shot->command, "stop"));
        if (reply)
                watch_note(vm, &shot->watch, NULL);
        else
                watch_refuse(vm, &shot->watch, VM_ERROR, "QEMU refused: %s", error_text(err));
        free(shot);
}

static void shoot(struct vm *vm, const char *command, const struct vm_watch *watch) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct shot *shot;

        if (vm->op.table || vm->ending) {
                double age = 0;
                const char *name = vm->op.table ? vm_operation(vm, &age) : "its end";
                watch_refuse(vm, watch, VM_WRONG_STATE, "%s is busy: %s for %.1f s", vm->name, name, age);
                return;
        }
        if (!vm->qmp_ready) {
                watch_refuse(vm, watch, VM_ERROR, "QEMU's monitor cannot be reached");
                return;
        }
        shot = xcalloc(1, sizeof(*shot));
        *shot = (struct shot){ vm, *watch, command };
        if (qmp_execute(vm->qmp, command, NULL, 10 * 1000, shot_answered, shot, &err) < 0) {
                free(shot);
                watch_refuse(vm, watch, VM_ERROR, "%s", error_text(&err));
        }
}

static bool runs(struct vm *vm, const struct vm_watch *watch) {
        if (vm->state == VM_RUNNING || vm->state == VM_PAUSED || vm->op.table)
                return true;
        watch_refuse(vm, watch, VM_WRONG_STATE, "%s is not running, it is %s", vm->name,
                     vm_state_name(vm->state));
        return false;
}

void vm_pause(struct vm *vm, const struct vm_watch *watch) {
        if (vm->state == VM_PAUSED && !vm->op.table)
                watch_note(vm, watch, "it is paused already");
        else if (runs(vm, watch))
                shoot(vm, "stop", watch);
}

void vm_resume(struct vm *vm, const struct vm_watch *watch) {
        if (vm->state == VM_RUNNING && !vm->op.table)
                watch_note(vm, watch, "it is running already");
        else if (runs(vm, watch))
                shoot(vm, "cont", watch);
}

void vm_reset(struct vm *vm, const struct vm_watch *watch) {
        if (runs(vm, watch))
                shoot(vm, "system_reset", watch);
}

void vm_steps(void (*fn)(const char *table, const char *step, void *data), void *data) {
        const struct step_table *tables[] = { &start_table, &stop_table, &attach_table, &detach_table };

        for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
                for (size_t k = 0; k < tables[i]->n; k++)
                        fn(tables[i]->name, tables[i]->steps[k].name, data);
        fn("start", "record", data);
        fn("start", "bind", data);
        fn("start", "memory-file", data);
        fn("attach", "record", data);
        fn("attach", "bind", data);
        fn("attach", "add", data);
        undo_steps(fn, data);
}
