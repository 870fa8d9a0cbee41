/* Can this host, and who runs here, give the chosen devices away? */
#include "complete/vfio.h"

#include "host/iommu.h"

#include <errno.h>
#include <inttypes.h>

/* Said once: it is the same for all. */
bool vfio_check_iommu(const struct vfio_fill *x) {
        struct fill *f = x->f;
        const struct def_vfio *v = &f->def->vfio[0];
        const char *why = NULL, *hint = NULL;
        bool iommu = host_iommu(f->req->host, f->arena, &why, &hint);

        if (!iommu || !host_iommu_vfio(f->req->host, f->arena, &why, &hint))
                diag_error(f->diags, v->head.loc, v->head.path, hint, "passing devices is not possible: %s",
                           why);
        return iommu;
}

void vfio_check_kind(const struct vfio_fill *x, size_t i, bool iommu) {
        const struct def_vfio *v = &x->f->def->vfio[i];
        const struct host_pci *d = x->found[i];

        if (d->header_type != 0) {
                vfio_error(x, i, "pass the devices behind it", "%s is a bridge, which no guest can have",
                           d->address);
                return;
        }
        if (iommu && d->iommu_group < 0)
                vfio_error(x, i, "vore devices lists those that are in one", "%s is in no IOMMU group",
                           d->address);
        const char *need = v->force ? NULL : host_pci_need(x->f->req->host, d, x->f->arena);
        if (need)
                vfio_error(x, i,
                           v->attached ? "if the host may lose it: --force" :
                                         "if the host may lose it, write force = true",
                           "the host needs %s: %s", vfio_words(x, d), need);
}

/* A drive that the guest gets as a device is gone as a disk. */
static void check_disks(const struct vfio_fill *x, size_t i) {
        struct fill *f = x->f;
        const char *passes = f->def->vfio[x->owner[i]].head.path, *address = x->found[i]->address;

        for (size_t k = 0; k < f->def->n_disk; k++) {
                const struct def_disk *d = &f->def->disk[k];
                struct host_node node;

                if (str_empty(d->path) || host_node(f->req->host, d->path, &node) < 0 || node.type != 'b' ||
                    !host_pci_has_disk(f->req->host, address, node.rdev))
                        continue;
                if (f->def->vfio[i].attached)
                        vfio_error(x, i, NULL, "%s has %s, which is %s of this machine", address, d->path,
                                   d->head.path);
                else
                        FILL_ERROR(f, d, path, "path", "keep one of them", "%s is on %s, which %s passes",
                                   d->path, address, passes);
        }
}

/* A group comes and goes as a whole: giving back a part of it would have to wait for the rest. */
static void check_held(const struct vfio_fill *x, size_t i) {
        const struct def_vfio *all = x->f->def->vfio;

        for (size_t k = 0; k < x->f->def->n_vfio && !all[i].held; k++)
                if (all[k].held && all[k].iommu_group >= 0 && all[k].iommu_group == all[i].iommu_group) {
                        vfio_error(x, i,
                                   "what is in one group is given to a machine together, by group = true or "
                                   "--group",
                                   "%s is in IOMMU group %d, of which %s has %s already", all[i].address,
                                   (int) all[i].iommu_group, x->f->def->machine.name, all[k].address);
                        return;
                }
}

/* One VM per group. */
static void check_other_vms(const struct vfio_fill *x, size_t i) {
        const struct complete_request *req = x->f->req;
        const struct host_pci *d = x->found[i];

        for (size_t k = 0; k < req->n_device_uses; k++) {
                const struct complete_device *use = &req->device_uses[k];
                const struct host_pci *other = vfio_at(x, use->address);
                const char *hint = arena_printf(x->f->arena, "vore stop %s first", use->vm);

                if (str_eq(use->vm, x->f->def->machine.name))
                        continue;
                if (str_eq(use->address, d->address)) {
                        vfio_error(x, i, hint, "%s is in use by the machine %s", d->address, use->vm);
                        return;
                }
                if (!host_pci_vfio_driver(d->driver) &&
                    host_pci_function_of(req->host, use->address, d->address)) {
                        vfio_error(x, i, hint,
                                   "%s would take its virtual function %s away, which the machine %s has",
                                   d->address, use->address, use->vm);
                        return;
                }
                if (other && d->iommu_group >= 0 && other->iommu_group == d->iommu_group) {
                        vfio_error(x, i, hint,
                                   "%s is in IOMMU group %d, of which the machine %s has %s: a group belongs "
                                   "to one "
                                   "machine",
                                   d->address, d->iommu_group, use->vm, use->address);
                        return;
                }
        }
}

/* -- session mode: a daemon without rights uses what somebody else bound ------------------------------ */

static void check_node(const struct vfio_fill *x, size_t i) {
        const struct host_pci *d = x->found[i];
        const char *path = arena_printf(x->f->arena, "/dev/vfio/%d", d->iommu_group);
        struct host_node node;

        if (host_node(x->f->req->host, path, &node) < 0)
                vfio_error(x, i, "the system's daemon needs no such help: load the definition there",
                           "%s does not exist, although %s is with %s", path, d->address, d->driver);
        else if (!node.readable || !node.writable)
                vfio_error(
                        x, i,
                        "give this user access by a udev rule for the group, or load the definition in the "
                        "system's daemon",
                        "%s, the group of %s, may not be opened by this user", path, d->address);
}

