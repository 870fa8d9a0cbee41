/* Free root ports for devices that come while the machine runs: those whose id begins with "hotplug", as the
 * script made them, and whose bus has no device. QEMU is asked, as a person may have used one over QMP. */
#include "vm/machine.h"

#include "base/str.h"

#include <errno.h>

enum { PORTS_MAX = 64, ANSWER_TIMEOUT_MS = 30 * 1000 };
#define PORT_PREFIX "hotplug"

struct port {
        char id[32];
        bool taken;
};

struct ports {
        struct port items[PORTS_MAX];
        size_t n, asked;
};

void ports_free(struct vm *vm) {
        free(vm->ports);
        vm->ports = NULL;
}

/* -- the unit: each device with its place -------------------------------------------------------- */

static size_t slots_wanted(const struct plan *p, int slots[static ATTACHED_MAX]) {
        size_t n = 0;

        for (size_t i = 0; i < p->n_devices; i++) {
                bool known = false;

                for (size_t k = 0; k < n; k++)
                        known |= slots[k] == p->devices[i].guest_slot;
                if (!known && n < ATTACHED_MAX)
                        slots[n++] = p->devices[i].guest_slot;
        }
        return n;
}

/* Function 0 last: only with it does the guest look at the slot. */
static void unit_add_slot(struct vm *vm, int slot, const char *port) {
        for (int function = 7; function >= 0; function--)
                for (size_t i = 0; i < vm->plan->n_devices; i++) {
                        const struct plan_device *d = &vm->plan->devices[i];
                        struct vm_attached a = { .iommu_group = d->iommu_group,
                                                 .unit = vm->op.unit,
                                                 .function = function,
                                                 .multifunction = d->multifunction };

                        if (d->guest_slot != slot || d->guest_function != function)
                                continue;
                        snprintf(a.address, sizeof(a.address), "%s", d->address);
                        snprintf(a.port, sizeof(a.port), "%s", port);
                        (void) attached_add(vm, &a);
                }
}

static int too_few(const struct vm *vm, size_t wanted, struct error *err) {
        size_t n = vm->ports->n;

        if (n == 0)
                return error_set(err, -ENOSPC,
                                 "%s has no root port for hot-plug: hotplug-ports of [machine] gives it some "
                                 "at its next start; with a script of one's own, see vore-lua(7)",
                                 vm->name);
        return error_set(
                err, -ENOSPC,
                "%s: of its %zu root port%s for hot-plug too few are free, %zu %s wanted: vore detach "
                "frees one, and hotplug-ports of [machine] gives more at the next start",
                vm->name, n, n == 1 ? "" : "s", wanted, wanted == 1 ? "is" : "are");
}

static const char *port_take(struct ports *ports) {
        for (size_t i = 0; i < ports->n; i++)
                if (!ports->items[i].taken) {
                        ports->items[i].taken = true;
                        return ports->items[i].id;
                }
        return NULL;
}

static size_t ports_left(const struct ports *ports) {
        size_t n = 0;

        for (size_t i = 0; i < ports->n; i++)
                n += !ports->items[i].taken;
        return n;
}

/* Recorded before anything is taken, so that the next daemon knows what may have to be given back. */
static int unit_make(struct vm *vm, struct error *err) {
        int slots[ATTACHED_MAX];
        size_t n = slots_wanted(vm->plan, slots);

        if (vm->plan->n_devices + vm->n_attached > ATTACHED_MAX)
                return error_set(err, -E2BIG, "more than %d devices would be attached", ATTACHED_MAX);
        if (ports_left(vm->ports) < n)
                return too_few(vm, n, err);
        vm->op.unit = attached_next_unit(vm);
        for (size_t i = 0; i < n; i++)
                unit_add_slot(vm, slots[i], port_take(vm->ports));
        vm->op.devices = attached_addresses(vm, vm->op.unit);
        test_kill("attach", "record", "before");
        int r = record_write(vm, err);
        test_kill("attach", "record", "after");
        return r;
}

/* -- asking QEMU --------------------------------------------------------------------------------- */

static void port_known(struct qmp *q, const json_t *reply, const struct error *err, void *data);

/* 0: all are known. */
static int port_ask(struct vm *vm, struct error *err) {
        struct ports *ports = vm->ports;

        if (ports->asked == ports->n)
                return 0;
        /* The bus of a port is its child of the same name. */
        const char *id = ports->items[ports->asked].id;
        _cleanup_free_ char *path = xasprintf(ATTACHED_QOM_PATH "/%s/%s", id, id);
        int r = qmp_execute(vm->qmp, "qom-list", json_pack("{s:s}", "path", path), ANSWER_TIMEOUT_MS,
                            port_known, vm, err);
        return r < 0 ? r : 1;
}

static bool looking(const struct vm *vm, const struct error *err) {
        return vm->op.table == &attach_table && vm->op.step == ATTACH_STEP_PORT && !vm->ending && vm->ports &&
               !(err && err->code == -ECONNRESET);
}

static void port_next(struct vm *vm) {
        _cleanup_error_ struct error err = ERROR_INIT;
        int r = port_ask(vm, &err);

        if (r == 0)
                r = unit_make(vm, &err);
        if (r <= 0)
                step_finish(vm, r < 0 ? &err : NULL);
}

static bool has_child(const json_t *list) {
        size_t i;
        json_t *item;

        json_array_foreach (list, i, item)
                if (str_starts(json_get_str(item, "name", ""), "child["))
                        return true;
        return false;
}

/* One that has no bus of its name is no port. */
static void port_known(struct qmp *q, const json_t *reply, const struct error *err, void *data) {
        struct vm *vm = data;

        if (!looking(vm, err))
                return;
        vm->ports->items[vm->ports->asked++].taken = !reply || has_child(reply);
        port_next(vm);
}

static int port_compare(const void *a, const void *b) {
        return strverscmp(((const struct port *) a)->id, ((const struct port *) b)->id);
}

static void peripherals_known(struct qmp *q, const json_t *reply, const struct error *err, void *data) {
        struct vm *vm = data;
        size_t i;
        json_t *item;

        if (!looking(vm, err))
                return;
        if (!reply) {
                step_finish(vm, err);
                return;
        }
        attached_compare(vm, reply);
        json_array_foreach (reply, i, item) {
                const char *name = json_get_str(item, "name", "");

                if (str_starts(name, PORT_PREFIX) && strlen(name) < sizeof(vm->ports->items[0].id) &&
                    vm->ports->n < PORTS_MAX)
                        snprintf(vm->ports->items[vm->ports->n++].id, sizeof(vm->ports->items[0].id), "%s",
                                 name);
        }
        qsort(vm->ports->items, vm->ports->n, sizeof(vm->ports->items[0]), port_compare);
        port_next(vm);
}

int ports_find(struct vm *vm, struct error *err) {
        if (!vm->qmp_ready)
                return error_set(err, -ENOTCONN, "QEMU's monitor cannot be reached");
        ports_free(vm);
        vm->ports = xcalloc(1, sizeof(*vm->ports));
        int r = qmp_execute(vm->qmp, "qom-list", json_pack("{s:s}", "path", ATTACHED_QOM_PATH),
                            ANSWER_TIMEOUT_MS, peripherals_known, vm, err);
        return r < 0 ? r : 1;
}
