/* TOML: everything that the specification forbids is refused with a place; places of what is read. */
#include "def/def.h"
#include "def/toml.h"

#include "base/file.h"
#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

static bool refused(const char *name, const char *text, size_t len) {
        _cleanup_arena_ struct arena *arena = arena_new();
        struct node *root = NULL;
        struct diags diags;

        diags_init(&diags, arena, name);
        int r = toml_parse(arena, text, len, &root, &diags);
        if (r == -EINVAL && diags.n == 1 && diags.items[0].loc.line > 0 && diags.items[0].loc.column > 0 &&
            *diags.items[0].message)
                return true;
        print_error("%s: returned %d with %zu faults\n", name, r, diags.n);
        return false;
}

static void test_invalid_files(void **state) {
        DIR *dir = opendir(TEST_GOLDEN "/invalid-toml");
        size_t n = 0, bad = 0;

        assert_non_null(dir);
        for (const struct dirent *e; (e = readdir(dir));) {
                _cleanup_free_ char *text = NULL,
                                    *path = xasprintf("%s/invalid-toml/%s", TEST_GOLDEN, e->d_name);
                size_t len;

                if (!str_ends(e->d_name, ".toml"))
                        continue;
                assert_int_equal(file_read(AT_FDCWD, path, 1 << 20, &text, &len, NULL), 0);
                bad += !refused(e->d_name, text, len);
                n++;
        }
        closedir(dir);
        assert_int_equal(bad, 0);
        assert_true(n >= 300);
}

static void test_unclosed(void **state) {
        static const struct {
                const char *text;
                unsigned line, column; /* where the line ends, or the text */
        } cases[] = {
                { "a = \"abc\nb = 1\n", 1, 9 },
                { "a = \"abc # x\r\nb = 1\n", 1, 13 },
                { "a = 'abc\nb = 1\n", 1, 9 },
                { "a = \"abc", 1, 9 },
                { "a = 'abc", 1, 9 },
                { "a = \"\"\"abc\nmore\n", 2, 6 },
                { "a = '''abc\nmore\n", 2, 6 },
                { "\"a = 1\nb = 2\n", 1, 7 },
                { "a = [\"b, 'c']\nd = 1\n", 1, 14 },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_arena_ struct arena *arena = arena_new();
                struct node *root = NULL;
                struct diags diags;

                diags_init(&diags, arena, "x.toml");
                assert_int_equal(toml_parse(arena, cases[i].text, strlen(cases[i].text), &root, &diags),
                                 -EINVAL);
                assert_int_equal(diags.n, 1);
                assert_string_equal(diags.items[0].message, "the string is not closed");
                assert_int_equal(diags.items[0].loc.line, cases[i].line);
                assert_int_equal(diags.items[0].loc.column, cases[i].column);
        }
}

/* text, n times, between two others */
static char *repeat(const char *before, const char *text, size_t n, const char *after) {
        struct strbuf b = STRBUF_INIT;

        strbuf_add(&b, before);
        for (size_t i = 0; i < n; i++)
                strbuf_add(&b, text);
        strbuf_add(&b, after);
        return strbuf_take(&b);
}

