/* Short-lived workers: the only place that forks them. A worker closes every descriptor but its report
 * pipe first, resets signals, runs one function and writes its result (a JSON value) to the pipe. Past
 * its deadline it is killed; if it does not die (state D), it is disowned and named. The daemon never waits.
 */
#pragma once

#include "base/error.h"
#include "base/json.h"

#include <systemd/sd-event.h>
#include <sys/types.h>

/* Runs in the worker. Gives a result (new reference) or an error. report_fd: for code that must report from
 * a place it cannot return from (Lua past its deadline): write a complete message with work_report_raw
 * and _exit. */
typedef int (*work_fn)(void *arg, int report_fd, json_t **ret, struct error *err);

/* Called at the end of the report: the work is done then, but its process may still be on its way out; the
 * loop reaps it. result: borrowed, NULL on failure with err set: the worker's own error; -ETIME past the
 * deadline (only then: a worker's own -ETIME becomes -ETIMEDOUT); -ECHILD when it died by a signal or without
 * a result. After an -ETIME stuck_pid is the pid of a worker that does not die even after SIGKILL (0: it
 * died). */
typedef void (*work_done_fn)(const json_t *result, const struct error *err, pid_t stuck_pid, void *data);

/* Belongs to the loop from work_start() until done is called: when done runs, it is gone already. */
struct work;

enum { WORK_RESULT_MAX = 16 * 1024 * 1024 };

/* name is for messages: "the script of win10". */
int work_start(sd_event *loop, const char *name, unsigned deadline_ms, work_fn fn, void *arg,
               work_done_fn done, void *data, struct work **ret, struct error *err);
/* Kills the worker without waiting for its death; done is not called. NULL is fine; not after done. */
void work_cancel(struct work *w);
/* The same, waiting for the end: for the command line, which has no loop. */
int work_run(const char *name, unsigned deadline_ms, work_fn fn, void *arg, json_t **ret, struct error *err);

/* Async-signal-safe: writes {"error":…} for code and text to report_fd. */
void work_report_raw(int report_fd, int code, const char *text);
