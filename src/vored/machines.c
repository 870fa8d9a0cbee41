#include "vored/manager.h"

#include "base/str.h"

/* The index of name, or where it would stand. */
static size_t place(const struct manager *m, const char *name, bool *ret_found) {
        size_t low = 0, high = m->n_machines;

        while (low < high) {
                size_t mid = (low + high) / 2;
                int c = strcmp(m->machines[mid].name, name);

                if (c == 0) {
                        *ret_found = true;
                        return mid;
                }
                if (c < 0)
                        low = mid + 1;
                else
                        high = mid;
        }
        *ret_found = false;
        return low;
}

struct machine *machine_find(struct manager *m, const char *name) {
        bool found;
        size_t i = place(m, name, &found);

        return found ? &m->machines[i] : NULL;
}

struct machine *machine_add(struct manager *m, const char *name, struct vm *vm, char *broken) {
        bool found;
        size_t i = place(m, name, &found);

        m->machines = xrealloc(m->machines, m->n_machines + 1, sizeof(*m->machines));
        memmove(&m->machines[i + 1], &m->machines[i], (m->n_machines - i) * sizeof(*m->machines));
        m->n_machines++;
        m->machines[i] = (struct machine){ .name = xstrdup(name), .vm = vm, .broken = broken };
        return &m->machines[i];
}

static void machine_done(struct machine *machine) {
        vm_free(machine->vm);
        free(machine->broken);
        free(machine->name);
}

void machine_remove(struct manager *m, struct machine *machine) {
        size_t i = (size_t) (machine - m->machines);

        machine_done(machine);
        m->n_machines--;
        memmove(&m->machines[i], &m->machines[i + 1], (m->n_machines - i) * sizeof(*m->machines));
}

void machines_free(struct manager *m) {
        for (size_t i = 0; i < m->n_machines; i++)
                machine_done(&m->machines[i]);
        free(m->machines);
        m->machines = NULL;
        m->n_machines = 0;
}

json_t *machine_to_json(const struct machine *machine) {
        if (machine->vm)
                return vm_to_json(machine->vm);
        return json_pack("{s:s, s:s, s:o, s:n, s:n, s:n, s:b, s:b}", "name", machine->name, "state", "broken",
                         "reason", json_string_lossy(machine->broken), "pid", "memory", "vcpus", "auto_start",
                         0, "saved", 1);
}

void machines_uses(const struct vm *vm, struct vm_uses *ret, void *data) {
        struct manager *m = data;

        for (size_t i = 0; i < m->n_machines; i++) {
                struct vm *other = m->machines[i].vm;

                if (other && other != vm && (vm_active(other) || vm_state(other) == VM_PREPARED))
                        vm_add_uses(other, ret);
        }
}
