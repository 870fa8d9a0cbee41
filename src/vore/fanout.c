#include "vore/fanout.h"

#include "base/file.h"
#include "base/str.h"
#include "rpc/client.h"
#include "rpc/frame.h"
#include "vore/daemon.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

enum { REPLY_MAX = 1024 * 1024 };

struct lane {
        struct rpc_client *client; /* owned; NULL: free */
        struct frame_reader in;
        struct fanout_call *call;
};

static int lane_send(struct lane *l, const char *method) {
        _cleanup_json_ json_t *message = json_object();
        _cleanup_free_ char *whole = daemon_method(method), *text = NULL;
        size_t len;

        json_put_str(message, "method", whole);
        json_put(message, "parameters", json_incref(l->call->params));
        text = frame_text(message, &len);
        return file_write_all(rpc_client_fd(l->client), text, len);
}

/* False: the call is over, its trouble noted. */
static bool lane_begin(struct lane *l, const char *socket, const char *method, struct fanout_call *call) {
        _cleanup_error_ struct error err = ERROR_INIT;
        int r = rpc_client_connect(socket, &l->client, &err);

        l->call = call;
        if (r < 0) {
                call->trouble = xstrdup(error_text(&err));
                return false;
        }
        frame_reader_init(&l->in, REPLY_MAX);
        r = lane_send(l, method);
        if (r < 0)
                call->trouble = xasprintf("cannot send to the daemon: %s", strerror(-r));
        return r >= 0;
}

static void lane_end(struct lane *l) {
        if (l->client)
                frame_reader_done(&l->in);
        rpc_client_free(l->client);
        *l = (struct lane){ 0 };
}

static void take_reply(struct fanout_call *call, const json_t *reply) {
        static const char interface[] = "dev.vore.Manager.";
        const char *error = json_get_str(reply, "error", NULL);

        call->reply = json_incref(json_object_get(reply, "parameters"));
        if (!call->reply)
                call->reply = json_object();
        if (error)
                call->error = xstrdup(str_starts(error, interface) ? error + strlen(interface) : error);
}

/* Reads once. True: the call is over. */
static bool lane_read(struct lane *l) {
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_json_ json_t *reply = NULL;
        size_t room;
        char *to = frame_reader_room(&l->in, &room);
        ssize_t n = to ? recv(rpc_client_fd(l->client), to, room, 0) : -1;
        int r;

        if (to && n < 0 && errno == EINTR)
                return false;
        if (n <= 0) {
                l->call->trouble = xstrdup("the daemon closed the connection");
                return true;
        }
        frame_reader_added(&l->in, (size_t) n);
        r = frame_reader_next(&l->in, &reply, &err);
        if (r == 0)
                return false;
        if (r < 0)
                l->call->trouble = xstrdup(error_text(&err));
        else
                take_reply(l->call, reply);
        return true;
}

static size_t wait_for_some(struct lane *lanes, struct pollfd *polls) {
        size_t n = 0;

        for (size_t i = 0; i < FANOUT_AT_ONCE; i++) {
                polls[i] = (struct pollfd){ .fd = lanes[i].client ? rpc_client_fd(lanes[i].client) : -1,
                                            .events = POLLIN };
                n += lanes[i].client != NULL;
        }
        if (n > 0 && poll(polls, FANOUT_AT_ONCE, -1) < 0)
                memset(polls, 0, sizeof(*polls) * FANOUT_AT_ONCE);
        return n;
}

void fanout_run(const char *socket, const char *method, struct fanout_call *calls, size_t n,
                void (*done)(const struct fanout_call *call, void *data), void *data) {
        _cleanup_free_ struct lane *lanes = xcalloc(FANOUT_AT_ONCE, sizeof(*lanes));
        struct pollfd polls[FANOUT_AT_ONCE];
        size_t next = 0;

        do {
                for (size_t i = 0; i < FANOUT_AT_ONCE && next < n; i++) {
                        if (lanes[i].client || lane_begin(&lanes[i], socket, method, &calls[next++]))
                                continue;
                        done(lanes[i].call, data);
                        lane_end(&lanes[i]);
                        i--;
                }
                if (wait_for_some(lanes, polls) == 0)
                        break;
                for (size_t i = 0; i < FANOUT_AT_ONCE; i++)
                        if (lanes[i].client && polls[i].revents && lane_read(&lanes[i])) {
                                done(lanes[i].call, data);
                                lane_end(&lanes[i]);
                        }
        } while (true);
}

void fanout_call_done(struct fanout_call *call) {
        json_decref(call->params);
        json_decref(call->reply);
        free(call->error);
        free(call->trouble);
        *call = (struct fanout_call){ 0 };
}
