/* QMP against a peer that the test plays itself, over a socket pair. */
#include "base/clock.h"
#include "base/str.h"
#include "qemu/qmp.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static const char greeting[] =
        "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 22, \"minor\": 2, \"major\": 7}, "
        "\"package\": \"x\"}, \"capabilities\": [\"oob\"]}}\r\n";

struct bench {
        sd_event *loop;
        struct qmp *q;
        int peer;
        struct strbuf log; /* what the callbacks saw, one word after another */
        struct strbuf got; /* what the peer received, not yet looked at */
        bool free_on_ready, free_on_event, free_on_reply, free_on_closed, execute_on_reply;
};

static void note(struct bench *b, const char *fmt, ...) _printf_(2, 3);
static void note(struct bench *b, const char *fmt, ...) {
        va_list ap;
        char *text = NULL;

        va_start(ap, fmt);
        assert_true(vasprintf(&text, fmt, ap) >= 0);
        va_end(ap);
        strbuf_addf(&b->log, "%s;", text);
        free(text);
}

static void release(struct bench *b, bool now) {
        if (now) {
                qmp_free(b->q);
                b->q = NULL;
        }
}

static void on_ready(struct qmp *q, const char *version, void *data) {
        struct bench *b = data;

        note(b, "ready %s", version);
        release(b, b->free_on_ready);
}

static void on_event(struct qmp *q, const char *name, const json_t *event_data, uint64_t time_us,
                     void *data) {
        struct bench *b = data;
        _cleanup_free_ char *text = event_data ? json_text(event_data) : xstrdup("-");

        note(b, "event %s %s %llu", name, text, (unsigned long long) time_us);
        release(b, b->free_on_event);
}

static void on_closed(struct qmp *q, const struct error *err, void *data) {
        struct bench *b = data;

        assert_true(err->code < 0);
        assert_non_null(err->text);
        note(b, "closed %d", err->code);
        release(b, b->free_on_closed);
}

static void on_reply(struct qmp *q, const json_t *reply, const struct error *err, void *data) {
        struct bench *b = data;
        _cleanup_free_ char *text = reply ? json_text(reply) : NULL;

        assert_true((reply == NULL) == (err != NULL));
        if (reply)
                note(b, "reply %s", text);
        else
                note(b, "error %d %s", err->code, err->code == -EPROTO ? err->text : "");
        if (b->execute_on_reply) {
                b->execute_on_reply = false;
                int r = qmp_execute(q, "again", NULL, 0, on_reply, b, NULL);
                note(b, "again %d", r);
        }
        release(b, b->free_on_reply);
}

static const struct qmp_ops ops = { .ready = on_ready, .event = on_event, .closed = on_closed };

static int setup(void **state) {
        struct bench *b = xcalloc(1, sizeof(*b));
        int pair[2];

        assert_true(sd_event_new(&b->loop) >= 0);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        b->peer = pair[1];
        assert_int_equal(qmp_attach(b->loop, pair[0], &ops, b, &b->q, NULL), 0);
        *state = b;
        return 0;
}

static int teardown(void **state) {
        struct bench *b = *state;

        qmp_free(b->q);
        sd_event_unref(b->loop);
        cleanup_closep(&b->peer);
        strbuf_done(&b->log);
        strbuf_done(&b->got);
        free(b);
        return 0;
}

/* Runs the loop until nothing is left to do, at most wait_ms. */
static void spin(struct bench *b, unsigned wait_ms) {
        while (sd_event_run(b->loop, (uint64_t) wait_ms * 1000) > 0)
                ;
}

static void say(struct bench *b, const char *text) {
        assert_int_equal(send(b->peer, text, strlen(text), MSG_NOSIGNAL), strlen(text));
        spin(b, 0);
}

