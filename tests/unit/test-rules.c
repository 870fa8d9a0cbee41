/* What claims devices at boot: the texts (golden), and the files below a root of our own, installed and taken
 * back. */
#include "base/file.h"
#include "base/str.h"
#include "rules/rules.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct rules_device two[] = { { "0000:02:00.0", 0x1b36, 0x0010, "win10" },
                                           { "0000:03:00.0", 0x1234, 0x1111, "win10, games" } };

static void put(const char *root, const char *path, const char *text, mode_t mode) {
        _cleanup_free_ char *full = xasprintf("%s%s", root, path), *dir = xstrdup(full);

        *strrchr(dir, '/') = '\0';
        assert_int_equal(file_mkdirs(dir, 0755, NULL), 0);
        assert_int_equal(file_write_atomic(AT_FDCWD, full, text, strlen(text), mode, false, NULL), 0);
        assert_int_equal(chmod(full, mode), 0);
}

static char *get(const char *root, const char *path) {
        _cleanup_free_ char *full = xasprintf("%s%s", root, path);
        char *text = NULL;

        return file_read(AT_FDCWD, full, 1 << 20, &text, NULL, NULL) < 0 ? NULL : text;
}

/* All files and folders below dir, with modes, contents and, with times, when they were written. */
static void add_tree(struct strbuf *b, const char *dir, bool times) {
        struct dirent **entries;
        int n = scandir(dir, &entries, NULL, alphasort);

        for (int i = 0; i < n; i++) {
                _cleanup_free_ char *path = xasprintf("%s/%s", dir, entries[i]->d_name), *text = NULL;
                struct stat st;

                if (entries[i]->d_name[0] != '.' && lstat(path, &st) == 0) {
                        if (S_ISREG(st.st_mode))
                                assert_int_equal(file_read(AT_FDCWD, path, 1 << 20, &text, NULL, NULL), 0);
                        strbuf_addf(b, "%s %o %ld.%09ld\n%s", path, st.st_mode, times ? st.st_mtim.tv_sec : 0,
                                    times ? st.st_mtim.tv_nsec : 0, text ? text : "");
                        if (S_ISDIR(st.st_mode))
                                add_tree(b, path, times);
                }
                free(entries[i]);
        }
        if (n >= 0)
                free(entries);
}

static char *tree(const char *root, bool times) {
        struct strbuf b = STRBUF_INIT;

        add_tree(&b, root, times);
        return strbuf_take(&b);
}

static void same(const char *root, const char *before, bool times) {
        _cleanup_free_ char *now = tree(root, times);

        assert_string_equal(before, now);
}

struct scene {
        char *base, *root, *state, *programs; /* owned */
};

static int setup(void **state) {
        struct scene *s = xcalloc(1, sizeof(*s));

        s->base = xstrdup("/tmp/vore-rules-XXXXXX");
        assert_non_null(mkdtemp(s->base));
        s->root = xasprintf("%s/root", s->base);
        s->state = xasprintf("%s/state", s->base);
        s->programs = xasprintf("%s/programs", s->base);
        assert_int_equal(mkdir(s->root, 0755), 0);
        assert_int_equal(mkdir(s->state, 0755), 0);
        *state = s;
        return 0;
}

static int teardown(void **state) {
        struct scene *s = *state;

        assert_int_equal(file_remove_tree(AT_FDCWD, s->base, NULL), 0);
        free(s->base);
        free(s->root);
        free(s->state);
        free(s->programs);
        free(s);
        return 0;
}

/* update-initramfs, which notes that it ran and ends with that status. */
static void program(const struct scene *s, int status) {
        _cleanup_free_ char *text = xasprintf(
                "#!/bin/sh\necho \"$@\" >>%s/ran\necho 'what went wrong' >&2\nexit %d\n", s->base, status);

        put(s->programs, "/update-initramfs", text, 0755);
}

static size_t runs(const struct scene *s) {
        _cleanup_free_ char *text = get(s->base, "/ran");
        size_t n = 0;

        for (const char *at = text; at && (at = strchr(at, '\n')); at++)
                n++;
        return n;
}

static struct rules_place place(const struct scene *s) {
        return (struct rules_place){ s->root, s->state, s->programs };
}

