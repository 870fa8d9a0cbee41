/* The journal's kinds of entries. An entry is written before its effect and struck after its undo; each undo
 * may find the effect not there. */
#include "vm/machine.h"

#include "base/file.h"
#include "base/log.h"
#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* 0: undone; 1: goes on later, undo_continue(); negative: it cannot be undone. */
struct undo_kind {
        const char *name;
        int (*undo)(struct vm *vm, const json_t *args, struct error *err);
};

/* A symlink of ours: only if it still says what we wrote. */
static int undo_link(struct vm *vm, const json_t *args, struct error *err) {
        const char *path = json_get_str(args, "path", NULL), *target = json_get_str(args, "target", NULL);
        char now[4096];

        if (!path || !target)
                return 0;
        ssize_t n = readlink(path, now, sizeof(now) - 1);
        if (n < 0)
                return 0;
        now[n] = '\0';
        if (str_eq(now, target) && unlink(path) < 0 && errno != ENOENT)
                return error_errno(err, errno, "cannot remove the link %s", path);
        return 0;
}

/* Sockets of the run-time and instance folders, shared memory. With an identity only the file that has it:
 * another one under that path is somebody else's. */
static int undo_file(struct vm *vm, const json_t *args, struct error *err) {
        const char *path = json_get_str(args, "path", NULL), *wanted = json_get_str(args, "identity", NULL);
        _cleanup_free_ char *now = NULL;

        if (path && wanted && (file_identity(AT_FDCWD, path, &now) < 0 || !str_eq(now, wanted)))
                return 0;
        if (path && unlink(path) < 0 && errno != ENOENT)
                return error_errno(err, errno, "cannot remove %s", path);
        return 0;
}

/* A folder of ours, if nothing of somebody else's is in it. */
static int undo_folder(struct vm *vm, const json_t *args, struct error *err) {
        const char *path = json_get_str(args, "path", NULL);

        if (path && rmdir(path) < 0 && errno != ENOENT && errno != ENOTEMPTY && errno != EEXIST)
                return error_errno(err, errno, "cannot remove the folder %s", path);
        return 0;
}

/* What libjack leaves in /dev/shm: its own memory of a user that will not come back, and sockets of a QEMU
 * that was killed. Only what belongs to the VM's number. */
static int undo_jack(struct vm *vm, const json_t *args, struct error *err) {
        int64_t uid = json_get_int(args, "uid", -1);
        DIR *dir = opendir("/dev/shm");
        struct dirent *e;
        struct stat st;
        int r = 0;

        if (!dir)
                return 0;
        while ((e = readdir(dir))) {
                if (!str_starts(e->d_name, "jack") ||
                    fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
                    (int64_t) st.st_uid != uid)
                        continue;
                int one = S_ISDIR(st.st_mode) ? file_remove_tree(dirfd(dir), e->d_name, NULL) :
                          unlinkat(dirfd(dir), e->d_name, 0) == 0 ? 0 :
                                                                    -errno;
                r = MIN(r, one);
        }
        closedir(dir);
        return r < 0 ? error_errno(err, r, "cannot remove what JACK left in /dev/shm") : 0;
}

static const struct undo_kind kinds[] = {
        { "file", undo_file }, { "folder", undo_folder },   { "device", devices_give_back },
        { "link", undo_link }, { "acl", access_take_back }, { "jack", undo_jack },
};

int undo_open(struct vm *vm, struct error *err) {
        _cleanup_free_ char *dir = plan_runtime_dir(vm->env->settings, vm->name);

        return vm->journal ? 0 : journal_open(dir, "journal", &vm->journal, err);
}

int undo_add(struct vm *vm, const char *kind, json_t *args, struct error *err) {
        uint64_t id;
        int r = undo_open(vm, err);

        if (r < 0) {
                json_decref(args);
                return r;
        }
        if (vm->op.unit)
                json_put_int(args, "unit", vm->op.unit);
        r = journal_add(vm->journal, kind, args, &id, err);
        if (r >= 0)
                vm->undo_last = id;
        return r;
}

