/* Files that QEMU gets as descriptors: each way in which arguments name them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/str.h"
#include "plan/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define INSTANCE "/var/lib/vore/instance/vm"

static char folder[] = "/tmp/vore-handover.XXXXXX";

struct scene {
        struct plan plan;
        struct argv args;
        struct error err;
        int r;
};

/* Every %s of an argument is the temporary folder. */
static void scene_open(struct scene *s, const char *const *args) {
        *s = (struct scene){ .plan = { .arena = arena_new() } };
        argv_add(&s->args, "/usr/bin/qemu-system-x86_64");
        for (size_t i = 0; args[i]; i++) {
                const char *rest = args[i], *at;
                struct strbuf b = STRBUF_INIT;

                while ((at = strstr(rest, "%s"))) {
                        strbuf_addn(&b, rest, (size_t) (at - rest));
                        strbuf_add(&b, folder);
                        rest = at + 2;
                }
                strbuf_add(&b, rest);
                _cleanup_free_ char *arg = strbuf_take(&b);
                argv_add(&s->args, arg);
        }
}

static void scene_run(struct scene *s, const char *instance_dir) {
        static const struct plan_request req = { 0 };

        s->r = handover(&s->plan, &s->args, instance_dir, &req, &s->err);
}

static void scene_done(struct scene *s) {
        argv_done(&s->args);
        error_done(&s->err);
        arena_free(s->plan.arena);
}
#define SCENE(s, ...)                                                                                        \
        _cleanup_(scene_done) struct scene s;                                                                \
        scene_open(&s, (const char *const[]){ __VA_ARGS__, NULL })

/* "6:1 rw /a" for descriptor 6 in set 1; relative to the folder where it is inside. */
static void expect_files(const struct scene *s, const char *const *expected) {
        size_t n = 0;

        for (; expected[n]; n++) {
                assert_true(n < s->plan.n_files);
                const struct plan_file *f = &s->plan.files[n];
                const char *path = str_starts(f->path, folder) ? f->path + strlen(folder) + 1 : f->path;
                _cleanup_free_ char *text = xasprintf(
                        "%d:%d %s%s%s %s", f->fd, f->set, (f->flags & O_ACCMODE) == O_RDWR ? "rw" : "ro",
                        f->flags & O_EXCL ? " excl" : "", f->flags & O_DIRECTORY ? " folder" : "", path);
                assert_string_equal(text, expected[n]);
        }
        assert_int_equal(n, s->plan.n_files);
}
#define EXPECT_FILES(s, ...) expect_files(s, (const char *const[]){ __VA_ARGS__, NULL })

static json_t *argument(const struct scene *s, size_t i) {
        json_t *j = NULL;

        assert_true(i < s->args.n);
        assert_int_equal(json_parse(s->args.items[i], strlen(s->args.items[i]), &j, NULL), 0);
        return j;
}

static const char *dig(const json_t *j, const char *a, const char *b, const char *c, const char *d) {
        const char *const keys[] = { a, b, c, d };

        for (size_t i = 0; i < ARRAY_SIZE(keys) && keys[i]; i++)
                j = json_object_get(j, keys[i]);
        return json_is_boolean(j) ? (json_is_true(j) ? "true" : "false") : json_string_value(j);
}

/* --- images without others behind them --- */

static void test_drive(void **state) {
        SCENE(s, "-drive", "if=virtio,format=raw,file=/a,,b.img", "-drive",
              "file=/c.iso,media=cdrom,format=raw", "-drive", "file=/d,format=raw,readonly=on", "-drive",
              "if=none,driver=null-co,id=n", "-m", "64");

        scene_run(&s, INSTANCE);
        assert_int_equal(s.r, 0);
        EXPECT_FILES(&s, "6:1 rw /a,b.img", "7:1 ro /a,b.img", "8:2 ro /c.iso", "9:3 ro /d");
        assert_string_equal(s.args.items[2], "if=virtio,format=raw,file=/dev/fdset/1");
        assert_string_equal(s.args.items[4], "file=/dev/fdset/2,media=cdrom,format=raw");
        assert_string_equal(s.args.items[8], "if=none,driver=null-co,id=n");
        assert_string_equal(s.args.items[11], "-add-fd");
        assert_string_equal(s.args.items[12], "fd=6,set=1");
        assert_string_equal(s.args.items[18], "fd=9,set=3");
        assert_int_equal(s.args.n, 19);
        assert_null(s.args.items[s.args.n]);
}

