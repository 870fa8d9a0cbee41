/* Attach, row by row: a host device comes while the machine runs. What a row does is undone by the journal's
 * entries of the unit, and by the steps of detach. */
#include "vm/machine.h"

#include "base/str.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>

/* With its first device all of a guest's memory is pinned, which QEMU does before it answers. */
enum { ADD_TIMEOUT_MS = 300 * 1000 };

/* -- plan: may it come, and what has to come along? In a worker ------------------------------------- */

static char *first_errors(const json_t *faults) {
        struct strbuf b = STRBUF_INIT;
        size_t i;
        json_t *f;

        json_array_foreach (faults, i, f) {
                const char *hint = json_get_str(f, "hint", NULL);

                if (!str_eq(json_get_str(f, "severity", NULL), "error"))
                        continue;
                strbuf_addf(&b, "%s%s%s%s%s", b.len ? "; " : "", json_get_str(f, "message", "?"),
                            hint ? " (" : "", hint ? hint : "", hint ? ")" : "");
        }
        return strbuf_take(&b);
}

static void plan_known(const json_t *result, const struct error *err, pid_t stuck, void *data) {
        struct vm *vm = data;
        _cleanup_error_ struct error failed = ERROR_INIT;

        vm->work = NULL;
        if (!result) {
                step_finish(vm, err);
                return;
        }
        plan_free(vm->plan);
        vm->plan = NULL;
        if (plan_from_json(result, &vm->plan, &failed) < 0) {
                step_finish(vm, &failed);
                return;
        }
        vm->op.faults = json_incref(vm->plan->faults);
        if (!vm->plan->ok) {
                _cleanup_free_ char *text = first_errors(vm->plan->faults);
                error_set(&failed, -EINVAL, "%s", text ? text : "unknown");
        }
        step_finish(vm, &failed);
}

/* All that the machine has, and the one that is to come. */
static struct plan_attached *request_devices(const struct vm *vm, size_t *ret_n) {
        size_t n = json_array_size(vm->addresses), i;
        struct plan_attached *list = xcalloc(n + vm->n_attached + 1, sizeof(*list));
        json_t *item;

        json_array_foreach (vm->addresses, i, item)
                list[i].address = json_get_str(item, "address", "");
        for (i = 0; i < vm->n_attached; i++)
                list[n++].address = vm->attached[i].address;
        list[n++] = (struct plan_attached){
                .address = vm->op.address, .wanted = true, .force = vm->op.force, .group = vm->op.group
        };
        *ret_n = n;
        return list;
}

static int step_plan(struct vm *vm, struct error *err) {
        _cleanup_free_ struct plan_attached *list = NULL;
        struct plan_request req;

        vm_plan_request(vm, &req);
        req.goal = PLAN_ATTACH;
        req.attached = list = request_devices(vm, &req.n_attached);
        int r = work_start(vm->env->loop, "the plan", PLAN_DEADLINE_MS, plan_work, &req, plan_known, vm,
                           &vm->work, err);
        vm_plan_request_done(&req);
        return r < 0 ? r : 1;
}

/* -- memory: what QEMU may lock ---------------------------------------------------------------------- */

/* Of a QEMU that runs already. Raising it needs CAP_SYS_RESOURCE, also for one's own process. */
static int step_memory(struct vm *vm, struct error *err) {
        rlim_t want = (rlim_t) vm->plan->memlock;
        struct rlimit old;

        if (process_kill(vm->process.pidfd, 0) < 0)
                return error_set(err, -ESRCH, "QEMU has ended");
        if (prlimit(vm->process.pid, RLIMIT_MEMLOCK, NULL, &old) < 0)
                return error_errno(err, errno, "cannot read QEMU's limit of locked memory");
        if (old.rlim_cur >= want)
                return 0;
        struct rlimit new = { want, MAX(want, old.rlim_max) };
        if (prlimit(vm->process.pid, RLIMIT_MEMLOCK, &new, NULL) == 0)
                return 0;
        return error_set(
                err, -errno,
                "QEMU may lock %llu KiB of memory, which cannot be raised to the %llu KiB that a guest "
                "with devices needs: %s (set LimitMEMLOCK= of the service that runs vored, or give it "
                "CAP_SYS_RESOURCE)",
                (unsigned long long) old.rlim_max / 1024, (unsigned long long) want / 1024, strerror(errno));
}

/* -- plug: one after the other, into their ports ------------------------------------------------------ */

static int add_next(struct vm *vm, struct error *err);

static struct vm_attached *next_missing(const struct vm *vm) {
        for (size_t i = 0; i < vm->n_attached; i++)
                if (vm->attached[i].unit == vm->op.unit && !vm->attached[i].there)
                        return &vm->attached[i];
        return NULL;
}

/* The one that QEMU was asked for last. */
static struct vm_attached *last_there(const struct vm *vm) {
        struct vm_attached *last = NULL;

