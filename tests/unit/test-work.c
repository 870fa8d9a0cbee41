/* Workers: what they report, how they die, what they hold. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/str.h"
#include "work/work.h"

/* A worker that does not even die by SIGKILL hangs in the kernel: here the signal is kept back. */
static bool kill_blocked;
int __real_pidfd_send_signal(int pidfd, int sig, siginfo_t *info, unsigned flags);
int __wrap_pidfd_send_signal(int pidfd, int sig, siginfo_t *info, unsigned flags);
int __wrap_pidfd_send_signal(int pidfd, int sig, siginfo_t *info, unsigned flags) {
        return kill_blocked ? 0 : __real_pidfd_send_signal(pidfd, sig, info, flags);
}

struct seen {
        json_t *result;
        struct error error;
        pid_t stuck_pid;
        unsigned calls;
        sd_event *loop;
};

static void seen_done(const json_t *result, const struct error *err, pid_t stuck_pid, void *data) {
        struct seen *seen = data;

        seen->calls++;
        seen->result = result ? json_deep_copy(result) : NULL;
        seen->stuck_pid = stuck_pid;
        if (err)
                (void) error_set(&seen->error, err->code, "%s", error_text(err));
}

/* Until done was called; then the loop alone reaps whoever it still has. */
static void seen_wait(struct seen *seen) {
        uint64_t end = clock_monotonic_us() + 20 * 1000 * 1000;

        while (seen->calls == 0)
                assert_true(sd_event_run(seen->loop, UINT64_MAX) >= 0);
        while (!seen->stuck_pid && waitid(P_ALL, 0, &(siginfo_t){ 0 }, WEXITED | WNOHANG | WNOWAIT) == 0 &&
               clock_monotonic_us() < end)
                assert_true(sd_event_run(seen->loop, 10 * 1000) >= 0);
}

/* Both ways: with a loop and without. */
static int run_both(unsigned deadline_ms, work_fn fn, void *arg, json_t **ret, struct error *err) {
        struct seen seen = { 0 };
        struct work *work = NULL;
        _cleanup_error_ struct error sync_error = ERROR_INIT;
        _cleanup_json_ json_t *sync_result = NULL;
        int r;

        assert_int_equal(sd_event_new(&seen.loop), 0);
        assert_int_equal(
                work_start(seen.loop, "the test", deadline_ms, fn, arg, seen_done, &seen, &work, err), 0);
        seen_wait(&seen);
        sd_event_unref(seen.loop);
        assert_int_equal(seen.calls, 1);
        assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* nothing left to reap */
        assert_int_equal(seen.stuck_pid, 0);

        r = work_run("the test", deadline_ms, fn, arg, &sync_result, &sync_error);
        assert_int_equal(r, seen.error.code);
        if (r < 0)
                assert_string_equal(error_text(&sync_error), error_text(&seen.error));
        else
                assert_true(json_equal(sync_result, seen.result));
        *ret = seen.result;
        (void) error_move(err, &seen.error);
        return r;
}

static int fn_echo(void *arg, int report_fd, json_t **ret, struct error *err) {
        *ret = json_pack("{s:s, s:i}", "text", (const char *) arg, "n", 3);
        return 0;
}

static void test_result(void **state) {
        _cleanup_json_ json_t *result = NULL;
        _cleanup_error_ struct error err = ERROR_INIT;

        assert_int_equal(run_both(5000, fn_echo, (void *) "hällo", &result, &err), 0);
        assert_string_equal(json_get_str(result, "text", ""), "hällo");
        assert_int_equal(json_get_int(result, "n", 0), 3);
}

static int fn_null(void *arg, int report_fd, json_t **ret, struct error *err) {
        return 0;
}

static void test_no_value(void **state) {
        _cleanup_json_ json_t *result = NULL;
        _cleanup_error_ struct error err = ERROR_INIT;

        assert_int_equal(run_both(5000, fn_null, NULL, &result, &err), 0);
        assert_true(json_is_null(result));
}

static int fn_error(void *arg, int report_fd, json_t **ret, struct error *err) {
        return error_set(err, -ENODEV, "no \"such\" \xff thing\n");
}