/* The next command that the peer got, as text; its id in *ret_id. */
static json_t *hear(struct bench *b, int64_t *ret_id) {
        char buf[4096];
        ssize_t n;

        while ((n = recv(b->peer, buf, sizeof(buf), MSG_DONTWAIT)) > 0)
                strbuf_addn(&b->got, buf, (size_t) n);
        char *end = b->got.data ? strchr(b->got.data, '\n') : NULL;
        if (!end)
                return NULL;
        json_t *j = json_loadb(b->got.data, (size_t) (end - b->got.data), 0, NULL);
        assert_non_null(j);
        *ret_id = json_get_int(j, "id", -1);
        size_t used = (size_t) (end - b->got.data) + 1;
        memmove(b->got.data, end + 1, b->got.len - used + 1);
        b->got.len -= used;
        return j;
}

static int64_t hear_command(struct bench *b, const char *command) {
        int64_t id = -1;
        _cleanup_json_ json_t *j = hear(b, &id);

        assert_non_null(j);
        assert_string_equal(json_get_str(j, "execute", ""), command);
        return id;
}

static void hear_nothing(struct bench *b) {
        int64_t id;

        assert_null(hear(b, &id));
}

static void answer(struct bench *b, int64_t id, const char *body) {
        _cleanup_free_ char *text = xasprintf("{%s, \"id\": %lld}\r\n", body, (long long) id);

        say(b, text);
}

static void expect(struct bench *b, const char *log) {
        assert_string_equal(b->log.data ? b->log.data : "", log);
        strbuf_done(&b->log);
        b->log = STRBUF_INIT;
}

static void shake_hands(struct bench *b) {
        say(b, greeting);
        answer(b, hear_command(b, "qmp_capabilities"), "\"return\": {}");
        expect(b, "ready 7.2.22;");
}

static void execute(struct bench *b, const char *command, unsigned timeout_ms) {
        assert_int_equal(qmp_execute(b->q, command, NULL, timeout_ms, on_reply, b, NULL), 0);
}

static void negotiation(void **state) {
        struct bench *b = *state;

        spin(b, 0);
        hear_nothing(b);
        execute(b, "early", 0);
        execute(b, "later", 0);
        hear_nothing(b);
        say(b, greeting);
        int64_t id = hear_command(b, "qmp_capabilities"), early = hear_command(b, "early");
        hear_nothing(b); /* one goes along, no more */
        expect(b, "");
        answer(b, id, "\"return\": {}");
        expect(b, "ready 7.2.22;");
        hear_nothing(b);
        answer(b, early, "\"return\": {\"a\": 1}");
        expect(b, "reply {\"a\":1};");
        answer(b, hear_command(b, "later"), "\"return\": 2");
        expect(b, "reply 2;");
}

/* What goes along and is not answered in time: its late answer belongs to nobody. */
static void negotiation_slow(void **state) {
        struct bench *b = *state;

        execute(b, "early", 20);
        say(b, greeting);
        int64_t id = hear_command(b, "qmp_capabilities"), early = hear_command(b, "early");
        spin(b, 100);
        expect(b, "error -110 ;");
        answer(b, id, "\"return\": {}");
        expect(b, "ready 7.2.22;");
        answer(b, early, "\"return\": {}");
        execute(b, "next", 0);
        answer(b, hear_command(b, "next"), "\"return\": 3");
        expect(b, "reply 3;");
}

static void negotiation_refused(void **state) {
        struct bench *b = *state;

        execute(b, "early", 0);
        say(b, greeting);
        answer(b, hear_command(b, "qmp_capabilities"), "\"error\": {\"class\": \"C\", \"desc\": \"no\"}");
        expect(b, "error -104 ;closed -71;");
}

static void no_greeting(void **state) {
        struct bench *b = *state;

        say(b, "{\"return\": {}}\r\n");
        expect(b, "closed -74;");
}

