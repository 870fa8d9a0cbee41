/* The root, files under it, CPUs, memory, KVM, users, programs: on captured hosts and on made-up trees. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/str.h"
#include "host/host.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static struct host *open_host(const char *name) {
        _cleanup_free_ char *path = xasprintf("%s/%s", TEST_HOSTS, name);
        struct host *h = NULL;

        assert_int_equal(host_open(path, &h, NULL), 0);
        return h;
}

/* An empty tree in a folder of its own. */
static int make_tree(void **state) {
        char *folder = xstrdup("/tmp/test-host.XXXXXX");

        *state = mkdtemp(folder);
        return *state ? 0 : -1;
}

static int drop_tree(void **state) {
        int r = file_remove_tree(AT_FDCWD, *state, NULL);

        free(*state);
        return r;
}

static void put(const char *root, const char *path, const char *text) {
        _cleanup_free_ char *full = xasprintf("%s%s", root, path), *folder = xstrdup(full);

        *strrchr(folder, '/') = '\0';
        assert_int_equal(file_mkdirs(folder, 0755, NULL), 0);
        assert_int_equal(file_write_atomic(AT_FDCWD, full, text, strlen(text), 0644, false, NULL), 0);
}

static void put_link(const char *root, const char *path, const char *target) {
        _cleanup_free_ char *full = xasprintf("%s%s", root, path);

        assert_int_equal(symlink(target, full), 0);
}

static struct host *open_tree(void **state) {
        struct host *h = NULL;

        assert_int_equal(host_open(*state, &h, NULL), 0);
        return h;
}

static void test_root(void **state) {
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_host_ struct host *real = NULL, *captured = open_host("plain-vm"), *by_env = NULL;
        struct host *none = NULL;
        _cleanup_free_ char *path = xasprintf("%s/no-kvm", TEST_HOSTS), *text = NULL;

        assert_int_equal(host_open("/", &real, NULL), 0);
        assert_false(host_captured(real));
        assert_true(host_captured(captured));
        assert_int_equal(host_captured_caps(real, &text, &err), -ENOENT);

        setenv("VORE_HOST_ROOT", path, 1);
        assert_int_equal(host_open(NULL, &by_env, NULL), 0);
        unsetenv("VORE_HOST_ROOT");
        assert_true(host_captured(by_env));
        assert_int_equal(host_open("/no/such/folder", &none, &err), -ENOENT);
        assert_null(none);
        assert_non_null(strstr(error_text(&err), "/no/such/folder"));
}

/* Absolute links and ".." must not leave the tree. */
static void test_links_stay_inside(void **state) {
        const char *root = *state;
        _cleanup_free_ char *text = NULL, *real = NULL, *link = NULL;
        struct host_node node;

        put(root, "/etc/passwd", "inside\n");
        put_link(root, "/absolute", "/etc/passwd");
        put_link(root, "/upward", "../../../../../../etc/passwd");
        put_link(root, "/away", "/etc/hostname");
        put_link(root, "/turn", "/turn");
        _cleanup_host_ struct host *h = open_tree(state);

        assert_int_equal(host_read_line(h, "/absolute", &text), 0);
        assert_string_equal(text, "inside");
        free(text);
        assert_int_equal(host_read_line(h, "/upward", &text), 0);
        assert_string_equal(text, "inside");
        assert_int_equal(host_realpath(h, "/upward", &real), 0);
        assert_string_equal(real, "/etc/passwd");
        assert_int_equal(host_readlink(h, "/absolute", &link), 0);
        assert_string_equal(link, "/etc/passwd");
        assert_int_equal(host_node(h, "/away", &node), -ENOENT);
        assert_int_equal(host_node(h, "/turn", &node), -ELOOP);
        assert_int_equal(host_node(h, "/etc/passwd/x", &node), -ENOTDIR);
        free(link);
        link = NULL;
        assert_int_equal(host_readlink(h, "/etc/passwd", &link), -EINVAL);
}

static void test_reading(void **state) {
        const char *root = *state;
        _cleanup_host_names_ struct host_names names = { 0 };
        _cleanup_free_ char *text = NULL;
        long long number;

        put(root, "/n/b", "42\n");
        put(root, "/n/a", "0x10de");
        put(root, "/n/c", "many");
        _cleanup_host_ struct host *h = open_tree(state);

        assert_int_equal(host_read_int(h, "/n/b", &number), 0);
        assert_int_equal(number, 42);
        assert_int_equal(host_read_int(h, "/n/a", &number), 0);
        assert_int_equal(number, 0x10de);
        assert_int_equal(host_read_int(h, "/n/c", &number), -EINVAL);
        assert_int_equal(host_read_int(h, "/n/d", &number), -ENOENT);
        assert_int_equal(host_read(h, "/n", &text), -EISDIR);
        assert_int_equal(host_names(h, "/n", &names), 0);
        assert_int_equal(names.n, 3);
        assert_string_equal(names.items[0], "a");
        assert_string_equal(names.items[2], "c");
        host_names_done(&names);
        assert_int_equal(host_names(h, "/n/a", &names), -ENOTDIR);
}