static void test_error_keeps_code_and_text(void **state) {
        _cleanup_json_ json_t *result = NULL;
        _cleanup_error_ struct error err = ERROR_INIT;

        assert_int_equal(run_both(5000, fn_error, NULL, &result, &err), -ENODEV);
        assert_null(result);
        assert_string_equal(error_text(&err), "no \"such\" \xef\xbf\xbd thing\n");
}

static int fn_big(void *arg, int report_fd, json_t **ret, struct error *err) {
        size_t n = *(size_t *) arg;
        char *text = xcalloc(1, n + 1);

        memset(text, 'x', n);
        *ret = json_string(text);
        free(text);
        return 0;
}

static void test_bounds(void **state) {
        _cleanup_json_ json_t *result = NULL;
        _cleanup_error_ struct error err = ERROR_INIT;
        size_t n = 8 * 1024 * 1024; /* far more than a pipe holds */

        assert_int_equal(run_both(20000, fn_big, &n, &result, &err), 0);
        assert_int_equal(json_string_length(result), n);
        json_decref(result);
        result = NULL;
        n = WORK_RESULT_MAX + 1;
        assert_int_equal(run_both(20000, fn_big, &n, &result, &err), -EFBIG);
        assert_non_null(strstr(error_text(&err), "the test: its result is larger than 16 MiB"));
}

static int fn_abort(void *arg, int report_fd, json_t **ret, struct error *err) {
        (void) raise(SIGKILL);
        return 0;
}
static int fn_exit(void *arg, int report_fd, json_t **ret, struct error *err) {
        _exit(7);
}
static int fn_half(void *arg, int report_fd, json_t **ret, struct error *err) {
        (void) !write(report_fd, "{\"result\":", 10);
        _exit(0);
}
static int fn_garbage(void *arg, int report_fd, json_t **ret, struct error *err) {
        (void) !write(report_fd, "[1]", 3);
        _exit(0);
}

static void test_deaths(void **state) {
        static const struct {
                work_fn fn;
                const char *text;
        } rows[] = {
                { fn_abort, "the test: ended by signal 9 (Killed)" },
                { fn_exit, "the test: ended without a result (exit status 7)" },
                { fn_half, "the test: its report was cut off" },
                { fn_garbage, "the test: its report holds no result" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                _cleanup_json_ json_t *result = NULL;
                _cleanup_error_ struct error err = ERROR_INIT;

                assert_int_equal(run_both(5000, rows[i].fn, NULL, &result, &err), -ECHILD);
                assert_null(result);
                assert_string_equal(error_text(&err), rows[i].text);
        }
}

static int fn_raw(void *arg, int report_fd, json_t **ret, struct error *err) {
        work_report_raw(report_fd, -ETIMEDOUT, "qemu.lua:12: \"ran\" longer\n\\");
        _exit(1);
}
static int fn_raw_long(void *arg, int report_fd, json_t **ret, struct error *err) {
        char text[10000];

        memset(text, 1, sizeof(text) - 1); /* each becomes \u0001 */
        text[sizeof(text) - 1] = '\0';
        work_report_raw(report_fd, EINVAL, text);
        _exit(1);
}

static void test_report_raw(void **state) {
        _cleanup_json_ json_t *result = NULL;
        _cleanup_error_ struct error err = ERROR_INIT, cut = ERROR_INIT;

        assert_int_equal(run_both(5000, fn_raw, NULL, &result, &err), -ETIMEDOUT);
        assert_string_equal(error_text(&err), "qemu.lua:12: \"ran\" longer\n\\");
        assert_int_equal(run_both(5000, fn_raw_long, NULL, &result, &cut), -EINVAL);
        assert_true(strlen(error_text(&cut)) > 600);
        error_done(&cut);
}

static int fn_hang(void *arg, int report_fd, json_t **ret, struct error *err) {
        sigset_t all;

        (void) sigfillset(&all);
        (void) sigprocmask(SIG_SETMASK, &all, NULL);
        for (;;)
                (void) pause();
        return 0;
}

static void test_deadline(void **state) {
        _cleanup_json_ json_t *result = NULL;
        _cleanup_error_ struct error err = ERROR_INIT;
        uint64_t start = clock_monotonic_us();

        assert_int_equal(run_both(100, fn_hang, NULL, &result, &err), -ETIME);
        assert_string_equal(error_text(&err), "the test did not end within 100 ms");
        assert_true(clock_monotonic_us() - start < 5 * 1000 * 1000);
        assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* nothing left to reap */
}

static int fn_timed_out(void *arg, int report_fd, json_t **ret, struct error *err) {
        return error_set(err, *(int *) arg, "the driver says so");
}

/* What a worker meets is told apart from what it exceeds. */
static void test_own_timeout_is_no_deadline(void **state) {
        int codes[] = { -ETIMEDOUT, -ETIME };

        for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
                _cleanup_json_ json_t *result = NULL;
                _cleanup_error_ struct error err = ERROR_INIT;

                assert_int_equal(run_both(5000, fn_timed_out, &codes[i], &result, &err), -ETIMEDOUT);
                assert_string_equal(error_text(&err), "the driver says so");
        }
}

