/* [[vfio]] under completion, in four parts: which devices are meant (vfio.c), the rest of their IOMMU groups
 * (vfio-group.c), whether this host can give them (vfio-check.c), and what the guest sees (vfio-guest.c).
 * Internal. */
#pragma once

#include "complete/fill.h"

#include "host/need.h"

struct vfio_fill {
        struct fill *f;
        struct host_pci *devices; /* all of the host, in the order of their addresses */
        size_t n_devices;
        const struct host_pci **found; /* one for each of def->vfio; NULL: not found, which was told */
        size_t *owner; /* for each of def->vfio: itself, or the one whose `group` takes it along */
};

/* The device at that address; NULL: none. */
const struct host_pci *vfio_at(const struct vfio_fill *x, const char *address);
/* Is it one of the devices that were found? */
bool vfio_chosen(const struct vfio_fill *x, const char *address);
/* "0000:0b:00.1 (10de:10f0 sound device, driver snd_hda_intel)", in the arena. */
const char *vfio_words(const struct vfio_fill *x, const struct host_pci *d);
/* A fault at what selects the device: addr, or else device; of one that is taken along at `group` of its
 * owner. */
void vfio_error(const struct vfio_fill *x, size_t i, const char *hint, const char *fmt, ...) _printf_(4, 5);
/* Adds a device that `group` of the i-th takes along. */
void vfio_add(struct vfio_fill *x, size_t i, const struct host_pci *d);
/* What the definition says of the device now that it is known: ids, index, address, facts. */
void vfio_known(const struct vfio_fill *x, size_t i);

/* The devices of the host, and which of them each [[vfio]] means. With reserved_only what is wrong with the
 * selection of the others goes nowhere. -errno: the fault was told. */
int vfio_select(struct vfio_fill *x, bool reserved_only);
void vfio_take_along(struct vfio_fill *x); /* adds siblings */
void vfio_groups(struct vfio_fill *x);     /* the same; are the groups viable? */
/* No IOMMU, no vfio-pci: told once. Is there an IOMMU? */
bool vfio_check_iommu(const struct vfio_fill *x);
/* Is it something that a guest could have, and the host does without? */
void vfio_check_kind(const struct vfio_fill *x, size_t i, bool iommu);
void vfio_checks(
        struct vfio_fill *x);         /* IOMMU, other VMs, what the host needs, session mode, reset methods */
void vfio_guest(struct vfio_fill *x); /* graphics, ROM, places in the guest */
