#include "vfio/internal.h"

#include "base/str.h"
#include "host/need.h"

#include <errno.h>

struct restore {
        const struct vfio_sys *sys;
        const struct vfio_original *original;
        struct vfio_progress *progress;
};

/* By name, as it need not be the kernel's first choice; drivers_probe when that fails, as some drivers take a
 * device only when the kernel offers it. */
static int bind_to(const struct restore *b, const char *driver, struct error *err) {
        const char *address = b->original->address;
        char now[VFIO_NAME_MAX];
        int told, r;

        vfio_doing(b->progress, "going back to %s", driver);
        told = vfio_tell_driver(b->sys, driver, "bind", address);
        r = vfio_driver(b->sys, address, now);
        if (r >= 0 && !now[0]) {
                r = vfio_probe(b->sys, address, NULL);
                if (r >= 0)
                        r = vfio_driver(b->sys, address, now);
        }
        if (r < 0)
                return error_errno(err, r, "cannot tell whether its driver %s took it back", driver);
        if (!now[0] && told < 0)
                return error_errno(err, told, "is without a driver: %s does not take it back", driver);
        if (!now[0])
                return error_set(err, -EIO, "is without a driver: %s does not take it back", driver);
        return str_eq(now, driver) ?
                       0 :
                       error_set(err, -EBUSY, "is with the driver %s now, not with %s", now, driver);
}

/* Whoever the kernel offers it to may have it; udev would have loaded a driver by the alias. None is fine. */
static int let_choose(const struct restore *b, const char *vfio, struct error *err) {
        const char *address = b->original->address;
        _cleanup_free_ char *path = xasprintf(VFIO_DEVICES "/%s/modalias", address), *alias = NULL;
        char now[VFIO_NAME_MAX] = "";
        int r = vfio_put_override(b->sys, address, "", err);

        if (r >= 0 && vfio[0])
                r = vfio_unbind(b->sys, address, vfio, b->progress, err);
        vfio_doing(b->progress, "going back to the host");
        if (r >= 0 && b->sys->ops->read(b->sys->data, path, &alias) >= 0 && alias[0])
                (void) b->sys->ops->load(b->sys->data, alias);
        if (r >= 0)
                r = vfio_probe(b->sys, address, err);
        if (r >= 0 && (r = vfio_driver(b->sys, address, now)) < 0)
                return error_errno(err, r, "cannot tell whether a driver took it back");
        return r >= 0 && host_pci_vfio_driver(now) ?
                       error_set(err, -EBUSY,
                                 "goes to %s by itself: something on this host says so "
                                 "(vfio-pci.ids=, new_id)",
                                 now) :
                       r;
}

/* Somebody gave it to a driver that is neither VFIO's nor its own. */
static bool has_third(const struct vfio_original *o, const char *driver) {
        return driver[0] && !o->probe && !host_pci_vfio_driver(driver) && !str_eq(driver, o->driver);
}

/* Until the end of it the override names the one driver that may have the device: "none" is no driver's name.
 */
static int restore_driver(const struct restore *b, const char *now, struct error *err) {
        const struct vfio_original *o = b->original;
        int r = 0;

        if (!o->probe && str_eq(now, o->driver))
                return 0;
        if (has_third(o, now))
                return error_set(err, -EEXIST, "somebody gave it to the driver %s: it stays there", now);
        if (o->probe && now[0] && !host_pci_vfio_driver(now))
                return 0;
        if (o->probe)
                return let_choose(b, now, err);
        if (o->driver[0])
                r = vfio_need_driver(b->sys, o->driver, o->module, b->progress, err);
        vfio_doing(b->progress, "getting its driver_override");
        if (r >= 0)
                r = vfio_put_override(b->sys, o->address, o->driver[0] ? o->driver : "none", err);
        if (r >= 0 && now[0])
                r = vfio_unbind(b->sys, o->address, now, b->progress, err);
        if (r >= 0 && o->driver[0])
                r = bind_to(b, o->driver, err);
        return r;
}

