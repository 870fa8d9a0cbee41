/* Detach, row by row: QEMU asks the guest to let go, the guest does or does not, the device goes back to the
 * host. The same steps undo an attach that failed, and finish what the guest or another daemon left half
 * done. */
#include "vm/machine.h"

#include "base/clock.h"
#include "base/str.h"

#include <errno.h>

/* UNWIND: what nobody waits for on purpose; a guest that knows hot-plug lets go at once of what it never
 * used. */
enum { ANSWER_TIMEOUT_MS = 30 * 1000, UNWIND_TIMEOUT_US = 10 * 1000 * 1000 };

void detach_timer_off(struct vm *vm) {
        vm->detach_timer = sd_event_source_disable_unref(vm->detach_timer);
}

/* -- unplug: the request, which QEMU hands on to the guest ---------------------------------------------- */

struct request {
        struct vm *vm;
        uint64_t operation; /* when it began: replies may come after its end */
        char id[ATTACHED_ID_MAX];
};

static bool detaching(const struct vm *vm, size_t step) {
        return vm->op.table == &detach_table && vm->op.step == step && !vm->ending;
}

static struct vm_attached *find_id(const struct vm *vm, const char *id) {
        for (size_t i = 0; i < vm->n_attached; i++) {
                char own[ATTACHED_ID_MAX];

                attached_id(&vm->attached[i], own);
                if (str_eq(own, id))
                        return &vm->attached[i];
        }
        return NULL;
}

/* Does this error say that there is nothing to ask for? QEMU has no class of its own for either. */
static bool request_fine(struct vm *vm, const char *id, const struct error *err) {
        struct vm_attached *device = find_id(vm, id);

        if (strstr(error_text(err), "in the process of unplug"))
                return true;
        if (!strstr(error_text(err), "not found"))
                return false;
        if (device)
                device->there = false;
        return true;
}

static void asked(struct qmp *q, const json_t *reply, const struct error *err, void *data) {
        _cleanup_free_ struct request *request = data;
        struct vm *vm = request->vm;
        _cleanup_error_ struct error failed = ERROR_INIT;

        if (!detaching(vm, DETACH_STEP_UNPLUG) || vm->op.began_us != request->operation ||
            (err && err->code == -ECONNRESET))
                return;
        vm->op.waiting--;
        if (!reply && !request_fine(vm, request->id, err)) {
                error_set(&failed, err->code, "QEMU does not remove it: %s", error_text(err));
                step_finish(vm, &failed);
        } else if (vm->op.waiting == 0)
                step_finish(vm, NULL);
}

/* With function 0 all of its slot go. */
static bool goes_with_another(const struct vm *vm, const struct vm_attached *device) {
        for (size_t i = 0; i < vm->n_attached; i++) {
                const struct vm_attached *other = &vm->attached[i];

                if (other != device && other->unit == device->unit && other->there && other->function == 0 &&
                    str_eq(other->port, device->port))
                        return true;
        }
        return false;
}

static int ask(struct vm *vm, const struct vm_attached *device, struct error *err) {
        struct request *request = xcalloc(1, sizeof(*request));

        *request = (struct request){ .vm = vm, .operation = vm->op.began_us };
        attached_id(device, request->id);
        int r = qmp_execute(vm->qmp, "device_del", json_pack("{s:s}", "id", request->id), ANSWER_TIMEOUT_MS,
                            asked, request, err);
        if (r < 0)
                free(request);
        else
                vm->op.waiting++;
        return r;
}

static int step_unplug(struct vm *vm, struct error *err) {
        int r = 0;

        vm->op.waiting = 0;
        if (vm->attached_known && attached_there(vm, vm->op.unit) == 0)
                return 0;
        if (!vm->qmp_ready || !vm->attached_known)
                return error_set(err, -ENOTCONN,
                                 "QEMU's monitor cannot be reached: vore kill %s ends it and gives all "
                                 "devices back",
                                 vm->name);
        for (size_t i = 0; r >= 0 && i < vm->n_attached; i++) {
                const struct vm_attached *device = &vm->attached[i];

                if (device->unit == vm->op.unit && device->there && !goes_with_another(vm, device))
                        r = ask(vm, device, err);
        }
        return r < 0 ? r : 1;
}

/* -- wait: until the guest has let go of all ------------------------------------------------------------- */

static const char *first_address(const struct vm *vm) {
        return json_string_value(json_array_get(vm->op.devices, 0));
}

