/* Load, Save, Unload, Forget. */
#include "vored/reserve.h"

#include "base/file.h"
#include "base/str.h"
#include "work/work.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

struct parsed {
        struct arena *arena; /* owned */
        struct def *def;
        struct diags diags;
};

static void parsed_done(struct parsed *p) {
        arena_free(p->arena);
}

/* Parses; with errors the call is answered with InvalidDefinition and -EINVAL comes back. */
static int parse(struct rpc_call *call, const struct vm_definition *d, unsigned flags, struct parsed *ret,
                 struct def_summary *ret_summary) {
        ret->arena = arena_new();
        diags_init(&ret->diags, ret->arena, d->file);
        int r = def_parse(ret->arena, d->text, d->len, d->directory, flags, &ret->def, &ret->diags);
        if (r < 0) {
                diags_sort(&ret->diags);
                rpc_fail(call, "InvalidDefinition", json_pack("{s:o}", "faults", diags_to_json(&ret->diags)));
                return r;
        }
        def_summary(ret->def, ret_summary);
        return 0;
}

static void fail_busy(struct rpc_call *call, const struct vm *vm, const char *what) {
        double age = 0;
        const char *operation = vm_operation(vm, &age);
        _cleanup_free_ char *text = xasprintf("%s is %s: it cannot be %s now (vore stop %s ends it)",
                                              vm_name(vm), vm_state_name(vm_state(vm)), what, vm_name(vm));

        rpc_fail(call, "WrongState",
                 json_pack("{s:s, s:s, s:s?, s:o, s:s}", "name", vm_name(vm), "state",
                           vm_state_name(vm_state(vm)), "operation", operation, "seconds",
                           operation ? json_real(age) : json_null(), "message", text));
}

static bool busy(const struct vm *vm) {
        double age;

        return vm_active(vm) || vm_state(vm) == VM_PREPARED || vm_operation(vm, &age);
}

/* Puts the definition in the place of what is there. */
static int replace(struct manager *m, const struct vm_definition *d, const struct def_summary *summary,
                   bool save, struct error *err) {
        struct machine *machine = machine_find(m, summary->name);
        struct vm *vm = machine ? machine->vm : NULL;
        bool known = vm;
        int r = 0;

        if (save)
                r = store_save(m, summary->name, d->text, d->len, err);
        if (r < 0)
                return r;
        if (machine && !vm) {
                machine_remove(m, machine);
                machine = NULL;
        }
        if (!machine) {
                vm = vm_new(&m->env, summary);
                machine_add(m, summary->name, vm, NULL);
        }
        /* A definition that differs from the saved one is not what a restart would find. */
        vm_set_saved(vm, save || store_has(m, summary->name, d));
        r = vm_define(vm, d, summary, err);
        if (r < 0 && !known) {
                machine_remove(m, machine_find(m, summary->name));
                if (save)
                        (void) store_delete(m, summary->name, NULL);
        }
        return r;
}

/* -- what becomes of the devices that it reserves -------------------------------------------------------- */

struct saved {
        struct rpc_call *call;
        json_t *reply; /* owned; of what was saved */
        char *name;    /* owned */
        bool purge;
};

static void saved_answer(struct manager *m, void *data) {
        struct saved *s = data;
        _cleanup_json_ json_t *notes = reserve_notes(m, s->name);
        json_t *faults = json_object_get(s->reply, "faults"), *note;
        size_t i;

        if (!faults) /* it was forgotten: whatever is wrong is not about it */
                json_array_clear(notes);
        json_array_foreach (notes, i, note) {
                json_push(faults, json_pack("{s:s, s:i, s:i, s:s, s:s, s:O, s:n}", "file", s->name, "line", 0,
                                            "column", 0, "severity", "warning", "key", "reserve", "message",
                                            note, "hint"));
        }
        const struct machine *machine = machine_find(m, s->name);
        if (s->purge && machine && machine->vm && busy(machine->vm)) /* it was started meanwhile */
                fail_busy(s->call, machine->vm, "purged");
        else if (s->purge)
                purge_folder(m, s->call, s->name);
        else
                rpc_reply(s->call, json_incref(s->reply));
        json_decref(s->reply);
        free(s->name);
        free(s);
}

