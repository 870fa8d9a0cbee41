#include "vored/manager.h"

#include "base/log.h"
#include "base/str.h"
#include "interface.h"

#include <errno.h>

#define METHOD(name_, ...)                                                                                   \
        { .name = "dev.vore.Manager." name_, __VA_ARGS__ }

/* One row per method; the interface file is held against them at start. */
static const struct rpc_method methods[] = {
        METHOD("Load", .fn = method_load),
        METHOD("Save", .fn = method_save),
        METHOD("Unload", .fn = method_unload),
        METHOD("Forget", .fn = method_forget),
        METHOD("Prepare", .fn = method_prepare, .more = true),
        METHOD("Start", .fn = method_start, .more = true),
        METHOD("Stop", .fn = method_stop, .more = true),
        METHOD("Kill", .fn = method_kill),
        METHOD("Pause", .fn = method_pause),
        METHOD("Resume", .fn = method_resume),
        METHOD("Reset", .fn = method_reset),
        METHOD("List", .fn = method_list, .more = true),
        METHOD("Show", .fn = method_show),
        METHOD("DiskPresets", .fn = method_disk_presets),
        METHOD("Devices", .fn = method_devices),
        METHOD("Attach", .fn = method_attach, .more = true),
        METHOD("Detach", .fn = method_detach, .more = true),
        METHOD("Reserve", .fn = method_reserve),
        METHOD("Release", .fn = method_release),
        METHOD("BootRules", .fn = method_boot_rules),
        METHOD("QemuCommand", .fn = method_qemu_command),
        METHOD("Qmp", .fn = method_qmp),
        METHOD("Console", .fn = method_console, .upgrade = true),
        METHOD("Logs", .fn = method_logs, .more = true),
        METHOD("Subscribe", .fn = method_subscribe, .more = true, .needs_more = true),
        METHOD("Version", .fn = method_version),
};

const struct rpc_interface manager_interface = {
        .name = "dev.vore.Manager",
        .description = manager_interface_text,
        .methods = methods,
        .n_methods = ARRAY_SIZE(methods),
};

void method_not_supported(struct rpc_call *call, const char *what) {
        _cleanup_free_ char *text = xasprintf("%s is not supported by this version", what);

        rpc_fail(call, "NotSupported", json_pack("{s:s, s:s}", "what", what, "message", text));
}

void method_fail(struct rpc_call *call, const struct error *err) {
        rpc_fail(call, "Failed", json_pack("{s:o}", "message", json_string_lossy(error_text(err))));
}

/* The nearest names first. */
static json_t *candidates(struct manager *m, const char *name) {
        json_t *array = json_array();
        enum { MOST = 20, FAR = 4 };

        for (unsigned far = 0; far <= FAR; far++)
                for (size_t i = 0; i < m->n_machines && json_array_size(array) < MOST; i++) {
                        unsigned distance = str_distance(name, m->machines[i].name);

                        if (distance == far || (far == FAR && distance > FAR))
                                json_push_str(array, m->machines[i].name);
                }
        return array;
}

struct machine *method_machine(struct manager *m, struct rpc_call *call, const json_t *params) {
        const char *name = json_get_str(params, "name", "");
        struct machine *machine = machine_find(m, name);

        if (!machine)
                rpc_fail(call, "NoSuchMachine",
                         json_pack("{s:s, s:o}", "name", name, "candidates", candidates(m, name)));
        return machine;
}

struct vm *method_vm(struct manager *m, struct rpc_call *call, const json_t *params) {
        struct machine *machine = method_machine(m, call, params);

        if (machine && !machine->vm) {
                _cleanup_free_ char *path = store_path(m, machine->name),
                                    *text = xasprintf("%s: %s", path, machine->broken);

                rpc_fail(call, "WrongState",
                         json_pack("{s:s, s:s, s:o}", "name", machine->name, "state", "broken", "message",
                                   json_string_lossy(text)));
        }
        return machine ? machine->vm : NULL;
}

