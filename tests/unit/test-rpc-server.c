/* What the server says to clients that keep to the rules, and to those that only break the protocol's. */
#include "test-rpc-fixture.h"

#include "base/str.h"

#include <errno.h>
#include <unistd.h>

#define CALL(method, rest) "{\"method\":\"dev.example.Test." method "\"" rest "}"
#define SERVICE "org.varlink.service."

static void test_answers(void **state) {
        static const struct {
                const char *call, *answer;
        } rows[] = {
                { CALL("Note", ""), "{\"parameters\":{}}" },
                { CALL("Note", ",\"parameters\":{}"), "{\"parameters\":{}}" },
                { CALL("Note", ",\"parameters\":null,\"more\":null,\"unheard\":1"), "{\"parameters\":{}}" },
                { CALL("Note", ",\"more\":true"), "{\"parameters\":{}}" },
                { CALL("Echo", ",\"parameters\":{\"text\":\"\\u00e4\"}"),
                  "{\"parameters\":{\"text\":\"\u00e4\"}}" },
                { CALL("Echo", ",\"parameters\":{\"text\":\"a\",\"points\":[{\"x\":1}]}"),
                  "{\"parameters\":{\"text\":\"a\",\"points\":[{\"x\":1}]}}" },
                { CALL("Count", ",\"parameters\":{\"to\":3}"), "{\"parameters\":{\"number\":3}}" },
                { CALL("Refuse", ""),
                  "{\"error\":\"dev.example.Test.Refused\",\"parameters\":{\"why\":\"because\"}}" },
                { CALL("Echo", ""),
                  "{\"error\":\"" SERVICE "InvalidParameter\",\"parameters\":{\"parameter\":\"text\"}}" },
                { CALL("Echo", ",\"parameters\":{\"text\":1}"),
                  "{\"error\":\"" SERVICE "InvalidParameter\",\"parameters\":{\"parameter\":\"text\"}}" },
                { CALL("Echo", ",\"parameters\":{\"text\":\"a\",\"points\":[{\"z\":1}]}"),
                  "{\"error\":\"" SERVICE "InvalidParameter\",\"parameters\":{\"parameter\":\"points\"}}" },
                { CALL("Note", ",\"parameters\":{\"extra\":null}"),
                  "{\"error\":\"" SERVICE "InvalidParameter\",\"parameters\":{\"parameter\":\"extra\"}}" },
                { CALL("Nothing", ""), "{\"error\":\"" SERVICE "MethodNotFound\",\"parameters\":"
                                       "{\"method\":\"dev.example.Test.Nothing\"}}" },
                { CALL("Later", ""), "{\"error\":\"" SERVICE "MethodNotImplemented\",\"parameters\":"
                                     "{\"method\":\"dev.example.Test.Later\"}}" },
                { CALL("Follow", ""), "{\"error\":\"" SERVICE "ExpectedMore\",\"parameters\":{}}" },
                { CALL("Raw", ""),
                  "{\"error\":\"" SERVICE "InvalidParameter\",\"parameters\":{\"parameter\":\"upgrade\"}}" },
                { CALL("Note", ",\"upgrade\":true"),
                  "{\"error\":\"" SERVICE "InvalidParameter\",\"parameters\":{\"parameter\":\"upgrade\"}}" },
                { "{\"method\":\"dev.example.Tes.Note\"}",
                  "{\"error\":\"" SERVICE
                  "InterfaceNotFound\",\"parameters\":{\"interface\":\"dev.example.Tes\"}}" },
                { "{\"method\":\"dev.example.Test.More.Note\"}",
                  "{\"error\":\"" SERVICE
                  "InterfaceNotFound\",\"parameters\":{\"interface\":\"dev.example.Test.More\"}}" },
                { "{\"method\":\"Note\"}",
                  "{\"error\":\"" SERVICE "InterfaceNotFound\",\"parameters\":{\"interface\":\"\"}}" },
                { "{\"method\":\".\"}",
                  "{\"error\":\"" SERVICE "InterfaceNotFound\",\"parameters\":{\"interface\":\"\"}}" },
                { "{\"method\":\"" SERVICE "GetInfo\"}",
                  "{\"parameters\":{\"vendor\":\"a\",\"product\":\"b\",\"version\":\"1\",\"url\":\"https://"
                  "example.org\","
                  "\"interfaces\":[\"org.varlink.service\",\"dev.example.Test\"]}}" },
                { "{\"method\":\"" SERVICE "GetInterfaceDescription\",\"parameters\":{\"interface\":\"x\"}}",
                  "{\"error\":\"" SERVICE "InterfaceNotFound\",\"parameters\":{\"interface\":\"x\"}}" },
                { "{\"method\":\"" SERVICE "GetInterfaceDescription\"}",
                  "{\"error\":\"" SERVICE
                  "InvalidParameter\",\"parameters\":{\"parameter\":\"interface\"}}" },
        };
        struct fixture *f = *state;
        int fd = fixture_connect(f);

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                fixture_send(f, fd, rows[i].call);
                fixture_expect(fd, rows[i].answer);
        }
        assert_null(fixture_receive(fd));
        close(fd);
}

