#include "rpc/connection.h"

#include "base/str.h"

struct envelope {
        const char *method;
        const json_t *params; /* borrowed; NULL: none */
        bool more, oneway, upgrade;
};

static bool read_flag(const json_t *message, const char *key, bool *ret) {
        const json_t *v = json_object_get(message, key);

        *ret = json_is_true(v);
        return !v || json_is_null(v) || json_is_boolean(v);
}

/* NULL, or the member that is not as it has to be. */
static const char *read_envelope(const json_t *message, struct envelope *e) {
        const json_t *method = json_object_get(message, "method");
        const json_t *params = json_object_get(message, "parameters");

        if (!json_is_string(method) || strlen(json_string_value(method)) != json_string_length(method))
                return "method";
        e->method = json_string_value(method);
        if (params && !json_is_null(params) && !json_is_object(params))
                return "parameters";
        e->params = json_is_object(params) ? params : NULL;
        return !read_flag(message, "more", &e->more)       ? "more" :
               !read_flag(message, "oneway", &e->oneway)   ? "oneway" :
               !read_flag(message, "upgrade", &e->upgrade) ? "upgrade" :
                                                             NULL;
}

static struct rpc_call *call_new(struct conn *c, const struct envelope *e) {
        struct rpc_call *call = xcalloc(1, sizeof(*call));

        *call = (struct rpc_call){
                .conn = c,
                .interface = c->server->bound[1].interface,
                .peer = c->peer,
                .oneway = e->oneway,
        };
        c->call = call;
        return call;
}

void dispatch_refuse(struct conn *c, const char *parameter) {
        c->closing = true;
        rpc_fail_parameter(call_new(c, &(struct envelope){ 0 }), parameter);
}

static const struct rpc_bound *find_interface(const struct rpc_server *s, const char *name, size_t n) {
        for (size_t i = 0; i < ARRAY_SIZE(s->bound); i++)
                if (strncmp(s->bound[i].interface->name, name, n) == 0 && !s->bound[i].interface->name[n])
                        return &s->bound[i];
        return NULL;
}

static const struct rpc_method *find_row(const struct rpc_interface *interface, const char *method) {
        for (size_t i = 0; i < interface->n_methods; i++)
                if (str_eq(interface->methods[i].name, method))
                        return &interface->methods[i];
        return NULL;
}

static void fail_with(struct rpc_call *call, const char *error, const char *key, const char *value) {
        json_t *params = json_object();

        json_put_str(params, key, value);
        rpc_fail(call, error, params);
}

/* The row of a call that may be handed to it, or NULL when it has its answer. */
static const struct rpc_method *admit(struct rpc_call *call, const struct rpc_bound *bound,
                                      const struct envelope *e, const json_t *params) {
        const char *name = strrchr(e->method, '.') + 1, *wrong;
        const struct idl_member *m = idl_find(bound->idl, IDL_METHOD, name);
        const struct rpc_method *row = m ? find_row(bound->interface, e->method) : NULL;

        if (!row)
                fail_with(call, "org.varlink.service.MethodNotFound", "method", e->method);
        else if (!row->fn)
                fail_with(call, "org.varlink.service.MethodNotImplemented", "method", e->method);
        else if (row->upgrade != e->upgrade || (e->upgrade && e->oneway))
                rpc_fail_parameter(call, "upgrade");
        else if (row->needs_more && !e->more)
                rpc_fail(call, "org.varlink.service.ExpectedMore", NULL);
        else if ((wrong = idl_mismatch(m->in, params)))
                rpc_fail_parameter(call, wrong);
        else
                return row;
        return NULL;
}

void dispatch(struct conn *c, const json_t *message) {
        _cleanup_json_ json_t *none = json_object();
        struct envelope e = { 0 };
        const char *wrong = read_envelope(message, &e), *dot;
        const struct rpc_bound *bound;
        struct rpc_call *call;

        if (wrong) {
                dispatch_refuse(c, wrong);
                return;
        }
        call = call_new(c, &e);
        dot = strrchr(e.method, '.');
        bound = dot ? find_interface(c->server, e.method, (size_t) (dot - e.method)) : NULL;
        if (!bound) {
                _cleanup_free_ char *name = xasprintf("%.*s", dot ? (int) (dot - e.method) : 0, e.method);
                fail_with(call, "org.varlink.service.InterfaceNotFound", "interface", name);
                return;
        }
        const json_t *params = e.params ? e.params : none;
        const struct rpc_method *row = admit(call, bound, &e, params);
        if (!row)
                return;
        call->interface = bound->interface;
        call->more = e.more && !e.oneway && row->more;
        call->fn = row->fn;
        call->data = bound->data;
        row->fn(call, params, bound->data);
}
