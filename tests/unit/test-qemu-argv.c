#include "base/str.h"
#include "qemu/argv.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static json_t *parse(const char *text) {
        json_t *j = json_loads(text, JSON_DECODE_ANY, NULL);

        assert_non_null(j);
        return j;
}

static void check_device(const char *json, const char *want) {
        _cleanup_json_ json_t *obj = parse(json);
        _cleanup_argv_ struct argv a = ARGV_INIT;
        _cleanup_error_ struct error err = ERROR_INIT;

        assert_int_equal(argv_add_device(&a, obj, &err), 0);
        assert_int_equal(a.n, 2);
        assert_string_equal(a.items[0], "-device");
        assert_string_equal(a.items[1], want);
        assert_null(a.items[2]);
}

static void check_device_fails(const char *json, const char *says) {
        _cleanup_json_ json_t *obj = parse(json);
        _cleanup_argv_ struct argv a = ARGV_INIT;
        _cleanup_error_ struct error err = ERROR_INIT;

        assert_int_equal(argv_add_device(&a, obj, &err), -EINVAL);
        assert_int_equal(a.n, 0);
        if (!strstr(error_text(&err), says))
                fail_msg("\"%s\" does not say \"%s\"", error_text(&err), says);
        /* Without anybody to tell as well. */
        assert_int_equal(argv_add_device(&a, obj, NULL), -EINVAL);
}

static void device(void **state) {
        check_device("{\"driver\":\"nvme\"}", "nvme");
        check_device("{\"drive\":\"d0\",\"driver\":\"nvme\",\"write-cache\":\"on\",\"serial\":\"a,b,,c\"}",
                     "nvme,drive=d0,write-cache=on,serial=a,,b,,,,c");
        check_device("{\"driver\":\"x\",\"b\":true,\"c\":false,\"d\":-5,\"e\":0,\"f\":\"\"}",
                     "x,b=on,c=off,d=-5,e=0,f=");
        check_device("{\"driver\":\"x\",\"a\":4.0,\"b\":0.1,\"c\":-2.5,\"d\":1e300}",
                     "x,a=4,b=0.1,c=-2.5,d=1e+300");
        check_device("{\"driver\":\"x\",\"a\":{\"b\":{\"c\":1}},\"l\":[7,\"y\",{\"z\":true}]}",
                     "x,a.b.c=1,l.0=7,l.1=y,l.2.z=on");
        check_device("{\"driver\":\"x\",\"m\":{\"driver\":\"inner\"}}", "x,m.driver=inner");
        check_device("{\"driver\":\"x\",\"big\":9223372036854775807}", "x,big=9223372036854775807");
}

static void device_refused(void **state) {
        check_device_fails("{\"drive\":\"d0\"}", "needs a driver");
        check_device_fails("{\"driver\":\"\"}", "needs a driver");
        check_device_fails("{\"driver\":7}", "needs a driver");
        check_device_fails("[]", "needs a driver");
        check_device_fails("{\"driver\":\"x\",\"a\":null}", "a: null");
        check_device_fails("{\"driver\":\"x\",\"a\":{}}", "a: an empty table");
        check_device_fails("{\"driver\":\"x\",\"a\":{\"b\":[]}}", "a.b: an empty table");
        check_device_fails("{\"driver\":\"x\",\"a,b\":1}", "\"a,b\"");
        check_device_fails("{\"driver\":\"x\",\"a=b\":1}", "\"a=b\"");
        check_device_fails("{\"driver\":\"x\",\"\":1}", "\"\"");
        check_device_fails("{\"driver\":\"x\",\"a\":[[[[[[[[[[1]]]]]]]]]]}", "too deep");

        _cleanup_json_ json_t *obj = json_pack("{s:s, s:s#}", "driver", "x", "a", "b\0c", 3);
        _cleanup_argv_ struct argv a = ARGV_INIT;
        assert_int_equal(argv_add_device(&a, obj, NULL), -EINVAL);
}

static void json_options(void **state) {
        _cleanup_json_ json_t *obj =
                parse("{\"driver\":\"file\",\"filename\":\"/a,b\",\"cache\":{\"direct\":true}}");
        _cleanup_json_ json_t *list = parse("[1]");
        _cleanup_argv_ struct argv a = ARGV_INIT;

        assert_int_equal(argv_add_json(&a, "-blockdev", obj, NULL), 0);
        assert_string_equal(a.items[0], "-blockdev");
        assert_string_equal(a.items[1],
                            "{\"driver\":\"file\",\"filename\":\"/a,b\",\"cache\":{\"direct\":true}}");
        assert_int_equal(argv_add_json(&a, "-object", list, NULL), -EINVAL);
        assert_int_equal(argv_add_json(&a, "-object", NULL, NULL), -EINVAL);
        assert_int_equal(a.n, 2);
}