static void test_blockdev(void **state) {
        SCENE(s, "-blockdev",
              "{\"driver\":\"file\",\"node-name\":\"f\",\"filename\":\"/a.img\",\"read-only\":true}",
              "-blockdev", "{\"driver\":\"raw\",\"node-name\":\"r\",\"file\":\"f\"}", "-blockdev",
              "{\"driver\":\"raw\",\"file\":{\"driver\":\"file\",\"filename\":\"/b.img\"}}", "-blockdev",
              "driver=raw,node-name=k,file.driver=file,file.filename=/c.img", "-blockdev",
              "driver=file,node-name=l,filename=/d.img,read-only=on");

        scene_run(&s, INSTANCE);
        assert_int_equal(s.r, 0);
        EXPECT_FILES(&s, "6:1 ro /a.img", "7:2 rw /b.img", "8:3 rw /c.img", "9:4 ro /d.img");
        _cleanup_json_ json_t *first = argument(&s, 2), *third = argument(&s, 6);
        assert_string_equal(dig(first, "filename", NULL, NULL, NULL), "/dev/fdset/1");
        assert_string_equal(dig(third, "file", "filename", NULL, NULL), "/dev/fdset/2");
        assert_string_equal(s.args.items[8],
                            "driver=raw,node-name=k,file.driver=file,file.filename=/dev/fdset/3");
}

/* What is no path of a file stays as it is. */
static void test_left_alone(void **state) {
        SCENE(s, "-drive", "file=nbd://h/e,format=raw", "-drive", "file=/dev/fdset/9,format=raw", "-blockdev",
              "{\"driver\":\"nbd\",\"server\":{\"type\":\"unix\",\"path\":\"/run/nbd\"}}", "-cdrom",
              "/x.iso");

        scene_run(&s, INSTANCE);
        assert_int_equal(s.r, 0);
        assert_int_equal(s.plan.n_files, 0);
        assert_int_equal(s.args.n, 9);
        assert_string_equal(s.args.items[2], "file=nbd://h/e,format=raw");
        assert_string_equal(s.args.items[4], "file=/dev/fdset/9,format=raw");
        assert_string_equal(s.args.items[8], "/x.iso");
}

/* A node inside of another one is opened as that one, unless it says otherwise itself. */
static void test_inherited_access(void **state) {
        SCENE(s, "-blockdev",
              "{\"driver\":\"raw\",\"read-only\":true,\"file\":{\"driver\":\"file\",\"filename\":\"/a\"}}",
              "-blockdev", "{\"driver\":\"file\",\"filename\":\"/b\",\"auto-read-only\":true}", "-blockdev",
              "{\"driver\":\"raw\",\"read-only\":true,\"file\":{\"driver\":\"file\",\"filename\":\"/c\","
              "\"read-only\":false}}",
              "-blockdev",
              "{\"driver\":\"raw\",\"auto-read-only\":true,\"file\":{\"driver\":\"throttle\",\"file\":{"
              "\"driver\":\"file\",\"filename\":\"/d\"}}}",
              "-blockdev", "driver=file,filename=/e,auto-read-only=on", "-blockdev",
              "{\"driver\":\"qcow2\",\"file\":\"x\",\"backing\":{\"driver\":\"file\",\"filename\":\"/f\"}}");

        scene_run(&s, INSTANCE);
        assert_int_equal(s.r, 0);
        EXPECT_FILES(&s, "6:1 ro /a", "7:2 rw /b", "8:2 ro /b", "9:3 rw /c", "10:4 rw /d", "11:4 ro /d",
                     "12:5 rw /e", "13:5 ro /e", "14:6 ro /f");
}

/* A CD-ROM of the definition is not opened for writing because a script left that word out. */
static void test_only_read(void **state) {
        struct complete_use disks[] = { { "vm", "/a.iso", true }, { "vm", "/b.img", false } };
        SCENE(s, "-drive", "file=/a.iso,format=raw", "-drive", "file=/b.img,format=raw");

        s.plan.disks = disks;
        s.plan.n_disks = ARRAY_SIZE(disks);
        scene_run(&s, INSTANCE);
        EXPECT_FILES(&s, "6:1 ro /a.iso", "7:2 rw /b.img", "8:2 ro /b.img");
}

