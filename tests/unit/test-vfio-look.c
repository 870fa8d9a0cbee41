/* What a device is, whether its group may go, what is remembered: JSON there and back, and the real files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/str.h"
#include "sysfs-model.h"
#include "vfio/bind.h"
#include "vfio/group.h"
#include "vfio/job.h"
#include "vfio/stuck.h"
#include "work/work.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static int make_tree(void **state) {
        char *folder = xstrdup("/tmp/test-vfio.XXXXXX");

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

static void assert_file(const char *root, const char *path, const char *text) {
        _cleanup_free_ char *full = xasprintf("%s%s", root, path), *line = NULL;

        assert_int_equal(file_read_line(AT_FDCWD, full, &line), 0);
        assert_string_equal(line, text);
}

/* --- looking --- */

static void test_look(void **state) {
        struct vfio_device d;
        struct model m;

        model_init(&m);
        strcpy(m.devices[0].override, "nouveau");
        struct vfio_sys sys = model_sys(&m);
        assert_int_equal(vfio_look(&sys, MODEL_CARD, &d, NULL), 0);
        assert_true(d.present);
        assert_string_equal(d.original.driver, "nouveau");
        assert_string_equal(d.original.module, "nouveau");
        assert_string_equal(d.original.override, "nouveau");
        assert_string_equal(d.original.power_control, "auto");
        assert_string_equal(d.original.reset_method, "flr bus");
        assert_int_equal(d.original.d3cold_allowed, 1);
        assert_int_equal(d.iommu_group, 7);
        assert_int_equal(d.boot_vga, 1);
        assert_string_equal(d.power_state, "D3hot");
        assert_int_equal(d.n_members, 3);
        assert_string_equal(d.members[0].address, MODEL_BRIDGE);
        assert_true(d.members[0].bridge);
        assert_string_equal(d.members[2].driver, "snd_hda_intel");
        assert_int_equal(m.writes, 0);
}

static void test_look_at_nothing(void **state) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct vfio_device d;
        struct model m;

        model_init(&m);
        struct vfio_sys sys = model_sys(&m);
        assert_int_equal(vfio_look(&sys, "0000:55:00.0", &d, NULL), 0);
        assert_false(d.present);
        assert_string_equal(d.original.address, "0000:55:00.0");
        assert_int_equal(vfio_look(&sys, "../../../etc", &d, &err), -EINVAL);
        m.faults[0] = (struct model_fault){ m.op + 5, -EIO, false };
        assert_int_equal(vfio_look(&sys, MODEL_CARD, &d, &err), -EIO);
        assert_true(str_starts(error_text(&err), MODEL_CARD ": cannot be looked at"));
        /* The longest name that there may be. */
        memset(m.devices[0].override, 'x', 63);
        assert_int_equal(vfio_look(&sys, MODEL_CARD, &d, NULL), 0);
}

static void test_look_in_a_worker(void **state) {
        const char *const addresses[] = { MODEL_DRIVE, "0000:55:00.0", MODEL_CARD };
        _cleanup_json_ json_t *result = NULL;
        struct vfio_device d;
        struct model m;

        model_init(&m);
        struct vfio_sys sys = model_sys(&m);
        struct vfio_look_job job = { .sys = &sys, .addresses = addresses, .n = ARRAY_SIZE(addresses) };
        assert_int_equal(work_run("devices", 10000, vfio_look_work, &job, &result, NULL), 0);
        assert_int_equal(json_array_size(result), 3);
        assert_int_equal(vfio_device_from_json(json_array_get(result, 0), &d, NULL), 0);
        assert_string_equal(d.original.driver, "nvme");
        assert_int_equal(d.original.d3cold_allowed, -1);
        assert_false(d.original.has_reset_method);
        assert_int_equal(d.n_members, 1);
        assert_int_equal(vfio_device_from_json(json_array_get(result, 1), &d, NULL), 0);
        assert_false(d.present);
        assert_int_equal(vfio_device_from_json(json_array_get(result, 2), &d, NULL), 0);
        assert_int_equal(d.n_members, 3);
        assert_true(d.members[0].bridge);
        assert_int_equal(d.class, 0x030000);
        assert_int_equal(d.boot_vga, 1);
}