const char **method_strings(const json_t *params, const char *key, size_t *ret_n) {
        const json_t *array = json_object_get(params, key);
        const char **strings = xcalloc(json_array_size(array) + 1, sizeof(*strings));
        size_t i, n = 0;
        json_t *item;

        json_array_foreach (array, i, item)
                if (json_is_string(item))
                        strings[n++] = json_string_value(item);
        *ret_n = n;
        return strings;
}

int method_cdroms(struct rpc_call *call, const json_t *params, const char ***ret, size_t *ret_n) {
        *ret = method_strings(params, "cdroms", ret_n);
        for (size_t i = 0; i < *ret_n; i++)
                if (*(*ret)[i] != '/') {
                        rpc_fail_parameter(call, "cdroms");
                        free(TAKE_PTR(*ret));
                        return -EINVAL;
                }
        return 0;
}

/* -- answers of operations ------------------------------------------------------------------------ */

struct pending {
        struct rpc_call *call;
        double timeout;
};

static void pending_step(struct vm *vm, const char *step, double seconds, void *data) {
        struct pending *p = data;

        (void) rpc_reply_more(p->call, json_pack("{s:{s:s, s:o}}", "step", "name", step, "seconds",
                                                 seconds < 0 ? json_null() : json_real(seconds)));
}

static json_t *result_json(const struct vm *vm, const struct vm_result *result) {
        json_t *j = json_object();

        json_put_str(j, "name", vm_name(vm));
        json_put_str(j, "state", vm_state_name(vm_state(vm)));
        json_put(j, "pid", vm_pid(vm) > 0 ? json_integer(vm_pid(vm)) : NULL);
        json_put(j, "seconds", json_real(result->seconds));
        json_put(j, "steps", result->steps ? json_incref((json_t *) result->steps) : json_array());
        if (result->devices)
                json_put(j, "devices", json_incref((json_t *) result->devices));
        json_put_str(j, "note", result->note);
        json_put(j, "faults", result->faults ? json_incref((json_t *) result->faults) : NULL);
        return j;
}

static void pending_fail(const struct pending *p, const struct vm *vm, const struct vm_result *result) {
        json_t *message = json_string_lossy(result->message ? result->message : "");
        const char *name = vm_name(vm), *operation;
        double age = 0;

        switch (result->outcome) {
        case VM_WRONG_STATE:
                operation = vm_operation(vm, &age);
                rpc_fail(p->call, "WrongState",
                         json_pack("{s:s, s:s, s:s?, s:o, s:o}", "name", name, "state",
                                   vm_state_name(vm_state(vm)), "operation", operation, "seconds",
                                   operation ? json_real(age) : json_null(), "message", message));
                break;
        case VM_INVALID:
                json_decref(message);
                rpc_fail(p->call, "InvalidDefinition", json_pack("{s:O}", "faults", result->faults));
                break;
        case VM_START_FAILED:
                rpc_fail(p->call, "StartFailed", json_pack("{s:s, s:o}", "name", name, "reason", message));
                break;
        case VM_STOP_TIMEOUT:
                rpc_fail(p->call, "StopTimeout",
                         json_pack("{s:s, s:f, s:o}", "name", name, "seconds", p->timeout, "message",
                                   message));
                break;
        case VM_DETACH_TIMEOUT:
                rpc_fail(p->call, "DetachTimeout",
                         json_pack("{s:s, s:f, s:o}", "name", name, "seconds", p->timeout, "message",
                                   message));
                break;
        default:
                rpc_fail(p->call, "Failed", json_pack("{s:o}", "message", message));
        }
}

static void pending_done(struct vm *vm, const struct vm_result *result, void *data) {
        struct pending *p = data;

        if (result->outcome == VM_DONE)
                rpc_reply(p->call, result_json(vm, result));
        else
                pending_fail(p, vm, result);
        free(p);
}

struct vm_watch method_watch(struct manager *m, struct rpc_call *call, double timeout) {
        struct pending *p = xcalloc(1, sizeof(*p));

        *p = (struct pending){ .call = call, .timeout = timeout };
        return (struct vm_watch){ .step = rpc_wants_more(call) ? pending_step : NULL,
                                  .done = pending_done,
                                  .data = p };
}
