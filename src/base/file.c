#include "base/file.h"

#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

void cleanup_closep(int *fd) {
        int saved = errno;

        if (*fd >= 0)
                close(*fd);
        *fd = -1;
        errno = saved;
}

int file_read_fd(int fd, size_t max, char **ret, size_t *ret_len, struct error *err) {
        _cleanup_free_ char *data = NULL;
        size_t len = 0, size = MIN(max, (size_t) 4096) + 1;

        data = xrealloc(NULL, size, 1);
        for (;;) {
                ssize_t n = read(fd, data + len, size - 1 - len);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return error_errno(err, errno, "cannot read");
                if (n == 0)
                        break;
                len += (size_t) n;
                if (len > max)
                        return error_set(err, -EFBIG, "is larger than %zu bytes", max);
                if (len + 1 >= size) {
                        size = MIN(size * 2, max + 2);
                        data = xrealloc(data, size, 1);
                }
        }
        data[len] = '\0';
        *ret = TAKE_PTR(data);
        if (ret_len)
                *ret_len = len;
        return 0;
}

int file_read(int dirfd, const char *path, size_t max, char **ret, size_t *ret_len, struct error *err) {
        _cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

        if (fd < 0)
                return error_errno(err, errno, "%s", path);
        int r = file_read_fd(fd, max, ret, ret_len, err);
        if (r < 0)
                error_prefix(err, "%s", path);
        return r;
}

int file_read_line(int dirfd, const char *path, char **ret) {
        _cleanup_free_ char *text = NULL;
        int r = file_read(dirfd, path, 4095, &text, NULL, NULL);

        if (r < 0)
                return r;
        text[strcspn(text, "\n")] = '\0';
        *ret = TAKE_PTR(text);
        return 0;
}

int file_write_all(int fd, const void *data, size_t len) {
        const char *p = data;

        while (len > 0) {
                ssize_t n = write(fd, p, len);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                p += n;
                len -= (size_t) n;
        }
        return 0;
}

static int folder_sync(int dirfd, const char *path) {
        _cleanup_free_ char *folder = xstrdup(path);
        char *slash = strrchr(folder, '/');

        if (slash)
                *(slash == folder ? slash + 1 : slash) = '\0';
        _cleanup_close_ int fd = openat(dirfd, slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 || fsync(fd) < 0)
                return -errno;
        return 0;
}

static int write_and_rename(int dirfd, const char *temp, const char *path, int fd, const void *data,
                            size_t len, bool sync) {
        int r = file_write_all(fd, data, len);

        if (r < 0)
                return r;
        if (sync && fsync(fd) < 0)
                return -errno;
        if (renameat(dirfd, temp, dirfd, path) < 0)
                return -errno;
        return sync ? folder_sync(dirfd, path) : 0;
}

int file_write_atomic(int dirfd, const char *path, const void *data, size_t len, mode_t mode, bool sync,
                      struct error *err) {
        _cleanup_free_ char *temp = xasprintf("%s.%ld.tmp", path, (long) getpid());

        /* What a killed predecessor of the same pid left may be here. */
        if (unlinkat(dirfd, temp, 0) < 0 && errno != ENOENT)
                return error_errno(err, errno, "cannot write %s", path);
        _cleanup_close_ int fd = openat(dirfd, temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        if (fd < 0)
                return error_errno(err, errno, "cannot write %s", path);
        int r = write_and_rename(dirfd, temp, path, fd, data, len, sync);
        if (r < 0) {
                (void) unlinkat(dirfd, temp, 0);
                return error_errno(err, r, "cannot write %s", path);
        }
        return 0;
}

int file_mkdirs(const char *path, mode_t mode, struct error *err) {
        _cleanup_free_ char *copy = xstrdup(path);
        struct stat st;

        for (char *p = copy + 1;; p++) {
                char c = *p;

                if (c != '/' && c != '\0')
                        continue;
                *p = '\0';
                if (mkdir(copy, mode) < 0 && errno != EEXIST)
                        return error_errno(err, errno, "cannot make the folder %s", copy);
                *p = c;
                if (c == '\0')
                        break;
        }
        if (stat(path, &st) < 0)
                return error_errno(err, errno, "cannot use the folder %s", path);
        if (!S_ISDIR(st.st_mode))
                return error_set(err, -ENOTDIR, "%s is not a folder", path);
        return 0;
}

static int remove_entries(DIR *dir, struct error *err) {
        struct dirent *e;

        while ((e = readdir(dir))) {
                if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
                        continue;
                int r = file_remove_tree(dirfd(dir), e->d_name, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

int file_remove_tree(int dirfd, const char *path, struct error *err) {
        if (unlinkat(dirfd, path, 0) == 0 || errno == ENOENT)
                return 0;
        if (errno != EISDIR && errno != EPERM)
                return error_errno(err, errno, "cannot remove %s", path);

        int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return error_errno(err, errno, "cannot remove %s", path);
        DIR *dir = fdopendir(fd);
        if (!dir) {
                close(fd);
                return error_errno(err, errno, "cannot remove %s", path);
        }
        int r = remove_entries(dir, err);
        closedir(dir);
        if (r < 0)
                return r;
        if (unlinkat(dirfd, path, AT_REMOVEDIR) < 0 && errno != ENOENT)
                return error_errno(err, errno, "cannot remove %s", path);
        return 0;
}

int file_lock(const char *path, int *ret_fd, struct error *err) {
        struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
        _cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

        if (fd < 0)
                return error_errno(err, errno, "cannot open %s", path);
        if (fcntl(fd, F_OFD_SETLK, &lock) < 0) {
                if (errno == EAGAIN || errno == EACCES)
                        return error_set(err, -EAGAIN, "%s is locked by another process", path);
                return error_errno(err, errno, "cannot lock %s", path);
        }
        *ret_fd = TAKE_FD(fd);
        return 0;
}

int file_identity(int dirfd, const char *path, char **ret) {
        union {
                struct file_handle handle;
                char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
        } u = { .handle.handle_bytes = MAX_HANDLE_SZ };
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        struct statx st;
        int mount;

        if (statx(dirfd, path, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, STATX_INO | STATX_BTIME, &st) < 0)
                return -errno;
        strbuf_addf(&b, "%x:%x:%llx:", st.stx_dev_major, st.stx_dev_minor, (unsigned long long) st.stx_ino);
        if (name_to_handle_at(dirfd, path, &u.handle, &mount, AT_EMPTY_PATH) == 0)
                for (unsigned i = 0; i < u.handle.handle_bytes; i++)
                        strbuf_addf(&b, "%02x", u.handle.f_handle[i]);
        else if (st.stx_mask & STATX_BTIME)
                strbuf_addf(&b, "%lld.%09u", (long long) st.stx_btime.tv_sec, st.stx_btime.tv_nsec);
        *ret = strbuf_take(&b);
        return 0;
}

int file_link(int fd, int folder, const char *name) {
        char self[40];

        snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
        return linkat(AT_FDCWD, self, folder, name, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
}
