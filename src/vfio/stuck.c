#include "vfio/stuck.h"

#include "base/file.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>

enum { FILE_MAX = 256 * 1024 };

static char *file_of(const char *dir) {
        return xasprintf("%s/stuck-devices", dir);
}

static char *boot_id(void) {
        char *id;

        return file_read_line(AT_FDCWD, "/proc/sys/kernel/random/boot_id", &id) < 0 ? xstrdup("") : id;
}

int vfio_stuck_list(const char *dir, json_t **ret, struct error *err) {
        _cleanup_free_ char *path = file_of(dir), *text = NULL, *boot = boot_id();
        _cleanup_json_ json_t *file = NULL;
        size_t len;
        int r = file_read(AT_FDCWD, path, FILE_MAX, &text, &len, err);

        if (r == -ENOENT) {
                error_done(err);
                *ret = json_object();
                return 0;
        }
        if (r < 0)
                return r;
        r = json_parse(text, len, &file, err);
        json_t *devices = json_object_get(file, "devices");
        if (r >= 0 && !json_is_object(devices))
                r = error_set(err, -EBADMSG, "no list of devices");
        if (r < 0) {
                _cleanup_free_ char *text_of = xstrdup(error_text(err));
                return error_set(err, -EBADMSG,
                                 "%s: %s: the list of stuck devices cannot be understood (remove the "
                                 "file, if no device is stuck)",
                                 path, text_of);
        }
        *ret = str_eq(json_get_str(file, "boot", NULL), boot) ? json_incref(devices) : json_object();
        return 0;
}

int vfio_stuck_add(const char *dir, const char *address, const char *sentence, struct error *err) {
        _cleanup_free_ char *path = file_of(dir), *boot = boot_id(), *text = NULL;
        _cleanup_json_ json_t *devices = NULL, *file = json_object();
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
        json_put_str(file, "boot", boot);
        json_put(file, "devices", json_incref(devices));
        text = json_text_pretty(file);
        return file_write_atomic(AT_FDCWD, path, text, strlen(text), 0644, false, err);
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
