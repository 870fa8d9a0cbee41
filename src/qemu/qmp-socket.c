#include "qemu/qmp-socket.h"

#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* A short name for path; *folder_fd keeps it valid. */
static int shorten(const char *path, char *buf, size_t size, int *folder_fd, struct error *err) {
        const char *slash = strrchr(path, '/');
        _cleanup_free_ char *folder = slash ? strndup(path, (size_t) (slash - path) + 1) : NULL;

        if (strlen(path) < size) {
                strcpy(buf, path);
                return 0;
        }
        if (!folder)
                return error_set(err, -ENAMETOOLONG, "the name of the socket %s is too long", path);
        *folder_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (*folder_fd < 0)
                return error_errno(err, errno, "cannot open the folder %s", folder);
        int n = snprintf(buf, size, "/proc/self/fd/%d/%s", *folder_fd, slash + 1);
        if (n < 0 || (size_t) n >= size)
                return error_set(err, -ENAMETOOLONG, "the name of the socket %s is too long", path);
        return 0;
}

int qmp_socket_connect(const char *path, int *ret_fd, struct error *err) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        _cleanup_close_ int folder_fd = -1, fd = -1;
        int r = shorten(path, address.sun_path, sizeof(address.sun_path), &folder_fd, err);

        if (r < 0)
                return r;
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return error_errno(err, errno, "cannot make a socket");
        if (connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0)
                return error_errno(err, errno, "cannot connect to %s", path);
        *ret_fd = TAKE_FD(fd);
        return 0;
}
