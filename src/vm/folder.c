/* The instance folder: one per machine, owned by QEMU's user. Its owner is the record of the machine's
 * number. */
#include "vm/machine.h"

#include "base/file.h"
#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

static int cmp_uid(const void *a, const void *b) {
        uid_t x = *(const uid_t *) a, y = *(const uid_t *) b;

        return x < y ? -1 : x > y;
}

/* The lowest number of the range that owns no instance folder. */
static int number_pick(const struct settings *s, uid_t *ret, struct error *err) {
        _cleanup_free_ char *path = xasprintf("%s/instance", s->vore.state_dir);
        _cleanup_free_ uid_t *taken = NULL;
        uid_t first = (uid_t) s->qemu.uid_first, last = (uid_t) s->qemu.uid_last;
        size_t n = 0;
        DIR *dir = opendir(path);
        struct dirent *e;

        if (!dir)
                return error_errno(err, errno, "cannot read %s", path);
        while ((e = readdir(dir))) {
                struct stat st;

                if (fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_uid < first ||
                    st.st_uid > last)
                        continue;
                taken = xrealloc(taken, n + 1, sizeof(*taken));
                taken[n++] = st.st_uid;
        }
        closedir(dir);
        if (n)
                qsort(taken, n, sizeof(*taken), cmp_uid);
        uid_t candidate = first;
        for (size_t i = 0; i < n && taken[i] <= candidate; i++)
                if (taken[i] == candidate)
                        candidate++;
        if (candidate > last)
                return error_set(
                        err, -EUSERS,
                        "all numbers of uids = \"%s\" are taken by instance folders in %s: forget --purge "
                        "machines that are not needed, or widen the range in vored.toml",
                        s->qemu.uids, path);
        *ret = candidate;
        return 0;
}

/* Gives the folder to the machine's number, or finds it there. */
static int owner_set(const struct vm_env *env, int fd, const char *path, const struct stat *st, uid_t *ret,
                     struct error *err) {
        const struct settings *s = env->settings;
        bool ours = st->st_uid >= (uid_t) s->qemu.uid_first && st->st_uid <= (uid_t) s->qemu.uid_last;
        gid_t group = env->group;
        uid_t uid = env->user;

        if (env->separate && ours)
                uid = st->st_uid;
        else if (env->separate) {
                int r = number_pick(s, &uid, err);
                if (r < 0)
                        return r;
        }
        uid_t owner = uid != (uid_t) -1 ? uid : (uid_t) geteuid();
        /* The set-group-ID bit gives what QEMU makes there (the SPICE socket) to the group. */
        if (fchown(fd, owner, group == (gid_t) -1 ? owner == geteuid() ? getegid() : 0 : group) < 0 ||
            fchmod(fd, s->system ? 02750 : 0700) < 0)
                return error_errno(err, errno, "cannot give %s to the VM", path);
        *ret = uid;
        return 0;
}

int vm_folder(const struct vm_env *env, const char *name, uid_t *ret, struct error *err) {
        _cleanup_free_ char *path = plan_instance_dir(env->settings, name);
        struct stat st;

        if (mkdir(path, 0700) < 0 && errno != EEXIST)
                return error_errno(err, errno, "cannot make the instance folder %s", path);
        _cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &st) < 0)
                return error_errno(err, errno, "cannot use the instance folder %s", path);
        return owner_set(env, fd, path, &st, ret, err);
}

static gid_t gid_of(const struct vm_env *env, uid_t uid) {
        return env->separate ? uid : env->user_group;
}

gid_t vm_gid(const struct vm *vm) {
        return gid_of(vm->env, vm->uid);
}

/* -- the VM's own copies ------------------------------------------------------------------------ */