/* Opening a block device exclusively is the check that the host does not use it. */
static void test_block_device(void **state) {
        const char *device = NULL;
        struct stat st;

        for (const char *const *p =
                     (const char *const[]){ "/dev/vda", "/dev/sda", "/dev/nvme0n1", "/dev/loop0", NULL };
             *p && !device; p++)
                device = stat(*p, &st) == 0 && S_ISBLK(st.st_mode) ? *p : NULL;
        if (!device)
                skip();
        _cleanup_free_ char *arg = xasprintf("{\"driver\":\"host_device\",\"filename\":\"%s\"}", device);
        _cleanup_free_ char *expected = xasprintf("6:1 rw excl %s", device);
        SCENE(s, "-blockdev", arg);
        _cleanup_free_ char *first = xasprintf("file=%s,driver=raw,if=none,id=NVME1", device),
                            *again = xasprintf("7:1 ro %s", device);
        SCENE(drive, "-drive", first);

        scene_run(&s, INSTANCE);
        EXPECT_FILES(&s, expected);
        scene_run(&drive, INSTANCE);
        EXPECT_FILES(&drive, expected, again);
        assert_string_equal(drive.args.items[2],
                            "driver=raw,if=none,id=NVME1,file.driver=host_device,file.filename=/dev/fdset/1");
}

/* --- chains --- */

/* qemu-img does not make such images any more: a header of version 2, a backing file, no format. */
static bool unsaid_image(void) {
        static const unsigned char header[80] = "QFI\xfb\0\0\0\2\0\0\0\0\0\0\0\x48\0\0\0\x08";
        _cleanup_free_ char *path = xasprintf("%s/unsaid.qcow2", folder);
        char data[80];

        memcpy(data, header, sizeof(data));
        memcpy(data + 72, "base.img", 8);
        return file_write_atomic(AT_FDCWD, path, data, sizeof(data), 0600, false, NULL) == 0;
}

static bool images(void) {
        _cleanup_free_ char *command =
                xasprintf("cd %s && [ -e top.qcow2 ] && exit; exec >/dev/null 2>&1; qemu-img create -f raw "
                          "base.img 1M && "
                          "qemu-img create -f qcow2 -b base.img -F raw middle.qcow2 && "
                          "qemu-img create -f qcow2 -b $PWD/middle.qcow2 -F qcow2 top.qcow2 && "
                          "qemu-img create -f qcow2 -o data_file=data.img data.qcow2 1M && "
                          "qemu-img create -f qcow2 loop.qcow2 1M && "
                          "qemu-img rebase -u -b loop.qcow2 -F qcow2 loop.qcow2",
                          folder);

        if (system("command -v qemu-img >/dev/null") != 0)
                return false;
        assert_int_equal(system(command), 0);
        assert_true(unsaid_image());
        return true;
}

static void expect_chain(const json_t *top) {
        assert_string_equal(dig(top, "backing", "driver", NULL, NULL), "qcow2");
        assert_string_equal(dig(top, "backing", "read-only", NULL, NULL), "true");
        assert_string_equal(dig(top, "backing", "file", "filename", NULL), "/dev/fdset/2");
        assert_string_equal(dig(top, "backing", "backing", "driver", NULL), "raw");
        assert_string_equal(dig(top, "backing", "backing", "file", "filename"), "/dev/fdset/3");
}

static void test_chain_json(void **state) {
        if (!images())
                skip();
        SCENE(s, "-blockdev", "{\"driver\":\"file\",\"node-name\":\"f\",\"filename\":\"%s/top.qcow2\"}",
              "-blockdev", "{\"driver\":\"qcow2\",\"node-name\":\"q\",\"file\":\"f\"}");
        SCENE(inlined, "-blockdev",
              "{\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\",\"filename\":\"%s/top.qcow2\"}}");

        scene_run(&s, INSTANCE);
        assert_int_equal(s.r, 0);
        EXPECT_FILES(&s, "6:1 rw top.qcow2", "7:2 ro middle.qcow2", "8:3 ro base.img");
        _cleanup_json_ json_t *node = argument(&s, 4);
        expect_chain(node);
        assert_string_equal(dig(node, "file", NULL, NULL, NULL), "f");
        scene_run(&inlined, INSTANCE);
        assert_int_equal(inlined.r, 0);
        EXPECT_FILES(&inlined, "6:1 rw top.qcow2", "7:2 ro middle.qcow2", "8:3 ro base.img");
        _cleanup_json_ json_t *other = argument(&inlined, 2);
        expect_chain(other);
}

