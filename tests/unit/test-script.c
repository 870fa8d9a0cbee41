/* The API that scripts see. */
#include "script-fixture.h"

#include <errno.h>

static void test_arg(void **state) {
        _cleanup_fixture_ struct fixture f;

        fixture_init(&f);
        fixture_expect(&f, "vm:arg('-m', 2048, '-x', 4096 / 2, 1.5)", "-m 2048 -x 2048 1.5");
        fixture_expect(&f, "vm:arg()", "");
        fixture_expect(&f, "vm:arg('-a'):arg('-b')", "-a -b");
        fixture_expect_fault(&f, "vm:arg('-m', instance.memry)", "argument 2 of vm:arg is a nil");
        fixture_expect_fault(&f, "vm:arg({})", "argument 1 of vm:arg is a table");
        fixture_expect_fault(&f, "vm.arg('-m')", "vore.vm expected");
        fixture_expect_fault(&f, "vm:arg('a\\0b')", "NUL byte");
        fixture_expect_fault(&f, "vm:arg('\\xff')", "not valid UTF-8");
        fixture_expect_fault(&f, "vm:arg(string.rep('x', 65537))", "longer than 64 KiB");
        fixture_expect_fault(&f, "for i = 1, 5000 do vm:arg(i) end", "more than 4096 arguments");
        assert_int_equal(fixture_build(&f, "vm:arg(string.rep('x', 65536))"), 0);
        fixture_expect_fault(&f, "for i = 1, 17 do vm:arg(string.rep('x', 65000)) end",
                             "longer than 1024 KiB in all");
}

static void test_devices(void **state) {
        _cleanup_fixture_ struct fixture f;

        fixture_init(&f);
        /* all in one list, in the order of the calls, whatever their form */
        fixture_expect(
                &f,
                "vm:device { id = 'rp', driver = 'pcie-root-port', multifunction = true, chassis = 1 } "
                "vm:arg('-device', 'nvme,bus=rp,serial=a,,b,id=n') "
                "vm:arg('-device', '{\"driver\":\"x\",\"bus\":\"n\",\"a\":{\"b\":[1,true]},\"id\":\"j\"}') "
                "vm:device { driver = 'y', path = 'a,b', f = 1.5, g = 3.0, h = false } "
                "vm:arg(vm:get_device_id('pcie-root-port'), vm:get_device_id('nvme'), vm:get_device_id('x'), "
                "tostring(vm:get_device_id('y')))",
                "-device pcie-root-port,id=rp,chassis=1,multifunction=on "
                "-device nvme,bus=rp,serial=a,,b,id=n "
                "-device x,bus=n,a.b.0=1,a.b.1=on,id=j "
                "-device y,f=1.5,g=3,h=off,path=a,,b rp n j nil");
        fixture_expect(&f, "vm:arg('-device', 'a,id=1', '-device', 'a,id=2') vm:arg(vm:get_device_id('a'))",
                       "-device a,id=1 -device a,id=2 2");
        fixture_expect(&f, "vm:arg('-device') vm:arg('a,id=1') vm:arg(vm:get_device_id('a'))",
                       "-device a,id=1 1");
        fixture_expect(&f, "vm:arg('-name', 'x') vm:arg('-device')", "-name x -device");
        fixture_expect_fault(&f, "vm:device { id = 'a' }", "vm:device: vm:device needs device[\"driver\"]");
        fixture_expect_fault(&f, "vm:device('nvme')", "table expected");
        fixture_expect_fault(&f, "vm:device { driver = 'a', b = print }", "vm:device: b: a function");
        fixture_expect_fault(&f, "vm:device { driver = 'a', b = { c = { 1, print } } }",
                             "b.c[2]: a function");
        fixture_expect_fault(&f, "vm:device { driver = 'a', 1 }", "list items beside named values");
        fixture_expect_fault(&f, "vm:device { driver = 'a', b = 0/0 }", "b: nan cannot");
        fixture_expect_fault(&f, "local t = { driver = 'a' } t.t = t vm:device(t)", "nested too deep");
        fixture_expect_fault(
                &f, "local t = 1 for i = 1, 30 do t = { t, t } end vm:device { driver = 'a', t = t }",
                "too many values");
        fixture_expect_fault(&f, "vm:arg('-device', '{broken')", "not valid JSON");
}