static void test_look_never_returns(void **state) {
        const char *const addresses[] = { MODEL_DRIVE, MODEL_CARD, MODEL_SOUND };
        struct vfio_look_at *at = vfio_look_at_new();
        _cleanup_error_ struct error err = ERROR_INIT;
        json_t *result = NULL;
        struct model m;

        model_init(&m);
        m.hangs_reading = MODEL_CARD "/d3cold_allowed";
        struct vfio_sys sys = model_sys(&m);
        struct vfio_look_job job = {
                .sys = &sys, .addresses = addresses, .n = ARRAY_SIZE(addresses), .at = at
        };
        assert_string_equal(vfio_look_at_address(at), "");
        assert_int_equal(work_run("devices", 200, vfio_look_work, &job, &result, &err), -ETIME);
        assert_string_equal(vfio_look_at_address(at), MODEL_CARD);
        vfio_look_at_free(at);
}

static void test_original_json(void **state) {
        struct vfio_original one = { .address = MODEL_CARD,
                                     .vendor = 0x10de,
                                     .device = 0x1b80,
                                     .driver = "nvidia",
                                     .module = "nvidia",
                                     .power_control = "auto",
                                     .d3cold_allowed = 1,
                                     .has_reset_method = true },
                             two;
        _cleanup_json_ json_t *j = vfio_original_to_json(&one);

        assert_true(json_is_null(json_object_get(j, "driver_override")));
        assert_int_equal(vfio_original_from_json(j, &two, NULL), 0);
        assert_memory_equal(&one, &two, sizeof(one));
}

static void test_original_bad_json(void **state) {
        static const char *const bad[] = {
                "[]",
                "{}",
                "{\"address\": \"0b:00.0\", \"vendor\": 1, \"device\": 1}",
                "{\"address\": \"0000:0b:00.0\", \"vendor\": 65536, \"device\": 1}",
                "{\"address\": \"0000:0b:00.0\", \"vendor\": 1}",
                "{\"address\": \"0000:0b:00.0\", \"vendor\": 1, \"device\": 1, \"driver\": 3}",
                "{\"address\": \"0000:0b:00.0\", \"vendor\": 1, \"device\": 1, \"driver\": \"../x\"}",
                "{\"address\": \"0000:0b:00.0\", \"vendor\": 1, \"device\": 1, \"driver_override\": \"..\"}",
                "{\"address\": \"0000:0b:00.0\", \"vendor\": 1, \"device\": 1, \"module\": \"a/b\"}",
        };
        struct vfio_original o;

        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                _cleanup_json_ json_t *j = json_loads(bad[i], 0, NULL);

                assert_non_null(j);
                if (vfio_original_from_json(j, &o, NULL) != -EBADMSG)
                        fail_msg("taken: %s", bad[i]);
        }
}

/* --- groups --- */

static void look(struct model *m, const char *address, struct vfio_device *d) {
        struct vfio_sys sys = model_sys(m);

        assert_int_equal(vfio_look(&sys, address, d, NULL), 0);
}

static void assert_group(const struct vfio_device *d, const char *const *wanted, size_t n, int code,
                         const char *text) {
        _cleanup_error_ struct error err = ERROR_INIT;

        assert_int_equal(vfio_group_check(d, wanted, n, &err), code);
        if (code)
                assert_string_equal(error_text(&err), text);
}

static void test_group(void **state) {
        const char *const both[] = { MODEL_CARD, MODEL_SOUND };
        size_t takes[VFIO_MEMBERS_MAX];
        struct vfio_device d;
        struct model m;

        model_init(&m);
        look(&m, MODEL_CARD, &d);
        assert_group(&d, both, 2, 0, NULL);
        assert_group(&d, both, 1, -EBUSY,
                     MODEL_CARD
                     ": its IOMMU group 7 is shared with " MODEL_SOUND " (snd_hda_intel), which the host "
                     "would keep: only all of a group can go to a guest; group = true takes the rest "
                     "along");
        assert_int_equal(vfio_group_takes(&d, takes), 2);
        assert_string_equal(d.members[takes[0]].address, MODEL_CARD);
        assert_string_equal(d.members[takes[1]].address, MODEL_SOUND);
        m.devices[1].driver = NULL;
        look(&m, MODEL_CARD, &d);
        assert_group(&d, both, 1, 0, NULL);
        m.devices[0].group = -1;
        look(&m, MODEL_CARD, &d);
        assert_group(&d, both, 2, -EOPNOTSUPP,
                     MODEL_CARD ": it has no IOMMU group: the IOMMU is off or missing");
        look(&m, MODEL_BRIDGE, &d);
        assert_group(&d, both, 2, -EINVAL,
                     MODEL_BRIDGE ": it is a bridge, which no guest can have: what is behind it can be used");
        m.devices[0].there = false;
        look(&m, MODEL_CARD, &d);
        assert_group(&d, both, 2, -ENODEV, MODEL_CARD ": there is no such device");
}

