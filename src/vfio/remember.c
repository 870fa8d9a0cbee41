#include "vfio/remember.h"

#include "base/file.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>

enum { FILE_MAX = 256 * 1024 };

static char *boot_id(void) {
        char *id;

        return file_read_line(AT_FDCWD, "/proc/sys/kernel/random/boot_id", &id) < 0 ? xstrdup("") : id;
}

int remember_read(const char *dir, const char *name, const char *what, json_t **ret, struct error *err) {
        _cleanup_free_ char *path = xasprintf("%s/%s", dir, name), *text = NULL, *boot = boot_id();
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
                                 "%s: %s: %s cannot be understood (remove the "
                                 "file, if no device is %s)",
                                 path, text_of, what, strrchr(what, ' ') + 1);
        }
        *ret = str_eq(json_get_str(file, "boot", NULL), boot) ? json_incref(devices) : json_object();
        return 0;
}

int remember_write(const char *dir, const char *name, json_t *devices, struct error *err) {
        _cleanup_free_ char *path = xasprintf("%s/%s", dir, name), *boot = boot_id(), *text = NULL;
        _cleanup_json_ json_t *file = json_object();

        json_put_str(file, "boot", boot);
        json_put(file, "devices", devices);
        text = json_text_pretty(file);
        return file_write_atomic(AT_FDCWD, path, text, strlen(text), 0644, false, err);
}
