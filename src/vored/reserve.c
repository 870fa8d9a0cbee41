#include "vored/reserve.h"

#include "base/log.h"
#include "base/str.h"
#include "host/pci.h"
#include "plan/reserved.h"
#include "vfio/kept.h"

#include <errno.h>

static void queue_run(struct manager *m);

/* -- rows ------------------------------------------------------------------------------------------------ */

struct reserve_row *reserve_find(const struct manager *m, const char *address) {
        for (size_t i = 0; i < m->reserve->n_rows; i++)
                if (str_eq(m->reserve->rows[i]->address, address))
                        return m->reserve->rows[i];
        return NULL;
}

static int row_compare(const void *a, const void *b) {
        return host_pci_compare((*(struct reserve_row *const *) a)->address,
                                (*(struct reserve_row *const *) b)->address);
}

static struct reserve_row *row_get(struct manager *m, const char *address) {
        struct reserve *r = m->reserve;
        struct reserve_row *row = reserve_find(m, address);

        if (row || strlen(address) >= sizeof(row->address))
                return row;
        row = xcalloc(1, sizeof(*row));
        row->m = m;
        row->vms = json_array();
        snprintf(row->address, sizeof(row->address), "%s", address);
        r->rows = xrealloc(r->rows, r->n_rows + 1, sizeof(struct reserve_row *));
        r->rows[r->n_rows++] = row;
        qsort(r->rows, r->n_rows, sizeof(struct reserve_row *), row_compare);
        return row;
}

static void row_free(struct reserve_row *row) {
        work_cancel(row->work);
        vfio_job_free(row->job);
        json_decref(row->vms);
        free(row->reason);
        free(row);
}

static bool row_kept(const struct reserve_row *row) {
        return vfio_kept_find(row->m->settings->vore.runtime_dir, row->address, NULL, NULL) > 0;
}

static bool wants(const struct reserve_row *row, const char *name) {
        const json_t *vm;
        size_t i;

        json_array_foreach (row->vms, i, vm) {
                if (!name || str_eq(json_string_value(vm), name))
                        return true;
        }
        return false;
}

/* Those that nobody wants and that are not kept have nothing to tell any more. */
static void rows_drop(struct manager *m) {
        struct reserve *r = m->reserve;
        size_t left = 0;

        for (size_t i = 0; i < r->n_rows; i++) {
                struct reserve_row *row = r->rows[i];

                if (row->work || json_array_size(row->vms) || row_kept(row))
                        r->rows[left++] = row;
                else
                        row_free(row);
        }
        r->n_rows = left;
}

const char *reserve_user(const struct manager *m, const char *address) {
        for (size_t i = 0; i < m->n_machines; i++)
                if (m->machines[i].vm && vm_has_device(m->machines[i].vm, address))
                        return m->machines[i].name;
        return NULL;
}

bool reserve_busy(const char *address, void *data) {
        struct manager *m = data;
        const struct reserve_row *row = m->reserve ? reserve_find(m, address) : NULL;

        return row && row->work;
}

/* -- the request under way ------------------------------------------------------------------------------- */

static void warn(const struct reserve_row *row) {
        json_t *vm;
        size_t i;

        if (!row->reason || row->put_back)
                return;
        json_array_foreach (row->vms, i, vm) {
                log_warning("%s: %s is not reserved: %s", json_string_value(vm), row->address, row->reason);
        }
        if (json_array_size(row->vms) == 0)
                log_warning("%s: %s", row->address, row->reason);
}

static void request_free(struct reserve_request *request) {
        free(request->name);
        free(request);
}

static void rows_forgive(struct manager *m) {
        for (size_t i = 0; i < m->reserve->n_rows; i++) {
                struct reserve_row *row = m->reserve->rows[i];

                if (row->refused)
                        free(TAKE_PTR(row->reason));
                row->refused = false;
        }
}

/* VMs that wait for a device of theirs go on. */
static void others_go_on(struct manager *m) {
        for (size_t i = 0; i < m->n_machines; i++)
                if (m->machines[i].vm)
                        vm_devices_changed(m->machines[i].vm);
        boot_auto_start_go(m);
}

static void request_over(struct manager *m) {
        struct reserve_request *request = m->reserve->queue;

        m->reserve->queue = request->next;
        if (request->done)
                request->done(m, request->data);
        request_free(request);
        rows_forgive(m);
        rows_drop(m);
        others_go_on(m);
        queue_run(m);
}

void reserve_job_done(struct reserve_row *row) {
        struct manager *m = row->m;

        warn(row);
        row->task = TASK_NONE;
        if (--m->reserve->pending == 0)
                request_over(m);
        else
                others_go_on(m);
}

