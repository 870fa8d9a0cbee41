#include "vfio/stuck.h"

#include "base/str.h"
#include "vfio/remember.h"

#include <errno.h>

#define FILE_NAME "stuck-devices"

int vfio_stuck_list(const char *dir, json_t **ret, struct error *err) {
        return remember_read(dir, FILE_NAME, "the list of devices that are stuck", ret, err);
}

int vfio_stuck_add(const char *dir, const char *address, const char *sentence, struct error *err) {
        _cleanup_json_ json_t *devices = NULL;
        int r = vfio_stuck_list(dir, &devices, err);

        /* A file that is broken must not keep the device from being remembered. */
        if (r == -EBADMSG) {
                error_done(err);
                devices = json_object();
        } else if (r < 0)
                return r;
        if (json_object_get(devices, address))
                return 0;
        if (json_object_size(devices) >= VFIO_STUCK_MAX)
                return error_set(err, -E2BIG, "more than %d devices are stuck", VFIO_STUCK_MAX);
        json_put(devices, address, json_string_lossy(sentence));
        return remember_write(dir, FILE_NAME, TAKE_PTR(devices), err);
}

bool vfio_stuck_known(const char *dir, const char *address) {
        _cleanup_json_ json_t *devices = NULL;

        return vfio_stuck_list(dir, &devices, NULL) >= 0 && json_get_str(devices, address, NULL);
}

int vfio_stuck_check(const char *dir, const char *address, struct error *err) {
        _cleanup_json_ json_t *devices = NULL;
        int r = vfio_stuck_list(dir, &devices, err);

        if (r < 0)
                return r;
        const char *sentence = json_get_str(devices, address, NULL);
        return sentence ? error_set(err, -EIO, "%s: it can be used again after a restart of the host",
                                    sentence) :
                          0;
}
