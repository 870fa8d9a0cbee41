#include "vfio/internal.h"

#include "base/str.h"
#include "host/need.h"

#include <errno.h>

struct bind {
        const struct vfio_sys *sys;
        const struct vfio_original *original;
        const struct vfio_claim *claim;
        struct vfio_progress *progress;
        bool ready; /* it has a VFIO driver already */
};

/* Taking a bridge from its driver disturbs all that is behind it. */
static int step_endpoint(const struct bind *b, struct error *err) {
        uint32_t class;
        bool bridge = false;
        int r = vfio_bridge(b->sys, b->original->address, &class, &bridge);

        if (r < 0)
                return error_errno(err, r, "cannot be looked at");
        return bridge ? error_set(err, -EINVAL, "is a bridge, which no guest can have") : 0;
}

static int step_expect(const struct bind *b, struct error *err) {
        const struct vfio_original *o = b->original;
        struct vfio_original now;
        int r = vfio_original_read(b->sys, o->address, &now, NULL);

        if (r < 0)
                return error_errno(err, r, "cannot be looked at");
        if (now.vendor != o->vendor || now.device != o->device)
                return error_set(err, -ESTALE, "is %04x:%04x now, no longer %04x:%04x", now.vendor,
                                 now.device, o->vendor, o->device);
        if (!str_eq(now.driver, o->driver))
                return error_set(err, -ESTALE, "has changed meanwhile: its driver is %s now, no longer %s",
                                 now.driver[0] ? now.driver : "none", o->driver[0] ? o->driver : "none");
        if (!str_eq(now.override, o->override))
                return error_set(err, -ESTALE,
                                 "has changed meanwhile: its driver_override is \"%s\" now, no "
                                 "longer \"%s\"",
                                 now.override, o->override);
        return 0;
}

static int step_module(const struct bind *b, struct error *err) {
        return b->ready ? 0 : vfio_need_driver(b->sys, VFIO_PCI, "vfio_pci", b->progress, err);
}

/* What QEMU maps the guest's memory through. It comes along when modprobe loads vfio (a soft dependency), but
 * not with every program that an initramfs has for it. A kernel may do without it (iommufd): no error then.
 */
static int step_backend(const struct bind *b, struct error *err) {
        _cleanup_host_names_ struct host_names names = { 0 };
        int r = b->sys->ops->names(b->sys->data, "/sys/module/vfio_iommu_type1", &names);

        if (r == -ENOENT) {
                vfio_doing(b->progress, "loading vfio_iommu_type1");
                r = b->sys->ops->load(b->sys->data, "vfio_iommu_type1");
        }
        return r < 0 && r != -ENOENT ? error_errno(err, r, "cannot load the kernel module vfio_iommu_type1") :
                                       0;
}

/* Also before it leaves its driver: drivers that find their device in D3cold have hung there. */
static int step_wake(const struct bind *b, struct error *err) {
        const struct vfio_original *o = b->original;
        int r = 0;

        vfio_doing(b->progress, "waking up");
        if (o->d3cold_allowed == 1)
                r = vfio_put(b->sys, o->address, "d3cold_allowed", "0", err);
        if (r >= 0 && o->power_control[0])
                r = vfio_put(b->sys, o->address, "power/control", "on", err);
        return r;
}

/* A function that does not answer reads as all ones (PCI Local Bus Specification). */
static int step_answers(const struct bind *b, struct error *err) {
        _cleanup_free_ char *path = xasprintf(VFIO_DEVICES "/%s/config", b->original->address);
        unsigned char ids[4] = { 0 };
        ssize_t n = b->sys->ops->bytes(b->sys->data, path, ids, sizeof(ids));

        if (n < 0)
                return error_errno(err, (int) n, "its configuration space cannot be read");
        if (n == sizeof(ids) && ids[0] == 0xff && ids[1] == 0xff && ids[2] == 0xff && ids[3] == 0xff)
                return error_set(err, -EIO,
                                 "does not answer any more (its configuration space reads as ones): "
                                 "only a restart of the host, often with its power off, brings it back");
        return 0;
}

