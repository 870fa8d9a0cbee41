/* Headers of qcow2 images: what qemu-img writes, and what nobody should have written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/str.h"
#include "plan/image.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/vore-image.XXXXXX";

static char *in_folder(const char *name) {
        return xasprintf("%s/%s", folder, name);
}

/* Runs a shell command in the folder. */
static bool shell(const char *command) {
        _cleanup_free_ char *whole = xasprintf("cd %s && %s >/dev/null 2>&1", folder, command);

        return system(whole) == 0;
}

static void links(const char *name, int expected, struct image_links *ret) {
        _cleanup_free_ char *path = in_folder(name);
        _cleanup_(error_done) struct error err = ERROR_INIT;
        int r = image_links_read(path, ret, &err);

        if (r != expected)
                fail_msg("%s: %d (%s) instead of %d", name, r, error_text(&err), expected);
        assert_true(r == 0 || strstr(error_text(&err), path));
}

/* --- what qemu-img writes --- */

static void test_qemu_img(void **state) {
        _cleanup_(image_links_done) struct image_links plain = { 0 }, top = { 0 }, old = { 0 }, data = { 0 },
                                                       file = { 0 };

        if (!shell("command -v qemu-img"))
                skip();
        assert_true(shell("qemu-img create -f qcow2 base.qcow2 1M"));
        assert_true(shell("qemu-img create -f qcow2 -b base.qcow2 -F qcow2 top.qcow2"));
        assert_true(shell("qemu-img create -f qcow2 -o compat=0.10 -b base.qcow2 -F qcow2 old.qcow2"));
        assert_true(shell("qemu-img create -f qcow2 -o data_file=data.raw data.qcow2 1M"));
        assert_true(shell("qemu-img create -f qcow2 -b file:$PWD/base.qcow2 -F qcow2 file.qcow2"));
        _cleanup_free_ char *base = in_folder("base.qcow2"), *raw = in_folder("data.raw");

        links("base.qcow2", 0, &plain);
        assert_null(plain.backing);
        assert_null(plain.backing_format);
        assert_null(plain.data_file);
        links("top.qcow2", 0, &top);
        assert_string_equal(top.backing, base);
        assert_string_equal(top.backing_format, "qcow2");
        assert_null(top.data_file);
        links("old.qcow2", 0, &old);
        assert_string_equal(old.backing, base);
        assert_string_equal(old.backing_format, "qcow2");
        links("data.qcow2", 0, &data);
        assert_string_equal(data.data_file, raw);
        links("file.qcow2", 0, &file);
        assert_string_equal(file.backing, base);
}

/* --- headers made by hand (docs/interop/qcow2.txt) --- */

struct image {
        unsigned char data[70 * 1024];
        size_t len;
};

static void put32(struct image *i, size_t at, uint32_t v) {
        for (int n = 0; n < 4; n++)
                i->data[at + (size_t) n] = (unsigned char) (v >> (24 - 8 * n));
}

static void image_init(struct image *i, uint32_t version) {
        memset(i, 0, sizeof(*i));
        memcpy(i->data, "QFI\xfb", 4);
        put32(i, 4, version);
        put32(i, 100, 104);
        i->len = 1024;
}

static void image_backing(struct image *i, uint64_t at, const char *name, uint32_t len) {
        put32(i, 8, (uint32_t) (at >> 32));
        put32(i, 12, (uint32_t) at);
        put32(i, 16, len);
        if (at < sizeof(i->data) - strlen(name))
                memcpy(i->data + at, name, strlen(name));
}

static size_t image_extension(struct image *i, size_t at, uint32_t type, const char *text, uint32_t len) {
        put32(i, at, type);
        put32(i, at + 4, len);
        memcpy(i->data + at + 8, text, strlen(text));
        return at + 8 + (len + 7) / 8 * 8;
}

static void image_links(const struct image *i, int expected, struct image_links *ret) {
        _cleanup_free_ char *path = in_folder("made");

        assert_int_equal(file_write_atomic(AT_FDCWD, path, i->data, i->len, 0600, false, NULL), 0);
        links("made", expected, ret);
}

