"""vored ends by SIGKILL before and after each step; the next one has it right. VORE_TEST_KILL=TABLE:STEP:WHEN picks
the moment in builds with -Dtest-hooks=true; vored --list-test-kills says which there are."""
import os
import signal
import stat
import subprocess

import pytest

from world import BUILD, FIRST_SCRIPT, IS_ROOT, alive, build_option, kill9, unique

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


def world_with_node(make_world):
    """The installed script and a device node."""
    if not IS_ROOT:
        pytest.skip("needs root")
    world = make_world("system")
    world.node = world.base / "node"
    os.mknod(world.node, 0o600 | stat.S_IFCHR, os.makedev(1, 7))
    world.settings(script=world.write("mine.lua", f"""local default = require "vore.default"
vore:set_build_command(function(instance, vm)
  vore:allow("{world.node}", "rw")
  return default.build(instance, vm)
end)
"""))
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
    name, link = unique("kill"), world.base / "spice.link"  # unique: /dev/shm is for all
    world.load(name, "--save", disks=disks, machine={"features": ["looking-glass", "scream"]},
               spice={"socket-path": str(link)})
    if world.vore("start", name).rc == 0:
        world.console(name).wait("ready")  # a guest that still boots does not feel the button
        world.vore("stop", name, "--timeout", "20")
    assert world.process.wait(20) == -9, f"{point} was never passed"
    before = world.qemus()
    world.start()

    entry = world.listed(name)
    if entry["state"] == "starting":
        entry = world.wait_state("running", name)
    elif entry["state"] == "stopping":
        entry = world.wait_state("stopped", name)
    qemus = world.qemus()
    if entry["state"] in ("running", "paused"):
        assert qemus == [entry["pid"]] and before == qemus
        assert sorted(os.listdir(world.shared_memory(name))) == ["looking-glass", "scream"]
        world.vore("resume", name).ok()
        world.console(name).wait("ready")
        world.vore("stop", name).ok()
    else:
        assert entry["pid"] is None and not [p for p in qemus if alive(p)], (entry, qemus)
        assert entry["state"] in ("loaded", "stopped", "failed"), entry
        assert access is None or access_list(world) == access
    assert table != "start" or entry["state"] != "failed" or entry["reason"]
    nothing_is_left(world, name, link)

    world.vore("start", name).ok()  # nothing is in the way of the next life
    world.console(name).wait("ready")
    world.vore("stop", name).ok()
    assert world.state_of(name) == "stopped" and world.qemus() == []
    assert access is None or access_list(world) == access
    nothing_is_left(world, name, link)


def nothing_is_left(world, name, link):
    assert not world.shared_memory(name).exists()
    assert not os.path.lexists(link) and not (world.state / "instance" / name / "spice.sock").exists()
    left = [f.name for f in (world.runtime / "vm" / name).iterdir() if f.is_socket()]
    assert not left, left


@pytest.mark.parametrize("who", ["vored first", "QEMU first", "QEMU while vored is away"])
def test_everything_of_the_desktop_goes(make_world, who):
    """Looking Glass, SPICE, Scream, a link, a device node: SIGKILL for vored and for QEMU."""
    world = world_with_node(make_world)
    world.start()
    name, link = unique("desk"), world.base / "spice.link"
    world.boot(name, machine={"features": ["looking-glass", "scream"]}, spice={"socket-path": str(link)})
    pid = world.listed(name)["pid"]
    acl = subprocess.run(["getfacl", "-pnc", world.node], capture_output=True, text=True, check=True).stdout
    assert "user:7" in acl and world.shared_memory(name).exists() and os.path.lexists(link)
    if who == "QEMU first":
        kill9(pid)
        world.wait_state("failed", name)
        world.restart()
    elif who == "vored first":
        world.restart()
        assert world.state_of(name) == "running"
        kill9(pid)
        world.wait_state("failed", name)
    else:
        world.end(signal.SIGKILL)
        kill9(pid)
        world.start()
        assert world.state_of(name) == "failed"
    nothing_is_left(world, name, link)
    after = subprocess.run(["getfacl", "-pnc", world.node], capture_output=True, text=True, check=True).stdout
    assert "user:7" not in after and "mask" not in after