static int step_reset_method(const struct bind *b, struct error *err) {
        const char *wanted = b->claim->reset_method;

        if (!b->claim->has_reset_method ||
            (b->original->has_reset_method && str_eq(wanted, b->original->reset_method)))
                return 0;
        if (!b->original->has_reset_method)
                return error_set(err, -EOPNOTSUPP, "has no reset that could be chosen (reset-method \"%s\")",
                                 wanted);
        int r = vfio_put(b->sys, b->original->address, "reset_method", wanted, NULL);
        return r == -EINVAL ? error_set(err, r, "cannot be reset by \"%s\": it has \"%s\"", wanted,
                                        b->original->reset_method) :
               r < 0        ? error_errno(err, r, "cannot set reset_method to \"%s\"", wanted) :
                              0;
}

static int step_override(const struct bind *b, struct error *err) {
        return b->ready || str_eq(b->original->override, VFIO_PCI) ?
                       0 :
                       vfio_put_override(b->sys, b->original->address, VFIO_PCI, err);
}

static int step_leave(const struct bind *b, struct error *err) {
        const struct vfio_original *o = b->original;

        return b->ready || !o->driver[0] ? 0 : vfio_unbind(b->sys, o->address, o->driver, b->progress, err);
}

static int verify(const struct bind *b, bool *ret, struct error *err) {
        char now[VFIO_NAME_MAX];
        int r = vfio_driver(b->sys, b->original->address, now);

        if (r < 0)
                return error_errno(err, r, "cannot tell whether " VFIO_PCI " took it");
        if (now[0] && !str_eq(now, VFIO_PCI))
                return error_set(err, -EBUSY, "was to go to " VFIO_PCI ", but %s has it", now);
        *ret = now[0];
        return 0;
}

/* Writing to `bind` is for its error: drivers_probe has none. */
static int step_join(const struct bind *b, struct error *err) {
        const char *address = b->original->address;
        bool done = false;
        int r;

        if (b->ready)
                return 0;
        vfio_doing(b->progress, "joining " VFIO_PCI);
        if ((r = vfio_probe(b->sys, address, err)) < 0 || (r = verify(b, &done, err)) < 0 || done)
                return r;
        r = vfio_tell_driver(b->sys, VFIO_PCI, "bind", address);
        if (r < 0)
                return error_errno(err, r, VFIO_PCI " does not take it (the kernel's log may say why)");
        if ((r = verify(b, &done, err)) < 0)
                return r;
        return done ? 0 : error_set(err, -EIO, VFIO_PCI " does not take it, and the kernel does not say why");
}

/* vfio-pci allows runtime power management when it takes a device (vfio_pci_core_register_device). */
static int step_stay_awake(const struct bind *b, struct error *err) {
        const struct vfio_original *o = b->original;

        vfio_doing(b->progress, "staying awake");
        return o->power_control[0] ?
                       vfio_put(b->sys, o->address, "power/control", b->claim->idle ? "auto" : "on", err) :
                       0;
}

static int (*const steps[])(const struct bind *b, struct error *err) = {
        step_module,   step_backend, step_wake, step_answers,    step_reset_method,
        step_override, step_leave,   step_join, step_stay_awake,
};

/* The error of the bind, and of its undo if that failed too. */
static void put_back(const struct bind *b, struct error *err) {
        _cleanup_error_ struct error undo = ERROR_INIT;

        if (vfio_restore(b->sys, b->original, b->progress, &undo) < 0) {
                _cleanup_free_ char *text = xstrdup(error_text(err));
                error_set(err, err->code, "%s; and it could not be put back: %s", text, error_text(&undo));
        }
}

int vfio_bind(const struct vfio_sys *sys, const struct vfio_original *expected,
              const struct vfio_claim *claim, struct vfio_progress *progress, struct error *err) {
        const struct bind b = { sys, expected, claim, progress, host_pci_vfio_driver(expected->driver) };
        _cleanup_error_ struct error own = ERROR_INIT;
        int r = step_expect(&b, &own);

        if (r >= 0)
                r = step_endpoint(&b, &own);

        bool begun = r >= 0;
        for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(steps); i++)
                r = steps[i](&b, &own);
        if (r >= 0)
                return 0;
        error_prefix(&own, "%s", expected->address);
        if (vfio_present(sys, expected->address) == 0)
                return error_set(err, -ENODEV, "%s: there is no such device any more", expected->address);
        if (begun)
                put_back(&b, &own);
        return error_move(err, &own);
}
