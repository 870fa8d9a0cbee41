/* What the child does between fork and exec. */
#pragma once

#include "base/error.h"
#include "qemu/process.h"

/* The descriptors of the child's side; both are moved and closed as needed. */
struct process_pipes {
        int hold_fd;   /* readable: one byte lets the child go on, the end makes it exit */
        int report_fd; /* writable: what failed, as "ERRNO TEXT" */
};

/* Closes everything else, waits, does the steps of process_release(), executes. The process has one thread,
 * so that malloc is safe here. */
_noreturn_ void process_child(const struct process_spec *spec, struct process_pipes pipes);

/* The child's steps that take rights away, in the order of their use. */

/* Groups, the bounding and the ambient set: what needs rights to be dropped. */
int process_drop_groups(gid_t gid, gid_t more, struct error *err);
/* The uid; then all five capability sets are empty, which is looked at, or it is an error. */
int process_drop_uid(uid_t uid, struct error *err);

/* The files of others (process_file.as, process_copy), as their owners. */
int process_open_as(const char *path, int flags, uid_t uid, struct error *err);
/* *ret_fd (owned): the copy, which uid may read. */
int process_copy(const struct process_copy *copy, uid_t uid, struct error *err);

/* Every disposition to its default, nothing blocked. */
void process_reset_signals(void);
/* PATH, LANG, HOME. */
char *const *process_minimal_environ(void);

/* Looks at path as whoever we are; real is the same without links. -EACCES names the component that blocks.
 */
int process_reach(const char *path, const char *real, struct error *err);