static void test_tables(void **state) {
        _cleanup_fixture_ struct fixture f;

        fixture_init(&f);
        fixture_expect(&f,
                       "vm:blockdev { driver = 'raw', file = { filename = '/a,b', driver = 'file' }, "
                       "['node-name'] = 'd', ['read-only'] = true } "
                       "vm:object { ['qom-type'] = 'iothread', id = 'i', n = 2^30 } "
                       "vm:netdev { type = 'user', id = 'n', list = { 'a', 'b' } }",
                       "-blockdev {\"driver\":\"raw\",\"node-name\":\"d\",\"file\":{\"driver\":\"file\","
                       "\"filename\":\"/a,b\"},\"read-only\":true} "
                       "-object {\"qom-type\":\"iothread\",\"id\":\"i\",\"n\":1073741824} "
                       "-netdev {\"type\":\"user\",\"id\":\"n\",\"list\":[\"a\",\"b\"]}");
        fixture_expect_fault(&f, "vm:blockdev { driver = 'raw' }", "needs blockdev[\"node-name\"]");
        fixture_expect_fault(&f, "vm:object { id = 'a' }", "needs object[\"qom-type\"]");
        fixture_expect_fault(&f, "vm:netdev { type = 1, id = 'a' }", "needs netdev[\"type\"]");
}

static void test_counters(void **state) {
        _cleanup_fixture_ struct fixture f;

        fixture_init(&f);
        fixture_expect(&f,
                       "vm:arg(vm:get_counter('a', 5), vm:get_counter('a', 5), vm:get_counter('b'), "
                       "vm:get_next_bus('pcie'), vm:get_next_bus('pcie'), vm:get_next_bus('ide'))",
                       "5 6 0 pcie.0 pcie.1 ide.0");
        fixture_expect(&f, "vm:arg(tostring(vm:get_device_id('none')))", "nil");
}

static void test_tojson(void **state) {
        _cleanup_fixture_ struct fixture f;

        fixture_init(&f);
        fixture_expect(&f,
                       "vm:arg(tojson({ b = 1, a = { 1, 'x', true, 1.5 }, driver = 'd' }), tojson('a\"b'), "
                       "tojson({}), "
                       "tojson(nil), tojson(3.0))",
                       "{\"driver\":\"d\",\"a\":[1,\"x\",true,1.5],\"b\":1} \"a\\\"b\" {} null 3");
        fixture_expect_fault(&f, "tojson({ a = vm })", "tojson: a: a userdata");
        fixture_expect_fault(&f, "tojson()", "value expected");
        fixture_expect_fault(
                &f, "local s, t = string.rep('x', 100000), {} for i = 1, 1000 do t[i] = s end tojson(t)",
                "tojson: [11]: too much text");
}

static void test_instance_and_global(void **state) {
        _cleanup_fixture_ struct fixture f;

        fixture_init(&f);
        json_put_bool(f.instance, "kvm", true);
        json_put(f.instance, "cpu",
                 json_pack("{s:i, s:f, s:[s,s]}", "amount", 4, "ratio", 1.5, "flags", "a", "b"));
        json_put_str(f.instance, "unset", NULL);
        json_put(f.global, "uefi", json_pack("{s:{s:s}}", "default", "boot_code", "/code"));
        fixture_expect(
                &f,
                "assert(instance.kvm == true and instance.unset == nil and math.type(instance.memory) == "
                "'integer' and math.type(instance.cpu.ratio) == 'float' and #instance.cpu.flags == 2) "
                "vm:arg(instance.name, instance.cpu.flags[2], global.uefi.default.boot_code)",
                "t b /code");
}

