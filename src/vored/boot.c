/* What a daemon does at its start: find the machines of the one before, then start those that want it. */
#include "vored/reserve.h"

#include "base/log.h"
#include "base/str.h"

#include <dirent.h>
#include <errno.h>

static void adopted(struct vm *vm, void *data) {
        struct manager *m = data;

        if (m->adoptions > 0)
                m->adoptions--;
}

/* The run-time folder knows what runs; for a machine that does not, the saved file is the truth. */
static void adopt_merge(struct manager *m, struct vm *vm) {
        struct machine *known = machine_find(m, vm_name(vm));

        if (!known) {
                machine_add(m, vm_name(vm), vm, NULL);
                return;
        }
        /* A file that is broken now is what the user has to be told of; the record of its last run goes,
         * unless something of that is still there or just being given back. */
        if (!known->vm && vm_discard(vm, NULL) != -EBUSY) {
                vm_free(vm);
                return;
        }
        bool holds = vm_active(vm) || vm_state(vm) == VM_PREPARED;
        /* Somebody may have loaded another one without saving it, or written into the file. */
        vm_set_saved(vm, (known->vm && !holds) || store_has(m, vm_name(vm), vm_definition(vm)));
        known->differs = !vm_saved(vm);
        if (known->vm && !holds) {
                const struct vm_definition *d = vm_definition(known->vm), *old = vm_definition(vm);
                struct def_summary summary;

                /* Another text is another definition, and the last end was not its own. */
                if ((d->len != old->len || memcmp(d->text, old->text, d->len) != 0) &&
                    def_summarize(d->text, d->len, d->directory, &summary, NULL) >= 0)
                        (void) vm_define(vm, d, &summary, NULL);
        }
        vm_free(known->vm);
        free(known->broken);
        known->broken = NULL;
        known->vm = vm;
}

static void adopt_one(struct manager *m, const char *name) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct vm *vm = NULL;

        m->adoptions++;
        int r = vm_adopt(&m->env, name, adopted, m, &vm, &err);
        if (r >= 0)
                adopt_merge(m, vm);
        else {
                m->adoptions--;
                if (r != -ENOENT)
                        log_warning("%s: what the run-time folder has of it cannot be used: %s", name,
                                    error_text(&err));
        }
}

int boot_adopt(struct manager *m, struct error *err) {
        _cleanup_free_ char *path = xasprintf("%s/vm", m->settings->vore.runtime_dir);
        DIR *dir = opendir(path);
        struct dirent *e;

        if (!dir)
                return error_errno(err, errno, "cannot read %s", path);
        while ((e = readdir(dir)))
                if (def_name_valid(e->d_name))
                        adopt_one(m, e->d_name);
        closedir(dir);
        return 0;
}

/* It is under way, or came to its end at once: then false. */
static bool start(struct manager *m, struct machine *machine) {
        static const struct vm_start_options options = { 0 };
        double age;

        log_info("%s: auto-start", machine->name);
        m->auto_starting = xstrdup(machine->name);
        /* Its end, well or not, starts the next one: boot_auto_start_next(). */
        vm_start(machine->vm, &options, NULL);
        if (!m->auto_starting || vm_operation(machine->vm, &age))
                return true;
        log_warning("%s: not started, it is %s", machine->name, vm_state_name(vm_state(machine->vm)));
        free(TAKE_PTR(m->auto_starting));
        return false;
}

void boot_auto_start_go(struct manager *m) {
        for (size_t i = 0; i < m->n_auto_start && !m->auto_starting;) {
                struct machine *machine = machine_find(m, m->auto_start[i]);

                if (machine && reserve_waits(m, machine->name)) {
                        i++;
                        continue;
                }
                free(m->auto_start[i]);
                m->n_auto_start--;
                memmove(&m->auto_start[i], &m->auto_start[i + 1], (m->n_auto_start - i) * sizeof(char *));
                if (machine && machine->vm && !vm_active(machine->vm) && start(m, machine))
                        return;
        }
}

void boot_auto_start_next(struct vm *vm, void *data) {
        struct manager *m = data;

        if (!str_eq(m->auto_starting, vm_name(vm)))
                return;
        free(TAKE_PTR(m->auto_starting));
        boot_auto_start_go(m);
}

void boot_auto_start(struct manager *m) {
        if (m->env.captured)
                return;
        m->auto_start = xcalloc(m->n_machines + 1, sizeof(*m->auto_start));
        for (size_t i = 0; i < m->n_machines; i++)
                if (m->machines[i].vm && vm_saved(m->machines[i].vm) && vm_auto_start(m->machines[i].vm))
                        m->auto_start[m->n_auto_start++] = xstrdup(m->machines[i].name);
        boot_auto_start_go(m);
}
