"""Broken definitions and scripts: all their faults, at the right place, and no harm to the daemon."""
import re

import pytest

from world import FIRST_SCRIPT, definition

# Without a place, when nothing in the file says it; without a key, when it is the syntax.
FAULT = re.compile(r"^(?P<file>.+?)(?::(?P<line>\d+):(?P<column>\d+))?: (?P<severity>error|warning): "
                   r"(?:(?P<key>[\w.\[\]-]+): )?(?P<text>.+)$")


def faults(result):
    """Of the whole report: every line of it is one fault, or says that there is no error."""
    found = [FAULT.match(line) for line in result.err.splitlines() if ": nothing is wrong" not in line]
    assert all(found), result
    return [{**m.groupdict(), "line": int(m["line"] or 0), "column": int(m["column"] or 0)} for m in found]


GOOD = '[machine]\nname = "vm"\nmemory = "64M"\nkvm = false\n'


@pytest.mark.parametrize("text, places", [
    ("[machine]\nname = \"vm\"\nmemry = \"1G\"\n", [(3, 1, "memory")]),
    ("[machine]\nmemory = \"1G\"\n", [(1, None, "name")]),
    ("[machine]\nname = \"../vm\"\n", [(2, None, "machine.name")]),
    ("[machine]\nname = \"vm\"\nmemory = \"lots\"\n", [(3, None, "machine.memory")]),
    ("[machine]\nname = \"vm\"\nmemory = -5\nauto-start = 3\n", [(3, None, "memory"), (4, None, "auto-start")]),
    (GOOD + "[cpu]\namount = 9\ncores = 2\n", [(None, None, "cpu")]),
    (GOOD + "[cpu]\ncores = 0\n", [(6, None, "cpu.cores")]),
    (GOOD + "[cpuu]\ncores = 1\n", [(5, None, "cpu")]),
    (GOOD + "[[disk]]\npreset = \"virtio\"\n", [(5, None, "path")]),
    (GOOD + "[[disk]]\npath = \"/dev/null\"\n", [(5, None, "preset")]),
    (GOOD + "[[disk]]\npreset = \"virtio\"\npath = \"/nowhere/x.img\"\n", [(7, None, "path")]),
    (GOOD + "[[disk]]\npreset = \"floppy\"\npath = \"images/vm.img\"\n", [(6, None, "preset")]),
    (GOOD + "[machine]\nname = \"twice\"\n", [(5, None, None)]),
    (GOOD + "[spice\n", [(5, None, None)]),
    (GOOD.replace("kvm = false", "features = [\"spicy\"]"), [(4, None, "spice")]),
    (GOOD + "features = [\"spice\"]\n[spice]\nenabled = false\n", [(None, None, "spice")]),
    (GOOD + "[tpm]\nenabled = true\n", [(None, None, "not supported by this version")]),
], ids=range(17))
def test_broken_definitions(unstarted, text, places):
    unstarted.image("vm")
    result = unstarted.vore("check", unstarted.write("vm.toml", text)).failed(1)
    found = [f for f in faults(result) if f["severity"] == "error"]
    assert len(found) >= len(places), result
    for line, column, word in places:
        assert any((line is None or f["line"] == line) and (column is None or f["column"] == column) and
                   (word is None or word in (f["key"] or "") + f["text"] + result.err) for f in found), (line, word, result)
    assert all(f["file"].endswith("vm.toml") for f in found)


def test_all_faults_in_one_go(unstarted):
    text = '[machine]\nname = "a b"\nmemry = 5\n[cpu]\ncores = -1\n[[disk]]\npreset = 5\nbogus = 1\n'
    lines = {f["line"] for f in faults(unstarted.vore("check", unstarted.write("vm.toml", text)).failed(1))}
    assert {2, 3, 5, 7, 8} <= lines


def test_check_as_json(unstarted):
    path = unstarted.write("vm.toml", "[machine]\nname = \"vm\"\nmemry = 5\n")
    result = unstarted.vore("check", path, "--json")
    assert result.rc == 1
    assert all(set(f) == {"file", "line", "column", "severity", "key", "message", "hint"} for f in result.json)
    assert [(f["line"], f["column"]) for f in result.json if f["severity"] == "error"][0] == (3, 1)


def test_check_of_a_good_one(unstarted):
    result = unstarted.vore("check", unstarted.define()).ok()
    assert not [f for f in faults(result) if f["severity"] == "error"]
    assert not unstarted.socket.exists() and not unstarted.state.exists()  # it changes nothing


def test_only_warnings_are_exit_0(unstarted):
    path = unstarted.define(spice={"socket-path": "/tmp/x.sock"})  # the section's presence does not enable it
    result = unstarted.vore("check", path).ok()
    assert [f["severity"] for f in faults(result)] == ["warning"], result


