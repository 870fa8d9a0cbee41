/* What workers report and the journal keeps. */
#include "vfio/device.h"

#include "base/str.h"
#include "host/pci.h"

#include <errno.h>

static void put_name(json_t *j, const char *key, const char *value) {
        json_put_str(j, key, value[0] ? value : NULL);
}

json_t *vfio_original_to_json(const struct vfio_original *o) {
        json_t *j = json_object();

        json_put_str(j, "address", o->address);
        json_put_int(j, "vendor", o->vendor);
        json_put_int(j, "device", o->device);
        put_name(j, "driver", o->driver);
        put_name(j, "module", o->module);
        put_name(j, "driver_override", o->override);
        put_name(j, "power_control", o->power_control);
        json_put(j, "d3cold_allowed", o->d3cold_allowed < 0 ? json_null() : json_boolean(o->d3cold_allowed));
        json_put_str(j, "reset_method", o->has_reset_method ? o->reset_method : NULL);
        if (o->probe)
                json_put_bool(j, "probe", true);
        return j;
}

/* False: neither a string that fits nor null (or absent). */
static bool get_name(const json_t *j, const char *key, char *ret, size_t size) {
        const json_t *value = json_object_get(j, key);
        const char *text = json_string_value(value);

        if (!value || json_is_null(value))
                return true;
        if (!text || strlen(text) >= size)
                return false;
        memcpy(ret, text, strlen(text) + 1);
        return true;
}

/* Names become parts of paths. */
static bool is_name(const char *s) {
        return !strchr(s, '/') && !strchr(s, '\n') && !str_eq(s, ".") && !str_eq(s, "..");
}

int vfio_original_from_json(const json_t *j, struct vfio_original *ret, struct error *err) {
        struct vfio_original o = { 0 };
        int64_t vendor = json_get_int(j, "vendor", -1), device = json_get_int(j, "device", -1);
        const json_t *d3cold = json_object_get(j, "d3cold_allowed");

        if (!get_name(j, "address", o.address, sizeof(o.address)) || !host_pci_is_address(o.address) ||
            !get_name(j, "driver", o.driver, sizeof(o.driver)) || !is_name(o.driver) ||
            !get_name(j, "module", o.module, sizeof(o.module)) || !is_name(o.module) ||
            !get_name(j, "driver_override", o.override, sizeof(o.override)) || !is_name(o.override) ||
            !get_name(j, "power_control", o.power_control, sizeof(o.power_control)) ||
            !get_name(j, "reset_method", o.reset_method, sizeof(o.reset_method)) || vendor < 0 ||
            vendor > 0xffff || device < 0 || device > 0xffff)
                return error_set(err, -EBADMSG, "this is no record of a device");
        o.vendor = (uint16_t) vendor;
        o.device = (uint16_t) device;
        o.d3cold_allowed = json_is_boolean(d3cold) ? json_is_true(d3cold) : -1;
        o.has_reset_method = json_is_string(json_object_get(j, "reset_method"));
        o.probe = json_get_bool(j, "probe", false);
        *ret = o;
        return 0;
}

json_t *vfio_device_to_json(const struct vfio_device *d) {
        json_t *j = json_object(), *members = json_array();

        json_put_str(j, "address", d->original.address);
        json_put_bool(j, "present", d->present);
        json_put(j, "original", d->present ? vfio_original_to_json(&d->original) : json_null());
        json_put_int(j, "class", d->class);
        json_put_bool(j, "bridge", d->bridge);
        json_put(j, "iommu_group", d->iommu_group < 0 ? json_null() : json_integer(d->iommu_group));
        json_put(j, "boot_vga", d->boot_vga < 0 ? json_null() : json_boolean(d->boot_vga));
        put_name(j, "power_state", d->power_state);
        for (size_t i = 0; i < d->n_members; i++) {
                json_t *member = json_object();

                json_put_str(member, "address", d->members[i].address);
                put_name(member, "driver", d->members[i].driver);
                json_put_bool(member, "bridge", d->members[i].bridge);
                json_push(members, member);
        }
        json_put(j, "members", members);
        return j;
}

static bool members_from_json(const json_t *array, struct vfio_device *d) {
        const json_t *item;
        size_t i;

        if (json_array_size(array) > VFIO_MEMBERS_MAX)
                return false;
        json_array_foreach ((json_t *) array, i, item) {
                struct vfio_member *m = &d->members[d->n_members++];

                if (!get_name(item, "address", m->address, sizeof(m->address)) ||
                    !host_pci_is_address(m->address) ||
                    !get_name(item, "driver", m->driver, sizeof(m->driver)))
                        return false;
                m->bridge = json_get_bool(item, "bridge", false);
        }
        return true;
}

int vfio_device_from_json(const json_t *j, struct vfio_device *ret, struct error *err) {
        struct vfio_device d = { .present = json_get_bool(j, "present", false) };
        const json_t *boot_vga = json_object_get(j, "boot_vga");

        if (d.present) {
                int r = vfio_original_from_json(json_object_get(j, "original"), &d.original, err);
                if (r < 0)
                        return r;
        }
        if (!get_name(j, "address", d.original.address, sizeof(d.original.address)) ||
            !host_pci_is_address(d.original.address) ||
            !get_name(j, "power_state", d.power_state, sizeof(d.power_state)) ||
            !members_from_json(json_object_get(j, "members"), &d))
                return error_set(err, -EBADMSG, "this is no description of a device");
        d.class = (uint32_t) json_get_int(j, "class", 0);
        d.bridge = json_get_bool(j, "bridge", false);
        d.iommu_group = (int) json_get_int(j, "iommu_group", -1);
        d.boot_vga = json_is_boolean(boot_vga) ? json_is_true(boot_vga) : -1;
        *ret = d;
        return 0;
}
