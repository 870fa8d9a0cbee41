/* What a host needs of its devices: cases that the captured hosts do not have (they are in
 * tests/golden/devices). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/str.h"
#include "host/need.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define DEVICE "0000:01:00.0"
#define FOLDER "/sys/devices/pci0000:00/0000:00:01.0/" DEVICE

struct tree {
        char root[32];
        struct arena *arena;
        struct host *host;
};

static void put(struct tree *t, const char *path, const char *text) {
        _cleanup_free_ char *full = xasprintf("%s%s", t->root, path);
        char *slash = strrchr(full, '/');

        *slash = '\0';
        assert_int_equal(file_mkdirs(full, 0755, NULL), 0);
        *slash = '/';
        assert_int_equal(file_write_atomic(AT_FDCWD, full, text, strlen(text), 0644, false, NULL), 0);
}

/* target counts from the root. */
static void put_link(struct tree *t, const char *path, const char *target) {
        _cleanup_free_ char *full = xasprintf("%s%s", t->root, path);
        char *slash = strrchr(full, '/');

        *slash = '\0';
        assert_int_equal(file_mkdirs(full, 0755, NULL), 0);
        *slash = '/';
        assert_int_equal(symlink(target, full), 0);
}

static int setup(void **state) {
        struct tree *t = xcalloc(1, sizeof(*t));

        strcpy(t->root, "/tmp/vore-need-XXXXXX");
        assert_non_null(mkdtemp(t->root));
        t->arena = arena_new();
        assert_int_equal(host_open(t->root, &t->host, NULL), 0);
        put(t, FOLDER "/vendor", "0x144d\n");
        put(t, FOLDER "/class", "0x010802\n");
        put_link(t, "/sys/bus/pci/devices/" DEVICE, FOLDER);
        put(t, "/vore/nodes", "/dev/nvme0n1 b 0660 0 6 259:0 rw\n");
        put(t, "/dev/nvme0n1", "");
        *state = t;
        return 0;
}

static int teardown(void **state) {
        struct tree *t = *state;

        host_free(t->host);
        arena_free(t->arena);
        assert_int_equal(file_remove_tree(AT_FDCWD, t->root, NULL), 0);
        free(t);
        return 0;
}

static const char *need(struct tree *t) {
        struct host_pci d;

        assert_int_equal(host_pci_find(t->host, DEVICE, t->arena, &d), 0);
        return host_pci_need(t->host, &d, t->arena);
}

static void test_not_needed(void **state) {
        assert_null(need(*state));
}

static void add_interface(struct tree *t) {
        put(t, FOLDER "/net/eth0/operstate", "up\n");
        put_link(t, "/sys/class/net/eth0", FOLDER "/net/eth0");
}

static void test_routes(void **state) {
        static const char head[] = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n";
        struct tree *t = *state;
        _cleanup_free_ char *half = xasprintf("%seth0 00000000 0 0001 0 0 0 00000080 0 0 0\n", head);
        _cleanup_free_ char *down = xasprintf("%seth0 00000000 0 0002 0 0 0 00000000 0 0 0\n", head);
        _cleanup_free_ char *other = xasprintf("%seth1 00000000 0 0003 0 0 0 00000000 0 0 0\n", head);
        _cleanup_free_ char *whole = xasprintf("%seth0 00000000 0 0003 0 0 0 00000000 0 0 0\n", head);

        add_interface(t);
        put(t, "/proc/net/route", half); /* of two halves of all there is */
        assert_null(need(t));
        put(t, "/proc/net/route", down);
        assert_null(need(t));
        put(t, "/proc/net/route", other);
        assert_null(need(t));
        put(t, "/proc/net/route", "nonsense");
        assert_null(need(t));
        put(t, "/proc/net/route", whole);
        assert_string_equal(need(t), "the default route is by eth0");
}

/* A VLAN on a bridge on the card; and a ring, which must end. */
static void test_stacked(void **state) {
        struct tree *t = *state;

        add_interface(t);
        put(t, "/proc/net/route", "v7 00000000 0 0003 0 0 0 00000000 0 0 0\n");
        put_link(t, "/sys/devices/virtual/net/v7/lower_br0", "/sys/devices/virtual/net/br0");
        put_link(t, "/sys/class/net/v7", "/sys/devices/virtual/net/v7");
        put_link(t, "/sys/devices/virtual/net/br0/lower_v7", "/sys/devices/virtual/net/v7");
        put_link(t, "/sys/class/net/br0", "/sys/devices/virtual/net/br0");
        assert_null(need(t));
        put_link(t, "/sys/devices/virtual/net/br0/lower_eth0", FOLDER "/net/eth0");
        assert_string_equal(need(t), "the default route is by v7");
}

