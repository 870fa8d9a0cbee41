/* The access that a VM gets to a device node: given, and taken back so that all is as it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/str.h"
#include "vm/machine.h"

#include <acl/libacl.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/acl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { ONE = 70000, OTHER = 70001 };

static char folder[] = "/tmp/vore-acl.XXXXXX";
static char *path;
static const char *unsupported; /* why; NULL: it works */

static void need_nodes(void) {
        if (!unsupported)
                return;
        print_message("%s\n", unsupported);
        skip();
}

/* "u::rw-,u:70000:rw-,…" */
static char *text(void) {
        acl_t acl = acl_get_file(path, ACL_TYPE_ACCESS);
        char *raw = acl ? acl_to_any_text(acl, NULL, ',', TEXT_ABBREVIATE | TEXT_NUMERIC_IDS) : NULL, *copy;

        assert_non_null(raw);
        copy = xstrdup(raw);
        acl_free(raw);
        acl_free(acl);
        return copy;
}

static void expect(const char *expected) {
        _cleanup_free_ char *now = text();

        assert_string_equal(now, expected);
}

/* A new node: what the last test left is not there. */
static int before(void **state) {
        if (unsupported)
                return 0;
        (void) unlink(path);
        return mknod(path, S_IFCHR | 0600, makedev(1, 3)) < 0 || chmod(path, 0660) < 0 ? -1 : 0;
}

/* A list in the form of setfacl --set: "u::rw-,u:70000:r--,…". */
static void set(const char *list) {
        acl_t acl = acl_from_text(list);

        assert_non_null(acl);
        assert_int_equal(acl_set_file(path, ACL_TYPE_ACCESS, acl), 0);
        acl_free(acl);
}

static void test_grant(void **state) {
        need_nodes();
        assert_int_equal(acl_grant(path, ONE, true, NULL), 0);
        expect("u::rw-,u:70000:rw-,g::rw-,m::rw-,o::---");
        assert_int_equal(acl_grant(path, ONE, true, NULL), 0);
        expect("u::rw-,u:70000:rw-,g::rw-,m::rw-,o::---");
        assert_int_equal(acl_grant(path, OTHER, false, NULL), 0);
        expect("u::rw-,u:70000:rw-,u:70001:r--,g::rw-,m::rw-,o::---");
        /* What somebody may already is not narrowed. */
        assert_int_equal(acl_grant(path, ONE, false, NULL), 0);
        expect("u::rw-,u:70000:rw-,u:70001:r--,g::rw-,m::rw-,o::---");
        assert_int_equal(acl_grant(path, OTHER, true, NULL), 0);
        expect("u::rw-,u:70000:rw-,u:70001:rw-,g::rw-,m::rw-,o::---");
}

