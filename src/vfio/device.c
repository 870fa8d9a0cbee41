#include "vfio/device.h"

#include "base/str.h"
#include "host/pci.h"

#include <errno.h>
#include <limits.h>

#define DEVICES "/sys/bus/pci/devices"

static int copy(const char *text, char *ret, size_t size) {
        if (strlen(text) >= size)
                return -ENAMETOOLONG;
        memcpy(ret, text, strlen(text) + 1);
        return 0;
}

/* An attribute of the device; -ENOENT if there is no such file. */
static int attribute(const struct vfio_sys *sys, const char *address, const char *name, char *ret,
                     size_t size) {
        _cleanup_free_ char *path = xasprintf(DEVICES "/%s/%s", address, name), *line = NULL;
        int r = sys->ops->read(sys->data, path, &line);

        return r < 0 ? r : copy(line, ret, size);
}

static int number(const struct vfio_sys *sys, const char *address, const char *name, long long *ret) {
        char text[32];
        int r = attribute(sys, address, name, text, sizeof(text));

        return r < 0 ? r : str_to_int(text, LLONG_MIN, LLONG_MAX, ret);
}

/* As number(), for a file that not every device has. */
static int optional(const struct vfio_sys *sys, const char *address, const char *name, long long fallback,
                    long long *ret) {
        int r = number(sys, address, name, ret);

        if (r != -ENOENT)
                return r;
        *ret = fallback;
        return 0;
}

/* The last part of what the link says, "" if there is no link. */
static int link_name(const struct vfio_sys *sys, const char *path, char *ret, size_t size) {
        _cleanup_free_ char *target = NULL;
        int r = sys->ops->readlink(sys->data, path, &target);

        if (r == -ENOENT)
                return copy("", ret, size);
        if (r < 0)
                return r;
        const char *slash = strrchr(target, '/');
        return copy(slash ? slash + 1 : target, ret, size);
}

/* The link on the bus and not an attribute: reading one of a device that goes gives -ENODEV as well as errors
 * of its own. */
int vfio_present(const struct vfio_sys *sys, const char *address) {
        _cleanup_free_ char *path = xasprintf(DEVICES "/%s", address), *target = NULL;

        if (!host_pci_is_address(address))
                return -EINVAL;
        int r = sys->ops->readlink(sys->data, path, &target);
        return r == -ENOENT ? 0 : r < 0 ? r : 1;
}

int vfio_driver(const struct vfio_sys *sys, const char *address, char ret[static VFIO_NAME_MAX]) {
        _cleanup_free_ char *path = xasprintf(DEVICES "/%s/driver", address);

        return link_name(sys, path, ret, VFIO_NAME_MAX);
}

int vfio_override(const struct vfio_sys *sys, const char *address, char ret[static VFIO_NAME_MAX]) {
        char text[VFIO_NAME_MAX];
        int r = attribute(sys, address, "driver_override", text, sizeof(text));

        /* The kernel prints a null pointer where there is none (drivers/pci/pci-sysfs.c). */
        return r < 0 ? r : copy(str_eq(text, "(null)") ? "" : text, ret, VFIO_NAME_MAX);
}

static int original_fill(const struct vfio_sys *sys, struct vfio_original *o) {
        const char *address = o->address;
        long long vendor, device, d3cold;
        int r;

        if ((r = number(sys, address, "vendor", &vendor)) < 0 ||
            (r = number(sys, address, "device", &device)) < 0 ||
            (r = vfio_driver(sys, address, o->driver)) < 0 ||
            (r = vfio_override(sys, address, o->override)) < 0 ||
            (r = optional(sys, address, "d3cold_allowed", -1, &d3cold)) < 0)
                return r;
        o->vendor = (uint16_t) vendor;
        o->device = (uint16_t) device;
        o->d3cold_allowed = (int) d3cold;
        if (o->driver[0]) {
                _cleanup_free_ char *path = xasprintf("/sys/bus/pci/drivers/%s/module", o->driver);
                if ((r = link_name(sys, path, o->module, sizeof(o->module))) < 0)
                        return r;
        }
        r = attribute(sys, address, "power/control", o->power_control, sizeof(o->power_control));
        if (r < 0 && r != -ENOENT)
                return r;
        r = attribute(sys, address, "reset_method", o->reset_method, sizeof(o->reset_method));
        o->has_reset_method = r >= 0;
        return r == -ENOENT ? 0 : r;
}

