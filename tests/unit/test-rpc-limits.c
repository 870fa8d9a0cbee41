/* What the server does to clients that want more than their share. */
#include "test-rpc-fixture.h"

#include "base/clock.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOTE "{\"method\":\"dev.example.Test.Note\"}"
#define HOLD_MORE "{\"method\":\"dev.example.Test.Hold\",\"more\":true}"
#define ANSWER "{\"parameters\":{}}"
#define REFUSED                                                                                              \
        "{\"error\":\"org.varlink.service.InvalidParameter\",\"parameters\":{\"parameter\":\"message\"}}"

static char *note_of_size(size_t n) {
        char *text = xcalloc(n + 1, 1);

        memset(text, ' ', n);
        memcpy(text, NOTE, strlen(NOTE));
        return text;
}

static void test_message_size(void **state) {
        struct fixture *f = *state;
        size_t max = rpc_server_limits(f->server)->message_max;
        int fd = fixture_connect(f);

        assert_int_equal(max, 1 << 20);
        for (size_t over = 0; over < 2; over++) {
                _cleanup_free_ char *text = note_of_size(max + over);

                fixture_send(f, fd, text);
                fixture_expect(fd, over ? REFUSED : ANSWER);
        }
        fixture_expect(fd, "");
        assert_int_equal(f->n_notes, 1);
        close(fd);
}

/* A message that never ends is cut off at the same size. */
static void test_endless(void **state) {
        struct fixture *f = *state;
        char piece[4096];
        int fd = fixture_connect(f);
        size_t sent = 0;

        memset(piece, '{', sizeof(piece));
        for (; sent < 64 << 20 && send(fd, piece, sizeof(piece), MSG_NOSIGNAL) > 0; sent += sizeof(piece))
                fixture_run(f);
        assert_true(sent < 2 << 20);
        fixture_expect(fd, REFUSED);
        assert_int_equal(rpc_server_connections(f->server), 0);
        close(fd);
}

static void test_half_message(void **state) {
        struct fixture *f = *state;
        int idle = fixture_connect(f), fd;

        rpc_server_limits(f->server)->message_us = 4000 * 1000;
        fd = fixture_connect(f);
        fixture_send(f, fd, NOTE);
        fixture_expect(fd, ANSWER);
        uint64_t begin = clock_monotonic_us();
        fixture_send_bytes(f, fd, "{", 1);
        /* More bytes give no more time: it would be over after 6.5 s. */
        fixture_run_for(f, 2500);
        fixture_send_bytes(f, fd, "\"", 1);
        assert_null(fixture_receive(fd));
        while (rpc_server_connections(f->server) == 2 && clock_monotonic_us() - begin < 10 * 1000 * 1000)
                fixture_run_for(f, 1000);
        assert_true(clock_monotonic_us() - begin < 6 * 1000 * 1000);
        fixture_expect(fd, "");
        fixture_send(f, idle, NOTE);
        fixture_expect(idle, ANSWER);
        close(fd);
        close(idle);
}

/* The time is the client's: while its call is with a handler it does not run. */
static void test_half_message_behind_call(void **state) {
        static const char stream[] = HOLD_MORE "\0" NOTE;
        struct fixture *f = *state;
        int fd;

        rpc_server_limits(f->server)->message_us = 1000 * 1000;
        fd = fixture_connect(f);
        fixture_send_bytes(f, fd, stream, sizeof(stream) - 1);
        assert_int_equal(sd_event_run(f->loop, 2000 * 1000), 0);
        rpc_reply(TAKE_PTR(f->held[0]), NULL);
        fixture_send_bytes(f, fd, "", 1);
        fixture_expect(fd, ANSWER);
        fixture_expect(fd, ANSWER);
        close(fd);
}

