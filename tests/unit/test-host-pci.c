/* PCI devices and IOMMU groups, on captured hosts and on trees made for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/str.h"
#include "host/iommu.h"
#include "host/pci.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEVICE "/sys/bus/pci/devices/0000:0b:00.0"

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

static struct host *open_host(const char *root) {
        struct host *h = NULL;

        assert_int_equal(host_open(root, &h, NULL), 0);
        return h;
}

static const struct host_pci *find(const struct host_pci *d, size_t n, const char *address) {
        for (size_t i = 0; i < n; i++)
                if (str_eq(d[i].address, address))
                        return &d[i];
        fail_msg("no %s", address);
        return NULL;
}

static void test_list(void **state) {
        _cleanup_host_ struct host *h = open_host(TEST_HOSTS "/amd-desktop");
        _cleanup_arena_ struct arena *arena = arena_new();
        struct host_pci *all;
        size_t n;

        assert_int_equal(host_pci_list(h, arena, &all, &n, NULL), 0);
        for (size_t i = 1; i < n; i++)
                assert_true(host_pci_compare(all[i - 1].address, all[i].address) < 0);
        assert_null(find(all, n, "0000:00:00.0")->driver);
        assert_int_equal(find(all, n, "0000:00:00.0")->header_type, 0);
        assert_int_equal(find(all, n, "0000:00:03.1")->header_type, 1);
        assert_string_equal(find(all, n, "0000:00:03.1")->driver, "pcieport");
        assert_int_equal(find(all, n, "0000:0b:00.0")->boot_vga, 0);
        assert_int_equal(find(all, n, "0000:0b:00.1")->boot_vga, -1);
        const struct host_pci *card = find(all, n, "0000:0a:00.0");
        assert_int_equal(card->vendor, 0x10de);
        assert_int_equal(card->device, 0x1b80);
        assert_int_equal(card->class, 0x030000);
        assert_string_equal(card->driver, "nouveau");
        assert_int_equal(card->iommu_group, 20);
        assert_string_equal(card->reset_methods, "bus");
        assert_int_equal(card->boot_vga, 1);
        /* A hwdb is of this machine and not of the captured one. */
        host_pci_name(h, all, n, arena);
        assert_null(card->device_name);
}

static void test_all_attributes(void **state) {
        _cleanup_host_ struct host *h = open_host(*state);
        _cleanup_arena_ struct arena *arena = arena_new();
        struct host_pci d;

        assert_int_equal(host_pci_find(h, "0000:0b:00.0", arena, &d), -ENOENT);
        put(*state, DEVICE "/vendor", "0x10de\n");
        put(*state, DEVICE "/device", "0x1b80\n");
        put(*state, DEVICE "/subsystem_vendor", "0x1462\n");
        put(*state, DEVICE "/subsystem_device", "0x3362\n");
        put(*state, DEVICE "/revision", "0xa1\n");
        put(*state, DEVICE "/class", "0x030000\n");
        /* Reading it would hang, as it does below a driver that hangs. */
        _cleanup_free_ char *override = xasprintf("%s" DEVICE "/driver_override", (const char *) *state);
        assert_int_equal(mkfifo(override, 0600), 0);
        put(*state, DEVICE "/d3cold_allowed", "1\n");
        put(*state, DEVICE "/power_state", "D3cold\n");
        put(*state, DEVICE "/numa_node", "1\n");
        put(*state, DEVICE "/reset_method", "\n");
        put(*state, DEVICE "/resource",
            "0x00000000f6000000 0x00000000f6ffffff 0x0000000000040200\n"
            "0x000000c000000000 0x000000c1ffffffff 0x000000000014220c\n"
            "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
            "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
            "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
            "0x000000000000e000 0x000000000000e07f 0x0000000000040101\n"
            "0x00000000000c0000 0x00000000000dffff 0x0000000000000212\n");
        assert_int_equal(host_pci_find(h, "0000:0b:00.0", arena, &d), 0);
        assert_int_equal(d.subsystem_vendor, 0x1462);
        assert_int_equal(d.subsystem_device, 0x3362);
        assert_int_equal(d.revision, 0xa1);
        assert_int_equal(d.d3cold_allowed, 1);
        assert_string_equal(d.power_state, "D3cold");
        assert_int_equal(d.numa_node, 1);
        assert_string_equal(d.reset_methods, "");
        assert_int_equal(d.iommu_group, -1);
        assert_int_equal(d.bars[0].size, 16 << 20);
        assert_false(d.bars[0].wide);
        assert_int_equal(d.bars[1].size, 8ULL << 30);
        assert_true(d.bars[1].wide && d.bars[1].prefetchable && !d.bars[1].io);
        assert_int_equal(d.bars[2].size, 0);
        assert_true(d.bars[5].io);
        assert_int_equal(d.rom_size, 128 << 10);
        put(*state, DEVICE "/secondary_bus_number", "12\n");
        assert_int_equal(host_pci_find(h, "0000:0b:00.0", arena, &d), 0);
        assert_int_equal(d.header_type, 1);
}

static void test_no_pci(void **state) {
        _cleanup_host_ struct host *h = open_host(*state);
        _cleanup_arena_ struct arena *arena = arena_new();
        struct host_iommu_group *groups;
        struct host_pci *d;
        size_t n;

        assert_int_equal(host_pci_list(h, arena, &d, &n, NULL), 0);
        assert_int_equal(n, 0);
        assert_int_equal(host_iommu_groups(h, arena, &groups, &n, NULL), 0);
        assert_int_equal(n, 0);
}

