#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/str.h"
#include "vore/args.h"
#include "vore/help.h"

#include <errno.h>

/* Splits line at blanks. */
static int parse(const char *line, struct args *ret, struct error *err) {
        static char copy[256];
        char *argv[32] = { (char *) "vore" }, *save = NULL;
        int argc = 1;

        snprintf(copy, sizeof(copy), "%s", line);
        for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save))
                argv[argc++] = w;
        return args_parse(argc, argv, ret, err);
}

static struct args good(const char *line) {
        struct error err = ERROR_INIT;
        struct args a = { 0 };

        if (parse(line, &a, &err) < 0)
                fail_msg("vore %s: %s", line, error_text(&err));
        return a;
}

static void bad(const char *line, const char *part) {
        struct error err = ERROR_INIT;
        struct args a = { 0 };

        assert_int_equal(parse(line, &a, &err), -EINVAL);
        if (!strstr(error_text(&err), part))
                fail_msg("vore %s: \"%s\" does not say \"%s\"", line, error_text(&err), part);
        error_done(&err);
}

static void test_verbs(void **state) {
        static const struct {
                const char *line, *verb;
        } cases[] = {
                { "list", "list" },
                { "disk presets", "disk presets" },
                { "disk preset", "disk presets" },
                { "d version", "daemon version" },
                { "lg win10", "looking-glass" },
                { "-c /s list", "list" },
                { "--json disk presets", "disk presets" },
                { "scream start x", "scream start" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct args a = good(cases[i].line);

                assert_string_equal(a.verb->name, cases[i].verb);
                args_done(&a);
        }
        bad("", "verb is missing");
        bad("lst", "did you mean \"list\"");
        bad("disk", "disk presets, disk create");
        bad("disk creat x", "did you mean \"disk create\"");
        bad("d", "d version");
        bad("quetzalcoatl", "vore --help");
        bad("x", "x qemucmd");
}

static void test_arguments(void **state) {
        struct args a = good("qmp win10 query-status");

        assert_string_equal(a.arg[0], "win10");
        assert_string_equal(a.arg[1], "query-status");
        args_done(&a);
        a = good("qmp query-status");
        assert_null(a.arg[0]);
        assert_string_equal(a.arg[1], "query-status");
        args_done(&a);
        a = good("start");
        assert_null(a.arg[0]);
        args_done(&a);
        a = good("load -- -s");
        assert_string_equal(a.arg[0], "-s");
        assert_false(args_has(&a, OPTION_SAVE));
        args_done(&a);
        a = good("load -");
        assert_string_equal(a.arg[0], "-");
        args_done(&a);
        bad("qmp", "JSON is missing");
        bad("load", "FILE is missing");
        bad("forget", "NAME is missing");
        bad("disk create x.qcow2", "SIZE is missing");
        bad("list a", "one argument too many");
        bad("start a b", "\"b\" is one argument too many");
}

static void test_options(void **state) {
        struct args a = good("load --cdrom a.iso x.toml -s --cdrom=b.iso -c /sock");

        assert_string_equal(a.arg[0], "x.toml");
        assert_true(args_has(&a, OPTION_SAVE));
        assert_int_equal(a.n_cdroms, 2);
        assert_string_equal(a.cdroms[0], "a.iso");
        assert_string_equal(a.cdroms[1], "b.iso");
        assert_string_equal(a.value[OPTION_CONN], "/sock");
        args_done(&a);
        a = good("logs -qf win10");
        assert_true(args_has(&a, OPTION_FOLLOW) && args_has(&a, OPTION_QUIET));
        args_done(&a);
        a = good("-c/sock list");
        assert_string_equal(a.value[OPTION_CONN], "/sock");
        args_done(&a);
        bad("stop --timeout= x", "--timeout needs a value: --timeout SECONDS");
        bad("start --displya", "did you mean --display");
        bad("list --save", "list takes no option --save");
        bad("--save load x", "--save belongs behind a verb");
        bad("load x --save=yes", "takes no value");
        bad("stop --timeout", "--timeout needs a value: --timeout SECONDS");
        bad("load -x y", "unknown option -x");
        bad("list -f", "unknown option -f");
        bad("list -c", "-c needs a value");
        bad("list --conn=", "--conn needs a value: --conn SOCKET");
}

static void test_help_always_wins(void **state) {
        static const char *const lines[] = { "--help", "stop --help",     "stop a b c --help",  "disk --help",
                                             "-h",     "nonsense --help", "load --help --bogus" };

        for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
                struct args a = good(lines[i]);

                assert_true(args_has(&a, OPTION_HELP));
                args_done(&a);
        }
        bad("list -- --help", "too many");
}