static void test_description(void **state) {
        struct fixture *f = *state;
        int fd = fixture_connect(f);

        for (int i = 0; i < 2; i++) {
                const char *name = i == 0 ? "org.varlink.service" : "dev.example.Test";
                _cleanup_free_ char *call =
                        xasprintf("{\"method\":\"" SERVICE
                                  "GetInterfaceDescription\",\"parameters\":{\"interface\":\"%s\"}}",
                                  name);
                fixture_send(f, fd, call);
                _cleanup_free_ char *answer = fixture_receive(fd);
                assert_non_null(answer);
                assert_non_null(strstr(answer, name));
                assert_non_null(strstr(answer, "method"));
        }
        close(fd);
}

/* What is no call gets one error and the end of the stream; the others go on. */
static void test_garbage(void **state) {
        static const struct {
                const char *bytes, *parameter;
        } rows[] = {
                { "hello", "message" },
                { "", "message" },
                { "[]", "message" },
                { "\xff\xfe", "message" },
                { "{}", "method" },
                { "{\"method\":1}", "method" },
                { "{\"method\":\"a.b\\u0000c\"}", "method" },
                { CALL("Note", ",\"parameters\":[]"), "parameters" },
                { CALL("Note", ",\"more\":1"), "more" },
                { CALL("Note", ",\"oneway\":\"yes\""), "oneway" },
                { CALL("Note", ",\"upgrade\":{}"), "upgrade" },
        };
        struct fixture *f = *state;
        int other = fixture_connect(f);

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                _cleanup_free_ char *answer = xasprintf(
                        "{\"error\":\"" SERVICE "InvalidParameter\",\"parameters\":{\"parameter\":\"%s\"}}",
                        rows[i].parameter);
                int fd = fixture_connect(f);

                fixture_send(f, fd, rows[i].bytes);
                fixture_expect(fd, answer);
                fixture_expect(fd, "");
                close(fd);
        }
        assert_int_equal(rpc_server_connections(f->server), 1);
        fixture_send(f, other, CALL("Note", ""));
        fixture_expect(other, "{\"parameters\":{}}");
        close(other);
}

static void test_more(void **state) {
        struct fixture *f = *state;
        int fd = fixture_connect(f);

        fixture_send(f, fd, CALL("Count", ",\"more\":true,\"parameters\":{\"to\":3}"));
        fixture_expect(fd, "{\"parameters\":{\"number\":1},\"continues\":true}");
        fixture_expect(fd, "{\"parameters\":{\"number\":2},\"continues\":true}");
        fixture_expect(fd, "{\"parameters\":{\"number\":3}}");
        fixture_send(f, fd, CALL("Follow", ",\"more\":true"));
        assert_true(rpc_wants_more(f->held[0]));
        assert_int_equal(rpc_reply_more(f->held[0], NULL), 0);
        fixture_expect(fd, "{\"parameters\":{},\"continues\":true}");
        close(fd);
}

static void test_oneway(void **state) {
        struct fixture *f = *state;
        int fd = fixture_connect(f);

        fixture_send(f, fd, CALL("Note", ",\"oneway\":true"));
        fixture_send(f, fd, CALL("Refuse", ",\"oneway\":true"));
        fixture_send(f, fd, CALL("Nothing", ",\"oneway\":true"));
        fixture_send(f, fd, CALL("Count", ",\"oneway\":true,\"more\":true,\"parameters\":{\"to\":3}"));
        assert_int_equal(f->n_notes, 1);
        assert_null(fixture_receive(fd));
        fixture_send(f, fd, CALL("Echo", ",\"parameters\":{\"text\":\"end\"}"));
        fixture_expect(fd, "{\"parameters\":{\"text\":\"end\"}}");
        close(fd);
}

/* Oneway calls that were sent are done, although their client has gone and the first one takes its time. */
static void test_oneway_then_gone(void **state) {
        static const char stream[] =
                CALL("Hold", ",\"oneway\":true") "\0" CALL("Note", ",\"oneway\":true") "\0" CALL("Note", "");
        struct fixture *f = *state;
        int fd = fixture_connect(f);

        assert_int_equal(send(fd, stream, sizeof(stream), 0), sizeof(stream));
        close(fd);
        fixture_run(f);
        assert_int_equal(f->n_held, 1);
        assert_int_equal(f->n_gone, 1);
        assert_int_equal(f->n_notes, 0);
        rpc_reply(TAKE_PTR(f->held[0]), NULL);
        fixture_run(f);
        assert_int_equal(f->n_notes, 2);
        assert_int_equal(rpc_server_connections(f->server), 0);
}