static void check_keyval(const char *text, const char *implied, const char *want) {
        _cleanup_json_ json_t *got = NULL, *wanted = parse(want);
        _cleanup_error_ struct error err = ERROR_INIT;

        assert_int_equal(argv_parse_keyval(text, implied, &got, &err), 0);
        if (!json_equal(got, wanted)) {
                _cleanup_free_ char *shown = json_text(got);
                fail_msg("%s gave %s, not %s", text, shown, want);
        }
}

static void keyval(void **state) {
        json_t *got = NULL;

        check_keyval("nvme,drive=a,,b,serial=1", "driver",
                     "{\"driver\":\"nvme\",\"drive\":\"a,b\",\"serial\":\"1\"}");
        check_keyval("", "driver", "{}");
        check_keyval("a=b=c", NULL, "{\"a\":\"b=c\"}");
        check_keyval("driver=nvme,id=x", "driver", "{\"driver\":\"nvme\",\"id\":\"x\"}");
        check_keyval("socket,id=c,server,nowait", "backend",
                     "{\"backend\":\"socket\",\"id\":\"c\",\"server\":true,\"wait\":false}");
        check_keyval("server", NULL, "{\"server\":true}");
        check_keyval("no", NULL, "{\"no\":true}");
        check_keyval("x=on,y=off,z=", NULL, "{\"x\":\"on\",\"y\":\"off\",\"z\":\"\"}");
        check_keyval("a=1,a=2", NULL, "{\"a\":\"2\"}");
        check_keyval("file=/tmp/a,,,,b,if=none", "file", "{\"file\":\"/tmp/a,,b\",\"if\":\"none\"}");
        check_keyval("a=,,", NULL, "{\"a\":\",\"}");
        check_keyval("a=1,", NULL, "{\"a\":\"1\"}");
        assert_int_equal(argv_parse_keyval("=x", NULL, &got, NULL), -EINVAL);
        assert_int_equal(argv_parse_keyval("a=1,=2", "x", &got, NULL), -EINVAL);
        assert_int_equal(argv_parse_keyval("a=1,,b,,c=2,,", NULL, &got, NULL), 0);
        json_decref(got);
        assert_int_equal(argv_parse_keyval("a=\xff", NULL, &got, NULL), -EINVAL);
        assert_int_equal(argv_parse_keyval("\xff", NULL, &got, NULL), -EINVAL);
        assert_int_equal(argv_parse_keyval("\xff=1", NULL, &got, NULL), -EINVAL);
}

/* What is written comes back. */
static void keyval_round(void **state) {
        _cleanup_json_ json_t *obj = parse("{\"driver\":\"a,,b\",\"path\":\",,x=,\",\"y\":\"=\"}"),
                              *back = NULL;
        _cleanup_argv_ struct argv a = ARGV_INIT;

        assert_int_equal(argv_add_device(&a, obj, NULL), 0);
        assert_int_equal(argv_parse_keyval(a.items[1], "driver", &back, NULL), 0);
        assert_true(json_equal(obj, back));

        _cleanup_free_ char *escaped = argv_escape("/a,b,");
        assert_string_equal(escaped, "/a,,b,,");
}

static void json_round(void **state) {
        _cleanup_argv_ struct argv a = ARGV_INIT, b = ARGV_INIT;
        _cleanup_json_ json_t *wrong = parse("[\"a\", 1]"), *nul = json_pack("[s#]", "a\0b", 3);

        for (int i = 0; i < 100; i++)
                argv_addf(&a, "arg %d", i);
        _cleanup_json_ json_t *j = argv_to_json(&a);
        assert_int_equal(json_array_size(j), 100);
        assert_int_equal(argv_from_json(j, &b, NULL), 0);
        assert_int_equal(b.n, 100);
        assert_string_equal(b.items[99], "arg 99");
        assert_null(b.items[100]);
        assert_int_equal(argv_from_json(wrong, &b, NULL), -EINVAL);
        assert_int_equal(argv_from_json(nul, &b, NULL), -EINVAL);
        assert_int_equal(argv_from_json(NULL, &b, NULL), -EINVAL);
        assert_int_equal(b.n, 100);
}

static void shell(void **state) {
        _cleanup_argv_ struct argv a = ARGV_INIT;

        argv_add(&a, "/usr/bin/qemu");
        argv_add(&a, "-name");
        argv_add(&a, "it's");
        _cleanup_free_ char *line = argv_to_shell(&a);
        assert_string_equal(line, "/usr/bin/qemu -name 'it'\\''s'");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(device), cmocka_unit_test(device_refused), cmocka_unit_test(json_options),
                cmocka_unit_test(keyval), cmocka_unit_test(keyval_round),   cmocka_unit_test(json_round),
                cmocka_unit_test(shell),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
