/* What scripts may not do, and how they end when they do not end by themselves. */
#include "script-fixture.h"

#include <errno.h>
#include <sys/stat.h>

#include "base/clock.h"

static void test_refusals(void **state) {
        static const struct {
                const char *body, *text;
        } rows[] = {
                { "os.execute('true')", "os.execute is not there: scripts cannot start processes" },
                { "io.popen('true')", "io.popen is not there: scripts cannot start processes" },
                { "os.remove('/tmp/x')", "os.remove is not there: scripts cannot change files" },
                { "os.rename('/tmp/x', '/tmp/y')", "os.rename is not there" },
                { "os.tmpname()", "os.tmpname is not there" },
                { "os.exit(0)", "os.exit is not there" },
                { "os.setlocale('C')", "os.setlocale is not there" },
                { "io.tmpfile()", "io.tmpfile is not there" },
                { "io.write('x')", "io.write is not there" },
                { "io.read()", "io.read is not there" },
                { "io.output('/tmp/x')", "io.output is not there" },
                { "io.input('/tmp/x')", "io.input is not there" },
                { "io.close()", "io.close needs a file" },
                { "io.lines()", "io.lines needs a file name" },
                { "io.stdout:write('x')", "nil value (field 'stdout')" },
                { "io.open('/tmp/vore-never', 'w')",
                  "io.open with mode \"w\" is not there: scripts can only read" },
                { "io.open('/tmp/vore-never', 'a')", "scripts can only read" },
                { "io.open('/tmp/vore-never', 'r+')", "scripts can only read" },
                { "io.open('/tmp/vore-never', 'rb+')", "scripts can only read" },
                { "package.loadlib('/lib/x.so', '*')",
                  "package.loadlib is not there: scripts cannot load C" },
                { "string.dump(function() end)", "string.dump is not there" },
                { "dofile()", "string expected" },
                { "debug.sethook()", "global 'debug'" },
                { "require 'lua-cjson-or-any-c-module'", "not found" },
        };
        _cleanup_fixture_ struct fixture f;
        struct stat st;

        fixture_init(&f);
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
                fixture_expect_fault(&f, rows[i].body, rows[i].text);
        assert_int_equal(stat("/tmp/vore-never", &st), -1);
}

static void test_what_is_there(void **state) {
        _cleanup_fixture_ struct fixture f;

        fixture_init(&f);
        fixture_write(&f, "data.txt", "one\ntwo\n");
        fixture_write(&f, "helper.lua", "return { value = ... }");
        fixture_write(&f, "sub/init.lua", "return 'sub'");
        assert_int_equal(setenv("VORE_TEST_VALUE", "v", 1), 0);
        fixture_expect(
                &f,
                "local dir = package.path:match('^([^;]*)/%?%.lua') "
                "local file = io.open(dir .. '/data.txt') local first = file:read('l') file:close() "
                "local last for line in io.lines(dir .. '/data.txt') do last = line end "
                "assert(io.open('/nonexistent') == nil) "
                "assert(type(os.time()) == 'number' and os.date and os.clock() >= 0 and utf8.char(228)) "
                "local co = coroutine.wrap(function(a) local b = coroutine.yield(a + 1) return b * 2 end) "
                "local ok, message = coroutine.resume(coroutine.create(function() error('x', 0) end)) "
                "vm:arg(first, last, require('helper').value, require('sub'), os.getenv('VORE_TEST_VALUE'), "
                "co(1), co(4), tostring(ok), message, load('return 7')(), loadstring('return 8')(), "
                "load('return x', 'n', 't', { x = 9 })(), dofile(dir .. '/sub/init.lua'), "
                "select(2, pcall(error, 'e', 0)), tostring(package.cpath == ''))",
                "one two helper sub v 2 8 false x 7 8 9 sub e true");
}

static void test_no_bytecode(void **state) {
        _cleanup_fixture_ struct fixture f;

        fixture_init(&f);
        fixture_write(&f, "code.lua", "\x1bLua");
        fixture_expect(&f,
                       "local dir = package.path:match('^([^;]*)/%?%.lua') "
                       "local a, b = load('\\27Lua'), load('\\27Lua', 'x', 'b') "
                       "local c = loadfile(dir .. '/code.lua', 'b') "
                       "vm:arg(tostring(a), tostring(b), tostring(c), tostring(pcall(require, 'code')), "
                       "tostring(pcall(dofile, dir .. '/code.lua')))",
                       "nil nil nil false false");
}

/* Enough to come to the line in question, also on a busy machine. */
#ifdef __SANITIZE_ADDRESS__
#define DEADLINE_MS 2000
#define DEADLINE "2 s"
#else
#define DEADLINE_MS 500
#define DEADLINE "500 ms"
#endif