        for (size_t i = 0; i < vm->n_attached; i++)
                if (vm->attached[i].unit == vm->op.unit && vm->attached[i].there)
                        last = &vm->attached[i];
        return last;
}

static void added(struct qmp *q, const json_t *reply, const struct error *err, void *data) {
        struct vm *vm = data;
        _cleanup_error_ struct error failed = ERROR_INIT;

        /* After a lost connection QEMU is asked what it has. */
        if (vm->op.table != &attach_table || vm->op.step != ATTACH_STEP_PLUG || vm->ending ||
            (err && err->code == -ECONNRESET))
                return;
        if (!reply) {
                struct vm_attached *device = last_there(vm);

                error_set(&failed, err->code, "QEMU does not take %s: %s", device ? device->address : "it",
                          error_text(err));
                /* Past a deadline it may still take it: it is then told to remove it as well. */
                if (device && err->code != -ETIMEDOUT)
                        device->there = false;
                step_finish(vm, &failed);
                return;
        }
        test_kill("attach", "add", "after");
        int r = add_next(vm, &failed);
        if (r <= 0)
                step_finish(vm, r < 0 ? &failed : NULL);
}

static json_t *device_arguments(const struct vm_attached *device) {
        json_t *args = json_object();
        char id[ATTACHED_ID_MAX], addr[8];

        attached_id(device, id);
        snprintf(addr, sizeof(addr), "00.%x", (unsigned) device->function & 7);
        json_put_str(args, "driver", "vfio-pci");
        json_put_str(args, "id", id);
        json_put_str(args, "host", device->address);
        json_put_str(args, "bus", device->port);
        json_put_str(args, "addr", addr);
        if (device->multifunction)
                json_put_bool(args, "multifunction", true);
        return args;
}

/* 0: QEMU has all. */
static int add_next(struct vm *vm, struct error *err) {
        struct vm_attached *device = next_missing(vm);

        if (!device)
                return 0;
        if (!vm->qmp_ready)
                return error_set(err, -ENOTCONN, "QEMU's monitor cannot be reached");
        test_kill("attach", "add", "before");
        int r = qmp_execute(vm->qmp, "device_add", device_arguments(device), ADD_TIMEOUT_MS, added, vm, err);
        if (r < 0)
                return r;
        /* Until it is known better: whoever gives it back must ask. */
        device->there = true;
        return 1;
}

/* -- the table ------------------------------------------------------------------------------------------ */

static void plan_done(struct vm *vm) {
        ports_free(vm);
        plan_free(vm->plan);
        vm->plan = NULL;
}

static void attach_complete(struct vm *vm) {
        _cleanup_free_ char *words = attached_words(vm, vm->op.unit);

        plan_done(vm);
        attached_set_complete(vm, vm->op.unit);
        vm_log_note(vm, "attached: %s", words);
        vm_event(vm, "attached", json_pack("{s:O}", "devices", vm->op.devices));
}

static void attach_failed(struct vm *vm, const char *reason) {
        plan_done(vm);
        vm_log_note(vm, "not attached: %s", reason);
        if (vm->op.unit)
                detach_unwind(vm, reason);
        else
                operation_end(vm, VM_ERROR, reason, NULL);
}

static const struct step steps[ATTACH_STEP_COUNT] = {
        [ATTACH_STEP_PLAN] = { "plan", step_plan },        [ATTACH_STEP_PORT] = { "port", ports_find },
        [ATTACH_STEP_CLAIM] = { "claim", devices_claim },  [ATTACH_STEP_MEMORY] = { "memory", step_memory },
        [ATTACH_STEP_ACCESS] = { "access", access_grant }, [ATTACH_STEP_PLUG] = { "plug", add_next },
};

const struct step_table attach_table = { "attach", steps, ATTACH_STEP_COUNT, attach_complete, attach_failed };

void vm_attach(struct vm *vm, const char *address, const struct vm_attach_options *o,
               const struct vm_watch *watch) {
        if (!vm->op.table && (vm->ending || (vm->state != VM_RUNNING && vm->state != VM_PAUSED))) {
                watch_refuse(vm, watch, VM_WRONG_STATE, "%s is %s", vm->name,
                             vm->ending ? "just ending" : vm_state_name(vm->state));
                return;
        }
        if (!vm->op.table && vm_has_device(vm, address)) {
                _cleanup_free_ char *note = xasprintf("it has %s already", address);
                watch_note(vm, watch, note);
                return;
        }
        if (!operation_begin(vm, &attach_table, 0, ATTACH_STEP_COUNT, "attach", watch))
                return;
        snprintf(vm->op.address, sizeof(vm->op.address), "%s", address);
        vm->op.force = o->force;
        vm->op.group = o->group;
        vm_log_note(vm, "attach %s", address);
        step_advance(vm);
}
