#include "vfio/kept.h"

#include "base/str.h"
#include "host/need.h"
#include "vfio/internal.h"
#include "vfio/remember.h"

#include <errno.h>

#define FILE_NAME "kept-devices"

int vfio_kept_list(const char *dir, json_t **ret, struct error *err) {
        return remember_read(dir, FILE_NAME, "the list of devices that are kept", ret, err);
}

int vfio_kept_find(const char *dir, const char *address, struct vfio_original *ret, char **ret_why) {
        _cleanup_json_ json_t *devices = NULL;
        struct vfio_original o;

        if (vfio_kept_list(dir, &devices, NULL) < 0)
                return 0;
        const json_t *entry = json_object_get(devices, address);
        if (!entry || vfio_original_from_json(json_object_get(entry, "original"), &o, NULL) < 0)
                return 0;
        if (ret)
                *ret = o;
        if (ret_why)
                *ret_why = xstrdup(json_get_str(entry, "why", VFIO_KEPT_HAND));
        return 1;
}

int vfio_kept_put(const char *dir, const struct vfio_original *original, const char *why, struct error *err) {
        _cleanup_json_ json_t *devices = NULL;
        json_t *entry;
        int r = vfio_kept_list(dir, &devices, err);

        if (r == -EBADMSG) {
                error_done(err);
                devices = json_object();
        } else if (r < 0)
                return r;
        if (!json_object_get(devices, original->address) && json_object_size(devices) >= VFIO_KEPT_MAX)
                return error_set(err, -E2BIG, "more than %d devices are kept", VFIO_KEPT_MAX);
        entry = json_object();
        json_put_str(entry, "why", why);
        json_put(entry, "original", vfio_original_to_json(original));
        json_put(devices, original->address, entry);
        return remember_write(dir, FILE_NAME, TAKE_PTR(devices), err);
}

int vfio_kept_drop(const char *dir, const char *address, struct error *err) {
        _cleanup_json_ json_t *devices = NULL;
        int r = vfio_kept_list(dir, &devices, err);

        if (r < 0)
                return r;
        return json_object_del(devices, address) == 0 ?
                       remember_write(dir, FILE_NAME, TAKE_PTR(devices), err) :
                       0;
}

void vfio_original_before(const struct vfio_original *found, struct vfio_original *ret) {
        bool vfio = host_pci_vfio_driver(found->driver);

        *ret = *found;
        if (!host_pci_vfio_driver(found->override) || (found->driver[0] && !vfio))
                return;
        ret->probe = true;
        ret->driver[0] = ret->module[0] = ret->override[0] = '\0';
        /* What the kernel begins with: no runtime power management (pci_pm_init), D3cold allowed. */
        if (ret->power_control[0])
                snprintf(ret->power_control, sizeof(ret->power_control), "on");
        if (ret->d3cold_allowed >= 0)
                ret->d3cold_allowed = 1;
}

void vfio_original_idle(const struct vfio_original *before, struct vfio_original *ret) {
        *ret = *before;
        ret->probe = false;
        if (!host_pci_vfio_driver(before->driver)) {
                snprintf(ret->driver, sizeof(ret->driver), "%s", VFIO_PCI);
                snprintf(ret->module, sizeof(ret->module), "vfio_pci");
                snprintf(ret->override, sizeof(ret->override), "%s", VFIO_PCI);
        }
        if (ret->power_control[0])
                snprintf(ret->power_control, sizeof(ret->power_control), "auto");
        if (ret->d3cold_allowed > 0)
                ret->d3cold_allowed = 0;
}