/* Whatever the list was, it is again, also if the grant did not happen or the undo happens twice. */
static void test_restore(void **state) {
        static const struct {
                const char *before, *granted;
        } rows[] = {
                { "u::rw-,g::rw-,o::---", "u::rw-,u:70000:rw-,g::rw-,m::rw-,o::---" },
                { "u::rw-,g::---,o::---", "u::rw-,u:70000:rw-,g::---,m::rw-,o::---" },
                /* the user's own, as logind or an administrator gave it */
                { "u::rw-,u:70000:rw-,g::---,m::rw-,o::---", "u::rw-,u:70000:rw-,g::---,m::rw-,o::---" },
                { "u::rw-,u:70000:r--,g::---,m::r--,o::---", "u::rw-,u:70000:rw-,g::---,m::rw-,o::---" },
                { "u::rw-,u:70000:--x,g::---,m::--x,o::---", "u::rw-,u:70000:rwx,g::---,m::rwx,o::---" },
                /* a ban, where everybody else may */
                { "u::rw-,u:70000:---,g::rw-,m::rw-,o::rw-", "u::rw-,u:70000:rw-,g::rw-,m::rw-,o::rw-" },
                { "u::rw-,u:70001:r--,g::r--,m::r--,o::---",
                  "u::rw-,u:70000:rw-,u:70001:r--,g::r--,m::rw-,o::---" },
                /* masks that are narrower or wider than the entries, and one without any */
                { "u::rw-,u:70001:rw-,g::rw-,m::r--,o::---",
                  "u::rw-,u:70000:rw-,u:70001:rw-,g::rw-,m::rw-,o::---" },
                { "u::rw-,u:70000:rw-,g::rw-,m::r--,o::---", "u::rw-,u:70000:rw-,g::rw-,m::rw-,o::---" },
                { "u::rw-,u:70001:r--,g::r--,m::rwx,o::---",
                  "u::rw-,u:70000:rw-,u:70001:r--,g::r--,m::rwx,o::---" },
                { "u::rw-,g::rw-,m::r--,o::---", "u::rw-,u:70000:rw-,g::rw-,m::rw-,o::---" },
                { "u::rw-,g::rw-,g:5:rw-,m::rw-,o::---", "u::rw-,u:70000:rw-,g::rw-,g:5:rw-,m::rw-,o::---" },
        };
        struct acl_before found, again;

        need_nodes();
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                set(rows[i].before);
                assert_int_equal(acl_look(path, ONE, &found, NULL), 0);
                expect(rows[i].before);
                assert_int_equal(acl_restore(path, ONE, &found, NULL), 0);
                expect(rows[i].before);
                assert_int_equal(acl_grant(path, ONE, true, NULL), 0);
                expect(rows[i].granted);
                for (int times = 0; times < 2; times++) {
                        assert_int_equal(acl_restore(path, ONE, &found, NULL), 0);
                        expect(rows[i].before);
                }
                assert_int_equal(acl_look(path, ONE, &again, NULL), 0);
                assert_int_equal(found.user, again.user);
                assert_int_equal(found.mask, again.mask);
        }
}

/* Others are let in and sent away meanwhile, and their entries work. */
static void test_restore_beside_others(void **state) {
        struct acl_before found;

        need_nodes();
        assert_int_equal(acl_look(path, ONE, &found, NULL), 0);
        assert_int_equal(acl_grant(path, ONE, false, NULL), 0);
        assert_int_equal(acl_grant(path, OTHER, true, NULL), 0);
        assert_int_equal(acl_restore(path, ONE, &found, NULL), 0);
        expect("u::rw-,u:70001:rw-,g::rw-,m::rw-,o::---");

        set("u::rw-,u:70001:r--,g::---,m::r--,o::---");
        assert_int_equal(acl_look(path, ONE, &found, NULL), 0);
        assert_int_equal(acl_grant(path, ONE, true, NULL), 0);
        set("u::rw-,u:70000:rw-,u:70002:rw-,g::---,m::rw-,o::---");
        assert_int_equal(acl_restore(path, ONE, &found, NULL), 0);
        expect("u::rw-,u:70002:rw-,g::---,m::rw-,o::---");
}

/* An entry that its giver has taken back does not come again, nor a list that was thrown away. */
static void test_restore_after_others(void **state) {
        struct acl_before found;

        need_nodes();
        set("u::rw-,u:70000:rw-,g::---,m::rw-,o::---");
        assert_int_equal(acl_look(path, ONE, &found, NULL), 0);
        assert_int_equal(acl_grant(path, ONE, true, NULL), 0);
        set("u::rw-,u:70001:r--,g::---,m::r--,o::---");
        assert_int_equal(acl_restore(path, ONE, &found, NULL), 0);
        expect("u::rw-,u:70001:r--,g::---,m::r--,o::---");

        set("u::rw-,u:70001:rw-,g::rw-,m::r--,o::---");
        assert_int_equal(acl_look(path, ONE, &found, NULL), 0);
        assert_int_equal(acl_grant(path, ONE, true, NULL), 0);
        set("u::rw-,g::rw-,o::---");
        assert_int_equal(acl_restore(path, ONE, &found, NULL), 0);
        expect("u::rw-,g::rw-,o::---");
}