/* Calls that come at once are answered one after the other; the second waits for the first. */
static void test_pipeline(void **state) {
        static const char stream[] = CALL("Hold", "") "\0" CALL("Note", "") "\0" CALL(
                "Nothing", "") "\0" CALL("Echo", ",\"parameters\":{\"text\":\"last\"}");
        struct fixture *f = *state;
        int fd = fixture_connect(f);

        fixture_send_bytes(f, fd, stream, sizeof(stream));
        assert_null(fixture_receive(fd));
        assert_int_equal(f->n_notes, 0);
        rpc_fail(TAKE_PTR(f->held[0]), "Refused", json_pack("{s:s}", "why", "held"));
        fixture_run(f);
        fixture_expect(fd, "{\"error\":\"dev.example.Test.Refused\",\"parameters\":{\"why\":\"held\"}}");
        fixture_expect(fd, "{\"parameters\":{}}");
        _cleanup_free_ char *third = fixture_receive(fd);
        assert_non_null(strstr(third, "MethodNotFound"));
        fixture_expect(fd, "{\"parameters\":{\"text\":\"last\"}}");
        close(fd);
}

static void test_gone(void **state) {
        struct fixture *f = *state;
        int fd = fixture_connect(f);

        fixture_send(f, fd, CALL("Hold", ",\"more\":true"));
        assert_int_equal(rpc_reply_more(f->held[0], NULL), 0);
        assert_int_equal(rpc_peer(f->held[0]).uid, getuid());
        assert_int_equal(rpc_peer(f->held[0]).pid, getpid());
        close(fd);
        fixture_run(f);
        assert_int_equal(f->n_gone, 1);
        assert_int_equal(rpc_server_connections(f->server), 0);
        assert_int_equal(rpc_reply_more(f->held[0], json_object()), -EPIPE);
        rpc_reply(TAKE_PTR(f->held[0]), json_object());
        assert_int_equal(f->n_gone, 1);
}

/* A client that does not take answers any more is gone, although its end is still open. */
static void test_deaf(void **state) {
        struct fixture *f = *state;
        int fd = fixture_connect(f);

        fixture_send(f, fd, CALL("Hold", ",\"more\":true"));
        shutdown(fd, SHUT_RD);
        assert_int_equal(rpc_reply_more(f->held[0], NULL), -EPIPE);
        assert_int_equal(f->n_gone, 0);
        fixture_run(f);
        assert_int_equal(f->n_gone, 1);
        close(fd);
}

static void test_half_closed(void **state) {
        struct fixture *f = *state;
        int fd = fixture_connect(f);

        assert_true(send(fd, CALL("Hold", ""), sizeof(CALL("Hold", "")), 0) > 0);
        shutdown(fd, SHUT_WR);
        fixture_run(f);
        assert_int_equal(f->n_gone, 0);
        rpc_reply(TAKE_PTR(f->held[0]), NULL);
        fixture_run(f);
        fixture_expect(fd, "{\"parameters\":{}}");
        fixture_expect(fd, "");
        assert_int_equal(rpc_server_connections(f->server), 0);
        close(fd);
}

static void test_upgrade(void **state) {
        static const char stream[] = CALL("Raw", ",\"upgrade\":true") "\0early";
        struct fixture *f = *state;
        int fd = fixture_connect(f);

        fixture_send_bytes(f, fd, stream, sizeof(stream) - 1);
        fixture_expect(fd, "{\"parameters\":{}}");
        assert_true(f->raw_fd >= 0);
        assert_string_equal(f->raw_early, "early");
        assert_int_equal(rpc_server_connections(f->server), 0);
        assert_int_equal(write(f->raw_fd, "x", 2), 2);
        fixture_expect(fd, "x");
        close(fd);
}

static void test_upgrade_gone(void **state) {
        struct fixture *f = *state;
        int fd = fixture_connect(f);

        assert_true(send(fd, CALL("Raw", ",\"upgrade\":true"), sizeof(CALL("Raw", ",\"upgrade\":true")), 0) >
                    0);
        close(fd);
        fixture_run(f);
        assert_int_equal(f->raw_fd, -1);
        assert_int_equal(rpc_server_connections(f->server), 0);
}

static void test_reply_close(void **state) {
        struct fixture *f = *state;
        int fd = fixture_connect(f);

        fixture_send(f, fd, CALL("Overflow", ""));
        fixture_expect(fd, "{\"parameters\":{}}");
        fixture_expect(fd, "");
        close(fd);
}

static void test_free_with_calls(void **state) {
        struct fixture *f = *state;
        int fd = fixture_connect(f);

        fixture_send(f, fd, CALL("Hold", ",\"more\":true"));
        rpc_server_free(TAKE_PTR(f->server));
        fixture_expect(fd, "");
        assert_int_equal(f->n_gone, 0);
        assert_int_equal(rpc_reply_more(f->held[0], NULL), -EPIPE);
        close(fd);
}

#define T(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                T(test_answers),     T(test_description),      T(test_garbage),  T(test_more),
                T(test_oneway),      T(test_oneway_then_gone), T(test_pipeline), T(test_gone),
                T(test_deaf),        T(test_half_closed),      T(test_upgrade),  T(test_upgrade_gone),
                T(test_reply_close), T(test_free_with_calls),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
