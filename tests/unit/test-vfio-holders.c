/* Who holds a device: on trees made for it and on captured hosts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "vfio/holders.h"
#include "vfio/job.h"
#include "work/work.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define CARD "0000:0b:00.0"
#define DEVICE "/sys/devices/pci0000:00/" CARD

static void put(const char *root, const char *path, const char *text) {
        _cleanup_free_ char *full = xasprintf("%s%s", root, path), *folder = xstrdup(full);

        *strrchr(folder, '/') = '\0';
        assert_int_equal(file_mkdirs(folder, 0755, NULL), 0);
        assert_int_equal(file_write_atomic(AT_FDCWD, full, text, strlen(text), 0644, false, NULL), 0);
}

static void put_link(const char *root, const char *path, const char *target) {
        _cleanup_free_ char *full = xasprintf("%s%s", root, path), *folder = xstrdup(full);

        *strrchr(folder, '/') = '\0';
        assert_int_equal(file_mkdirs(folder, 0755, NULL), 0);
        assert_int_equal(symlink(target, full), 0);
}

/* A device node: an empty file that vore/nodes explains. */
static void put_node(const char *root, const char *path, char type, const char *number) {
        _cleanup_free_ char *list = xasprintf("%s/vore/nodes", root), *old = NULL, *line = NULL;

        put(root, path, "");
        if (file_read(AT_FDCWD, list, 65536, &old, NULL, NULL) < 0)
                old = xstrdup("");
        line = xasprintf("%s%s %c 0660 0 0 %s rw\n", old, path, type, number);
        put(root, "/vore/nodes", line);
}

static void put_process(const char *root, long pid, const char *program, const char *fd, const char *target) {
        _cleanup_free_ char *comm = xasprintf("/proc/%ld/comm", pid),
                            *link = xasprintf("/proc/%ld/fd/%s", pid, fd);
        _cleanup_free_ char *line = xasprintf("%s\n", program);

        put(root, comm, line);
        put_link(root, link, target);
}

static int make_tree(void **state) {
        char *folder = xstrdup("/tmp/test-vfio.XXXXXX");

        *state = mkdtemp(folder);
        if (!*state)
                return -1;
        put(*state, DEVICE "/vendor", "0x10de\n");
        put(*state, DEVICE "/device", "0x1b80\n");
        put(*state, DEVICE "/class", "0x030000\n");
        put_link(*state, "/sys/bus/pci/devices/" CARD, "../../../devices/pci0000:00/" CARD);
        return 0;
}

static int drop_tree(void **state) {
        int r = file_remove_tree(AT_FDCWD, *state, NULL);

        free(*state);
        return r;
}

/* The sentences, one a line; what the host needs begins with "!". */
static char *holders_text(const char *root, const char *address) {
        _cleanup_arena_ struct arena *arena = arena_new();
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_host_ struct host *h = NULL;
        struct vfio_holder *holders;
        size_t n;

        assert_int_equal(host_open(root, &h, NULL), 0);
        if (vfio_holders(h, address, arena, &holders, &n, &err) < 0)
                fail_msg("%s", error_text(&err));
        for (size_t i = 0; i < n; i++)
                strbuf_addf(&b, "%s%s\n", holders[i].host_needs ? "!" : "", holders[i].sentence);
        return strbuf_take(&b);
}

static void assert_holders(const char *root, const char *address, const char *text) {
        _cleanup_free_ char *found = holders_text(root, address);

        assert_string_equal(found, text);
}

/* It, and nothing that is behind it. */
static void assert_bridge(const char *root, const char *address) {
        _cleanup_free_ char *found = holders_text(root, address);

        assert_true(found[0] == '!' && strstr(found, "bridge"));
        assert_null(strchr(strchr(found, '\n') + 1, '\n'));
}

static void test_nobody(void **state) {
        put_process(*state, 7, "cat", "0", "/dev/null");
        put_node(*state, "/dev/null", 'c', "1:3");
        assert_holders(*state, CARD, "");
}

