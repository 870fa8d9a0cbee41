/* Runs another program to its end. */
#pragma once

#include "base/error.h"

#include <sys/types.h>

/* argv[0] is looked up in PATH when it has no slash. Its stdin holds the len bytes of input (at most some 64
 * KiB), its stdout goes to *ret (owned, NUL-terminated, at most max bytes; NULL: ours), its stderr is ours.
 * Signals of the terminal end it, not us. *ret_status is its exit status, 128 and more for a signal. -ENOENT:
 * there is no such program. */
int run_program(char *const argv[], const void *input, size_t len, size_t max, char **ret, size_t *ret_len,
                int *ret_status, struct error *err);
