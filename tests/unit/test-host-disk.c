/* What a disk is and who uses it, and which firmware fits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/str.h"
#include "host/disk.h"
#include "host/firmware.h"

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

static void check_use(const struct host *h, const char *path, bool read_only, const char *says) {
        _cleanup_arena_ struct arena *arena = arena_new();
        _cleanup_host_disk_ struct host_disk d = { 0 };

        assert_int_equal(host_disk(h, path, &d), 0);
        const char *use = host_disk_use(h, &d, read_only, arena);
        if (!says)
                assert_null(use);
        else {
                assert_non_null(use);
                assert_string_equal(use, says);
        }
}

static void test_overlap(void **state) {
        static const char *const paths[] = { "/dev/sda", "/dev/sda1", "/dev/sda2", "/dev/sdb",
                                             "/vm/raw.img" };
        static const bool want[5][5] = {
                { 1, 1, 1, 0, 0 }, { 1, 1, 0, 0, 0 }, { 1, 0, 1, 0, 0 }, { 0, 0, 0, 1, 0 }, { 0, 0, 0, 0, 1 },
        };
        _cleanup_host_ struct host *h = open_host("amd-desktop");
        struct host_disk d[5];

        for (size_t i = 0; i < 5; i++)
                assert_int_equal(host_disk(h, paths[i], &d[i]), 0);
        for (size_t i = 0; i < 5; i++)
                for (size_t j = 0; j < 5; j++)
                        assert_int_equal(host_disk_overlap(&d[i], &d[j]), want[i][j]);
        for (size_t i = 0; i < 5; i++)
                host_disk_done(&d[i]);
}

/* An array on the whole disk keeps its partitions too, but a mounted neighbour does not. */
static void test_use_partition(void **state) {
        put(*state, "/dev/sdb1", "");
        put(*state, "/vore/nodes", "/dev/sdb1 b 0660 0 6 8:17 rw\n");
        put(*state, "/sys/devices/sdb/dev", "8:16\n");
        put(*state, "/sys/devices/sdb/sdb1/dev", "8:17\n");
        put(*state, "/sys/devices/sdb/sdb1/partition", "1\n");
        put(*state, "/sys/devices/sdb/sdb2/dev", "8:18\n");
        put(*state, "/sys/devices/sdb/sdb2/partition", "2\n");
        put(*state, "/sys/dev/block/README", "");
        put_link(*state, "/sys/dev/block/8:16", "../../devices/sdb");
        put_link(*state, "/sys/dev/block/8:17", "../../devices/sdb/sdb1");
        put(*state, "/proc/self/mountinfo", "30 1 8:18 / /data rw - ext4 /dev/sdb2 rw\n");
        _cleanup_host_ struct host *h = open_tree(state);

        check_use(h, "/dev/sdb1", false, NULL);
        put(*state, "/sys/class/block/md1/dev", "9:1\n");
        put(*state, "/sys/devices/sdb/holders/md1", "");
        check_use(h, "/dev/sdb1", false, "/dev/sdb is part of md1");
}

static void test_format(void **state) {
        char vdi[68] = "<<< Oracle VM VirtualBox Disk Image >>>\n";

        memcpy(vdi + 64, "\x7f\x10\xda\xbe", 4);
        assert_string_equal(host_disk_format("QFI\xfb\0\0\0\3", 8), "qcow2");
        assert_string_equal(host_disk_format("QFI\xfb\0\0\0\2", 8), "qcow2");
        assert_string_equal(host_disk_format("QFI\xfb\0\0\0\1", 8), "qcow");
        assert_string_equal(host_disk_format("KDMV", 4), "vmdk");
        assert_string_equal(host_disk_format("# Disk DescriptorFile\nversion=1", 31), "vmdk");
        assert_string_equal(host_disk_format("vhdxfile", 8), "vhdx");
        assert_string_equal(host_disk_format("conectix", 8), "vpc");
        assert_string_equal(host_disk_format("QED\0", 4), "qed");
        assert_string_equal(host_disk_format("QEDs", 4), "raw");
        assert_string_equal(host_disk_format("WithoutFreeSpace", 16), "parallels");
        assert_string_equal(host_disk_format("WithouFreSpacExt", 16), "parallels");
        assert_string_equal(host_disk_format(vdi, sizeof(vdi)), "vdi");
        assert_string_equal(host_disk_format(vdi, sizeof(vdi) - 1), "raw");
        assert_string_equal(host_disk_format("QFI", 3), "raw");
        assert_string_equal(host_disk_format("", 0), "raw");
}