static void partial_and_joined(void **state) {
        struct bench *b = *state;

        shake_hands(b);
        execute(b, "one", 0);
        execute(b, "two", 0);
        int64_t id = hear_command(b, "one");
        hear_nothing(b); /* one after another */
        say(b, "{\"event\": \"STOP\", \"timest");
        say(b, "amp\": {\"seconds\": 5, \"microseconds\": 7}}");
        expect(b, "");
        _cleanup_free_ char *joined =
                xasprintf("\r\n\r\n{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true}, "
                          "\"timestamp\": {\"seconds\": -1, \"microseconds\": -1}}\r\n"
                          "{\"return\": [1], \"id\": %lld}\n{\"event\": \"RESUME\"}\n{\"ev",
                          (long long) id);
        say(b, joined);
        expect(b, "event STOP - 5000007;event SHUTDOWN {\"guest\":true} 0;reply [1];event RESUME - 0;");
        say(b, "ent\": \"X\"}\n");
        expect(b, "event X - 0;");
        answer(b, hear_command(b, "two"), "\"error\": {\"class\": \"GenericError\", \"desc\": \"cannot\"}");
        expect(b, "error -71 cannot;");
}

static void byte_by_byte(void **state) {
        struct bench *b = *state;

        for (const char *p = greeting; *p; p++) {
                char one[2] = { *p, '\0' };
                say(b, one);
        }
        hear_command(b, "qmp_capabilities");
}

static void arguments(void **state) {
        struct bench *b = *state;
        int64_t id;

        shake_hands(b);
        assert_int_equal(
                qmp_execute(b->q, "device_del", json_pack("{s:s}", "id", "usb0"), 0, NULL, NULL, NULL), 0);
        _cleanup_json_ json_t *j = hear(b, &id);
        assert_string_equal(json_get_str(json_object_get(j, "arguments"), "id", ""), "usb0");
        answer(b, id, "\"return\": {}");
        expect(b, "");
}

static void closed_in_command(void **state) {
        struct bench *b = *state;

        shake_hands(b);
        execute(b, "one", 0);
        execute(b, "two", 1000);
        cleanup_closep(&b->peer);
        spin(b, 0);
        expect(b, "error -104 ;error -104 ;closed -104;");
        assert_int_equal(qmp_execute(b->q, "three", NULL, 0, on_reply, b, NULL), -ECONNRESET);
        assert_int_equal(qmp_execute_raw(b->q, "three", 0, on_reply, b, NULL), -ECONNRESET);
        spin(b, 0);
        expect(b, "");
}

/* The last words before the end are heard. */
static void event_then_end(void **state) {
        struct bench *b = *state;

        shake_hands(b);
        assert_true(write(b->peer, "{\"event\": \"SHUTDOWN\"}\r\n{\"ev", 28) > 0);
        cleanup_closep(&b->peer);
        spin(b, 0);
        expect(b, "event SHUTDOWN - 0;closed -104;");
}

static void garbage(void **state) {
        static const char *const texts[] = { "hello\n",
                                             "[]\n",
                                             "3\n",
                                             "\"x\"\n",
                                             "{}\n",
                                             "{\"a\":1}\n",
                                             "{\"event\":3}\n",
                                             "\x00\x01\n",
                                             "{\"return\":1,\"return\":2}\n",
                                             "{\"event\":\"\xff\"}\n" };

        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                struct bench *b = *state;

                shake_hands(b);
                assert_true(write(b->peer, texts[i], MAX(strlen(texts[i]), (size_t) 3)) > 0);
                spin(b, 0);
                expect(b, "closed -74;");
                teardown(state);
                setup(state);
        }
}

static void flood(struct bench *b, const char *chunk, size_t total) {
        size_t n = strlen(chunk);

        for (size_t sent = 0; sent < total; sent += n) {
                if (send(b->peer, chunk, n, MSG_NOSIGNAL) < 0)
                        return;
                spin(b, 0);
        }
}

static void oversized(void **state) {
        struct bench *b = *state;
        char chunk[8193];

        memset(chunk, 'x', sizeof(chunk) - 1);
        chunk[sizeof(chunk) - 1] = '\0';
        shake_hands(b);
        say(b, "{\"event\": \"");
        flood(b, chunk, QMP_LINE_MAX - 65536);
        expect(b, "");
        flood(b, chunk, 2 * 65536);
        expect(b, "closed -90;");
}

