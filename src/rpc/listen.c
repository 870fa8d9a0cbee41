#include "rpc/server.h"

#include "base/file.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 128

static int address_of(const char *path, struct sockaddr_un *ret, struct error *err) {
        if (str_empty(path))
                return error_set(err, -EINVAL, "the path of the socket is empty");
        if (strlen(path) >= sizeof(ret->sun_path))
                return error_set(err, -ENAMETOOLONG,
                                 "%s: the path of a socket has at most %zu bytes, and this has %zu", path,
                                 sizeof(ret->sun_path) - 1, strlen(path));
        *ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
        memcpy(ret->sun_path, path, strlen(path));
        return 0;
}

/* Removes what nobody listens on any more. */
static int clear_stale(const char *path, const struct sockaddr_un *address, struct error *err) {
        _cleanup_close_ int fd = -1;
        struct stat st;

        if (lstat(path, &st) < 0)
                return errno == ENOENT ? 0 : error_errno(err, errno, "%s", path);
        if (!S_ISSOCK(st.st_mode))
                return error_set(err, -EEXIST, "%s is there and is not a socket", path);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return error_errno(err, errno, "cannot make a socket");
        if (connect(fd, (const struct sockaddr *) address, sizeof(*address)) == 0 || errno == EAGAIN)
                return error_set(err, -EADDRINUSE, "%s: another process listens there", path);
        if (errno == ENOENT)
                return 0;
        if (errno != ECONNREFUSED)
                return error_errno(err, errno == EPROTOTYPE ? EEXIST : errno,
                                   "%s is there and cannot be told to be unused", path);
        if (unlink(path) < 0 && errno != ENOENT)
                return error_errno(err, errno, "cannot remove the stale socket %s", path);
        return 0;
}

static int set_access(const char *path, mode_t mode, gid_t gid, struct error *err) {
        if (gid != (gid_t) -1 && lchown(path, (uid_t) -1, gid) < 0)
                return error_errno(err, errno, "cannot give %s to group %ld", path, (long) gid);
        if (chmod(path, mode) < 0)
                return error_errno(err, errno, "cannot set the mode of %s", path);
        return 0;
}

static int bind_and_listen(const char *path, const struct sockaddr_un *address, mode_t mode, gid_t gid,
                           int *ret_fd, struct error *err) {
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        int r;

        if (fd < 0)
                return error_errno(err, errno, "cannot make a socket");
        r = clear_stale(path, address, err);
        if (r < 0)
                return r;
        /* bind(2) takes the mode of the socket's own inode, less umask, for the one that it makes in the
         * folder (unix_bind_bsd in net/unix/af_unix.c), so the name never stands open to others. */
        if (fchmod(fd, 0600) < 0 || bind(fd, (const struct sockaddr *) address, sizeof(*address)) < 0)
                return error_errno(err, errno, "cannot bind %s", path);
        r = set_access(path, mode, gid, err);
        if (r == 0 && listen(fd, BACKLOG) < 0)
                r = error_errno(err, errno, "cannot listen on %s", path);
        if (r < 0) {
                (void) unlink(path);
                return r;
        }
        *ret_fd = TAKE_FD(fd);
        return 0;
}

/* The lock's file goes when its holder is done: one that got the lock of a file without name tries again. */
static int take_lock(const char *path, int *ret_fd, struct error *err) {
        for (;;) {
                _cleanup_close_ int fd = -1;
                struct stat st;
                int r = file_lock(path, &fd, err);

                if (r == -EAGAIN)
                        return error_set(err, -EADDRINUSE, "%s: another process is about to listen", path);
                if (r < 0)
                        return error_prefix(err, "cannot listen there"), r;
                if (fstat(fd, &st) < 0)
                        return error_errno(err, errno, "cannot lock %s", path);
                if (st.st_nlink > 0) {
                        *ret_fd = TAKE_FD(fd);
                        return 0;
                }
        }
}

int rpc_listen(const char *path, mode_t mode, gid_t gid, int *ret_fd, struct error *err) {
        _cleanup_free_ char *lock_path = xasprintf("%s.lock", path);
        _cleanup_close_ int lock = -1;
        struct sockaddr_un address;
        int r = address_of(path, &address, err);

        if (r == 0)
                r = take_lock(lock_path, &lock, err);
        if (r < 0)
                return r;
        r = bind_and_listen(path, &address, mode, gid, ret_fd, err);
        (void) unlink(lock_path);
        return r;
}
