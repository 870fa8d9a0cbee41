#include "rpc/idl.h"
#include "rpc/server.h"

#include "base/file.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

#define HEAD "interface a.b\n"

static void test_grammar(void **state) {
        static const char *const good[] = {
                HEAD,
                "# c\n interface org.example-1.x2 # d\n",
                HEAD "type T (one, two)",
                HEAD "type T ()\nmethod M(t: ?[]T, m: [string]?[]int) -> (s: (a: bool, e: (x, y)))",
                HEAD "method M(t: Late) -> ()\ntype Late (n: ?Late, l: []Late)\nerror E (why: string)",
        };
        static const char *const bad[] = {
                "",
                "interface a",
                "interface .a",
                "interface a..b",
                "interface a-.b",
                "interface a.b-",
                "interface a.-b",
                "interface 1.b",
                HEAD "x",
                HEAD "type t ()",
                HEAD "type T",
                HEAD "type T (a: int",
                HEAD "type T (a: int,)",
                HEAD "type T (a: int b: int)",
                HEAD "type T (a, b: int)",
                HEAD "type T (a: int, b)",
                HEAD "type T (a: int, a: bool)",
                HEAD "type T (a_: int)",
                HEAD "type T (_a: int)",
                HEAD "type T (a: ??int)",
                HEAD "type T (a: whole)",
                HEAD "type T (a: [int]int)",
                HEAD "type T (a: Nowhere)",
                HEAD "method M(a: []Nowhere) -> ()",
                HEAD "method M() -> (a: Nowhere)",
                HEAD "method M()",
                HEAD "method M() -> int",
                HEAD "method M(a, b) -> ()",
                HEAD "error E (a, b)",
                HEAD "type T ()\ntype T ()",
                HEAD "method M() -> ()\nerror M ()",
                HEAD "type T (a: intx)",
                HEAD "type T (a: [][][][][][][][][][][][][][][][][][][][]int)",
        };
        struct idl *idl = NULL;

        for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
                _cleanup_error_ struct error err = ERROR_INIT;

                if (idl_parse(good[i], &idl, &err) != 0)
                        fail_msg("%s: %s", good[i], error_text(&err));
                idl_free(idl);
        }
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                if (idl_parse(bad[i], &idl, NULL) != -EINVAL)
                        fail_msg("accepted: %s", bad[i]);
}

static void test_place(void **state) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct idl *idl = NULL;

        assert_int_equal(idl_parse("interface a.b\n\ntype T (a: what)\n", &idl, &err), -EINVAL);
        assert_non_null(strstr(error_text(&err), "line 3, column 12"));
}

static void test_values(void **state) {
        static const struct {
                const char *value, *wrong; /* NULL: nothing is */
        } rows[] = {
                { "{\"n\":1}", NULL },
                { "{}", "n" },
                { "{\"n\":null}", "n" },
                { "{\"n\":1.0}", "n" },
                { "{\"n\":\"1\"}", "n" },
                { "{\"n\":1,\"other\":1}", "other" },
                { "{\"n\":1,\"f\":1}", NULL },
                { "{\"n\":1,\"f\":1.5}", NULL },
                { "{\"n\":1,\"f\":true}", "f" },
                { "{\"n\":1,\"s\":null}", NULL },
                { "{\"n\":1,\"s\":\"a\\u0000b\"}", "s" },
                { "{\"n\":1,\"l\":[]}", NULL },
                { "{\"n\":1,\"l\":[{\"b\":true}]}", NULL },
                { "{\"n\":1,\"l\":[{\"b\":1}]}", "l" },
                { "{\"n\":1,\"l\":[{\"b\":true,\"c\":1}]}", "l" },
                { "{\"n\":1,\"l\":[null]}", "l" },
                { "{\"n\":1,\"l\":{}}", "l" },
                { "{\"n\":1,\"m\":{\"k\":\"two\",\"o\":null}}", NULL },
                { "{\"n\":1,\"m\":{\"k\":\"three\"}}", "m" },
                { "{\"n\":1,\"m\":[]}", "m" },
                { "{\"n\":1,\"o\":{\"x\":[1]}}", NULL },
                { "{\"n\":1,\"o\":[]}", "o" },
        };
        struct idl *idl = NULL;

        assert_int_equal(
                idl_parse(HEAD "type E (one, two)\ntype B (b: bool)\n"
                               "type T (n: int, f: ?float, s: ?string, l: ?[]B, m: ?[string]?E, o: ?object)",
                          &idl, NULL),
                0);
        const struct idl_type *t = idl_find(idl, IDL_TYPE, "T")->in;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                _cleanup_json_ json_t *value = NULL;

                assert_int_equal(json_parse(rows[i].value, strlen(rows[i].value), &value, NULL), 0);
                if (!str_eq(idl_mismatch(t, value), rows[i].wrong))
                        fail_msg("%s: %s", rows[i].value, idl_mismatch(t, value));
        }
        assert_null(idl_find(idl, IDL_METHOD, "T"));
        idl_free(idl);
}

static int check(const struct rpc_method *methods, size_t n, const char *expect_in_text) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct rpc_interface i = { "a.b", HEAD "method M() -> ()\nmethod N() -> ()\n", methods, n };
        int r = rpc_interface_check(&i, &err);

        if (expect_in_text)
                assert_non_null(strstr(error_text(&err), expect_in_text));
        return r;
}

static void test_rows(void **state) {
        const struct rpc_method all[] = { { "a.b.M" }, { "a.b.N" } },
                                extra[] = { { "a.b.M" }, { "a.b.N" }, { "a.b.O" } },
                                twice[] = { { "a.b.M" }, { "a.b.N" }, { "a.b.N" } },
                                other[] = { { "a.b.M" }, { "c.d.N" } };
        const struct rpc_interface name = { "x.y", HEAD, NULL, 0 };

        assert_int_equal(check(all, 2, NULL), 0);
        assert_int_equal(check(all, 1, "a.b.N is described, but has no row"), -EINVAL);
        assert_int_equal(check(extra, 3, "a.b.O has a row"), -EINVAL);
        assert_int_equal(check(twice, 3, "several rows"), -EINVAL);
        assert_int_equal(check(other, 2, "c.d.N has a row"), -EINVAL);
        assert_int_equal(rpc_interface_check(&name, NULL), -EINVAL);
}

static void test_manager_file(void **state) {
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_free_ char *text = NULL;
        struct idl *idl = NULL;

        assert_int_equal(file_read(AT_FDCWD, MANAGER_FILE, 1 << 20, &text, NULL, NULL), 0);
        if (idl_parse(text, &idl, &err) < 0)
                fail_msg("%s", error_text(&err));
        assert_string_equal(idl->name, "dev.vore.Manager");
        assert_non_null(idl_find(idl, IDL_METHOD, "Start"));
        assert_non_null(idl_find(idl, IDL_ERROR, "WrongState"));
        idl_free(idl);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_grammar),      cmocka_unit_test(test_place),
                cmocka_unit_test(test_values),       cmocka_unit_test(test_rows),
                cmocka_unit_test(test_manager_file),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
