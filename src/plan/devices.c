#include "plan/devices.h"

#include "base/str.h"
#include "host/iommu.h"
#include "host/need.h"

struct list {
        const struct host *host;
        struct arena *arena;
        struct host_pci *items;
        size_t n;
        const struct complete_device *uses;
        size_t n_uses;
};

static void add_note(json_t *notes, const char *why, const char *hint) {
        _cleanup_free_ char *text =
                xasprintf("%s%s%s%s", why, hint ? " (" : "", hint ? hint : "", hint ? ")" : "");

        json_push(notes, json_string_lossy(text));
}

static json_t *make_notes(const struct list *l) {
        json_t *notes = json_array();
        const char *why = NULL, *hint = NULL;

        if (!host_iommu(l->host, l->arena, &why, &hint))
                add_note(notes, why, hint);
        if (!host_iommu_vfio(l->host, l->arena, &why, &hint))
                add_note(notes, why, hint);
        return notes;
}

/* -- verdict ------------------------------------------------------------------------------------ */

/* Those of its group that would have to come along; *ret_need: why the host keeps one of them. */
static size_t count_blockers(const struct list *l, const struct host_pci *d, const char **ret_need) {
        size_t n = 0;

        for (size_t i = 0; i < l->n; i++) {
                const struct host_pci *other = &l->items[i];

                if (other == d || other->iommu_group != d->iommu_group || host_pci_may_stay(other))
                        continue;
                const char *need = host_pci_need(l->host, other, l->arena);
                if (need && !*ret_need)
                        *ret_need = arena_printf(l->arena, "%s of its group: %s", other->address, need);
                n++;
        }
        return n;
}

static const char *verdict(const struct list *l, const struct host_pci *d) {
        const char *need = host_pci_need(l->host, d, l->arena);
        size_t n = need || d->iommu_group < 0 ? 0 : count_blockers(l, d, &need);

        if (need)
                return arena_printf(l->arena, "host needs it (%s)", need);
        if (d->iommu_group < 0)
                return "no IOMMU";
        return n > 0 ? arena_printf(l->arena, "needs %zu more of its group", n) : "ready";
}

/* -- one device ------------------------------------------------------------------------------------ */

static json_t *methods(const char *text) {
        json_t *array = json_array();
        size_t n;

        for (const char *at = text ? text : ""; *(at += strspn(at, " ")); at += n) {
                n = strcspn(at, " ");
                json_push(array, json_stringn(at, n));
        }
        return array;
}

static const char *full_name(const struct list *l, const struct host_pci *d) {
        if (d->vendor_name && d->device_name)
                return arena_printf(l->arena, "%s %s", d->vendor_name, d->device_name);
        return d->device_name ? d->device_name : d->vendor_name;
}

static const char *used_by(const struct list *l, const struct host_pci *d) {
        for (size_t i = 0; i < l->n_uses; i++)
                if (str_eq(l->uses[i].address, d->address))
                        return l->uses[i].vm;
        return NULL;
}

static json_t *device_to_json(const struct list *l, const struct host_pci *d) {
        const char *name = full_name(l, d);
        json_t *j = json_object();

        json_put_str(j, "address", d->address);
        json_put_int(j, "vendor", d->vendor);
        json_put_int(j, "device", d->device);
        json_put_int(j, "class", d->class);
        json_put_str(j, "class_name", host_pci_class_name(d->class));
        json_put(j, "name", name ? json_string_lossy(name) : NULL);
        json_put_str(j, "driver", d->driver);
        json_put(j, "iommu_group", d->iommu_group < 0 ? NULL : json_integer(d->iommu_group));
        json_put(j, "reset_methods", methods(d->reset_methods));
        json_put_bool(j, "boot_vga", d->boot_vga == 1);
        json_put_str(j, "power_state", d->power_state);
        json_put(j, "holders", json_array());
        json_put_str(j, "verdict", verdict(l, d));
        json_put_str(j, "used_by", used_by(l, d));
        return j;
}

int plan_devices(const struct host *h, const struct complete_device *uses, size_t n_uses,
                 json_t **ret_devices, json_t **ret_notes, struct error *err) {
        _cleanup_arena_ struct arena *arena = arena_new();
        struct list l = { .host = h, .arena = arena, .uses = uses, .n_uses = n_uses };
        json_t *devices;
        int r = host_pci_list(h, arena, &l.items, &l.n, err);

        if (r < 0)
                return r;
        host_pci_name(h, l.items, l.n, arena);
        devices = json_array();
        for (size_t i = 0; i < l.n; i++)
                json_push(devices, device_to_json(&l, &l.items[i]));
        *ret_devices = devices;
        *ret_notes = make_notes(&l);
        return 0;
}
