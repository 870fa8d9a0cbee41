/* Which host device each [[vfio]] means. */
#include "complete/vfio.h"

#include <inttypes.h>
#include <stdarg.h>

enum { PLACES_MAX = 8 };

const struct host_pci *vfio_at(const struct vfio_fill *x, const char *address) {
        for (size_t i = 0; i < x->n_devices; i++)
                if (str_eq(x->devices[i].address, address))
                        return &x->devices[i];
        return NULL;
}

bool vfio_chosen(const struct vfio_fill *x, const char *address) {
        for (size_t i = 0; i < x->f->def->n_vfio; i++)
                if (x->found[i] && str_eq(x->found[i]->address, address))
                        return true;
        return false;
}

const char *vfio_words(const struct vfio_fill *x, const struct host_pci *d) {
        return arena_printf(x->f->arena, "%s (%04x:%04x %s, %s%s)", d->address, d->vendor, d->device,
                            host_pci_class_name(d->class), d->driver ? "driver " : "no driver",
                            d->driver ? d->driver : "");
}

void vfio_error(const struct vfio_fill *x, size_t i, const char *hint, const char *fmt, ...) {
        const struct def_vfio *v = &x->f->def->vfio[x->owner[i]];
        const char *key = x->owner[i] != i ? "group" : DEF_GIVEN(v, address) ? "addr" : "device";
        struct loc loc = x->owner[i] != i      ? DEF_LOC(v, group) :
                         DEF_GIVEN(v, address) ? DEF_LOC(v, address) :
                                                 DEF_LOC(v, device);
        _cleanup_free_ char *text = NULL;
        va_list ap;

        va_start(ap, fmt);
        if (vasprintf(&text, fmt, ap) < 0)
                text = xstrdup("out of memory");
        va_end(ap);
        diag_error(x->f->diags, loc, section_key(x->f->arena, &v->head, key), hint, "%s", text);
}

/* -- by ids -------------------------------------------------------------------------------------- */

static bool has_ids(const struct host_pci *d, int64_t vendor, int64_t device) {
        return (vendor < 0 || d->vendor == vendor) && (device < 0 || d->device == device);
}

/* How many there are; the index-th in *ret, which may be NULL. -1: any. */
static size_t count_ids(const struct vfio_fill *x, int64_t vendor, int64_t device, int64_t index,
                        const struct host_pci **ret) {
        size_t n = 0;

        for (size_t i = 0; i < x->n_devices; i++)
                if (has_ids(&x->devices[i], vendor, device)) {
                        if (ret && (int64_t) n == index)
                                *ret = &x->devices[i];
                        n++;
                }
        return n;
}

/* "0000:0a:00.0 and 0000:0b:00.0 (index = 1)": where they are but for one; in the arena. */
static const char *places(const struct vfio_fill *x, int64_t vendor, int64_t device,
                          const struct host_pci *but, bool with_index) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        size_t n = 0, shown = 0;

        for (size_t i = 0; i < x->n_devices && shown < PLACES_MAX; i++) {
                const struct host_pci *d = &x->devices[i];

                if (!has_ids(d, vendor, device))
                        continue;
                if (d != but) {
                        strbuf_addf(&b, "%s%s", shown++ ? ", " : "", d->address);
                        if (with_index)
                                strbuf_addf(&b, " (index = %zu)", n);
                }
                n++;
        }
        return arena_strdup(x->f->arena, b.data ? b.data : "");
}

static const char *ids_text(const struct vfio_fill *x, int64_t vendor, int64_t device) {
        if (device < 0)
                return arena_printf(x->f->arena, "of vendor %04" PRIx64, (uint64_t) vendor);
        if (vendor < 0)
                return arena_printf(x->f->arena, "a device %04" PRIx64, (uint64_t) device);
        return arena_printf(x->f->arena, "%04" PRIx64 ":%04" PRIx64, (uint64_t) vendor, (uint64_t) device);
}

