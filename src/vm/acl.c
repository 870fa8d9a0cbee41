#include "vm/machine.h"

#include "base/str.h"

#include <acl/libacl.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/acl.h>
#include <sys/stat.h>

static void acl_freep(acl_t *acl) {
        if (*acl)
                acl_free(*acl);
}

/* The named user's entry in acl, or NULL. */
static acl_entry_t entry_find(acl_t acl, uid_t uid) {
        acl_entry_t entry;

        for (int which = ACL_FIRST_ENTRY; acl_get_entry(acl, which, &entry) == 1; which = ACL_NEXT_ENTRY) {
                acl_tag_t tag;

                if (acl_get_tag_type(entry, &tag) < 0 || tag != ACL_USER)
                        continue;
                uid_t *qualifier = acl_get_qualifier(entry);
                uid_t found = qualifier ? *qualifier : (uid_t) -1;
                acl_free(qualifier);
                if (qualifier && found == uid)
                        return entry;
        }
        return NULL;
}

static int entry_allow(acl_t *acl, uid_t uid, bool write) {
        acl_entry_t entry = entry_find(*acl, uid);
        acl_permset_t perms;

        if (!entry && (acl_create_entry(acl, &entry) < 0 || acl_set_tag_type(entry, ACL_USER) < 0 ||
                       acl_set_qualifier(entry, &uid) < 0))
                return -errno;
        if (acl_get_permset(entry, &perms) < 0 || acl_clear_perms(perms) < 0 ||
            acl_add_perm(perms, ACL_READ) < 0 || (write && acl_add_perm(perms, ACL_WRITE) < 0) ||
            acl_calc_mask(acl) < 0)
                return -errno;
        return 0;
}

/* A mask without named entries would only narrow the group: it goes with the last of them. */
static int mask_fit(acl_t *acl) {
        acl_entry_t entry, mask = NULL;
        bool named = false;

        for (int which = ACL_FIRST_ENTRY; acl_get_entry(*acl, which, &entry) == 1; which = ACL_NEXT_ENTRY) {
                acl_tag_t tag = 0;

                (void) acl_get_tag_type(entry, &tag);
                named |= tag == ACL_USER || tag == ACL_GROUP;
                mask = tag == ACL_MASK ? entry : mask;
        }
        if (named)
                return acl_calc_mask(acl);
        return mask ? acl_delete_entry(*acl, mask) : 0;
}

/* What is looked at is what gets the list, also when somebody puts something else at the path meanwhile. */
static int node_open(const char *path, struct stat *ret_st, struct error *err) {
        _cleanup_close_ int fd = open(path, O_PATH | O_CLOEXEC);

        if (fd < 0 || fstat(fd, ret_st) < 0)
                return error_errno(err, errno, "cannot give the VM access to %s", path);
        if (!S_ISCHR(ret_st->st_mode) && !S_ISBLK(ret_st->st_mode))
                return error_set(err, -EINVAL, "%s is no device node: vore changes no access list of a file",
                                 path);
        return TAKE_FD(fd);
}

int acl_grant(const char *path, uid_t uid, bool write, struct error *err) {
        mode_t wanted = write ? 06 : 04;
        struct stat st;
        _cleanup_close_ int fd = node_open(path, &st, err);

        if (fd < 0 || (st.st_mode & wanted) == wanted)
                return MIN(fd, 0);
        _cleanup_free_ char *node = xasprintf("/proc/self/fd/%d", fd);
        _cleanup_(acl_freep) acl_t acl = acl_get_file(node, ACL_TYPE_ACCESS);
        int r = acl ? entry_allow(&acl, uid, write) : -errno;
        if (r >= 0 && acl_set_file(node, ACL_TYPE_ACCESS, acl) < 0)
                r = -errno;
        if (r < 0)
                return error_errno(err, r, "cannot give the VM access to %s", path);
        return 0;
}

int acl_revoke(const char *path, uid_t uid, struct error *err) {
        _cleanup_(acl_freep) acl_t acl = acl_get_file(path, ACL_TYPE_ACCESS);

        if (!acl)
                return errno == ENOENT ? 0 :
                                         error_errno(err, errno, "cannot read the access list of %s", path);
        acl_entry_t entry = entry_find(acl, uid);
        if (!entry)
                return 0;
        /* Without other named users the node gets its plain mode back. */
        if (acl_delete_entry(acl, entry) < 0 || mask_fit(&acl) < 0 ||
            acl_set_file(path, ACL_TYPE_ACCESS, acl) < 0)
                return error_errno(err, errno, "cannot take the VM's access to %s back", path);
        return 0;
}
