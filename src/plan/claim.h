/* The host devices of a completed definition as a list to claim. */
#pragma once

#include "plan/plan.h"

/* Fills p->devices and p->memlock. */
void claim_note(struct plan *p, const struct def *def);
/* Adds VFIO's nodes of the devices to p->allows: /dev/vfio/vfio, and one for each group. */
void claim_nodes(struct plan *p);

json_t *claim_to_json(const struct plan *p);
void claim_from_json(struct plan *p, const json_t *array);