/* They cost descriptors and nothing else: the loop sleeps, and does not wake for them. */
static void test_idle_clients(void **state) {
        struct fixture *f = *state;
        int fds[200], fd;

        for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
                fds[i] = fixture_connect(f);
                fixture_send(f, fds[i], NOTE);
                fixture_expect(fds[i], ANSWER);
        }
        assert_int_equal(rpc_server_connections(f->server), ARRAY_SIZE(fds));
        assert_int_equal(sd_event_run(f->loop, 500 * 1000), 0);
        fd = fixture_connect(f);
        fixture_send(f, fd, NOTE);
        fixture_expect(fd, ANSWER);
        close(fd);
        for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
                close(fds[i]);
        fixture_run(f);
        assert_int_equal(rpc_server_connections(f->server), 0);
}

static void test_never_reads(void **state) {
        struct fixture *f = *state;
        int fd = fixture_connect(f);
        json_t *large = json_object();
        char *text = xcalloc(100001, 1);
        size_t sent = 0;

        memset(text, 'x', 100000);
        json_put_str(large, "text", text);
        free(text);
        fixture_send(f, fd, HOLD_MORE);
        while (sent < 1000 && rpc_reply_more(f->held[0], json_incref(large)) == 0) {
                sent++;
                fixture_run(f);
                assert_true(rpc_unsent(f->held[0]) <= (4 << 20) + 200000);
        }
        assert_true(sent > 40 && sent < 60);
        assert_int_equal(f->n_gone, 0);
        fixture_run(f);
        assert_int_equal(f->n_gone, 1);
        assert_int_equal(rpc_server_connections(f->server), 0);
        json_decref(large);
        close(fd);
}

/* Calls of a client that does not read its answers wait, unread, and hold nobody up. */
static void test_pipelines_and_never_reads(void **state) {
        static const char call[] =
                "{\"method\":\"dev.example.Test.Large\",\"parameters\":{\"bytes\":100000}}";
        struct fixture *f = *state;
        int fd = fixture_connect(f), other = fixture_connect(f);

        for (int i = 0; i < 20000; i++)
                if (send(fd, call, sizeof(call), MSG_NOSIGNAL) < 0)
                        break;
                else
                        fixture_run(f);
        assert_int_equal(errno, EAGAIN);
        fixture_send(f, other, NOTE);
        fixture_expect(other, ANSWER);
        assert_int_equal(sd_event_run(f->loop, 300 * 1000), 0);
        assert_int_equal(rpc_server_connections(f->server), 2);
        close(fd);
        close(other);
}

/* One reply may be longer than the bound: it is the daemon that made it. */
static void test_one_large_reply(void **state) {
        struct fixture *f = *state;
        int fd = fixture_connect(f);
        char buffer[65536];
        size_t got = 0;

        fixture_send(f, fd, "{\"method\":\"dev.example.Test.Large\",\"parameters\":{\"bytes\":6000000}}");
        for (ssize_t n; got < 6000000; fixture_run(f)) {
                n = recv(fd, buffer, sizeof(buffer), 0);
                assert_true(n > 0);
                got += (size_t) n;
        }
        fixture_send(f, fd, NOTE);
        while (recv(fd, buffer, sizeof(buffer), 0) > 0)
                fixture_run(f);
        assert_int_equal(rpc_server_connections(f->server), 1);
        close(fd);
}

static void test_connections_max(void **state) {
        struct fixture *f = *state;
        int a, b, c;

        rpc_server_limits(f->server)->connections_max = 2;
        a = fixture_connect(f);
        b = fixture_connect(f);
        c = fixture_connect(f);
        fixture_expect(c, "");
        close(a);
        close(c);
        c = fixture_connect(f);
        fixture_send(f, c, NOTE);
        fixture_expect(c, ANSWER);
        close(b);
        close(c);
}

/* How many of n connections get an answer while all stay open. */
static int count_places(const char *path, int n) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int got = 0;

        strcpy(address.sun_path, path);
        for (int i = 0; i < n; i++) {
                int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
                char answer[64];

                if (connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0)
                        return 98;
                (void) send(fd, NOTE, sizeof(NOTE), MSG_NOSIGNAL);
                got += recv(fd, answer, sizeof(answer), 0) > 0;
        }
        return got;
}

