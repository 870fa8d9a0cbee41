/* The journal's kinds of entries. An entry is written before its effect and struck after its undo; each undo may
 * find the effect not there. */
#include "vm/machine.h"

#include "base/log.h"
#include "base/str.h"

#include <errno.h>
#include <unistd.h>

struct undo_kind {
        const char *name;
        int (*undo)(struct vm *vm, const json_t *args, struct error *err);
};

static int undo_acl(struct vm *vm, const json_t *args, struct error *err) {
        const char *path = json_get_str(args, "path", NULL);

        return path ? acl_revoke(path, (uid_t) json_get_int(args, "uid", -1), err) : 0;
}

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

/* Sockets of the run-time and instance folders. */
static int undo_file(struct vm *vm, const json_t *args, struct error *err) {
        const char *path = json_get_str(args, "path", NULL);

        if (path && unlink(path) < 0 && errno != ENOENT)
                return error_errno(err, errno, "cannot remove %s", path);
        return 0;
}

static const struct undo_kind kinds[] = {
        { "file", undo_file },
        { "link", undo_link },
        { "acl", undo_acl },
};

static int journal_ready(struct vm *vm, struct error *err) {
        _cleanup_free_ char *dir = plan_runtime_dir(vm->env->settings, vm->name);

        return vm->journal ? 0 : journal_open(dir, "journal", &vm->journal, err);
}

int undo_add(struct vm *vm, const char *kind, json_t *args, struct error *err) {
        uint64_t id;
        int r = journal_ready(vm, err);

        if (r < 0) {
                json_decref(args);
                return r;
        }
        return journal_add(vm->journal, kind, args, &id, err);
}

static int undo_entry(uint64_t id, const char *kind, const json_t *args, void *data) {
        struct vm *vm = data;
        _cleanup_error_ struct error err = ERROR_INIT;

        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
                if (!str_eq(kind, kinds[i].name))
                        continue;
                test_kill("undo", kind, "before");
                int r = kinds[i].undo(vm, args, &err);
                test_kill("undo", kind, "after");
                if (r >= 0)
                        r = journal_strike(vm->journal, id, &err);
                if (r < 0)
                        vm_warn(vm, "%s", error_text(&err));
                return 0;
        }
        vm_warn(vm, "the journal has an entry of an unknown kind \"%s\"", kind);
        return 0;
}

void undo_all(struct vm *vm) {
        _cleanup_error_ struct error err = ERROR_INIT;

        if (journal_ready(vm, &err) < 0 || journal_open_entries(vm->journal, undo_entry, vm, &err) < 0)
                vm_warn(vm, "what this start took cannot all be given back: %s", error_text(&err));
        journal_close(vm->journal);
        vm->journal = NULL;
}

void undo_steps(void (*fn)(const char *table, const char *step, void *data), void *data) {
        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
                fn("undo", kinds[i].name, data);
}