/* Answers the call when all devices are where the saved definitions want them. reply is stolen. */
static void saved(struct manager *m, struct rpc_call *call, const char *name, json_t *reply,
                  bool with_folder) {
        struct saved *s = xcalloc(1, sizeof(*s));

        *s = (struct saved){ call, reply, xstrdup(name), with_folder };
        if (reserve_needed(m))
                reserve_request(m, RESERVE_ONE, name, saved_answer, s);
        else
                saved_answer(m, s);
}

/* -- dry run: what would be wrong with it here, with what the other machines use ------------------------- */

static void checked(const json_t *result, const struct error *err, pid_t stuck, void *data) {
        struct rpc_call *call = data;

        if (result)
                rpc_reply(call, json_pack("{s:s?, s:b, s:O}", "name", json_get_str(result, "name", ""),
                                          "saved", 0, "faults", json_object_get(result, "faults")));
        else
                method_fail(call, err);
}

static void dry_run(struct manager *m, struct rpc_call *call, const struct vm_definition *d, unsigned flags) {
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_uses_ struct vm_uses uses = { 0 };
        struct def_summary summary = { 0 };
        struct plan_request req = { .text = d->text,
                                    .len = d->len,
                                    .file = d->file,
                                    .directory = d->directory,
                                    .def_flags = flags,
                                    .cdroms = d->cdroms,
                                    .n_cdroms = d->n_cdroms,
                                    .settings = m->settings,
                                    .goal = PLAN_CHECK,
                                    .uid = vm_plan_uid(&m->env) };
        struct work *work;

        (void) def_summarize(d->text, d->len, d->directory, &summary, NULL);
        struct machine *self = machine_find(m, summary.name);
        machines_uses(self ? self->vm : NULL, &uses, m);
        vm_uses_request(&uses, &req);
        if (work_start(m->loop, "the check", PLAN_PROBE_DEADLINE_MS, plan_check_work, &req, checked, call,
                       &work, &err) < 0)
                method_fail(call, &err);
}

/* -- methods --------------------------------------------------------------------------------------------- */

static void load(struct manager *m, struct rpc_call *call, const struct vm_definition *d, bool save) {
        _cleanup_(parsed_done) struct parsed p = { 0 };
        _cleanup_error_ struct error err = ERROR_INIT;
        struct def_summary summary;

        if (parse(call, d, save ? DEF_SAVE : 0, &p, &summary) < 0)
                return;
        if (!m->settings->system)
                complete_warn_reserve(p.def, &p.diags);
        struct machine *machine = machine_find(m, summary.name);
        if (machine && machine->vm && busy(machine->vm)) {
                fail_busy(call, machine->vm, "replaced");
                return;
        }
        if (replace(m, d, &summary, save, &err) < 0) {
                method_fail(call, &err);
                return;
        }
        machine = machine_find(m, summary.name);
        events_machine(m, summary.name, "loaded", json_pack("{s:b}", "saved", vm_saved(machine->vm)));
        json_t *reply = json_pack("{s:s, s:b, s:o}", "name", summary.name, "saved", vm_saved(machine->vm),
                                  "faults", diags_to_json(&p.diags));
        _cleanup_free_ char *path = store_path(m, summary.name);
        if (!vm_saved(machine->vm) && access(path, F_OK) == 0)
                json_put_str(reply, "note",
                             "the saved definition is another one, which the next start of vored finds");
        if (save)
                saved(m, call, summary.name, reply, false);
        else
                rpc_reply(call, reply);
}