/* A long line that is within the limit goes through. */
static void large(void **state) {
        struct bench *b = *state;
        char chunk[8193];

        memset(chunk, ' ', sizeof(chunk) - 1);
        chunk[sizeof(chunk) - 1] = '\0';
        shake_hands(b);
        flood(b, chunk, QMP_LINE_MAX - 65536);
        say(b, "{\"event\": \"BIG\"}\n");
        expect(b, "event BIG - 0;");
}

static void deep(void **state) {
        struct bench *b = *state;

        shake_hands(b);
        say(b, "{\"event\": \"X\", \"data\": ");
        flood(b, "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", 500000);
        say(b, "\n");
        expect(b, "closed -74;");
}

static void big_integers(void **state) {
        struct bench *b = *state;

        shake_hands(b);
        execute(b, "one", 0);
        answer(b, hear_command(b, "one"), "\"return\": {\"a\": 18446744073709551615, \"b\": 7, \"c\": [-3]}");
        expect(b, "reply {\"a\":1.8446744073709552e19,\"b\":7,\"c\":[-3]};");
}

static void deadline(void **state) {
        struct bench *b = *state;

        shake_hands(b);
        execute(b, "one", 30);
        execute(b, "two", 0);
        execute(b, "three", 20);
        int64_t id = hear_command(b, "one");
        uint64_t began = clock_monotonic_us();
        spin(b, 150);
        assert_true(clock_monotonic_us() - began >= 20000);
        expect(b, "error -110 ;error -110 ;");
        int64_t two = hear_command(b, "two");
        hear_nothing(b);
        answer(b, id, "\"return\": 1"); /* late: nobody waits for it */
        expect(b, "");
        answer(b, two, "\"return\": 2");
        expect(b, "reply 2;");
}

/* Without a command that has a deadline nothing is armed: the loop has nothing to wake up for. */
static void idle(void **state) {
        struct bench *b = *state;

        shake_hands(b);
        execute(b, "one", 20);
        execute(b, "two", 0);
        answer(b, hear_command(b, "one"), "\"return\": 1");
        expect(b, "reply 1;");
        uint64_t began = clock_monotonic_us();
        assert_int_equal(sd_event_run(b->loop, 100000), 0);
        assert_true(clock_monotonic_us() - began >= 90000);
        expect(b, "");
}

static void limits(void **state) {
        struct bench *b = *state;
        _cleanup_error_ struct error err = ERROR_INIT;

        for (int i = 0; i < QMP_QUEUE_MAX; i++)
                assert_int_equal(qmp_execute(b->q, "x", NULL, 0, NULL, NULL, &err), 0);
        assert_int_equal(qmp_execute(b->q, "x", NULL, 0, on_reply, b, &err), -ENOBUFS);
        shake_hands(b); /* the negotiation still fits */
        hear_command(b, "x");
}

static void limit_of_bytes(void **state) {
        struct bench *b = *state;
        _cleanup_free_ char *long_text = xcalloc(QMP_QUEUE_BYTES_MAX, 1);

        memset(long_text, 'x', QMP_QUEUE_BYTES_MAX - 1);
        assert_int_equal(qmp_execute(b->q, "x", json_pack("{s:s}", "a", long_text), 0, NULL, NULL, NULL),
                         -ENOBUFS);
        long_text[QMP_QUEUE_BYTES_MAX - 200] = '\0';
        assert_int_equal(qmp_execute(b->q, "x", json_pack("{s:s}", "a", long_text), 0, NULL, NULL, NULL), 0);
        assert_int_equal(qmp_execute(b->q, "x", json_pack("{s:s}", "a", long_text), 0, NULL, NULL, NULL),
                         -ENOBUFS);
}

