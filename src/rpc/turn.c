/* Turns: calls whose answers cost more than the loop's time are answered a few at a time, in the order in
 * which they came. What remains of them outlives the server, as its calls do. */
#include "rpc/connection.h"

#include "base/str.h"

struct turns {
        unsigned n_ref; /* the server's, and one for each turn */
        size_t n_taken;
        struct rpc_call *first, **last; /* those that wait */
        sd_event_source *source;        /* runs them; NULL: the server is gone */
};

static void turns_unref(struct turns *t) {
        if (--t->n_ref == 0)
                free(t);
}

static struct rpc_call *take_first(struct turns *t) {
        struct rpc_call *call = t->first;

        t->first = call->next;
        if (!t->first)
                t->last = &t->first;
        return call;
}

static void give(struct turns *t, struct rpc_call *call) {
        t->n_taken++;
        t->n_ref++;
        call->turns = t;
}

static int on_turn(sd_event_source *source, void *data) {
        struct rpc_server *s = data;

        while (s->turns->first && s->turns->n_taken < s->limits.turns_max) {
                struct rpc_call *call = take_first(s->turns);
                _cleanup_json_ json_t *params = TAKE_PTR(call->params);

                call->gone = NULL;
                give(s->turns, call);
                call->fn(call, params, call->data);
        }
        return 0;
}

int turns_new(struct rpc_server *s) {
        struct turns *t = s->turns = xcalloc(1, sizeof(*t));
        int r;

        t->n_ref = 1;
        t->last = &t->first;
        r = sd_event_add_defer(s->loop, &t->source, on_turn, s);
        return r < 0 ? r : sd_event_source_set_enabled(t->source, SD_EVENT_OFF);
}

void turns_free(struct turns *t) {
        if (!t)
                return;
        t->source = sd_event_source_disable_unref(t->source);
        while (t->first) {
                struct rpc_call *call = take_first(t);

                call->gone = NULL;
                rpc_reply_close(call, NULL);
        }
        turns_unref(t);
}

void turn_end(struct rpc_call *call) {
        struct turns *t = TAKE_PTR(call->turns);

        json_decref(TAKE_PTR(call->params));
        if (!t)
                return;
        t->n_taken--;
        if (t->source && t->first)
                (void) sd_event_source_set_enabled(t->source, SD_EVENT_ONESHOT);
        turns_unref(t);
}

/* Nobody waits for the answer any more: there will be no turn. */
static void waiting_gone(struct rpc_call *call, void *data) {
        struct turns *t = data;
        struct rpc_call **at = &t->first;

        while (*at != call)
                at = &(*at)->next;
        *at = call->next;
        if (!*at)
                t->last = at;
        rpc_reply(call, NULL);
}

bool rpc_turn(struct rpc_call *call, const json_t *params) {
        struct rpc_server *s = call->conn ? call->conn->server : NULL;

        if (call->turns || !s)
                return true;
        struct turns *t = s->turns;
        if (!t->first && t->n_taken < s->limits.turns_max) {
                give(t, call);
                return true;
        }
        call->params = json_incref((json_t *) params);
        call->next = NULL;
        *t->last = call;
        t->last = &call->next;
        rpc_on_gone(call, waiting_gone, t);
        return false;
}