static void test_chain_flat(void **state) {
        if (!images())
                skip();
        SCENE(s, "-drive", "file=%s/top.qcow2,format=qcow2,if=none", "-blockdev",
              "driver=qcow2,node-name=q,file.driver=file,file.filename=%s/top.qcow2");

        scene_run(&s, INSTANCE);
        assert_int_equal(s.r, 0);
        assert_int_equal(s.plan.n_files, 7);
        assert_true(str_starts(s.args.items[2], "file=/dev/fdset/1,format=qcow2,if=none,"));
        _cleanup_json_ json_t *flat = NULL;
        assert_int_equal(argv_parse_keyval(s.args.items[2], NULL, &flat, NULL), 0);
        assert_string_equal(json_get_str(flat, "backing.driver", ""), "qcow2");
        assert_string_equal(json_get_str(flat, "backing.read-only", ""), "on");
        assert_string_equal(json_get_str(flat, "backing.file.filename", ""), "/dev/fdset/2");
        assert_string_equal(json_get_str(flat, "backing.backing.driver", ""), "raw");
        assert_string_equal(json_get_str(flat, "backing.backing.file.filename", ""), "/dev/fdset/3");
        assert_non_null(strstr(s.args.items[4], "backing.backing.file.filename=/dev/fdset/6"));
}

/* A script that says itself what is behind an image is believed, and its files are handed over too. */
static void test_chain_given(void **state) {
        if (!images())
                skip();
        SCENE(s, "-blockdev",
              "{\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\",\"filename\":\"%s/top.qcow2\"},"
              "\"backing\":{\"driver\":\"raw\",\"file\":{\"driver\":\"file\",\"filename\":\"/own.img\","
              "\"read-only\":true}}}",
              "-blockdev",
              "{\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\",\"filename\":\"%s/top.qcow2\"},"
              "\"backing\":null}");

        scene_run(&s, INSTANCE);
        assert_int_equal(s.r, 0);
        EXPECT_FILES(&s, "6:1 rw top.qcow2", "7:2 ro /own.img", "8:3 rw top.qcow2");
        _cleanup_json_ json_t *node = argument(&s, 2);
        assert_string_equal(dig(node, "backing", "file", "filename", NULL), "/dev/fdset/2");
}

static void test_data_file(void **state) {
        if (!images())
                skip();
        SCENE(s, "-blockdev",
              "{\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\",\"filename\":\"%s/data.qcow2\"}}",
              "-blockdev",
              "{\"driver\":\"qcow2\",\"read-only\":true,\"file\":{\"driver\":\"file\",\"read-only\":true,"
              "\"filename\":\"%s/data.qcow2\"}}");

        scene_run(&s, INSTANCE);
        assert_int_equal(s.r, 0);
        EXPECT_FILES(&s, "6:1 rw data.qcow2", "7:2 rw data.img", "8:3 ro data.qcow2", "9:4 ro data.img");
        _cleanup_json_ json_t *node = argument(&s, 2);
        assert_string_equal(dig(node, "data-file", "filename", NULL, NULL), "/dev/fdset/2");
}