void method_load(struct rpc_call *call, const json_t *params, void *manager) {
        struct vm_definition d = { .text = json_get_str(params, "toml", ""),
                                   .directory = json_get_str(params, "directory", ""),
                                   .file = json_get_str(params, "file", "definition") };
        bool save = json_get_bool(params, "save", false), dry = json_get_bool(params, "dry_run", false);
        _cleanup_free_ const char **cdroms = NULL;

        d.len = json_string_length(json_object_get(params, "toml"));
        if (*d.directory != '/') {
                rpc_fail_parameter(call, "directory");
                return;
        }
        if (method_cdroms(call, params, &cdroms, &d.n_cdroms) < 0)
                return;
        d.cdroms = cdroms;
        if (!dry)
                load(manager, call, &d, save);
        else if (rpc_turn(call, params))
                dry_run(manager, call, &d, save ? DEF_SAVE : 0);
}

void method_save(struct rpc_call *call, const json_t *params, void *manager) {
        struct manager *m = manager;
        struct vm *vm = method_vm(m, call, params);
        _cleanup_(parsed_done) struct parsed p = { 0 };
        _cleanup_error_ struct error err = ERROR_INIT;
        struct def_summary summary;

        if (!vm)
                return;
        const struct vm_definition *d = vm_definition(vm);
        if (parse(call, d, DEF_SAVE, &p, &summary) < 0)
                return;
        if (!m->settings->system)
                complete_warn_reserve(p.def, &p.diags);
        if (store_save(m, vm_name(vm), d->text, d->len, &err) < 0) {
                method_fail(call, &err);
                return;
        }
        vm_set_saved(vm, true);
        events_machine(m, vm_name(vm), "saved", json_object());
        saved(m, call, vm_name(vm), json_pack("{s:o}", "faults", diags_to_json(&p.diags)), false);
}

void method_unload(struct rpc_call *call, const json_t *params, void *manager) {
        struct manager *m = manager;
        struct machine *machine = method_machine(m, call, params);
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_free_ char *name = NULL;

        if (!machine)
                return;
        if (machine->vm && busy(machine->vm)) {
                fail_busy(call, machine->vm, "unloaded");
                return;
        }
        if (machine->vm && vm_discard(machine->vm, &err) < 0) {
                method_fail(call, &err);
                return;
        }
        name = xstrdup(machine->name);
        machine_remove(m, machine);
        events_machine(m, name, "unloaded", json_object());
        rpc_reply(call, NULL);
}

/* A broken one is only its file: it goes with it. One in memory is noted where a restart finds it. */
static int forget(struct manager *m, const char *name, struct machine *machine, struct error *err) {
        int r = store_delete(m, name, err);

        if (r >= 0 && machine && !machine->vm)
                machine_remove(m, machine);
        else if (r >= 0 && machine) {
                vm_set_saved(machine->vm, false);
                r = vm_note(machine->vm, err);
        }
        return r;
}

void method_forget(struct rpc_call *call, const json_t *params, void *manager) {
        struct manager *m = manager;
        _cleanup_free_ char *name = xstrdup(json_get_str(params, "name", ""));
        bool with_folder = json_get_bool(params, "purge", false);
        _cleanup_error_ struct error err = ERROR_INIT;
        struct machine *machine = machine_find(m, name);
        _cleanup_free_ char *path = store_path(m, name), *folder = plan_instance_dir(m->settings, name);
        bool left = with_folder && access(folder, F_OK) == 0;

        if (!machine && (!def_name_valid(name) || (access(path, F_OK) < 0 && !left))) {
                (void) method_machine(m, call, params);
                return;
        }
        if (machine && machine->vm && with_folder && busy(machine->vm)) {
                fail_busy(call, machine->vm, "purged");
                return;
        }
        if (forget(m, name, machine, &err) < 0) {
                method_fail(call, &err);
                return;
        }
        events_machine(m, name, "forgotten", json_object());
        saved(m, call, name, json_object(), with_folder);
}