static int restore_override(const struct restore *b, const char *driver, struct error *err) {
        const struct vfio_original *o = b->original;
        char now[VFIO_NAME_MAX];

        /* The device stays with its third driver: an override that names another one would take it away at
         * the next chance. */
        if (has_third(o, driver) && o->override[0] && !str_eq(o->override, driver))
                return 0;
        vfio_doing(b->progress, "getting its driver_override back");
        int r = vfio_override(b->sys, o->address, now);

        /* What cannot be read is written. */
        return r >= 0 && str_eq(now, o->override) ? 0 :
                                                    vfio_put_override(b->sys, o->address, o->override, err);
}

static int restore_text(const struct restore *b, const char *attribute, const char *wanted,
                        struct error *err) {
        const char *address = b->original->address;
        _cleanup_free_ char *path = xasprintf(VFIO_DEVICES "/%s/%s", address, attribute), *now = NULL;

        if (b->sys->ops->read(b->sys->data, path, &now) >= 0 && str_eq(now, wanted))
                return 0;
        return vfio_put(b->sys, address, attribute, wanted, err);
}

/* Keeps going, and the first error. */
static void keep(int r, struct error *all, struct error *one) {
        if (r < 0 && all->code == 0)
                error_move(all, one);
        else if (r < 0 && one->text) {
                _cleanup_free_ char *text = xstrdup(error_text(all));
                error_set(all, all->code, "%s; %s", text, error_text(one));
        }
        error_done(one);
        *one = ERROR_INIT;
}

static void restore_all(const struct restore *b, const char *driver, struct error *all) {
        const struct vfio_original *o = b->original;
        struct error one = ERROR_INIT;

        keep(restore_driver(b, driver, &one), all, &one);
        keep(restore_override(b, driver, &one), all, &one);
        vfio_doing(b->progress, "getting its power settings back");
        if (o->has_reset_method)
                keep(restore_text(b, "reset_method", o->reset_method, &one), all, &one);
        if (o->d3cold_allowed >= 0)
                keep(restore_text(b, "d3cold_allowed", o->d3cold_allowed ? "1" : "0", &one), all, &one);
        /* Last: binding and unbinding change it. */
        if (o->power_control[0])
                keep(restore_text(b, "power/control", o->power_control, &one), all, &one);
}

/* Before anything is written: a device that somebody uses keeps all as it is. */
static int refuse_used(const struct restore *b, const char *driver, struct error *err) {
        _cleanup_free_ char *sentence = NULL;

        if (!host_pci_vfio_driver(driver) || str_eq(driver, b->original->driver))
                return 0;
        int r = b->sys->ops->open_by(b->sys->data, b->original->address, &sentence);
        if (r < 0)
                return error_errno(err, r, "cannot tell whether somebody uses it");
        return r > 0 ? error_set(err, -EBUSY, "%s: it stays with %s", sentence, driver) : 0;
}

int vfio_restore(const struct vfio_sys *sys, const struct vfio_original *original,
                 struct vfio_progress *progress, struct error *err) {
        const struct restore b = { sys, original, progress };
        _cleanup_error_ struct error all = ERROR_INIT;
        struct vfio_original now;

        vfio_doing(progress, "being looked at");
        if (vfio_present(sys, original->address) == 0)
                return 0;
        int r = vfio_original_read(sys, original->address, &now, NULL);
        if (r < 0)
                error_errno(&all, r, "cannot be looked at");
        else if (now.vendor == original->vendor && now.device == original->device &&
                 refuse_used(&b, now.driver, &all) >= 0)
                restore_all(&b, now.driver, &all);
        if (all.code == 0 || vfio_present(sys, original->address) == 0)
                return 0;
        error_prefix(&all, "%s", original->address);
        return error_move(err, &all);
}