/* Small files that would need a deep stack. */
static void test_deep(void **state) {
        static const struct {
                const char *before, *text;
                size_t n;
                const char *after;
        } cases[] = {
                { "", "[", 65536, "" },
                { "", "[", 1, "" },
                { "a = ", "[", 60000, "" },
                { "a = ", "{a=", 20000, "" },
                { "a = ", "[{a=", 10000, "" },
                { "a", ".a", 10000, " = 1\n" },
                { "a", " . a", 10000, " = 1\n" },
                { "\"a\"", ".\"a\"", 10000, " = 1\n" },
                { "'='", ".'='", 10000, " = 1\n" },
                { "[a", ".a", 10000, "]\n" },
                { "[[a", ".a", 10000, "]]\n" },
                { "a = { a", ".a", 10000, " = 1 }\n" },
                { "a = [{ a", ".a", 10000, " = 1 }]\n" },
                { "a = 1\n#", "x", 65536, "\n" },
                { "a = \"", "[", 100, "\n[[" },
                { "a = \"\"\"", "\"", 65000, "" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_free_ char *text =
                        repeat(cases[i].before, cases[i].text, cases[i].n, cases[i].after);

                assert_true(refused(cases[i].text, text, strlen(text)));
        }
}

static void assert_valid(const char *text) {
        _cleanup_arena_ struct arena *arena = arena_new();
        struct node *root = NULL;
        struct diags diags;

        diags_init(&diags, arena, "valid");
        if (toml_parse(arena, text, strlen(text), &root, &diags) != 0)
                fail_msg("%s\nline %u, column %u: %s", text, diags.items[0].loc.line,
                         diags.items[0].loc.column, diags.items[0].message);
        assert_non_null(root);
}

/* What the check before the parser must not take for deep or wrong. */
static void test_valid(void **state) {
        static const char *const texts[] = {
                "",
                "\n\r\n\t \n",
                "# only a comment [[[[[[[[[[[[[[[[[[[[[[[[[ .................",
                "a = \"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"\nb = 1\n",
                "a = '{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{'\nb = 1\n",
                "a = \"\"\"[[[[[[[[[[[[[[[\n[[[[[[[[[[[[[[[[ \\\"\"\" ]\"\"\"\n",
                "a = '''[[[[[[[[[[[[[[[\n[[[[[[[[[[[[[[[[ '' ] \"\"\"'''\n",
                "a = \"\"\"two quotes \"\"\"\"\"\nb = 1",
                "a = \"quote \\\" and [ \\\\\"\n",
                "a = 'back\\'\nb = [\"#\", '\"']\n",
                "a = \"........................\"\nb = 1.5\nc = [1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, "
                "9.5, 1.5, 2.5,"
                " 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 9.5]\n",
                "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p = 1\n",
                "a = [[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]\n",
                "a = [1, 2, # three ]\n 3,\n]\n",
                "[a.\"b.c\".'d']\n[[e]]\n[[e]]\n",
                "a = { b = 1, c.d = \"x\", e = [{}, {}] }\n",
                "\"\" = 1\n'\xc3\xa4' = 2\n1234 = 3\n-_- = 4\n",
                "a = 0xdead_beef\nb = 0o17\nc = 0b1\nd = 1_000\ne = -0\nf = +1.5e-3\ng = -inf\nh = nan\n",
                "a = 2026-01-01T12:30:00.5+01:00\nb = 2024-02-29\nc = 23:59:59.999\nd = 2026-01-01 "
                "12:30:00Z\n",
                "a = \"\\b\\t\\n\\f\\r\\\"\\\\\\u00e4\\U0001F600\"\n",
                "a = \"\"\"\nx \\\n   y\\\n\n  z\"\"\"\n",
                "\xef\xbb\xbf"
                "a = 1\n",
                "a = \"\"\"x \\\n  \xc3\xa9 \xe2\x80\xa9\"\"\"\n# \xc3\xa9\n\"\xe3\x80\x81\" = '\xc2\xb5'\n",
                "a = 1\r\nb = \"\"\"x\r\ny\"\"\"\r\n",
        };

        for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
                assert_valid(texts[i]);
}

static void assert_loc(struct loc loc, uint32_t line, uint32_t column) {
        assert_int_equal(loc.line, line);
        assert_int_equal(loc.column, column);
}

static void test_places(void **state) {
        static const char text[] = "zz = 1\n"
                                   "aa.b = 'x'\n"
                                   "[m]\n"
                                   "\tz = [ 1.5,\n true ]\n"
                                   "  \"\xc3\xa4 b\" = 07:32:00\n"
                                   "[[l]]\n"
                                   "c = \"a\\u0000b\"\n"
                                   "[[l]]\n"
                                   "[m.sub]\n";
        _cleanup_arena_ struct arena *arena = arena_new();
        struct node *root = NULL;
        struct diags diags;

        diags_init(&diags, arena, "places");
        assert_int_equal(toml_parse(arena, text, sizeof(text) - 1, &root, &diags), 0);

        /* In the order of the file. */
        const struct node *zz = root->first, *aa = zz->next, *m = aa->next, *l = m->next;
        assert_string_equal(zz->key, "zz");
        assert_int_equal(zz->integer, 1);
        assert_loc(zz->key_loc, 1, 1);
        assert_loc(zz->loc, 1, 6);
        assert_loc(node_get(aa, "b")->key_loc, 2, 4);
        assert_loc(node_get(aa, "b")->loc, 2, 8);
        assert_string_equal(node_get(aa, "b")->string.data, "x");
        assert_loc(m->loc, 3, 1);
        assert_loc(m->key_loc, 3, 2);

        const struct node *z = node_get(m, "z");
        assert_loc(z->loc, 4, 6);
        assert_int_equal(z->first->type, NODE_FLOAT);
        assert_loc(z->first->loc, 4, 8);
        assert_int_equal(z->first->next->type, NODE_BOOL);
        assert_true(z->first->next->boolean);
        assert_loc(z->first->next->loc, 5, 2);

        const struct node *time = z->next;
        assert_string_equal(time->key, "\xc3\xa4 b");
        assert_int_equal(time->type, NODE_DATETIME);
        assert_loc(time->loc, 6, 11);
        assert_string_equal(time->next->key, "sub");
        assert_loc(time->next->loc, 10, 1);

        assert_int_equal(l->type, NODE_ARRAY);
        assert_loc(l->first->loc, 7, 1);
        assert_int_equal(l->first->first->string.len, 3);
        assert_memory_equal(l->first->first->string.data, "a\0b", 4);
        assert_loc(l->first->next->loc, 9, 1);
        assert_null(l->next);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_invalid_files), cmocka_unit_test(test_unclosed),
                cmocka_unit_test(test_deep),          cmocka_unit_test(test_valid),
                cmocka_unit_test(test_places),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
