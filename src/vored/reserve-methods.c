/* Reserve, Release, and what list and devices say about it. */
#include "vored/reserve.h"

#include "base/str.h"
#include "vfio/kept.h"

#include <errno.h>

/* -- what there is to tell ------------------------------------------------------------------------------- */

struct told {
        const char *state, *reason; /* borrowed */
        char *text;                 /* owned: reason, if it was made here */
};

static struct told tell(const struct reserve_row *row) {
        const char *user = reserve_user(row->m, row->address);
        bool kept = vfio_kept_find(row->m->settings->vore.runtime_dir, row->address, NULL, NULL) > 0;

        if (row->work)
                return (struct told){ row->task == TASK_CLAIM ? "being claimed" : "being given back", NULL,
                                      NULL };
        if (user) {
                char *text = xasprintf("the machine %s has it", user);
                return (struct told){ "in use", text, text };
        }
        /* One that hangs on its way is remembered as kept, as nobody knows how far it came. */
        if (kept && !(row->reason && row->failed == TASK_CLAIM))
                return (struct told){ "reserved", row->reason, NULL };
        if (row->reason)
                return (struct told){ row->put_back ? "released" : "not reserved", row->reason, NULL };
        return (struct told){ "released", NULL, NULL };
}

static json_t *row_to_json(const struct reserve_row *row) {
        struct told t = tell(row);
        json_t *j = json_object();

        json_put_str(j, "address", row->address);
        json_put(j, "vms", json_deep_copy(row->vms));
        json_put_str(j, "state", t.state);
        json_put(j, "reason", t.reason ? json_string_lossy(t.reason) : NULL);
        free(t.text);
        return j;
}

json_t *reserve_to_json(const struct manager *m, const char *address) {
        json_t *array = json_array();

        for (size_t i = 0; i < m->reserve->n_rows; i++)
                if (!address || str_eq(m->reserve->rows[i]->address, address))
                        json_push(array, row_to_json(m->reserve->rows[i]));
        return array;
}

static void note(json_t *notes, const char *fmt, ...) _printf_(2, 3);
static void note(json_t *notes, const char *fmt, ...) {
        _cleanup_free_ char *text = NULL;
        va_list ap;

        va_start(ap, fmt);
        if (vasprintf(&text, fmt, ap) >= 0)
                json_push(notes, json_string_lossy(text));
        va_end(ap);
}

static void note_row(json_t *notes, const struct reserve_row *row, const char *name) {
        struct told t = tell(row);
        const json_t *vm;
        size_t i;

        json_array_foreach (row->vms, i, vm) {
                if (str_eq(t.state, "not reserved") && (!name || str_eq(name, json_string_value(vm))))
                        note(notes, "%s: %s is not reserved: %s", json_string_value(vm), row->address,
                             t.reason);
        }
        free(t.text);
}

json_t *reserve_notes(const struct manager *m, const char *name) {
        json_t *notes = json_array(), *problems, *problem, *unknown;
        const char *vm;
        size_t i;

        for (i = 0; i < m->reserve->n_rows; i++)
                note_row(notes, m->reserve->rows[i], name);
        json_object_foreach (m->reserve->problems, vm, problems) {
                json_array_foreach (problems, i, problem) {
                        if (!name || str_eq(name, vm))
                                note(notes, "%s: nothing is reserved for %s", vm, json_string_value(problem));
                }
        }
        json_object_foreach (m->reserve->unknown, vm, unknown) {
                if (!name || str_eq(name, vm))
                        note(notes,
                             "%s: what it reserves is not known (%s), so nothing is given back until that is "
                             "mended, or vore forget %s",
                             vm, json_string_value(unknown), vm);
        }
        if (m->reserve->unread)
                note(notes,
                     "what the saved definitions reserve is not known: %s (vore reserve tries it again)",
                     m->reserve->unread);
        return notes;
}

/* What is kept still. */
static json_t *release_notes(const struct manager *m) {
        json_t *notes = json_array();

        for (size_t i = 0; i < m->reserve->n_rows; i++) {
                const struct reserve_row *row = m->reserve->rows[i];
                struct told t = tell(row);

                if (t.reason && (str_eq(t.state, "reserved") || str_eq(t.state, "in use")))
                        note(notes, "%s is not given back: %s", row->address, t.reason);
                free(t.text);
        }
        return notes;
}

/* -- the methods ----------------------------------------------------------------------------------------- */