/* How many files changed, or -errno with the sentence. */
static int act(const struct scene *s, enum rules_kind kind, size_t n, bool remove, struct error *err) {
        struct rules_job job = { place(s), kind, two, n, remove };
        _cleanup_json_ json_t *result = NULL;
        int r = rules_work(&job, -1, &result, err);

        return r < 0 ? r : (int) json_array_size(json_object_get(result, "files"));
}

static enum rules_state look(const struct scene *s, enum rules_kind kind, size_t n) {
        struct rules_place p = place(s);

        return rules_look(&p, kind, two, n);
}

/* -- texts ----------------------------------------------------------------------------------------------- */

static void test_golden(void **state) {
        for (int kind = 0; kind < RULES_KIND_COUNT; kind++) {
                _cleanup_free_ char *got = rules_emit((enum rules_kind) kind, two, ARRAY_SIZE(two)),
                                    *want = NULL;
                _cleanup_free_ char *path =
                        xasprintf("%s/%s.expected", TEST_GOLDEN, rules_kind_name((enum rules_kind) kind));

                if (str_eq(getenv("VORE_UPDATE_GOLDEN"), "1"))
                        assert_int_equal(
                                file_write_atomic(AT_FDCWD, path, got, strlen(got), 0644, false, NULL), 0);
                if (file_read(AT_FDCWD, path, 1 << 20, &want, NULL, NULL) < 0)
                        fail_msg("%s is not there; VORE_UPDATE_GOLDEN=1 writes it", path);
                assert_string_equal(want, got);
        }
}

static void test_kinds(void **state) {
        _cleanup_error_ struct error err = ERROR_INIT;
        enum rules_kind kind = RULES_KIND_COUNT;

        assert_int_equal(rules_kind_find("initramfs-tools", &kind, &err), 0);
        assert_int_equal(kind, RULES_INITRAMFS_TOOLS);
        assert_int_equal(rules_kind_find("grub", &kind, &err), -EINVAL);
        assert_non_null(strstr(error_text(&err), "udev, initramfs-tools and dracut"));
        assert_int_equal(act(*state, RULES_DRACUT, 1, false, &err), -EOPNOTSUPP);
        assert_non_null(strstr(error_text(&err), "--emit dracut"));
        assert_int_equal(act(*state, RULES_UDEV, 0, false, &err), -ENODATA);
}

/* -- installing ------------------------------------------------------------------------------------------ */

static void there_and_back(struct scene *s, enum rules_kind kind, int files) {
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_free_ char *before = tree(s->root, false), *state_before = tree(s->state, false);

        program(s, 0);
        assert_int_equal(look(s, kind, 2), RULES_ABSENT);
        assert_int_equal(act(s, kind, 2, false, &err), files);
        assert_int_equal(look(s, kind, 2), RULES_CURRENT);
        _cleanup_free_ char *installed = tree(s->base, true);
        assert_int_equal(act(s, kind, 2, false, &err), 0);
        same(s->base, installed, true);
        assert_int_equal(act(s, kind, 2, true, &err), files);
        same(s->root, before, false);
        same(s->state, state_before, false);
        assert_int_equal(look(s, kind, 2), RULES_ABSENT);
        size_t n = runs(s);
        assert_int_equal(act(s, kind, 2, true, &err), 0);
        assert_int_equal(runs(s), n);
        same(s->root, before, false);
}

static void test_udev_there_and_back(void **state) {
        there_and_back(*state, RULES_UDEV, 1);
}

static void test_initramfs_there_and_back(void **state) {
        struct scene *s = *state;

        put(s->root, "/etc/initramfs-tools/hooks/mine", "#!/bin/sh\n", 0755);
        there_and_back(s, RULES_INITRAMFS_TOOLS, 2);
        assert_int_equal(runs(s), 2);
}

/* Folders that have something else in them by now stay. */
static void test_folders_of_others_stay(void **state) {
        struct scene *s = *state;

        assert_int_equal(act(s, RULES_UDEV, 1, false, NULL), 1);
        put(s->root, "/etc/udev/rules.d/10-mine.rules", "", 0644);
        assert_int_equal(act(s, RULES_UDEV, 1, true, NULL), 1);
        _cleanup_free_ char *mine = get(s->root, "/etc/udev/rules.d/10-mine.rules");
        assert_non_null(mine);
}

