#include "base/clock.h"
#include "base/file.h"
#include "base/str.h"
#include "qemu/caps.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define HEAD "vore-caps 2 /bin/qemu 1 2.0 3.0\n"

static const char text[] = HEAD "accel kvm device kernel-irqchip\n"
                                "cpu max hv-vapic sse4.1\n"
                                "device a\n"
                                "device nvme addr serial write-cache\n"
                                "device nvme-ns nsid\n"
                                "machine pc-q35-7.2\n"
                                "machine q35 hpet i8042\n"
                                "machine-cpus pc-q35-7.2 288\n"
                                "machine-cpus q35 288\n"
                                "machine-deprecated pc-i440fx-1.4\n"
                                "object iothread\n"
                                "option drive cache.direct file\n"
                                "option run-with user\n"
                                "version 7.2.22\n";

static void lookups(void **state) {
        _cleanup_caps_ struct caps c = CAPS_INIT;

        assert_int_equal(caps_parse(text, &c, NULL), 0);
        assert_string_equal(c.version, "7.2.22");
        assert_true(caps_has_device(&c, "nvme"));
        assert_true(caps_has_device(&c, "nvme-ns"));
        assert_true(caps_has_device(&c, "a"));
        assert_true(caps_has_property(&c, "nvme", "addr"));
        assert_true(caps_has_property(&c, "nvme", "serial"));
        assert_true(caps_has_property(&c, "nvme", "write-cache"));
        assert_true(caps_has_property(&c, "nvme-ns", "nsid"));
        assert_true(caps_has(&c, "property", "nvme.serial"));
        assert_true(caps_has(&c, "option", "run-with"));
        assert_true(caps_has(&c, "option-param", "run-with.user"));
        assert_true(caps_has(&c, "option-param", "drive.cache.direct"));
        assert_true(caps_has(&c, "object", "iothread"));
        assert_true(caps_has(&c, "machine", "pc-q35-7.2"));
        assert_true(caps_has(&c, "machine-property", "q35.hpet"));
        assert_true(caps_has(&c, "machine-deprecated", "pc-i440fx-1.4"));
        assert_int_equal(caps_cpus_max(&c, "q35"), 288);
        assert_int_equal(caps_cpus_max(&c, "pc-q35-7.2"), 288);
        assert_int_equal(caps_cpus_max(&c, "pc"), 0);
        assert_int_equal(caps_cpus_max(&c, "q35 288"), 0);
        assert_true(caps_has(&c, "accel", "kvm"));
        assert_true(caps_has(&c, "accel-property", "kvm.device"));
        assert_true(caps_has(&c, "cpu-property", "sse4.1"));
}

/* Parts of names, names across words, and questions that try to break out of a line. */
static void not_there(void **state) {
        static const char *const devices[] = {
                "",   "nvm",       "nvme-",  "nvme-n",         "nvmee",  "NVME",  "b",
                "zz", "nvme addr", "nvme\n", "a\ndevice nvme", "7.2.22", "device"
        };
        static const char *const properties[] = {
                "",      "add",     "addrs",   "ddr",  "serial write-cache", "nvme", "device", "write",
                "cache", "serial ", " serial", "nsid", "write-cache\n"
        };
        _cleanup_caps_ struct caps c = CAPS_INIT;

        assert_int_equal(caps_parse(text, &c, NULL), 0);
        for (size_t i = 0; i < ARRAY_SIZE(devices); i++)
                assert_false(caps_has_device(&c, devices[i]));
        for (size_t i = 0; i < ARRAY_SIZE(properties); i++)
                assert_false(caps_has_property(&c, "nvme", properties[i]));
        assert_false(caps_has_property(&c, "a", "a"));
        assert_false(caps_has_property(&c, "zz", "a"));
        assert_false(caps_has(&c, "colour", "red"));
        assert_false(caps_has(&c, "", ""));
        assert_false(caps_has(&c, "option-param", "run-with"));
        assert_false(caps_has(&c, "option-param", "run-with."));
        assert_false(caps_has(&c, "option-param", ".user"));
        assert_false(caps_has(&c, "option-param", "run-with.use"));
        assert_false(caps_has(&c, "machine-deprecated", "q35"));
        assert_false(caps_has(&c, "version", "7.2.22"));
}

static void not_caps(void **state) {
        static const char *const texts[] = {
                "",
                "\n",
                "vore-caps 2 ",
                HEAD,
                HEAD "device a\n",
                HEAD "version 7.2.22",
                "vore-caps 1 x\nversion 1\n",
                HEAD "version 1\ndevice a\n",
                HEAD "device b\ndevice a\nversion 1\n",
                HEAD "device a\ndevice a\nversion 1\n",
                HEAD "\n\nversion 1\n",
                HEAD "device a\n\nversion 1\n",
        };
        _cleanup_caps_ struct caps c = CAPS_INIT;
        _cleanup_error_ struct error err = ERROR_INIT;

        for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
                if (caps_parse(texts[i], &c, &err) != -EBADMSG)
                        fail_msg("took text %zu", i);
        assert_null(c.text);
}

