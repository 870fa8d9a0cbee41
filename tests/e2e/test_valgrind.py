"""The daemon's life under valgrind: nothing lost, nothing read that was not written."""
import resource

import pytest

from world import BUILD, World

SHIM = BUILD / "tests/e2e/valgrind-calls.so"

VALGRIND = ["valgrind", "--quiet", "--leak-check=full", "--show-leak-kinds=definite,indirect",
            "--errors-for-leak-kinds=definite,indirect", "--error-exitcode=99", "--child-silent-after-fork=yes",
            "--log-file=%q{HOME}/valgrind.log", "--trace-children=no"]


@pytest.mark.not_sanitized
def test_life(make_world):
    if not SHIM.exists():
        pytest.skip("valgrind's header was not there at build time")
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    world: World = make_world()
    world.wrap = VALGRIND
    shim = world.write("calls.so", SHIM.read_bytes(), 0o755)
    world.start(LD_PRELOAD=str(shim))
    world.load("vm", "--save")
    world.load("other")
    world.vore("load", world.write("broken.toml", "[machine]\nname = 5\n")).failed(1)
    world.vore("start", "vm").ok()
    console = world.console()
    console.wait("ready\r\n")
    for args in (["list"], ["show", "vm", "--origin"], ["x", "qemucmd", "vm"], ["disk", "presets"], ["logs", "vm"],
                 ["qmp", "vm", "query-status"], ["pause", "vm"], ["resume", "vm"], ["reset", "vm"], ["unload", "other"]):
        world.vore(*args).ok()
    console.wait("ready\r\n")
    world.vore("stop", "vm").ok()
    world.vore("start", "vm").ok()
    world.vore("kill", "vm").ok()
    world.vore("start", "vm").ok()  # left running
    status = world.end()
    said = (world.base / "valgrind.log").read_text()
    assert status == 0 and "definitely lost" not in said, said
    world.start(LD_PRELOAD=str(shim))  # adopts it
    world.vore("stop", "vm").ok()
    status = world.end()
    said = (world.base / "valgrind.log").read_text()
    assert status == 0 and "definitely lost" not in said, said
