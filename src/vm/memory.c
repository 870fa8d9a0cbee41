/* Memory that guest and host share, as files: made before QEMU, for its user and the group, and gone at the
 * VM's end. A new file is zero, so nothing of the VM before is in it. Filling one takes time: a worker's. */
#include "vm/machine.h"

#include "base/file.h"
#include "base/size.h"
#include "base/str.h"
#include "host/host.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { MAKE_DEADLINE_MS = 60 * 1000 };

/* -- folders: /dev/shm is everybody's ---------------------------------------------------------------- */

/* A folder of vored's, closed to others' writing: -EPERM for one that somebody else made. *ret_fd is owned.
 */
static int folder_open(int dir, const char *name, int *ret_fd) {
        _cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        struct stat st;

        if (fd < 0)
                return errno == ELOOP || errno == ENOTDIR || errno == EACCES ? -EPERM : -errno;
        if (fstat(fd, &st) < 0 || st.st_uid != geteuid() || (st.st_mode & 022))
                return -EPERM;
        *ret_fd = TAKE_FD(fd);
        return 0;
}

/* Makes name in dir, or finds it there. */
static int folder_make(int dir, const char *name, const char *path, mode_t mode, int *ret_fd,
                       struct error *err) {
        _cleanup_close_ int fd = -1;

        if (mkdirat(dir, name, 0700) < 0 && errno != EEXIST)
                return error_errno(err, errno, "cannot make the folder %s for shared memory", path);
        int r = folder_open(dir, name, &fd);
        if (r == -EPERM)
                return error_set(
                        err, -EPERM,
                        "%s is not a folder of vored's: somebody else made it, it is not used (rm -r %s, "
                        "then start again)",
                        path, path);
        if (r < 0 || fchmod(fd, mode) < 0)
                return error_errno(err, r < 0 ? r : errno, "cannot use %s for shared memory", path);
        *ret_fd = TAKE_FD(fd);
        return 0;
}

static mode_t folder_mode(const struct settings *s) {
        return s->system ? 0711 : 0700;
}

/* The folder that the VMs' own ones are in. Others pass through: the files say who may open them. */
static int base_folder(const struct settings *s, int *ret_fd, struct error *err) {
        return folder_make(AT_FDCWD, s->shm_dir, s->shm_dir, folder_mode(s), ret_fd, err);
}

static int own_folder(const struct settings *s, int base, const char *name, struct error *err) {
        _cleanup_free_ char *path = plan_shm_dir(s, name);
        _cleanup_close_ int fd = -1;

        return folder_make(base, name, path, folder_mode(s), &fd, err);
}

void memory_discard(struct vm *vm) {
        _cleanup_close_ int base = -1;

        if (folder_open(AT_FDCWD, vm->env->settings->shm_dir, &base) >= 0)
                (void) file_remove_tree(base, vm->name, NULL);
}

/* -- one file: its name here, its content in a worker ----------------------------------------------- */

struct make {
        const struct plan_memory *memory;
        dev_t dev;
        ino_t ino;
        uid_t uid;   /* -1: leave */
        gid_t group; /* -1: nobody else's */
};

static int check_room(const struct plan_memory *m, int fd, struct error *err) {
        struct host_memory host = { 0 };
        struct host *h = NULL;
        struct statfs fs;
        char need[32];

        size_print(m->size, need);
        if (fstatfs(fd, &fs) == 0 && (uint64_t) fs.f_bavail * (uint64_t) fs.f_bsize < m->size)
                return error_set(
                        err, -ENOSPC,
                        "%s needs %s, but its file system has only %" PRIu64 " MiB free (df -h %s; mount -o "
                        "remount,size=... /dev/shm makes that one larger)",
                        m->path, need, (uint64_t) fs.f_bavail * (uint64_t) fs.f_bsize >> 20, m->path);
        if (host_open(NULL, &h, NULL) >= 0 && host_memory(h, &host, NULL) >= 0 && host.available < m->size) {
                host_free(h);
                return error_set(err, -ENOMEM,
                                 "%s needs %s, but the host has only %" PRIu64 " MiB of memory available",
                                 m->path, need, host.available >> 20);
        }
        host_free(h);
        return 0;
}

