#include "vfio/sys.h"

#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <libkmod.h>
#include <unistd.h>

struct real {
        struct host *host;
        bool writable, modules;
};

static int real_read(void *data, const char *path, char **ret) {
        return host_read_line(((struct real *) data)->host, path, ret);
}

static int real_write(void *data, const char *path, const char *text) {
        const struct real *real = data;
        size_t n = strlen(text);

        if (!real->writable)
                return -EROFS;
        _cleanup_close_ int fd = host_fd(real->host, path, O_WRONLY | O_NOCTTY);
        if (fd < 0)
                return fd;
        ssize_t done = write(fd, text, n); /* sysfs takes a value in one piece or not at all */
        return done < 0 ? -errno : (size_t) done != n ? -EIO : 0;
}

static int real_readlink(void *data, const char *path, char **ret) {
        return host_readlink(((struct real *) data)->host, path, ret);
}

static int real_names(void *data, const char *path, struct host_names *ret) {
        return host_names(((struct real *) data)->host, path, ret);
}

static ssize_t real_bytes(void *data, const char *path, void *ret, size_t n) {
        _cleanup_close_ int fd = host_fd(((struct real *) data)->host, path, O_RDONLY | O_NOCTTY);

        if (fd < 0)
                return fd;
        ssize_t done = read(fd, ret, n);
        return done < 0 ? -errno : done;
}

static int load_all(struct kmod_ctx *ctx, const char *name) {
        struct kmod_list *list = NULL, *item;
        int r = kmod_module_new_from_lookup(ctx, name, &list);

        if (r >= 0 && !list)
                r = -ENOENT;
        kmod_list_foreach(item, list) {
                struct kmod_module *module = kmod_module_get_module(item);

                if (r >= 0)
                        r = kmod_module_probe_insert_module(module, 0, NULL, NULL, NULL, NULL);
                kmod_module_unref(module);
        }
        kmod_module_unref_list(list);
        return r < 0 ? r : 0;
}

static int real_load(void *data, const char *module) {
        if (!((struct real *) data)->modules)
                return -ENOENT;
        struct kmod_ctx *ctx = kmod_new(NULL, NULL);
        if (!ctx)
                return -ENOMEM;
        kmod_set_log_priority(ctx, 0);
        int r = load_all(ctx, module);
        kmod_unref(ctx);
        return r;
}

static const struct vfio_ops real_ops = { real_read,  real_write, real_readlink,
                                          real_names, real_bytes, real_load };

int vfio_sys_open(const char *root, struct vfio_sys *ret, struct error *err) {
        struct host *host;
        int r = host_open(root, &host, err);

        if (r < 0)
                return r;
        struct real *real = xcalloc(1, sizeof(*real));
        bool captured = host_captured(host);
        *real = (struct real){ .host = host, .writable = root || !captured, .modules = !captured };
        *ret = (struct vfio_sys){ .ops = &real_ops, .data = real };
        return 0;
}

void vfio_sys_close(struct vfio_sys *sys) {
        struct real *real = sys->data;

        if (!real)
                return;
        host_free(real->host);
        free(real);
        *sys = (struct vfio_sys){ 0 };
}