/* Needs root for a second uid; the test's own uid is the daemon's and has no bound. */
static void test_per_uid(void **state) {
        struct fixture *f = *state;
        int own[3], status = -1;
        pid_t pid;

        rpc_server_limits(f->server)->per_uid_max = 2;
        for (size_t i = 0; i < ARRAY_SIZE(own); i++)
                own[i] = fixture_connect(f);
        assert_int_equal(rpc_server_connections(f->server), 3);
        if (geteuid() != 0)
                skip();
        assert_int_equal(chmod(f->folder, 0755), 0);
        assert_int_equal(chmod(f->path, 0666), 0);
        pid = fork();
        if (pid == 0)
                _exit(setresuid(65534, 65534, 65534) < 0 ? 99 : count_places(f->path, 4));
        while (waitpid(pid, &status, WNOHANG) == 0)
                (void) sd_event_run(f->loop, 10 * 1000);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 2);
        for (size_t i = 0; i < ARRAY_SIZE(own); i++)
                close(own[i]);
        fixture_run(f);
}

/* No descriptor left: the client waits without the loop spinning, and gets in when one is free. */
static void test_no_descriptors(void **state) {
        struct fixture *f = *state;
        struct rlimit old, low;
        int fd = fixture_connect(f), late, top = dup(fd);
        size_t turns = 0;

        close(top);
        rpc_server_limits(f->server)->accept_pause_us = 3600ull * 1000 * 1000;
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
        low = (struct rlimit){ .rlim_cur = (rlim_t) top + 1, .rlim_max = old.rlim_max };
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
        late = fixture_connect(f);
        while (sd_event_run(f->loop, 100 * 1000) > 0)
                assert_true(turns++ < 10);
        assert_int_equal(rpc_server_connections(f->server), 1);
        fixture_send(f, late, NOTE);
        assert_null(fixture_receive(late));
        close(fd);
        fixture_run(f);
        fixture_expect(late, ANSWER);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
        close(late);
}

/* The same, but what is freed is none of the server's. */
static void test_no_descriptors_pause(void **state) {
        struct fixture *f = *state;
        struct rlimit old, low;
        int top = dup(0), late;

        close(top);
        rpc_server_limits(f->server)->accept_pause_us = 50 * 1000;
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
        low = (struct rlimit){ .rlim_cur = (rlim_t) top + 1, .rlim_max = old.rlim_max };
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
        late = fixture_connect(f);
        assert_int_equal(rpc_server_connections(f->server), 0);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
        for (uint64_t begin = clock_monotonic_us(); clock_monotonic_us() - begin < 5 * 1000 * 1000;) {
                if (rpc_server_connections(f->server) == 1)
                        break;
                fixture_run_for(f, 1000);
        }
        assert_int_equal(rpc_server_connections(f->server), 1);
        close(late);
}

static void test_many_small_calls(void **state) {
        struct fixture *f = *state;
        int fd = fixture_connect(f);
        _cleanup_free_ char *all = xcalloc(1000, sizeof(NOTE));

        for (size_t i = 0; i < 1000; i++)
                memcpy(all + i * sizeof(NOTE), NOTE, sizeof(NOTE));
        fixture_send_bytes(f, fd, all, 1000 * sizeof(NOTE));
        for (size_t i = 0; i < 1000; i++) {
                fixture_expect(fd, ANSWER);
                fixture_run(f);
        }
        assert_int_equal(f->n_notes, 1000);
        close(fd);
}

#define T(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

/* --- turns --- */

enum { CALLS = 4 };

/* So many clients call Turn, each with its number. */
static void call_turns(struct fixture *f, int fds[static CALLS], size_t n) {
        for (size_t i = 0; i < n; i++) {
                _cleanup_free_ char *text = xasprintf(
                        "{\"method\":\"dev.example.Test.Turn\",\"parameters\":{\"number\":%zu}}", i);

                fds[i] = fixture_connect(f);
                fixture_send(f, fds[i], text);
        }
}

static void close_all(const int fds[static CALLS]) {
        for (size_t i = 0; i < CALLS; i++)
                close(fds[i]);
}

