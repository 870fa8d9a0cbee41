/* The blocking client, against the server in a process of its own and against servers that talk nonsense. */
#include "test-rpc-fixture.h"

#include "rpc/client.h"

#include "base/clock.h"
#include "base/str.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

struct remote {
        struct fixture *f;
        pid_t pid;
        struct rpc_client *client;
};

static int remote_setup(void **state) {
        struct remote *r = xcalloc(1, sizeof(*r));
        void *f = NULL;

        fixture_setup(&f);
        r->f = f;
        r->pid = fork();
        if (r->pid == 0) {
                struct rpc_server *s = r->f->server;
                sd_event *loop = NULL;
                int fd = dup(r->f->listen_fd);

                /* an epoll descriptor is shared across fork: the child makes its own */
                if (sd_event_new(&loop) < 0 ||
                    rpc_server_new(loop, &fixture_identity, &fixture_interface, r->f, &s, NULL) < 0 ||
                    rpc_server_add(s, fd, NULL) < 0)
                        _exit(1);
                _exit(sd_event_loop(loop) < 0);
        }
        assert_int_equal(rpc_client_connect(r->f->path, &r->client, NULL), 0);
        *state = r;
        return 0;
}

static int remote_teardown(void **state) {
        struct remote *r = *state;
        void *f = r->f;

        rpc_client_free(r->client);
        kill(r->pid, SIGKILL);
        waitpid(r->pid, NULL, 0);
        fixture_teardown(&f);
        free(r);
        return 0;
}

#define CALL(r, method, params, ret, name)                                                                   \
        rpc_client_call((r)->client, "dev.example.Test." method, params, ret, name, NULL)

static void test_call(void **state) {
        struct remote *r = *state;
        _cleanup_json_ json_t *answer = NULL;

        assert_int_equal(CALL(r, "Echo", json_pack("{s:s}", "text", "hi"), &answer, NULL), 0);
        assert_string_equal(json_get_str(answer, "text", ""), "hi");
        assert_int_equal(CALL(r, "Note", NULL, NULL, NULL), 0);
}

static void test_errors(void **state) {
        struct remote *r = *state;
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_free_ char *name = NULL, *other = NULL;
        _cleanup_json_ json_t *params = NULL, *more = NULL;

        assert_int_equal(CALL(r, "Refuse", NULL, &params, &name), -EREMOTEIO);
        assert_string_equal(name, "Refused");
        assert_string_equal(json_get_str(params, "why", ""), "because");
        assert_int_equal(rpc_client_call(r->client, "dev.example.Test.Echo", NULL, &more, &other, &err),
                         -EREMOTEIO);
        assert_string_equal(other, "org.varlink.service.InvalidParameter");
        assert_string_equal(error_text(&err), other);
        assert_string_equal(json_get_str(more, "parameter", ""), "text");
        assert_int_equal(CALL(r, "Refuse", NULL, NULL, NULL), -EREMOTEIO);
        assert_int_equal(CALL(r, "Note", NULL, NULL, NULL), 0);
}

static int add(const json_t *params, void *data) {
        *(int64_t *) data += json_get_int(params, "number", 0);
        return json_get_int(params, "number", 0) == 5 ? 77 : 0;
}

static void test_more(void **state) {
        struct remote *r = *state;
        _cleanup_json_ json_t *answer = NULL;
        int64_t sum = 0;

        assert_int_equal(rpc_client_call_more(r->client, "dev.example.Test.Count",
                                              json_pack("{s:i}", "to", 4), add, &sum, &answer, NULL, NULL),
                         0);
        assert_int_equal(sum, 1 + 2 + 3);
        assert_int_equal(json_get_int(answer, "number", 0), 4);
        assert_int_equal(rpc_client_call_more(r->client, "dev.example.Test.Count",
                                              json_pack("{s:i}", "to", 9), add, &sum, NULL, NULL, NULL),
                         77);
        assert_int_equal(sum, 6 + 15);
}

/* A message that is too long is refused while it is still being sent, and the reason is read all the same. */
static void test_refused_while_sending(void **state) {
        struct remote *r = *state;
        _cleanup_free_ char *name = NULL, *text = xcalloc(3 << 20, 1);
        _cleanup_json_ json_t *answer = NULL;

        memset(text, 'x', (3 << 20) - 1);
        assert_int_equal(CALL(r, "Echo", json_pack("{s:s}", "text", text), &answer, &name), -EREMOTEIO);
        assert_string_equal(name, "org.varlink.service.InvalidParameter");
        assert_int_equal(CALL(r, "Note", NULL, NULL, NULL), -ECONNRESET);
}

