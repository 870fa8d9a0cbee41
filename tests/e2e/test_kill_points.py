"""vored ends by SIGKILL before and after each step; the next one has it right. VORE_TEST_KILL=TABLE:STEP:WHEN picks
the moment in builds with -Dtest-hooks=true; vored --list-test-kills says which there are."""
import os
import stat
import subprocess

import pytest

from world import BUILD, FIRST_SCRIPT, IS_ROOT, alive, build_option

HOOKS = build_option("test-hooks")


def points():
    if not HOOKS:
        return []
    listed = subprocess.run([BUILD / "vored", "--list-test-kills"], capture_output=True, text=True, check=True)
    # Those of devices need devices: the lab has them.
    of_devices = ("start:bind", "undo:device", "reserve:", "release:", "attach:", "detach:")
    steps = [s for s in listed.stdout.split() if not s.startswith(of_devices)]
    return [s for s in steps if s.count(":") == 2] or [f"{s}:{w}" for s in steps for w in ("before", "after")]


def test_there_are_points():
    if not HOOKS:
        pytest.skip("this build has no test hooks")
    tables = {p.split(":")[0] for p in points()}
    assert {"start", "stop"} <= tables and len(points()) >= 20


def world_with_acl(make_world):
    """A VM under a number of its own, and a device node that only its script names; somebody gave that number an entry
    before, and the mask is narrower than the entries."""
    if not IS_ROOT:
        pytest.skip("needs root")
    world = make_world("system")
    node = world.base / "node"
    os.mknod(node, 0o600 | stat.S_IFCHR, os.makedev(1, 7))
    subprocess.run(["setfacl", "-m", "u:70000:r,u:12345:rw", "-m", "m::r", node], check=True)
    path = world.write("mine.lua", FIRST_SCRIPT.replace(
        "function(instance, vm)\n", f'function(instance, vm)\n    vore:allow("{node}", "rw")\n'))
    world.settings(script=path)
    return world


def access_list(world):
    return subprocess.run(["getfacl", "-cpn", world.base / "node"], capture_output=True, text=True, check=True).stdout


def world_with_jack(make_world):
    """A client of JACK under a number of its own: it may leave things in /dev/shm."""
    if not IS_ROOT:
        pytest.skip("needs root")
    world = make_world("system")
    path = world.write("mine.lua", FIRST_SCRIPT.replace(
        "function(instance, vm)\n", 'function(instance, vm)\n    vm:arg("-audiodev", "jack,id=jack")\n'))
    world.settings(script=path)
    return world


@pytest.mark.parametrize("point", points())
def test_killed_at(make_world, point):
    table = point.split(":")[0]
    access = None
    if point.startswith(("start:access", "undo:acl")):
        world = world_with_acl(make_world)
        access = access_list(world)
        disks = [{"preset": "mine", "path": world.image("disk")}]
    elif point.startswith("undo:jack"):
        world = world_with_jack(make_world)
        disks = [{"preset": "mine", "path": world.image("disk")}]
    else:
        world, disks = make_world(), None
    world.start(VORE_TEST_KILL=point)
    world.load("vm", "--save", disks=disks, machine={"features": ["spice", "scream"]},
               spice={"socket-path": str(world.base / "spice.link")})
    if world.vore("start", "vm").rc == 0:
        world.console().wait("ready")  # a guest that still boots does not feel the button
        world.vore("stop", "vm", "--timeout", "20")
    assert world.process.wait(20) == -9, f"{point} was never passed"
    before = world.qemus()
    world.start()

    entry = world.listed()
    if entry["state"] == "starting":
        entry = world.wait_state("running")
    elif entry["state"] == "stopping":
        entry = world.wait_state("stopped")
    qemus = world.qemus()
    if entry["state"] in ("running", "paused"):
        assert qemus == [entry["pid"]] and before == qemus
        world.vore("resume", "vm").ok()
        world.console().wait("ready")
        world.vore("stop", "vm").ok()
    else:
        assert entry["pid"] is None and not [p for p in qemus if alive(p)], (entry, qemus)
        assert entry["state"] in ("loaded", "stopped", "failed"), entry
        assert access is None or access_list(world) == access
    assert table != "start" or entry["state"] != "failed" or entry["reason"]

    world.vore("start", "vm").ok()  # nothing is left in the way of the next life
    world.console().wait("ready")
    world.vore("stop", "vm").ok()
    assert world.state_of() == "stopped" and world.qemus() == []
    assert access is None or access_list(world) == access
