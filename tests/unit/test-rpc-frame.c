#include "rpc/frame.h"

#include "base/clock.h"
#include "base/str.h"

#include <errno.h>
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

static void put(struct frame_reader *r, const char *data, size_t n) {
        while (n > 0) {
                size_t room = 0;
                char *p = frame_reader_room(r, &room);

                assert_non_null(p);
                assert_true(room >= 1);
                room = MIN(room, n);
                memcpy(p, data, room);
                frame_reader_added(r, room);
                data += room;
                n -= room;
        }
}

static void expect(struct frame_reader *r, const char *key) {
        json_t *message = NULL;

        assert_true(frame_reader_ready(r));
        assert_int_equal(frame_reader_next(r, &message, NULL), 1);
        assert_non_null(json_object_get(message, key));
        json_decref(message);
}

static void test_pieces(void **state) {
        static const char stream[] = "{\"a\":1}\0{\"b\":[2]}\0{\"c";
        json_t *message = NULL;

        for (size_t step = 1; step <= sizeof(stream); step++) {
                struct frame_reader r;
                size_t seen = 0, rest = 0;
                const char *keys[] = { "a", "b" };

                frame_reader_init(&r, 100);
                for (size_t i = 0; i < sizeof(stream) - 1; i += step) {
                        put(&r, stream + i, MIN(step, sizeof(stream) - 1 - i));
                        while (frame_reader_ready(&r))
                                expect(&r, keys[seen++]);
                }
                assert_int_equal(seen, 2);
                assert_true(frame_reader_partial(&r));
                assert_int_equal(frame_reader_next(&r, &message, NULL), 0);
                assert_memory_equal(frame_reader_rest(&r, &rest), "{\"c", 3);
                assert_int_equal(rest, 3);
                frame_reader_done(&r);
        }
}

static void test_bad(void **state) {
        static const char *const bad[] = { "",
                                           "[]",
                                           "1",
                                           "{",
                                           "{\"a\":1}}",
                                           "{\"a\":1,\"a\":2}",
                                           "{\"a\":\"\xff\"}",
                                           "{\"a\":99999999999999999999}" };
        struct frame_reader r;
        json_t *message = NULL;

        frame_reader_init(&r, 100);
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                put(&r, bad[i], strlen(bad[i]) + 1);
                put(&r, "{\"next\":1}", 11);
                assert_int_equal(frame_reader_next(&r, &message, NULL), -EBADMSG);
                assert_null(message);
                expect(&r, "next");
        }
        assert_false(frame_reader_partial(&r));
        frame_reader_done(&r);
}

static void test_depth(void **state) {
        struct frame_reader r;
        json_t *message = NULL;
        char deep[20001];

        memset(deep, '[', sizeof(deep) - 1);
        deep[sizeof(deep) - 1] = '\0';
        frame_reader_init(&r, 1 << 20);
        put(&r, "{\"a\":", 5);
        put(&r, deep, sizeof(deep));
        assert_int_equal(frame_reader_next(&r, &message, NULL), -EBADMSG);
        frame_reader_done(&r);
}

static void test_size(void **state) {
        struct frame_reader r;
        json_t *message = NULL;
        size_t room;

        frame_reader_init(&r, 7);
        put(&r, "{\"a\":1}", 8);
        expect(&r, "a");
        put(&r, "{\"a\":1} ", 8);
        assert_true(frame_reader_ready(&r));
        assert_null(frame_reader_room(&r, &room));
        assert_int_equal(frame_reader_next(&r, &message, NULL), -EMSGSIZE);
        frame_reader_done(&r);
}

/* One byte at a time takes milliseconds, and half a minute if each one made all before it be looked at again.
 */
static void test_linear(void **state) {
        struct frame_reader r;
        json_t *message = NULL;
        uint64_t begin = clock_monotonic_us();
        size_t n = 1 << 20;

        frame_reader_init(&r, 2 << 20);
        put(&r, "{\"a\":\"", 6);
        for (size_t i = 0; i < n; i++) {
                put(&r, "x", 1);
                assert_int_equal(frame_reader_next(&r, &message, NULL), 0);
        }
        put(&r, "\"}", 3);
        assert_true(clock_monotonic_us() - begin < 5 * 1000 * 1000);
        expect(&r, "a");
        assert_int_equal(r.size, 0);
        frame_reader_done(&r);
}

static void test_text(void **state) {
        json_t *message = json_pack("{s:i}", "a", 1);
        size_t n = 0;
        char *text = frame_text(message, &n);

        assert_int_equal(n, 8);
        assert_memory_equal(text, "{\"a\":1}", 8);
        free(text);
        json_decref(message);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_pieces), cmocka_unit_test(test_bad),    cmocka_unit_test(test_depth),
                cmocka_unit_test(test_size),   cmocka_unit_test(test_linear), cmocka_unit_test(test_text),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
