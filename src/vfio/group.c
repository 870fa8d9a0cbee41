#include "vfio/group.h"

#include "base/str.h"
#include "host/need.h"

#include <errno.h>

bool vfio_member_fine(const char *driver) {
        return host_pci_may_stay(&(struct host_pci){ .driver = str_empty(driver) ? NULL : driver });
}

static bool is_wanted(const char *address, const char *const *wanted, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (str_eq(wanted[i], address))
                        return true;
        return false;
}

size_t vfio_group_blockers(const struct vfio_device *d, const char *const *wanted, size_t n_wanted,
                           size_t *ret) {
        size_t n = 0;

        for (size_t i = 0; i < d->n_members; i++)
                if (!vfio_member_fine(d->members[i].driver) &&
                    !is_wanted(d->members[i].address, wanted, n_wanted))
                        ret[n++] = i;
        return n;
}

size_t vfio_group_takes(const struct vfio_device *d, size_t *ret) {
        size_t n = 0;

        for (size_t i = 0; i < d->n_members; i++)
                if (!d->members[i].bridge)
                        ret[n++] = i;
        return n;
}

/* "A (x), B (y) and C (z)" */
static void add_members(struct strbuf *b, const struct vfio_device *d, const size_t *which, size_t n) {
        for (size_t i = 0; i < n; i++)
                strbuf_addf(b, "%s%s (%s)",
                            i == 0     ? "" :
                            i + 1 == n ? " and " :
                                         ", ",
                            d->members[which[i]].address, d->members[which[i]].driver);
}

int vfio_group_check(const struct vfio_device *d, const char *const *wanted, size_t n_wanted,
                     struct error *err) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        const char *address = d->original.address;
        size_t blockers[VFIO_MEMBERS_MAX], n;

        if (!d->present)
                return error_set(err, -ENODEV, "%s: there is no such device", address);
        if (d->bridge)
                return error_set(err, -EINVAL,
                                 "%s: it is a bridge, which no guest can have: what is behind it can "
                                 "be used",
                                 address);
        if (d->iommu_group < 0)
                return error_set(err, -EOPNOTSUPP, "%s: it has no IOMMU group: the IOMMU is off or missing",
                                 address);
        n = vfio_group_blockers(d, wanted, n_wanted, blockers);
        if (n == 0)
                return 0;
        add_members(&b, d, blockers, n);
        return error_set(err, -EBUSY,
                         "%s: its IOMMU group %d is shared with %s, which the host would keep: only all "
                         "of a group can go to a guest; group = true takes the rest along",
                         address, d->iommu_group, b.data);
}

enum vfio_verdict vfio_verdict(const struct vfio_device *d, bool host_needs, struct arena *arena,
                               const char **ret_text) {
        const char *self = d->original.address;
        size_t blockers[VFIO_MEMBERS_MAX], n = vfio_group_blockers(d, &self, 1, blockers);

        if (d->bridge || host_needs) {
                *ret_text = "host needs it";
                return VFIO_HOST_NEEDS;
        }
        if (d->iommu_group < 0) {
                *ret_text = "no IOMMU";
                return VFIO_NO_IOMMU;
        }
        *ret_text = n > 0 ? arena_printf(arena, "needs %zu more of its group", n) : "ready";
        return n > 0 ? VFIO_NEEDS_GROUP : VFIO_READY;
}
