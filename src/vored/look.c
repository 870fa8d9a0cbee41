/* List, Show, DiskPresets, QemuCommand, Qmp, Console, Version: looking inside. */
#include "vored/reserve.h"

#include "base/file.h"
#include "base/str.h"
#include "config.h"
#include "work/work.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* With `more` a long list goes out in parts, so that the client reads one while the next is made. A client
 * that does not keep up gets all the rest in the last one: nothing piles up that way. */
void method_list(struct rpc_call *call, const json_t *params, void *manager) {
        enum { PART = 64 };
        struct manager *m = manager;
        json_t *list = json_array();

        for (size_t i = 0; i < m->n_machines; i++) {
                if (rpc_wants_more(call) && json_array_size(list) >= PART && rpc_unsent(call) == 0) {
                        (void) rpc_reply_more(call, json_pack("{s:o}", "machines", list));
                        list = json_array();
                }
                json_push(list, machine_to_json(&m->machines[i]));
        }
        json_t *reply = json_pack("{s:o}", "machines", list), *notes = reserve_notes(m, NULL);
        if (json_array_size(notes))
                json_put(reply, "notes", notes);
        else
                json_decref(notes);
        rpc_reply(call, reply);
}

/* -- show ----------------------------------------------------------------------------------------- */

struct look {
        struct rpc_call *call;
        struct manager *manager; /* for a command that is to run by hand */
        bool origin, exact;
};

static struct look *look_new(struct rpc_call *call) {
        struct look *l = xcalloc(1, sizeof(*l));

        l->call = call;
        return l;
}

static void shown(const json_t *result, const struct error *err, pid_t stuck, void *data) {
        _cleanup_free_ struct look *l = data;
        const json_t *definition = json_object_get(result, l->origin ? "origins" : "definition");

        if (!result)
                method_fail(l->call, err);
        else if (!json_is_object(definition))
                rpc_fail(l->call, "InvalidDefinition",
                         json_pack("{s:O}", "faults", json_object_get(result, "faults")));
        else
                rpc_reply(l->call, json_pack("{s:O, s:n, s:O}", "definition", definition, "source", "faults",
                                             json_object_get(result, "faults")));
}

static void show_source(struct manager *m, struct rpc_call *call, const struct machine *machine) {
        _cleanup_free_ char *path = store_path(m, machine->name), *text = NULL;
        _cleanup_error_ struct error err = ERROR_INIT;
        json_t *source;

        if (machine->vm) {
                const struct vm_definition *d = vm_definition(machine->vm);
                source = json_stringn(d->text, d->len);
        } else if (file_read(AT_FDCWD, path, DEF_SIZE_MAX, &text, NULL, &err) >= 0)
                source = json_string_lossy(text);
        else {
                method_fail(call, &err);
                return;
        }
        rpc_reply(call, json_pack("{s:n, s:o, s:n}", "definition", "source", source, "faults"));
}

void method_show(struct rpc_call *call, const json_t *params, void *manager) {
        struct manager *m = manager;
        struct machine *machine = method_machine(m, call, params);
        _cleanup_error_ struct error err = ERROR_INIT;
        struct plan_request req;
        struct work *work;
        struct vm *vm;

        if (!machine)
                return;
        if (json_get_bool(params, "source", false)) {
                show_source(m, call, machine);
                return;
        }
        vm = method_vm(m, call, params);
        if (!vm || !rpc_turn(call, params))
                return;
        struct look *l = look_new(call);
        l->origin = json_get_bool(params, "origin", false);
        vm_plan_request(vm, &req);
        req.goal = PLAN_SHOW;
        vm_request_attached(vm, &req);
        if (work_start(m->loop, "the definition", PLAN_DEADLINE_MS, plan_work, &req, shown, l, &work, &err) <
            0) {
                method_fail(call, &err);
                free(l);
        }
        vm_request_attached_done(&req);
        vm_plan_request_done(&req);
}

/* -- disk presets ------------------------------------------------------------------------------------ */

static void script_failed(struct rpc_call *call, const struct error *err) {
        rpc_fail(call, "ScriptFailed", json_pack("{s:o}", "message", json_string_lossy(error_text(err))));
}

