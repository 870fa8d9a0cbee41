#include "vm/machine.h"

#include "base/log.h"
#include "base/str.h"

#include <stdarg.h>

static const char *const names[VM_STATE_COUNT] = {
        [VM_LOADED] = "loaded",   [VM_PREPARED] = "prepared", [VM_STARTING] = "starting",
        [VM_RUNNING] = "running", [VM_PAUSED] = "paused",     [VM_STOPPING] = "stopping",
        [VM_STOPPED] = "stopped", [VM_FAILED] = "failed",
};

#define TO(s) (1u << (s))

/* From each state, the states it may go to. */
static const unsigned transitions[VM_STATE_COUNT] = {
        [VM_LOADED] = TO(VM_STARTING),
        [VM_PREPARED] = TO(VM_STARTING) | TO(VM_STOPPED) | TO(VM_FAILED),
        [VM_STARTING] = TO(VM_PREPARED) | TO(VM_RUNNING) | TO(VM_PAUSED) | TO(VM_STOPPING) | TO(VM_STOPPED) |
                        TO(VM_FAILED) | TO(VM_LOADED),
        [VM_RUNNING] = TO(VM_PAUSED) | TO(VM_STOPPING) | TO(VM_STOPPED) | TO(VM_FAILED),
        [VM_PAUSED] = TO(VM_RUNNING) | TO(VM_STOPPING) | TO(VM_STOPPED) | TO(VM_FAILED),
        [VM_STOPPING] = TO(VM_RUNNING) | TO(VM_PAUSED) | TO(VM_STOPPED) | TO(VM_FAILED),
        [VM_STOPPED] = TO(VM_STARTING) | TO(VM_LOADED),
        [VM_FAILED] = TO(VM_STARTING) | TO(VM_LOADED),
};

const char *vm_state_name(enum vm_state state) {
        return names[state];
}

void vm_event(struct vm *vm, const char *event, json_t *data) {
        if (vm->env->event)
                vm->env->event(vm, event, data, vm->env->data);
        else
                json_decref(data);
}

void vm_warn(struct vm *vm, const char *fmt, ...) {
        _cleanup_free_ char *text = NULL;
        va_list ap;

        va_start(ap, fmt);
        if (vasprintf(&text, fmt, ap) < 0)
                log_oom();
        va_end(ap);
        log_warning("%s: %s", vm->name, text);
        vm_log_note(vm, "warning: %s", text);
        vm_event(vm, "warning", json_pack("{s:o}", "message", json_string_lossy(text)));
}

void vm_set_state(struct vm *vm, enum vm_state state, const char *reason) {
        json_t *data = json_object();

        if (vm->state != state && !(transitions[vm->state] & TO(state)))
                log_error("%s: unexpected change from %s to %s", vm->name, names[vm->state], names[state]);
        if (vm->state == VM_FAILED || state == VM_FAILED) {
                char *copy = state == VM_FAILED ? xstrdup(reason ? reason : "unknown reason") : NULL;
                free(vm->reason);
                vm->reason = copy;
        }
        json_put_str(data, "from", names[vm->state]);
        json_put_str(data, "state", names[state]);
        json_put_str(data, "reason", vm->reason);
        vm->state = state;
        json_put(data, "pid", vm->process.pid > 0 ? json_integer(vm->process.pid) : NULL);
        if (state == VM_FAILED)
                log_warning("%s: %s: %s", vm->name, names[state], vm->reason);
        else
                log_info("%s: %s", vm->name, names[state]);
        record_update(vm);
        vm_event(vm, "state", data);
}
