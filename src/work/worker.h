/* One worker process and its report pipe, without any loop: what work_start() and work_run() share. */
#pragma once

#include "base/str.h"
#include "work/work.h"

struct worker {
        pid_t pid;
        int pidfd;            /* owned */
        int report_fd;        /* owned, non-blocking */
        bool report_ended;    /* all of it was read */
        struct strbuf report; /* what it wrote so far */
};
#define WORKER_INIT ((struct worker){ .pid = -1, .pidfd = -1, .report_fd = -1 })

/* Forks. The child closes every descriptor but stderr and its pipe (0 and 1 become /dev/null), takes default
 * signal dispositions and an empty mask, dies with its parent, calls fn, writes {"result": …} or
 * {"error": {"code": …, "text": …}}, closes its pipe and exits. */
int worker_spawn(struct worker *w, work_fn fn, void *arg, struct error *err);

/* Reads what there is. 0: more may come; 1: the end of the pipe (now closed); -EFBIG: more than
 * WORK_RESULT_MAX; -errno. */
int worker_read(struct worker *w);

/* After the end of its report, or its death: reads the rest and gives its result or its error. -ECHILD: it
 * died by a signal or said nothing. Does not reap it. */
int worker_collect(struct worker *w, json_t **ret, struct error *err);

/* Reaps if it is dead: true. Never blocks. */
bool worker_reap(int pidfd);
void worker_kill(const struct worker *w);
void worker_done(struct worker *w); /* closes; does not kill */

enum { WORKER_GRACE_MS = 1000 }; /* from SIGKILL until it counts as stuck */