/* The rows' jobs, all at the same time. */
static void jobs_run(struct manager *m) {
        struct reserve *r = m->reserve;
        /* What fails at once must not end the request while others begin. */
        r->pending = 1;
        for (size_t i = 0; i < r->n_rows; i++)
                r->pending += r->rows[i]->task != TASK_NONE;
        for (size_t i = 0; i < r->n_rows; i++)
                if (r->rows[i]->task == TASK_CLAIM)
                        reserve_job_claim(r->rows[i]);
                else if (r->rows[i]->task == TASK_GIVE_BACK)
                        reserve_job_give_back(r->rows[i]);
        if (--r->pending == 0)
                request_over(m);
}

/* -- what the saved definitions want --------------------------------------------------------------------- */

static void take_definition(struct manager *m, const json_t *definition) {
        const char *name = json_get_str(definition, "name", "");
        json_t *device, *problems = json_object_get(definition, "problems"), *problem;
        const char *unknown = json_get_str(definition, "unknown", NULL);
        size_t i;

        if (unknown) {
                log_warning("%s: what it reserves is not known, so nothing is given back: %s", name, unknown);
                json_put_str(m->reserve->unknown, name, unknown);
        }
        json_array_foreach (json_object_get(definition, "devices"), i, device) {
                struct reserve_row *row = row_get(m, json_get_str(device, "address", ""));

                if (!row)
                        continue;
                json_push_str(row->vms, name);
                row->vendor = (uint16_t) json_get_int(device, "vendor", 0);
                row->device = (uint16_t) json_get_int(device, "device", 0);
                row->force = row->force || json_get_bool(device, "force", false);
        }
        json_array_foreach (problems, i, problem) {
                log_warning("%s: nothing is reserved for %s", name, json_string_value(problem));
        }
        if (json_array_size(problems))
                json_put(m->reserve->problems, name, json_incref(problems));
}

static void take_definitions(struct manager *m, const json_t *definitions) {
        struct reserve *r = m->reserve;
        json_t *definition;
        size_t i;

        for (i = 0; i < r->n_rows; i++) {
                json_array_clear(r->rows[i]->vms);
                r->rows[i]->vendor = r->rows[i]->device = 0;
                r->rows[i]->force = false;
        }
        json_decref(r->problems);
        r->problems = json_object();
        json_object_clear(r->unknown);
        json_array_foreach (definitions, i, definition) {
                take_definition(m, definition);
        }
}

/* It is kept for a definition that does not want it any more, and no machine has it. */
static bool unwanted(const struct reserve_row *row) {
        _cleanup_free_ char *why = NULL;

        return json_array_size(row->vms) == 0 && !row->work && !reserve_user(row->m, row->address) &&
               vfio_kept_find(row->m->settings->vore.runtime_dir, row->address, NULL, &why) > 0 &&
               str_eq(why, VFIO_KEPT_RESERVE);
}

static void tasks_set(struct manager *m, const struct reserve_request *request) {
        bool claims = request->kind != RESERVE_UNWANTED;
        bool all_known = json_object_size(m->reserve->unknown) == 0;

        for (size_t i = 0; i < m->reserve->n_rows; i++) {
                struct reserve_row *row = m->reserve->rows[i];

                row->by_hand = false;
                row->task = claims && wants(row, request->name) ? TASK_CLAIM :
                            all_known && unwanted(row)          ? TASK_GIVE_BACK :
                                                                  TASK_NONE;
        }
}

static void known(const json_t *result, const struct error *err, pid_t stuck, void *data) {
        struct manager *m = data;

        m->reserve->work = NULL;
        free(TAKE_PTR(m->reserve->unread));
        if (result) {
                take_definitions(m, result);
                if (m->reserve->queue->kind != RESERVE_LOOK)
                        tasks_set(m, m->reserve->queue);
        } else {
                m->reserve->unread = xstrdup(error_text(err));
                log_warning("nothing is reserved: %s", error_text(err));
        }
        jobs_run(m);
}

/* -- requests -------------------------------------------------------------------------------------------- */

static void ask(struct manager *m) {
        _cleanup_free_ char *folder = xasprintf("%s/definitions", m->settings->vore.state_dir);
        struct plan_reserved_request request = { m->settings, folder };
        _cleanup_error_ struct error err = ERROR_INIT;

        if (work_start(m->loop, "the question what is reserved", PLAN_DEADLINE_MS, plan_reserved_work,
                       &request, known, m, &m->reserve->work, &err) < 0)
                known(NULL, &err, 0, m);
}

