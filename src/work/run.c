#include "work/worker.h"

#include <errno.h>
#include <poll.h>

#include "base/clock.h"

static void worker_cleanup(struct worker *w) {
        worker_done(w);
}

/* Waits for what comes first: the report's next part, the death, or the time (CLOCK_MONOTONIC). 1: dead. */
static int worker_wait(struct worker *w, uint64_t until_us) {
        struct pollfd fds[] = { { .fd = w->pidfd, .events = POLLIN },
                                { .fd = w->report_ended ? -1 : w->report_fd, .events = POLLIN } };
        uint64_t now = clock_monotonic_us();
        int r;

        if (now >= until_us)
                return -ETIME;
        r = poll(fds, ARRAY_SIZE(fds), (int) MIN((until_us - now + 999) / 1000, 3600U * 1000));
        if (r < 0)
                return errno == EINTR ? 0 : -errno;
        if (fds[0].revents)
                return 1;
        if (fds[1].revents) {
                r = worker_read(w);
                return r < 0 ? r : 0;
        }
        return 0;
}

static int worker_wait_dead(struct worker *w, unsigned timeout_ms) {
        uint64_t until = clock_monotonic_us() + (uint64_t) timeout_ms * 1000;
        int r;

        do
                r = worker_wait(w, until);
        while (r == 0);
        return r;
}

int work_run(const char *name, unsigned deadline_ms, work_fn fn, void *arg, json_t **ret, struct error *err) {
        _cleanup_(worker_cleanup) struct worker w = WORKER_INIT;
        int r, killed;

        r = worker_spawn(&w, fn, arg, err);
        if (r < 0) {
                (void) error_prefix(err, "%s", name);
                return r;
        }
        r = worker_wait_dead(&w, deadline_ms);
        if (r > 0) {
                struct error own = ERROR_INIT;

                r = worker_collect(&w, ret, &own);
                (void) worker_reap(w.pidfd);
                if (r == -ECHILD || r == -EFBIG)
                        (void) error_prefix(&own, "%s", name);
                return r < 0 ? error_move(err, &own) : 0;
        }
        worker_kill(&w);
        cleanup_closep(&w.report_fd);
        killed = worker_wait_dead(&w, WORKER_GRACE_MS);
        if (killed > 0)
                (void) worker_reap(w.pidfd);
        if (r == -EFBIG)
                return error_set(err, r, "%s: its result is larger than %d MiB", name,
                                 WORK_RESULT_MAX / 1024 / 1024);
        if (r != -ETIME)
                return error_errno(err, r, "%s: cannot wait for the worker", name);
        if (killed <= 0)
                return error_set(err, r, "%s did not end within %u ms, and process %d cannot be killed", name,
                                 deadline_ms, (int) w.pid);
        return error_set(err, r, "%s did not end within %u ms", name, deadline_ms);
}