/* All of it is taken now: where it was missing later, QEMU would be ended by SIGBUS. */
static int fill_work(void *data, int report_fd, json_t **ret, struct error *err) {
        const struct make *k = data;
        const struct plan_memory *m = k->memory;
        off_t size = (off_t) m->size;
        struct stat st;
        _cleanup_close_ int fd = open(m->path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

        *ret = json_null();
        if (fd < 0 || fstat(fd, &st) < 0)
                return error_errno(err, errno, "cannot open the shared memory %s", m->path);
        if (st.st_dev != k->dev || st.st_ino != k->ino)
                return error_set(err, -ESTALE, "the shared memory %s was replaced while it was made",
                                 m->path);
        int r = check_room(m, fd, err);
        if (r < 0)
                return r;
        r = fallocate(fd, 0, 0, size) < 0 ? -errno : 0;
        if (r == -EOPNOTSUPP)
                r = ftruncate(fd, size) < 0 ? -errno : 0;
        if (r < 0)
                return error_errno(err, r, "cannot make the shared memory %s with %" PRIu64 " bytes", m->path,
                                   m->size);
        if (fchown(fd, k->uid, k->group) < 0 || fchmod(fd, k->group == (gid_t) -1 ? 0600 : 0660) < 0)
                return error_errno(err, errno, "cannot give the shared memory %s to the VM", m->path);
        return 0;
}

/* An empty file under the path, in the journal before it is there: until it has its name it is none that
 * anybody could find, and the entry says which one it is. The name comes and goes by the daemon alone: a
 * worker that is killed leaves none behind. */
static int make_name(struct vm *vm, int folder, const struct plan_memory *m, struct stat *ret_st,
                     struct error *err) {
        _cleanup_close_ int fd = openat(folder, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        _cleanup_free_ char *identity = NULL;
        int r;

        if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR))
                return error_set(
                        err, -EOPNOTSUPP,
                        "the file system of %s is not one for shared memory (no O_TMPFILE): give mem-path a "
                        "place on tmpfs or on a local disk",
                        m->path);
        r = fd < 0 || fstat(fd, ret_st) < 0 ? -errno : file_identity(fd, "", &identity);
        if (r < 0)
                return error_errno(err, r, "cannot make the shared memory %s", m->path);
        json_t *entry = json_pack("{s:o, s:s}", "path", json_string_lossy(m->path), "identity", identity);
        r = undo_add(vm, "file", entry, err);
        if (r < 0)
                return r;
        test_kill("start", "memory-file", "before");
        r = file_link(fd, folder, strrchr(m->path, '/') + 1);
        if (r < 0) {
                (void) error_errno(err, r, "cannot make the shared memory %s", m->path);
                undo_drop(vm); /* what may be there is somebody else's */
                return err->code;
        }
        return 0;
}

static int make_file(struct vm *vm, const struct plan_memory *m, struct stat *ret_st, struct error *err) {
        const char *name = strrchr(m->path, '/') + 1;
        _cleanup_free_ char *dir = xasprintf("%.*s", (int) (name - m->path), m->path);
        _cleanup_close_ int folder =
                open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (m->own ? O_NOFOLLOW : 0));

        if (folder < 0)
                return error_errno(err, errno, "cannot use the folder %s for shared memory", dir);
        /* What a command by hand left in our own folder. */
        if (m->own && unlinkat(folder, name, 0) < 0 && errno != ENOENT)
                return error_errno(err, errno, "cannot remove the old %s", m->path);
        return make_name(vm, folder, m, ret_st, err);
}

/* -- the step ---------------------------------------------------------------------------------------- */

static int make_next(struct vm *vm, struct error *err);

static void made(const json_t *result, const struct error *err, pid_t stuck, void *data) {
        struct vm *vm = data;
        _cleanup_error_ struct error failed = ERROR_INIT;

        vm->work = NULL;
        test_kill("start", "memory-file", "after");
        if (!result) {
                step_finish(vm, err);
                return;
        }
        vm->next_memory++;
        int r = make_next(vm, &failed);
        if (r <= 0)
                step_finish(vm, r < 0 ? &failed : NULL);
}

/* Makes the next file, then has it filled. 0: all are there. */
static int make_next(struct vm *vm, struct error *err) {
        const struct plan *p = vm->plan;
        struct stat st = { 0 };

        while (vm->next_memory < p->n_memories && !p->memories[vm->next_memory].make)
                vm->next_memory++;
        if (vm->next_memory >= p->n_memories)
                return 0;
        const struct plan_memory *m = &p->memories[vm->next_memory];
        int r = make_file(vm, m, &st, err);
        if (r < 0)
                return r;
        struct make k = { m, st.st_dev, st.st_ino, vm->uid,
                          vm->env->settings->system ? vm->env->group : (gid_t) -1 };
        r = work_start(vm->env->loop, "making shared memory", MAKE_DEADLINE_MS, fill_work, &k, made, vm,
                       &vm->work, err);
        return r < 0 ? r : 1;
}

static bool has_own(const struct plan *p) {
        for (size_t i = 0; i < p->n_memories; i++)
                if (p->memories[i].own)
                        return true;
        return false;
}

int memory_make(struct vm *vm, struct error *err) {
        const struct settings *s = vm->env->settings;
        _cleanup_free_ char *folder = plan_shm_dir(s, vm->name);
        _cleanup_close_ int base = -1;
        int r = 0;

        vm->next_memory = 0;
        if (has_own(vm->plan)) {
                r = base_folder(s, &base, err);
                if (r >= 0)
                        r = undo_add(vm, "folder", json_pack("{s:o}", "path", json_string_lossy(folder)),
                                     err);
                if (r >= 0)
                        r = own_folder(s, base, vm->name, err);
        }
        return r < 0 ? r : make_next(vm, err);
}

/* -- by hand ----------------------------------------------------------------------------------------- */

int vm_memory_by_hand(const struct vm_env *env, const struct plan *plan, struct error *err) {
        _cleanup_close_ int base = -1;

        if (!has_own(plan))
                return 0;
        int r = base_folder(env->settings, &base, err);
        if (r >= 0)
                r = file_remove_tree(base, plan->name, err);
        return r < 0 ? r : own_folder(env->settings, base, plan->name, err);
}