/* Neither pcall nor a C function keeps the deadline out. */
static void test_deadline(void **state) {
        static const struct {
                const char *text;
                int line;
        } rows[] = {
                { "local a = 1\nlocal function f()\n  while true do end\nend\nf()", 3 },
                { "\nlocal function f() error('x') end while true do pcall(f) end",
                  2 }, /* wherever it is hit */
                { "while true do\n  pcall(function() while true do end end)\nend", 2 },
                { "local s = string.rep('a', 40)\nprint(s:find(string.rep('a?', 40) .. string.rep('a', 40) "
                  ".. 'b'))",
                  2 },
                { "local s = ('a'):rep(300000)\n\nlocal n = s:gsub('.-.-.-b', '')", 3 },
                { "local co = coroutine.wrap(function()\n  while true do end\nend)\nco()", 2 },
                { "local co = coroutine.create(function()\n local s = ('a'):rep(300000) "
                  "s:find('.-.-.-b')\nend)\n"
                  "coroutine.resume(co)",
                  2 },
                { "setmetatable({}, { __gc = function()\n  while true do end\nend })\ncollectgarbage()", 2 },
                { "\nlocal t = setmetatable({}, { __index = function(t, k) return t[k + 1] end })\n"
                  "while true do pcall(function() return t[1] end) end",
                  0 },
                { "vore:set_build_command(function(i, vm)\nreturn vm end)\n"
                  "setmetatable(_G, { __gc = function() while true do end end })",
                  3 },
        };
        _cleanup_fixture_ struct fixture f;

        fixture_init(&f);
        f.req.deadline_ms = DEADLINE_MS;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                uint64_t start = clock_monotonic_us();

                assert_int_equal(fixture_run(&f, rows[i].text), -ETIMEDOUT);
                if (rows[i].line > 0)
                        fixture_expect_error(&f, rows[i].line, "ran longer than " DEADLINE);
                assert_true(clock_monotonic_us() - start < 30 * 1000 * 1000);
        }
        f.req.deadline_ms = 1000;
        assert_int_equal(fixture_run(&f, "while true do end"), -ETIMEDOUT);
        fixture_expect_error(&f, 1, "ran longer than 1 s");
}

/* A file that never answers is hit as well. */
static void test_deadline_on_fifo(void **state) {
        _cleanup_fixture_ struct fixture f;
        _cleanup_free_ char *path = NULL;

        fixture_init(&f);
        path = xasprintf("%s/fifo.lua", f.dir);
        assert_int_equal(mkfifo(path, 0600), 0);
        f.req.deadline_ms = 150;
        assert_int_equal(fixture_run(&f, "\nrequire 'fifo'\nwhile true do end"), -ETIMEDOUT);
}

static void test_memory(void **state) {
        static const struct {
                const char *text;
                int line;
        } rows[] = {
                { "local t = {}\nfor i = 1, 1e9 do t[i] = {} end", 2 },
                { "local t = {}\nwhile true do\n  t[#t + 1] = string.rep('x', 100000) .. #t\nend", 3 },
                { "local s = 'x'\nwhile true do s = s .. s end", 2 },
                { "local function f()\n local t = {} while true do t[#t + 1] = {} end\nend\n"
                  "while true do pcall(f) end",
                  2 },
                { "local co = coroutine.wrap(function()\n local t = {} while true do t[#t + 1] = {} "
                  "end\nend)\nco()",
                  2 },
        };
        _cleanup_fixture_ struct fixture f;

        fixture_init(&f);
        f.req.deadline_ms = 60000; /* memory is what ends it, also under sanitizers and on a busy machine */
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                assert_int_equal(fixture_run(&f, rows[i].text), -ENOMEM);
                fixture_expect_error(&f, rows[i].line, "needs more than 32 MiB of memory");
        }
        assert_int_equal(fixture_run(&f, "\nlocal s = string.rep('x', 1 << 30)"), -ENOMEM);
        fixture_expect_error(&f, 2, "needs more than 32 MiB of memory");
        f.req.deadline_ms = 300;
        assert_true(fixture_run(&f, "while true do pcall(string.rep, 'x', 1 << 30) end") < 0);
        fixture_expect_error(&f, 1, "");
        f.req.deadline_ms = 60000;
        /* garbage is no memory that is needed */
        fixture_expect(&f,
                       "local keep = string.rep('k', 12000000) for i = 1, 300 do local s = string.rep('x', "
                       "1000000) .. i end",
                       "");
        f.req.memory_max = 1000;
        assert_int_equal(fixture_run(&f, "x = 1"), -ENOMEM);
}

static void test_replayed_host(void **state) {
        _cleanup_fixture_ struct fixture f;

        fixture_init(&f);
        fixture_write(&f, "proc/version", "Linux version 1.2.3 (x)\n");
        assert_int_equal(setenv("VORE_HOST_ROOT", f.dir, 1), 0);
        fixture_expect(&f, "vm:arg(io.open('/proc/version'):read('l'), io.lines('/proc/version')())",
                       "Linux version 1.2.3 (x) Linux version 1.2.3 (x)");
        assert_int_equal(unsetenv("VORE_HOST_ROOT"), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_refusals),         cmocka_unit_test(test_what_is_there),
                cmocka_unit_test(test_no_bytecode),      cmocka_unit_test(test_deadline),
                cmocka_unit_test(test_deadline_on_fifo), cmocka_unit_test(test_memory),
                cmocka_unit_test(test_replayed_host),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
