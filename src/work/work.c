#include "work/worker.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

struct work {
        char *name;
        unsigned deadline_ms;
        work_done_fn done;
        void *data;
        struct worker worker;
        struct error failure; /* set once it was killed for a reason of ours */
        sd_event_source *report, *death, *timer;
};

static void work_free(struct work *w) {
        sd_event_source_disable_unref(w->report);
        sd_event_source_disable_unref(w->death);
        sd_event_source_disable_unref(w->timer);
        worker_done(&w->worker);
        error_done(&w->failure);
        free(w->name);
        free(w);
}

static void work_freep(struct work **w) {
        if (*w)
                work_free(*w);
}

static int on_orphan_death(sd_event_source *s, int pidfd, uint32_t revents, void *data) {
        (void) worker_reap(pidfd);
        (void) sd_event_source_set_enabled(s, SD_EVENT_OFF);
        (void) sd_event_source_set_floating(s, false); /* drops the loop's reference, the last one */
        return 0;
}

/* Nobody waits for it any more, but it must be reaped whenever it dies: its pidfd stays in the loop. */
static void work_orphan(struct work *w) {
        sd_event *loop = sd_event_source_get_event(w->death);
        sd_event_source *s = NULL;

        if (worker_reap(w->worker.pidfd))
                return;
        w->death = sd_event_source_disable_unref(w->death); /* epoll takes a descriptor once */
        if (sd_event_add_io(loop, &s, w->worker.pidfd, EPOLLIN, on_orphan_death, NULL) < 0)
                return;
        w->worker.pidfd = -1;
        (void) sd_event_source_set_io_fd_own(s, true);
        (void) sd_event_source_set_floating(s, true);
        (void) sd_event_source_set_priority(s, SD_EVENT_PRIORITY_IDLE);
        sd_event_source_unref(s);
}

/* w is gone before done is called, so that done may do whatever it likes. */
static void work_finish(struct work *w, json_t *result, struct error *error, pid_t stuck_pid) {
        work_done_fn done = w->done;
        void *data = w->data;

        work_free(w);
        done(result, result ? NULL : error, stuck_pid, data);
        json_decref(result);
        error_done(error);
}

/* Its report has ended, or it is dead: the result counts, and it is reaped now or when it dies. */
static void work_collect(struct work *w) {
        struct error error = ERROR_INIT;
        json_t *result = NULL;
        int r = worker_collect(&w->worker, &result, &error);

        if (r == -ECHILD || r == -EFBIG)
                (void) error_prefix(&error, "%s", w->name);
        work_orphan(w);
        work_finish(w, result, &error, 0);
}

static int on_death(sd_event_source *s, int fd, uint32_t revents, void *data) {
        struct work *w = data;
        struct error error = ERROR_INIT;

        if (w->failure.code == 0) {
                work_collect(w);
                return 0;
        }
        (void) worker_reap(w->worker.pidfd);
        (void) error_move(&error, &w->failure);
        work_finish(w, NULL, &error, 0);
        return 0;
}

static void work_kill(struct work *w) {
        w->report = sd_event_source_disable_unref(w->report);
        worker_kill(&w->worker);
        (void) sd_event_source_set_time_relative(w->timer, WORKER_GRACE_MS * 1000ULL);
        (void) sd_event_source_set_enabled(w->timer, SD_EVENT_ONESHOT);
}

static int on_report(sd_event_source *s, int fd, uint32_t revents, void *data) {
        struct work *w = data;
        int r;

        r = worker_read(&w->worker);
        if (r > 0 && w->worker.report.len > 0) {
                work_collect(w);
                return 0;
        }
        /* It ended without a word: its death says why. */
        if (r > 0)
                w->report = sd_event_source_disable_unref(w->report);
        if (r == -EFBIG)
                (void) error_set(&w->failure, r, "%s: its result is larger than %d MiB", w->name,
                                 WORK_RESULT_MAX / 1024 / 1024);
        else if (r < 0)
                (void) error_errno(&w->failure, r, "%s: cannot read its report", w->name);
        if (r < 0)
                work_kill(w);
        return 0;
}

static int on_timer(sd_event_source *s, uint64_t usec, void *data) {
        struct work *w = data;
        struct error error = ERROR_INIT;
        pid_t pid = w->worker.pid;

        if (w->failure.code == 0) {
                (void) error_set(&w->failure, -ETIME, "%s did not end within %u ms", w->name, w->deadline_ms);
                work_kill(w);
                return 0;
        }
        if (w->failure.code == -ETIME)
                (void) error_set(&error, -ETIME,
                                 "%s did not end within %u ms, and process %d cannot be killed", w->name,
                                 w->deadline_ms, (int) pid);
        else
                (void) error_move(&error, &w->failure);
        work_orphan(w);
        work_finish(w, NULL, &error, pid);
        return 0;
}

static int work_watch(struct work *w, sd_event *loop, struct error *err) {
        int r;

        r = sd_event_add_io(loop, &w->report, w->worker.report_fd, EPOLLIN, on_report, w);
        if (r >= 0)
                r = sd_event_add_io(loop, &w->death, w->worker.pidfd, EPOLLIN, on_death, w);
        if (r >= 0)
                r = sd_event_add_time_relative(loop, &w->timer, CLOCK_MONOTONIC, w->deadline_ms * 1000ULL,
                                               1000, on_timer, w);
        return r < 0 ? error_errno(err, r, "%s: cannot watch the worker", w->name) : 0;
}

int work_start(sd_event *loop, const char *name, unsigned deadline_ms, work_fn fn, void *arg,
               work_done_fn done, void *data, struct work **ret, struct error *err) {
        _cleanup_(work_freep) struct work *w = xcalloc(1, sizeof(*w));
        int r;

        w->worker = WORKER_INIT;
        w->name = xstrdup(name);
        w->deadline_ms = deadline_ms;
        w->done = done;
        w->data = data;
        r = worker_spawn(&w->worker, fn, arg, err);
        if (r < 0) {
                (void) error_prefix(err, "%s", name);
                return r;
        }
        r = work_watch(w, loop, err);
        if (r < 0) {
                worker_kill(&w->worker);
                (void) waitpid(w->worker.pid, NULL, 0);
                return r;
        }
        *ret = TAKE_PTR(w);
        return 0;
}

void work_cancel(struct work *w) {
        if (!w)
                return;
        worker_kill(&w->worker);
        work_orphan(w);
        work_free(w);
}
