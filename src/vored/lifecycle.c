#include "vored/manager.h"

#include "base/str.h"

static void start(struct manager *m, struct rpc_call *call, const json_t *params, bool prepare_only) {
        struct vm *vm = method_vm(m, call, params);
        _cleanup_free_ const char **cdroms = NULL;
        struct vm_start_options options = { .display = json_get_bool(params, "display", false),
                                            .prepare_only = prepare_only };

        if (!vm || method_cdroms(call, params, &cdroms, &options.n_cdroms) < 0)
                return;
        options.cdroms = cdroms;
        struct vm_watch watch = method_watch(m, call, 0);
        vm_start(vm, &options, &watch);
}

void method_prepare(struct rpc_call *call, const json_t *params, void *manager) {
        start(manager, call, params, true);
}

void method_start(struct rpc_call *call, const json_t *params, void *manager) {
        start(manager, call, params, false);
}

void method_stop(struct rpc_call *call, const json_t *params, void *manager) {
        struct vm *vm = method_vm(manager, call, params);
        const json_t *timeout = json_object_get(params, "timeout");
        double seconds = json_is_number(timeout) ? json_number_value(timeout) : 60;

        if (!vm)
                return;
        if (!(seconds >= 0 && seconds <= 86400)) {
                rpc_fail_parameter(call, "timeout");
                return;
        }
        struct vm_watch watch = method_watch(manager, call, seconds);
        vm_stop(vm, (uint64_t) (seconds * 1e6), json_get_bool(params, "force", false), &watch);
}

/* Kill, Pause, Resume and Reset: state and note. */
struct brief {
        struct rpc_call *call;
        struct vm_watch full;
};

static void brief_done(struct vm *vm, const struct vm_result *result, void *data) {
        struct brief *b = data;

        if (result->outcome == VM_DONE) {
                /* The watch of the long answer is not used then. */
                free(b->full.data);
                rpc_reply(b->call, json_pack("{s:s, s:s?}", "state", vm_state_name(vm_state(vm)), "note",
                                             result->note));
        } else
                b->full.done(vm, result, b->full.data);
        free(b);
}

static void brief(struct manager *m, struct rpc_call *call, const json_t *params,
                  void (*operation)(struct vm *vm, const struct vm_watch *watch)) {
        struct vm *vm = method_vm(m, call, params);
        struct brief *b;

        if (!vm)
                return;
        b = xcalloc(1, sizeof(*b));
        *b = (struct brief){ call, method_watch(m, call, 0) };
        operation(vm, &(struct vm_watch){ .done = brief_done, .data = b });
}

void method_kill(struct rpc_call *call, const json_t *params, void *manager) {
        brief(manager, call, params, vm_kill);
}

void method_pause(struct rpc_call *call, const json_t *params, void *manager) {
        brief(manager, call, params, vm_pause);
}

void method_resume(struct rpc_call *call, const json_t *params, void *manager) {
        brief(manager, call, params, vm_resume);
}

void method_reset(struct rpc_call *call, const json_t *params, void *manager) {
        brief(manager, call, params, vm_reset);
}
