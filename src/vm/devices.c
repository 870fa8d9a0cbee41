/* The devices of a machine: from their host drivers to vfio-pci before QEMU, and back after it. One worker
 * per device and direction, so that one that never returns has a name and costs nothing else. The journal
 * knows a device's original state before the first write. */
#include "vm/machine.h"

#include "base/log.h"
#include "base/str.h"
#include "vfio/group.h"
#include "vfio/job.h"
#include "vfio/kept.h"
#include "vfio/stuck.h"

#include <errno.h>

enum { LOOK_DEADLINE_MS = 10 * 1000 };

/* What is being claimed or given back. */
struct vm_devices {
        struct vfio_device *found; /* as they were looked at, in the plan's order */
        size_t n, next;
        struct vfio_look_at *at; /* while they are looked at */
        struct vfio_job *job;
        struct vfio_original original; /* of the job */
        bool noted;                    /* the journal's last entry is about it */
        bool again;  /* for the second time: its way back, or a look because the host had changed it */
        bool forget; /* it is not kept any more when the job is done */
};

static struct vm_devices *devices_of(struct vm *vm) {
        if (!vm->devices)
                vm->devices = xcalloc(1, sizeof(*vm->devices));
        return vm->devices;
}

void devices_free(struct vm *vm) {
        if (!vm->devices)
                return;
        vfio_job_free(vm->devices->job);
        vfio_look_at_free(vm->devices->at);
        free(vm->devices->found);
        free(vm->devices);
        vm->devices = NULL;
}

static const char *runtime_dir(const struct vm *vm) {
        return vm->env->settings->vore.runtime_dir;
}

static int job_start(struct vm *vm, const char *name, const struct vfio_original *original,
                     const struct vfio_claim *claim, work_fn fn, work_done_fn done, struct error *err) {
        struct vm_devices *d = devices_of(vm);
        unsigned deadline_ms = (unsigned) vm->env->settings->vfio.timeout * 1000;

        vfio_job_free(d->job);
        d->job = vfio_job_new(NULL, original, claim);
        d->original = *original;
        int r = work_start(vm->env->loop, name, deadline_ms, fn, d->job, done, vm, &vm->work, err);
        return r < 0 ? r : 1;
}

/* How a job ended: an error for ret, or nothing. A worker that came to no end makes a sentence and, if it
 * does not even die, a note that keeps everybody off the device until the host restarts. */
static void job_result(struct vm *vm, const json_t *result, const struct error *err, pid_t stuck,
                       struct error *ret) {
        _cleanup_free_ char *sentence = NULL;
        _cleanup_error_ struct error failed = ERROR_INIT;

        vm->work = NULL;
        if (result)
                return;
        if (err->code != -ETIME) {
                error_set(ret, err->code, "%s", error_text(err));
                return;
        }
        sentence = vfio_job_stuck(vm->devices->job);
        if (stuck && vfio_stuck_add(runtime_dir(vm), vm->devices->original.address, sentence, &failed) < 0)
                log_warning("%s: %s", vm->name, error_text(&failed));
        error_set(ret, -ETIMEDOUT, "%s", sentence);
}

/* -- claiming ------------------------------------------------------------------------------------- */

static int claim_next(struct vm *vm, struct error *err);
static int look(struct vm *vm, struct error *err);

/* The host changed the device between look and bind, and nothing was done: there is nothing to give back
 * either. While a host starts it may only have got its driver: true if it is looked at once more. */
static bool changed(struct vm *vm) {
        struct vm_devices *d = vm->devices;

        if (d->noted)
                undo_drop(vm);
        if (d->again || vm->ending)
                return false;
        d->again = true;
        return look(vm, NULL) > 0;
}

static void claimed(const json_t *result, const struct error *err, pid_t stuck, void *data) {
        struct vm *vm = data;
        _cleanup_error_ struct error failed = ERROR_INIT;
        int r;

        job_result(vm, result, err, stuck, &failed);
        /* Whoever asked was told already that QEMU cannot be killed; the journal has the device. */
        if (!vm->op.table)
                return;
        if (!result) {
                if (failed.code != -ESTALE || !changed(vm))
                        step_finish(vm, &failed);
                return;
        }
        test_kill(vm->op.table->name, "bind", "after");
        /* Nothing more is taken for a machine that ends. */
        if (vm->ending)
                return;
        vm->devices->next++;
        vm->devices->again = false;
        r = claim_next(vm, &failed);
        if (r <= 0)
                step_finish(vm, r < 0 ? &failed : NULL);
}