static void test_other_devices(void **state) {
        struct scene *s = *state;
        _cleanup_free_ char *before = tree(s->root, false);

        assert_int_equal(act(s, RULES_UDEV, 1, false, NULL), 1);
        assert_int_equal(look(s, RULES_UDEV, 2), RULES_OUTDATED);
        assert_int_equal(look(s, RULES_UDEV, 0), RULES_OUTDATED);
        assert_int_equal(act(s, RULES_UDEV, 2, false, NULL), 1);
        assert_int_equal(look(s, RULES_UDEV, 2), RULES_CURRENT);
        _cleanup_free_ char *text = get(s->root, "/etc/udev/rules.d/70-vore-reserve.rules");
        assert_non_null(strstr(text, "0000:03:00.0"));
        /* The folders that the first one made are still known. */
        assert_int_equal(act(s, RULES_UDEV, 2, true, NULL), 1);
        same(s->root, before, false);
}

/* What is not ours, or not any more, is neither written over nor removed. */
static void test_changed_by_hand(void **state) {
        static const char path[] = "/etc/udev/rules.d/70-vore-reserve.rules";
        struct scene *s = *state;
        _cleanup_error_ struct error err = ERROR_INIT;

        put(s->root, path, "# mine\n", 0600);
        _cleanup_free_ char *before = tree(s->root, true);
        assert_int_equal(look(s, RULES_UDEV, 1), RULES_FOREIGN);
        assert_int_equal(act(s, RULES_UDEV, 1, false, &err), -EEXIST);
        assert_non_null(strstr(error_text(&err), path));
        assert_int_equal(act(s, RULES_UDEV, 1, true, &err), -EEXIST);
        same(s->root, before, true);
        _cleanup_free_ char *full = xasprintf("%s%s", s->root, path);
        assert_int_equal(unlink(full), 0);

        assert_int_equal(act(s, RULES_UDEV, 1, false, NULL), 1);
        _cleanup_free_ char *text = get(s->root, path), *edited = xasprintf("%s# and this\n", text);
        put(s->root, path, edited, 0644);
        assert_int_equal(act(s, RULES_UDEV, 2, false, &err), -EEXIST);
        assert_int_equal(act(s, RULES_UDEV, 1, true, &err), -EEXIST);
        put(s->root, path, text, 0644);
        assert_int_equal(act(s, RULES_UDEV, 1, true, &err), 1);
}

/* Files and an initramfs belong together. */
static void test_command_fails(void **state) {
        struct scene *s = *state;
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_free_ char *before = tree(s->root, false);

        program(s, 1);
        assert_int_equal(act(s, RULES_INITRAMFS_TOOLS, 1, false, &err), -EIO);
        assert_non_null(strstr(error_text(&err), "update-initramfs failed: what went wrong"));
        same(s->root, before, false);
        /* One kernel's may be made by then: a removal makes all of them again. */
        assert_int_equal(look(s, RULES_INITRAMFS_TOOLS, 1), RULES_OUTDATED);
        program(s, 0);
        assert_int_equal(act(s, RULES_INITRAMFS_TOOLS, 1, true, &err), 0);
        assert_int_equal(runs(s), 2);
        assert_int_equal(look(s, RULES_INITRAMFS_TOOLS, 1), RULES_ABSENT);
        assert_int_equal(act(s, RULES_INITRAMFS_TOOLS, 1, false, &err), 2);
        _cleanup_free_ char *one = tree(s->root, false);
        program(s, 3);
        assert_int_equal(act(s, RULES_INITRAMFS_TOOLS, 2, false, &err), -EIO);
        same(s->root, one, false);
        assert_int_equal(look(s, RULES_INITRAMFS_TOOLS, 1), RULES_OUTDATED);
        /* A removal whose command failed is not done: the next one runs it again. */
        assert_int_equal(act(s, RULES_INITRAMFS_TOOLS, 1, true, &err), -EIO);
        same(s->root, before, false);
        assert_int_equal(look(s, RULES_INITRAMFS_TOOLS, 1), RULES_OUTDATED);
        program(s, 0);
        size_t n = runs(s);
        assert_int_equal(act(s, RULES_INITRAMFS_TOOLS, 1, true, &err), 0);
        assert_int_equal(runs(s), n + 1);
        assert_int_equal(look(s, RULES_INITRAMFS_TOOLS, 1), RULES_ABSENT);
}

