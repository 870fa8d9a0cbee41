#include "host/kvmfr.h"

#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define KVMFR_DMABUF_GETSIZE _IO('u', 0x44)

static bool class_is_kvmfr(const struct host *h, dev_t rdev) {
        _cleanup_free_ char *link = xasprintf("/sys/dev/char/%u:%u/subsystem", major(rdev), minor(rdev));
        _cleanup_free_ char *target = NULL;

        if (host_readlink(h, link, &target) < 0)
                return false;
        const char *name = strrchr(target, '/');
        return str_eq(name ? name + 1 : target, "kvmfr");
}

/* Lines such as "242 kvmfr", those of character devices first. */
static bool major_is_kvmfr(const struct host *h, dev_t rdev) {
        _cleanup_free_ char *text = NULL;
        char *rest = NULL;

        if (host_read(h, "/proc/devices", &text) < 0)
                return false;
        for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
                unsigned number;
                char name[64];

                if (str_starts(line, "Block"))
                        break;
                if (sscanf(line, "%u %63s", &number, name) == 2 && number == major(rdev) &&
                    str_eq(name, "kvmfr"))
                        return true;
        }
        return false;
}

bool host_is_kvmfr(const struct host *h, const struct host_node *node) {
        return node->type == 'c' && (class_is_kvmfr(h, node->rdev) || major_is_kvmfr(h, node->rdev));
}

int host_kvmfr_size(const struct host *h, const char *path, uint64_t *ret) {
        _cleanup_close_ int fd = host_fd(h, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);

        if (fd < 0)
                return fd;
        /* The size is the result itself; ioctl(3) would cut it to an int, which 2 GiB do not fit. */
        long size = syscall(SYS_ioctl, fd, KVMFR_DMABUF_GETSIZE, 0);
        if (size < 0)
                return -errno;
        if (size == 0)
                return -ENOTTY;
        *ret = (uint64_t) size;
        return 0;
}
