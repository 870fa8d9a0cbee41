/* The held process and QMP together, against a QEMU that fails where it is told to. */
#include "base/file.h"
#include "base/str.h"
#include "qemu/process.h"
#include "qemu/qmp.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { WAIT_US = 20000000 };

struct bench {
        char folder[32];
        char *binary, *log, *socket_path; /* owned */
        sd_event *loop;
        struct process p;
        struct qmp *q;
        struct strbuf seen;
        bool closed;
        int64_t first_thread;
};

static void on_cont(struct qmp *q, const json_t *reply, const struct error *err, void *data) {
        struct bench *b = data;

        strbuf_addf(&b->seen, "cont %s;", reply ? "done" : err->code == -EPROTO ? err->text : "lost");
}

static void on_cpus(struct qmp *q, const json_t *reply, const struct error *err, void *data) {
        struct bench *b = data;

        strbuf_addf(&b->seen, "cpus %zu;", json_array_size(reply));
        b->first_thread = json_get_int(json_array_get(reply, 0), "thread-id", 0);
        if (reply)
                assert_int_equal(qmp_execute(q, "cont", NULL, 0, on_cont, b, NULL), 0);
}

static void on_ready(struct qmp *q, const char *version, void *data) {
        struct bench *b = data;

        strbuf_addf(&b->seen, "ready %s;", version);
        assert_int_equal(qmp_execute(q, "query-cpus-fast", NULL, 0, on_cpus, data, NULL), 0);
}

static void on_event(struct qmp *q, const char *name, const json_t *event_data, uint64_t time_us,
                     void *data) {
        struct bench *b = data;

        assert_true(time_us > 0);
        strbuf_addf(&b->seen, "%s;", name);
}

static void on_closed(struct qmp *q, const struct error *err, void *data) {
        struct bench *b = data;

        strbuf_addf(&b->seen, "closed %d;", err->code);
        b->closed = true;
}

static const struct qmp_ops ops = { .ready = on_ready, .event = on_event, .closed = on_closed };

static void write_beside(struct bench *b, const char *suffix, const char *data, size_t len, mode_t mode) {
        _cleanup_free_ char *path = xasprintf("%s%s", b->binary, suffix);

        assert_int_equal(file_write_atomic(AT_FDCWD, path, data, len, mode, false, NULL), 0);
}

static int setup(void **state) {
        struct bench *b = xcalloc(1, sizeof(*b));
        _cleanup_free_ char *script = NULL;
        size_t len;

        strcpy(b->folder, "/tmp/vore-test-XXXXXX");
        assert_non_null(mkdtemp(b->folder));
        b->binary = xasprintf("%s/fake-qemu", b->folder);
        b->log = xasprintf("%s/log", b->folder);
        b->socket_path = xasprintf("%s/qmp", b->folder);
        b->p = PROCESS_INIT;
        assert_true(sd_event_new(&b->loop) >= 0);
        assert_int_equal(file_read(AT_FDCWD, TEST_FAKE_QEMU, 1 << 20, &script, &len, NULL), 0);
        write_beside(b, "", script, len, 0755);
        *state = b;
        return 0;
}

static int wait_end(struct bench *b) {
        siginfo_t info = { 0 };

        assert_int_equal(waitid(P_PIDFD, (id_t) b->p.pidfd, &info, WEXITED), 0);
        b->p.pid = -1;
        return info.si_code == CLD_EXITED ? info.si_status : -info.si_status;
}

static int teardown(void **state) {
        struct bench *b = *state;

        qmp_free(b->q);
        if (b->p.pid > 0) {
                process_kill(b->p.pidfd, SIGKILL);
                wait_end(b);
        }
        process_done(&b->p);
        sd_event_unref(b->loop);
        strbuf_done(&b->seen);
        assert_int_equal(file_remove_tree(AT_FDCWD, b->folder, NULL), 0);
        free(b->binary);
        free(b->log);
        free(b->socket_path);
        free(b);
        return 0;
}

static int listen_at(const char *path) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
        assert_int_equal(bind(fd, (struct sockaddr *) &address, sizeof(address)), 0);
        assert_int_equal(listen(fd, 4), 0);
        return fd;
}

/* Starts it as the daemon does: the socket is there first, and we are connected before it runs. */
static void start(struct bench *b, const char *faults) {
        const char *argv[] = { b->binary,      "-smp",         "cpus=2,cores=2",
                               "-S",           "-no-shutdown", "-msg",
                               "timestamp=on", "-chardev",     "socket,id=qmp,fd=3,server=on,wait=off",
                               "-qmp",         "chardev:qmp",  NULL };
        _cleanup_close_ int listener = listen_at(b->socket_path);
        struct process_fd fd = { .target_fd = 3, .fd = listener };
        struct process_spec spec = {
                .argv = (char *const *) argv, .log_path = b->log, .fds = &fd, .n_fds = 1
        };
        _cleanup_error_ struct error err = ERROR_INIT;

        write_beside(b, ".json", faults, strlen(faults), 0644);
        if (process_spawn(&spec, &b->p, &err) < 0 ||
            qmp_connect(b->loop, b->socket_path, &ops, b, &b->q, &err) < 0 ||
            process_release(&b->p, &err) < 0)
                fail_msg("%s", error_text(&err));
}

