/* Diagnostics: order, printing, JSON, bounds. */
#include "schema/diag.h"

#include "base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

static char *printed(const struct diags *d, const char *source, bool color) {
        char *text = NULL;
        size_t len;
        FILE *f = open_memstream(&text, &len);

        assert_non_null(f);
        diags_print(d, f, source, color);
        fclose(f);
        return text;
}

static void test_print(void **state) {
        _cleanup_arena_ struct arena *arena = arena_new();
        struct diags d;

        diags_init(&d, arena, "a.toml");
        diag_warning(&d, (struct loc){ 0, 0 }, "", NULL, "as a whole");
        diag_error(&d, (struct loc){ 3, 7 }, "disk[0].path", "write it", "is %s", "required");
        diag_error(&d, (struct loc){ 2, 9 }, "b", NULL, "second");
        diag_error(&d, (struct loc){ 2, 9 }, "a", NULL, "third");
        diag_error(&d, (struct loc){ 2, 1 }, "\033[31mx", NULL, "first");
        diags_sort(&d);
        _cleanup_free_ char *text = printed(&d, NULL, false);
        assert_string_equal(text, "a.toml:2:1: error: ?[31mx: first\n"
                                  "a.toml:2:9: error: b: second\n"
                                  "a.toml:2:9: error: a: third\n"
                                  "a.toml:3:7: error: disk[0].path: is required (write it)\n"
                                  "a.toml: warning: as a whole\n");
        assert_int_equal(d.errors, 4);
}

static void test_caret(void **state) {
        _cleanup_arena_ struct arena *arena = arena_new();
        struct diags d;

        diags_init(&d, arena, "a.toml");
        /* Columns count characters, and tabs stay tabs. */
        diag_error(&d, (struct loc){ 2, 5 }, "k", NULL, "wrong");
        _cleanup_free_ char *text = printed(&d, "one\n\tgrö\xc3\x9f=\033\r\nthree", true);
        assert_non_null(strstr(text, "\n    \tgrö\xc3\x9f=?\n    \t   \033[1;32m^"));
        _cleanup_free_ char *behind = printed(&d, "one", true);
        assert_null(strstr(behind, "^"));
}

static void test_json_round(void **state) {
        _cleanup_arena_ struct arena *arena = arena_new();
        struct diags d, e;

        diags_init(&d, arena, "a.toml");
        diag_error(&d, (struct loc){ 2, 5 }, "k", "hint", "wrong");
        diag_warning(&d, (struct loc){ 0, 0 }, "", NULL, "well");
        _cleanup_json_ json_t *array = diags_to_json(&d);
        assert_int_equal(json_array_size(array), 2);
        assert_true(json_is_null(json_object_get(json_array_get(array, 1), "hint")));

        diags_init(&e, arena, "a.toml");
        diags_add_json(&e, array);
        _cleanup_free_ char *one = printed(&d, NULL, false), *two = printed(&e, NULL, false);
        assert_string_equal(one, two);
        assert_int_equal(e.errors, 1);
}

static void test_bound(void **state) {
        _cleanup_arena_ struct arena *arena = arena_new();
        struct diags d;

        diags_init(&d, arena, "a.toml");
        for (unsigned i = 0; i < DIAGS_MAX + 5; i++)
                diag_error(&d, (struct loc){ i + 1, 1 }, "k", NULL, "wrong");
        assert_int_equal(d.n, DIAGS_MAX);
        assert_int_equal(d.errors, DIAGS_MAX + 5);
        assert_true(diags_full(&d));
        _cleanup_free_ char *text = printed(&d, NULL, false);
        assert_non_null(strstr(text, "\nand 5 more\n"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_print),
                cmocka_unit_test(test_caret),
                cmocka_unit_test(test_json_round),
                cmocka_unit_test(test_bound),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
