"""What stands in a device's way: a process that has it open, and a driver that never lets go."""
import time

import pytest

from l1 import HERE
from passed import CARD, DRIVE_B, NVME, SOUND, is_back, snapshot
from world import World

CARD_AND_SOUND = {"addr": CARD, "graphics": True, "group": True}
DRIVE = {**NVME, "index": 1}
SECONDS = 15  # vored's patience: shorter than a test's, longer than a busy machine needs


@pytest.fixture(scope="module")
def kept():
    return {}


@pytest.fixture
def host(world, kept):
    """vored with little patience runs, and a VM without devices."""
    if not kept:
        world.start_vored(f"[vfio]\ntimeout = {SECONDS}\n")
        kept["free"] = world.boot("free")
    return world


@pytest.fixture
def holder(host):
    """Somebody who has the card's node open: a pid."""
    pid = host.l1.out("sleep 1000 <>/dev/dri/card0 >/dev/null 2>&1 & echo $!")
    yield pid
    host.l1.run(f"kill {pid}")


def test_open_graphics_node(host, holder):
    before = snapshot(host.l1)
    host.vore("boot", host.define("card", vfio=[CARD_AND_SOUND])).failed(1, CARD, "sleep", f"pid {holder}", "/dev/dri/card0")
    is_back(host.l1, before)


def test_open_audio_node(host):
    before, pid = snapshot(host.l1), host.l1.out("sleep 1000 </dev/snd/controlC0 >/dev/null 2>&1 & echo $!")
    host.vore("boot", host.define("card", vfio=[CARD_AND_SOUND])).failed(1, SOUND, f"sleep (pid {pid})", "/dev/snd/controlC0")
    host.l1.run(f"kill {pid}").ok()
    is_back(host.l1, before)


def test_force_takes_it_all_the_same(host, holder):
    before = snapshot(host.l1)
    host.boot("card", vfio=[{**CARD_AND_SOUND, "force": True}])
    host.vore("kill", "card").ok()
    is_back(host.l1, before)


UNBIND = "/sys/bus/pci/drivers/nvme/unbind"


def hang(l1, error=""):
    """From now on no device leaves the driver nvme: who tries stays, or gets this error. Gives its pid."""
    l1.run("modprobe fuse").ok()
    pid = l1.out(f"python3 {HERE}/hang.py {UNBIND} {error} >/run/lab/hang 2>&1 </dev/null & echo $!")
    l1.until("grep -q ready /run/lab/hang")
    return pid


def test_unbind_that_times_out_by_itself(host):
    """A driver's own timeout is an error like any other: nothing hangs, and the device is not set aside."""
    l1, before = host.l1, snapshot(host.l1)
    path, pid = host.define("slow", disks=[], vfio=[DRIVE]), hang(host.l1, "ETIMEDOUT")
    told = host.vore("boot", path).failed(1, DRIVE_B, "timed out").err
    assert "stuck" not in told
    l1.run(f"umount {UNBIND} && kill {pid}").ok()
    is_back(l1, before)
    host.vore("start", "slow").ok()
    host.vore("kill", "slow").ok()
    is_back(l1, before)


# --- an unbind that never returns; nothing behind this gets the drives ---


def undead(l1):
    """The pids of processes in state D that were told to die (signal 9)."""
    lines = l1.run("grep -sE '^(State|SigPnd):' /proc/[0-9]*/status").out.splitlines()
    found = {kind: {line.split("/")[2] for line in lines if pattern(line)} for kind, pattern in (
        ("waits", lambda line: "State:\tD" in line),
        ("told", lambda line: "SigPnd:" in line and int(line.split()[-1], 16) & 1 << 8))}
    return found["waits"] & found["told"]


def test_unbind_that_never_returns(host, kept):
    l1 = host.l1
    path = host.define("stuck", disks=[], vfio=[DRIVE])
    hang(l1)
    begin = time.monotonic()
    booting = host.l1.spawn(["vore", "boot", path])
    l1.until("grep -q writing /run/lab/hang")
    meanwhile = float(l1.out("s=$(date +%s%N); vore list >/dev/null; e=$(date +%s%N); echo $(((e - s) / 1000000))"))
    assert l1.run("vore list | grep -q '^stuck.starting'").status == 0, "the answer did not wait for the deadline"
    booting().failed(1, f"{DRIVE_B} is stuck leaving nvme")
    assert time.monotonic() - begin < SECONDS + 60
    assert meanwhile < 1000 * SECONDS / 2, "ms"
    assert host.listed("stuck")["state"] == "failed" and f"{DRIVE_B} is stuck leaving nvme" in host.listed("stuck")["reason"]
    assert len(undead(l1)) == 1


def others_go_on(host, kept, name):
    kept["free"].tell(f"echo {name}")
    kept["free"].says(name)
    host.boot(name, vfio=[CARD_AND_SOUND])
    host.vore("kill", name).ok()
    host.vore("start", "stuck").failed(1, DRIVE_B, "stuck leaving nvme", "restart of the host")
    host.vore("devices").ok()
    assert len(undead(host.l1)) == 1, "nobody touches it again"


def test_others_go_on(host, kept):
    others_go_on(host, kept, "second")


def test_the_next_vored_remembers(host, kept):
    pid = host.listed("free")["pid"]
    host.end_vored("KILL")
    begin = time.monotonic()
    host.start_vored(f"[vfio]\ntimeout = {SECONDS}\n")
    assert time.monotonic() - begin < 60
    assert host.listed("free")["pid"] == pid and host.listed("stuck")["state"] == "failed"
    kept["free"].listen()
    others_go_on(host, kept, "third")


def test_a_restart_of_the_host_forgives(machine):
    machine.power_loss()
    machine.start()
    world = World(machine)
    world.start_vored()
    world.boot("drive", vfio=[DRIVE])
