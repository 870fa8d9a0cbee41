#include "journal/journal.h"

#include "base/file.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

static char folder[64], *path;

static struct journal *opened(void) {
        struct journal *j = NULL;

        assert_int_equal(journal_open(folder, "j", &j, NULL), 0);
        return j;
}

static uint64_t add(struct journal *j, const char *kind) {
        uint64_t id = 0;

        assert_int_equal(journal_add(j, kind, json_pack("{s:s}", "what", kind), &id, NULL), 0);
        return id;
}

static int note(uint64_t id, const char *kind, const json_t *args, void *data) {
        assert_string_equal(json_get_str(args, "what", ""), kind);
        strbuf_addf(data, "%s ", kind);
        return str_eq(kind, "stop") ? -ECANCELED : 0;
}

static void expect(struct journal *j, const char *kinds) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

        assert_int_equal(journal_open_entries(j, note, &b, NULL), 0);
        assert_string_equal(b.data ? b.data : "", kinds);
}

static off_t size(void) {
        struct stat st;

        assert_int_equal(stat(path, &st), 0);
        return st.st_size;
}

static void append(const char *text) {
        FILE *f = fopen(path, "ae");

        assert_non_null(f);
        fputs(text, f);
        fclose(f);
}

/* Without closing first: that is how a killed daemon leaves it. */
static void test_survives(void **state) {
        struct journal *j = opened(), *again;
        uint64_t two;

        add(j, "one");
        two = add(j, "two");
        add(j, "three");
        expect(j, "three two one ");
        assert_int_equal(journal_strike(j, two, NULL), 0);
        assert_int_equal(journal_strike(j, 999, NULL), 0);
        again = opened();
        assert_int_equal(journal_count(again), 2);
        expect(again, "three one ");
        assert_true(add(again, "four") > two + 1);
        expect(again, "four three one ");
        journal_close(j);
        journal_close(again);
}

static void test_stops(void **state) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        struct journal *j = opened();

        add(j, "one");
        add(j, "stop");
        add(j, "three");
        assert_int_equal(journal_open_entries(j, note, &b, NULL), -ECANCELED);
        assert_string_equal(b.data, "three stop ");
        journal_close(j);
}

static int strike(uint64_t id, const char *kind, const json_t *args, void *data) {
        return journal_strike(data, id, NULL);
}

static void test_strike_while_walking(void **state) {
        struct journal *j = opened();
        off_t empty = size();

        add(j, "one");
        add(j, "two");
        assert_true(size() > empty);
        assert_int_equal(journal_open_entries(j, strike, j, NULL), 0);
        assert_int_equal(journal_count(j), 0);
        assert_int_equal(size(), empty);
        journal_close(j);
        j = opened();
        expect(j, "");
        journal_close(j);
}

/* Every place where a crash can cut the last line. */
static void test_half_line(void **state) {
        static const char line[] = "{\"add\":7,\"kind\":\"half\",\"args\":{\"what\":\"half\"}}";

        for (size_t n = 1; n < sizeof(line); n++) {
                _cleanup_free_ char *part = strndup(line, n);
                struct journal *j = opened();

                add(j, "one");
                append(part);
                journal_close(j);
                j = opened();
                expect(j, "one ");
                add(j, "next");
                journal_close(j);
                j = opened();
                expect(j, "next one ");
                journal_close(j);
                unlink(path);
        }
}

static void test_other_boot(void **state) {
        static const char other[] =
                "{\"boot\":\"0\"}\n{\"add\":1,\"kind\":\"old\",\"args\":{\"what\":\"old\"}}\n";
        struct journal *j;

        append(other);
        j = opened();
        expect(j, "");
        add(j, "new");
        journal_close(j);
        j = opened();
        expect(j, "new ");
        journal_close(j);
}

static void test_garbage(void **state) {
        struct journal *j = opened();

        add(j, "one");
        append("what\n[1]\n{\"add\":-1,\"kind\":\"x\"}\n{\"add\":5}\n{\"add\":7,\"kind\":\"x\"}\n{\"strike\":"
               "\"0\"}\n{\"add\":6,\"kind\":3}\n");
        journal_close(j);
        j = opened();
        expect(j, "one ");
        journal_close(j);
        unlink(path);
        append("no journal at all");
        j = opened();
        expect(j, "");
        journal_close(j);
}

/* Devices that come and go for weeks beside one that stays. */
static void test_does_not_fill_up(void **state) {
        struct journal *j = opened();

        add(j, "stays");
        for (int i = 0; i < 40000; i++)
                assert_int_equal(journal_strike(j, add(j, "comes and goes"), NULL), 0);
        assert_true(size() < 2 << 20);
        expect(j, "stays ");
        journal_close(j);
        j = opened();
        expect(j, "stays ");
        journal_close(j);
}

/* Full is an error for an entry, never for a strike, and it can be read again. */
static void test_limits(void **state) {
        struct journal *j = opened();
        char text[70000];
        uint64_t id, first = add(j, "one");
        int r = 0;

        memset(text, 'x', sizeof(text));
        text[sizeof(text) - 1] = '\0';
        assert_int_equal(journal_add(j, "k", json_pack("{s:s}", "t", text), &id, NULL), -EFBIG);
        text[60000] = '\0';
        for (int i = 0; i < 100 && r == 0; i++)
                r = journal_add(j, "k", json_pack("{s:s}", "t", text), &id, NULL);
        assert_int_equal(r, -EFBIG);
        assert_int_equal(journal_strike(j, first, NULL), 0);
        size_t n = journal_count(j);
        journal_close(j);
        j = opened();
        assert_int_equal(journal_count(j), n);
        assert_int_equal(journal_open_entries(j, strike, j, NULL), 0);
        for (int i = 0; i < 4096; i++)
                add(j, "many");
        assert_int_equal(journal_add(j, "k", NULL, &id, NULL), -ENOSPC);
        journal_close(j);
}

static void test_no_folder(void **state) {
        struct journal *j = NULL;

        assert_int_equal(journal_open("/nonexistent", "j", &j, NULL), -ENOENT);
        assert_int_equal(symlink("/tmp/elsewhere", path), 0);
        assert_int_equal(journal_open(folder, "j", &j, NULL), -ELOOP);
        journal_close(NULL);
}

static int setup(void **state) {
        strcpy(folder, "/tmp/test-journal-XXXXXX");
        assert_non_null(mkdtemp(folder));
        path = xasprintf("%s/j", folder);
        return 0;
}

static int teardown(void **state) {
        free(path);
        return file_remove_tree(AT_FDCWD, folder, NULL);
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                T(test_survives),
                T(test_stops),
                T(test_strike_while_walking),
                T(test_half_line),
                T(test_other_boot),
                T(test_garbage),
                T(test_limits),
                T(test_does_not_fill_up),
                T(test_no_folder),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