struct journalled {
        const struct vfio_original *device;
        bool found;
};

static int compare_entry(uint64_t id, const char *kind, const json_t *args, void *data) {
        struct journalled *j = data;
        struct vfio_original o;

        if (str_eq(kind, "device") &&
            vfio_original_from_json(json_object_get(args, "original"), &o, NULL) >= 0)
                j->found = j->found || vfio_original_same(&o, j->device);
        return 0;
}

/* A prepared machine that starts has its devices: only what the first entry says is how they were. */
static bool journalled(struct vm *vm, const struct vfio_original *device) {
        struct journalled j = { .device = device };

        if (undo_open(vm, NULL) >= 0)
                (void) journal_open_entries(vm->journal, compare_entry, &j, NULL);
        return j.found;
}

static int note(struct vm *vm, const struct vfio_original *original, const struct plan_device *wanted,
                struct error *err) {
        vm->devices->noted = !journalled(vm, original);
        if (!vm->devices->noted)
                return 0;
        return undo_add(vm, "device",
                        json_pack("{s:o, s:b, s:b, s:b}", "original", vfio_original_to_json(original), "keep",
                                  wanted->keep, "release", wanted->reserve && !wanted->keep, "reserve",
                                  wanted->reserve),
                        err);
}

/* Journals the next device, then binds it. 0: all are bound. */
static int claim_next(struct vm *vm, struct error *err) {
        struct vm_devices *d = vm->devices;

        if (d->next >= d->n)
                return 0;
        const struct vfio_original *original = &d->found[d->next].original;
        const struct plan_device *wanted = &vm->plan->devices[d->next];
        struct vfio_claim claim = { .has_reset_method = !str_empty(wanted->reset_method) };

        if (claim.has_reset_method)
                snprintf(claim.reset_method, sizeof(claim.reset_method), "%s", wanted->reset_method);
        int r = note(vm, original, wanted, err);
        if (r < 0)
                return r;
        test_kill(vm->op.table->name, "bind", "before");
        return job_start(vm, "a device's way to vfio-pci", original, &claim, vfio_bind_work, claimed, err);
}

/* -- looking: what is there, who has it ----------------------------------------------------------- */

static int found_check(struct vm *vm, const struct vfio_device *device, const char *const *wanted, size_t n,
                       struct error *err) {
        if (!device->present)
                return error_set(err, -ENODEV, "%s: there is no such device any more",
                                 device->original.address);
        int r = vfio_stuck_check(runtime_dir(vm), device->original.address, err);
        return r < 0 ? r : vfio_group_check(device, wanted, n, err);
}