/* Where the wanted device is, for one who named a wrong address. */
static const char *where_hint(const struct vfio_fill *x, const struct def_vfio *v) {
        const struct host_pci *at = NULL;
        size_t n = v->vendor < 0 && v->device < 0 ? 0 : count_ids(x, v->vendor, v->device, 0, &at);
        const char *ids;

        if (v->vendor < 0 && v->device < 0)
                return "vore devices lists what there is";
        ids = ids_text(x, v->vendor, v->device);
        if (n == 0)
                return arena_printf(x->f->arena, "no device here is %s; vore devices lists what there is",
                                    ids);
        if (n == 1 && v->vendor >= 0 && v->device >= 0)
                return arena_printf(
                        x->f->arena,
                        "%s is at %s now: write addr = \"%s\", or leave addr out to have it found", ids,
                        at->address, at->address);
        return arena_printf(x->f->arena, "%s: %s", ids, places(x, v->vendor, v->device, NULL, false));
}

static const struct host_pci *no_match(const struct vfio_fill *x, size_t i) {
        const struct def_vfio *v = &x->f->def->vfio[i];
        const char *others = places(x, v->vendor, -1, NULL, false);

        vfio_error(x, i,
                   *others ? arena_printf(x->f->arena,
                                          "of vendor %04" PRIx64 " there are devices at %s; vore devices "
                                          "lists all",
                                          (uint64_t) v->vendor, others) :
                             "vore devices lists what there is",
                   "this host has no device %s", ids_text(x, v->vendor, v->device));
        return NULL;
}

static const struct host_pci *select_ids(const struct vfio_fill *x, size_t i) {
        struct fill *f = x->f;
        struct def_vfio *v = &f->def->vfio[i];
        const struct host_pci *d = NULL;
        size_t n = count_ids(x, v->vendor, v->device, v->index, &d);
        const char *ids = ids_text(x, v->vendor, v->device);

        if (n == 0)
                return no_match(x, i);
        if (!d)
                FILL_ERROR(f, v, index, "index", "index counts from 0, in the order of the addresses",
                           "there %s only %zu device%s %s: %s", n == 1 ? "is" : "are", n, n == 1 ? "" : "s",
                           ids, places(x, v->vendor, v->device, NULL, true));
        else if (n > 1 && !DEF_GIVEN(v, index))
                FILL_WARNING(f, v, device, "device",
                             arena_printf(f->arena, "write index = 0 to mean %s in any case", d->address),
                             "%s is taken, the first of %zu devices %s; there %s also %s", d->address, n, ids,
                             n == 2 ? "is" : "are", places(x, v->vendor, v->device, d, true));
        return d;
}

/* -- by address ---------------------------------------------------------------------------------- */

static int64_t index_of(const struct vfio_fill *x, const struct host_pci *d) {
        int64_t n = 0;

        for (const struct host_pci *other = x->devices; other < d; other++)
                n += has_ids(other, d->vendor, d->device);
        return n;
}

static const struct host_pci *select_address(const struct vfio_fill *x, size_t i) {
        struct fill *f = x->f;
        struct def_vfio *v = &f->def->vfio[i];
        const struct host_pci *d = vfio_at(x, v->address);

        if (!d) {
                vfio_error(x, i, where_hint(x, v), "there is no device at %s", v->address);
                return NULL;
        }
        if (!has_ids(d, v->vendor, v->device)) {
                vfio_error(x, i, where_hint(x, v), "%s is %04x:%04x (%s), not %s", d->address, d->vendor,
                           d->device, host_pci_class_name(d->class), ids_text(x, v->vendor, v->device));
                return NULL;
        }
        if (DEF_GIVEN(v, index) && v->index != index_of(x, d)) {
                FILL_ERROR(f, v, index, "index",
                           arena_printf(f->arena, "write index = %" PRId64 ", or leave it out beside addr",
                                        index_of(x, d)),
                           "%s is not number %" PRId64 " of the devices %04x:%04x: %s", d->address, v->index,
                           d->vendor, d->device, places(x, d->vendor, d->device, NULL, true));
                return NULL;
        }
        return d;
}

/* -- all ----------------------------------------------------------------------------------------- */

/* Two sections that say the same in the same words were told where they are read. */
static bool told_twice(const struct def_vfio *a, const struct def_vfio *b) {
        return DEF_GIVEN(a, address) == DEF_GIVEN(b, address);
}