/* One of several machines on the node ends: the mask is not its own any more. */
static void test_restore_leaves_the_mask(void **state) {
        struct acl_before found;

        need_nodes();
        set("u::rw-,u:70002:rw-,g::---,m::r--,o::---");
        assert_int_equal(acl_look(path, ONE, &found, NULL), 0);
        assert_int_equal(found.mask, 4);
        assert_int_equal(acl_grant(path, ONE, true, NULL), 0);
        assert_int_equal(acl_grant(path, OTHER, true, NULL), 0);
        found.mask = ACL_MASK_LEAVE;
        assert_int_equal(acl_restore(path, ONE, &found, NULL), 0);
        expect("u::rw-,u:70001:rw-,u:70002:rw-,g::---,m::rw-,o::---");
}

/* Whoever may already: nothing is written. Writing asked for where everybody only reads is. */
static void test_open_to_all(void **state) {
        need_nodes();
        assert_int_equal(chmod(path, 0666), 0);
        assert_int_equal(acl_grant(path, ONE, true, NULL), 0);
        expect("u::rw-,g::rw-,o::rw-");
        assert_int_equal(chmod(path, 0664), 0);
        assert_int_equal(acl_grant(path, ONE, false, NULL), 0);
        expect("u::rw-,g::rw-,o::r--");
        assert_int_equal(acl_grant(path, ONE, true, NULL), 0);
        expect("u::rw-,u:70000:rw-,g::rw-,m::rw-,o::r--");
}