static void test_nodes(void **state) {
        const char *root = *state;
        struct host_node node;

        put(root, "/dev/sda", "");
        put(root, "/dev/with space", "");
        put(root, "/dev/sdab", "");
        put(root, "/vore/nodes",
            "/dev/sda b 0660 0 6 8:0 r\nnonsense\n/dev/with\\040space c 0600 7 8 10:232 rw\n");
        put_link(root, "/dev/mine", "sda");
        _cleanup_host_ struct host *h = open_tree(state);

        assert_int_equal(host_node(h, "/dev/mine", &node), 0);
        assert_int_equal(node.type, 'b');
        assert_int_equal(node.mode, 0660);
        assert_int_equal(node.gid, 6);
        assert_true(node.rdev == makedev(8, 0));
        assert_true(node.readable);
        assert_false(node.writable);
        assert_int_equal(host_node(h, "/dev/with space", &node), 0);
        assert_int_equal(node.type, 'c');
        assert_int_equal(node.uid, 7);
        assert_int_equal(host_node(h, "/dev/sdab", &node), 0);
        assert_int_equal(node.type, 'f');
}

static void test_machine(void **state) {
        _cleanup_host_ struct host *h = open_host("amd-desktop"), *empty = open_tree(state);
        _cleanup_free_ char *arch = NULL;
        struct host_memory m;
        char id[33];

        assert_int_equal(host_arch(h, &arch), 0);
        assert_string_equal(arch, "x86_64");
        assert_int_equal(host_machine_id(h, id), 0);
        assert_string_equal(id, "5800a0b1c2d3e4f5061728394a5b6c7d");
        assert_int_equal(host_memory(h, &m, NULL), 0);
        assert_true(m.total == 65762404ULL * 1024);
        assert_true(m.available == 60000000ULL * 1024);
        assert_int_equal(m.n_hugepages, 2);
        assert_true(m.hugepages[0].size == 2ULL << 20);
        assert_int_equal(m.hugepages[0].free, 1024);
        assert_true(m.hugepages[1].size == 1ULL << 30);
        assert_int_equal(m.hugepages[1].total, 4);

        assert_int_equal(host_arch(empty, &arch), -ENOENT);
        assert_int_equal(host_machine_id(empty, id), -ENOENT);
        assert_int_equal(host_memory(empty, &m, NULL), -ENOENT);
        put(*state, "/etc/machine-id", "uninitialized\n");
        assert_int_equal(host_machine_id(empty, id), -ENOENT);
        put(*state, "/proc/meminfo", "MemFree: 12 kB\n");
        assert_int_equal(host_memory(empty, &m, NULL), -ENOENT);
        put(*state, "/vore/machine", "armv7l\n");
        free(arch);
        assert_int_equal(host_arch(empty, &arch), 0);
        assert_string_equal(arch, "arm");
}

static void test_cpu_list(void **state) {
        static const char *const bad[] = { "x",    "1-", "-1",  "3-1", "1,", "1 2", "0-99999999999",
                                           "8192", ",",  "1,,2" };
        _cleanup_free_ int *list = NULL;
        size_t n = 0;

        assert_int_equal(host_cpu_list("8,0-3,2,10-11", &list, &n), 0);
        assert_int_equal(n, 7);
        assert_int_equal(list[3], 3);
        assert_int_equal(list[4], 8);
        assert_int_equal(list[6], 11);
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                int *none = NULL;

                assert_int_equal(host_cpu_list(bad[i], &none, &n), -EINVAL);
                assert_null(none);
        }
}

