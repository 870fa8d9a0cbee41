/* The rest of the IOMMU groups: a group goes to one guest, or not at all. */
#include "complete/vfio.h"

#include "host/iommu.h"

static bool can_go_along(const struct host_pci *d) {
        return d->header_type == 0 && d->class >> 16 != 0x06;
}

/* Calls for each other device of the i-th's group that was not chosen. */
static void take_along(struct vfio_fill *x, size_t i, const struct host_iommu_group *group) {
        for (size_t k = 0; k < group->n_members; k++) {
                const struct host_pci *d = vfio_at(x, group->members[k]);

                if (d && can_go_along(d) && !vfio_chosen(x, d->address))
                        vfio_add(x, i, d);
        }
}

/* What stands in the way, as a list; *ret_all: all of it could be taken along. */
static const char *in_the_way(const struct vfio_fill *x, const struct host_iommu_group *group,
                              bool *ret_all) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

        *ret_all = true;
        for (size_t k = 0; k < group->n_members; k++) {
                const struct host_pci *d = vfio_at(x, group->members[k]);

                if (!d || host_pci_may_stay(d) || vfio_chosen(x, d->address))
                        continue;
                strbuf_addf(&b, "%s%s", b.len ? ", " : "", vfio_words(x, d));
                *ret_all = *ret_all && can_go_along(d);
        }
        return arena_strdup(x->f->arena, b.data);
}

/* Did an earlier one of the same group say it? */
static bool first_of_group(const struct vfio_fill *x, size_t i) {
        for (size_t j = 0; j < i; j++)
                if (x->found[j] && x->found[j]->iommu_group == x->found[i]->iommu_group)
                        return false;
        return true;
}

static void check_viable(const struct vfio_fill *x, size_t i, const struct host_iommu_group *group) {
        bool all;
        const char *list = in_the_way(x, group, &all);

        if (!list || !first_of_group(x, i))
                return;
        vfio_error(x, i,
                   all ? (x->f->def->vfio[i].attached ? "--group attaches all of them" :
                                                        "write group = true to take them along") :
                         "a bridge cannot be taken along; another slot may have a group of its own",
                   "%s is in IOMMU group %d together with %s: a group is passed through as a whole",
                   vfio_words(x, x->found[i]), group->number, list);
}

void vfio_take_along(struct vfio_fill *x) {
        size_t n = x->f->def->n_vfio; /* those that are added need no look */
        struct host_iommu_group group;

        for (size_t i = 0; i < n; i++)
                if (x->found[i] && x->f->def->vfio[i].group && x->found[i]->iommu_group >= 0 &&
                    host_iommu_group(x->f->req->host, x->found[i]->iommu_group, x->f->arena, &group) == 0)
                        take_along(x, i, &group);
}

void vfio_groups(struct vfio_fill *x) {
        size_t n = x->f->def->n_vfio;
        struct host_iommu_group group;

        vfio_take_along(x);
        for (size_t i = 0; i < n; i++)
                if (x->found[i] && x->found[i]->iommu_group >= 0 &&
                    host_iommu_group(x->f->req->host, x->found[i]->iommu_group, x->f->arena, &group) == 0)
                        check_viable(x, i, &group);
}
