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

static int perms_get(acl_entry_t entry) {
        acl_permset_t perms;
        int all = 0;

        if (acl_get_permset(entry, &perms) < 0)
                return -errno;
        for (int bit = ACL_EXECUTE; bit <= ACL_READ; bit <<= 1)
                all |= acl_get_perm(perms, (acl_perm_t) bit) > 0 ? bit : 0;
        return all;
}

static int perms_set(acl_entry_t entry, int wanted) {
        acl_permset_t perms;

        if (acl_get_permset(entry, &perms) < 0 || acl_clear_perms(perms) < 0)
                return -errno;
        for (int bit = ACL_EXECUTE; bit <= ACL_READ; bit <<= 1)
                if (wanted & bit && acl_add_perm(perms, (acl_perm_t) bit) < 0)
                        return -errno;
        return 0;
}

/* What a list has beside the users' entries. */
struct list {
        acl_entry_t mask, group; /* NULL: none */
        bool named;
        int needed; /* what a mask must let through, for no entry to lose by it */
};

static void list_read(acl_t acl, struct list *ret) {
        acl_entry_t entry;

        *ret = (struct list){ 0 };
        for (int which = ACL_FIRST_ENTRY; acl_get_entry(acl, which, &entry) == 1; which = ACL_NEXT_ENTRY) {
                acl_tag_t tag = 0;

                (void) acl_get_tag_type(entry, &tag);
                if (tag == ACL_MASK)
                        ret->mask = entry;
                if (tag == ACL_GROUP_OBJ)
                        ret->group = entry;
                if (tag == ACL_USER || tag == ACL_GROUP)
                        ret->named = true;
                if (tag == ACL_USER || tag == ACL_GROUP || tag == ACL_GROUP_OBJ)
                        ret->needed |= MAX(perms_get(entry), 0);
        }
}

/* The mask gets no wider than this entry needs: it may be narrow for the sake of others. */
static int entry_allow(acl_t *acl, uid_t uid, int wanted) {
        acl_entry_t entry = entry_find(*acl, uid), mask;
        struct list list;

        list_read(*acl, &list);
        int before = list.mask ? perms_get(list.mask) : list.group ? perms_get(list.group) : 0;
        if (!entry && (acl_create_entry(acl, &entry) < 0 || acl_set_tag_type(entry, ACL_USER) < 0 ||
                       acl_set_qualifier(entry, &uid) < 0))
                return -errno;
        int r = perms_set(entry, perms_get(entry) | wanted);
        if (r < 0 || before < 0)
                return MIN(r, before);
        list_read(*acl, &list); /* a new entry may have moved them */
        mask = list.mask;
        if (!mask && (acl_create_entry(acl, &mask) < 0 || acl_set_tag_type(mask, ACL_MASK) < 0))
                return -errno;
        return perms_set(mask, before | wanted);
}

/* A mask without named entries would only narrow the group: it goes with the last of them. */
static int mask_fit(acl_t *acl, int wanted) {
        struct list list;

        list_read(*acl, &list);
        if (!list.mask || wanted == ACL_MASK_LEAVE)
                return 0;
        if (wanted >= 0)
                return perms_set(list.mask, wanted);
        if (list.named)
                return perms_set(list.mask, list.needed);
        return acl_delete_entry(*acl, list.mask) < 0 ? -errno : 0;
}

/* What is looked at is what gets the list, also when somebody puts something else at the path meanwhile. */
static int node_open(const char *path, bool server, struct stat *ret_st, struct error *err) {
        _cleanup_close_ int fd = open(path, O_PATH | O_CLOEXEC);

        if (fd < 0 || fstat(fd, ret_st) < 0)
                return error_errno(err, errno, "cannot give the VM access to %s", path);
        if (server && !S_ISSOCK(ret_st->st_mode))
                return error_set(err, -ENOTSOCK, "%s is no socket: vore changes no access list of a file",
                                 path);
        if (!server && !S_ISCHR(ret_st->st_mode) && !S_ISBLK(ret_st->st_mode))
                return error_set(err, -EINVAL, "%s is no device node: vore changes no access list of a file",
                                 path);
        return TAKE_FD(fd);
}