static void test_stuck(void **state) {
        struct seen seen = { 0 };
        struct work *work = NULL;
        _cleanup_json_ json_t *result = NULL;
        _cleanup_error_ struct error err = ERROR_INIT;
        char *number;

        kill_blocked = true;
        assert_int_equal(sd_event_new(&seen.loop), 0);
        assert_int_equal(work_start(seen.loop, "the test", 50, fn_hang, NULL, seen_done, &seen, &work, NULL),
                         0);
        seen_wait(&seen);
        assert_int_equal(seen.error.code, -ETIME);
        assert_non_null(strstr(error_text(&seen.error), "cannot be killed"));
        assert_true(seen.stuck_pid > 0);
        assert_int_equal(kill(seen.stuck_pid, 0), 0);
        error_done(&seen.error);

        assert_int_equal(work_run("the test", 50, fn_hang, NULL, &result, &err), -ETIME);
        number = strstr(error_text(&err), "process ");
        assert_non_null(number);
        kill_blocked = false;
        assert_int_equal(kill((pid_t) strtol(number + strlen("process "), NULL, 10), SIGKILL), 0);
        assert_true(waitpid((pid_t) strtol(number + strlen("process "), NULL, 10), NULL, 0) > 0);
        assert_int_equal(kill(seen.stuck_pid, SIGKILL), 0);
        sd_event_unref(seen.loop);
        assert_true(waitpid(seen.stuck_pid, NULL, 0) > 0);
}

/* Says all that it has to say, and lives on. */
static int fn_lingers(void *arg, int report_fd, json_t **ret, struct error *err) {
        work_report_raw(report_fd, -EXDEV, "said");
        (void) close(report_fd);
        (void) usleep(1000 * 1000);
        _exit(EXIT_FAILURE);
}

/* Done comes with the end of the report: nobody waits for the death, and the loop reaps it when it comes. */
static void test_report_is_the_end(void **state) {
        struct seen seen = { 0 };
        struct work *work = NULL;
        uint64_t start = clock_monotonic_us();

        assert_int_equal(sd_event_new(&seen.loop), 0);
        assert_int_equal(
                work_start(seen.loop, "the test", 20000, fn_lingers, NULL, seen_done, &seen, &work, NULL), 0);
        while (seen.calls == 0)
                assert_true(sd_event_run(seen.loop, UINT64_MAX) >= 0);
        assert_int_equal(waitpid(-1, NULL, WNOHANG), 0); /* it still lives */
        assert_int_equal(seen.error.code, -EXDEV);
        seen_wait(&seen);
        assert_true(clock_monotonic_us() - start >= 900 * 1000);
        assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
        error_done(&seen.error);
        sd_event_unref(seen.loop);
}

/* Cancelling never waits, and the dead one is reaped by the loop alone. */
static void test_cancel(void **state) {
        struct seen seen = { 0 };
        struct work *work = NULL;

        assert_int_equal(sd_event_new(&seen.loop), 0);
        assert_int_equal(
                work_start(seen.loop, "the test", 60000, fn_hang, NULL, seen_done, &seen, &work, NULL), 0);
        work_cancel(work);
        work_cancel(NULL);
        siginfo_t info;
        while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0)
                if (sd_event_run(seen.loop, 20 * 1000 * 1000) <= 0)
                        fail_msg("it was not reaped");
        sd_event_unref(seen.loop);
        assert_int_equal(seen.calls, 0);
}

