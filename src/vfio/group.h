/* May this device go to a guest? Pure: about what was looked at before. A group is viable when each member is
 * wanted or may stay where it is (host/need.h). */
#pragma once

#include "base/arena.h"
#include "vfio/device.h"

/* A member with this driver ("" or NULL: none) does not stand in the way of the others. */
bool vfio_member_fine(const char *driver);

/* Indices of the members of d's group that stand in the way: neither wanted nor fine. ret has room for
 * VFIO_MEMBERS_MAX; returns how many. */
size_t vfio_group_blockers(const struct vfio_device *d, const char *const *wanted, size_t n_wanted,
                           size_t *ret);

/* The members that `group = true` takes along: all that a guest can have, without bridges, in address order.
 */
size_t vfio_group_takes(const struct vfio_device *d, size_t *ret);

/* 0; -EBUSY with "0000:0b:00.0: its IOMMU group 21 is shared with 0000:0b:00.1 (snd_hda_intel), which …";
 * -ENODEV for a device that is not there, -EINVAL for a bridge, -EOPNOTSUPP without a group. */
int vfio_group_check(const struct vfio_device *d, const char *const *wanted, size_t n_wanted,
                     struct error *err);

/* For a list of devices. host_needs: of a holder (vfio/holders.h). The text is in the arena or static. */
enum vfio_verdict {
        VFIO_READY,       /* "ready" */
        VFIO_NEEDS_GROUP, /* "needs 2 more of its group" */
        VFIO_HOST_NEEDS,  /* "host needs it" */
        VFIO_NO_IOMMU,    /* "no IOMMU" */
};
enum vfio_verdict vfio_verdict(const struct vfio_device *d, bool host_needs, struct arena *arena,
                               const char **ret_text);
