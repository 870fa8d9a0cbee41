/* Device nodes of the host, and sockets of sound servers, that QEMU's user may open while its machine is
 * there. Where all machines have one user, several may have the same node: so each looks at what the others'
 * journals say of it. */
#include "vm/machine.h"

#include "base/str.h"

static const struct vm_access *other_find(const struct vm_uses *uses, const char *path, uid_t uid,
                                          bool any_user) {
        for (size_t i = 0; i < uses->n_accesses; i++)
                if (str_eq(uses->accesses[i].path, path) && (any_user || uses->accesses[i].uid == uid))
                        return &uses->accesses[i];
        return NULL;
}

static void others_look(const struct vm *vm, struct vm_uses *ret) {
        if (vm->env->uses)
                vm->env->uses(vm, ret, vm->env->data);
}

/* before: how it was found. */
static int note(struct vm *vm, const char *path, struct acl_before before, struct error *err) {
        _cleanup_uses_ struct vm_uses uses = { 0 };

        others_look(vm, &uses);
        const struct vm_access *same = other_find(&uses, path, vm->uid, false);
        const struct vm_access *any = other_find(&uses, path, vm->uid, true);
        if (same)
                before.user = same->user;
        if (any)
                before.mask = any->mask;
        return undo_add(vm, "acl",
                        json_pack("{s:o, s:I, s:i, s:i}", "path", json_string_lossy(path), "uid",
                                  (json_int_t) vm->uid, "user", before.user, "mask", before.mask),
                        err);
}

int access_give(struct vm *vm, const char *path, bool write, struct error *err) {
        struct acl_before before;
        int r = acl_look(path, vm->uid, &before, err);

        if (r >= 0)
                r = note(vm, path, before, err);
        return r < 0 ? r : acl_grant(path, vm->uid, write, err);
}

int access_give_socket(struct vm *vm, const char *path, struct error *err) {
        struct acl_before before;
        int r = acl_look_socket(path, vm->uid, &before, err);

        if (r >= 0)
                r = note(vm, path, before, err);
        return r < 0 ? r : acl_grant_socket(path, vm->uid, err);
}

int access_take_back(struct vm *vm, const json_t *args, struct error *err) {
        _cleanup_uses_ struct vm_uses uses = { 0 };
        const char *path = json_get_str(args, "path", NULL);
        uid_t uid = (uid_t) json_get_int(args, "uid", -1);
        struct acl_before before = { (int) json_get_int(args, "user", -1),
                                     (int) json_get_int(args, "mask", ACL_MASK_AS_NEEDED) };

        if (!path)
                return 0;
        others_look(vm, &uses);
        if (other_find(&uses, path, uid, false))
                return 0;
        if (before.mask >= 0 && other_find(&uses, path, uid, true))
                before.mask = ACL_MASK_LEAVE;
        return acl_restore(path, uid, &before, err);
}

static int entry_add(uint64_t id, const char *kind, const json_t *args, void *data) {
        struct vm_uses *uses = data;

        if (!str_eq(kind, "acl"))
                return 0;
        uses->accesses = xrealloc(uses->accesses, uses->n_accesses + 1, sizeof(*uses->accesses));
        uses->accesses[uses->n_accesses++] =
                (struct vm_access){ .path = json_get_str(args, "path", ""),
                                    .uid = (uid_t) json_get_int(args, "uid", -1),
                                    .user = (int) json_get_int(args, "user", -1),
                                    .mask = (int) json_get_int(args, "mask", ACL_MASK_AS_NEEDED) };
        return 0;
}

void access_add_uses(const struct vm *vm, struct vm_uses *ret) {
        if (vm->journal)
                (void) journal_open_entries(vm->journal, entry_add, ret, NULL);
}