static int guest_keeps(sd_event_source *source, uint64_t now, void *data) {
        struct vm *vm = data;
        _cleanup_free_ char *words = attached_words(vm, vm->op.unit);
        _cleanup_error_ struct error err = ERROR_INIT;

        detach_timer_off(vm);
        if (!detaching(vm, DETACH_STEP_WAIT))
                return 0;
        vm->op.timed_out = true;
        error_set(&err, -ETIMEDOUT,
                  "the guest did not let go of %s within %g s and keeps it: the guest must know PCI "
                  "hot-plug, and nothing in it may use the device any more. vore detach %s %s asks again; "
                  "vore reset %s resets the guest and takes it away; and should the guest let go later, it "
                  "is given back then",
                  words, (double) vm->op.timeout_us / 1e6, first_address(vm), vm->name, vm->name);
        step_finish(vm, &err);
        return 0;
}

static int step_wait(struct vm *vm, struct error *err) {
        detach_timer_off(vm);
        if (attached_there(vm, vm->op.unit) == 0)
                return 0;
        if (vm->op.deadline_us == 0)
                vm->op.deadline_us = clock_monotonic_us() + vm->op.timeout_us;
        int r = sd_event_add_time(vm->env->loop, &vm->detach_timer, CLOCK_MONOTONIC, vm->op.deadline_us, 1000,
                                  guest_keeps, vm);
        return r < 0 ? error_errno(err, r, "cannot set a timer") : 1;
}

void detach_device_gone(struct vm *vm, const char *id) {
        struct vm_attached *device = find_id(vm, id);

        if (!device)
                return;
        device->there = false;
        if (!vm->op.table)
                (void) hotplug_settle(vm);
        else if (detaching(vm, DETACH_STEP_WAIT) && attached_there(vm, vm->op.unit) == 0) {
                detach_timer_off(vm);
                step_finish(vm, NULL);
        }
}

void detach_device_refused(struct vm *vm, const char *id) {
        const struct vm_attached *device = find_id(vm, id);
        _cleanup_error_ struct error err = ERROR_INIT;

        if (!device)
                return;
        if (!(detaching(vm, DETACH_STEP_UNPLUG) || detaching(vm, DETACH_STEP_WAIT)) ||
            device->unit != vm->op.unit) {
                vm_warn(vm, "the guest refuses to let go of %s", device->address);
                return;
        }
        detach_timer_off(vm);
        error_set(&err, -EBUSY,
                  "the guest refuses to let go of %s and keeps it: something in it still uses the device. "
                  "vore detach %s %s asks again",
                  device->address, device->address, vm->name);
        step_finish(vm, &err);
}

/* -- return: to the host, by the journal --------------------------------------------------------------------
 */

static int step_return(struct vm *vm, struct error *err) {
        return undo_unit(vm, vm->op.unit);
}

static void detach_complete(struct vm *vm) {
        _cleanup_free_ char *words = attached_words(vm, vm->op.unit);

        attached_remove(vm, vm->op.unit);
        record_update(vm);
        vm_log_note(vm, "detached: %s", words);
        vm_event(vm, "detached", json_pack("{s:O}", "devices", vm->op.devices));
        if (vm->op.failure && vm->undo_note) {
                char *both = xasprintf("%s; %s", vm->op.failure, vm->undo_note);
                free(vm->op.failure);
                vm->op.failure = both;
        }
}

/* What QEMU may still have is the guest's, until it lets go. */
static void detach_failed(struct vm *vm, const char *reason) {
        _cleanup_free_ char *both =
                vm->op.failure ? xasprintf("%s; and then: %s", vm->op.failure, reason) : NULL;
        enum vm_outcome outcome = vm->op.timed_out && !both ? VM_DETACH_TIMEOUT : VM_ERROR;

        detach_timer_off(vm);
        vm_log_note(vm, "not detached: %s", reason);
        if (!vm->op.watch.done)
                vm_warn(vm, "%s", reason);
        attached_set_complete(vm, vm->op.unit);
        operation_end(vm, outcome, both ? both : reason, NULL);
}

static const struct step steps[DETACH_STEP_COUNT] = {
        [DETACH_STEP_UNPLUG] = { "unplug", step_unplug },
        [DETACH_STEP_WAIT] = { "wait", step_wait },
        [DETACH_STEP_RETURN] = { "return", step_return },
};

const struct step_table detach_table = { "detach", steps, DETACH_STEP_COUNT, detach_complete, detach_failed };

void detach_unwind(struct vm *vm, const char *reason) {
        struct operation *op = &vm->op;

        op->failure = xstrdup(reason);
        op->table = &detach_table;
        op->step = 0;
        op->last = DETACH_STEP_COUNT;
        op->timeout_us = UNWIND_TIMEOUT_US;
        step_advance(vm);
}

/* -- a person's wish
 * ------------------------------------------------------------------------------------------- */

