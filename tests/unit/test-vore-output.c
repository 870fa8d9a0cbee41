#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/json.h"
#include "vore/output.h"
#include "vore/show.h"

static void escapes(const char *in, const char *out) {
        _cleanup_free_ char *text = output_escaped(in);

        assert_string_equal(text, out);
}

static void test_escape(void **state) {
        escapes("plain", "plain");
        escapes("a\nb\tc", "a\\nb\\tc");
        escapes("\033[31mred\007", "\\x1b[31mred\\x07");
        escapes("caf\u00e9 \u65e5", "caf\u00e9 \u65e5");
        escapes("\xc2\x9b"
                "31m",
                "\\u009b31m");                                        /* CSI as one character */
        escapes("a\u202eb", "a\\u202eb");                             /* right to left */
        escapes("\xff\xc3(", "\\xff\\xc3(");                          /* no UTF-8 */
        escapes("\xc0\x80\xed\xa0\x80", "\\xc0\\x80\\xed\\xa0\\x80"); /* overlong, surrogate */
        escapes("\xe2\x82", "\\xe2\\x82");                            /* cut off */
        assert_null(output_escaped(NULL));
}

static void test_escape_keeps(void **state) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

        output_escape(&b, "a\nb\tc\r", "\n\t");
        assert_string_equal(b.data, "a\nb\tc\\x0d");
}

static void test_width(void **state) {
        assert_int_equal(output_width(""), 0);
        assert_int_equal(output_width("win10"), 5);
        assert_int_equal(output_width("caf\u00e9"), 4);
        assert_int_equal(output_width("cafe\u0301"), 4);
        assert_int_equal(output_width("\u65e5\u672c"), 4);
        assert_int_equal(output_width("\U0001f600"), 2);
        assert_int_equal(output_width("\xff"), 1);
}

static void span(double seconds, const char *out) {
        char buf[32];

        assert_string_equal(output_span(seconds, buf), out);
}

static void test_span(void **state) {
        span(0, "0 ms");
        span(-1, "0 ms");
        span(0.0124, "12 ms");
        span(0.0615, "62 ms");
        span(9.5, "9500 ms");
        span(12.34, "12.3 s");
        span(__builtin_nan(""), "0 ms");
}

static char *print_table(bool terminal, bool color) {
        static const char *const titles[] = { "NAME", "PID", "REASON", NULL };
        char *text = NULL;
        size_t len = 0;
        FILE *out = open_memstream(&text, &len);
        struct table t;

        table_init(&t, titles, 1 << 1);
        table_add(&t, "win10", COLOR_NONE);
        table_add(&t, "1", COLOR_GREEN);
        table_add(&t, NULL, COLOR_NONE);
        table_add(&t, "\u65e5\u672c\u8a9e", COLOR_NONE);
        table_add(&t, "12345", COLOR_NONE);
        table_add(&t, "a\tb\nc", COLOR_NONE);
        table_print(&t, out, terminal, color);
        table_done(&t);
        fclose(out);
        return text;
}

static void test_table(void **state) {
        _cleanup_free_ char *aligned = print_table(true, false), *tabs = print_table(false, false),
                            *colored = print_table(true, true);

        assert_string_equal(aligned, "NAME      PID  REASON\n"
                                     "win10       1  -\n"
                                     "\u65e5\u672c\u8a9e  12345  a\\tb\\nc\n");
        assert_string_equal(tabs, "win10\t1\t-\n"
                                  "\u65e5\u672c\u8a9e\t12345\ta\\tb\\nc\n");
        assert_non_null(strstr(colored, "    \033[32m1\033[0m  -\n"));
}

static void shows(const char *json, const char *text) {
        _cleanup_json_ json_t *j = NULL;
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

        assert_int_equal(json_parse(json, strlen(json), &j, NULL), 0);
        show_text(&b, j, false);
        assert_string_equal(b.data ? b.data : "", text);
}

static void test_show(void **state) {
        shows("{}", "");
        shows("{\"name\": \"a\", \"machine\": {\"name\": \"a\", \"memory\": 2147483648, \"auto_start\": "
              "false,"
              " \"features\": [\"uefi\", \"spice\"]}, \"disks\": [{\"path\": \"/a\"}, {\"path\": \"/b\"}], "
              "\"vfio\": []}",
              "[machine]\nname = \"a\"\nmemory = \"2G\"\nauto-start = false\nfeatures = [\"uefi\", "
              "\"spice\"]\n"
              "\n[[disk]]\npath = \"/a\"\n\n[[disk]]\npath = \"/b\"\n");
        shows("{\"vfio\": [{\"vendor\": 4318, \"device\": -1}]}", "[[vfio]]\nvendor = 0x10de\ndevice = -1\n");
        shows("{\"disks\": [{\"path\": \"a\\\"b\\\\c\\n\\u001b\"}]}",
              "[[disk]]\npath = \"a\\\"b\\\\c\\n\\u001b\"\n");
        shows("{\"cpu\": {\"cores\": {\"value\": 2, \"origin\": \"host\", \"where\": \"/proc/cpuinfo\"},"
              " \"dies\": {\"value\": 1, \"origin\": \"default\", \"where\": null}}}",
              "[cpu]\ncores = 2                               # host: /proc/cpuinfo\n"
              "dies = 1                                # default\n");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_escape), cmocka_unit_test(test_escape_keeps),
                cmocka_unit_test(test_width),  cmocka_unit_test(test_span),
                cmocka_unit_test(test_table),  cmocka_unit_test(test_show),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
