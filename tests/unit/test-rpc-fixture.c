#include "test-rpc-fixture.h"

#include "base/str.h"

#include <assert.h>
#include <errno.h>
#include <sys/un.h>
#include <unistd.h>

static void echo(struct rpc_call *call, const json_t *params, void *data) {
        rpc_reply(call, json_deep_copy(params));
}

static void gone(struct rpc_call *call, void *data) {
        struct fixture *f = data;

        f->n_gone++;
}

static void hold(struct rpc_call *call, const json_t *params, void *data) {
        struct fixture *f = data;

        f->held[f->n_held++] = call;
        rpc_on_gone(call, gone, f);
}

static void take_turn(struct rpc_call *call, const json_t *params, void *data) {
        if (rpc_turn(call, params)) {
                ((struct fixture *) data)->numbers[((struct fixture *) data)->n_held] =
                        json_get_int(params, "number", -1);
                hold(call, params, data);
        }
}

static void note(struct rpc_call *call, const json_t *params, void *data) {
        ((struct fixture *) data)->n_notes++;
        rpc_reply(call, NULL);
}

static void count(struct rpc_call *call, const json_t *params, void *data) {
        int64_t n = json_get_int(params, "to", 0);

        for (int64_t i = 1; i < n; i++)
                (void) rpc_reply_more(call, json_pack("{s:I}", "number", (json_int_t) i));
        rpc_reply(call, json_pack("{s:I}", "number", (json_int_t) n));
}

static void raw_given(int fd, const char *early, size_t n, void *data) {
        struct fixture *f = data;

        f->raw_fd = fd;
        f->raw_early = strndup(early, n);
}

static void raw(struct rpc_call *call, const json_t *params, void *data) {
        rpc_upgrade(call, NULL, raw_given, data);
}

static void large(struct rpc_call *call, const json_t *params, void *data) {
        size_t n = (size_t) json_get_int(params, "bytes", 0);
        char *text = xcalloc(n + 1, 1);

        memset(text, 'x', n);
        rpc_reply(call, json_pack("{s:s}", "text", text));
        free(text);
}

static void refuse(struct rpc_call *call, const json_t *params, void *data) {
        rpc_fail(call, "Refused", json_pack("{s:s}", "why", "because"));
}

static void overflow(struct rpc_call *call, const json_t *params, void *data) {
        rpc_reply_close(call, NULL);
}

static const struct rpc_method methods[] = {
        { "dev.example.Test.Echo", echo },
        { "dev.example.Test.Hold", hold, .more = true },
        { "dev.example.Test.Follow", hold, .more = true, .needs_more = true },
        { "dev.example.Test.Turn", take_turn },
        { "dev.example.Test.Note", note },
        { "dev.example.Test.Count", count, .more = true },
        { "dev.example.Test.Raw", raw, .upgrade = true },
        { "dev.example.Test.Large", large },
        { "dev.example.Test.Refuse", refuse },
        { "dev.example.Test.Overflow", overflow },
        { "dev.example.Test.Later", NULL },
};

const struct rpc_interface fixture_interface = {
        .name = "dev.example.Test",
        .description =
                "interface dev.example.Test\n"
                "type Point (x: int, y: ?float)\n"
                "method Echo(text: string, flag: ?bool, points: ?[]Point, any: ?object) -> (text: string)\n"
                "method Hold() -> ()\n"
                "method Follow() -> ()\n"
                "method Turn(number: int) -> ()\n"
                "method Note() -> ()\n"
                "method Count(to: int) -> (number: int)\n"
                "method Raw() -> ()\n"
                "method Large(bytes: int) -> (text: string)\n"
                "method Refuse() -> ()\n"
                "method Overflow() -> ()\n"
                "method Later() -> ()\n"
                "error Refused (why: string)\n",
        .methods = methods,
        .n_methods = ARRAY_SIZE(methods),
};

const struct rpc_identity fixture_identity = { "a", "b", "1", "https://example.org" };

int fixture_setup(void **state) {
        struct fixture *f = xcalloc(1, sizeof(*f));

        f->raw_fd = -2;
        strcpy(f->folder, "/tmp/test-rpc-XXXXXX");
        assert_non_null(mkdtemp(f->folder));
        (void) snprintf(f->path, sizeof(f->path), "%s/sock", f->folder);
        assert_true(sd_event_new(&f->loop) >= 0);
        assert_int_equal(rpc_server_new(f->loop, &fixture_identity, &fixture_interface, f, &f->server, NULL),
                         0);
        assert_int_equal(rpc_listen(f->path, 0600, (gid_t) -1, &f->listen_fd, NULL), 0);
        assert_int_equal(rpc_server_add(f->server, f->listen_fd, NULL), 0);
        *state = f;
        return 0;
}

int fixture_teardown(void **state) {
        struct fixture *f = *state;

        rpc_server_free(f->server);
        for (size_t i = 0; i < f->n_held; i++)
                if (f->held[i])
                        rpc_reply(f->held[i], NULL);
        sd_event_unref(f->loop);
        if (f->raw_fd >= 0)
                close(f->raw_fd);
        free(f->raw_early);
        unlink(f->path);
        rmdir(f->folder);
        free(f);
        return 0;
}

void fixture_run(struct fixture *f) {
        while (sd_event_run(f->loop, 0) > 0)
                ;
}

void fixture_run_for(struct fixture *f, unsigned ms) {
        (void) sd_event_run(f->loop, (uint64_t) ms * 1000);
        fixture_run(f);
}

int fixture_connect(struct fixture *f) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        assert_true(fd >= 0);
        strcpy(address.sun_path, f->path);
        assert_int_equal(connect(fd, (struct sockaddr *) &address, sizeof(address)), 0);
        fixture_run(f);
        return fd;
}

void fixture_send_bytes(struct fixture *f, int fd, const void *data, size_t n) {
        const char *p = data;

        while (n > 0) {
                ssize_t k = send(fd, p, n, MSG_NOSIGNAL);

                if (k < 0 && errno != EAGAIN)
                        break;
                p += MAX(k, 0);
                n -= (size_t) MAX(k, 0);
                fixture_run(f);
        }
        fixture_run(f);
}

void fixture_send(struct fixture *f, int fd, const char *text) {
        fixture_send_bytes(f, fd, text, strlen(text) + 1);
}

char *fixture_receive(int fd) {
        static char buffer[1 << 20];
        ssize_t n = recv(fd, buffer, sizeof(buffer), MSG_PEEK);
        const char *nul;

        if (n <= 0)
                return n == 0 || errno == ECONNRESET ? xstrdup("") : NULL;
        nul = memchr(buffer, '\0', (size_t) n);
        if (!nul)
                return NULL;
        n = recv(fd, buffer, (size_t) (nul - buffer) + 1, 0);
        assert_true(n > 0);
        return xstrdup(buffer);
}

void fixture_expect(int fd, const char *text) {
        char *got = fixture_receive(fd);

        assert_string_equal(got ? got : "(nothing)", text);
        free(got);
}