def test_missing_file(unstarted):
    unstarted.vore("check", "nowhere.toml").failed(1, "nowhere.toml")


def test_load_says_the_same(world):
    path = world.write("vm.toml", "[machine]\nname = \"vm\"\nmemry = 5\n")
    checked, loaded = world.vore("check", path).failed(1), world.vore("load", path).failed(1)
    checked, loaded = ([f for f in faults(r) if f["severity"] == "error"] for r in (checked, loaded))
    assert checked and checked == loaded
    assert world.vore("list", "--json").json == []


@pytest.mark.parametrize("text", ["[", "a" + ".a" * 10_000 + " = 1", "[" * 65_536, "x" * 65_537, "\0", "\xff",
                                  "a = " + "[" * 30_000, "a = '''" + "x" * 60_000, "[a]\n" * 16_000],
                         ids=["bracket", "dots", "brackets", "too long", "nul", "latin", "arrays", "string", "tables"])
def test_hostile_text(world, text):
    world.vore("load", world.write("vm.toml", text.encode("latin-1")), timeout=20).failed(1)
    world.vore("check", world.write("vm.toml", text.encode("latin-1")), timeout=20).failed(1)
    assert world.vore("list", "--json").ok().json == []


SCRIPTS = {
    "endless loop": "while true do pcall(function() end) end",
    "loop in the build": "vore:set_build_command(function(i, vm) while true do pcall(error) end end)",
    "runaway memory": "local t = {} while true do t[#t + 1] = ('x'):rep(1 << 20) .. #t end",
    "endless pattern": "string.find(('a'):rep(100000), ('.-'):rep(40) .. 'b')",
    "no vm returned": "vore:set_build_command(function(i, vm) end)",
    "error": "error('the flux is missing')",
    "syntax": "function (",
    "process": "os.execute('true')",
    "writing": "io.open('/tmp/vore-e2e-written', 'w')",
    "deep recursion": "local function f() return f() + 1 end f()",
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_broken_scripts(unstarted, script):
    """The one request fails, with file and line; the daemon goes on."""
    world = unstarted
    path = world.write("config/vore/mine.lua", f"-- a user's own\n{script}\n")
    world.write(world.config, "")
    world.settings(script=path)
    world.start()
    loaded = world.vore("load", world.define(), timeout=40)
    if loaded.rc == 0:
        loaded = world.vore("start", "vm", timeout=40)
    loaded.failed(1, "mine.lua")
    world.vore("list").ok()
    assert world.qemus() == []


def test_check_of_a_script_without_an_end(world):
    """The daemon cannot say what is wrong with the definition: then it is not said that nothing is."""
    world.settings(script=world.write("mine.lua", "while true do end"))
    world.restart()
    world.vore("check", world.define(), timeout=40).failed(1, "mine.lua:1: ran longer than 5 s")


def test_presets_are_asked_for_with_all_that_a_build_has(world):
    script = """local uefi = global.uefi.default.boot_code .. global.uefi.default.template
if qemu:has_device("virtio-blk-pci") and qemu.version ~= "" then
  vore:register_disk_preset("fast", "fast", function(vm) return vm end)
end
"""
    world.settings(script=world.write("mine.lua", script))
    world.restart()
    assert world.vore("disk", "presets").ok().rows == [["fast", "fast"]]


def test_a_script_of_the_first_vore(unstarted):
    """Only arguments as text, counters and presets."""
    world = unstarted
    path = world.write("config/vore/mine.lua", FIRST_SCRIPT)
    world.write(world.config, "")
    world.settings(script=path)
    world.start()
    assert [r[0] for r in world.vore("disk", "presets").ok().rows] == ["mine"]
    report = world.boot(disks=[{"preset": "mine", "path": world.image("own")}]).report()
    assert report["label"] == "own" and report["cpus"] == 1


def test_settings_that_are_missing_or_wrong(unstarted):
    world = unstarted
    for more in (["--config", "/nowhere/vored.toml"], ["--bogus"]):
        assert world.launch(*more).wait(30) in (1, 2)
    assert "/nowhere/vored.toml" in world.log.read_text()
    world.write(world.config, '[qemu]\nscript = "/nowhere/qemu.lua"\n')
    assert world.launch().wait(30) == 1
    assert "/nowhere/qemu.lua" in world.log.read_text()
    world.write(world.config, "[vore]\ngruop = \"x\"\n")
    assert world.launch().wait(30) == 1
    assert "gruop" in world.log.read_text()


def test_faults_have_a_caret_on_a_terminal(unstarted):
    from test_cli import on_a_terminal
    unstarted.write("vm.toml", definition(machine={"memry": 5}))
    seen, status = on_a_terminal(unstarted, "check", "vm.toml")
    assert status == 1 and "memry" in seen and re.search(r"^\s*\|?\s*(\x1b\[[\d;]*m)*\^", seen, re.M)
