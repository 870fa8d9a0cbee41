/* What saved definitions reserve on captured hosts: the same choice as a start's, for `reserve` only. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/str.h"
#include "plan/reserved.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define MACHINE(name) "[machine]\nname = \"" name "\"\n"

static int setup(void **state) {
        char *dir = xstrdup("/tmp/vore-reserved-XXXXXX");

        assert_non_null(mkdtemp(dir));
        *state = dir;
        return 0;
}

static int teardown(void **state) {
        assert_int_equal(file_remove_tree(AT_FDCWD, *state, NULL), 0);
        free(*state);
        return 0;
}

static void save(const char *dir, const char *name, const char *text) {
        _cleanup_free_ char *path = xasprintf("%s/%s.toml", dir, name);

        assert_int_equal(file_write_atomic(AT_FDCWD, path, text, strlen(text), 0644, false, NULL), 0);
}

static json_t *reserved(const char *dir, const char *host) {
        static const struct settings settings = { .system = true };
        _cleanup_free_ char *root = xasprintf("%s/%s", TEST_HOSTS, host);
        struct plan_reserved_request request = { &settings, dir };
        _cleanup_error_ struct error err = ERROR_INIT;
        json_t *list = NULL;

        assert_int_equal(setenv("VORE_HOST_ROOT", root, 1), 0);
        if (plan_reserved_work(&request, -1, &list, &err) < 0)
                fail_msg("%s", error_text(&err));
        return list;
}

/* "NAME: ADDRESS ADDRESS; PROBLEM" of each, a line each. */
static char *text_of(const json_t *list) {
        struct strbuf b = STRBUF_INIT;
        json_t *item, *part;
        size_t i, k;

        json_array_foreach ((json_t *) list, i, item) {
                strbuf_addf(&b, "%s:", json_get_str(item, "name", "?"));
                json_array_foreach (json_object_get(item, "devices"), k, part) {
                        strbuf_addf(&b, " %s", json_get_str(part, "address", "?"));
                }
                json_array_foreach (json_object_get(item, "problems"), k, part) {
                        strbuf_addf(&b, "; %s", json_string_value(part));
                }
                if (json_get_str(item, "unknown", NULL))
                        strbuf_addf(&b, "? %s", json_get_str(item, "unknown", NULL));
                strbuf_add(&b, "\n");
        }
        return strbuf_take(&b);
}

static void check(const char *dir, const char *host, const char *want) {
        _cleanup_json_ json_t *list = reserved(dir, host);
        _cleanup_free_ char *got = text_of(list);

        assert_string_equal(want, got);
}

/* Only what reserves, with the rest of the group; ids of the second of two equal cards. */
static void test_choice(void **state) {
        save(*state, "b",
             MACHINE("b") "[[vfio]]\nvendor = 0x10de\ndevice = 0x1b80\nindex = 1\ngroup = true\nreserve = "
                          "true\n");
        save(*state, "a",
             MACHINE("a") "[[vfio]]\naddr = \"01:00.0\"\nreserve = true\n[[vfio]]\naddr = \"02:00.0\"\n");
        save(*state, "none", MACHINE("none") "[[vfio]]\naddr = \"02:00.0\"\n");
        check(*state, "amd-desktop", "a: 0000:01:00.0\nb: 0000:0b:00.0 0000:0b:00.1\n");
}

/* A group that is not viable is no reason against reserving. */
static void test_group_is_not_asked_for(void **state) {
        save(*state, "a", MACHINE("a") "[[vfio]]\naddr = \"0b:00.0\"\nreserve = true\n");
        check(*state, "amd-desktop", "a: 0000:0b:00.0\n");
}

static void test_faults(void **state) {
        save(*state, "boot", MACHINE("boot") "[[vfio]]\naddr = \"0a:00.0\"\nreserve = true\n");
        save(*state, "force",
             MACHINE("force") "[[vfio]]\naddr = \"0a:00.0\"\nreserve = true\nforce = true\n");
        save(*state, "gone",
             MACHINE("gone") "[[vfio]]\naddr = \"0f:00.0\"\nreserve = true\n[[vfio]]\naddr = \"01:00.0\"\n"
                             "reserve = true\n");
        save(*state, "other", MACHINE("other") "[[vfio]]\naddr = \"0f:00.0\"\n");
        save(*state, "moved",
             MACHINE("moved") "[[vfio]]\naddr = \"01:00.0\"\nvendor = 0x10de\ndevice = 0x1b80\n"
                              "reserve = true\n");
        _cleanup_json_ json_t *list = reserved(*state, "amd-desktop");
        _cleanup_free_ char *got = text_of(list);
        assert_non_null(strstr(got, "boot:; vfio[0].addr: the host needs 0000:0a:00.0"));
        assert_non_null(strstr(got, "force: 0000:0a:00.0\n"));
        assert_non_null(strstr(got, "gone: 0000:01:00.0; vfio[0].addr: there is no device at 0000:0f:00.0"));
        assert_non_null(strstr(got, "moved:; vfio[0].addr: 0000:01:00.0 is 144d:a808"));
        assert_null(strstr(got, "other"));
        assert_int_equal(json_array_size(list), 4);
}

/* Nobody knows what they want, which is not the same as nothing. */
static void test_unknown(void **state) {
        _cleanup_free_ char *link = xasprintf("%s/link.toml", (char *) *state);

        save(*state, "broken", "[machine\n");
        save(*state, "named", MACHINE("otherwise") "[[vfio]]\naddr = \"01:00.0\"\nreserve = true\n");
        save(*state, "wrong", MACHINE("wrong") "[[vfio]]\naddr = 7\n");
        save(*state, "ok", MACHINE("ok"));
        assert_int_equal(symlink("/nonexistent", link), 0);
        _cleanup_json_ json_t *list = reserved(*state, "amd-desktop");
        _cleanup_free_ char *got = text_of(list);
        assert_int_equal(json_array_size(list), 4);
        assert_non_null(strstr(got, "broken:? "));
        assert_non_null(strstr(got, "link:? "));
        assert_non_null(strstr(got, "named:? it is named named.toml but describes otherwise\n"));
        assert_non_null(strstr(got, "wrong:? "));
}

/* One sentence for the whole, and no device. */
static void test_no_iommu(void **state) {
        save(*state, "a", MACHINE("a") "[[vfio]]\naddr = \"00:03.0\"\nreserve = true\nforce = true\n");
        _cleanup_json_ json_t *list = reserved(*state, "plain-vm");
        const json_t *one = json_array_get(list, 0);
        assert_int_equal(json_array_size(json_object_get(one, "devices")), 0);
        assert_non_null(strstr(json_string_value(json_array_get(json_object_get(one, "problems"), 0)),
                               "passing devices is not possible"));
}

static void test_no_folder(void **state) {
        static const struct settings settings = { .system = true };
        struct plan_reserved_request request = { &settings, "/nonexistent" };
        _cleanup_error_ struct error err = ERROR_INIT;
        json_t *list = NULL;

        assert_int_equal(plan_reserved_work(&request, -1, &list, &err), -ENOENT);
        assert_non_null(strstr(error_text(&err), "/nonexistent"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
                TEST(test_choice),   TEST(test_group_is_not_asked_for),
                TEST(test_faults),   TEST(test_unknown),
                TEST(test_no_iommu), TEST(test_no_folder),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