static void test_vmdk(void **state) {
        _cleanup_free_ char *command =
                xasprintf("cd %s && exec >/dev/null 2>&1; qemu-img create -f vmdk one.vmdk 1M && "
                          "qemu-img create -f vmdk -o subformat=monolithicFlat flat.vmdk 1M && "
                          "qemu-img create -f vmdk -b one.vmdk -F vmdk child.vmdk",
                          folder);

        if (!images())
                skip();
        assert_int_equal(system(command), 0);
        SCENE(one, "-drive", "file=%s/one.vmdk,format=vmdk");
        SCENE(flat, "-drive", "file=%s/flat.vmdk,format=vmdk");
        SCENE(child, "-blockdev",
              "{\"driver\":\"vmdk\",\"file\":{\"driver\":\"file\",\"filename\":\"%s/child.vmdk\"}}");
        scene_run(&one, INSTANCE);
        assert_int_equal(one.r, 0);
        scene_run(&flat, INSTANCE);
        assert_int_equal(flat.r, -EOPNOTSUPP);
        assert_non_null(strstr(error_text(&flat.err), "flat.vmdk keeps its data in other files"));
        scene_run(&child, INSTANCE);
        assert_int_equal(child.r, -EOPNOTSUPP);
}

static void test_chain_faults(void **state) {
        static const struct {
                const char *arg;
                int code;
                const char *text;
        } rows[] = {
                { "file=%s/unsaid.qcow2,format=qcow2", -EINVAL, "qemu-img rebase -u -F FORMAT -b " },
                { "file=%s/loop.qcow2,format=qcow2", -ELOOP, "more than 32 backing files" },
                { "file=%s/base.img,format=qcow2", -EINVAL, "is not a qcow2 image" },
                { "file=%s/absent.qcow2,format=qcow2", -ENOENT, "absent.qcow2" },
                { "file=a,=b", -EINVAL, "" },
        };

        if (!images())
                skip();
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                SCENE(s, "-drive", rows[i].arg);

                scene_run(&s, INSTANCE);
                assert_int_equal(s.r, rows[i].code);
                assert_true(str_starts(error_text(&s.err), "the argument file="));
                assert_non_null(strstr(error_text(&s.err), rows[i].text));
        }
}

/* --- what a header may not name --- */

static void run(const char *command) {
        _cleanup_free_ char *whole = xasprintf("cd %s && exec >/dev/null 2>&1; %s", folder, command);

        assert_int_equal(system(whole), 0);
}

/* words NULL: it is taken. */
static void expect_link(const char *image, const struct complete_use *own, size_t n_own,
                        const struct plan_request *req, const char *words) {
        SCENE(s, "-blockdev", image);

        s.plan.name = (char *) "vm";
        s.plan.disks = (struct complete_use *) own;
        s.plan.n_disks = n_own;
        s.r = handover(&s.plan, &s.args, INSTANCE, req, &s.err);
        if (!words && s.r == 0)
                return;
        if (!words || s.r == 0 || !strstr(error_text(&s.err), words))
                fail_msg("%s: %d %s", image, s.r, error_text(&s.err));
}

#define QCOW2(name) "driver=qcow2,file.driver=file,file.filename=%s/" name

static void test_link_kinds(void **state) {
        static const struct {
                const char *image, *words;
        } rows[] = {
                { QCOW2("filter.qcow2"), "says that /etc/passwd is \"preallocate\", which is no format" },
                { QCOW2("device.qcow2"), "which is no disk" },
                { QCOW2("pipe.qcow2"), "which is no disk" },
                { QCOW2("folder.qcow2"), "which is no disk" },
                { QCOW2("passwd.qcow2"), "which is no disk" },
                { QCOW2("parts.qcow2"), "parts.vmdk keeps its data in other files" },
        };
        static const struct plan_request req = { 0 };

        if (!images())
                skip();
        run("base() { qemu-img create -f qcow2 $1.qcow2 1M && qemu-img rebase -u -b $2 -F $3 $1.qcow2; };"
            "base filter /etc/passwd preallocate; base device /dev/null raw; mkfifo -m 644 pipe;"
            "base pipe $PWD/pipe raw; base folder /etc raw; base passwd /etc/passwd raw;"
            "qemu-img create -f vmdk -o subformat=monolithicFlat parts.vmdk 1M; base parts parts.vmdk vmdk");
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
                expect_link(rows[i].image, NULL, 0, &req, rows[i].words);
}

