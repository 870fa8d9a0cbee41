#include "vored/manager.h"

#include "base/file.h"
#include "base/log.h"
#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

char *store_path(const struct manager *m, const char *name) {
        return xasprintf("%s/definitions/%s.toml", m->settings->vore.state_dir, name);
}

static void load_one(struct manager *m, const char *name) {
        _cleanup_free_ char *path = store_path(m, name), *text = NULL;
        _cleanup_error_ struct error err = ERROR_INIT;
        struct def_summary summary;
        size_t len = 0;
        int r = file_read(AT_FDCWD, path, DEF_SIZE_MAX, &text, &len, &err);

        if (r >= 0)
                r = def_summarize_saved(text, len, name, &summary, &err);
        if (r < 0) {
                log_warning("%s: %s", path, error_text(&err));
                machine_add(m, name, NULL, xstrdup(error_text(&err)));
                return;
        }
        struct vm *vm = vm_new(&m->env, &summary);
        struct vm_definition d = { .text = text, .len = len, .file = path, .directory = "/" };
        vm_set_saved(vm, true);
        (void) vm_define(vm, &d, &summary, NULL);
        machine_add(m, name, vm, NULL);
}

int store_load(struct manager *m, struct error *err) {
        _cleanup_free_ char *path = xasprintf("%s/definitions", m->settings->vore.state_dir);
        DIR *dir = opendir(path);
        struct dirent *e;

        if (!dir)
                return error_errno(err, errno, "cannot read the saved definitions in %s", path);
        while ((e = readdir(dir))) {
                size_t n = strlen(e->d_name);
                _cleanup_free_ char *name = n > 5 ? strndup(e->d_name, n - 5) : NULL;

                if (!name || !str_ends(e->d_name, ".toml"))
                        continue;
                if (def_name_valid(name))
                        load_one(m, name);
                else
                        log_warning("%s/%s is left alone: its name is none that a machine can have", path,
                                    e->d_name);
        }
        closedir(dir);
        return 0;
}

int store_save(struct manager *m, const char *name, const char *text, size_t len, struct error *err) {
        _cleanup_free_ char *path = store_path(m, name);

        return file_write_atomic(AT_FDCWD, path, text, len, 0640, true, err);
}

int store_delete(struct manager *m, const char *name, struct error *err) {
        _cleanup_free_ char *path = store_path(m, name);

        if (unlink(path) < 0 && errno != ENOENT)
                return error_errno(err, errno, "cannot delete %s", path);
        return 0;
}

bool store_has(const struct manager *m, const char *name, const struct vm_definition *d) {
        _cleanup_free_ char *path = store_path(m, name), *text = NULL;
        size_t len = 0;

        return file_read(AT_FDCWD, path, DEF_SIZE_MAX, &text, &len, NULL) >= 0 && len == d->len &&
               memcmp(text, d->text, len) == 0;
}