static void test_disk(void **state) {
        _cleanup_host_ struct host *h = open_host("amd-desktop");
        _cleanup_host_disk_ struct host_disk a = { 0 }, b = { 0 }, c = { 0 }, d = { 0 }, e = { 0 };
        struct host_disk none = { 0 };

        assert_int_equal(host_disk(h, "/dev/disk/by-id/nvme-eui.6479a74530201073", &a), 0);
        assert_string_equal(a.path, "/dev/nvme0n1");
        assert_int_equal(a.node.type, 'b');
        assert_true(a.size == 1953525168ULL * 512);
        assert_string_equal(a.format, "raw");
        assert_int_equal(host_disk(h, "/dev/nvme0n1", &b), 0);
        assert_true(host_disk_overlap(&a, &b));
        assert_int_equal(host_disk(h, "/vm/win10.qcow2", &c), 0);
        assert_string_equal(c.format, "qcow2");
        assert_int_equal(c.size, 64);
        assert_int_equal(host_disk(h, "/vm/other-name.qcow2", &d), 0);
        assert_true(host_disk_overlap(&c, &d));
        assert_false(host_disk_overlap(&a, &c));
        assert_int_equal(host_disk(h, "/vm", &e), 0);
        assert_int_equal(e.node.type, 'd');
        assert_null(e.format);
        assert_int_equal(host_disk(h, "/vm/none", &none), -ENOENT);
        assert_int_equal(host_disk(h, "/dev/sdz", &none), -ENOENT);
}

/* A user's image beside a captured host; the machine's own /dev is not the captured one's. */
static void test_disk_outside(void **state) {
        _cleanup_host_ struct host *h = open_host("plain-vm");
        _cleanup_free_ char *path = xasprintf("%s/mine.img", (const char *) *state);
        _cleanup_host_disk_ struct host_disk d = { 0 };
        struct host_disk none = { 0 };

        put(*state, "/mine.img", "conectix");
        assert_int_equal(host_disk(h, path, &d), 0);
        assert_string_equal(d.format, "vpc");
        assert_int_equal(host_disk(h, "/dev/null", &none), -ENOENT);
        assert_int_equal(host_disk(h, "/etc/hostname", &none), -ENOENT);
}

static void test_use(void **state) {
        _cleanup_host_ struct host *amd = open_host("amd-desktop"), *laptop = open_host("intel-laptop");

        check_use(amd, "/dev/nvme0n1", false, NULL);
        check_use(amd, "/dev/sda", false, "/dev/sda2 is mounted at /");
        check_use(amd, "/dev/sda", true, "/dev/sda2 is mounted at /");
        check_use(amd, "/dev/sda1", false, "/dev/sda1 is mounted at /boot/efi");
        check_use(amd, "/dev/sda3", false, "/dev/sda3 is used for swap");
        check_use(amd, "/dev/sdb", false, "/dev/md0 (built on /dev/sdb1) is mounted at /home of all");
        /* btrfs has a number of its own in the mount table: its source tells. */
        check_use(laptop, "/dev/nvme0n1p2", false, "/dev/dm-0 (built on /dev/nvme0n1p2) is mounted at /");
        check_use(laptop, "/swapfile", false, "it is used for swap");
        check_use(laptop, "/vm/win10.qcow2", false, NULL);
}

static void test_use_unmounted(void **state) {
        put(*state, "/dev/sdb", "");
        put(*state, "/vore/nodes", "/dev/sdb b 0660 0 6 8:16 rw\n");
        put(*state, "/sys/dev/block/8:16/dev", "8:16\n");
        put(*state, "/vm/x.iso", "");
        put(*state, "/sys/block/loop3/loop/backing_file", "/vm/x.iso\n");
        put(*state, "/sys/block/loop3/ro", "1\n");
        _cleanup_host_ struct host *h = open_tree(state);

        check_use(h, "/dev/sdb", false, NULL);
        check_use(h, "/vm/x.iso", false, "it is attached to /dev/loop3");
        check_use(h, "/vm/x.iso", true, NULL);
        put(*state, "/sys/block/loop3/ro", "0\n");
        check_use(h, "/vm/x.iso", true, "it is attached to /dev/loop3");
        put(*state, "/sys/fs/btrfs/abc/devices/8:16/size", "1");
        check_use(h, "/dev/sdb", false, "/dev/8:16 is part of the mounted btrfs abc");
        /* Not mounted, but an array that runs. */
        put(*state, "/sys/class/block/md1/dev", "9:1\n");
        put(*state, "/sys/dev/block/8:16/holders/md1", "");
        _cleanup_free_ char *btrfs = xasprintf("%s/sys/fs", (const char *) *state);
        assert_int_equal(file_remove_tree(AT_FDCWD, btrfs, NULL), 0);
        check_use(h, "/dev/sdb", false, "/dev/8:16 is part of md1");
        /* Two arrays on each other must not turn for ever. */
        put(*state, "/sys/class/block/md1/holders/md1", "");
        check_use(h, "/dev/sdb", false, "/dev/8:16 is part of md1");
}

