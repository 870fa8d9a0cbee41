/* What belongs to other users and QEMU needs: opened as them, so that no link of theirs leads further than
 * they could go themselves. */
#include "qemu/process-child.h"

#include "base/file.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { COPY_MAX = 4096 };

/* Another file-system user than root has none of root's rights over files (capabilities(7)); our groups stay,
 * which is why the owner is looked at as well. */
int process_open_as(const char *path, int flags, uid_t uid, struct error *err) {
        struct stat st;

        (void) setfsuid(uid);
        bool become = (uid_t) setfsuid(uid) == uid;
        _cleanup_close_ int fd = become ? open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC) : -1;
        int saved = become ? errno : EPERM;
        (void) setfsuid(geteuid());

        if (fd < 0)
                return error_errno(err, saved, "cannot open %s as user %u", path, (unsigned) uid);
        if (fstat(fd, &st) < 0)
                return error_errno(err, errno, "cannot look at %s", path);
        if (st.st_uid != uid)
                return error_set(err, -EPERM, "%s is not user %u's any more, but user %u's", path,
                                 (unsigned) uid, (unsigned) st.st_uid);
        return TAKE_FD(fd);
}

static int copy_text(const struct process_copy *copy, char **ret, size_t *ret_len, struct error *err) {
        for (size_t i = 0; i < copy->n_places; i++) {
                _cleanup_error_ struct error none = ERROR_INIT;
                _cleanup_close_ int fd = process_open_as(copy->places[i], O_RDONLY, copy->as, &none);
                struct stat st;

                if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
                        return file_read_fd(fd, COPY_MAX, ret, ret_len, err);
        }
        *ret = NULL;
        *ret_len = 0;
        return 0;
}

int process_copy(const struct process_copy *copy, uid_t uid, struct error *err) {
        _cleanup_close_ int fd = memfd_create("copy", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        _cleanup_free_ char *text = NULL;
        size_t len;
        int r = copy_text(copy, &text, &len, err);

        if (r < 0)
                return error_prefix(err, "cannot read %s", copy->places[0]);
        if (fd < 0 || file_write_all(fd, text, len) < 0 ||
            fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0 ||
            fchmod(fd, 0400) < 0 || fchown(fd, uid, (gid_t) -1) < 0)
                return error_errno(err, errno, "cannot make a copy of %s", copy->places[0]);
        return TAKE_FD(fd);
}
