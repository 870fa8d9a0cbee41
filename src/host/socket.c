#include "host/socket.h"

#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int answers(int inode) {
        struct sockaddr_un addr = { .sun_family = AF_UNIX };
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        if (fd < 0)
                return -errno;
        /* By its descriptor: the path may be longer than a socket's can be. */
        snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d", inode);
        return connect(fd, (struct sockaddr *) &addr, sizeof(addr)) < 0 ? -errno : 0;
}

int host_socket_answers(const struct host *h, const char *path) {
        _cleanup_close_ int fd = host_fd(h, path, O_PATH);
        struct host_node node;

        if (fd < 0)
                return fd;
        int r = host_node(h, path, &node);
        if (r < 0)
                return r;
        if (node.type != 's')
                return -ENOTSOCK;
        if (host_captured(h))
                return node.writable ? 0 : -EACCES;
        return answers(fd);
}