static bool of_definition(const struct vm *vm, const char *address) {
        size_t i;
        json_t *item;

        json_array_foreach (vm->addresses, i, item)
                if (str_eq(json_get_str(item, "address", NULL), address))
                        return true;
        return false;
}

static void refuse_unknown(struct vm *vm, const char *address, const struct vm_watch *watch) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

        if (of_definition(vm, address)) {
                watch_refuse(vm, watch, VM_ERROR,
                             "%s is a device of %s's definition and stays with it until its end (vore "
                             "stop %s)",
                             address, vm->name, vm->name);
                return;
        }
        for (size_t i = 0; i < vm->n_attached; i++)
                strbuf_addf(&b, "%s%s", i ? ", " : "", vm->attached[i].address);
        watch_refuse(vm, watch, VM_ERROR, "%s is not attached to %s; attached %s: %s", address, vm->name,
                     vm->n_attached == 1 ? "is" : "are", b.data ? b.data : "none");
}

void vm_detach(struct vm *vm, const char *address, uint64_t timeout_us, const struct vm_watch *watch) {
        const struct vm_attached *device = attached_find(vm, address);
        bool busy = vm->op.table;

        if (!busy && (vm->ending || (vm->state != VM_RUNNING && vm->state != VM_PAUSED))) {
                watch_refuse(vm, watch, VM_WRONG_STATE, "%s is %s", vm->name,
                             vm->ending ? "just ending" : vm_state_name(vm->state));
                return;
        }
        if (!busy && !device) {
                refuse_unknown(vm, address, watch);
                return;
        }
        if (!busy && vm->state == VM_PAUSED) {
                watch_refuse(vm, watch, VM_WRONG_STATE, "%s is paused, so its guest cannot let go of %s",
                             vm->name, address);
                return;
        }
        if (!operation_begin(vm, &detach_table, 0, DETACH_STEP_COUNT, "detach", watch))
                return;
        vm->op.unit = device->unit;
        vm->op.devices = attached_addresses(vm, device->unit);
        vm->op.timeout_us = timeout_us;
        vm_log_note(vm, "detach %s", address);
        step_advance(vm);
}

/* -- what is left half done
 * ------------------------------------------------------------------------------------- */

static void settle(struct vm *vm, unsigned unit, bool there) {
        _cleanup_free_ char *words = attached_words(vm, unit);

        if (!operation_begin(vm, &detach_table, there ? DETACH_STEP_UNPLUG : DETACH_STEP_RETURN,
                             DETACH_STEP_COUNT, "detach", NULL))
                return;
        vm->op.unit = unit;
        vm->op.devices = attached_addresses(vm, unit);
        vm->op.timeout_us = UNWIND_TIMEOUT_US;
        vm_log_note(vm, "%s: %s", words,
                    there ? "its attach was cut off" : "the guest does not have it any more");
        step_advance(vm);
}

bool hotplug_settle(struct vm *vm) {
        if (vm->op.table || vm->ending || vm->unwinding || !vm->attached_known ||
            (vm->state != VM_RUNNING && vm->state != VM_PAUSED))
                return false;
        for (size_t i = 0; i < vm->n_attached; i++) {
                const struct vm_attached *device = &vm->attached[i];
                size_t there = attached_there(vm, device->unit);

                if (device->complete && there > 0)
                        continue;
                if (there == attached_count(vm, device->unit)) {
                        attached_set_complete(vm, device->unit);
                        continue;
                }
                settle(vm, device->unit, there > 0);
                return true;
        }
        return false;
}

/* A step that talks to QEMU, or waits for what it says. */
static bool of_monitor(const struct vm *vm) {
        const struct operation *op = &vm->op;

        return (op->table == &attach_table &&
                (op->step == ATTACH_STEP_PORT || op->step == ATTACH_STEP_PLUG)) ||
               (op->table == &detach_table &&
                (op->step == DETACH_STEP_UNPLUG || op->step == DETACH_STEP_WAIT));
}

void hotplug_resume(struct vm *vm) {
        _cleanup_error_ struct error err = ERROR_INIT;

        if (of_monitor(vm)) {
                int r = vm->op.table->steps[vm->op.step].run(vm, &err);

                if (r <= 0)
                        step_finish(vm, r < 0 ? &err : NULL);
        } else if (!hotplug_settle(vm))
                adoption_done(vm);
}

void hotplug_lost(struct vm *vm, const struct error *err) {
        _cleanup_error_ struct error failed = ERROR_INIT;

        if (!of_monitor(vm))
                return;
        error_set(&failed, -ENOTCONN, "QEMU's monitor was lost: %s; %s runs on", error_text(err), vm->name);
        step_finish(vm, &failed);
}
