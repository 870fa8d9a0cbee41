/* What a definition asks for of QEMU, against what the binary has: machine type, number of vCPUs,
 * CPU model. */
#pragma once

#include "def/def.h"
#include "qemu/caps.h"

/* caps NULL: not known, and QEMU will say it. CPU models are known of x86 only. */
void binary_check(const struct def *def, const struct caps *caps, struct diags *diags);