static void test_addresses(void **state) {
        static const char *const bad[] = { "",
                                           "0b:00.0",
                                           "0000:0B:00.0",
                                           "0000:0b:00.8 ",
                                           "0000:0b:00",
                                           "000:0b:00.0",
                                           "0000:0b:00.0x",
                                           "0000: b:00.0",
                                           "0000:0b:0.0",
                                           "/0000:0b:00.0" };

        assert_true(host_pci_is_address("0000:0b:00.0"));
        assert_true(host_pci_is_address("10000:e1:00.0"));
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                if (host_pci_is_address(bad[i]))
                        fail_msg("%s", bad[i]);
        assert_true(host_pci_compare("0000:0b:00.0", "0000:0b:00.1") < 0);
        assert_true(host_pci_compare("10000:00:00.0", "ffff:00:00.0") > 0);
        assert_true(host_pci_compare("0000:0a:1f.7", "0000:0b:00.0") < 0);
        assert_int_equal(host_pci_compare("0000:0b:00.0", "0000:0b:00.0"), 0);
}

static void test_classes(void **state) {
        assert_string_equal(host_pci_class_name(0x030000), "VGA controller");
        assert_string_equal(host_pci_class_name(0x038000), "display controller");
        assert_string_equal(host_pci_class_name(0x010802), "NVMe drive");
        assert_string_equal(host_pci_class_name(0x010801), "storage controller");
        assert_string_equal(host_pci_class_name(0xff0000), "device");
        assert_true(host_pci_is_display(0x030200));
        assert_false(host_pci_is_display(0x040300));
}

/* --- groups --- */

static void test_groups(void **state) {
        _cleanup_host_ struct host *h = open_host(TEST_HOSTS "/amd-desktop");
        _cleanup_arena_ struct arena *arena = arena_new();
        struct host_iommu_group *groups, one;
        const char *why = NULL, *hint = NULL;
        size_t n;

        assert_int_equal(host_iommu_groups(h, arena, &groups, &n, NULL), 0);
        assert_true(n > 1);
        for (size_t i = 1; i < n; i++)
                assert_true(groups[i - 1].number < groups[i].number);
        assert_int_equal(host_iommu_group(h, 21, arena, &one), 0);
        assert_int_equal(one.n_members, 2);
        assert_string_equal(one.members[1], "0000:0b:00.1");
        assert_int_equal(host_iommu_group(h, 20, arena, &one), 0);
        assert_string_equal(one.members[0], "0000:0a:00.0");
        assert_int_equal(host_iommu_group(h, 9999, arena, &one), -ENOENT);
        assert_true(host_iommu(h, arena, &why, &hint));
        assert_null(why);
}

static const char *hint_of(const char *root, const char *vendor, const char *flags, const char *cmdline) {
        _cleanup_host_ struct host *h = open_host(root);
        _cleanup_arena_ struct arena *arena = arena_new();
        static char text[256];
        _cleanup_free_ char *cpuinfo = xasprintf("vendor_id\t: %s\nflags\t\t: %s\n\n", vendor, flags);
        const char *why = NULL, *hint = NULL;

        put(root, "/proc/cpuinfo", cpuinfo);
        put(root, "/proc/cmdline", cmdline);
        assert_false(host_iommu(h, arena, &why, &hint));
        assert_string_equal(why, "this host has no IOMMU groups: its IOMMU is off or missing");
        snprintf(text, sizeof(text), "%s", hint ? hint : "");
        return text;
}

static void test_no_groups(void **state) {
        assert_string_equal(
                hint_of(*state, "GenuineIntel", "vmx", "quiet"),
                "turn on VT-d in the machine's firmware setup, and add intel_iommu=on to the kernel's "
                "parameters");
        assert_string_equal(
                hint_of(*state, "GenuineIntel", "vmx", "quiet intel_iommu=on,sm_on iommu=pt"),
                "the kernel is told intel_iommu=on: turn on VT-d in the machine's firmware setup");
        put(*state, "/sys/firmware/acpi/tables/DMAR", "");
        assert_string_equal(hint_of(*state, "GenuineIntel", "vmx", "xintel_iommu=on intel_iommux=on"),
                            "add intel_iommu=on to the kernel's parameters");
        assert_string_equal(
                hint_of(*state, "AuthenticAMD", "svm", "quiet"),
                "turn on IOMMU (AMD-Vi; often under AMD CBS, NBIO) in the machine's firmware setup");
        assert_string_equal(hint_of(*state, "AuthenticAMD", "svm", "amd_iommu=off"),
                            "take amd_iommu=off out of the kernel's parameters");
        assert_string_equal(hint_of(*state, "AuthenticAMD", "svm", "iommu=off"),
                            "take iommu=off out of the kernel's parameters");
        assert_string_equal(hint_of(*state, "AuthenticAMD", "svm hypervisor", "quiet"),
                            "this host is a virtual machine itself: it needs a virtual IOMMU from outside");
        assert_string_equal(hint_of(*state, "Other", "x", "quiet"), "");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_list),
                cmocka_unit_test_setup_teardown(test_all_attributes, make_tree, drop_tree),
                cmocka_unit_test_setup_teardown(test_no_pci, make_tree, drop_tree),
                cmocka_unit_test(test_addresses),
                cmocka_unit_test(test_classes),
                cmocka_unit_test(test_groups),
                cmocka_unit_test_setup_teardown(test_no_groups, make_tree, drop_tree),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
