/* What the parts of def/ share. */
#pragma once

#include "def/def.h"

/* Turns machine.features into `enabled`, and Looking Glass into SPICE; warns of keys of sections that are not
 * enabled. root is the file's tree. */
void def_features(struct def *def, const struct node *root, struct diags *diags);

/* The rules between keys that need no host, and the values that follow from other keys: topology, disk types
 * by name, addresses in their full form, sizes of shared memory. def_rules_devices(): the part for disks and
 * host devices; def_rules_memory(): for [looking-glass] and [scream]. */
void def_rules(struct def *def, struct diags *diags);
void def_rules_memory(struct def *def, struct diags *diags);
void def_rules_devices(struct def *def, struct diags *diags);

/* It was told that a field is faulty: DEF_FAULTY() from now on. */
#define DEF_REFUSE(s, field) section_refuse(&(s)->head, offsetof(__typeof__(*(s)), field))

/* An error at the place of a field. */
#define DEF_ERROR(diags, s, field, key, hint, ...)                                                           \
        diag_error((diags), DEF_LOC(s, field), section_key((diags)->arena, &(s)->head, (key)), (hint),       \
                   __VA_ARGS__)
