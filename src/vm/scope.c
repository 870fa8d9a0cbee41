/* systemd: each QEMU in a scope of its own in machine.slice, so that it outlives vored.service and is counted
 * and limited on its own. The scope is ordered before vore-guests.service, which powers guests off at
 * shutdown. */
#include "vm/machine.h"

#include "base/log.h"

#include <errno.h>

static int scope_started(sd_bus_message *reply, void *data, sd_bus_error *unused) {
        struct vm *vm = data;
        const sd_bus_error *e = sd_bus_message_get_error(reply);

        vm->scope_slot = sd_bus_slot_unref(vm->scope_slot);
        /* Without its scope the VM runs all the same; it would end with vored's own cgroup. */
        if (e)
                vm_warn(vm, "systemd gave it no scope of its own: %s", e->message ? e->message : e->name);
        step_finish(vm, NULL);
        return 0;
}

static int scope_message(struct vm *vm, const char *unit, sd_bus_message *m) {
        bool system = vm->env->settings->system;
        int r = sd_bus_message_append(m, "ss", unit, "fail");

        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "(sv)");
        if (r >= 0)
                r = sd_bus_message_append(m, "(sv)(sv)(sv)(sv)(sv)", "PIDs", "au", 1,
                                          (uint32_t) vm->process.pid, "Description", "s", vm->name,
                                          "CollectMode", "s", "inactive-or-failed", "Before", "as", 1,
                                          "vore-guests.service", "DefaultDependencies", "b", 1);
        if (r >= 0 && system)
                r = sd_bus_message_append(m, "(sv)", "Slice", "s", "machine.slice");
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        return r < 0 ? r : sd_bus_message_append(m, "a(sa(sv))", 0);
}

int scope_start(struct vm *vm, struct error *err) {
        char unit[128];
        sd_bus_message *m = NULL;
        int r;

        if (!vm->env->bus)
                return 0;
        snprintf(unit, sizeof(unit), "vore-%s.scope", vm->name);
        r = sd_bus_message_new_method_call(vm->env->bus, &m, "org.freedesktop.systemd1",
                                           "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager",
                                           "StartTransientUnit");
        if (r >= 0)
                r = scope_message(vm, unit, m);
        if (r >= 0)
                r = sd_bus_call_async(vm->env->bus, &vm->scope_slot, m, scope_started, vm, 0);
        sd_bus_message_unref(m);
        if (r < 0) {
                vm_warn(vm, "systemd cannot be asked for a scope: error %d", r);
                return 0;
        }
        return 1;
}