static void test_graphics(void **state) {
        put(*state, DEVICE "/drm/card1/dev", "226:1\n");
        put(*state, DEVICE "/drm/card1/uevent", "MAJOR=226\nMINOR=1\nDEVNAME=dri/card1\nDEVTYPE=drm_minor\n");
        put(*state, DEVICE "/drm/renderD129/dev", "226:129\n");
        put(*state, DEVICE "/drm/renderD129/uevent", "DEVNAME=dri/renderD129\n");
        put(*state, DEVICE "/i2c-3/i2c-dev/i2c-3/dev", "89:3\n");
        /* A link back up would never end, and one across is another device. */
        put_link(*state, DEVICE "/drm/card1/device", "../..");
        put_node(*state, "/dev/dri/card0", 'c', "226:0");
        put_node(*state, "/dev/dri/card1", 'c', "226:1");
        put_node(*state, "/dev/dri/renderD129", 'c', "226:129");
        put_node(*state, "/dev/i2c-3", 'c', "89:3");
        put_process(*state, 812, "Xorg", "14", "/dev/dri/card1");
        put_link(*state, "/proc/812/fd/15", "/dev/dri/card1");
        put_link(*state, "/proc/812/fd/16", "socket:[4242]");
        put_process(*state, 900, "kwin", "3", "/dev/dri/card0");
        put_process(*state, 901, "game", "9", "/dev/dri/renderD129");
        put_process(*state, 902, "powerdevil", "5", "/dev/i2c-3");
        assert_holders(*state, CARD,
                       "Xorg (pid 812) has /dev/dri/card1 open\n"
                       "game (pid 901) has /dev/dri/renderD129 open\n"
                       "powerdevil (pid 902) has /dev/i2c-3 open\n");
}

static void test_sound_and_keyboard(void **state) {
        put(*state, DEVICE "/sound/card0/controlC0/dev", "116:2\n");
        put(*state, DEVICE "/sound/card0/controlC0/uevent", "DEVNAME=snd/controlC0\n");
        put(*state, DEVICE "/sound/card0/input5/event4/dev", "13:68\n");
        put_link(*state, DEVICE "/sound/card0/input5/event4/subsystem", "../../../../../../../class/input");
        put_node(*state, "/dev/snd/controlC0", 'c', "116:2");
        put_node(*state, "/dev/input/event4", 'c', "13:68");
        put_process(*state, 600, "systemd-logind", "20", "/dev/input/event4");
        put_process(*state, 700, "pipewire", "33", "/dev/snd/controlC0");
        assert_holders(*state, CARD, "pipewire (pid 700) has /dev/snd/controlC0 open\n");
}

static void test_usb_device(void **state) {
        put(*state, DEVICE "/usb3/3-1/dev", "189:257\n");
        put(*state, DEVICE "/usb3/3-1/uevent", "DEVNAME=bus/usb/003/002\n");
        put_node(*state, "/dev/bus/usb/003/002", 'c', "189:257");
        put_process(*state, 55, "qemu-system-x86", "30", "/dev/bus/usb/003/002");
        assert_holders(*state, CARD, "qemu-system-x86 (pid 55) has /dev/bus/usb/003/002 open\n");
}

static void put_nvidia(const char *root) {
        put_link(root, DEVICE "/driver", "../../../bus/pci/drivers/nvidia");
        put_node(root, "/dev/nvidia0", 'c', "195:0");
        put_node(root, "/dev/nvidia1", 'c', "195:1");
        put_node(root, "/dev/nvidiactl", 'c', "195:255");
        put_node(root, "/dev/nvidia-uvm", 'c', "511:0");
        put_process(root, 30, "other", "3", "/dev/nvidia1");
        put_process(root, 31, "persistenced", "3", "/dev/nvidia0");
        put_process(root, 32, "ollama", "3", "/dev/nvidiactl");
        put_process(root, 33, "cuda", "3", "/dev/nvidia-uvm");
}

static void test_nvidia_one_card(void **state) {
        put_nvidia(*state);
        put(*state, "/proc/driver/nvidia/gpus/" CARD "/information", "Model: \t X\nDevice Minor: \t 0\n");
        assert_holders(*state, CARD,
                       "persistenced (pid 31) has /dev/nvidia0 open\n"
                       "ollama (pid 32) has /dev/nvidiactl open\n"
                       "cuda (pid 33) has /dev/nvidia-uvm open\n");
}