static void test_file(void **state) {
        _cleanup_(error_done) struct error err = ERROR_INIT;
        _cleanup_free_ char *file = xasprintf("%s/file", folder), *link = xasprintf("%s/link", folder);
        _cleanup_free_ char *sentence =
                xasprintf("%s is no device node: vore changes no access list of a file", link);
        struct stat st;

        assert_int_equal(file_write_atomic(AT_FDCWD, file, "", 0, 0600, false, NULL), 0);
        assert_int_equal(symlink("file", link), 0);
        assert_int_equal(acl_grant(link, ONE, true, &err), -EINVAL);
        assert_string_equal(error_text(&err), sentence);
        assert_int_equal(acl_grant(folder, ONE, false, NULL), -EINVAL);
        assert_true(acl_extended_file(file) <= 0);
        /* Also one that is open to all. */
        assert_int_equal(chmod(file, 0666), 0);
        assert_int_equal(acl_grant(file, ONE, true, NULL), -EINVAL);
        assert_int_equal(stat(file, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0666);
}

/* As udev's names are. */
static void test_link_to_node(void **state) {
        _cleanup_free_ char *link = xasprintf("%s/by-id", folder);

        need_nodes();
        assert_int_equal(symlink("node", link), 0);
        assert_int_equal(acl_grant(link, ONE, true, NULL), 0);
        expect("u::rw-,u:70000:rw-,g::rw-,m::rw-,o::---");
}

/* Of a server's socket: to write is to connect. Nothing else is one. */
static void test_socket(void **state) {
        _cleanup_(error_done) struct error err = ERROR_INIT;
        _cleanup_free_ char *file = xasprintf("%s/plain", folder),
                            *socket_path = xasprintf("%s/socket", folder);

        need_nodes();
        assert_int_equal(mknod(socket_path, S_IFSOCK | 0700, 0), 0);
        assert_int_equal(chmod(socket_path, 0750), 0);
        assert_int_equal(acl_grant(socket_path, ONE, true, NULL), -EINVAL);
        struct acl_before found;
        assert_int_equal(acl_look_socket(socket_path, ONE, &found, NULL), 0);
        assert_int_equal(acl_grant_socket(socket_path, ONE, NULL), 0);
        assert_int_equal(acl_extended_file(socket_path), 1);
        assert_int_equal(acl_restore(socket_path, ONE, &found, NULL), 0);
        assert_int_equal(acl_extended_file(socket_path), 0);
        assert_int_equal(chmod(socket_path, 0777), 0);
        assert_int_equal(acl_grant_socket(socket_path, ONE, NULL), 0);
        assert_int_equal(acl_extended_file(socket_path), 0);
        assert_int_equal(file_write_atomic(AT_FDCWD, file, "", 0, 0600, false, NULL), 0);
        assert_int_equal(acl_grant_socket(file, ONE, &err), -ENOTSOCK);
        assert_non_null(strstr(error_text(&err), "is no socket"));
        assert_int_equal(acl_grant_socket(path, ONE, NULL), -ENOTSOCK);
        assert_int_equal(acl_look_socket(path, ONE, &found, NULL), -ENOTSOCK);
}

/* Somebody has put something else into its place: a list without our entry, or of a file, is not ours to
 * change. */
static void test_replaced(void **state) {
        _cleanup_free_ char *link = xasprintf("%s/server", folder), *file = xasprintf("%s/other", folder);
        struct acl_before found = { -1, ACL_MASK_AS_NEEDED };
        acl_t narrow = acl_from_text("u::rw-,u:12345:rw-,g::r--,m::---,o::---");

        need_nodes();
        assert_int_equal(file_write_atomic(AT_FDCWD, file, "", 0, 0600, false, NULL), 0);
        assert_int_equal(acl_set_file(file, ACL_TYPE_ACCESS, narrow), 0);
        assert_int_equal(acl_set_file(path, ACL_TYPE_ACCESS, narrow), 0);
        acl_free(narrow);
        assert_int_equal(symlink(file, link), 0);
        assert_int_equal(acl_restore(link, ONE, &found, NULL), 0);
        assert_int_equal(acl_restore(path, ONE, &found, NULL), 0);
        expect("u::rw-,u:12345:rw-,g::r--,m::---,o::---");
        free(path);
        path = xstrdup(file);
        expect("u::rw-,u:12345:rw-,g::r--,m::---,o::---");
        free(path);
        path = xasprintf("%s/node", folder);
}

static void test_absent(void **state) {
        _cleanup_(error_done) struct error err = ERROR_INIT;
        _cleanup_free_ char *absent = xasprintf("%s/absent", folder);

        struct acl_before found = { -1, ACL_MASK_AS_NEEDED };

        assert_int_equal(acl_restore(absent, ONE, &found, &err), 0);
        assert_int_equal(acl_look(absent, ONE, &found, NULL), -ENOENT);
        assert_int_equal(acl_grant(absent, ONE, true, &err), -ENOENT);
        assert_non_null(strstr(error_text(&err), absent));
}

/* --- several machines, with their journals --- */

enum { MACHINES = 3 };
static struct settings settings;
static struct vm_env env;
static struct vm *machines[MACHINES];

static void others(const struct vm *vm, struct vm_uses *ret, void *data) {
        for (size_t i = 0; i < MACHINES; i++)
                if (machines[i] && machines[i] != vm)
                        vm_add_uses(machines[i], ret);
}

/* A machine as a start made it, or as the next vored finds it again. */
static void machine(size_t which, uid_t uid) {
        _cleanup_free_ char *dir = NULL;
        struct def_summary summary = { 0 };

        snprintf(summary.name, sizeof(summary.name), "vm%zu", which);
        settings.vore.runtime_dir = folder;
        env = (struct vm_env){ .settings = &settings, .group = (gid_t) -1, .uses = others };
        machines[which] = vm_new(&env, &summary);
        machines[which]->uid = uid;
        dir = plan_runtime_dir(&settings, summary.name);
        assert_int_equal(file_mkdirs(dir, 0700, NULL), 0);
        assert_int_equal(undo_open(machines[which], NULL), 0);
}

static void give(size_t which, bool write) {
        assert_int_equal(access_give(machines[which], path, write, NULL), 0);
}

static int take(uint64_t id, const char *kind, const json_t *args, void *data) {
        struct vm *vm = data;

        assert_string_equal(kind, "acl");
        assert_int_equal(access_take_back(vm, args, NULL), 0);
        return journal_strike(vm->journal, id, NULL);
}

/* Its end. */
static void end(size_t which) {
        assert_int_equal(journal_open_entries(machines[which]->journal, take, machines[which], NULL), 0);
        vm_free(machines[which]);
        machines[which] = NULL;
}

/* As after kill -9 of vored. */
static void find_again(size_t which) {
        uid_t uid = machines[which]->uid;

        vm_free(machines[which]);
        machine(which, uid);
}

/* One user's machines in any order: the node stays open for those that are left, and then is as it was. */
static void test_machines_of_one_user(void **state) {
        static const char *const lists[] = { "u::rw-,g::---,o::---",
                                             "u::rw-,u:70000:rw-,g::---,m::rw-,o::---",
                                             "u::rw-,u:70000:r--,u:70002:rw-,g::---,m::r--,o::---" };
        static const size_t orders[][MACHINES] = { { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 },
                                                   { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 } };

        need_nodes();
        for (size_t i = 0; i < ARRAY_SIZE(lists) * ARRAY_SIZE(orders); i++) {
                const char *before = lists[i / ARRAY_SIZE(orders)];
                const size_t *order = orders[i % ARRAY_SIZE(orders)];

                set(before);
                for (size_t k = 0; k < MACHINES; k++) {
                        machine(k, ONE);
                        give(k, k != 1);
                }
                find_again(order[1]);
                for (size_t k = 0; k < MACHINES; k++) {
                        _cleanup_free_ char *now = text();
                        assert_non_null(strstr(now, "u:70000:rw-"));
                        assert_non_null(strstr(now, "m::rw-"));
                        end(order[k]);
                }
                expect(before);
        }
}

/* Numbers of their own: each loses its access at once, and the mask is put back by the last. */
static void test_machines_of_several_users(void **state) {
        static const char before[] = "u::rw-,u:70002:rw-,g::---,m::r--,o::---";

        need_nodes();
        for (size_t first = 0; first < 2; first++) {
                set(before);
                machine(0, ONE);
                give(0, true);
                machine(1, OTHER);
                give(1, false);
                expect("u::rw-,u:70000:rw-,u:70001:r--,u:70002:rw-,g::---,m::rw-,o::---");
                find_again(0);
                end(first);
                expect(first ? "u::rw-,u:70000:rw-,u:70002:rw-,g::---,m::rw-,o::---" :
                               "u::rw-,u:70001:r--,u:70002:rw-,g::---,m::rw-,o::---");
                end(1 - first);
                expect(before);
        }
}

static int setup(void **state) {
        path = mkdtemp(folder) ? xasprintf("%s/node", folder) : NULL;
        if (!path)
                return -1;
        if (mknod(path, S_IFCHR | 0600, makedev(1, 3)) < 0)
                unsupported = "no device nodes can be made here: that takes root";
        else if (acl_grant(path, ONE, false, NULL) < 0)
                unsupported = "this file system has no access lists";
        return 0;
}

static int teardown(void **state) {
        free(path);
        return file_remove_tree(AT_FDCWD, folder, NULL);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup(test_grant, before),
                cmocka_unit_test_setup(test_restore, before),
                cmocka_unit_test_setup(test_restore_beside_others, before),
                cmocka_unit_test_setup(test_restore_after_others, before),
                cmocka_unit_test_setup(test_restore_leaves_the_mask, before),
                cmocka_unit_test_setup(test_open_to_all, before),
                cmocka_unit_test_setup(test_link_to_node, before),
                cmocka_unit_test_setup(test_machines_of_one_user, before),
                cmocka_unit_test_setup(test_machines_of_several_users, before),
                cmocka_unit_test(test_file),
                cmocka_unit_test_setup(test_replaced, before),
                cmocka_unit_test_setup(test_absent, before),
                cmocka_unit_test_setup(test_socket, before),
        };

        return cmocka_run_group_tests(tests, setup, teardown);
}