static const struct host_pci *select_one(const struct vfio_fill *x, size_t i) {
        const struct def *def = x->f->def;
        const struct def_vfio *v = &def->vfio[i];
        const struct host_pci *d = NULL;

        if (v->address && host_pci_is_address(v->address))
                d = select_address(x, i);
        else if (!DEF_GIVEN(v, address) && v->vendor >= 0 && v->device >= 0)
                d = select_ids(x, i);
        for (size_t j = 0; d && j < i; j++)
                if (x->found[j] == d) {
                        if (!told_twice(v, &def->vfio[j]))
                                vfio_error(x, i, NULL, "%s is %s already", d->address,
                                           def->vfio[j].head.path);
                        return NULL;
                }
        return d;
}

void vfio_known(const struct vfio_fill *x, size_t i) {
        static const char where[] = "/sys/bus/pci/devices";
        struct def_vfio *v = &x->f->def->vfio[i];
        const struct host_pci *d = x->found[i];

#define KNOWN(field, value)                                                                                  \
        ({                                                                                                   \
                v->field = (value);                                                                          \
                if (!DEF_GIVEN(v, field) && !v->along)                                                       \
                        DEF_MARK(v, field, ORIGIN_HOST, where);                                              \
        })
        KNOWN(address, d->address);
        KNOWN(vendor, d->vendor);
        KNOWN(device, d->device);
        KNOWN(index, index_of(x, d));
        KNOWN(class, d->class);
        KNOWN(iommu_group, d->iommu_group);
        KNOWN(bars, 0);
        KNOWN(bars_64, 0);
#undef KNOWN
        for (size_t k = 0; k < HOST_PCI_BARS; k++) {
                v->bars += d->bars[k].io ? 0 : d->bars[k].size;
                v->bars_64 += d->bars[k].wide ? d->bars[k].size : 0;
        }
}

void vfio_add(struct vfio_fill *x, size_t i, const struct host_pci *d) {
        struct arena *arena = x->f->arena;
        size_t n = x->f->def->n_vfio;

        (void) def_add_vfio(x->f->def, i);
        x->found = arena_grow(arena, x->found, n, n + 1, sizeof(*x->found));
        x->owner = arena_grow(arena, x->owner, n, n + 1, sizeof(*x->owner));
        x->found[n] = d;
        x->owner[n] = i;
        vfio_known(x, n);
}

int vfio_select(struct vfio_fill *x, bool reserved_only) {
        struct fill *f = x->f;
        size_t n = f->def->n_vfio;
        struct diags *diags = f->diags, nowhere;
        _cleanup_error_ struct error err = ERROR_INIT;
        int r = host_pci_list(f->req->host, f->arena, &x->devices, &x->n_devices, &err);

        if (r < 0) {
                diag_error(diags, f->def->vfio[0].head.loc, f->def->vfio[0].head.path, NULL, "%s",
                           error_text(&err));
                return r;
        }
        diags_init(&nowhere, f->arena, diags->file);
        x->found = arena_new0(f->arena, const struct host_pci *, n);
        x->owner = arena_new0(f->arena, size_t, n);
        for (size_t i = 0; i < n; i++) {
                x->owner[i] = i;
                f->diags = reserved_only && !f->def->vfio[i].reserve ? &nowhere : diags;
                x->found[i] = select_one(x, i);
                if (x->found[i])
                        vfio_known(x, i);
        }
        f->diags = diags;
        return 0;
}

void fill_vfio(struct fill *f) {
        struct vfio_fill x = { .f = f };

        if (f->def->n_vfio == 0 || vfio_select(&x, false) < 0)
                return;
        vfio_groups(&x);
        vfio_checks(&x);
        vfio_guest(&x);
}

void complete_reserved(struct def *def, const struct complete_request *req, struct diags *diags) {
        struct fill f = { .def = def, .req = req, .diags = diags, .arena = def->arena };
        struct vfio_fill x = { .f = &f };
        bool any = false;

        for (size_t i = 0; i < def->n_vfio; i++)
                any = any || def->vfio[i].reserve;
        if (!any || vfio_select(&x, true) < 0)
                return;
        vfio_take_along(&x);
        size_t errors = diags->errors;
        bool iommu = vfio_check_iommu(&x), usable = diags->errors == errors;
        for (size_t i = 0; i < def->n_vfio; i++) {
                errors = diags->errors;
                if (x.found[i] && def->vfio[i].reserve)
                        vfio_check_kind(&x, i, iommu);
                if (!usable || diags->errors > errors)
                        def->vfio[i].class = -1;
        }
}
