/* The QEMU that is installed here: what it can do, and whether it runs as it is spawned. */
#include "base/file.h"
#include "base/str.h"
#include "qemu/caps.h"
#include "qemu/process.h"
#include "qemu/qmp.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/wait.h>
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

static char *need_binary(void) {
        _cleanup_error_ struct error err = ERROR_INIT;
        char *identity = NULL;

        if (caps_identity(binary, &identity, &err) == -ENOENT) {
                print_message("skipped: %s\n", error_text(&err));
                skip();
        }
        return identity;
}

static void probe(void **state) {
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_free_ char *text = NULL, *identity = need_binary();
        _cleanup_caps_ struct caps c = CAPS_INIT;

        if (caps_probe(binary, 60000, &text, &err) < 0)
                fail_msg("%s", error_text(&err));
        assert_true(str_starts(text, identity));
        assert_int_equal(caps_parse(text, &c, &err), 0);
        check_facts(&c);
}

struct run {
        struct strbuf seen;
        bool closed;
};

static void on_block(struct qmp *q, const json_t *reply, const struct error *err, void *data) {
        struct run *run = data;
        const json_t *inserted = json_object_get(json_array_get(reply, 0), "inserted");

        strbuf_addf(&run->seen, "block %s;", json_get_str(inserted, "file", "none"));
        assert_int_equal(qmp_execute(q, "quit", NULL, 0, NULL, NULL, NULL), 0);
}

static void on_ready(struct qmp *q, const char *version, void *data) {
        struct run *run = data;

        strbuf_add(&run->seen, "ready;");
        assert_int_equal(qmp_execute(q, "cont", NULL, 0, NULL, NULL, NULL), 0);
        assert_int_equal(qmp_execute(q, "query-block", NULL, 20000, on_block, run, NULL), 0);
}

static void on_event(struct qmp *q, const char *name, const json_t *event_data, uint64_t time_us,
                     void *data) {
        struct run *run = data;

        strbuf_addf(&run->seen, "%s;", name);
}

static void on_closed(struct qmp *q, const struct error *err, void *data) {
        ((struct run *) data)->closed = true;
}

static const struct qmp_ops ops = { .ready = on_ready, .event = on_event, .closed = on_closed };

/* A disk that only root may open, in a folder that only root may enter, read by a QEMU that is nobody, in its
 * sandbox. */
static void start(const char *folder, int peer, struct process *p) {
        const char *argv[] = { "/usr/bin/qemu-system-x86_64",
                               "-no-user-config",
                               "-nodefaults",
                               "-display",
                               "none",
                               "-S",
                               "-machine",
                               "q35,accel=tcg",
                               "-m",
                               "64",
                               "-msg",
                               "timestamp=on",
                               "-sandbox",
                               "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
                               "-add-fd",
                               "fd=6,set=6",
                               "-blockdev",
                               "{\"driver\":\"file\",\"node-name\":\"d\",\"filename\":\"/dev/fdset/6\"}",
                               "-device",
                               "nvme,drive=d,serial=x",
                               "-chardev",
                               "socket,id=qmp,fd=3",
                               "-qmp",
                               "chardev:qmp",
                               NULL };
        _cleanup_free_ char *disk = xasprintf("%s/disk", folder), *log = xasprintf("%s/log", folder);
        _cleanup_free_ char *zeroes = xcalloc(65536, 1);
        struct process_file file = { .target_fd = 6, .path = disk, .flags = O_RDWR };
        struct process_fd fd = { .target_fd = 3, .fd = peer };
        struct process_spec spec = { .argv = (char *const *) argv,
                                     .log_path = log,
                                     .files = &file,
                                     .n_files = 1,
                                     .fds = &fd,
                                     .n_fds = 1,
                                     .drop = geteuid() == 0,
                                     .uid = 70123,
                                     .gid = 70123,
                                     .umask = 0077 };
        _cleanup_error_ struct error err = ERROR_INIT;

        assert_int_equal(file_write_atomic(AT_FDCWD, disk, zeroes, 65536, 0600, false, NULL), 0);
        if (process_spawn(&spec, p, &err) < 0 || process_release(p, &err) < 0)
                fail_msg("%s", error_text(&err));
}

static void sandboxed(void **state) {
        _cleanup_(process_done) struct process p = PROCESS_INIT;
        _cleanup_error_ struct error err = ERROR_INIT;
        char folder[] = "/tmp/vore-test-XXXXXX";
        struct run run = { 0 };
        sd_event *loop = NULL;
        struct qmp *q = NULL;
        siginfo_t info = { 0 };
        int pair[2];

        if (access("/usr/bin/qemu-system-x86_64", X_OK) < 0) {
                print_message("skipped: no /usr/bin/qemu-system-x86_64\n");
                skip();
        }
        assert_non_null(mkdtemp(folder));
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        assert_true(sd_event_new(&loop) >= 0);
        start(folder, pair[1], &p);
        close(pair[1]);
        assert_int_equal(qmp_attach(loop, pair[0], &ops, &run, &q, &err), 0);
        while (!run.closed)
                assert_true(sd_event_run(loop, 60000000) > 0);
        _cleanup_free_ char *log = xasprintf("%s/log", folder), *words = process_last_words(log, 0);
        assert_int_equal(waitid(P_PIDFD, (id_t) p.pidfd, &info, WEXITED), 0);
        if (!str_eq(run.seen.data, "ready;RESUME;block /dev/fdset/6;SHUTDOWN;") || info.si_status != 0)
                fail_msg("saw %s, status %d: %s", run.seen.data, info.si_status, words);
        qmp_free(q);
        sd_event_unref(loop);
        strbuf_done(&run.seen);
        assert_int_equal(file_remove_tree(AT_FDCWD, folder, NULL), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = { cmocka_unit_test(probe), cmocka_unit_test(sandboxed) };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