/* A peer that does not read: what is half sent goes on later, also when its deadline passed meanwhile. */
static void slow_reader(void **state) {
        struct bench *b = *state;
        size_t size = 2 * 1024 * 1024;
        _cleanup_free_ char *long_text = xcalloc(size, 1);
        int64_t id;

        memset(long_text, 'x', size - 1);
        shake_hands(b);
        assert_int_equal(qmp_execute(b->q, "big", json_pack("{s:s}", "a", long_text), 20, on_reply, b, NULL),
                         0);
        execute(b, "next", 0);
        spin(b, 100);
        expect(b, "error -110 ;");
        for (int i = 0; i < 10000 && !memchr(b->got.data ? b->got.data : "", '\n', b->got.len); i++) {
                char buf[65536];
                ssize_t n = recv(b->peer, buf, sizeof(buf), MSG_DONTWAIT);

                if (n > 0)
                        strbuf_addn(&b->got, buf, (size_t) n);
                spin(b, 0);
        }
        _cleanup_json_ json_t *big = hear(b, &id);
        assert_int_equal(json_string_length(json_object_get(json_object_get(big, "arguments"), "a")),
                         size - 1);
        answer(b, id, "\"return\": 1");
        expect(b, "");
        answer(b, hear_command(b, "next"), "\"return\": 2");
        expect(b, "reply 2;");
}

static void raw(void **state) {
        static const char *const wrong[] = { "",
                                             "  ",
                                             "a b",
                                             "{}",
                                             "[]",
                                             "\"x\"",
                                             "{\"execute\": 1}",
                                             "{\"exec-oob\": \"x\"}",
                                             "{\"execute\": \"x\", \"control\": {}}",
                                             "{\"execute\": \"x\"} y" };
        struct bench *b = *state;
        _cleanup_error_ struct error err = ERROR_INIT;

        shake_hands(b);
        for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
                assert_int_equal(qmp_execute_raw(b->q, wrong[i], 0, on_reply, b, &err), -EINVAL);
        assert_int_equal(qmp_execute_raw(b->q, " query-status\n", 0, on_reply, b, &err), 0);
        answer(b, hear_command(b, "query-status"), "\"return\": {\"running\": true}");
        expect(b, "reply {\"return\":{\"running\":true}};");
        assert_int_equal(qmp_execute_raw(b->q,
                                         "{\"execute\": \"x\", \"arguments\": {\"y\": 1}, \"id\": \"mine\"}",
                                         0, on_reply, b, &err),
                         0);
        answer(b, hear_command(b, "x"), "\"error\": {\"class\": \"C\", \"desc\": \"no\"}");
        expect(b, "reply {\"error\":{\"class\":\"C\",\"desc\":\"no\"},\"id\":\"mine\"};");
        assert_int_equal(qmp_execute_raw(b->q, "x", 0, on_reply, b, &err), 0);
        cleanup_closep(&b->peer);
        spin(b, 0);
        expect(b, "error -104 ;closed -104;");
}

/* QEMU answers without an id when it could not read the command. */
static void reply_without_id(void **state) {
        struct bench *b = *state;

        shake_hands(b);
        execute(b, "one", 0);
        hear_command(b, "one");
        say(b, "{\"error\": {\"class\": \"GenericError\", \"desc\": \"JSON parse error\"}}\n");
        expect(b, "error -71 JSON parse error;");
        say(b, "{\"return\": {}}\n"); /* to nothing */
        expect(b, "");
}

static void free_inside(void **state) {
        struct bench *b = *state;

        b->free_on_ready = true;
        say(b, greeting);
        answer(b, hear_command(b, "qmp_capabilities"), "\"return\": {}");
        expect(b, "ready 7.2.22;");
        teardown(state);

        setup(state);
        b = *state;
        shake_hands(b);
        execute(b, "one", 0);
        b->free_on_event = true;
        say(b, "{\"event\": \"A\"}\n{\"event\": \"B\"}\n");
        expect(b, "event A - 0;error -104 ;");
        teardown(state);

        setup(state);
        b = *state;
        shake_hands(b);
        execute(b, "one", 0);
        b->free_on_reply = true;
        answer(b, hear_command(b, "one"), "\"return\": 1}\n{\"event\": \"B\"");
        expect(b, "reply 1;");
        teardown(state);

        setup(state);
        b = *state;
        shake_hands(b);
        b->free_on_closed = true;
        say(b, "nonsense\n");
        expect(b, "closed -74;");
        assert_null(b->q);
}