static void test_member_fine(void **state) {
        static const char *const fine[] = { "", "vfio-pci", "mlx5_vfio_pci", "pci-stub", "pcieport" };
        static const char *const not_fine[] = { "nvidia", "snd_hda_intel", "xhci_hcd", "shpchp" };

        assert_true(vfio_member_fine(NULL));
        for (size_t i = 0; i < ARRAY_SIZE(fine); i++)
                assert_true(vfio_member_fine(fine[i]));
        for (size_t i = 0; i < ARRAY_SIZE(not_fine); i++)
                assert_false(vfio_member_fine(not_fine[i]));
}

static void assert_verdict(struct model *m, const char *address, bool host_needs, const char *text) {
        _cleanup_arena_ struct arena *arena = arena_new();
        struct vfio_device d;
        const char *verdict;

        look(m, address, &d);
        vfio_verdict(&d, host_needs, arena, &verdict);
        assert_string_equal(verdict, text);
}

static void test_verdict(void **state) {
        struct model m;

        model_init(&m);
        assert_verdict(&m, MODEL_DRIVE, false, "ready");
        assert_verdict(&m, MODEL_DRIVE, true, "host needs it");
        assert_verdict(&m, MODEL_CARD, false, "needs 1 more of its group");
        assert_verdict(&m, MODEL_BRIDGE, false, "host needs it");
        m.devices[2].group = -1;
        assert_verdict(&m, MODEL_DRIVE, false, "no IOMMU");
}

/* --- stuck --- */

static void test_stuck(void **state) {
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_json_ json_t *list = NULL;

        assert_int_equal(vfio_stuck_check(*state, MODEL_CARD, &err), 0);
        assert_int_equal(vfio_stuck_add(*state, MODEL_CARD, MODEL_CARD " is stuck leaving nvidia", NULL), 0);
        assert_int_equal(vfio_stuck_add(*state, MODEL_CARD, "another story", NULL), 0);
        assert_int_equal(vfio_stuck_add(*state, MODEL_DRIVE, MODEL_DRIVE " is stuck", NULL), 0);
        assert_int_equal(vfio_stuck_check(*state, MODEL_CARD, &err), -EIO);
        assert_string_equal(error_text(&err),
                            MODEL_CARD " is stuck leaving nvidia: it can be used again after a "
                                       "restart of the host");
        assert_true(vfio_stuck_known(*state, MODEL_CARD));
        assert_false(vfio_stuck_known(*state, MODEL_SOUND));
        assert_int_equal(vfio_stuck_check(*state, MODEL_SOUND, &err), 0);
        assert_int_equal(vfio_stuck_list(*state, &list, NULL), 0);
        assert_int_equal(json_object_size(list), 2);
}

static void test_stuck_other_boot(void **state) {
        _cleanup_json_ json_t *list = NULL;

        put(*state, "/stuck-devices",
            "{\"boot\": \"another\", \"devices\": {\"" MODEL_CARD "\": \"is stuck\"}}");
        assert_int_equal(vfio_stuck_check(*state, MODEL_CARD, NULL), 0);
        assert_int_equal(vfio_stuck_list(*state, &list, NULL), 0);
        assert_int_equal(json_object_size(list), 0);
        assert_int_equal(vfio_stuck_add(*state, MODEL_DRIVE, "is stuck", NULL), 0);
        assert_int_equal(vfio_stuck_check(*state, MODEL_CARD, NULL), 0);
        assert_int_equal(vfio_stuck_check(*state, MODEL_DRIVE, NULL), -EIO);
}

static void test_stuck_broken(void **state) {
        _cleanup_error_ struct error err = ERROR_INIT;

        put(*state, "/stuck-devices", "{\"boot\": ");
        assert_int_equal(vfio_stuck_check(*state, MODEL_CARD, &err), -EBADMSG);
        assert_non_null(strstr(error_text(&err), "/stuck-devices: "));
        assert_non_null(strstr(error_text(&err), "(remove the file"));
        assert_false(vfio_stuck_known(*state, MODEL_CARD));
        assert_int_equal(vfio_stuck_add(*state, MODEL_CARD, "is stuck", NULL), 0);
        assert_int_equal(vfio_stuck_check(*state, MODEL_CARD, NULL), -EIO);
}