int vfio_original_read(const struct vfio_sys *sys, const char *address, struct vfio_original *ret,
                       struct error *err) {
        struct vfio_original o = { 0 };
        int r = vfio_present(sys, address);

        if (r < 0)
                return error_errno(err, r, "%s: cannot be looked at", address);
        if (r == 0)
                return error_set(err, -ENODEV, "%s: there is no such device", address);
        r = copy(address, o.address, sizeof(o.address));
        if (r >= 0)
                r = original_fill(sys, &o);
        if (r < 0)
                return error_errno(err, r, "%s: cannot be looked at", address);
        *ret = o;
        return 0;
}

bool vfio_original_same(const struct vfio_original *a, const struct vfio_original *b) {
        return str_eq(a->address, b->address) && a->vendor == b->vendor && a->device == b->device;
}

/* The kernel shows bus numbers for bridges only; without them the class tells. */
int vfio_bridge(const struct vfio_sys *sys, const char *address, uint32_t *ret_class, bool *ret) {
        long long class, bus;
        int r;

        if ((r = number(sys, address, "class", &class)) < 0 ||
            (r = optional(sys, address, "secondary_bus_number", -1, &bus)) < 0)
                return r;
        *ret_class = (uint32_t) class & 0xffffff;
        *ret = bus >= 0 || *ret_class >> 8 == 0x0604 || *ret_class >> 8 == 0x0607;
        return 0;
}

static int read_member(const struct vfio_sys *sys, const char *address, struct vfio_device *d) {
        struct vfio_member *m = &d->members[d->n_members];
        uint32_t class;
        int r;

        if (d->n_members == VFIO_MEMBERS_MAX)
                return -E2BIG;
        if ((r = copy(address, m->address, sizeof(m->address))) < 0 ||
            (r = vfio_driver(sys, address, m->driver)) < 0 ||
            (r = vfio_bridge(sys, address, &class, &m->bridge)) < 0)
                return r;
        d->n_members++;
        return 0;
}

static int member_compare(const void *a, const void *b) {
        return host_pci_compare(((const struct vfio_member *) a)->address,
                                ((const struct vfio_member *) b)->address);
}

static int read_group(const struct vfio_sys *sys, struct vfio_device *d) {
        _cleanup_free_ char *link = xasprintf(DEVICES "/%s/iommu_group", d->original.address), *folder = NULL;
        _cleanup_host_names_ struct host_names names = { 0 };
        char name[16];
        long long group;
        int r = link_name(sys, link, name, sizeof(name));

        d->iommu_group = -1;
        if (r < 0 || !name[0])
                return r;
        if ((r = str_to_int(name, 0, INT_MAX, &group)) < 0)
                return r;
        d->iommu_group = (int) group;
        folder = xasprintf("/sys/kernel/iommu_groups/%d/devices", d->iommu_group);
        r = sys->ops->names(sys->data, folder, &names);
        for (size_t i = 0; r >= 0 && i < names.n; i++)
                if (host_pci_is_address(names.items[i])) /* platform devices have groups too */
                        r = read_member(sys, names.items[i], d);
        qsort(d->members, d->n_members, sizeof(d->members[0]), member_compare);
        return r;
}

int vfio_look(const struct vfio_sys *sys, const char *address, struct vfio_device *ret, struct error *err) {
        struct vfio_device d = { .iommu_group = -1, .boot_vga = -1 };
        long long boot_vga = -1;
        int r = vfio_present(sys, address);

        if (r >= 0 && (d.present = r) == false)
                r = copy(address, d.original.address, sizeof(d.original.address));
        if (r < 0)
                return error_errno(err, r, "%s: cannot be looked at", address);
        if (d.present) {
                if ((r = vfio_original_read(sys, address, &d.original, err)) < 0)
                        return r;
                if ((r = vfio_bridge(sys, address, &d.class, &d.bridge)) < 0 ||
                    (r = optional(sys, address, "boot_vga", -1, &boot_vga)) < 0 ||
                    (r = read_group(sys, &d)) < 0)
                        return error_errno(err, r, "%s: cannot be looked at", address);
                d.boot_vga = (int) boot_vga;
                r = attribute(sys, address, "power_state", d.power_state, sizeof(d.power_state));
                if (r < 0)
                        d.power_state[0] = '\0'; /* only shown */
        }
        *ret = d;
        return 0;
}
