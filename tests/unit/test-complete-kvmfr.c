/* Looking Glass on a device of kvmfr: the captured host has such devices, and what they answer to the ioctl
 * that asks for their size is said here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/str.h"
#include "complete/complete.h"
#include "host/kvmfr.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);

static long size_answer; /* -errno or bytes */

long __wrap_syscall(long number, ...) {
        long a[6];
        va_list ap;

        va_start(ap, number);
        for (size_t i = 0; i < 6; i++)
                a[i] = va_arg(ap, long);
        va_end(ap);
        /* KVMFR_DMABUF_GETSIZE of LookingGlass's module/kvmfr.h */
        if (number != SYS_ioctl || (unsigned long) a[1] != _IO('u', 0x44))
                return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
        if (size_answer >= 0)
                return size_answer;
        errno = (int) -size_answer;
        return -1;
}

struct scene {
        struct arena *arena;
        struct host *host;
        struct diags diags;
        struct def *def;
};

static void scene_done(struct scene *s) {
        host_free(s->host);
        arena_free(s->arena);
}
#define SCENE _cleanup_(scene_done) struct scene

static void completed(struct scene *s, const char *keys, long answer) {
        struct settings settings = { .system = true, .shm_dir = "/dev/shm/vore" };
        struct complete_request req = { .settings = &settings, .qemu_binary = "/usr/bin/qemu-system-x86_64" };

        size_answer = answer;
        s->arena = arena_new();
        assert_int_equal(host_open(TEST_HOSTS "/amd-desktop", &s->host, NULL), 0);
        req.host = s->host;
        diags_init(&s->diags, s->arena, "lg.toml");
        const char *text = arena_printf(s->arena,
                                        "[machine]\nname = \"lg\"\nfeatures = [\"looking-glass\"]\n"
                                        "[looking-glass]\n%s\n",
                                        keys);
        assert_int_equal(def_parse(s->arena, text, strlen(text), "/", 0, &s->def, &s->diags), 0);
        complete(s->def, &req, &s->diags);
}

static const char *fault(const struct scene *s) {
        return s->diags.n ? s->diags.items[0].message : "";
}

static void test_which_devices(void **state) {
        static const struct {
                const char *path;
                bool is;
        } cases[] = {
                { "/dev/kvmfr0", true },  /* by its class */
                { "/dev/kvmfr3", true },  /* by its major number */
                { "/dev/kvmfr1", false }, /* a file */
                { "/dev/kvmfr2", false }, /* a device of another kind */
                { "/dev/kvm", false },
                { "/dev/sda", false }, /* a block device, whose number is kvmfr's among those */
        };
        _cleanup_host_ struct host *host = NULL;

        assert_int_equal(host_open(TEST_HOSTS "/amd-desktop", &host, NULL), 0);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct host_node node;

                assert_int_equal(host_node(host, cases[i].path, &node), 0);
                if (host_is_kvmfr(host, &node) != cases[i].is)
                        fail_msg("%s", cases[i].path);
        }
}

static void test_size_answers(void **state) {
        _cleanup_host_ struct host *host = NULL;
        uint64_t size = 7;

        assert_int_equal(host_open(TEST_HOSTS "/amd-desktop", &host, NULL), 0);
        size_answer = 64L << 20;
        assert_int_equal(host_kvmfr_size(host, "/dev/kvmfr0", &size), 0);
        assert_int_equal(size, 64 << 20);
        size_answer = 4L << 30; /* ioctl(3) would make 0 of it */
        assert_int_equal(host_kvmfr_size(host, "/dev/kvmfr0", &size), 0);
        assert_true(size == UINT64_C(4) << 30);
        size_answer = -ENOTTY;
        assert_int_equal(host_kvmfr_size(host, "/dev/kvmfr0", &size), -ENOTTY);
        size_answer = 0;
        assert_int_equal(host_kvmfr_size(host, "/dev/kvmfr0", &size), -ENOTTY);
        assert_int_equal(host_kvmfr_size(host, "/dev/kvmfr9", &size), -ENOENT);
        assert_true(size == UINT64_C(4) << 30);
}

static void test_equal_to_the_need(void **state) {
        SCENE s = { 0 };

        completed(&s, "mem-path = \"/dev/kvmfr0\"", 32L << 20);
        assert_string_equal(fault(&s), "");
        assert_true(s.def->looking_glass.kvmfr);
        assert_int_equal(s.def->looking_glass.buffer_size, 32 << 20);
}

/* All of the device's memory is the guest's. */
static void test_larger(void **state) {
        SCENE s = { 0 };

        completed(&s, "mem-path = \"/dev/kvmfr0\"", 128L << 20);
        assert_string_equal(fault(&s), "");
        assert_int_equal(s.def->looking_glass.buffer_size, 128 << 20);
}

static void test_too_small(void **state) {
        SCENE s = { 0 };

        completed(&s, "mem-path = \"/dev/kvmfr0\"\nwidth = 3840\nheight = 2160", 64L << 20);
        assert_string_equal(fault(&s), "/dev/kvmfr0 has 64M, but 128M are needed");
        assert_string_equal(s.diags.items[0].key, "looking-glass.mem-path");
        assert_string_equal(s.diags.items[0].hint, "rmmod kvmfr; modprobe kvmfr static_size_mb=128");
}

static void test_no_power_of_two(void **state) {
        SCENE s = { 0 };

        completed(&s, "mem-path = \"/dev/kvmfr0\"", 48L << 20);
        assert_string_equal(fault(&s), "/dev/kvmfr0 has 48M, which is no power of two");
}

/* What is written is what the guest gets, if the device has it. */
static void test_size_given(void **state) {
        SCENE s = { 0 }, t = { 0 };

        completed(&s, "mem-path = \"/dev/kvmfr0\"\nbuffer-size = \"64M\"", 128L << 20);
        assert_string_equal(fault(&s), "");
        assert_int_equal(s.def->looking_glass.buffer_size, 64 << 20);
        completed(&t, "mem-path = \"/dev/kvmfr0\"\nbuffer-size = \"256M\"", 128L << 20);
        assert_string_equal(fault(&t), "/dev/kvmfr0 has 128M, but 256M are needed");
}

/* A user who may not open it is told nothing: the daemon may. */
static void test_not_told(void **state) {
        SCENE s = { 0 };

        completed(&s, "mem-path = \"/dev/kvmfr0\"", -ENOTTY);
        assert_string_equal(fault(&s), "");
        assert_true(s.def->looking_glass.kvmfr);
        assert_int_equal(s.def->looking_glass.buffer_size, 32 << 20);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_which_devices),     cmocka_unit_test(test_size_answers),
                cmocka_unit_test(test_equal_to_the_need), cmocka_unit_test(test_larger),
                cmocka_unit_test(test_too_small),         cmocka_unit_test(test_no_power_of_two),
                cmocka_unit_test(test_size_given),        cmocka_unit_test(test_not_told),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
