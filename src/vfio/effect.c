/* The single effects, each a write and where needed a look whether it did what it said. */
#include "vfio/internal.h"

#include "base/str.h"

#include <errno.h>
#include <stdarg.h>

void vfio_doing(struct vfio_progress *progress, const char *fmt, ...) {
        va_list ap;

        if (!progress)
                return;
        va_start(ap, fmt);
        vsnprintf(progress->doing, sizeof(progress->doing), fmt, ap);
        va_end(ap);
}

int vfio_put(const struct vfio_sys *sys, const char *address, const char *attribute, const char *text,
             struct error *err) {
        _cleanup_free_ char *path = xasprintf(VFIO_DEVICES "/%s/%s", address, attribute);
        /* A write of no bytes never reaches the kernel's attribute. */
        int r = sys->ops->write(sys->data, path, *text ? text : "\n");

        return r < 0 ? error_errno(err, r, "cannot set %s to \"%s\"", attribute, text) : 0;
}

int vfio_put_override(const struct vfio_sys *sys, const char *address, const char *driver,
                      struct error *err) {
        return vfio_put(sys, address, "driver_override", driver, err);
}

int vfio_tell_driver(const struct vfio_sys *sys, const char *driver, const char *file, const char *address) {
        _cleanup_free_ char *path = xasprintf(VFIO_DRIVERS "/%s/%s", driver, file);

        return sys->ops->write(sys->data, path, address);
}

int vfio_probe(const struct vfio_sys *sys, const char *address, struct error *err) {
        int r = sys->ops->write(sys->data, "/sys/bus/pci/drivers_probe", address);

        return r < 0 ? error_errno(err, r, "cannot ask the kernel for a driver") : 0;
}

int vfio_unbind(const struct vfio_sys *sys, const char *address, const char *driver,
                struct vfio_progress *progress, struct error *err) {
        char now[VFIO_NAME_MAX];

        vfio_doing(progress, "leaving %s", driver);
        int r = vfio_tell_driver(sys, driver, "unbind", address);
        if (r < 0)
                return error_errno(err, r, "cannot be taken from the driver %s", driver);
        r = vfio_driver(sys, address, now);
        if (r < 0)
                return error_errno(err, r, "cannot tell whether it left the driver %s", driver);
        if (now[0])
                return error_set(err, -EBUSY, "left the driver %s, but is with %s again", driver, now);
        return 0;
}

int vfio_need_driver(const struct vfio_sys *sys, const char *driver, const char *module,
                     struct vfio_progress *progress, struct error *err) {
        _cleanup_free_ char *path = xasprintf(VFIO_DRIVERS "/%s", driver);
        _cleanup_host_names_ struct host_names names = { 0 };
        int r = sys->ops->names(sys->data, path, &names);

        if (r != -ENOENT)
                return r < 0 ? error_errno(err, r, "cannot look for the driver %s", driver) : 0;
        vfio_doing(progress, "loading %s", module[0] ? module : driver);
        r = sys->ops->load(sys->data, module[0] ? module : driver);
        return r < 0 ? error_errno(err, r, "cannot load the kernel module %s", module[0] ? module : driver) :
                       0;
}