static bool has_seen(struct bench *b, const char *what) {
        return b->seen.data && strstr(b->seen.data, what);
}

static void wait_for(struct bench *b, const char *what) {
        while (!has_seen(b, what))
                if (sd_event_run(b->loop, WAIT_US) <= 0)
                        fail_msg("waited for \"%s\" and saw \"%s\"", what, b->seen.data ? b->seen.data : "");
}

static void command(struct bench *b, const char *name) {
        assert_int_equal(qmp_execute(b->q, name, NULL, 0, NULL, NULL, NULL), 0);
}

static void life(void **state) {
        struct bench *b = *state;

        start(b, "{}");
        wait_for(b, "RESUME;");
        assert_string_equal(b->seen.data, "ready 7.2.22;cpus 2;cont done;RESUME;");
        _cleanup_free_ char *task =
                xasprintf("/proc/%d/task/%lld", (int) b->p.pid, (long long) b->first_thread);
        assert_int_equal(access(task, F_OK), 0);
        command(b, "stop");
        wait_for(b, "STOP;");
        command(b, "cont");
        command(b, "system_reset");
        wait_for(b, "RESET;RESET;");
        command(b, "system_powerdown");
        wait_for(b, "POWERDOWN;SHUTDOWN;STOP;");
        command(b, "quit");
        wait_for(b, "closed -104;");
        assert_int_equal(wait_end(b), 0);
}

static void dies_at_each_step(void **state) {
        static const struct {
                const char *faults, *seen;
                int status;
        } rows[] = {
                { "{\"die\": \"start\", \"text\": \"no flux\"}", "closed -104;", 1 },
                { "{\"die\": \"before-greeting\", \"text\": \"no flux\"}", "closed -104;", 1 },
                { "{\"die\": \"after-greeting\", \"text\": \"no flux\", \"how\": \"clean\"}", "closed -104;",
                  0 },
                { "{\"die\": \"qmp_capabilities\", \"text\": \"no flux\"}", "closed -104;", 1 },
                { "{\"die\": \"query-cpus-fast\", \"text\": \"no flux\", \"how\": \"kill\"}",
                  "ready 7.2.22;cpus 0;closed -104;", -9 },
                { "{\"die\": \"cont\", \"text\": \"no flux\"}", "ready 7.2.22;cpus 2;cont lost;closed -104;",
                  1 },
                { "{\"die\": \"running\", \"text\": \"no flux\", \"how\": \"abort\"}",
                  "ready 7.2.22;cpus 2;cont done;RESUME;closed -104;", -6 },
        };

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                struct bench *b = *state;

                start(b, rows[i].faults);
                wait_for(b, "closed");
                assert_string_equal(b->seen.data, rows[i].seen);
                assert_int_equal(wait_end(b), rows[i].status);
                _cleanup_free_ char *words = process_last_words(b->log, 0);
                assert_string_equal(words, "no flux");
                teardown(state);
                setup(state);
        }
}

static void bad_talk(void **state) {
        static const struct {
                const char *faults, *seen;
        } rows[] = {
                { "{\"greet\": \"garbage\"}", "closed -74;" },
                { "{\"greet\": \"wrong\"}", "closed -74;" },
                { "{\"greet\": \"oversized\"}", "closed -90;" },
                { "{\"garbage\": \"cont\"}", "ready 7.2.22;cpus 2;cont lost;closed -74;" },
                { "{\"oversized\": \"query-cpus-fast\"}", "ready 7.2.22;cpus 0;closed -90;" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                struct bench *b = *state;

                start(b, rows[i].faults);
                wait_for(b, "closed");
                assert_string_equal(b->seen.data, rows[i].seen);
                teardown(state);
                setup(state);
        }
}

static void refuses(void **state) {
        struct bench *b = *state;

        start(b, "{\"refuse\": {\"cont\": \"the flux is low\"}, \"slow\": {\"greeting\": 0.05, \"cont\": "
                 "0.05}}");
        wait_for(b, "cont ");
        assert_string_equal(b->seen.data, "ready 7.2.22;cpus 2;cont the flux is low;");
}

static void stays_silent(void **state) {
        struct bench *b = *state;

        start(b, "{\"greet\": \"never\"}");
        for (int i = 0; i < 3; i++)
                sd_event_run(b->loop, 100000);
        assert_null(b->seen.data);
        int r;
        while ((r = process_report(&b->p, NULL)) > 0) /* it is not there yet */
                sd_event_run(b->loop, 100000);
        assert_int_equal(r, 0);
}

static void ignores(void **state) {
        struct bench *b = *state;

        start(b, "{\"ignore\": [\"system_powerdown\", \"SIGTERM\"], \"events\": [[0.2, \"WATCHDOG\", {}]]}");
        wait_for(b, "RESUME;");
        command(b, "system_powerdown");
        wait_for(b, "POWERDOWN;");
        process_kill(b->p.pidfd, SIGTERM);
        wait_for(b, "WATCHDOG;");
        assert_false(has_seen(b, "SHUTDOWN"));
        assert_false(b->closed);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(life),    TEST(dies_at_each_step), TEST(bad_talk),
                TEST(refuses), TEST(stays_silent),      TEST(ignores),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
