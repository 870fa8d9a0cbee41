/* The list of devices of each captured host (tests/golden/devices/HOST.json). VORE_UPDATE_GOLDEN=1 writes
 * them anew. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "plan/devices.h"

#include <fcntl.h>

static json_t *list(const char *name, const struct complete_device *uses, size_t n, json_t **ret_notes) {
        _cleanup_free_ char *root = xasprintf("%s/%s", TEST_HOSTS, name);
        _cleanup_host_ struct host *host = NULL;
        _cleanup_error_ struct error err = ERROR_INIT;
        json_t *devices = NULL;

        assert_int_equal(host_open(root, &host, NULL), 0);
        if (plan_devices(host, uses, n, &devices, ret_notes, &err) < 0)
                fail_msg("%s: %s", name, error_text(&err));
        return devices;
}

static void check_golden(const char *name) {
        _cleanup_free_ char *path = xasprintf("%s/%s.json", TEST_GOLDEN, name), *want = NULL, *got = NULL;
        _cleanup_json_ json_t *all = json_object();
        const char *update = getenv("VORE_UPDATE_GOLDEN");
        json_t *notes = NULL;

        json_put(all, "devices", list(name, NULL, 0, &notes));
        json_put(all, "notes", notes);
        _cleanup_free_ char *pretty = json_text_pretty(all);
        got = xasprintf("%s\n", pretty);
        if (str_eq(update, "1"))
                assert_int_equal(file_write_atomic(AT_FDCWD, path, got, strlen(got), 0644, false, NULL), 0);
        if (file_read(AT_FDCWD, path, 1 << 20, &want, NULL, NULL) < 0)
                fail_msg("%s is not there; VORE_UPDATE_GOLDEN=1 writes it", path);
        if (!str_eq(want, got))
                fail_msg("%s differs; VORE_UPDATE_GOLDEN=1 shows how in git diff", path);
}

static void test_golden(void **state) {
        static const char *const hosts[] = { "amd-desktop", "intel-laptop", "plain-vm", "no-kvm" };

        for (size_t i = 0; i < ARRAY_SIZE(hosts); i++)
                check_golden(hosts[i]);
}

static const json_t *find(const json_t *devices, const char *address) {
        const json_t *device;
        size_t i;

        json_array_foreach (devices, i, device)
                if (str_eq(json_get_str(device, "address", NULL), address))
                        return device;
        fail_msg("%s is not listed", address);
        return NULL;
}

static void test_used(void **state) {
        static const struct complete_device uses[] = { { "win10", "0000:0b:00.1" },
                                                       { "win10", "0000:ff:00.0" } };
        _cleanup_json_ json_t *notes = NULL, *devices = list("amd-desktop", uses, ARRAY_SIZE(uses), &notes);

        assert_string_equal(json_get_str(find(devices, "0000:0b:00.1"), "used_by", ""), "win10");
        assert_null(json_get_str(find(devices, "0000:0b:00.0"), "used_by", NULL));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_golden),
                cmocka_unit_test(test_used),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