static void add_disk(struct tree *t, const char *folder) {
        _cleanup_free_ char *dev = xasprintf("%s/nvme0n1/dev", folder),
                            *disk = xasprintf("%s/nvme0n1", folder);

        put(t, dev, "259:0\n");
        put_link(t, "/sys/class/block/nvme0n1", disk);
        put_link(t, "/sys/dev/block/259:0", disk);
        put(t, "/proc/swaps", "Filename Type Size Used Priority\n");
}

static void test_swap(void **state) {
        struct tree *t = *state;

        add_disk(t, FOLDER "/nvme/nvme0");
        assert_null(need(t));
        put(t, "/proc/swaps", "Filename Type Size Used Priority\n/dev/nvme0n1 partition 1 0 -2\n");
        assert_string_equal(need(t), "/dev/nvme0n1 is used for swap");
}

/* With multipath the disk itself is virtual, and the controller only has a hidden path to it. */
static void test_multipath(void **state) {
        struct tree *t = *state;

        add_disk(t, "/sys/devices/virtual/nvme-subsystem/nvme-subsys0");
        put(t, FOLDER "/nvme/nvme3/nvme0c3n1/size", "1\n");
        assert_false(host_pci_has_disk(t->host, DEVICE, makedev(259, 0)));
        put_link(t, "/sys/class/block/nvme0c3n1", FOLDER "/nvme/nvme3/nvme0c3n1");
        assert_null(need(t));
        assert_true(host_pci_has_disk(t->host, DEVICE, makedev(259, 0)));
        assert_false(host_pci_has_disk(t->host, DEVICE, makedev(259, 1)));
        put(t, "/proc/swaps", "Filename Type Size Used Priority\n/dev/nvme0n1 partition 1 0 -2\n");
        assert_string_equal(need(t), "/dev/nvme0n1 is used for swap");
}

static void test_virtual_functions(void **state) {
        struct tree *t = *state;

        put(t, "/sys/devices/pci0000:00/0000:01:10.0/vendor", "0x8086\n");
        put_link(t, "/sys/bus/pci/devices/0000:01:10.0", "/sys/devices/pci0000:00/0000:01:10.0");
        put(t, "/sys/devices/pci0000:00/0000:01:10.4/vendor", "0x8086\n");
        put_link(t, "/sys/bus/pci/devices/0000:01:10.4", "/sys/devices/pci0000:00/0000:01:10.4");
        put_link(t, FOLDER "/virtfn0", "../0000:01:10.0");
        put_link(t, FOLDER "/virtfn1", "../0000:01:10.4");
        assert_string_equal(need(t), "its virtual function 0000:01:10.0 goes away with its driver");
        put_link(t, "/sys/devices/pci0000:00/0000:01:10.4/driver", "/sys/bus/pci/drivers/vfio-pci");
        assert_string_equal(need(t), "its virtual function 0000:01:10.4 is with the driver vfio-pci");
        put_link(t, FOLDER "/driver", "/sys/bus/pci/drivers/vfio-pci");
        assert_null(need(t));
        assert_false(host_pci_function_of(t->host, "0000:01:10.0", DEVICE));
        put_link(t, "/sys/devices/pci0000:00/0000:01:10.0/physfn", "../" DEVICE);
        assert_true(host_pci_function_of(t->host, "0000:01:10.0", DEVICE));
        assert_false(host_pci_function_of(t->host, "0000:01:10.0", "0000:01:10.4"));
}

static void test_display(void **state) {
        struct tree *t = *state;

        put(t, FOLDER "/class", "0x030000\n");
        put(t, FOLDER "/boot_vga", "1\n");
        assert_string_equal(need(t), "it is the boot display");
        put_link(t, FOLDER "/driver", "/sys/bus/pci/drivers/vfio-pci"); /* given away before */
        assert_null(need(t));
}

static void test_stay(void **state) {
        static const struct {
                const char *driver;
                bool stays;
        } rows[] = {
                { NULL, true },       { "vfio-pci", true }, { "mlx5_vfio_pci", true },  { "pci-stub", true },
                { "pcieport", true }, { "nouveau", false }, { "snd_hda_intel", false },
        };

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
                assert_int_equal(host_pci_may_stay(&(struct host_pci){ .driver = rows[i].driver }),
                                 rows[i].stays);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_not_needed, setup, teardown),
                cmocka_unit_test_setup_teardown(test_routes, setup, teardown),
                cmocka_unit_test_setup_teardown(test_stacked, setup, teardown),
                cmocka_unit_test_setup_teardown(test_swap, setup, teardown),
                cmocka_unit_test_setup_teardown(test_multipath, setup, teardown),
                cmocka_unit_test_setup_teardown(test_virtual_functions, setup, teardown),
                cmocka_unit_test_setup_teardown(test_display, setup, teardown),
                cmocka_unit_test(test_stay),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