/* Disks of anybody's definition: one that is written to carries no other image, and none is a data file. */
static void test_link_disks(void **state) {
        static const char text[] =
                "[machine]\nname = \"other\"\n[[disk]]\npreset = \"nvme\"\npath = \"%s/%s\"\n"
                "read-only = %s\n",
                          refused[] = "which is a disk of the machine other",
                          mine[] = "another disk of this machine";
        _cleanup_free_ char *base = xasprintf("%s/base.img", folder),
                            *data = xasprintf("%s/data.img", folder),
                            *definitions = xasprintf("%s/definitions", folder),
                            *file = xasprintf("%s/other.toml", definitions),
                            *own_file = xasprintf("%s/vm.toml", definitions),
                            *runtime = xasprintf("%s/vm/other", folder),
                            *record = xasprintf("%s/state.json", runtime),
                            *loaded = xasprintf("%s/definition.toml", runtime),
                            *where = xasprintf("{\"directory\": \"%s\"}", folder);
        static const char relative[] =
                "[machine]\nname = \"other\"\n[[disk]]\npath = \"base.img\"\nnonsense = 1\n";
        struct complete_use use = { .vm = "other", .path = base };
        struct settings settings = { .vore = { .state_dir = folder, .runtime_dir = folder } };
        const struct plan_request none = { 0 }, runs = { .uses = &use, .n_uses = 1 },
                                  saved = { .settings = &settings };
        static const struct {
                const char *path, *read_only, *image;
                bool taken;
        } rows[] = {
                { "base.img", "false", QCOW2("middle.qcow2"), false },
                { "base.img", "false", QCOW2("top.qcow2"), false },
                { "base.img", "true", QCOW2("top.qcow2"), true },
                { "data.img", "true", QCOW2("data.qcow2"), false },
                { "data.img", "true", QCOW2("data.qcow2") ",read-only=on", true },
                { "data.img", "false", QCOW2("data.qcow2") ",read-only=on", false },
                { "else.img", "false", QCOW2("top.qcow2"), true },
        };

        if (!images())
                skip();
        expect_link(QCOW2("top.qcow2"), NULL, 0, &none, NULL);
        expect_link(QCOW2("top.qcow2"), NULL, 0, &runs, refused);
        expect_link(QCOW2("top.qcow2"), &use, 1, &none, mine);
        use.read_only = true;
        expect_link(QCOW2("top.qcow2"), &use, 1, &runs, NULL);
        use.path = data;
        expect_link(QCOW2("data.qcow2"), &use, 1, &none, mine);
        assert_int_equal(file_mkdirs(definitions, 0700, NULL), 0);
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                _cleanup_free_ char *toml = xasprintf(text, folder, rows[i].path, rows[i].read_only);
                assert_int_equal(file_write_atomic(AT_FDCWD, own_file, toml, strlen(toml), 0600, false, NULL),
                                 0);
                assert_int_equal(file_write_atomic(AT_FDCWD, file, toml, strlen(toml), 0600, false, NULL), 0);
                expect_link(rows[i].image, NULL, 0, &saved, rows[i].taken ? NULL : refused);
        }
        /* One that is only loaded, whose paths count from its own folder; and one with a fault counts, too.
         */
        expect_link(QCOW2("top.qcow2"), NULL, 0, &saved, NULL);
        assert_int_equal(file_mkdirs(runtime, 0700, NULL), 0);
        assert_int_equal(file_write_atomic(AT_FDCWD, record, where, strlen(where), 0600, false, NULL), 0);
        assert_int_equal(file_write_atomic(AT_FDCWD, loaded, relative, strlen(relative), 0600, false, NULL),
                         0);
        expect_link(QCOW2("top.qcow2"), NULL, 0, &saved, refused);
}

/* A copy of a template has the template's header before it is there, and lies elsewhere. */
static void test_link_of_copy(void **state) {
        static const char arg[] = "driver=qcow2,file.driver=file,file.filename=" INSTANCE "/copy.qcow2";
        static const struct {
                const char *source, *words;
        } rows[] = {
                { "whole.qcow2", NULL },
                { "part.qcow2", "names another file from its folder on" },
                { "secret.qcow2", "which is somebody else's" },
        };
        static const struct plan_request req = { 0 };

        if (!images())
                skip();
        run("qemu-img create -f qcow2 -b $PWD/base.img -F raw whole.qcow2; chmod 644 base.img;"
            "qemu-img create -f qcow2 -b base.img -F raw part.qcow2; cp base.img hidden.img; chmod 600 "
            "hidden.img;"
            "qemu-img create -f qcow2 -b $PWD/hidden.img -F raw secret.qcow2");
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                _cleanup_free_ char *source = xasprintf("%s/%s", folder, rows[i].source);
                struct script_copy copy = { (char *) "copy.qcow2", source };
                SCENE(s, "-blockdev", arg);

                s.plan.copies = &copy;
                s.plan.n_copies = 1;
                s.r = handover(&s.plan, &s.args, INSTANCE, &req, &s.err);
                if ((s.r == 0) != !rows[i].words ||
                    (rows[i].words && !strstr(error_text(&s.err), rows[i].words)))
                        fail_msg("%s: %d %s", rows[i].source, s.r, error_text(&s.err));
        }
}