static void test_unsupported_take_anything(void **state) {
        struct args a = good("pins win10 --keep");

        assert_null(a.verb->run);
        args_done(&a);
}

/* What stands behind -- is the program's, whatever it looks like. */
static void test_passed_on(void **state) {
        struct args a = good("looking-glass win10 -- -F --help -- x");

        assert_string_equal(a.arg[0], "win10");
        assert_int_equal(a.n_rest, 4);
        assert_string_equal(a.rest[0], "-F");
        assert_string_equal(a.rest[1], "--help");
        assert_string_equal(a.rest[3], "x");
        assert_false(args_has(&a, OPTION_HELP));
        args_done(&a);
        a = good("lg --vm=win10 --");
        assert_string_equal(a.value[OPTION_VM], "win10");
        assert_null(a.arg[0]);
        assert_int_equal(a.n_rest, 0);
        args_done(&a);
        bad("lg win10 -F", "unknown option -F");
        bad("spice win10 -- -F", "one argument too many");
        bad("spice --vm win10", "takes no option --vm");
}

/* The rows are what everything reads: they must be complete and say no name twice. */
static void test_rows(void **state) {
        for (size_t i = 0; i < n_verbs; i++) {
                struct args_word word;

                assert_ptr_equal(verb_find(verbs[i].name), &verbs[i]);
                if (verbs[i].alias)
                        assert_ptr_equal(verb_find(verbs[i].alias), &verbs[i]);
                assert_true(verbs[i].help[0] && verbs[i].help[strlen(verbs[i].help) - 1] != '.');
                for (size_t k = 0; args_word(&verbs[i], k, &word); k++) {
                        assert_true(k < ARGS_MAX && word.name[0] && !strpbrk(word.name, "[]"));
                }
                /* Without NAME there must be a rule for which VM is meant. */
                if (verbs[i].run && strstr(verbs[i].args, "[NAME"))
                        assert_true(verbs[i].need != NEED_NONE && verbs[i].need != NEED_EXACT);
        }
        for (size_t i = 0; i < OPTION_COUNT; i++)
                assert_non_null(options[i].name);
        for (size_t v = 0; v < n_verbs; v++)
                for (size_t i = 0; i < OPTION_COUNT; i++)
                        for (size_t k = 0; k < i; k++)
                                if ((verbs[v].options & OPT(i)) && (verbs[v].options & OPT(k)))
                                        assert_string_not_equal(options[i].name, options[k].name);
}

/* Two rows have one name: each verb has its own. */
static void test_force(void **state) {
        struct args a = good("stop --force win10");

        assert_true(args_has(&a, OPTION_FORCE));
        assert_false(args_has(&a, OPTION_FORCE_DEVICE));
        args_done(&a);
        a = good("attach --force 0b:00.0");
        assert_true(args_has(&a, OPTION_FORCE_DEVICE));
        assert_false(args_has(&a, OPTION_FORCE));
        args_done(&a);
        bad("start --force", "start takes no option --force");
}

static void test_choices(void **state) {
        assert_true(choice_find("udev initramfs-tools", "udev"));
        assert_true(choice_find("udev initramfs-tools", "initramfs-tools"));
        assert_false(choice_find("udev initramfs-tools", "initramfs"));
        assert_false(choice_find("udev initramfs-tools", "dracut"));
        assert_false(choice_find("udev initramfs-tools", ""));
}

static void test_synopsis(void **state) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

        help_synopsis(&b, verb_find("load"));
        assert_string_equal(b.data, "load FILE [--save] [--cdrom ISO]...");
        strbuf_done(&b);
        help_synopsis(&b, verb_find("lg"));
        assert_string_equal(b.data, "looking-glass [NAME] [--vm NAME] [-- ARGS]");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_verbs),
                cmocka_unit_test(test_arguments),
                cmocka_unit_test(test_options),
                cmocka_unit_test(test_help_always_wins),
                cmocka_unit_test(test_unsupported_take_anything),
                cmocka_unit_test(test_passed_on),
                cmocka_unit_test(test_rows),
                cmocka_unit_test(test_force),
                cmocka_unit_test(test_choices),
                cmocka_unit_test(test_synopsis),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