/* A cut or changed file is never worse than none. */
static void damaged(void **state) {
        _cleanup_free_ char *copy = xstrdup(text);
        size_t len = strlen(text);

        for (size_t i = 0; i < len; i++) {
                static const char bytes[] = "\n x\x7f";

                for (size_t k = 0; k < sizeof(bytes); k++) {
                        _cleanup_caps_ struct caps c = CAPS_INIT;

                        copy[i] = bytes[k]; /* the last is NUL: cut here */
                        if (caps_parse(copy, &c, NULL) == 0) {
                                caps_has_property(&c, "nvme", "serial");
                                caps_has(&c, "option-param", "run-with.user");
                                caps_has_device(&c, "zz");
                        }
                }
                copy[i] = text[i];
        }
}

struct bench {
        char folder[32];
        char *cache, *binary; /* owned */
};

static int setup(void **state) {
        struct bench *b = xcalloc(1, sizeof(*b));

        strcpy(b->folder, "/tmp/vore-test-XXXXXX");
        assert_non_null(mkdtemp(b->folder));
        b->cache = xasprintf("%s/a/cache", b->folder);
        b->binary = xasprintf("%s/qemu", b->folder);
        assert_int_equal(file_write_atomic(AT_FDCWD, b->binary, "x", 1, 0755, false, NULL), 0);
        *state = b;
        return 0;
}

static int teardown(void **state) {
        struct bench *b = *state;

        assert_int_equal(file_remove_tree(AT_FDCWD, b->folder, NULL), 0);
        free(b->cache);
        free(b->binary);
        free(b);
        return 0;
}

static void store(struct bench *b) {
        _cleanup_free_ char *identity = NULL, *full = NULL;

        assert_int_equal(caps_identity(b->binary, &identity, NULL), 0);
        full = xasprintf("%s%s", identity, text + strlen(HEAD) - 1);
        assert_int_equal(caps_store(b->cache, b->binary, full, NULL), 0);
}

static int load(struct bench *b) {
        _cleanup_caps_ struct caps c = CAPS_INIT;
        _cleanup_error_ struct error err = ERROR_INIT;
        int r = caps_load(b->cache, b->binary, &c, &err);

        assert_int_equal(r == 0, c.text && caps_has_device(&c, "nvme"));
        assert_int_equal(r, err.code);
        return r;
}

static void cache(void **state) {
        struct bench *b = *state;

        assert_int_equal(load(b), -ENOENT);
        store(b);
        assert_int_equal(load(b), 0);
        store(b);
        assert_int_equal(load(b), 0);
        /* Another file of the same name, size and mtime is another binary. */
        struct stat st;
        assert_int_equal(stat(b->binary, &st), 0);
        assert_int_equal(unlink(b->binary), 0);
        assert_int_equal(file_write_atomic(AT_FDCWD, b->binary, "y", 1, 0755, false, NULL), 0);
        struct timespec times[2] = { st.st_atim, st.st_mtim };
        assert_int_equal(utimensat(AT_FDCWD, b->binary, times, 0), 0);
        assert_int_equal(load(b), -ENOENT);
        store(b);
        assert_int_equal(load(b), 0);
        /* One more module and the same binary can do more. */
        _cleanup_free_ char *bin = xasprintf("%s/bin", b->folder), *lib = xasprintf("%s/lib/qemu", b->folder);
        assert_int_equal(file_mkdirs(bin, 0755, NULL) | file_mkdirs(lib, 0755, NULL), 0);
        free(b->binary);
        b->binary = xasprintf("%s/qemu", bin);
        assert_int_equal(file_write_atomic(AT_FDCWD, b->binary, "x", 1, 0755, false, NULL), 0);
        store(b);
        assert_int_equal(load(b), 0);
        _cleanup_free_ char *module = xasprintf("%s/audio-pa.so", lib);
        times[0] = times[1] = (struct timespec){ .tv_sec = 1000000000 };
        assert_int_equal(file_write_atomic(AT_FDCWD, module, "x", 1, 0755, false, NULL), 0);
        assert_int_equal(utimensat(AT_FDCWD, lib, times, 0), 0);
        assert_int_equal(load(b), -ENOENT);
}

static void cache_broken(void **state) {
        struct bench *b = *state;
        _cleanup_free_ char *identity = NULL, *cut = NULL;

        assert_int_equal(caps_identity(b->binary, &identity, NULL), 0);
        cut = xasprintf("%s\ndevice nv", identity);
        assert_int_equal(caps_store(b->cache, b->binary, cut, NULL), 0);
        assert_int_equal(load(b), -ENOENT);
        assert_int_equal(caps_store(b->cache, b->binary, "", NULL), 0);
        assert_int_equal(load(b), -ENOENT);
        /* Whole lines, but not all of them. */
        _cleanup_free_ char *half = xasprintf("%s\ndevice nvme\n", identity);
        assert_int_equal(caps_store(b->cache, b->binary, half, NULL), 0);
        assert_int_equal(load(b), -ENOENT);
        /* A block that never reached the disk. */
        store(b);
        _cleanup_free_ char *pattern = xasprintf("%s/qemu-*.caps", b->cache);
        glob_t found;
        assert_int_equal(glob(pattern, 0, NULL, &found), 0);
        assert_int_equal(found.gl_pathc, 1);
        int fd = open(found.gl_pathv[0], O_WRONLY | O_CLOEXEC);
        globfree(&found);
        assert_int_equal(pwrite(fd, "\0\0\0\0", 4, (off_t) strlen(identity) + 3), 4);
        close(fd);
        assert_int_equal(load(b), -ENOENT);
}

