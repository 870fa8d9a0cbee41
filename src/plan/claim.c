#include "plan/claim.h"

#include "base/str.h"

void claim_note(struct plan *p, const struct def *def) {
        p->devices = arena_new0(p->arena, struct plan_device, def->n_vfio + 1);
        p->memlock = complete_memlock(def);
        for (size_t i = 0; i < def->n_vfio; i++) {
                const struct def_vfio *v = &def->vfio[i];

                if (v->class < 0 || v->held) /* not found: that was told */
                        continue;
                p->devices[p->n_devices++] = (struct plan_device){
                        .address = arena_strdup(p->arena, v->address),
                        .vendor = (uint16_t) v->vendor,
                        .device = (uint16_t) v->device,
                        .iommu_group = (int) v->iommu_group,
                        .reset_method = arena_strdup(p->arena, v->reset_method),
                        .keep = str_eq(v->rebind, "never"),
                        .force = v->force,
                        .reserve = v->reserve,
                        .along = v->along,
                        .guest_slot = (int) v->guest_slot,
                        .guest_function = (int) v->guest_function,
                        .multifunction = v->multifunction,
                };
        }
}

static void allow(struct plan *p, const char *path) {
        for (size_t i = 0; i < p->n_allows; i++)
                if (str_eq(p->allows[i].path, path))
                        return;
        p->allows = arena_grow(p->arena, p->allows, p->n_allows, p->n_allows + 1, sizeof(*p->allows));
        p->allows[p->n_allows++] = (struct script_allow){ arena_strdup(p->arena, path), true };
}

void claim_nodes(struct plan *p) {
        if (p->n_devices)
                allow(p, "/dev/vfio/vfio");
        for (size_t i = 0; i < p->n_devices; i++)
                if (p->devices[i].iommu_group >= 0)
                        allow(p, arena_printf(p->arena, "/dev/vfio/%d", p->devices[i].iommu_group));
}

json_t *claim_to_json(const struct plan *p) {
        json_t *array = json_array();

        for (size_t i = 0; i < p->n_devices; i++) {
                const struct plan_device *d = &p->devices[i];

                json_push(array, json_pack("{s:s, s:i, s:i, s:i, s:o, s:b, s:b, s:b, s:b, s:i, s:i, s:b}",
                                           "address", d->address, "vendor", d->vendor, "device", d->device,
                                           "iommu_group", d->iommu_group, "reset_method",
                                           d->reset_method ? json_string_lossy(d->reset_method) : json_null(),
                                           "keep", d->keep, "force", d->force, "reserve", d->reserve, "along",
                                           d->along, "guest_slot", d->guest_slot, "guest_function",
                                           d->guest_function, "multifunction", d->multifunction));
        }
        return array;
}

void claim_from_json(struct plan *p, const json_t *array) {
        size_t i;
        json_t *v;

        p->n_devices = json_array_size(array);
        p->devices = arena_new0(p->arena, struct plan_device, p->n_devices + 1);
        json_array_foreach (array, i, v)
                p->devices[i] = (struct plan_device){
                        .address = arena_strdup(p->arena, json_get_str(v, "address", "")),
                        .vendor = (uint16_t) json_get_int(v, "vendor", 0),
                        .device = (uint16_t) json_get_int(v, "device", 0),
                        .iommu_group = (int) json_get_int(v, "iommu_group", -1),
                        .reset_method = arena_strdup(p->arena, json_get_str(v, "reset_method", NULL)),
                        .keep = json_get_bool(v, "keep", false),
                        .force = json_get_bool(v, "force", false),
                        .reserve = json_get_bool(v, "reserve", false),
                        .along = json_get_bool(v, "along", false),
                        .guest_slot = (int) json_get_int(v, "guest_slot", 0),
                        .guest_function = (int) json_get_int(v, "guest_function", 0),
                        .multifunction = json_get_bool(v, "multifunction", false),
                };
}
