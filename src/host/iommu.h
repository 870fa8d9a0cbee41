/* The IOMMU of this machine: its groups, and why there are none. A group is what the IOMMU cannot tell apart:
 * the least that can be handed to a guest (the kernel's Documentation/driver-api/vfio.rst). */
#pragma once

#include "host/host.h"

struct host_iommu_group {     /* in the arena */
        int number;           /* N of /sys/kernel/iommu_groups/N */
        const char **members; /* addresses of its PCI devices, in their order */
        size_t n_members;
};

/* All groups by number; without an IOMMU an empty list. */
int host_iommu_groups(const struct host *h, struct arena *arena, struct host_iommu_group **ret, size_t *ret_n,
                      struct error *err);
/* -ENOENT: no such group. */
int host_iommu_group(const struct host *h, int number, struct arena *arena, struct host_iommu_group *ret);

/* Are there groups? Otherwise false, and why says it in half a sentence, hint what to switch on for this CPU:
 * in the firmware's setup or as a kernel parameter. Both in the arena. */
bool host_iommu(const struct host *h, struct arena *arena, const char **ret_why, const char **ret_hint);

/* Is there a vfio-pci, loaded, built in or as a module of the running kernel? As host_iommu(). Of a captured
 * host nobody knows: true. */
bool host_iommu_vfio(const struct host *h, struct arena *arena, const char **ret_why, const char **ret_hint);
