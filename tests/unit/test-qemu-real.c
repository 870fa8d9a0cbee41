/* Asks the QEMU that is installed here. */
#include "base/str.h"
#include "qemu/caps.h"

#include <ctype.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

static const char binary[] = "qemu-system-x86_64";

static void check_facts(const struct caps *c) {
        assert_true(isdigit((unsigned char) c->version[0]));
        assert_true(caps_has_device(c, "nvme"));
        assert_true(caps_has_device(c, "e1000e"));
        assert_true(caps_has_device(c, "virtio-blk-pci"));
        assert_true(caps_has_device(c, "vfio-pci"));
        assert_false(caps_has_device(c, "nvm"));
        assert_true(caps_has_property(c, "nvme", "serial"));
        assert_false(caps_has_property(c, "nvme", "iothread"));
        assert_true(caps_has_property(c, "virtio-blk-pci", "iothread"));
        assert_true(caps_has(c, "object", "memory-backend-memfd"));
        assert_true(caps_has(c, "netdev", "user"));
        assert_true(caps_has(c, "audiodev", "none"));
        assert_true(caps_has(c, "display", "none"));
        assert_true(caps_has(c, "blockdev", "host_device"));
        assert_true(caps_has(c, "chardev", "socket"));
        assert_true(caps_has(c, "aio", "threads"));
        assert_true(caps_has(c, "machine", "q35"));
        assert_true(caps_has(c, "machine-property", "q35.hpet"));
        assert_true(caps_has(c, "command", "query-cpus-fast"));
        assert_true(caps_has(c, "option", "sandbox"));
        assert_true(caps_has(c, "option-param", "sandbox.spawn"));
        assert_true(caps_has(c, "accel-property", "kvm.kernel-irqchip"));
        assert_true(caps_has(c, "cpu-property", "hv-vapic"));
}

static void probe(void **state) {
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_free_ char *text = NULL, *identity = NULL;
        _cleanup_caps_ struct caps c = CAPS_INIT;

        if (caps_identity(binary, &identity, &err) == -ENOENT) {
                print_message("skipped: %s\n", error_text(&err));
                skip();
        }
        if (caps_probe(binary, 60000, &text, &err) < 0)
                fail_msg("%s", error_text(&err));
        assert_true(str_starts(text, identity));
        assert_int_equal(caps_parse(text, &c, &err), 0);
        check_facts(&c);
}

int main(void) {
        const struct CMUnitTest tests[] = { cmocka_unit_test(probe) };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
