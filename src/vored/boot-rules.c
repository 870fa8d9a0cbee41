/* BootRules: what claims the reserved devices while the host boots, and whether it is up to date. */
#include "vored/reserve.h"

#include "base/str.h"
#include "rules/rules.h"

#include <errno.h>

/* The devices of all saved definitions, for as long as the rows do not change. */
struct devices {
        struct rules_device *items; /* owned, with their vms */
        size_t n;
};

static void devices_done(struct devices *d) {
        for (size_t i = 0; i < d->n; i++)
                free((char *) d->items[i].vms);
        free(d->items);
}

static char *names_of(const json_t *vms) {
        struct strbuf b = STRBUF_INIT;
        json_t *vm;
        size_t i;

        json_array_foreach ((json_t *) vms, i, vm) {
                strbuf_addf(&b, "%s%s", i ? ", " : "", json_string_value(vm));
        }
        return strbuf_take(&b);
}

static void devices_take(const struct manager *m, struct devices *ret) {
        ret->items = xcalloc(m->reserve->n_rows + 1, sizeof(*ret->items));
        for (size_t i = 0; i < m->reserve->n_rows; i++) {
                const struct reserve_row *row = m->reserve->rows[i];

                if (json_array_size(row->vms))
                        ret->items[ret->n++] = (struct rules_device){ row->address, row->vendor, row->device,
                                                                      names_of(row->vms) };
        }
}

static struct rules_place place_of(const struct manager *m) {
        return (struct rules_place){ .state_dir = m->settings->vore.state_dir };
}

json_t *boot_rules_notes(const struct manager *m) {
        _cleanup_(devices_done) struct devices d = { 0 };
        struct rules_place place = place_of(m);
        json_t *notes = json_array();

        if (!m->settings->system || m->env.captured)
                return notes;
        devices_take(m, &d);
        for (int kind = 0; kind < RULES_KIND_COUNT; kind++) {
                const char *name = rules_kind_name((enum rules_kind) kind);

                if (!rules_kind_installs((enum rules_kind) kind) ||
                    rules_look(&place, (enum rules_kind) kind, d.items, d.n) != RULES_OUTDATED)
                        continue;
                _cleanup_free_ char *text =
                        xasprintf("what claims devices at boot (%s) is out of date: vore reserve --%s %s%s",
                                  name, d.n ? "install" : "remove", name,
                                  d.n ? "" : ", as no saved definition reserves a device that is here");
                json_push(notes, json_string_lossy(text));
        }
        return notes;
}

/* -- the method
 * ---------------------------------------------------------------------------------------------- */

struct asked {
        struct rpc_call *call;
        enum rules_kind kind;
        enum { EMIT, INSTALL, REMOVE } action;
};

static void written(const json_t *result, const struct error *err, pid_t stuck, void *data) {
        if (result)
                rpc_reply(data,
                          json_pack("{s:n, s:O, s:O}", "text", "files", json_object_get(result, "files"),
                                    "ran", json_object_get(result, "ran")));
        else
                method_fail(data, err);
}

static void emit(const struct asked *a, const struct devices *d) {
        _cleanup_free_ char *text = rules_emit(a->kind, d->items, d->n);

        rpc_reply(a->call, json_pack("{s:o, s:[], s:n}", "text", json_string_lossy(text), "files", "ran"));
}

/* A file that nobody can read may reserve what the rules would leave out. */
static int all_known(const struct manager *m, struct error *err) {
        const char *name;
        json_t *why;

        if (m->reserve->ending)
                return error_set(err, -ESHUTDOWN, "vored ends");
        if (m->reserve->unread)
                return error_set(
                        err, -EIO,
                        "what the saved definitions reserve is not known: %s (vore reserve tries it again)",
                        m->reserve->unread);
        json_object_foreach (m->reserve->unknown, name, why)
                return error_set(
                        err, -EINVAL,
                        "what the saved definition of %s reserves is not known, so the rules would lack it: "
                        "%s; mend it (vore load FILE --save) or vore forget %s",
                        name, json_string_value(why), name);
        return 0;
}

/* The definitions were looked at just now. */
static void looked(struct manager *m, void *data) {
        _cleanup_free_ struct asked *a = data;
        _cleanup_(devices_done) struct devices d = { 0 };
        _cleanup_error_ struct error err = ERROR_INIT;
        struct work *work;

        if ((a->action != REMOVE || m->reserve->ending) && all_known(m, &err) < 0) {
                method_fail(a->call, &err);
                return;
        }
        devices_take(m, &d);
        struct rules_job job = { .place = place_of(m),
                                 .kind = a->kind,
                                 .devices = d.items,
                                 .n = d.n,
                                 .remove = a->action == REMOVE };
        if (a->action == EMIT && d.n)
                emit(a, &d);
        else if (a->action == EMIT) {
                error_set(&err, -ENODATA,
                          "no saved definition reserves a device that this host has: there is nothing to "
                          "claim at boot");
                method_fail(a->call, &err);
        } else if (work_start(m->loop, "the rules of the boot", RULES_DEADLINE_MS, rules_work, &job, written,
                              a->call, &work, &err) < 0)
                method_fail(a->call, &err);
}

void method_boot_rules(struct rpc_call *call, const json_t *params, void *manager) {
        static const char *const actions[] = { "emit", "install", "remove" };
        const char *action = json_get_str(params, "action", "");
        struct asked a = { .call = call };
        _cleanup_error_ struct error err = ERROR_INIT;
        size_t i = 0;

        while (i < ARRAY_SIZE(actions) && !str_eq(action, actions[i]))
                i++;
        if (i == ARRAY_SIZE(actions)) {
                rpc_fail_parameter(call, "action");
                return;
        }
        a.action = i;
        if (rules_kind_find(json_get_str(params, "kind", ""), &a.kind, &err) < 0)
                method_fail(call, &err);
        else if (reserve_possible(manager, call)) {
                struct asked *copy = xcalloc(1, sizeof(*copy));

                *copy = a;
                reserve_request(manager, RESERVE_LOOK, NULL, looked, copy);
        }
}
