"""vored is killed at every step and undo of a VM with two drives: the next one has the drives back where they were, and
knows the VM. Then the same for drives that were somewhere else before."""
import subprocess

import pytest

from l1 import BUILD
from passed import DEVICES, DRIVE_A, DRIVE_B, NVME, is_back, make_bootable, open_entries, snapshot
from world import Guest

# Those at which something happens to devices, or to what has them; all others only with --long.
CLOSE = ("start:claim:", "start:bind:", "start:access:", "start:spawn:", "start:record:", "start:exec:", "start:run:",
         "stop:exit:", "undo:device:", "undo:acl:")


def points():
    """As vored itself lists them; a build without test hooks has none."""
    listed = subprocess.run([BUILD / "vored", "--list-test-kills"], capture_output=True, text=True)
    points = listed.stdout.split() if listed.returncode == 0 else []
    # vfio_reserve has the first two; then of devices that come and go while it runs; this VM is no client of JACK.
    return [p for p in points if not p.startswith(("reserve:", "release:", "attach:", "detach:", "undo:jack:"))]


def long_unless(wanted, values):
    return [v if wanted(v) else pytest.param(v, marks=pytest.mark.long) for v in values]


def test_there_are_points():
    if not points():
        pytest.skip("this build has no test hooks")
    assert {"start:claim:before", "start:bind:after", "undo:device:before", "undo:device:after"} <= set(points())


@pytest.fixture(scope="module")
def kept():
    return {}


@pytest.fixture
def saved(world, kept):
    """A saved VM, not running, and no vored; `kept["before"]` is sysfs then."""
    if not kept:
        for address in (DRIVE_A, DRIVE_B):  # the firmware begins with the one that is ready first
            make_bootable(world.l1, address, "drive")
        world.start_vored()
        path = world.define("vm", disks=[], vfio=[{**NVME, "index": 1}, {**NVME, "index": 0}],
                            machine={"features": ["spice", "scream"]}, spice={"socket-path": "/run/lab/spice.link"})
        world.vore("boot", path, "--save", seconds=120).ok()
        world.vore("kill", "vm").ok()
        world.end_vored()
        world.l1.run("modprobe pci-stub").ok()
        kept["before"] = snapshot(world.l1)
    yield world
    if world.l1.run("kill -0 $(cat /run/lab/vored.pid)").status == 0:  # after a failure
        world.vore("kill", "vm")
        world.end_vored("KILL")


def provoke(world, point):
    """A life of the VM, in which vored is killed."""
    if world.vore("start", "vm").status == 0:
        if point.startswith("stop:"):
            guest = Guest(world, "vm").listen()
            guest.says("ready")  # before that it does not feel the button
            world.vore("stop", "vm")
        else:
            world.vore("kill", "vm")
    world.l1.until("! kill -0 $(cat /run/lab/vored.pid)")


def recover(world, before):
    """The next vored finds everything, and ends it if it still runs."""
    world.start_vored()
    world.l1.until("! vore list | grep -qE '^vm.(starting|stopping)'")
    entry = world.listed("vm")
    if entry["state"] in ("running", "paused"):
        assert world.l1.run(f"kill -0 {entry['pid']}").status == 0
        world.vore("kill", "vm").ok()
    else:
        assert entry["state"] in ("loaded", "stopped", "failed") and entry["pid"] is None, entry
        assert entry["state"] != "failed" or entry["reason"]
    is_back(world.l1, before)
    assert open_entries(world.l1, "vm") == []
    world.l1.until("! pgrep qemu-system")
    world.end_vored()


@pytest.mark.parametrize("point", long_unless(lambda p: p.startswith(CLOSE), points()))
def test_killed_at(saved, kept, point):
    saved.start_vored(VORE_TEST_KILL=point)
    provoke(saved, point)
    recover(saved, kept["before"])


@pytest.mark.parametrize("seconds", long_unless(lambda s: s in (0.6, 1.2), [0.3, 0.6, 0.9, 1.2, 1.5]))
def test_killed_at_any_time(saved, kept, seconds):
    saved.start_vored()
    saved.l1.run(f"vore start vm & sleep {seconds}; kill -9 $(cat /run/lab/vored.pid); wait").ok()
    recover(saved, kept["before"])


# --- drives that were not with nvme, or not by the kernel's choice ---

LEAVE = f"echo {DRIVE_B} >{DEVICES}/{DRIVE_B}/driver/unbind"
ELSEWHERE = {
    "unbound": LEAVE,
    "own-override": f"echo nvme >{DEVICES}/{DRIVE_B}/driver_override",
    "kept-unbound": f"echo none >{DEVICES}/{DRIVE_B}/driver_override; {LEAVE}",
    "not-the-first-choice": f"echo pci-stub >{DEVICES}/{DRIVE_B}/driver_override; {LEAVE}; "
                            f"echo {DRIVE_B} >/sys/bus/pci/drivers/pci-stub/bind; echo >{DEVICES}/{DRIVE_B}/driver_override",
}


@pytest.fixture
def moved_back(saved, kept):
    """The second drive is with nvme again, and all is as before, for the next test."""
    yield
    saved.l1.run(f"echo nvme >{DEVICES}/{DRIVE_B}/driver_override; [ ! -e {DEVICES}/{DRIVE_B}/driver ] || {LEAVE}; "
                 f"echo {DRIVE_B} >/sys/bus/pci/drivers/nvme/bind; echo >{DEVICES}/{DRIVE_B}/driver_override").ok()
    is_back(saved.l1, kept["before"])


@pytest.mark.parametrize("point", long_unless(lambda p: p in ("start:bind:after", "undo:device:after"), [
    "start:claim:before", "start:claim:after", "start:bind:before", "start:bind:after", "start:run:after",
    "stop:exit:after", "undo:device:before", "undo:device:after"]))
@pytest.mark.parametrize("where", ELSEWHERE)
def test_from_elsewhere(saved, kept, moved_back, where, point):
    l1 = saved.l1
    l1.run(ELSEWHERE[where]).ok()
    moved = snapshot(l1)
    assert moved != kept["before"]
    saved.start_vored(VORE_TEST_KILL=point)
    provoke(saved, point)
    recover(saved, moved)