struct waiting {
        struct rpc_call *call;
        char *address; /* owned; NULL: all */
        bool release;
};

static void waiting_free(struct waiting *w) {
        free(w->address);
        free(w);
}

static void fail_busy(struct rpc_call *call, const char *address, const char *fmt, ...) _printf_(3, 4);
static void fail_busy(struct rpc_call *call, const char *address, const char *fmt, ...) {
        _cleanup_free_ char *text = NULL;
        va_list ap;

        va_start(ap, fmt);
        if (vasprintf(&text, fmt, ap) < 0)
                text = xstrdup("it is busy");
        va_end(ap);
        rpc_fail(call, "DeviceBusy",
                 json_pack("{s:s, s:o}", "address", address, "message", json_string_lossy(text)));
}

static void answer(struct manager *m, void *data) {
        struct waiting *w = data;
        const struct reserve_row *row = w->address ? reserve_find(m, w->address) : NULL;
        bool kept = row && vfio_kept_find(m->settings->vore.runtime_dir, row->address, NULL, NULL) > 0;

        if (row && row->reason && (!kept || w->release || row->failed == TASK_CLAIM))
                fail_busy(w->call, row->address, "%s is not %s: %s", row->address,
                          w->release ? "given back" : "reserved", row->reason);
        else
                rpc_reply(w->call, json_pack("{s:o, s:o, s:o}", "devices", reserve_to_json(m, w->address),
                                             "rules", boot_rules_notes(m), "notes",
                                             w->address ? json_array() :
                                             w->release ? release_notes(m) :
                                                          reserve_notes(m, NULL)));
        waiting_free(w);
}

/* The device that is meant, in full: 1, or 0 for all of them; -EINVAL and the call is answered. */
static int parse_address(struct rpc_call *call, const json_t *params, char **ret) {
        const char *text = json_get_str(params, "address", NULL);
        _cleanup_arena_ struct arena *arena = arena_new();
        const char *full = text ? def_pci_address(arena, text) : NULL;
        _cleanup_error_ struct error err = ERROR_INIT;

        if (text && !full) {
                error_set(&err, -EINVAL,
                          "\"%.64s\" is no PCI address such as \"0b:00.3\" (vore devices lists them)", text);
                method_fail(call, &err);
                return -EINVAL;
        }
        *ret = full ? xstrdup(full) : NULL;
        return full != NULL;
}

bool reserve_possible(struct manager *m, struct rpc_call *call) {
        _cleanup_error_ struct error err = ERROR_INIT;

        if (!m->settings->system)
                error_set(&err, -EOPNOTSUPP,
                          "a session daemon binds no devices: ask the system's "
                          "(vore -c /run/vore/vored.sock …)");
        else if (m->env.captured)
                error_set(&err, -EROFS, "this is a captured host, on which nothing is changed");
        if (err.code)
                method_fail(call, &err);
        return err.code == 0;
}

static void begin(struct manager *m, struct rpc_call *call, enum reserve_kind kind, char *address) {
        struct waiting *w = xcalloc(1, sizeof(*w));

        *w = (struct waiting){ call, address, kind == RELEASE_BY_HAND };
        reserve_request(m, kind, address, answer, w);
}

void method_reserve(struct rpc_call *call, const json_t *params, void *manager) {
        struct manager *m = manager;
        char *address = NULL;
        int r = reserve_possible(m, call) ? parse_address(call, params, &address) : -1;

        if (r >= 0)
                begin(m, call, r ? RESERVE_BY_HAND : RESERVE_ALL, address);
}

void method_release(struct rpc_call *call, const json_t *params, void *manager) {
        struct manager *m = manager;
        char *address = NULL;
        int r = reserve_possible(m, call) ? parse_address(call, params, &address) : -1;
        const char *user = r > 0 ? reserve_user(m, address) : NULL;

        if (r < 0)
                return;
        if (user)
                fail_busy(call, address, "%s is in use by the machine %s: vore stop %s first", address, user,
                          user);
        else if (r > 0 && vfio_kept_find(m->settings->vore.runtime_dir, address, NULL, NULL) <= 0)
                fail_busy(call, address,
                          "%s is not kept by vore: there is nothing to give back (vore reserve shows "
                          "what is)",
                          address);
        else {
                begin(m, call, RELEASE_BY_HAND, address);
                return;
        }
        free(address);
}
