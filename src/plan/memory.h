/* The shared memory of a completed definition as a list of files to make. */
#pragma once

#include "plan/plan.h"

/* Fills p->memories; devices of kvmfr need none. */
void memory_note(struct plan *p, const struct def *def, const struct settings *s, const struct host *host);
/* Adds the files to p->reach: QEMU's user must get to them, although they are not there yet. */
void memory_reach(struct plan *p);

json_t *memory_to_json(const struct plan *p);
void memory_from_json(struct plan *p, const json_t *array);
