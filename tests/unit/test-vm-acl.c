/* The access that a VM gets to a device node: given, changed and taken back without a trace. */
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

static void test_grant(void **state) {
        need_nodes();
        assert_int_equal(acl_grant(path, ONE, true, NULL), 0);
        expect("u::rw-,u:70000:rw-,g::rw-,m::rw-,o::---");
        assert_int_equal(acl_grant(path, ONE, true, NULL), 0);
        expect("u::rw-,u:70000:rw-,g::rw-,m::rw-,o::---");
        assert_int_equal(acl_grant(path, OTHER, false, NULL), 0);
        expect("u::rw-,u:70000:rw-,u:70001:r--,g::rw-,m::rw-,o::---");
        /* Reading alone after writing. */
        assert_int_equal(acl_grant(path, ONE, false, NULL), 0);
        expect("u::rw-,u:70000:r--,u:70001:r--,g::rw-,m::rw-,o::---");
}

static void test_revoke(void **state) {
        need_nodes();
        assert_int_equal(acl_grant(path, ONE, true, NULL), 0);
        assert_int_equal(acl_grant(path, OTHER, true, NULL), 0);
        assert_int_equal(acl_revoke(path, ONE, NULL), 0);
        expect("u::rw-,u:70001:rw-,g::rw-,m::rw-,o::---");
        assert_int_equal(acl_revoke(path, ONE, NULL), 0);
        assert_int_equal(acl_revoke(path, OTHER, NULL), 0);
        expect("u::rw-,g::rw-,o::---");
        assert_int_equal(acl_revoke(path, OTHER, NULL), 0);
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

static void test_absent(void **state) {
        _cleanup_(error_done) struct error err = ERROR_INIT;
        _cleanup_free_ char *absent = xasprintf("%s/absent", folder);

        assert_int_equal(acl_revoke(absent, ONE, &err), 0);
        assert_int_equal(acl_grant(absent, ONE, true, &err), -ENOENT);
        assert_non_null(strstr(error_text(&err), absent));
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
                cmocka_unit_test_setup(test_revoke, before),
                cmocka_unit_test_setup(test_open_to_all, before),
                cmocka_unit_test_setup(test_link_to_node, before),
                cmocka_unit_test(test_file),
                cmocka_unit_test_setup(test_absent, before),
        };

        return cmocka_run_group_tests(tests, setup, teardown);
}
