#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vore/errors.h"
#include "vore/pick.h"

#include <errno.h>

/* "name state, name state" -> what List answers. */
static json_t *machines(const char *line) {
        json_t *list = json_array();
        char name[32], state[32];

        for (const char *p = line; *p && sscanf(p, "%31s %31[a-z]", name, state) == 2;) {
                json_t *machine = json_object();

                json_put_str(machine, "name", name);
                json_put_str(machine, "state", state);
                json_push(list, machine);
                p += strcspn(p, ",");
                p += *p == ',';
        }
        return list;
}

static void picks(const char *line, enum need need, const char *name) {
        _cleanup_json_ json_t *list = machines(line);
        _cleanup_free_ char *got = NULL, *text = NULL;

        assert_int_equal(pick_name(list, need, "start", &got, &text), 0);
        assert_string_equal(got, name);
}

static void refuses(const char *line, enum need need, int code, const char *expected) {
        _cleanup_json_ json_t *list = machines(line);
        _cleanup_free_ char *got = NULL, *text = NULL;

        assert_int_equal(pick_name(list, need, "VERB", &got, &text), code);
        assert_null(got);
        assert_string_equal(text, expected);
}

static void test_picks(void **state) {
        picks("a running, b stopped", NEED_IDLE, "b");
        picks("a running, b failed, c broken", NEED_IDLE, "b");
        picks("a running, b prepared", NEED_IDLE, "b");
        picks("a paused, b stopped", NEED_RUNNING, "a");
        picks("a starting, b loaded", NEED_RUNNING, "a");
        picks("a stopping, b loaded", NEED_RUNNING, "a");
        picks("a broken", NEED_ANY, "a");
        picks("a prepared, b running", NEED_HELD, "b");
        picks("a prepared, b stopped", NEED_HELD, "a");
}

static void test_refuses(void **state) {
        refuses("", NEED_IDLE, -ENOENT, "there are no VMs; load one with: vore load FILE");
        refuses("a running", NEED_IDLE, -ENOENT, "no VM is waiting to be started; there are:\n  a  running");
        refuses("a stopped, long broken", NEED_RUNNING, -ENOENT,
                "no VM is running; there are:\n  a     stopped\n  long  broken");
        refuses("a prepared", NEED_RUNNING, -ENOENT, "no VM is running; there are:\n  a  prepared");
        refuses("a running, b paused, c stopped", NEED_RUNNING, -EEXIST,
                "several VMs fit; say which: vore VERB NAME\n  a  running\n  b  paused");
        refuses("a prepared, b prepared", NEED_HELD, -EEXIST,
                "several VMs fit; say which: vore VERB NAME\n  a  prepared\n  b  prepared");
        refuses("a loaded, b running", NEED_ANY, -EEXIST,
                "several VMs fit; say which: vore VERB NAME\n  a  loaded\n  b  running");
        refuses("a strange", NEED_RUNNING, -ENOENT, "no VM is running; there are:\n  a  strange");
}

static void says(const char *verb, const char *error, const char *params, const char *expected) {
        _cleanup_json_ json_t *j = NULL;
        _cleanup_free_ char *text = NULL;

        assert_int_equal(json_parse(params, strlen(params), &j, NULL), 0);
        text = errors_text(verb_find(verb), "/s", "Method", error, j);
        assert_string_equal(text, expected);
}

static void test_errors(void **state) {
        says("kill", "NoSuchMachine", "{\"name\": \"wni10\", \"candidates\": [\"a\", \"win10\"]}",
             "no VM is named \"wni10\": did you mean \"win10\"?");
        says("kill", "NoSuchMachine", "{\"name\": \"quetzal\", \"candidates\": [\"a\", \"b\"]}",
             "no VM is named \"quetzal\"; there are: a, b");
        says("kill", "NoSuchMachine", "{\"name\": \"q\", \"candidates\": []}",
             "no VM is named \"q\"; there are none yet: vore load FILE");
        says("unload", "WrongState",
             "{\"name\": \"a\", \"state\": \"running\", \"message\": \"a is running\"}",
             "unload: a is running; end it first with: vore stop a");
        says("pause", "WrongState",
             "{\"name\": \"a\", \"state\": \"stopped\", \"message\": \"a is stopped\"}",
             "pause: a is stopped; start it with: vore start a");
        says("start", "WrongState",
             "{\"name\": \"a\", \"state\": \"stopping\", \"operation\": \"stop\", \"seconds\": 2.5, "
             "\"message\": \"\"}",
             "start: a is busy with stop since 2500 ms; wait until it is done (vore events), or end the VM "
             "with: vore kill "
             "a");
        says("start", "WrongState",
             "{\"name\": \"a\", \"state\": \"broken\", \"message\": \"see vore list\"}",
             "start: see vore list");
        says("start", "StartFailed", "{\"name\": \"a\", \"reason\": \"no disk\"}",
             "start: a: no disk; its log: vore logs a");
        says("stop", "StopTimeout", "{\"name\": \"a\", \"seconds\": 60.0, \"message\": \"\"}",
             "a did not power off in 60.0 s and runs on; end it with: vore kill a");
        says("stop", "StopTimeout", "{\"name\": \"a\", \"message\": \"the guest sleeps\"}",
             "a: the guest sleeps; end it with: vore kill a");
        says("load", "NotSupported", "{\"what\": \"vfio\"}", "vfio is not supported by this version");
        says("load", "org.varlink.service.MethodNotFound", "{}",
             "the daemon at /s does not know Method: it is not of this version of vore; restart it");
        says("load", "Strange", "{}", "load: the daemon at /s answered Strange");
        says("load", "Failed", "{\"message\": \"disk full\"}", "load: disk full");
}

static void test_faults_without(void **state) {
        _cleanup_json_ json_t *a = NULL, *b = NULL, *rest = NULL;
        const char *known =
                "[{\"line\": 1, \"column\": 2, \"severity\": \"error\", \"key\": \"k\", \"message\": \"m\"}]";
        const char *more =
                "[{\"line\": 1, \"column\": 2, \"severity\": \"error\", \"key\": \"k\", \"message\": \"m\","
                " \"hint\": null}, {\"line\": 1, \"column\": 3, \"severity\": \"warning\", \"key\": \"k\","
                " \"message\": \"m\"}]";

        assert_int_equal(json_parse(known, strlen(known), &a, NULL), 0);
        assert_int_equal(json_parse(more, strlen(more), &b, NULL), 0);
        rest = faults_without(b, a);
        assert_int_equal(json_array_size(rest), 1);
        assert_int_equal(json_get_int(json_array_get(rest, 0), "column", 0), 3);
        assert_true(faults_have_error(b));
        assert_false(faults_have_error(rest));
        assert_false(faults_have_error(NULL));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_picks),
                cmocka_unit_test(test_refuses),
                cmocka_unit_test(test_errors),
                cmocka_unit_test(test_faults_without),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