static void test_files(void **state) {
        _cleanup_fixture_ struct fixture f;
        static const char *const bad[] = { "", "/etc/x", "../x", "a/../../x", "a//b", "a/", ".", "a/./b" };

        fixture_init(&f);
        fixture_expect(&f,
                       "vm:arg(vore:get_file('uefi/V.fd', '/t/V.fd'), vore:get_file('uefi/V.fd', '/t/W.fd'), "
                       "vore:get_file('b', '/t/b'))",
                       "/var/lib/vore/instance/t/uefi/V.fd /var/lib/vore/instance/t/uefi/V.fd "
                       "/var/lib/vore/instance/t/b");
        assert_int_equal(f.result.n_copies, 2);
        assert_string_equal(f.result.copies[0].target, "/var/lib/vore/instance/t/uefi/V.fd");
        assert_string_equal(f.result.copies[0].source, "/t/V.fd");
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                _cleanup_free_ char *body = xasprintf("vore:get_file('%s', '/t')", bad[i]);
                fixture_expect_fault(&f, body, "is no path inside the instance folder");
        }
        fixture_expect_fault(&f, "vore:get_file('a', '')", "no template for \"a\"");
        fixture_expect_fault(&f, "vore:get_file('a', nil)", "string expected");
        fixture_expect_fault(&f, "vore:get_file('a\\0b', '/t')",
                             "vore:get_file: an argument that is not valid");
        fixture_expect_fault(&f, "vore:get_file('a', '/t\\0')", "with a NUL byte");
        fixture_expect_fault(&f, "vore:get_file('a\\xff', '/t')", "not valid UTF-8");
        fixture_expect_fault(&f, "for i = 1, 99 do vore:get_file('a' .. i, '/t') end", "more than 64 files");
}

static void test_allow(void **state) {
        _cleanup_fixture_ struct fixture f;

        fixture_init(&f);
        fixture_expect(&f, "vore:allow('/dev/a', 'r') vore:allow('/dev/b', 'rw')", "");
        assert_int_equal(f.result.n_allows, 2);
        assert_string_equal(f.result.allows[1].path, "/dev/b");
        assert_false(f.result.allows[0].write);
        assert_true(f.result.allows[1].write);
        fixture_expect_fault(&f, "vore:allow('/dev/a', 'w')", "must be \"r\" or \"rw\"");
        fixture_expect_fault(&f, "vore:allow('a', 'r')", "no absolute path");
        fixture_expect_fault(&f, "vore:allow('/dev/a\\0b', 'r')",
                             "vore:allow: an argument that is not valid");
        fixture_expect_fault(&f, "vore:allow('/dev/a', 'r\\0w')", "with a NUL byte");
}

static void test_presets(void **state) {
        static const char script[] =
                "vore:register_disk_preset('one', 'The first', function(vm, instance, index, disk)\n"
                "  vm:arg('-one', index, disk.path, instance.name) return vm end)\n"
                "vore:register_disk_preset('two', function(vm) return vm end)\n"
                "vore:register_disk_preset('lost', 'Lost', function(vm) vm:arg('x')\nend)\n"
                "vore:register_disk_preset('two', 'Again', function(vm) vm:arg('-two') return vm end)\n"
                "vore:set_build_command(function(instance, vm)\n"
                "  for i, disk in ipairs(instance.disks) do vm = vore:add_disk(vm, instance, i, disk) end\n"
                "  return vm end)\n";
        _cleanup_fixture_ struct fixture f;
        json_t *disks;

        fixture_init(&f);
        f.presets = true;
        assert_int_equal(fixture_run(&f, script), 0);
        assert_int_equal(json_array_size(f.json), 3);
        assert_string_equal(json_get_str(json_array_get(f.json, 1), "name", ""), "two");
        assert_string_equal(json_get_str(json_array_get(f.json, 1), "description", ""), "Again");

        f.presets = false;
        disks = json_object_get(f.instance, "disks");
        json_push(disks, json_pack("{s:s, s:s}", "preset", "two", "path", "/b"));
        json_push(disks, json_pack("{s:s, s:s}", "preset", "one", "path", "/a"));
        assert_int_equal(fixture_run(&f, script), 0);
        assert_int_equal(f.result.argv.n, 5);
        assert_string_equal(f.result.argv.items[0], "-two");
        assert_string_equal(f.result.argv.items[2], "2");
        assert_string_equal(f.result.argv.items[4], "t");

        json_put_str(json_array_get(disks, 0), "preset", "lost");
        assert_int_equal(fixture_run(&f, script), -EINVAL);
        fixture_expect_error(&f, 4, "disk preset 'lost' returned nothing: it must end with `return vm`");
        json_put_str(json_array_get(disks, 0), "preset", "nvm");
        assert_int_equal(fixture_run(&f, script), -EINVAL);
        fixture_expect_error(&f, 8, "no disk preset is named 'nvm': there are one, two, lost");
}