static void test_cpus(void **state) {
        _cleanup_host_ struct host *h = open_host("intel-laptop"), *empty = open_tree(state);
        _cleanup_host_cpu_kind_ struct host_cpu_kind kind = { 0 }, plain = { 0 };
        _cleanup_free_ struct host_cpu *cpus = NULL;
        _cleanup_free_ int *online = NULL;
        size_t n = 0;

        assert_int_equal(host_cpus(h, &cpus, &n, NULL), 0);
        assert_int_equal(n, 20);
        assert_int_equal(cpus[2].core, 4);
        assert_int_equal(cpus[2].package, 0);
        assert_int_equal(cpus[2].die, -1);
        assert_int_equal(host_cpu_kind(h, &kind, NULL), 0);
        assert_string_equal(kind.vendor, "GenuineIntel");
        assert_true(host_cpu_flag(&kind, "vmx"));
        assert_true(host_cpu_flag(&kind, "hybrid"));
        assert_false(host_cpu_flag(&kind, "vm"));
        assert_false(host_cpu_flag(&kind, "svm"));

        assert_int_equal(host_cpus_online(empty, &online, &n, NULL), -ENOENT);
        assert_int_equal(host_cpu_kind(empty, &plain, NULL), -ENOENT);
        /* Without sysfs, and only the first CPU tells its flags. */
        put(*state, "/proc/cpuinfo",
            "processor : 0\nflags : svm\n\nprocessor : 1\nvendor_id : x\nflags : vmx\n");
        assert_int_equal(host_cpus_online(empty, &online, &n, NULL), 0);
        assert_int_equal(n, 2);
        assert_int_equal(host_cpu_kind(empty, &plain, NULL), 0);
        assert_null(plain.vendor);
        assert_true(host_cpu_flag(&plain, "svm"));
        assert_false(host_cpu_flag(&plain, "vmx"));
}

/* What host_kvm says of a tree with these flags and this line for /dev/kvm. */
static void check_kvm(void **state, const char *flags, const char *node, bool usable, const char *why,
                      const char *hint) {
        _cleanup_arena_ struct arena *arena = arena_new();
        _cleanup_free_ char *cpuinfo = xasprintf("processor : 0\nflags : %s\n", flags);
        const char *got_why, *got_hint;

        put(*state, "/vore/machine", "x86_64\n");
        put(*state, "/proc/cpuinfo", cpuinfo);
        put(*state, "/vore/nodes", node ? node : "");
        if (node)
                put(*state, "/dev/kvm", "");
        _cleanup_host_ struct host *h = open_tree(state);

        assert_int_equal(host_kvm(h, "x86_64", arena, &got_why, &got_hint), usable);
        if (usable) {
                assert_null(got_why);
                assert_null(got_hint);
                return;
        }
        assert_non_null(strstr(got_why, why));
        assert_non_null(strstr(got_hint, hint));
}

static void test_kvm(void **state) {
        _cleanup_arena_ struct arena *arena = arena_new();
        const char *why, *hint;

        check_kvm(state, "fpu svm", NULL, false, "does not exist", "kvm_amd");
        check_kvm(state, "fpu vmx", NULL, false, "does not exist", "kvm_intel");
        check_kvm(state, "fpu vmx", "/dev/kvm c 0660 0 104 10:232 rw\n", true, NULL, NULL);
        check_kvm(state, "fpu vmx", "/dev/kvm c 0660 0 104 10:232 -\n", false, "may not be opened", "group");
        /* It opens, and guests would hang: no flag. */
        check_kvm(state, "fpu hypervisor", "/dev/kvm c 0666 0 0 10:232 rw\n", false, "neither vmx nor svm",
                  "nested");
        check_kvm(state, "fpu vmxx", "/dev/kvm c 0666 0 0 10:232 rw\n", false, "neither vmx nor svm",
                  "firmware");

        _cleanup_host_ struct host *h = open_host("amd-desktop");
        assert_true(host_kvm(h, "x86_64", arena, &why, &hint));
        assert_true(host_kvm(h, "i386", arena, &why, &hint));
        assert_false(host_kvm(h, "aarch64", arena, &why, &hint));
        assert_non_null(strstr(why, "aarch64"));
}

static void test_users(void **state) {
        _cleanup_host_ struct host *h = open_host("amd-desktop"), *real = NULL;
        _cleanup_error_ struct error err = ERROR_INIT;
        struct host_user u = { 0 };

        assert_int_equal(host_user(h, "alice", &u, NULL), 0);
        assert_int_equal(u.uid, 1000);
        assert_string_equal(u.home, "/home/alice");
        host_user_done(&u);
        assert_int_equal(host_user(h, "#64055", &u, NULL), 0);
        assert_string_equal(u.name, "libvirt-qemu");
        host_user_done(&u);
        assert_int_equal(host_user(h, "#4711", &u, NULL), 0);
        assert_null(u.name);
        assert_int_equal(u.uid, 4711);
        assert_int_equal(host_user(h, "bob", &u, &err), -ENOENT);
        assert_non_null(strstr(error_text(&err), "bob"));
        assert_int_equal(host_user(h, "#", &u, NULL), -EINVAL);
        assert_int_equal(host_user(h, "#-1", &u, NULL), -EINVAL);
        assert_int_equal(host_user(h, "#4294967295", &u, NULL), -EINVAL);
        assert_int_equal(host_user(h, "", &u, NULL), -ENOENT);

        assert_int_equal(host_open("/", &real, NULL), 0);
        assert_int_equal(host_user(real, "root", &u, NULL), 0);
        assert_int_equal(u.uid, 0);
        host_user_done(&u);
        assert_int_equal(host_user(real, "no-such-user-here", &u, NULL), -ENOENT);
}