/* The nodes of all cards say nothing about one of two. */
static void test_nvidia_two_cards(void **state) {
        put_nvidia(*state);
        put(*state, "/proc/driver/nvidia/gpus/" CARD "/information", "Device Minor: \t 0\n");
        put(*state, "/proc/driver/nvidia/gpus/0000:0c:00.0/information", "Device Minor: \t 1\n");
        assert_holders(*state, CARD, "persistenced (pid 31) has /dev/nvidia0 open\n");
}

/* Without a number it may be any of them. */
static void test_nvidia_unknown(void **state) {
        put_nvidia(*state);
        assert_holders(*state, CARD,
                       "other (pid 30) has /dev/nvidia1 open\n"
                       "persistenced (pid 31) has /dev/nvidia0 open\n"
                       "ollama (pid 32) has /dev/nvidiactl open\n"
                       "cuda (pid 33) has /dev/nvidia-uvm open\n");
}

static void test_guest(void **state) {
        put_link(*state, DEVICE "/driver", "../../../bus/pci/drivers/vfio-pci");
        put_link(*state, DEVICE "/iommu_group", "../../../kernel/iommu_groups/21");
        put_node(*state, "/dev/vfio/21", 'c', "243:5");
        put_process(*state, 55, "qemu-system-x86", "30", "/dev/vfio/21");
        assert_holders(*state, CARD, "qemu-system-x86 (pid 55) has /dev/vfio/21 open\n");

        struct vfio_sys sys = { 0 };
        _cleanup_free_ char *sentence = NULL;
        assert_int_equal(vfio_sys_open(*state, &sys, NULL), 0);
        assert_int_equal(sys.ops->open_by(sys.data, CARD, &sentence), 1);
        assert_string_equal(sentence, "qemu-system-x86 (pid 55) has /dev/vfio/21 open");
        assert_int_equal(sys.ops->open_by(sys.data, "0000:0c:00.0", &sentence), -ENOENT);
        vfio_sys_close(&sys);
}

/* --- network --- */

static void put_interface(const char *root, const char *name, const char *flags) {
        _cleanup_free_ char *folder = xasprintf(DEVICE "/net/%s", name),
                            *file = xasprintf("%s/flags", folder);
        _cleanup_free_ char *class = xasprintf("/sys/class/net/%s", name),
                            *target = xasprintf("../..%s", folder + 4);

        put(root, file, flags);
        put_link(root, class, target);
}

static void test_network(void **state) {
        put_interface(*state, "eth0", "0x1003\n");
        put_interface(*state, "eth1", "0x1002\n");
        assert_holders(*state, CARD, "the network interface eth0 is up\n");
        put(*state, "/proc/net/route",
            "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n"
            "eth0\t00000000\t0100A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n");
        assert_holders(*state, CARD,
                       "!the default route is by eth0\n"
                       "the network interface eth0 is up\n");
}

/* --- disks --- */

static void put_disk(const char *root, const char *folder, const char *name, const char *number) {
        _cleanup_free_ char *dev = xasprintf("%s/dev", folder), *size = xasprintf("%s/size", folder);
        _cleanup_free_ char *link = xasprintf("/sys/dev/block/%s", number),
                            *node = xasprintf("/dev/%s", name);
        _cleanup_free_ char *line = xasprintf("%s\n", number), *target = xasprintf("../..%s", folder + 4);
        _cleanup_free_ char *class = xasprintf("/sys/class/block/%s", name);

        put(root, dev, line);
        put(root, size, "2048\n");
        put_link(root, link, target);
        put_link(root, class, target);
        put_node(root, node, 'b', number);
}

static void test_disk(void **state) {
        put(*state, DEVICE "/nvme/nvme0/dev", "241:0\n");
        put_disk(*state, DEVICE "/nvme/nvme0/nvme0n1", "nvme0n1", "259:0");
        put_disk(*state, DEVICE "/nvme/nvme0/nvme0n1/nvme0n1p1", "nvme0n1p1", "259:1");
        put(*state, DEVICE "/nvme/nvme0/nvme0n1/nvme0n1p1/partition", "1\n");
        assert_holders(*state, CARD, "");
        put(*state, "/proc/self/mountinfo", "25 1 259:1 / /home rw - ext4 /dev/nvme0n1p1 rw\n");
        put_process(*state, 40, "dd", "3", "/dev/nvme0n1");
        assert_holders(*state, CARD,
                       "!/dev/nvme0n1p1 is mounted at /home\n"
                       "dd (pid 40) has /dev/nvme0n1 open\n");
}