void undo_drop(struct vm *vm) {
        if (vm->journal)
                (void) journal_strike(vm->journal, vm->undo_last, NULL);
}

static void undo_failed(struct vm *vm, const char *sentence) {
        char *joined = vm->undo_note ? xasprintf("%s; %s", vm->undo_note, sentence) : xstrdup(sentence);

        vm_warn(vm, "%s", sentence);
        free(vm->undo_note);
        vm->undo_note = joined;
}

/* The newest open entry, of the unit if one is given. */
struct newest {
        unsigned unit;
        uint64_t id;
        char *kind;   /* owned */
        json_t *args; /* owned */
};

static int newest_take(uint64_t id, const char *kind, const json_t *args, void *data) {
        struct newest *n = data;

        if (n->kind || (n->unit && json_get_int(args, "unit", 0) != n->unit))
                return 0;
        n->id = id;
        n->kind = xstrdup(kind);
        n->args = json_incref((json_t *) args);
        return 0;
}

static void newest_done(struct newest *n) {
        free(n->kind);
        json_decref(n->args);
}

static const struct undo_kind *kind_find(const char *name) {
        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
                if (str_eq(name, kinds[i].name))
                        return &kinds[i];
        return NULL;
}

/* An undo that failed is said and not tried again: its entry goes too. */
static void entry_end(struct vm *vm, uint64_t id, const char *kind, const struct error *failed) {
        _cleanup_error_ struct error err = ERROR_INIT;

        test_kill("undo", kind, "after");
        if (failed && failed->code)
                undo_failed(vm, error_text(failed));
        if (journal_strike(vm->journal, id, &err) < 0)
                vm_warn(vm, "%s", error_text(&err));
}

/* True: all wanted entries are gone; false: an undo goes on later. */
static bool unwind(struct vm *vm) {
        for (;;) {
                _cleanup_(newest_done) struct newest n = { .unit = vm->undo_unit };
                _cleanup_error_ struct error err = ERROR_INIT;

                if (vm->journal)
                        (void) journal_open_entries(vm->journal, newest_take, &n, NULL);
                if (!n.kind)
                        break;
                const struct undo_kind *kind = kind_find(n.kind);
                test_kill("undo", n.kind, "before");
                int r = kind ? kind->undo(vm, n.args, &err) :
                               error_set(&err, -EINVAL, "the journal has an entry of an unknown kind \"%s\"",
                                         n.kind);
                if (r > 0) {
                        vm->undo_id = n.id;
                        vm->undo_kind = kind->name;
                        return false;
                }
                entry_end(vm, n.id, n.kind, r < 0 ? &err : NULL);
        }
        return true;
}

static void unwind_rest(struct vm *vm) {
        if (!unwind(vm))
                return;
        if (vm->undo_unit) {
                vm->undo_unit = 0;
                step_finish(vm, NULL);
                return;
        }
        journal_close(vm->journal);
        vm->journal = NULL;
        end_finish(vm);
}

void undo_continue(struct vm *vm, const struct error *err) {
        entry_end(vm, vm->undo_id, TAKE_PTR(vm->undo_kind), err);
        unwind_rest(vm);
}

int undo_unit(struct vm *vm, unsigned unit) {
        _cleanup_error_ struct error err = ERROR_INIT;

        if (undo_open(vm, &err) < 0)
                vm_warn(vm, "what is to be given back is not known: %s", error_text(&err));
        vm->undo_unit = unit;
        if (!unwind(vm))
                return 1;
        vm->undo_unit = 0;
        return 0;
}

void undo_all(struct vm *vm) {
        _cleanup_error_ struct error err = ERROR_INIT;

        /* One that goes on, for devices that were just detached, goes on with the rest. */
        vm->undo_unit = 0;
        if (vm->undo_kind)
                return;
        if (vm->recorded && undo_open(vm, &err) < 0)
                vm_warn(vm, "what this start took cannot all be given back: %s", error_text(&err));
        unwind_rest(vm);
}

void undo_steps(void (*fn)(const char *table, const char *step, void *data), void *data) {
        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
                fn("undo", kinds[i].name, data);
}
