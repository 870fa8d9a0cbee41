#include "rpc/connection.h"

#include "base/str.h"

#include <errno.h>

struct ucred rpc_peer(const struct rpc_call *call) {
        return call->peer;
}

bool rpc_wants_more(const struct rpc_call *call) {
        return call->more;
}

size_t rpc_unsent(const struct rpc_call *call) {
        return call->conn ? call->conn->out_len : 0;
}

bool rpc_on_gone(struct rpc_call *call, void (*fn)(struct rpc_call *call, void *data), void *data) {
        if (fn && (!call->conn || call->conn->hup)) {
                fn(call, data);
                return false;
        }
        call->gone = fn;
        call->gone_data = data;
        return true;
}

void rpc_on_drained(struct rpc_call *call, void (*fn)(struct rpc_call *call, void *data), void *data) {
        call->drained = fn;
        call->drained_data = data;
}

static json_t *message_new(const char *error, json_t *params, bool continues) {
        json_t *message = json_object();

        if (error)
                json_put_str(message, "error", error);
        json_put(message, "parameters", params ? params : json_object());
        if (continues)
                json_put_bool(message, "continues", true);
        return message;
}

int rpc_reply_more(struct rpc_call *call, json_t *params) {
        if (!call->conn || call->conn->hup || call->conn->broken) {
                json_decref(params);
                return -EPIPE;
        }
        if (!call->more) {
                json_decref(params);
                return 0;
        }
        return conn_send(call->conn, message_new(NULL, params, true));
}

/* The last word on a call: sends, frees it, and lets its connection go on. */
static void finish(struct rpc_call *call, const char *error, json_t *params) {
        struct conn *c = call->conn;

        if (c) {
                c->call = NULL;
                if (!call->oneway) {
                        (void) conn_send(c, message_new(error, params, false));
                        params = NULL;
                }
                conn_update(c);
        }
        json_decref(params);
        turn_end(call);
        free(call);
}

void rpc_reply(struct rpc_call *call, json_t *params) {
        finish(call, NULL, params);
}

void rpc_reply_close(struct rpc_call *call, json_t *params) {
        if (call->conn)
                call->conn->closing = true;
        finish(call, NULL, params);
}

void rpc_fail(struct rpc_call *call, const char *name, json_t *params) {
        _cleanup_free_ char *full = NULL;

        if (!strchr(name, '.'))
                full = xasprintf("%s.%s", call->interface->name, name);
        finish(call, full ? full : name, params);
}

void rpc_fail_parameter(struct rpc_call *call, const char *parameter) {
        json_t *params = json_object();

        json_put_str(params, "parameter", parameter);
        rpc_fail(call, "org.varlink.service.InvalidParameter", params);
}

void rpc_upgrade(struct rpc_call *call, json_t *params,
                 void (*fn)(int fd, const char *early, size_t early_len, void *data), void *data) {
        if (call->conn) {
                call->conn->upgraded = fn;
                call->conn->upgraded_data = data;
                finish(call, NULL, params);
                return;
        }
        finish(call, NULL, params);
        fn(-1, "", 0, data);
}