/* Namespaces hang from the subsystem, and the controller's folder has none. */
static void test_disk_nvme_subsystem(void **state) {
        put(*state, DEVICE "/nvme/nvme3/dev", "241:3\n");
        put_link(*state, "/sys/class/nvme-subsystem/nvme-subsys3",
                 "../../devices/virtual/nvme-subsystem/nvme-subsys3");
        put_link(*state, "/sys/devices/virtual/nvme-subsystem/nvme-subsys3/nvme3",
                 "../../../pci0000:00/" CARD "/nvme/nvme3");
        put_disk(*state, "/sys/devices/virtual/nvme-subsystem/nvme-subsys3/nvme3n1", "nvme3n1", "259:9");
        put_process(*state, 40, "dd", "3", "/dev/nvme3n1");
        assert_holders(*state, CARD, "dd (pid 40) has /dev/nvme3n1 open\n");
}

/* --- the device itself --- */

static void test_display_and_bridge(void **state) {
        put(*state, DEVICE "/boot_vga", "1\n");
        put_link(*state, DEVICE "/driver", "../../../bus/pci/drivers/amdgpu");
        assert_holders(*state, CARD, "!it is the boot display\n");
        put(*state, DEVICE "/secondary_bus_number", "12\n");
        put(*state, DEVICE "/0000:0c:00.0/drm/card1/dev", "226:1\n");
        put(*state, DEVICE "/boot_vga", "0\n");
        assert_bridge(*state, CARD);
}

static void test_too_many(void **state) {
        put(*state, DEVICE "/drm/card1/dev", "226:1\n");
        put_node(*state, "/dev/card1", 'c', "226:1");
        put(*state, DEVICE "/boot_vga", "1\n");
        put_link(*state, DEVICE "/driver", "../../../bus/pci/drivers/amdgpu");
        for (long pid = 100; pid < 200; pid++)
                put_process(*state, pid, "x", "1", "/dev/card1");
        _cleanup_free_ char *text = holders_text(*state, CARD);
        size_t lines = 0;
        for (const char *p = text; *p; p++)
                lines += *p == '\n';
        assert_int_equal(lines, VFIO_HOLDERS_MAX);
        assert_true(text[0] == '!');
}

static void test_refuse(void **state) {
        struct vfio_holder holders[] = { { .sentence = "a" }, { .sentence = "b" }, { .sentence = "c" },
                                         { .sentence = "d" }, { .sentence = "e" }, { .sentence = "f" },
                                         { .sentence = "g" } };
        _cleanup_error_ struct error err = ERROR_INIT;

        assert_int_equal(vfio_holders_refuse(CARD, holders, 0, &err), 0);
        assert_int_equal(vfio_holders_refuse(CARD, holders, 2, &err), -EBUSY);
        assert_string_equal(
                error_text(&err),
                CARD " is in use: a; b (force = true, or --force of vore attach, takes it all the same)");
        assert_int_equal(vfio_holders_refuse(CARD, holders, 7, &err), -EBUSY);
        assert_string_equal(error_text(&err), CARD " is in use: a; b; c; d; e; f; and 1 more (force = true, "
                                                   "or --force of vore attach, takes it all the same)");
}