static int look(int fd, const char *path, uid_t uid, struct acl_before *ret, struct error *err) {
        _cleanup_free_ char *node = xasprintf("/proc/self/fd/%d", fd);
        _cleanup_(acl_freep) acl_t acl = acl_get_file(node, ACL_TYPE_ACCESS);
        struct list list;

        if (!acl && errno != ENOTSUP)
                return error_errno(err, errno, "cannot read the access list of %s", path);
        *ret = (struct acl_before){ -1, ACL_MASK_AS_NEEDED };
        if (!acl)
                return 0;
        acl_entry_t entry = entry_find(acl, uid);
        list_read(acl, &list);
        if (entry)
                ret->user = perms_get(entry);
        if (list.mask && (!list.named || perms_get(list.mask) != list.needed))
                ret->mask = perms_get(list.mask);
        return 0;
}

int acl_look(const char *path, uid_t uid, struct acl_before *ret, struct error *err) {
        struct stat st;
        _cleanup_close_ int fd = node_open(path, false, &st, err);

        return fd < 0 ? fd : look(fd, path, uid, ret, err);
}

int acl_look_socket(const char *path, uid_t uid, struct acl_before *ret, struct error *err) {
        struct stat st;
        _cleanup_close_ int fd = node_open(path, true, &st, err);

        return fd < 0 ? fd : look(fd, path, uid, ret, err);
}

static int grant(int fd, const char *path, mode_t mode, uid_t uid, int wanted, struct error *err) {
        _cleanup_free_ char *node = xasprintf("/proc/self/fd/%d", fd);
        _cleanup_(acl_freep) acl_t acl = acl_get_file(node, ACL_TYPE_ACCESS);
        int r = acl ? 0 : -errno;
        if (((int) mode & wanted) == wanted && !(acl && entry_find(acl, uid)))
                return 0;
        if (r >= 0)
                r = entry_allow(&acl, uid, wanted);
        if (r >= 0 && acl_set_file(node, ACL_TYPE_ACCESS, acl) < 0)
                r = -errno;
        return r < 0 ? error_errno(err, r, "cannot give the VM access to %s", path) : 0;
}

int acl_grant(const char *path, uid_t uid, bool write, struct error *err) {
        struct stat st;
        _cleanup_close_ int fd = node_open(path, false, &st, err);

        return fd < 0 ? fd : grant(fd, path, st.st_mode, uid, ACL_READ | (write ? ACL_WRITE : 0), err);
}

int acl_grant_socket(const char *path, uid_t uid, struct error *err) {
        struct stat st;
        _cleanup_close_ int fd = node_open(path, true, &st, err);

        return fd < 0 ? fd : grant(fd, path, st.st_mode, uid, ACL_WRITE, err);
}

/* False: it is not in the list, and nothing of the list is ours. */
static bool entry_restore(acl_t acl, uid_t uid, int user, int *ret) {
        acl_entry_t entry = entry_find(acl, uid);

        if (!entry)
                return false;
        if (user >= 0)
                *ret = perms_set(entry, user);
        else
                *ret = acl_delete_entry(acl, entry) < 0 ? -errno : 0;
        return true;
}

/* Whatever is at the path by now: only what can have been given access by vore is looked at, and only a list
 * with an entry of the VM's is touched. */
int acl_restore(const char *path, uid_t uid, const struct acl_before *before, struct error *err) {
        _cleanup_close_ int fd = open(path, O_PATH | O_CLOEXEC);
        _cleanup_free_ char *node = xasprintf("/proc/self/fd/%d", fd);
        struct stat st;
        int r = 0;

        if (fd < 0 || fstat(fd, &st) < 0 ||
            (!S_ISSOCK(st.st_mode) && !S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode)))
                return 0;
        _cleanup_(acl_freep) acl_t acl = acl_get_file(node, ACL_TYPE_ACCESS);
        if (!acl)
                return errno == ENOTSUP ? 0 :
                                          error_errno(err, errno, "cannot read the access list of %s", path);
        if (!entry_restore(acl, uid, before->user, &r))
                return 0;
        if (r >= 0)
                r = mask_fit(&acl, before->mask);
        if (r >= 0 && acl_set_file(node, ACL_TYPE_ACCESS, acl) < 0)
                r = -errno;
        return r < 0 ? error_errno(err, r, "cannot take the VM's access to %s back", path) : 0;
}
