/* Broken definitions: each has all its faults at the right place. VORE_UPDATE_GOLDEN=1 writes what is
 * expected. A first line "# save" has it read as one that is to be saved. */
#include "def/def.h"

#include "base/file.h"
#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#define FOLDER TEST_GOLDEN "/broken"

static char *faults(const char *name, const char *text, size_t len, bool *ret_errors) {
        _cleanup_arena_ struct arena *arena = arena_new();
        struct def *def = NULL;
        struct diags diags;
        char *out = NULL;
        size_t out_len;

        diags_init(&diags, arena, name);
        int r = def_parse(arena, text, len, "/folder", str_starts(text, "# save\n") ? DEF_SAVE : 0, &def,
                          &diags);
        assert_int_equal(r, diags.errors ? -EINVAL : 0);
        assert_non_null(def);
        *ret_errors = diags.errors;

        FILE *f = open_memstream(&out, &out_len);
        assert_non_null(f);
        diags_print(&diags, f, NULL, false);
        fclose(f);
        return out;
}

static bool check(const char *name) {
        _cleanup_free_ char *path = xasprintf("%s/%s", FOLDER, name), *text = NULL, *wanted = NULL;
        _cleanup_free_ char *expected = xasprintf("%.*s.expected", (int) strlen(path) - 5, path);
        size_t len;
        bool errors;

        assert_int_equal(file_read(AT_FDCWD, path, 1 << 20, &text, &len, NULL), 0);
        _cleanup_free_ char *got = faults(name, text, len, &errors);
        if (getenv("VORE_UPDATE_GOLDEN"))
                assert_int_equal(file_write_atomic(AT_FDCWD, expected, got, strlen(got), 0644, false, NULL),
                                 0);
        if (file_read(AT_FDCWD, expected, 1 << 20, &wanted, NULL, NULL) == 0 && str_eq(got, wanted) && errors)
                return true;
        print_error("%s: expected\n%sbut it gives\n%s", name, wanted ? wanted : "(no file)\n", got);
        return false;
}

static void test_broken(void **state) {
        DIR *dir = opendir(FOLDER);
        size_t n = 0, bad = 0;

        assert_non_null(dir);
        for (const struct dirent *e; (e = readdir(dir));)
                if (str_ends(e->d_name, ".toml")) {
                        bad += !check(e->d_name);
                        n++;
                }
        closedir(dir);
        assert_int_equal(bad, 0);
        assert_true(n >= 30);
}

int main(void) {
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_broken) };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
