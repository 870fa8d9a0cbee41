#include "vored/reserve.h"

#include "base/clock.h"
#include "base/str.h"

/* A reader that has this much unread is behind: it gets `overflow` and is closed. */
enum { UNSENT_MAX = 1024 * 1024 };

struct subscriber {
        struct manager *manager;
        struct rpc_call *call;
        char *name; /* NULL: all machines */
        struct subscriber *next;
};

static json_t *event_json(struct manager *m, const char *name, const char *event, json_t *data) {
        json_t *e = json_object();

        json_put_int(e, "sequence", (int64_t) m->sequence);
        json_put(e, "time", json_real((double) clock_realtime_us() / 1e6));
        json_put_str(e, "vm", name);
        json_put_str(e, "event", event);
        json_put(e, "data", data ? data : json_object());
        return json_pack("{s:o}", "event", e);
}

static void subscriber_remove(struct subscriber *s) {
        struct subscriber **p = &s->manager->subscribers;

        while (*p != s)
                p = &(*p)->next;
        *p = s->next;
        free(s->name);
        free(s);
}

static void subscriber_gone(struct rpc_call *call, void *data) {
        subscriber_remove(data);
        rpc_reply(call, NULL);
}

void events_machine(struct manager *m, const char *name, const char *event, json_t *data) {
        m->sequence++;
        if (!m->subscribers) {
                json_decref(data);
                return;
        }
        _cleanup_json_ json_t *message = event_json(m, name, event, data);
        for (struct subscriber *s = m->subscribers, *next; s; s = next) {
                next = s->next;
                if (s->name && !str_eq(s->name, name))
                        continue;
                if (rpc_unsent(s->call) < UNSENT_MAX) {
                        (void) rpc_reply_more(s->call, json_incref(message));
                        continue;
                }
                struct rpc_call *call = s->call;
                subscriber_remove(s);
                rpc_reply_close(call, event_json(m, NULL, "overflow", NULL));
        }
}

void events_publish(struct vm *vm, const char *event, json_t *data, void *manager) {
        events_machine(manager, vm_name(vm), event, data);
        if (str_eq(event, "state"))
                reserve_machine_ended(manager, vm);
        else if (str_eq(event, "detached"))
                reserve_devices_detached(manager);
}

static json_t *snapshot(struct manager *m, const char *name) {
        json_t *machines = json_array();

        for (size_t i = 0; i < m->n_machines; i++)
                if (!name || str_eq(name, m->machines[i].name))
                        json_push(machines, machine_to_json(&m->machines[i]));
        return json_pack("{s:o}", "machines", machines);
}

void method_subscribe(struct rpc_call *call, const json_t *params, void *manager) {
        struct manager *m = manager;
        const char *name = json_get_str(params, "name", NULL);
        struct subscriber *s;

        if (name && !method_machine(m, call, params))
                return;
        (void) rpc_reply_more(call, event_json(m, NULL, "snapshot", snapshot(m, name)));
        s = xcalloc(1, sizeof(*s));
        *s = (struct subscriber){
                .manager = m, .call = call, .name = name ? xstrdup(name) : NULL, .next = m->subscribers
        };
        m->subscribers = s;
        rpc_on_gone(call, subscriber_gone, s);
}

void events_free(struct manager *m) {
        while (m->subscribers) {
                struct rpc_call *call = m->subscribers->call;

                subscriber_remove(m->subscribers);
                rpc_reply_close(call, event_json(m, NULL, "end", NULL));
        }
}