/* Two at a time, in their order, and nobody else waits. */
static void test_turns(void **state) {
        struct fixture *f = *state;
        int fds[CALLS], other = fixture_connect(f);

        assert_int_equal(rpc_server_limits(f->server)->turns_max, 8);
        rpc_server_limits(f->server)->turns_max = 2;
        call_turns(f, fds, CALLS);
        assert_int_equal(f->n_held, 2);
        fixture_send(f, other, NOTE);
        fixture_expect(other, ANSWER);
        assert_null(fixture_receive(fds[2]));

        rpc_reply(TAKE_PTR(f->held[1]), NULL);
        fixture_run(f);
        fixture_expect(fds[1], ANSWER);
        assert_int_equal(f->n_held, 3);
        rpc_fail(TAKE_PTR(f->held[0]), "Refused", json_pack("{s:s}", "why", "because"));
        fixture_run(f);
        assert_int_equal(f->n_held, CALLS);
        for (size_t i = 2; i < CALLS; i++)
                rpc_reply(TAKE_PTR(f->held[i]), NULL);
        fixture_run(f);
        for (size_t i = 2; i < CALLS; i++)
                fixture_expect(fds[i], ANSWER);
        for (size_t i = 0; i < CALLS; i++)
                assert_int_equal(f->numbers[i], i);
        close_all(fds);
        close(other);
}

/* Who goes away while waiting costs no turn; who goes away while having one keeps it until the answer. */
static void test_turns_of_the_gone(void **state) {
        struct fixture *f = *state;
        int fds[CALLS];

        rpc_server_limits(f->server)->turns_max = 1;
        call_turns(f, fds, CALLS);
        assert_int_equal(f->n_held, 1);
        close(fds[3]);
        close(fds[1]);
        close(fds[0]);
        fixture_run(f);
        assert_int_equal(f->n_gone, 1);
        assert_int_equal(f->n_held, 1);
        rpc_reply(TAKE_PTR(f->held[0]), NULL);
        fixture_run(f);
        assert_int_equal(f->n_held, 2);
        assert_int_equal(f->numbers[1], 2);
        rpc_reply(TAKE_PTR(f->held[1]), NULL);
        fixture_run(f);
        fixture_expect(fds[2], ANSWER);
        assert_int_equal(f->n_held, 2);
        close(fds[2]);
}

/* The last one that waits is one that goes: the next one still finds its place. */
static void test_turn_behind_the_gone(void **state) {
        struct fixture *f = *state;
        int fds[CALLS], last[CALLS];

        rpc_server_limits(f->server)->turns_max = 1;
        call_turns(f, fds, 2);
        close(fds[1]);
        fixture_run(f);
        call_turns(f, last, 1);
        rpc_reply(TAKE_PTR(f->held[0]), NULL);
        fixture_run(f);
        assert_int_equal(f->n_held, 2);
        rpc_reply(TAKE_PTR(f->held[1]), NULL);
        fixture_run(f);
        fixture_expect(last[0], ANSWER);
        close(fds[0]);
        close(last[0]);
}

static void test_turns_outlive_the_server(void **state) {
        struct fixture *f = *state;
        int fds[CALLS];

        rpc_server_limits(f->server)->turns_max = 2;
        call_turns(f, fds, CALLS);
        rpc_server_free(TAKE_PTR(f->server));
        assert_int_equal(f->n_held, 2);
        for (size_t i = 0; i < f->n_held; i++)
                rpc_reply(TAKE_PTR(f->held[i]), NULL);
        close_all(fds);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                T(test_message_size),
                T(test_endless),
                T(test_half_message),
                T(test_half_message_behind_call),
                T(test_idle_clients),
                T(test_never_reads),
                T(test_pipelines_and_never_reads),
                T(test_one_large_reply),
                T(test_connections_max),
                T(test_turns),
                T(test_turns_of_the_gone),
                T(test_turn_behind_the_gone),
                T(test_turns_outlive_the_server),
                T(test_per_uid),
                T(test_no_descriptors),
                T(test_no_descriptors_pause),
                T(test_many_small_calls),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