/* The template became another one since the copy was made. */
static void test_copy_of_another_format(void **state) {
        static const struct {
                const char *arg, *words;
        } rows[] = {
                { "driver=raw,file.driver=file,file.filename=%s/base.img", NULL },
                { QCOW2("top.qcow2"), NULL },
                { QCOW2("base.img"), "base.img, the VM's own copy of /template, is no qcow2 image" },
                { "driver=raw,file.driver=file,file.filename=%s/loop.qcow2",
                  "is a qcow2 image, and that is none" },
                { "driver=raw,file.driver=file,file.filename=%s/data.qcow2", NULL }, /* no copy */
        };
        static const struct plan_request req = { 0 };

        if (!images())
                skip();
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                struct script_copy copies[] = { { (char *) "base.img", (char *) "/template" },
                                                { (char *) "top.qcow2", (char *) "/template" },
                                                { (char *) "loop.qcow2", (char *) "/template" } };
                SCENE(s, "-blockdev", rows[i].arg);

                s.plan.copies = copies;
                s.plan.n_copies = ARRAY_SIZE(copies);
                s.r = handover(&s.plan, &s.args, folder, &req, &s.err);
                if ((s.r == 0) != !rows[i].words ||
                    (rows[i].words && !strstr(error_text(&s.err), rows[i].words)))
                        fail_msg("%zu: %d %s", i, s.r, error_text(&s.err));
        }
}

/* --- what others are told of it --- */

static void expect_words(const struct plan *p, const char *words, const char *with) {
        _cleanup_free_ char *got = handover_readable(p, words),
                            *want = xasprintf("%s%s%s", with ? folder : "", with ? "/" : "",
                                              with ? with : words);

        assert_string_equal(got, want);
}

static void test_readable_and_uses(void **state) {
        SCENE(s, "-drive", "file=%s/a,format=raw", "-drive", "file=%s/b,format=raw,readonly=on", "-drive",
              "file=" INSTANCE "/c,format=raw");

        scene_run(&s, INSTANCE);
        assert_int_equal(s.r, 0);
        expect_words(&s.plan, "/dev/fdset/1", "a");
        expect_words(&s.plan, "/dev/fdset/2: no", "b: no");
        expect_words(&s.plan, "/dev/fdset/22 and /proc/self/fd/777/x and /dev/fdset/", NULL);
        handover_uses(&s.plan, INSTANCE);
        assert_int_equal(s.plan.n_disks, 2);
        assert_true(str_ends(s.plan.disks[0].path, "/a") && !s.plan.disks[0].read_only);
        assert_true(str_ends(s.plan.disks[1].path, "/b") && s.plan.disks[1].read_only);
}

static void test_too_many(void **state) {
        struct scene s = { .plan = { .arena = arena_new() } };

        argv_add(&s.args, "qemu");
        for (int i = 0; i < 300; i++) {
                argv_add(&s.args, "-drive");
                argv_addf(&s.args, "file=/%d.img,format=raw", i);
        }
        scene_run(&s, INSTANCE);
        assert_int_equal(s.r, -E2BIG);
        assert_true(s.plan.n_files <= 256);
        scene_done(&s);
}

/* --- the instance folder, paths that must be reached, device nodes --- */