/* Looking before a claim: refused unless that device is forced. */
static void test_look_refuses(void **state) {
        const char *const addresses[] = { CARD };
        bool force = false;
        struct vfio_sys sys;

        put(*state, DEVICE "/driver_override", "(null)\n");
        put(*state, DEVICE "/drm/card1/dev", "226:1\n");
        put_node(*state, "/dev/card1", 'c', "226:1");
        put_process(*state, 812, "Xorg", "1", "/dev/card1");
        /* A worker has none of our descriptors, so this stays in the test. */
        assert_int_equal(vfio_sys_open(*state, &sys, NULL), 0);
        struct vfio_look_job job = {
                .sys = &sys, .addresses = addresses, .force = &force, .n = 1, .root = *state
        };
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_json_ json_t *result = NULL;
        assert_int_equal(vfio_look_work(&job, -1, &result, &err), -EBUSY);
        assert_string_equal(error_text(&err),
                            CARD " is in use: Xorg (pid 812) has /dev/card1 open (force = true, or "
                                 "--force of vore attach, takes it all the same)");
        force = true;
        assert_int_equal(vfio_look_work(&job, -1, &result, &err), 0);
        json_decref(TAKE_PTR(result));
        force = false;
        job.vfio_may_be_held = true;
        assert_int_equal(vfio_look_work(&job, -1, &result, &err), -EBUSY);
        put_link(*state, DEVICE "/driver", "../../../bus/pci/drivers/vfio-pci");
        put(*state, DEVICE "/vfio-dev/vfio0/dev", "511:0\n");
        put_node(*state, "/dev/vfio/devices/vfio0", 'c', "511:0");
        put_process(*state, 55, "qemu", "9", "/dev/vfio/devices/vfio0");
        assert_int_equal(vfio_look_work(&job, -1, &result, &err), 0);
        json_decref(TAKE_PTR(result));
        job.vfio_may_be_held = false;
        assert_int_equal(vfio_look_work(&job, -1, &result, &err), -EBUSY);
        vfio_sys_close(&sys);
}

static void test_work(void **state) {
        const char *const addresses[] = { CARD, "0000:55:00.0" };
        struct vfio_holders_job job = { *state, addresses, 2 };
        _cleanup_json_ json_t *result = NULL;

        put(*state, DEVICE "/drm/card1/dev", "226:1\n");
        put_node(*state, "/dev/card1", 'c', "226:1");
        put_process(*state, 812, "X\xff", "1", "/dev/card1");
        assert_int_equal(work_run("holders", 10000, vfio_holders_work, &job, &result, NULL), 0);
        assert_int_equal(json_object_size(result), 1);
        const json_t *one = json_array_get(json_object_get(result, CARD), 0);
        assert_int_equal(json_get_int(one, "pid", 0), 812);
        assert_string_equal(json_get_str(one, "program", ""), "X\xef\xbf\xbd");
        assert_string_equal(json_get_str(one, "what", ""), "/dev/card1");
        assert_string_equal(json_get_str(one, "kind", ""), "process");
        assert_false(json_get_bool(one, "host_needs", true));
}

static void test_no_such_device(void **state) {
        _cleanup_arena_ struct arena *arena = arena_new();
        _cleanup_host_ struct host *h = NULL;
        struct vfio_holder *holders;
        size_t n;

        assert_int_equal(host_open(*state, &h, NULL), 0);
        assert_int_equal(vfio_holders(h, "0000:55:00.0", arena, &holders, &n, NULL), -ENOENT);
}

/* Trees of real shape. */
static void test_captured_hosts(void **state) {
        assert_holders(TEST_HOSTS "/amd-desktop", "0000:01:00.0", "");
        assert_holders(TEST_HOSTS "/amd-desktop", "0000:0b:00.0", "");
        assert_holders(TEST_HOSTS "/amd-desktop", "0000:0a:00.0", "!it is the boot display\n");
        assert_bridge(TEST_HOSTS "/amd-desktop", "0000:00:03.1");
}

#define IN_TREE(f) cmocka_unit_test_setup_teardown(f, make_tree, drop_tree)

int main(void) {
        const struct CMUnitTest tests[] = {
                IN_TREE(test_nobody),
                IN_TREE(test_graphics),
                IN_TREE(test_sound_and_keyboard),
                IN_TREE(test_usb_device),
                IN_TREE(test_nvidia_one_card),
                IN_TREE(test_nvidia_two_cards),
                IN_TREE(test_nvidia_unknown),
                IN_TREE(test_guest),
                IN_TREE(test_network),
                IN_TREE(test_disk),
                IN_TREE(test_disk_nvme_subsystem),
                IN_TREE(test_display_and_bridge),
                IN_TREE(test_too_many),
                cmocka_unit_test(test_refuse),
                IN_TREE(test_look_refuses),
                IN_TREE(test_work),
                IN_TREE(test_no_such_device),
                cmocka_unit_test(test_captured_hosts),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
