/* Devices whose worker did not die: the kernel hangs inside them, and whoever touches them hangs too. They
 * are remembered in one file of the run-time folder, until the host restarts: a file of another boot counts
 * as none. A device that is named there twice keeps its first sentence. */
#pragma once

#include "base/error.h"
#include "base/json.h"

#include <stdbool.h>

/* dir: the run-time folder. sentence: vfio_job_stuck(). -E2BIG past VFIO_STUCK_MAX devices. */
int vfio_stuck_add(const char *dir, const char *address, const char *sentence, struct error *err);

/* {ADDRESS: SENTENCE}; empty if there are none. A file that cannot be understood is an error: -EBADMSG,
 * and the sentence says which file to remove. */
int vfio_stuck_list(const char *dir, json_t **ret, struct error *err);

/* 0: not stuck; -EIO with "SENTENCE: it can be used again after a restart of the host". */
int vfio_stuck_check(const char *dir, const char *address, struct error *err);

/* Is it remembered as stuck? For whoever gives a device back: a file that cannot be read or understood knows
 * nothing, and must not keep devices from the host. */
bool vfio_stuck_known(const char *dir, const char *address);

enum { VFIO_STUCK_MAX = 256 };