static void test_broken(void **state) {
        static const struct {
                uint64_t at;
                uint32_t len;
        } names[] = { { 1 << 20, 4 }, { UINT64_MAX, 4 }, { UINT64_MAX - 2, 4 },
                      { 1020, 5 },    { 200, 1024 },     { 200, UINT32_MAX } };
        struct image *i = xcalloc(1, sizeof(*i));
        struct image_links l = { 0 };

        for (size_t n = 0; n < ARRAY_SIZE(names); n++) {
                image_init(i, 3);
                image_backing(i, names[n].at, "x", names[n].len);
                image_links(i, -EINVAL, &l);
        }
        image_init(i, 3);
        i->len = 71;
        image_links(i, -EINVAL, &l);
        i->len = 0;
        image_links(i, -EINVAL, &l);
        image_init(i, 3);
        i->data[0] = 'q';
        image_links(i, -EINVAL, &l);
        links("absent", -ENOENT, &l);
        assert_true(!l.backing && !l.backing_format && !l.data_file);
        free(i);
}

/* A folder, and a FIFO that nobody writes to, hold nobody up. */
static void test_other_files(void **state) {
        _cleanup_free_ char *fifo = in_folder("fifo");
        _cleanup_(error_done) struct error err = ERROR_INIT;
        struct image_links l = { 0 };

        assert_int_equal(mkfifo(fifo, 0600), 0);
        assert_true(image_links_read(fifo, &l, &err) < 0);
        assert_true(image_links_read(folder, &l, &err) < 0);
        assert_null(l.backing);
}

static void test_names(void **state) {
        static const struct {
                const char *name, *expected; /* NULL: not a file */
        } rows[] = {
                { "/abs/base.img", "/abs/base.img" },
                { "file:/abs/base.img", "/abs/base.img" },
                { "json:{\"driver\":\"raw\"}", NULL },
                { "nbd://host/export", NULL },
                { "nbd:unix:/run/x", NULL },
                { "sub/na:me", "" },
                { "./na:me", "" },
        };
        struct image *i = xcalloc(1, sizeof(*i));

        for (size_t n = 0; n < ARRAY_SIZE(rows); n++) {
                _cleanup_(image_links_done) struct image_links l = { 0 };
                _cleanup_free_ char *own = in_folder(rows[n].name);

                image_init(i, 3);
                image_backing(i, 300, rows[n].name, (uint32_t) strlen(rows[n].name));
                image_links(i, rows[n].expected ? 0 : -EOPNOTSUPP, &l);
                if (rows[n].expected)
                        assert_string_equal(l.backing, *rows[n].expected ? rows[n].expected : own);
        }
        free(i);
}

static void test_extensions(void **state) {
        struct image *i = xcalloc(1, sizeof(*i));
        _cleanup_(image_links_done) struct image_links second = { 0 }, none = { 0 }, endless = { 0 },
                                                       late = { 0 };

        /* One that is unknown before the one that counts; its length is rounded up to 8. */
        image_init(i, 3);
        image_backing(i, 300, "/b", 2);
        size_t at = image_extension(i, 104, 0x12345678, "unknown!!", 9);
        at = image_extension(i, at, 0xe2792aca, "raw", 3);
        (void) image_extension(i, at, 0x44415441, "/data", 5);
        image_links(i, 0, &second);
        assert_string_equal(second.backing_format, "raw");
        assert_string_equal(second.data_file, "/data");

        /* What comes behind the end is none. */
        image_init(i, 3);
        image_backing(i, 300, "/b", 2);
        at = image_extension(i, 104, 0, "", 0);
        (void) image_extension(i, at, 0xe2792aca, "raw", 3);
        image_links(i, 0, &none);
        assert_null(none.backing_format);

        /* Longer than the file, and a header that claims to begin beyond it. */
        image_init(i, 3);
        (void) image_extension(i, 104, 0xe2792aca, "raw", UINT32_MAX);
        image_links(i, 0, &endless);
        assert_null(endless.backing_format);
        image_init(i, 3);
        put32(i, 100, UINT32_MAX - 4);
        image_links(i, 0, &late);
        assert_null(late.backing_format);
        free(i);
}

/* A name that begins where not all of the image's beginning is looked at. */
static void test_far_name(void **state) {
        struct image *i = xcalloc(1, sizeof(*i));
        struct image_links l = { 0 };

        image_init(i, 3);
        i->len = sizeof(i->data);
        image_backing(i, 66 * 1024, "/b", 2);
        image_links(i, -EINVAL, &l);
        free(i);
}

static int setup(void **state) {
        return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state) {
        return file_remove_tree(AT_FDCWD, folder, NULL);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_qemu_img),    cmocka_unit_test(test_broken),
                cmocka_unit_test(test_other_files), cmocka_unit_test(test_names),
                cmocka_unit_test(test_extensions),  cmocka_unit_test(test_far_name),
        };

        return cmocka_run_group_tests(tests, setup, teardown);
}