static int fn_state(void *arg, int report_fd, json_t **ret, struct error *err) {
        DIR *dir = opendir("/proc/self/fd");
        struct dirent *entry;
        json_t *fds = json_array();
        struct sigaction action;
        sigset_t mask;
        char link[64], target[256];

        while ((entry = readdir(dir))) {
                ssize_t n;
                if (*entry->d_name == '.' || atoi(entry->d_name) == dirfd(dir))
                        continue;
                (void) snprintf(link, sizeof(link), "/proc/self/fd/%.20s", entry->d_name);
                n = readlink(link, target, sizeof(target) - 1);
                target[n > 0 ? n : 0] = '\0';
                if (atoi(entry->d_name) != STDERR_FILENO && atoi(entry->d_name) != report_fd)
                        json_push_str(fds, target);
        }
        (void) closedir(dir);
        (void) sigaction(SIGUSR1, NULL, &action);
        (void) sigprocmask(SIG_SETMASK, NULL, &mask);
        *ret = json_pack("{s:o, s:b, s:b}", "fds", fds, "default", action.sa_handler == SIG_DFL, "masked",
                         sigismember(&mask, SIGUSR2));
        return 0;
}

static void test_clean_child(void **state) {
        _cleanup_json_ json_t *result = NULL;
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_close_ int socket_like = open("/etc/passwd", O_RDONLY),
                            high = fcntl(socket_like, F_DUPFD, 500);
        sigset_t mask, old;

        (void) signal(SIGUSR1, SIG_IGN);
        (void) sigemptyset(&mask);
        (void) sigaddset(&mask, SIGUSR2);
        (void) sigprocmask(SIG_BLOCK, &mask, &old);
        assert_int_equal(run_both(5000, fn_state, NULL, &result, &err), 0);
        (void) sigprocmask(SIG_SETMASK, &old, NULL);
        (void) signal(SIGUSR1, SIG_DFL);
        assert_int_equal(json_array_size(json_object_get(result, "fds")), 2);
        assert_string_equal(json_string_value(json_array_get(json_object_get(result, "fds"), 0)),
                            "/dev/null");
        assert_string_equal(json_string_value(json_array_get(json_object_get(result, "fds"), 1)),
                            "/dev/null");
        assert_true(json_get_bool(result, "default", false));
        assert_false(json_get_bool(result, "masked", true));
        (void) high;
}

/* A process that the worker left behind and that holds the pipe delays nothing. */
static int fn_leaves_child(void *arg, int report_fd, json_t **ret, struct error *err) {
        pid_t pid = fork();

        if (pid == 0) {
                (void) alarm(3);
                for (;;)
                        (void) pause();
        }
        *ret = json_integer(pid);
        return 0;
}

static void test_leftover_process(void **state) {
        _cleanup_json_ json_t *result = NULL;
        _cleanup_error_ struct error err = ERROR_INIT;
        uint64_t start = clock_monotonic_us();

        assert_int_equal(work_run("the test", 20000, fn_leaves_child, NULL, &result, &err), 0);
        assert_true(clock_monotonic_us() - start < 2 * 1000 * 1000);
        assert_int_equal(kill((pid_t) json_integer_value(result), SIGKILL), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_result),
                cmocka_unit_test(test_no_value),
                cmocka_unit_test(test_error_keeps_code_and_text),
                cmocka_unit_test(test_bounds),
                cmocka_unit_test(test_deaths),
                cmocka_unit_test(test_report_raw),
                cmocka_unit_test(test_deadline),
                cmocka_unit_test(test_own_timeout_is_no_deadline),
                cmocka_unit_test(test_stuck),
                cmocka_unit_test(test_report_is_the_end),
                cmocka_unit_test(test_cancel),
                cmocka_unit_test(test_clean_child),
                cmocka_unit_test(test_leftover_process),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
