#include "base/str.h"
#include "qemu/process-child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int process_drop_groups(gid_t gid, gid_t more, struct error *err) {
        /* The kernel says EINVAL for the first capability that it does not know. */
        for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
                if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
                        return error_errno(err, errno, "cannot drop capability %d from the bounding set",
                                           cap);
        if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
                return error_errno(err, errno, "cannot clear the ambient capabilities");
        /* Inherited bits could keep capabilities over setresuid(). */
        if (prctl(PR_GET_SECUREBITS) != 0 && prctl(PR_SET_SECUREBITS, SECUREBITS_DEFAULT) < 0)
                return error_errno(err, errno, "cannot reset the secure bits");
        if (setgroups(more ? 1 : 0, &more) < 0)
                return error_errno(err, errno, "cannot drop the supplementary groups");
        if (setresgid(gid, gid, gid) < 0)
                return error_errno(err, errno, "cannot become group %u", (unsigned) gid);
        return 0;
}

int process_drop_uid(uid_t uid, struct error *err) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = { 0 };

        if (setresuid(uid, uid, uid) < 0)
                return error_errno(err, errno, "cannot become user %u", (unsigned) uid);
        if (syscall(SYS_capset, &header, sets) < 0)
                return error_errno(err, errno, "cannot drop the capabilities");
        if (syscall(SYS_capget, &header, sets) < 0)
                return error_errno(err, errno, "cannot read the capabilities");
        for (size_t i = 0; i < ARRAY_SIZE(sets); i++)
                if (sets[i].effective || sets[i].permitted || sets[i].inheritable)
                        return error_set(err, -EPERM, "capabilities are left after dropping them");
        for (int cap = 0, has; (has = prctl(PR_CAPBSET_READ, cap, 0, 0, 0)) >= 0; cap++)
                if (has)
                        return error_set(err, -EPERM, "capability %d is left in the bounding set", cap);
        return 0;
}

static void mode_text(mode_t mode, char buf[static 11]) {
        static const char bits[] = "rwxrwxrwx";

        buf[0] = S_ISDIR(mode) ? 'd' : S_ISSOCK(mode) ? 's' : S_ISCHR(mode) ? 'c' : S_ISBLK(mode) ? 'b' : '-';
        for (int i = 0; i < 9; i++)
                buf[i + 1] = mode & (0400 >> i) ? bits[i] : '-';
        buf[10] = '\0';
}

static int blocked(const char *path, const char *component, const char *verb, struct error *err) {
        char mode[11] = "";
        struct stat st;

        if (stat(component, &st) < 0)
                return error_set(err, -EACCES, "user %u cannot reach %s: it may not %s %s",
                                 (unsigned) geteuid(), path, verb, component);
        mode_text(st.st_mode, mode);
        return error_set(err, -EACCES, "user %u cannot reach %s: it may not %s %s (%s, owner %u, group %u)",
                         (unsigned) geteuid(), path, verb, component, mode, (unsigned) st.st_uid,
                         (unsigned) st.st_gid);
}

/* Looks at each folder on the way; the first that may not be entered is the one to name. */
static int walk(const char *path, const char *way, struct error *err) {
        _cleanup_free_ char *part = xstrdup(way);

        for (char *p = part + 1; (p = strchr(p, '/')); p++) {
                *p = '\0';
                if (faccessat(AT_FDCWD, part, X_OK, AT_EACCESS) < 0 && errno == EACCES)
                        return blocked(path, part, "enter", err);
                *p = '/';
        }
        return 0;
}

int process_reach(const char *path, const char *real, struct error *err) {
        struct stat st;

        if (stat(real, &st) < 0) {
                if (errno != EACCES)
                        return error_errno(err, errno, "user %u cannot reach %s", (unsigned) geteuid(), path);
                int r = walk(path, real, err);
                return r < 0 ? r :
                               error_errno(err, EACCES, "user %u cannot reach %s", (unsigned) geteuid(),
                                           path);
        }
        int r = walk(path, path, err);
        if (r < 0)
                return r;
        if (S_ISSOCK(st.st_mode) && faccessat(AT_FDCWD, real, W_OK, AT_EACCESS) < 0)
                return blocked(path, real, "connect to", err);
        if (S_ISDIR(st.st_mode) && faccessat(AT_FDCWD, real, X_OK, AT_EACCESS) < 0)
                return blocked(path, real, "enter", err);
        if (!S_ISSOCK(st.st_mode) && !S_ISDIR(st.st_mode) && faccessat(AT_FDCWD, real, R_OK, AT_EACCESS) < 0)
                return blocked(path, real, "read", err);
        return 0;
}