static void put_firmware(const char *root, const char *path, const char *code, const char *features,
                         const char *rest) {
        _cleanup_free_ char *text = xasprintf(
                "{\"interface-types\":[\"uefi\"],\"mapping\":{\"device\":\"flash\",%s\"executable\":{"
                "\"filename\":"
                "\"%s\",\"format\":\"qcow2\"},\"nvram-template\":{\"filename\":\"/fw/"
                "VARS\",\"format\":\"raw\"}},"
                "\"targets\":[{\"architecture\":\"x86_64\",\"machines\":[\"pc-q35-*\"]}],\"features\":[%s]}",
                rest, code, features);

        put(root, path, text);
        if (code)
                put(root, code, "");
        put(root, "/fw/VARS", "");
}

static void check_firmware(const struct host *h, const struct host_firmware_want *want, const char *code) {
        _cleanup_arena_ struct arena *arena = arena_new();
        _cleanup_error_ struct error err = ERROR_INIT;
        struct host_firmware f = { 0 };
        int r = host_firmware(h, want, arena, &f, &err);

        assert_int_equal(r, code ? 0 : -ENOENT);
        if (code)
                assert_string_equal(f.executable, code);
        else
                assert_non_null(strstr(error_text(&err), want->machine));
}

static void test_firmware(void **state) {
        struct host_firmware_want want = { .arch = "x86_64", .machine = "q35" };
        _cleanup_host_ struct host *h = open_host("amd-desktop"), *bare = open_host("no-kvm");

        check_firmware(h, &want, "/usr/share/OVMF/OVMF_CODE_4M.fd");
        check_firmware(bare, &want, NULL);
        want.secure_boot = true;
        check_firmware(h, &want, "/usr/share/OVMF/OVMF_CODE_4M.ms.fd");
        want.machine = "pc-q35-7.2";
        check_firmware(h, &want, "/usr/share/OVMF/OVMF_CODE_4M.ms.fd");
        want.machine = "pc";
        check_firmware(h, &want, NULL);
        want = (struct host_firmware_want){ .arch = "aarch64", .machine = "virt" };
        check_firmware(h, &want, NULL);
        assert_int_equal(host_firmware_secure(h, "/usr/share/OVMF/OVMF_CODE_4M.fd", NULL), 0);
        assert_int_equal(host_firmware_secure(h, "/usr/share/OVMF/OVMF_CODE_4M.ms.fd", NULL), 1);
        assert_int_equal(host_firmware_secure(h, "/my/own.fd", NULL), -ENOENT);
}

static void test_firmware_order(void **state) {
        struct host_firmware_want want = { .arch = "x86_64", .machine = "q35" };
        const char *root = *state;

        put_firmware(root, "/usr/share/qemu/firmware/50-b.json", "/fw/b", "", "");
        put_firmware(root, "/usr/share/qemu/firmware/60-c.json", "/fw/c", "", "");
        put_firmware(root, "/usr/share/qemu/firmware/10-keys.json", "/fw/keys", "\"enrolled-keys\"", "");
        put_firmware(root, "/usr/share/qemu/firmware/11-flat.json", "/fw/flat", "",
                     "\"mode\":\"stateless\",");
        put(root, "/usr/share/qemu/firmware/12-bad.json", "{ not JSON");
        put(root, "/usr/share/qemu/firmware/13-odd.json", "[1, {\"mapping\": 3}]");
        put(root, "/usr/share/qemu/firmware/README", "not a descriptor");
        _cleanup_host_ struct host *h = open_tree(state);

        check_firmware(h, &want, "/fw/b");
        _cleanup_arena_ struct arena *arena = arena_new();
        struct host_firmware f = { 0 };
        assert_int_equal(host_firmware(h, &want, arena, &f, NULL), 0);
        assert_string_equal(f.format, "qcow2");
        assert_string_equal(f.nvram_format, "raw");
        put_firmware(root, "/etc/qemu/firmware/50-b.json", "/fw/etc-b", "", "");
        check_firmware(h, &want, "/fw/etc-b");
        put(root, "/etc/qemu/firmware/50-b.json", "");
        check_firmware(h, &want, "/fw/c");
        put_firmware(root, "/home/me/qemu/firmware/50-b.json", "/fw/my-b", "", "");
        check_firmware(h, &want, "/fw/c");
        want.user_config = "/home/me";
        check_firmware(h, &want, "/fw/my-b");
        _cleanup_free_ char *gone = xasprintf("%s/fw/my-b", root);
        assert_int_equal(unlink(gone), 0);
        check_firmware(h, &want, "/fw/c");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_format),
                cmocka_unit_test(test_overlap),
                cmocka_unit_test_setup_teardown(test_use_partition, make_tree, drop_tree),
                cmocka_unit_test(test_disk),
                cmocka_unit_test_setup_teardown(test_disk_outside, make_tree, drop_tree),
                cmocka_unit_test(test_use),
                cmocka_unit_test_setup_teardown(test_use_unmounted, make_tree, drop_tree),
                cmocka_unit_test(test_firmware),
                cmocka_unit_test_setup_teardown(test_firmware_order, make_tree, drop_tree),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