static void identities(void **state) {
        struct bench *b = *state;
        _cleanup_error_ struct error err = ERROR_INIT;
        char *identity = NULL;

        assert_int_equal(caps_identity("/nonexistent/qemu", &identity, &err), -ENOENT);
        assert_non_null(strstr(error_text(&err), "/nonexistent/qemu"));
        assert_int_equal(caps_identity("no-such-qemu", &identity, &err), -ENOENT);
        assert_non_null(strstr(error_text(&err), "no-such-qemu in PATH"));
        assert_int_equal(caps_identity(b->folder, &identity, &err), -EINVAL);
        assert_int_equal(caps_identity("sh", &identity, &err), 0);
        assert_true(str_starts(identity, "vore-caps 2 /"));
        free(identity);
}

static void write_script(struct bench *b, const char *body) {
        _cleanup_free_ char *script = xasprintf("#!/bin/sh\n%s\n", body);

        assert_int_equal(file_write_atomic(AT_FDCWD, b->binary, script, strlen(script), 0755, false, NULL),
                         0);
}

static void probe_fails(struct bench *b, int deadline_ms, int code, const char *says) {
        _cleanup_error_ struct error err = ERROR_INIT;
        char *got = NULL;

        assert_int_equal(caps_probe(b->binary, deadline_ms, &got, &err), code);
        assert_non_null(strstr(error_text(&err), b->binary));
        if (!strstr(error_text(&err), says))
                fail_msg("\"%s\" does not say \"%s\"", error_text(&err), says);
}

#define GREETING "echo '{\"QMP\": {\"version\": {}}}' >&3; read -r line <&3; "

static void probe_faults(void **state) {
        struct bench *b = *state;

        write_script(b, "echo 'qemu-system-x86_64: no such thing' >&2; exit 1");
        probe_fails(b, 20000, -ECONNRESET, "its last words: no such thing");
        write_script(b, "kill -9 $$");
        probe_fails(b, 20000, -ECONNRESET, "it ended");
        write_script(b, "echo garbage >&3; sleep 60");
        probe_fails(b, 20000, -EBADMSG, "does not speak QMP");
        write_script(b, "echo '{\"a\": 1}' >&3; sleep 60");
        probe_fails(b, 20000, -EBADMSG, "greeting");
        write_script(b, GREETING "echo '{\"error\": {}}' >&3; sleep 60");
        probe_fails(b, 20000, -EPROTO, "refused");
        write_script(b, GREETING "echo '{\"return\": {}}' >&3; echo bye >&2; exit 3");
        probe_fails(b, 20000, -ECONNRESET, "it ended while it was asked");
        write_script(b, "head -c 6000000 /dev/zero | tr '\\0' x >&3; sleep 60");
        probe_fails(b, 20000, -EMSGSIZE, "4 MiB");
        assert_int_equal(chmod(b->binary, 0644), 0);
        probe_fails(b, 20000, -ECONNRESET, "cannot run");
}

/* A silent binary costs the deadline and no more, and is gone afterwards. */
static void probe_silent(void **state) {
        struct bench *b = *state;
        uint64_t began = clock_monotonic_us();

        write_script(b, "exec sleep 60");
        probe_fails(b, 100, -ETIMEDOUT, "in time");
        assert_true(clock_monotonic_us() - began < 20000000);
        write_script(b, GREETING "exec sleep 60");
        probe_fails(b, 100, -ETIMEDOUT, "in time");
}

static void probe_fake(void **state) {
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_caps_ struct caps c = CAPS_INIT;
        _cleanup_free_ char *got = NULL;

        if (caps_probe(TEST_FAKE_QEMU, 60000, &got, &err) < 0)
                fail_msg("%s", error_text(&err));
        assert_int_equal(caps_parse(got, &c, &err), 0);
        assert_string_equal(c.version, "7.2.22");
        assert_true(caps_has_property(&c, "nvme", "serial"));
        assert_true(caps_has(&c, "machine-property", "q35.hpet"));
        assert_int_equal(caps_cpus_max(&c, "pc"), 255);
        assert_true(caps_has(&c, "audiodev", "spice"));
        assert_true(caps_has(&c, "aio", "io_uring"));
        assert_false(caps_has_device(&c, "igb"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(lookups),
                cmocka_unit_test(not_there),
                cmocka_unit_test(not_caps),
                cmocka_unit_test(damaged),
                TEST(cache),
                TEST(cache_broken),
                TEST(identities),
                TEST(probe_faults),
                TEST(probe_silent),
                TEST(probe_fake),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