static void free_in_deadline(void **state) {
        struct bench *b = *state;

        shake_hands(b);
        b->free_on_reply = true;
        execute(b, "one", 10);
        spin(b, 100);
        expect(b, "error -110 ;");
        assert_null(b->q);
}

static void free_when_closing(void **state) {
        struct bench *b = *state;

        shake_hands(b);
        execute(b, "one", 0);
        b->free_on_reply = true;
        cleanup_closep(&b->peer);
        spin(b, 0);
        expect(b, "error -104 ;"); /* and no closed */
}

static void execute_inside(void **state) {
        struct bench *b = *state;

        shake_hands(b);
        b->execute_on_reply = true;
        execute(b, "one", 0);
        answer(b, hear_command(b, "one"), "\"return\": 1");
        expect(b, "reply 1;again 0;");
        answer(b, hear_command(b, "again"), "\"return\": 2");
        expect(b, "reply 2;");
        execute(b, "one", 0);
        b->execute_on_reply = true;
        qmp_free(b->q); /* a command given while it is freed is refused */
        b->q = NULL;
        expect(b, "error -104 ;again -104;");
}

static int listen_at(const char *path) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        assert_true(strlen(path) < sizeof(address.sun_path));
        strcpy(address.sun_path, path);
        assert_int_equal(bind(fd, (struct sockaddr *) &address, sizeof(address)), 0);
        assert_int_equal(listen(fd, 1), 0);
        return fd;
}

static void connecting(void **state) {
        struct bench *b = *state;
        char folder[] = "/tmp/vore-test-XXXXXX";
        _cleanup_error_ struct error err = ERROR_INIT;

        assert_non_null(mkdtemp(folder));
        _cleanup_free_ char *deep_folder = xasprintf("%s/%0100d", folder, 7),
                            *path = xasprintf("%s/s", deep_folder);
        assert_int_equal(mkdir(deep_folder, 0700), 0);
        qmp_free(b->q);
        b->q = NULL;
        assert_int_equal(qmp_connect(b->loop, path, &ops, b, &b->q, &err), -ENOENT);
        assert_non_null(strstr(error_text(&err), path));

        assert_int_equal(chdir(deep_folder), 0);
        int fd = listen_at("s");
        assert_int_equal(qmp_connect(b->loop, path, &ops, b, &b->q, &err), 0);
        expect(b, "");
        cleanup_closep(&b->peer);
        b->peer = accept(fd, NULL, NULL);
        assert_true(b->peer >= 0);
        shake_hands(b);
        close(fd);
        qmp_free(b->q);
        b->q = NULL;
        assert_int_equal(qmp_connect(b->loop, "s", &ops, b, &b->q, &err), -ECONNREFUSED);
        _cleanup_free_ char *long_name = xasprintf("%s/%0120d", folder, 7);
        assert_int_equal(qmp_connect(b->loop, long_name, &ops, b, &b->q, &err), -ENAMETOOLONG);
        assert_int_equal(unlink("s"), 0);
        assert_int_equal(chdir("/"), 0);
        assert_int_equal(rmdir(deep_folder), 0);
        assert_int_equal(rmdir(folder), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(negotiation),
                TEST(negotiation_slow),
                TEST(negotiation_refused),
                TEST(no_greeting),
                TEST(partial_and_joined),
                TEST(byte_by_byte),
                TEST(arguments),
                TEST(closed_in_command),
                TEST(event_then_end),
                TEST(garbage),
                TEST(oversized),
                TEST(large),
                TEST(deep),
                TEST(big_integers),
                TEST(deadline),
                TEST(idle),
                TEST(limits),
                TEST(limit_of_bytes),
                TEST(slow_reader),
                TEST(raw),
                TEST(reply_without_id),
                TEST(free_inside),
                TEST(free_in_deadline),
                TEST(free_when_closing),
                TEST(execute_inside),
                TEST(connecting),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