static void presets_known(const json_t *result, const struct error *err, pid_t stuck, void *data) {
        if (result)
                rpc_reply(data, json_pack("{s:O}", "presets", result));
        else
                script_failed(data, err);
}

void method_disk_presets(struct rpc_call *call, const json_t *params, void *manager) {
        struct manager *m = manager;
        _cleanup_error_ struct error err = ERROR_INIT;
        struct work *work;

        if (!rpc_turn(call, params))
                return;
        if (work_start(m->loop, "the script", PLAN_PROBE_DEADLINE_MS, plan_presets_work, (void *) m->settings,
                       presets_known, call, &work, &err) < 0)
                method_fail(call, &err);
}

/* -- the command line --------------------------------------------------------------------------------- */

struct command_request {
        struct plan_request plan;
        const struct vm_env *env;
        bool hand; /* it is to run by hand: the VM's own copies are made, as uid */
        uid_t uid;
};

static int command_work(void *data, int report_fd, json_t **ret, struct error *err) {
        struct command_request *req = data;
        _cleanup_json_ json_t *probed = NULL, *result = NULL;
        struct plan *plan = NULL;
        int r = 0;

        if (plan_probe_needed(req->plan.settings))
                r = plan_probe_work((void *) req->plan.settings, report_fd, &probed, err);
        if (r >= 0)
                r = plan_work(&req->plan, report_fd, &result, err);
        if (r < 0)
                return r;
        if (req->hand && json_get_bool(result, "ok", false)) {
                r = plan_from_json(result, &plan, err);
                if (r >= 0)
                        r = vm_copies(req->env, plan, req->uid, err);
                plan_free(plan);
                if (r < 0)
                        return r;
        }
        *ret = TAKE_PTR(result);
        return 0;
}

/* What the command finds in the place of its shared memory, unless the machine runs by now, and has it. */
static int command_memory(struct manager *m, const json_t *result, struct error *err) {
        struct plan *plan = NULL;
        int r = plan_from_json(result, &plan, err);

        if (r < 0)
                return r;
        const struct machine *machine = machine_find(m, plan->name);
        if (!machine || !machine->vm || !vm_active(machine->vm))
                r = vm_memory_by_hand(&m->env, plan, err);
        plan_free(plan);
        return r;
}

static void command_known(const json_t *result, const struct error *err, pid_t stuck, void *data) {
        _cleanup_free_ struct look *l = data;
        _cleanup_error_ struct error failed = ERROR_INIT;
        const json_t *faults = json_object_get(result, "faults");
        bool ok = json_get_bool(result, "ok", false);

        if (!result)
                method_fail(l->call, err);
        else if (ok && l->manager && command_memory(l->manager, result, &failed) < 0)
                method_fail(l->call, &failed);
        else if (!ok)
                rpc_fail(l->call, "InvalidDefinition", json_pack("{s:O}", "faults", faults));
        else
                rpc_reply(l->call,
                          json_pack("{s:O, s:O}", "arguments",
                                    json_object_get(result, l->exact ? "exact" : "plain"), "faults", faults));
}

static void command_ask(struct manager *m, struct rpc_call *call, struct plan_request *plan, bool exact) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct command_request req = { .plan = *plan, .env = &m->env };
        struct def_summary summary;
        struct look *l;
        struct work *work;

        req.hand = !exact && !m->env.captured &&
                   def_summarize(plan->text, plan->len, plan->directory, &summary, NULL) >= 0;
        if (req.hand && vm_folder(&m->env, summary.name, &req.uid, &err) < 0) {
                method_fail(call, &err);
                return;
        }
        l = look_new(call);
        l->exact = exact;
        l->manager = req.hand ? m : NULL;
        req.plan.goal = PLAN_ARGV;
        if (work_start(m->loop, "the command line", PLAN_PROBE_DEADLINE_MS, command_work, &req, command_known,
                       l, &work, &err) < 0) {
                method_fail(call, &err);
                free(l);
        }
}

