#include "vfio/sys.h"

#include "base/str.h"
#include "vfio/holders.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
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

/* By modprobe(8), which knows aliases, dependencies and the administrator's options. A library would do the
 * same in this process, and stay mapped in the daemon for good. */
static int real_load(void *data, const char *module) {
        /* posix_spawn() takes them without const, and leaves them alone. */
        char name[] = "modprobe", quiet[] = "-q", end[] = "--";
        char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        char *const argv[] = { name, quiet, end, (char *) module, NULL }, *const env[] = { path, NULL };
        static const char *const places[] = { "/usr/sbin/modprobe", "/sbin/modprobe", "/usr/bin/modprobe" };
        int status, r = -ENOENT;
        pid_t pid;

        if (!((struct real *) data)->modules)
                return -ENOENT;
        for (size_t i = 0; i < ARRAY_SIZE(places) && r == -ENOENT; i++)
                r = -posix_spawn(&pid, places[i], NULL, NULL, argv, env);
        if (r < 0)
                return r;
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return -errno;
        return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -ENOENT;
}

static int real_open_by(void *data, const char *address, char **ret) {
        _cleanup_arena_ struct arena *arena = arena_new();
        const char *sentence = NULL;
        int r = vfio_holders_process(((struct real *) data)->host, address, arena, &sentence);

        if (r > 0)
                *ret = xstrdup(sentence);
        return r;
}

static const struct vfio_ops real_ops = { real_read,  real_write, real_readlink, real_names,
                                          real_bytes, real_load,  real_open_by };

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