static void test_instance_folder(void **state) {
        SCENE(s, "-spice", "unix=on,addr=" INSTANCE "/spice.sock", "-kernel", INSTANCE "/vmlinuz", "-append",
              "init=" INSTANCE "/init", "-initrd", INSTANCE "2/initrd", "-object",
              "{\"qom-type\":\"x\",\"mem-path\":\"" INSTANCE "/mem\"}", "-dtb", "/srv" INSTANCE "/dtb",
              "-chardev",
              "socket,id=c,path=" INSTANCE "/c.sock,logfile=" INSTANCE "/c.log,x=/srv" INSTANCE "/no");

        scene_run(&s, INSTANCE);
        assert_int_equal(s.r, 0);
        EXPECT_FILES(&s, "6:0 ro folder " INSTANCE);
        assert_string_equal(s.args.items[2], "unix=on,addr=/proc/self/fd/6/spice.sock");
        assert_string_equal(s.args.items[4], "/proc/self/fd/6/vmlinuz");
        assert_string_equal(s.args.items[6], "init=" INSTANCE "/init");
        assert_string_equal(s.args.items[8], INSTANCE "2/initrd");
        assert_string_equal(s.args.items[10], "{\"qom-type\":\"x\",\"mem-path\":\"/proc/self/fd/6/mem\"}");
        assert_string_equal(s.args.items[12], "/srv" INSTANCE "/dtb");
        assert_string_equal(s.args.items[14],
                            "socket,id=c,path=/proc/self/fd/6/c.sock,logfile=/proc/self/fd/6/c.log,"
                            "x=/srv" INSTANCE "/no");
        assert_int_equal(s.args.n, 15); /* a folder is no -add-fd */
}

static void test_reach(void **state) {
        _cleanup_free_ char *kernel = xasprintf("%s/kernel", folder), *rom = xasprintf("%s/rom", folder);

        assert_int_equal(file_write_atomic(AT_FDCWD, kernel, "k", 1, 0600, false, NULL), 0);
        assert_int_equal(file_write_atomic(AT_FDCWD, rom, "r", 1, 0600, false, NULL), 0);
        SCENE(s, "-kernel", "%s/kernel", "-initrd", "%s/absent", "-append", "%s/kernel", "-device",
              "e1000e,romfile=%s/rom", "-object", "{\"a\":{\"b\":[\"%s/rom\",\"/dev/null\"]}}", "-drive",
              "file=%s/kernel,format=raw", "-name", "%s/kernel");

        scene_run(&s, INSTANCE);
        assert_int_equal(s.r, 0);
        assert_int_equal(s.plan.n_reach, 3);
        assert_string_equal(s.plan.reach[0], kernel);
        assert_string_equal(s.plan.reach[1], rom);
        assert_string_equal(s.plan.reach[2], rom);
}

static void test_nodes(void **state) {
        SCENE(s, "-object", "{\"qom-type\":\"x\",\"path\":\"/dev/null\"}", "-chardev",
              "serial,id=s,path=/dev/zero", "-kernel", "/dev/absent", "-append", "/dev/full", "-m", "64");

        handover_nodes(&s.plan, &s.args);
        assert_int_equal(s.plan.n_allows, 2);
        assert_string_equal(s.plan.allows[0].path, "/dev/null");
        assert_true(s.plan.allows[0].write);
        assert_string_equal(s.plan.allows[1].path, "/dev/zero");
        assert_int_equal(s.plan.n_files, 0);
}

static int setup(void **state) {
        return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state) {
        return file_remove_tree(AT_FDCWD, folder, NULL);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_drive),
                cmocka_unit_test(test_blockdev),
                cmocka_unit_test(test_left_alone),
                cmocka_unit_test(test_block_device),
                cmocka_unit_test(test_chain_json),
                cmocka_unit_test(test_chain_flat),
                cmocka_unit_test(test_chain_given),
                cmocka_unit_test(test_data_file),
                cmocka_unit_test(test_chain_faults),
                cmocka_unit_test(test_too_many),
                cmocka_unit_test(test_instance_folder),
                cmocka_unit_test(test_reach),
                cmocka_unit_test(test_nodes),
                cmocka_unit_test(test_inherited_access),
                cmocka_unit_test(test_only_read),
                cmocka_unit_test(test_vmdk),
                cmocka_unit_test(test_link_kinds),
                cmocka_unit_test(test_link_disks),
                cmocka_unit_test(test_link_of_copy),
                cmocka_unit_test(test_readable_and_uses),
                cmocka_unit_test(test_copy_of_another_format),
        };

        return cmocka_run_group_tests(tests, setup, teardown);
}