static void test_upgrade(void **state) {
        struct remote *r = *state;
        _cleanup_free_ char *early = NULL, *name = NULL;
        _cleanup_json_ json_t *answer = NULL, *refused = NULL;
        size_t n = 1;
        int fd = -1;

        assert_int_equal(rpc_client_upgrade(&r->client, "dev.example.Test.Note", NULL, &refused, &fd, &early,
                                            &n, &name, NULL),
                         -EREMOTEIO);
        assert_non_null(r->client);
        assert_int_equal(rpc_client_upgrade(&r->client, "dev.example.Test.Raw", NULL, &answer, &fd, &early,
                                            &n, NULL, NULL),
                         0);
        assert_null(r->client);
        assert_true(fd >= 0);
        assert_int_equal(n, 0);
        close(fd);
}

/* A server that answers whatever comes with these bytes and ends. */
static int nonsense(const char *bytes, size_t n, json_t **ret) {
        char path[64] = "/tmp/test-rpc-XXXXXX";
        struct rpc_client *client = NULL;
        int fd = mkstemp(path), r, listen_fd = -1;

        close(fd);
        unlink(path);
        assert_int_equal(rpc_listen(path, 0600, (gid_t) -1, &listen_fd, NULL), 0);
        assert_int_equal(rpc_client_connect(path, &client, NULL), 0);
        fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
        assert_int_equal(write(fd, bytes, n), n);
        shutdown(fd, SHUT_WR);
        r = rpc_client_call(client, "a.b.C", NULL, ret, NULL, NULL);
        rpc_client_free(client);
        close(fd);
        close(listen_fd);
        unlink(path);
        return r;
}

static void test_nonsense(void **state) {
        static const struct {
                const char *bytes;
                int r;
        } rows[] = {
                { "what", -EPROTO },
                { "[]", -EPROTO },
                { "", -EPROTO },
                { "{\"parameters\":1}", -EPROTO },
                { "{\"error\":1}", -EPROTO },
                { "{\"continues\":true}", -EPROTO },
                { "{}", 0 },
                { "{\"error\":\"a.b.D\"}", -EREMOTEIO },
        };

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                _cleanup_json_ json_t *answer = NULL;

                if (nonsense(rows[i].bytes, strlen(rows[i].bytes) + 1, &answer) != rows[i].r)
                        fail_msg("%s", rows[i].bytes);
        }
        assert_int_equal(nonsense("{\"par", 5, NULL), -ECONNRESET);
        assert_int_equal(nonsense("", 0, NULL), -ECONNRESET);
}

static void test_early_bytes(void **state) {
        struct rpc_client *client = NULL;
        struct remote *r = *state;
        _cleanup_free_ char *early = NULL, *path = xasprintf("%s/raw", r->f->folder);
        size_t n = 0;
        int listen_fd = -1, fd, raw = -1;

        assert_int_equal(rpc_listen(path, 0600, (gid_t) -1, &listen_fd, NULL), 0);
        assert_int_equal(rpc_client_connect(path, &client, NULL), 0);
        fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
        assert_int_equal(write(fd, "{}\0a\0b", 6), 6);
        assert_int_equal(rpc_client_upgrade(&client, "a.b.C", NULL, NULL, &raw, &early, &n, NULL, NULL), 0);
        assert_int_equal(n, 3);
        assert_memory_equal(early, "a\0b", 4);
        close(raw);
        close(fd);
        close(listen_fd);
        unlink(path);
}

/* Some 200 KB, as a list of a thousand machines has. Bounds ten times what it takes: it is there to catch
 * work that grows with the square of the size. */
static void test_large_is_fast(void **state) {
        struct remote *r = *state;
        json_t *points = json_array();
        uint64_t best = UINT64_MAX;

        for (int i = 0; i < 1000; i++) {
                json_t *any = json_object();

                for (int k = 0; k < 8; k++) {
                        char key[16];

                        (void) snprintf(key, sizeof(key), "some_key_%d", k);
                        json_put_str(any, key, "a value");
                }
                json_push(points, any);
        }
        for (int i = 0; i < 5; i++) {
                _cleanup_json_ json_t *answer = NULL;
                uint64_t begin = clock_monotonic_us();

                assert_int_equal(CALL(r, "Echo",
                                      json_pack("{s:s, s:{s:O}}", "text", "", "any", "list", points), &answer,
                                      NULL),
                                 0);
                best = MIN(best, clock_monotonic_us() - begin);
        }
        json_decref(points);
        print_message("%lu us there and back\n", (unsigned long) best);
        assert_true(best < 200 * 1000);
}

#define T(test) cmocka_unit_test_setup_teardown(test, remote_setup, remote_teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                T(test_call),        T(test_errors),
                T(test_more),        T(test_refused_while_sending),
                T(test_upgrade),     cmocka_unit_test(test_nonsense),
                T(test_early_bytes), T(test_large_is_fast),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