static void test_build_functions(void **state) {
        _cleanup_fixture_ struct fixture f;

        fixture_init(&f);
        assert_int_equal(fixture_run(&f, "-- nothing\n"), -EINVAL);
        fixture_expect_error(&f, 1, "never calls vore:set_build_command");
        assert_int_equal(fixture_run(&f, "\nvore:set_build_command(function(i, vm)\n vm:arg('x') end)"),
                         -EINVAL);
        fixture_expect_error(&f, 2, "the build function returned nothing: it must end with `return vm`");
        assert_int_equal(fixture_run(&f, "vore:set_build_command(function(i, vm) return { vm } end)"),
                         -EINVAL);
        fixture_expect_error(&f, 1, "the build function returned table");
        assert_int_equal(fixture_run(&f, "\nvore:set_build_command(nil)"), -EINVAL);
        fixture_expect_error(&f, 2, "function expected");
        assert_int_equal(fixture_run(&f, "vore:set_build_command(error) vore:set_build_command(function(i, "
                                         "vm) return vm end)"),
                         0);
}

static void test_errors_have_positions(void **state) {
        _cleanup_fixture_ struct fixture f;

        fixture_init(&f);
        assert_int_equal(fixture_run(&f, "x = 1\nx = = 2\n"), -EINVAL);
        fixture_expect_error(&f, 2, "unexpected symbol");
        assert_int_equal(fixture_run(&f, "\n\nlocal x = nil + 1"), -EINVAL);
        fixture_expect_error(&f, 3, "arithmetic on a nil value");
        assert_int_equal(fixture_run(&f, "\nerror('bare', 0)"), -EINVAL);
        fixture_expect_error(&f, 2, "bare");
        assert_int_equal(fixture_run(&f, "\nerror({ 1 })"), -EINVAL);
        fixture_expect_error(&f, 2, "an error that is a table");
        assert_int_equal(
                fixture_run(&f, "\nerror(setmetatable({}, { __tostring = function() return 'mine' end }))"),
                -EINVAL);
        fixture_expect_error(&f, 2, "mine");
        assert_int_equal(fixture_run(&f, "\nerror()"), -EINVAL);
        fixture_expect_error(&f, 2, "an error that is a nil");
        f.req.memory_max = 0; /* the default */
        assert_int_equal(fixture_run(&f, "\nlocal function f() return 1 + f() end f()"), -EINVAL);
        fixture_expect_error(&f, 2, "stack overflow");
        assert_int_equal(fixture_run(&f, "\nlocal c = coroutine.wrap(function()\nerror('inside') end) c()"),
                         -EINVAL);
        fixture_expect_error(&f, 3, "inside");
        assert_int_equal(fixture_run(&f, "\nrequire 'helper'"), -EINVAL);
        fixture_expect_error(&f, 2, "module 'helper' not found");
        assert_int_equal(unlink(f.req.path), 0);
        assert_int_equal(fixture_run(&f, NULL), -EINVAL);
        fixture_expect_error(&f, 1, "No such file or directory");
}

/* Lua shortens file names in its messages. */
static void test_long_file_name(void **state) {
        _cleanup_fixture_ struct fixture f;
        char *path;

        fixture_init(&f);
        path = xasprintf("%s/%s/qemu.lua", f.dir,
                         "a-folder-whose-name-is-longer-than-what-lua-shows-of-a-file-name");
        fixture_write(&f, path + strlen(f.dir) + 1, "\nlocal x = nil + 1");
        free((char *) f.req.path);
        f.req.path = path;
        assert_int_equal(fixture_run(&f, NULL), -EINVAL);
        fixture_expect_error(&f, 2, "arithmetic");
}

static void test_qemu(void **state) {
        _cleanup_fixture_ struct fixture f;

        fixture_init(&f);
        fixture_expect(&f, "vm:arg(qemu.version, tostring(qemu:has_device('nvme')))", " false");
        assert_int_equal(
                caps_parse("vore-caps 2 x\ndevice nvme bootindex serial\nversion 7.2.22\n", &f.caps, NULL),
                0);
        f.req.caps = &f.caps;
        fixture_expect(
                &f,
                "vm:arg(qemu.version, tostring(qemu:has_device('nvme')), tostring(qemu:has_device('nvm')), "
                "tostring(qemu:has_property('nvme', 'serial')), tostring(qemu:has_property('nvme', 'x')))",
                "7.2.22 true false true false");
}