static void test_programs(void **state) {
        _cleanup_host_ struct host *h = open_host("amd-desktop"), *bare = open_host("no-kvm"), *real = NULL;
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_free_ char *path = NULL, *sh = NULL;

        assert_int_equal(host_qemu(h, NULL, "x86_64", &path, NULL), 0);
        assert_string_equal(path, "/usr/bin/qemu-system-x86_64");
        free(path);
        path = NULL;
        assert_int_equal(host_qemu(bare, NULL, "x86_64", &path, &err), -ENOENT);
        assert_non_null(strstr(error_text(&err), "qemu-system-x86_64"));
        assert_int_equal(host_qemu(h, "/opt/qemu", "x86_64", &path, &err), -ENOENT);
        assert_non_null(strstr(error_text(&err), "/opt/qemu"));
        /* There, but not executable. */
        assert_int_equal(host_program(h, "/etc/passwd", &path), -ENOENT);
        assert_int_equal(host_open("/", &real, NULL), 0);
        assert_int_equal(host_program(real, "sh", &sh), 0);
        assert_int_equal(*sh, '/');
}

/* The script's tree says of this machine what this machine says. */
static void test_capture(void **state) {
        _cleanup_arena_ struct arena *arena = arena_new();
        _cleanup_host_ struct host *real = NULL, *copy = NULL;
        _cleanup_free_ char *tree = xasprintf("%s/tree", (const char *) *state), *caps = NULL;
        _cleanup_free_ char *command =
                xasprintf("echo caps > %s/caps && %s/capture-host %s --caps %s/caps", (const char *) *state,
                          TEST_HOSTS, tree, (const char *) *state);
        _cleanup_free_ char *arch = NULL, *copy_arch = NULL;
        _cleanup_free_ int *cpus = NULL, *copy_cpus = NULL;
        struct host_memory m, copy_m;
        const char *why, *hint, *copy_why, *copy_hint;
        char id[33], copy_id[33];
        size_t n = 0, copy_n = 1;

        assert_int_equal(system(command), 0);
        assert_int_equal(host_open("/", &real, NULL), 0);
        assert_int_equal(host_open(tree, &copy, NULL), 0);
        assert_int_equal(host_arch(real, &arch), 0);
        assert_int_equal(host_arch(copy, &copy_arch), 0);
        assert_string_equal(arch, copy_arch);
        assert_int_equal(host_memory(real, &m, NULL), 0);
        assert_int_equal(host_memory(copy, &copy_m, NULL), 0);
        assert_true(m.total == copy_m.total);
        assert_int_equal(m.n_hugepages, copy_m.n_hugepages);
        assert_int_equal(host_cpus_online(real, &cpus, &n, NULL), 0);
        assert_int_equal(host_cpus_online(copy, &copy_cpus, &copy_n, NULL), 0);
        assert_int_equal(n, copy_n);
        assert_int_equal(host_kvm(real, arch, arena, &why, &hint),
                         host_kvm(copy, arch, arena, &copy_why, &copy_hint));
        assert_true(str_eq(why, copy_why));
        assert_int_equal(host_captured_caps(copy, &caps, NULL), 0);
        assert_string_equal(caps, "caps\n");
        /* All but the machine's identity. */
        if (host_machine_id(real, id) == 0) {
                assert_int_equal(host_machine_id(copy, copy_id), 0);
                assert_string_not_equal(id, copy_id);
        }
        /* Never into a folder that holds something. */
        assert_int_not_equal(system(command), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_root),
                cmocka_unit_test_setup_teardown(test_links_stay_inside, make_tree, drop_tree),
                cmocka_unit_test_setup_teardown(test_reading, make_tree, drop_tree),
                cmocka_unit_test_setup_teardown(test_nodes, make_tree, drop_tree),
                cmocka_unit_test_setup_teardown(test_machine, make_tree, drop_tree),
                cmocka_unit_test(test_cpu_list),
                cmocka_unit_test_setup_teardown(test_cpus, make_tree, drop_tree),
                cmocka_unit_test_setup_teardown(test_kvm, make_tree, drop_tree),
                cmocka_unit_test(test_users),
                cmocka_unit_test(test_programs),
                cmocka_unit_test_setup_teardown(test_capture, make_tree, drop_tree),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