static void by_hand(struct manager *m, const struct reserve_request *request) {
        enum reserve_task task = request->kind == RESERVE_BY_HAND ? TASK_CLAIM : TASK_GIVE_BACK;
        struct reserve *r = m->reserve;

        if (request->name)
                (void) row_get(m, request->name);
        for (size_t i = 0; i < r->n_rows; i++) {
                struct reserve_row *row = r->rows[i];
                bool meant = request->name ? str_eq(row->address, request->name) :
                                             row_kept(row) && !reserve_user(m, row->address);

                row->task = meant ? task : TASK_NONE;
                row->by_hand = task == TASK_CLAIM;
                row->put_back = row->put_back || (meant && task == TASK_GIVE_BACK);
        }
        jobs_run(m);
}

/* What another daemon kept, or a machine's end, gets a row too. */
static void rows_from_file(struct manager *m) {
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_json_ json_t *kept = NULL;
        const char *address;
        json_t *entry;

        if (vfio_kept_list(m->settings->vore.runtime_dir, &kept, &err) < 0)
                log_warning("%s", error_text(&err));
        json_object_foreach (kept, address, entry) {
                if (host_pci_is_address(address))
                        (void) row_get(m, address);
        }
}

static int queue_next(sd_event_source *source, void *data) {
        struct manager *m = data;
        struct reserve_request *request = m->reserve->queue;

        sd_event_source_disable_unref(source);
        if (!request || m->reserve->work || m->reserve->pending)
                return 0;
        rows_from_file(m);
        if (request->kind == RESERVE_BY_HAND || request->kind == RELEASE_BY_HAND)
                by_hand(m, request);
        else
                ask(m);
        return 0;
}

/* By the loop: who asks goes on first. */
static void queue_run(struct manager *m) {
        sd_event_source *source = NULL;

        if (m->reserve->queue && sd_event_add_defer(m->loop, &source, queue_next, m) < 0)
                log_error("the event loop takes no more");
}

void reserve_request(struct manager *m, enum reserve_kind kind, const char *name, reserve_done_fn done,
                     void *data) {
        struct reserve_request *request = xcalloc(1, sizeof(*request)), **last = &m->reserve->queue;

        *request = (struct reserve_request){
                .kind = kind, .name = name ? xstrdup(name) : NULL, .done = done, .data = data
        };
        while (*last)
                last = &(*last)->next;
        *last = request;
        if (last == &m->reserve->queue)
                queue_run(m);
}

bool reserve_needed(const struct manager *m) {
        _cleanup_json_ json_t *kept = NULL;

        if (!m->settings->system || m->env.captured)
                return false;
        for (size_t i = 0; i < m->n_machines; i++) {
                const struct machine *machine = &m->machines[i];

                if (machine->differs || (machine->vm && vm_saved(machine->vm) && vm_reserves(machine->vm)))
                        return true;
        }
        return m->reserve->n_rows || json_object_size(m->reserve->problems) ||
               json_object_size(m->reserve->unknown) ||
               vfio_kept_list(m->settings->vore.runtime_dir, &kept, NULL) < 0 || json_object_size(kept);
}

void reserve_machine_ended(struct manager *m, const struct vm *vm) {
        if (!vm_active(vm) && vm_state(vm) != VM_PREPARED)
                reserve_devices_detached(m);
}

void reserve_devices_detached(struct manager *m) {
        if (m->power_off_us || !m->reserve)
                return;
        rows_from_file(m);
        for (size_t i = 0; i < m->reserve->n_rows; i++)
                if (unwanted(m->reserve->rows[i])) {
                        reserve_request(m, RESERVE_UNWANTED, NULL, NULL, NULL);
                        return;
                }
}

bool reserve_waits(const struct manager *m, const char *name) {
        const struct machine *machine = machine_find((struct manager *) m, name);

        if (!machine || !machine->vm || !vm_reserves(machine->vm))
                return false;
        for (size_t i = 0; i < m->reserve->n_rows; i++)
                if (m->reserve->rows[i]->work && wants(m->reserve->rows[i], name))
                        return true;
        for (const struct reserve_request *q = m->reserve->queue; q; q = q->next)
                if (q->kind == RESERVE_ALL && (q != m->reserve->queue || !m->reserve->pending))
                        return true;
        return false;
}

void reserve_init(struct manager *m) {
        m->reserve = xcalloc(1, sizeof(*m->reserve));
        m->reserve->problems = json_object();
        m->reserve->unknown = json_object();
}

void reserve_free(struct manager *m) {
        struct reserve *r = m->reserve;
        struct reserve_request *next;

        if (!r)
                return;
        work_cancel(r->work);
        r->ending = true;
        /* Whoever waits is answered with how things are. */
        for (struct reserve_request *q = r->queue; q; q = next) {
                next = q->next;
                if (q->data)
                        q->done(m, q->data);
                request_free(q);
        }
        for (size_t i = 0; i < r->n_rows; i++)
                row_free(r->rows[i]);
        json_decref(r->problems);
        json_decref(r->unknown);
        free(r->unread);
        free(r->rows);
        free(r);
        m->reserve = NULL;
}
