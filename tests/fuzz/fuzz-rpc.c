/* What a client may send. The first byte chooses: the framing alone in pieces, the interface language, or a
 * whole server with the bytes as what its client sends. */
#include "rpc/frame.h"
#include "rpc/idl.h"
#include "rpc/server.h"

#include "base/str.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void frames(const uint8_t *data, size_t size) {
        struct frame_reader r;

        frame_reader_init(&r, 300);
        while (size > 0) {
                json_t *message = NULL;
                size_t room = 0, n;
                char *p = frame_reader_room(&r, &room);

                if (!p)
                        break;
                n = MIN(MIN(room, size), (size_t) (*data % 7) + 1);
                memcpy(p, data, n);
                data += n;
                size -= n;
                frame_reader_added(&r, n);
                while (frame_reader_ready(&r) && frame_reader_next(&r, &message, NULL) > 0)
                        json_decref(TAKE_PTR(message));
                if (frame_reader_ready(&r) && !r.whole)
                        break;
        }
        frame_reader_done(&r);
}

static void language(const uint8_t *data, size_t size) {
        char *text = xcalloc(size + 1, 1);
        struct idl *idl = NULL;

        memcpy(text, data, size);
        if (idl_parse(text, &idl, NULL) == 0) {
                json_t *value = json_pack("{s:i, s:[{}]}", "a", 1, "b");

                for (size_t i = 0; i < idl->n_members; i++)
                        (void) idl_mismatch(idl->members[i].in, value);
                json_decref(value);
                idl_free(idl);
        }
        free(text);
}

static struct rpc_call *held;

static void echo(struct rpc_call *call, const json_t *params, void *data) {
        (void) rpc_reply_more(call, json_deep_copy(params));
        rpc_reply(call, json_deep_copy(params));
}

static void hold(struct rpc_call *call, const json_t *params, void *data) {
        if (held)
                rpc_fail(TAKE_PTR(held), "Busy", NULL);
        held = call;
}

static void raw_given(int fd, const char *early, size_t n, void *data) {
        if (fd >= 0)
                close(fd);
}

static void raw(struct rpc_call *call, const json_t *params, void *data) {
        rpc_upgrade(call, NULL, raw_given, data);
}

static const struct rpc_method methods[] = {
        { "a.b.E", echo, .more = true },
        { "a.b.H", hold, .more = true },
        { "a.b.R", raw, .upgrade = true },
};

static const struct rpc_interface interface = { "a.b",
                                                "interface a.b type T (n: int) method E(s: string, l: ?[]T, "
                                                "m: ?[string]float, o: ?object, e: ?(x, y)) -> ()"
                                                " method H() -> () method R() -> () error Busy ()",
                                                methods, ARRAY_SIZE(methods) };

static void answer_held(void) {
        if (held)
                rpc_reply(TAKE_PTR(held), NULL);
}

static void server(const uint8_t *data, size_t size) {
        static const struct rpc_identity id = { "v", "p", "1", "u" };
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        socklen_t len = sizeof(address);
        struct rpc_server *s = NULL;
        sd_event *loop = NULL;
        int listen_fd = socket(AF_UNIX, SOCK_STREAM, 0), fd = socket(AF_UNIX, SOCK_STREAM, 0);

        /* a name that the kernel chooses, outside of any folder */
        if (sd_event_new(&loop) < 0 ||
            bind(listen_fd, (struct sockaddr *) &address, sizeof(sa_family_t)) < 0 ||
            listen(listen_fd, 1) < 0 || getsockname(listen_fd, (struct sockaddr *) &address, &len) < 0 ||
            rpc_server_new(loop, &id, &interface, NULL, &s, NULL) < 0 ||
            rpc_server_add(s, listen_fd, NULL) < 0 || connect(fd, (struct sockaddr *) &address, len) < 0)
                abort();
        if (size > 0)
                (void) send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (size > 0 && data[size - 1] & 1)
                close(TAKE_FD(fd));
        for (int i = 0; i < 1000; i++)
                if (sd_event_run(loop, 0) <= 0) {
                        if (!held)
                                break;
                        answer_held();
                }
        if (fd >= 0)
                close(fd);
        while (sd_event_run(loop, 0) > 0)
                ;
        answer_held();
        rpc_server_free(s);
        answer_held();
        sd_event_unref(loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static void (*const of[])(const uint8_t *, size_t) = { frames, language, server };

        if (size > 0 && size < 65536)
                of[data[0] % ARRAY_SIZE(of)](data + 1, size - 1);
        return 0;
}