/* --- the real files --- */

#define CARD "/sys/bus/pci/devices/" MODEL_CARD

/* No kernel is behind them: a device that has a VFIO driver already only gets its settings. */
static void make_device(const char *root) {
        static const char *const files[][2] = {
                { "vendor", "0x10de" },        { "device", "0x1b80" },
                { "class", "0x030000" },       { "d3cold_allowed", "1" },
                { "power/control", "auto" },   { "driver_override", "(null)" },
                { "reset_method", "flr bus" }, { "config", "\xde\x10\x80\x1b" },
        };
        _cleanup_free_ char *link = xasprintf("%s" CARD "/driver", root), *bus = xasprintf("%s" CARD, root);
        _cleanup_free_ char *folder = xasprintf("%s/sys/bus/pci/devices", root);

        for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
                _cleanup_free_ char *path =
                        xasprintf("/sys/devices/pci0000:00/" MODEL_CARD "/%s", files[i][0]);
                _cleanup_free_ char *text = xasprintf("%s\n", files[i][1]);
                put(root, path, text);
        }
        assert_int_equal(file_mkdirs(folder, 0755, NULL), 0);
        assert_int_equal(symlink("../../../devices/pci0000:00/" MODEL_CARD, bus), 0);
        assert_int_equal(symlink("../../../bus/pci/drivers/vfio-pci", link), 0);
        put(root, "/sys/bus/pci/drivers/vfio-pci/unbind", "");
}

static void test_real_files(void **state) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct vfio_claim claim = { .has_reset_method = true, .reset_method = "bus" };
        struct vfio_original o;
        struct vfio_sys sys;

        make_device(*state);
        assert_int_equal(vfio_sys_open(*state, &sys, NULL), 0);
        assert_int_equal(vfio_original_read(&sys, MODEL_CARD, &o, NULL), 0);
        assert_string_equal(o.driver, "vfio-pci");
        assert_string_equal(o.override, "");
        if (vfio_bind(&sys, &o, &claim, NULL, &err) < 0)
                fail_msg("%s", error_text(&err));
        assert_file(*state, CARD "/d3cold_allowed", "0");
        assert_file(*state, CARD "/driver_override", "(null)");
        assert_int_equal(vfio_restore(&sys, &o, NULL, &err), 0);
        assert_file(*state, CARD "/d3cold_allowed", "1");
        assert_int_equal(sys.ops->write(sys.data, "/sys/not/there", "1"), -ENOENT);
        assert_int_equal(sys.ops->load(sys.data, "vfio_pci"), -ENOENT);
        vfio_sys_close(&sys);
}

/* Nobody's captured host is written to. */
static void test_captured_is_read_only(void **state) {
        struct vfio_sys sys;

        make_device(*state);
        assert_int_equal(setenv("VORE_HOST_ROOT", *state, 1), 0);
        assert_int_equal(vfio_sys_open(NULL, &sys, NULL), 0);
        assert_int_equal(unsetenv("VORE_HOST_ROOT"), 0);
        assert_int_equal(sys.ops->write(sys.data, CARD "/d3cold_allowed", "0"), -EROFS);
        assert_file(*state, CARD "/d3cold_allowed", "1");
        vfio_sys_close(&sys);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_look),
                cmocka_unit_test(test_look_at_nothing),
                cmocka_unit_test(test_look_in_a_worker),
                cmocka_unit_test(test_look_never_returns),
                cmocka_unit_test(test_original_json),
                cmocka_unit_test(test_original_bad_json),
                cmocka_unit_test(test_group),
                cmocka_unit_test(test_member_fine),
                cmocka_unit_test(test_verdict),
                cmocka_unit_test_setup_teardown(test_stuck, make_tree, drop_tree),
                cmocka_unit_test_setup_teardown(test_stuck_other_boot, make_tree, drop_tree),
                cmocka_unit_test_setup_teardown(test_stuck_broken, make_tree, drop_tree),
                cmocka_unit_test_setup_teardown(test_real_files, make_tree, drop_tree),
                cmocka_unit_test_setup_teardown(test_captured_is_read_only, make_tree, drop_tree),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