static int found_take(struct vm *vm, const json_t *result, struct error *err) {
        struct vm_devices *d = devices_of(vm);
        size_t n = json_array_size(result);
        _cleanup_free_ const char **wanted = xcalloc(n + 1, sizeof(*wanted));

        if (n != vm->plan->n_devices)
                return error_set(err, -EBADMSG, "%zu devices were looked at instead of %zu", n,
                                 vm->plan->n_devices);
        free(d->found);
        d->found = xcalloc(n, sizeof(*d->found));
        d->n = n;
        for (size_t i = 0; i < n; i++)
                wanted[i] = vm->plan->devices[i].address;
        for (size_t i = 0; i < n; i++) {
                int r = vfio_device_from_json(json_array_get(result, i), &d->found[i], err);
                if (r >= 0)
                        r = found_check(vm, &d->found[i], wanted, n, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* A worker that does not even die: nobody looks at that device again until the host restarts. */
static void look_stuck(struct vm *vm, struct error *ret) {
        const char *address = vfio_look_at_address(vm->devices->at);
        _cleanup_free_ char *sentence = vfio_look_stuck(address);
        _cleanup_error_ struct error failed = ERROR_INIT;

        if (!address[0])
                return;
        if (vfio_stuck_add(runtime_dir(vm), address, sentence, &failed) < 0)
                log_warning("%s: %s", vm->name, error_text(&failed));
        error_set(ret, -ETIMEDOUT, "%s", sentence);
}

static void looked(const json_t *result, const struct error *err, pid_t stuck, void *data) {
        struct vm *vm = data;
        _cleanup_error_ struct error failed = ERROR_INIT;
        int r;

        vm->work = NULL;
        if (stuck)
                look_stuck(vm, &failed);
        if (!vm->op.table || vm->ending) /* as in claimed() */
                return;
        if (!result) {
                step_finish(vm, failed.code ? &failed : err);
                return;
        }
        r = found_take(vm, result, &failed);
        if (r >= 0)
                r = claim_next(vm, &failed);
        if (r <= 0)
                step_finish(vm, r < 0 ? &failed : NULL);
}

/* What has changed since the plan was made: other machines, and devices that hang. Before anything is
 * touched. */
static int others_check(struct vm *vm, struct error *err) {
        const struct plan *p = vm->plan;
        _cleanup_uses_ struct vm_uses uses = { 0 };
        int r = 0;

        if (vm->env->uses)
                vm->env->uses(vm, &uses, vm->env->data);
        for (size_t i = 0; r >= 0 && i < p->n_devices; i++) {
                const struct plan_device *d = &p->devices[i];

                r = vfio_stuck_check(runtime_dir(vm), d->address, err);
                for (size_t k = 0; r >= 0 && k < uses.n_devices; k++)
                        if (str_eq(d->address, uses.devices[k].address) ||
                            (d->iommu_group >= 0 && d->iommu_group == uses.devices[k].iommu_group))
                                r = error_set(err, -EBUSY,
                                              "%s is with the VM %s, which has %s of its IOMMU group (vore "
                                              "stop %s gives it back)",
                                              d->address, uses.devices[k].vm, uses.devices[k].address,
                                              uses.devices[k].vm);
        }
        return r;
}

static bool any_busy(const struct vm *vm) {
        for (size_t i = 0; vm->env->device_busy && i < vm->plan->n_devices; i++)
                if (vm->env->device_busy(vm->plan->devices[i].address, vm->env->data))
                        return true;
        return false;
}

void vm_devices_changed(struct vm *vm) {
        _cleanup_error_ struct error err = ERROR_INIT;

        if (!vm->claim_waits)
                return;
        vm->claim_waits = false;
        if (!vm->op.table || vm->ending)
                return;
        int r = devices_claim(vm, &err);
        if (r <= 0)
                step_finish(vm, r < 0 ? &err : NULL);
}

static int look(struct vm *vm, struct error *err) {
        const struct plan *p = vm->plan;
        _cleanup_free_ const char **addresses = xcalloc(p->n_devices + 1, sizeof(*addresses));
        _cleanup_free_ bool *force = xcalloc(p->n_devices + 1, sizeof(*force));

        for (size_t i = 0; i < p->n_devices; i++) {
                addresses[i] = p->devices[i].address;
                force[i] = p->devices[i].force;
        }
        vfio_look_at_free(devices_of(vm)->at);
        vm->devices->at = vfio_look_at_new();
        struct vfio_look_job job = {
                .addresses = addresses, .force = force, .n = p->n_devices, .at = vm->devices->at
        };
        int r = work_start(vm->env->loop, "a look at the devices", LOOK_DEADLINE_MS, vfio_look_work, &job,
                           looked, vm, &vm->work, err);
        return r < 0 ? r : 1;
}

int devices_claim(struct vm *vm, struct error *err) {
        if (vm->plan->n_devices == 0 || !vm->env->settings->system)
                return 0;
        if (any_busy(vm)) {
                vm->claim_waits = true;
                return 1;
        }
        int r = others_check(vm, err);
        if (r < 0)
                return r;
        devices_free(vm);
        return look(vm, err);
}

/* -- giving back ----------------------------------------------------------------------------------- */

static int restore_start(struct vm *vm, const struct vfio_original *original, struct error *err);

/* It was not given back: what it was is remembered for whoever tries it again, and is all that is known of it
 * when the journal's entry goes. One that somebody gave to another driver is not ours any more. */
static void remember(struct vm *vm, struct error *failed) {
        const struct vfio_original *original = &vm->devices->original;
        _cleanup_free_ char *text = xstrdup(error_text(failed));
        _cleanup_error_ struct error err = ERROR_INIT;
        struct vfio_original known;
        int r = 0;

        if (failed->code == -EEXIST) {
                (void) vfio_kept_drop(runtime_dir(vm), original->address, NULL);
                return;
        }
        if (!vfio_kept_find(runtime_dir(vm), original->address, &known, NULL) ||
            !vfio_original_same(&known, original))
                r = vfio_kept_put(runtime_dir(vm), original, VFIO_KEPT_LEFT, &err);
        if (r < 0)
                error_set(failed, failed->code, "%s; and what it was cannot be remembered: %s", text,
                          error_text(&err));
        else
                error_set(failed, failed->code,
                          "%s (vore release %s tries it again; what was done: vore logs %s)", text,
                          original->address, vm->name);
}

/* A driver that took longer than the deadline may be there by now; only what is missing is done then. */
static bool again(struct vm *vm) {
        struct vm_devices *d = vm->devices;
        const struct vfio_original original = d->original;

        if (d->again)
                return false;
        d->again = true;
        return restore_start(vm, &original, NULL) > 0;
}

static void given_back(const json_t *result, const struct error *err, pid_t stuck, void *data) {
        struct vm *vm = data;
        _cleanup_error_ struct error failed = ERROR_INIT;

        job_result(vm, result, err, stuck, &failed);
        if (err && err->code == -ETIME && !stuck && again(vm))
                return;
        if (!failed.code && vm->devices->forget)
                (void) vfio_kept_drop(runtime_dir(vm), vm->devices->original.address, &failed);
        else if (failed.code && !stuck)
                remember(vm, &failed);
        undo_continue(vm, &failed);
}

static int restore_start(struct vm *vm, const struct vfio_original *original, struct error *err) {
        return job_start(vm, "a device's way back", original, NULL, vfio_restore_work, given_back, err);
}

/* rebind = "never", and what is reserved: it stays with vfio-pci after the machine has run. What it was
 * before is remembered; for a reservation, so that it ends with the definition, unless somebody wanted more.
 */
static int keep(struct vm *vm, struct vfio_original *original, bool reserve, struct error *err) {
        _cleanup_free_ char *why = NULL;
        struct vfio_original before;
        bool known = vfio_kept_find(runtime_dir(vm), original->address, &before, &why) &&
                     vfio_original_same(&before, original);
        int r = 0;

        if (!known)
                vfio_original_before(original, &before);
        if (!known || str_eq(why, VFIO_KEPT_LEFT) || (reserve && str_eq(why, VFIO_KEPT_NEVER)))
                r = vfio_kept_put(runtime_dir(vm), &before, reserve ? VFIO_KEPT_RESERVE : VFIO_KEPT_NEVER,
                                  err);
        if (r >= 0)
                vfio_original_idle(&before, original);
        return r;
}

/* What a kept device was before is not the journal's to know: rebind = "stop" of a reserved one, and one that
 * could not be given back before. */
static bool as_kept(struct vm *vm, const json_t *args, struct vfio_original *original) {
        _cleanup_free_ char *why = NULL;
        struct vfio_original before;

        if (!vfio_kept_find(runtime_dir(vm), original->address, &before, &why) ||
            !vfio_original_same(&before, original) ||
            !(str_eq(why, VFIO_KEPT_LEFT) || (json_get_bool(args, "release", false) && vm->ran)))
                return false;
        *original = before;
        return true;
}

int devices_give_back(struct vm *vm, const json_t *args, struct error *err) {
        struct vfio_original original;
        int r = vfio_original_from_json(json_object_get(args, "original"), &original, err);

        if (r < 0 || (r = vfio_stuck_check(runtime_dir(vm), original.address, err)) == -EIO)
                return r;
        devices_of(vm)->again = devices_of(vm)->forget = false;
        if (json_get_bool(args, "keep", false) && vm->ran) {
                /* What it was could not be found any more: then it goes back. */
                if (keep(vm, &original, json_get_bool(args, "reserve", false), err) < 0) {
                        vm_warn(vm, "%s does not stay with vfio-pci: %s", original.address, error_text(err));
                        error_done(err);
                }
        } else
                vm->devices->forget = as_kept(vm, args, &original);
        r = restore_start(vm, &original, err);
        if (r < 0)
                remember(vm, err);
        return r;
}