static void test_gone_options(void **state) {
        static const char body[] =
                "vm:arg('-no-hpet', '-a', '-no-hpet', '--no-acpi', '-runas', 'nobody', '-watchdog', "
                "'i6300esb', '-realtime', 'mlock=off', '-tdf')";
        _cleanup_fixture_ struct fixture f;

        fixture_init(&f);
        f.req.caps = &f.caps;
        f.caps.text = xstrdup("");
        f.caps.version = xstrdup("7.2.22");
        fixture_expect(&f, body, "-no-hpet -a -no-hpet --no-acpi -device i6300esb -overcommit mem-lock=off");
        assert_int_equal(f.result.n_warnings, 4);
        free(f.caps.version);
        f.caps.version = xstrdup("10.0.13");
        fixture_expect(&f, body,
                       "-machine hpet=off -a -machine hpet=off -machine acpi=off -device i6300esb "
                       "-overcommit mem-lock=off");
        assert_int_equal(f.result.n_warnings, 6);
        assert_string_equal(f.result.warnings[0],
                            "-no-hpet is gone from this QEMU: written as -machine hpet=off");
}

static void test_print_and_warn(void **state) {
        _cleanup_fixture_ struct fixture f;

        fixture_init(&f);
        fixture_expect(&f, "print('a', 1, nil) warn('b') for i = 1, 1000 do print(string.rep('x', 5000)) end",
                       "");
        assert_int_equal(f.result.n_warnings, 64);
        assert_non_null(strstr(f.result.warnings[0], "qemu.lua:1: a\t1\tnil"));
        assert_string_equal(f.result.warnings[1], "b");
        assert_int_equal(strlen(f.result.warnings[2]), 1024);
}

/* Lua hands it over in pieces. */
static void test_warn_in_pieces(void **state) {
        _cleanup_fixture_ struct fixture f;

        fixture_init(&f);
        fixture_expect(&f,
                       "warn('part one ', 'part ', 'two') warn('@on') warn('@', 'on') warn('') "
                       "local a = {} for i = 1, 200 do a[i] = ('y'):rep(100) end warn(table.unpack(a))",
                       "");
        assert_int_equal(f.result.n_warnings, 4);
        assert_string_equal(f.result.warnings[0], "part one part two");
        assert_string_equal(f.result.warnings[1], "@on");
        assert_string_equal(f.result.warnings[2], "");
        assert_int_equal(strlen(f.result.warnings[3]), 1024);
}

/* What came over the pipe is not trusted. */
static void test_results_from_json(void **state) {
        static const char *const bad[] = {
                "null",
                "[]",
                "{}",
                "{\"argv\":[1],\"copies\":[],\"allows\":[],\"warnings\":[]}",
                "{\"argv\":[],\"copies\":[{\"target\":\"a\"}],\"allows\":[],\"warnings\":[]}",
                "{\"argv\":[],\"copies\":[],\"allows\":[{\"path\":\"/a\",\"write\":1}],\"warnings\":[]}",
                "{\"argv\":[],\"copies\":[],\"allows\":[],\"warnings\":[\"a\\u0000b\"]}",
                "{\"argv\":[],\"copies\":[],\"allows\":[]}",
        };

        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                struct script_result result = { 0 };
                _cleanup_json_ json_t *j = NULL;
                _cleanup_error_ struct error err = ERROR_INIT;

                assert_int_equal(json_parse(bad[i], strlen(bad[i]), &j, NULL), 0);
                assert_int_equal(script_result_from_json(j, &result, &err), -EINVAL);
                assert_null(result.copies);
                assert_non_null(err.text);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_arg),
                cmocka_unit_test(test_devices),
                cmocka_unit_test(test_tables),
                cmocka_unit_test(test_counters),
                cmocka_unit_test(test_tojson),
                cmocka_unit_test(test_instance_and_global),
                cmocka_unit_test(test_files),
                cmocka_unit_test(test_allow),
                cmocka_unit_test(test_presets),
                cmocka_unit_test(test_build_functions),
                cmocka_unit_test(test_errors_have_positions),
                cmocka_unit_test(test_long_file_name),
                cmocka_unit_test(test_qemu),
                cmocka_unit_test(test_gone_options),
                cmocka_unit_test(test_print_and_warn),
                cmocka_unit_test(test_warn_in_pieces),
                cmocka_unit_test(test_results_from_json),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