/* Opens the folder of target (relative, no ".."), making what is missing. *ret_name points into target. */
static int copy_folder(int dir, const char *target, int *ret_fd, const char **ret_name, struct error *err) {
        _cleanup_close_ int fd = dup(dir);
        const char *p = target, *slash;

        while (fd >= 0 && (slash = strchr(p, '/'))) {
                _cleanup_free_ char *part = strndup(p, (size_t) (slash - p));

                p = slash + 1;
                if (str_empty(part) || str_eq(part, "."))
                        continue;
                if (str_eq(part, ".."))
                        return error_set(err, -EINVAL, "the copy %s would leave the instance folder", target);
                if (mkdirat(fd, part, 0700) < 0 && errno != EEXIST)
                        return error_errno(err, errno, "cannot make the folder %s of the VM's copies", part);
                int next = openat(fd, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                close(fd);
                fd = next;
        }
        if (fd < 0)
                return error_errno(err, errno, "cannot use the folder of the VM's copy %s", target);
        if (str_empty(p) || str_eq(p, ".") || str_eq(p, ".."))
                return error_set(err, -EINVAL, "the copy \"%s\" has no file name", target);
        *ret_fd = TAKE_FD(fd);
        *ret_name = p;
        return 0;
}

static int copy_data(int from, int to) {
        char buffer[64 * 1024];
        ssize_t n;

        while ((n = read(from, buffer, sizeof(buffer))) > 0) {
                int r = file_write_all(to, buffer, (size_t) n);
                if (r < 0)
                        return r;
        }
        return n < 0 ? -errno : fsync(to) < 0 ? -errno : 0;
}

/* A file without a name, or where there is no such thing one with a name of our own. */
static int copy_new(int folder, const char *temp, int *ret_fd) {
        int fd = openat(folder, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);

        if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR)) {
                *ret_fd = fd;
                return fd < 0 ? -errno : 0;
        }
        (void) unlinkat(folder, temp, 0);
        *ret_fd = openat(folder, temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        return *ret_fd < 0 ? -errno : 1;
}

/* For file systems without hard links (vfat, some FUSE). Only where there is no way to say so it would
 * replace what another worker made in this moment. */
static int name_it(int folder, const char *temp, const char *name) {
        if (linkat(folder, temp, folder, name, 0) == 0)
                return 0;
        if (errno != EPERM && errno != EOPNOTSUPP && errno != ENOSYS)
                return -errno;
        if (renameat2(folder, temp, folder, name, RENAME_NOREPLACE) == 0)
                return 0;
        return errno == EINVAL && renameat(folder, temp, folder, name) == 0 ? 0 : -errno;
}

/* Whole or not at all; what is there already stays, also what another worker just made. */
static int copy_one(int dir, int source, const struct script_copy *copy, struct error *err) {
        _cleanup_close_ int folder = -1, fd = -1;
        const char *name = NULL;
        int r = copy_folder(dir, copy->target, &folder, &name, err);

        if (r < 0)
                return r;
        if (faccessat(folder, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
                return 0;
        _cleanup_free_ char *temp = xasprintf("%s.%d.tmp", name, (int) getpid());
        int named = copy_new(folder, temp, &fd);
        r = named < 0 ? named : copy_data(source, fd);
        if (r >= 0 && !named)
                r = file_link(fd, folder, name);
        else if (r >= 0)
                r = name_it(folder, temp, name);
        if (r == -EEXIST)
                r = 0;
        if (named > 0)
                (void) unlinkat(folder, temp, 0);
        return r < 0 ? error_errno(err, r, "cannot copy %s to the VM's own %s", copy->source, copy->target) :
                       0;
}

/* Opens each template with the rights that we have, then writes the copies as uid, as the instance folder
 * belongs to the VM. uid -1: as we are. */
static int copies_make(const char *path, const struct plan *p, uid_t uid, gid_t gid, struct error *err) {
        _cleanup_close_ int dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        _cleanup_free_ int *sources = xcalloc(p->n_copies + 1, sizeof(int));
        int r = 0;

        if (dir < 0)
                return error_errno(err, errno, "cannot use the instance folder %s", path);
        for (size_t i = 0; i < p->n_copies; i++) {
                sources[i] = open(p->copies[i].source, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
                if (sources[i] < 0)
                        return error_errno(err, errno, "cannot read %s, from which the VM gets its own copy",
                                           p->copies[i].source);
        }
        if (uid != (uid_t) -1 &&
            (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0))
                return error_errno(err, errno, "cannot become the VM's user %u", uid);
        for (size_t i = 0; r >= 0 && i < p->n_copies; i++)
                r = copy_one(dir, sources[i], &p->copies[i], err);
        return r;
}

int folder_copy_work(void *data, int report_fd, json_t **ret, struct error *err) {
        struct vm *vm = data;
        _cleanup_free_ char *path = plan_instance_dir(vm->env->settings, vm->name);

        *ret = json_null();
        return copies_make(path, vm->plan, vm->uid, vm_gid(vm), err);
}

int vm_copies(const struct vm_env *env, const struct plan *plan, uid_t uid, struct error *err) {
        _cleanup_free_ char *path = plan_instance_dir(env->settings, plan->name);

        return copies_make(path, plan, uid, gid_of(env, uid), err);
}