void complete_warn_reserve(const struct def *def, struct diags *diags) {
        for (size_t i = 0; i < def->n_vfio; i++) {
                const struct def_vfio *v = &def->vfio[i];

                if (v->reserve && !v->along)
                        diag_warning(diags, DEF_LOC(v, reserve), section_key(def->arena, &v->head, "reserve"),
                                     "save the definition in the system's daemon",
                                     "a session daemon reserves no devices: this does nothing here");
        }
}

static void check_session(const struct vfio_fill *x, size_t i) {
        const struct host_pci *d = x->found[i];

        if (!host_pci_vfio_driver(d->driver))
                vfio_error(
                        x, i,
                        arena_printf(
                                x->f->arena,
                                "load the definition in the system's daemon (/run/vore/vored.sock), or have "
                                "that one keep the device on vfio-pci: vore -c /run/vore/vored.sock reserve "
                                "%s",
                                d->address),
                        "a session daemon binds no devices, and %s is with %s, not with vfio-pci", d->address,
                        d->driver ? d->driver : "no driver");
        else if (d->iommu_group >= 0)
                check_node(x, i);
}

/* "Max locked memory  8388608  8388608  bytes": the hard limit of whoever asks (proc(5)); -ENOENT: not told.
 */
static int memlock_limit(const struct fill *f, uint64_t *ret) {
        static const char name[] = "Max locked memory";
        _cleanup_free_ char *text = NULL;
        char hard[32];
        int r = host_read(f->req->host, "/proc/self/limits", &text);
        const char *line = r < 0 ? NULL : strstr(text, name);

        if (!line || sscanf(line + strlen(name), "%*s %31s", hard) != 1)
                return r < 0 ? r : -ENOENT;
        *ret = str_eq(hard, "unlimited") ? UINT64_MAX : strtoull(hard, NULL, 10);
        return 0;
}

uint64_t complete_memlock(const struct def *def) {
        uint64_t sum = def->machine.memory + (UINT64_C(1) << 30);

        for (size_t i = 0; i < def->n_vfio; i++)
                sum += def->vfio[i].bars;
        sum += def->looking_glass.enabled ? def->looking_glass.buffer_size : 0;
        sum += def->scream.enabled ? def->scream.buffer_size : 0;
        return def->n_vfio ? sum : 0;
}

static const char *mib(const struct fill *f, uint64_t bytes) {
        return arena_printf(f->arena, "%" PRIu64 " MiB", bytes >> 20);
}

static void check_memlock(const struct vfio_fill *x) {
        struct fill *f = x->f;
        uint64_t limit, need = complete_memlock(f->def);

        if (memlock_limit(f, &limit) < 0 || limit >= need)
                return;
        FILL_ERROR(f, &f->def->machine, memory, "memory",
                   "raise memlock for this user (limits.conf(5)) or LimitMEMLOCK= of the user's service "
                   "manager, or "
                   "load the definition in the system's daemon",
                   "a guest with devices of the host has all its memory locked, here %s, and this user may "
                   "lock %s",
                   mib(f, need + (UINT64_C(1) << 20) - 1), mib(f, limit));
}

/* -- the section's other keys --------------------------------------------------------------------- */

static bool offers(const char *methods, const char *name) {
        size_t n = strlen(name);

        for (const char *at = methods; (at = strstr(at, name)); at += n)
                if ((at == methods || at[-1] == ' ') && (at[n] == ' ' || !at[n]))
                        return true;
        return false;
}

static void check_reset(const struct vfio_fill *x, size_t i) {
        struct fill *f = x->f;
        struct def_vfio *v = &f->def->vfio[i];
        const struct host_pci *d = x->found[i];

        if (!v->reset_method || str_eq(v->reset_method, "default"))
                return;
        if (!d->reset_methods)
                FILL_ERROR(f, v, reset_method, "reset-method", "leave it out",
                           "the kernel knows no way to reset %s", d->address);
        else if (!offers(d->reset_methods, v->reset_method))
                FILL_ERROR(f, v, reset_method, "reset-method", "or \"default\"",
                           "the kernel cannot reset %s by \"%.64s\", but by: %s", d->address, v->reset_method,
                           *d->reset_methods ? d->reset_methods : "nothing (all ways are switched off)");
}

static void fill_rebind(const struct vfio_fill *x, size_t i) {
        struct def_vfio *v = &x->f->def->vfio[i];

        if (!str_empty(v->rebind))
                return;
        v->rebind = v->reserve ? "never" : "stop";
        if (!v->along)
                DEF_MARK(v, rebind, ORIGIN_DEFAULT, v->reserve ? "reserve" : NULL);
}

void vfio_checks(struct vfio_fill *x) {
        const struct settings *s = x->f->req->settings;
        bool iommu = vfio_check_iommu(x), session = s && !s->system;

        for (size_t i = 0; i < x->f->def->n_vfio; i++) {
                fill_rebind(x, i);
                if (!x->found[i])
                        continue;
                vfio_check_kind(x, i, iommu);
                if (x->owner[i] == i) { /* of the others' group it is told there */
                        check_other_vms(x, i);
                        check_held(x, i);
                }
                check_disks(x, i);
                check_reset(x, i);
                if (session && iommu)
                        check_session(x, i);
        }
        if (session)
                complete_warn_reserve(x->f->def, x->f->diags);
        if (session && iommu)
                check_memlock(x);
}