/* Of a definition that is handed over: it belongs to no machine. */
static void command_of_text(struct manager *m, struct rpc_call *call, const json_t *params, bool exact) {
        _cleanup_uses_ struct vm_uses uses = { 0 };
        struct plan_request req = { .text = json_get_str(params, "toml", ""),
                                    .len = json_string_length(json_object_get(params, "toml")),
                                    .file = json_get_str(params, "file", "definition"),
                                    .directory = json_get_str(params, "directory", ""),
                                    .display = json_get_bool(params, "display", false),
                                    .settings = m->settings };
        _cleanup_free_ const char **cdroms = NULL;

        if (*req.directory != '/') {
                rpc_fail_parameter(call, "directory");
                return;
        }
        if (method_cdroms(call, params, &cdroms, &req.n_cdroms) < 0)
                return;
        req.cdroms = cdroms;
        req.uid = vm_plan_uid(&m->env);
        machines_uses(NULL, &uses, m);
        vm_uses_request(&uses, &req);
        command_ask(m, call, &req, exact);
}

void method_qemu_command(struct rpc_call *call, const json_t *params, void *manager) {
        struct manager *m = manager;
        bool exact = json_get_bool(params, "exact", false);
        _cleanup_free_ const char **all = NULL, **added = NULL;
        struct plan_request req;
        size_t n;

        if (!rpc_turn(call, params))
                return;
        if (json_get_str(params, "toml", NULL)) {
                command_of_text(m, call, params, exact);
                return;
        }
        struct vm *vm = method_vm(m, call, params);
        if (!vm || method_cdroms(call, params, &added, &n) < 0)
                return;
        vm_plan_request(vm, &req);
        all = xcalloc(req.n_cdroms + n + 1, sizeof(*all));
        memcpy(all, req.cdroms, req.n_cdroms * sizeof(*all));
        memcpy(all + req.n_cdroms, added, n * sizeof(*all));
        struct plan_request with = req;
        with.cdroms = all;
        with.n_cdroms += n;
        with.display |= json_get_bool(params, "display", false);
        command_ask(m, call, &with, exact);
        vm_plan_request_done(&req);
}

/* -- QMP, console, version ------------------------------------------------------------------------------ */

static void qmp_answered(const json_t *reply, const struct error *err, void *data) {
        if (reply)
                rpc_reply(data, json_pack("{s:O}", "reply", reply));
        else
                method_fail(data, err);
}

static bool has_qemu(struct rpc_call *call, const struct vm *vm) {
        _cleanup_free_ char *text = NULL;

        if (vm_pid(vm) > 0)
                return true;
        text = xasprintf("%s is not running, it is %s (vore start %s starts it)", vm_name(vm),
                         vm_state_name(vm_state(vm)), vm_name(vm));
        rpc_fail(call, "WrongState",
                 json_pack("{s:s, s:s, s:s}", "name", vm_name(vm), "state", vm_state_name(vm_state(vm)),
                           "message", text));
        return false;
}

void method_qmp(struct rpc_call *call, const json_t *params, void *manager) {
        struct vm *vm = method_vm(manager, call, params);

        if (vm && has_qemu(call, vm))
                vm_qmp(vm, json_get_str(params, "command", ""), qmp_answered, call);
}

struct console_wish {
        struct manager *manager;
        char *name;
        bool write;
};

static void console_upgraded(int fd, const char *early, size_t early_len, void *data) {
        struct console_wish *wish = data;
        struct machine *machine = machine_find(wish->manager, wish->name);

        if (fd >= 0 && machine && machine->vm)
                (void) vm_console_attach(machine->vm, fd, wish->write, early, early_len);
        else if (fd >= 0)
                close(fd);
        free(wish->name);
        free(wish);
}

void method_console(struct rpc_call *call, const json_t *params, void *manager) {
        struct manager *m = manager;
        struct vm *vm = method_vm(m, call, params);
        struct console_wish *wish;

        if (!vm)
                return;
        wish = xcalloc(1, sizeof(*wish));
        *wish = (struct console_wish){ m, xstrdup(vm_name(vm)), json_get_bool(params, "write", true) };
        rpc_upgrade(call, json_pack("{s:b}", "writer", wish->write && vm_console_writer_free(vm)),
                    console_upgraded, wish);
}

void method_version(struct rpc_call *call, const json_t *params, void *manager) {
        struct manager *m = manager;
        _cleanup_free_ char *qemu = plan_qemu_version(m->settings);

        rpc_reply(call, json_pack("{s:s, s:s?, s:b, s:i}", "version", VORE_VERSION, "qemu", qemu, "system",
                                  m->settings->system, "pid", (int) getpid()));
}