/* Somebody died between the files and the initramfs. */
static void test_cut_off(void **state) {
        struct scene *s = *state;
        _cleanup_free_ char *note = xasprintf("%s/boot-initramfs-tools", s->state);

        program(s, 0);
        assert_int_equal(act(s, RULES_INITRAMFS_TOOLS, 1, false, NULL), 2);
        assert_int_equal(unlink(note), 0);
        assert_int_equal(look(s, RULES_INITRAMFS_TOOLS, 1), RULES_OUTDATED);
        assert_int_equal(act(s, RULES_INITRAMFS_TOOLS, 1, false, NULL), 0);
        assert_int_equal(runs(s), 2);
        assert_int_equal(look(s, RULES_INITRAMFS_TOOLS, 1), RULES_CURRENT);
}

/* As for a host with many kernels that all lack some firmware. */
static void test_command_says_much(void **state) {
        static const char text[] =
                "#!/bin/sh\ni=0\nwhile [ $i -lt 3000 ]; do echo \"possible missing firmware for the "
                "module number $i of many\"; i=$((i + 1)); done\necho the end\nexit ";
        struct scene *s = *state;
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_free_ char *well = xasprintf("%s0\n", text), *ill = xasprintf("%s1\n", text);

        put(s->programs, "/update-initramfs", ill, 0755);
        assert_int_equal(act(s, RULES_INITRAMFS_TOOLS, 1, false, &err), -EIO);
        assert_non_null(strstr(error_text(&err), "update-initramfs failed: the end"));
        put(s->programs, "/update-initramfs", well, 0755);
        assert_int_equal(act(s, RULES_INITRAMFS_TOOLS, 1, false, &err), 2);
}

/* A write that was cut off leaves nothing that anybody would run, and nothing for good. */
static void test_half_written(void **state) {
        static const char left[] = "/etc/udev/rules.d/70-vore-reserve.rules.7.tmp";
        struct scene *s = *state;

        program(s, 0);
        for (int i = 0; i < 2; i++) {
                put(s->root, left, "half", 0600);
                assert_int_equal(act(s, RULES_UDEV, 1, i, NULL), 1);
                _cleanup_free_ char *text = get(s->root, left);
                assert_null(text);
        }
}

/* Then nothing is removed, rather than half of it; with a note of the installation nothing has to be written.
 */
static void test_removal_without_a_note(void **state) {
        struct scene *s = *state;
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_free_ char *note = xasprintf("%s/boot-initramfs-tools", s->state);

        program(s, 0);
        assert_int_equal(act(s, RULES_INITRAMFS_TOOLS, 1, false, NULL), 2);
        _cleanup_free_ char *there = tree(s->root, false);
        assert_int_equal(unlink(note), 0);
        assert_int_equal(rmdir(s->state), 0);
        assert_true(act(s, RULES_INITRAMFS_TOOLS, 1, true, &err) < 0);
        same(s->root, there, false);
        assert_int_equal(mkdir(s->state, 0700), 0);
        program(s, 1);
        assert_int_equal(act(s, RULES_INITRAMFS_TOOLS, 1, true, &err), -EIO);
        program(s, 0);
        assert_int_equal(act(s, RULES_INITRAMFS_TOOLS, 1, true, &err), 0);
        assert_int_equal(runs(s), 3);
        assert_int_equal(look(s, RULES_INITRAMFS_TOOLS, 1), RULES_ABSENT);
}

static void test_no_such_program(void **state) {
        struct scene *s = *state;
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_free_ char *before = tree(s->root, false);

        assert_int_equal(mkdir(s->programs, 0755), 0);
        assert_int_equal(act(s, RULES_INITRAMFS_TOOLS, 1, false, &err), -ENOENT);
        assert_non_null(strstr(error_text(&err), "update-initramfs is not there"));
        same(s->root, before, false);
        assert_int_equal(look(s, RULES_INITRAMFS_TOOLS, 1), RULES_ABSENT);
}

int main(void) {
        const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
                TEST(test_golden),
                TEST(test_kinds),
                TEST(test_udev_there_and_back),
                TEST(test_initramfs_there_and_back),
                TEST(test_folders_of_others_stay),
                TEST(test_other_devices),
                TEST(test_changed_by_hand),
                TEST(test_command_fails),
                TEST(test_cut_off),
                TEST(test_no_such_program),
                TEST(test_command_says_much),
                TEST(test_removal_without_a_note),
                TEST(test_half_written),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
