"""Devices that saved definitions reserve: claimed when vored starts and when a definition is saved, kept while nobody uses
them, and given back."""
import time

import pytest

from passed import CARD, DEVICES, DRIVE_A, DRIVE_B, NVME, SOUND, block, is_back, make_bootable, snapshot
from test_vfio_trouble import SECONDS, hang

SECOND = {**NVME, "index": 1, "reserve": True}


@pytest.fixture(scope="module")
def kept():
    return {}


@pytest.fixture
def host(world, kept):
    """vored runs; the second drive boots the bare-metal guest; nothing is reserved before or after a test."""
    if not kept:
        make_bootable(world.l1, DRIVE_B, "nvme-b")
        kept["before"] = snapshot(world.l1)
        world.start_vored()
    yield world
    world.l1.run("umount /mnt")
    for machine in world.vore("list", "--json").json:
        world.vore("kill", machine["name"])
        world.vore("forget", machine["name"])
        world.vore("unload", machine["name"])
    world.vore("release")
    is_back(world.l1, kept["before"])


def reserved(world):
    """What vore reserve shows, {address: (state, vms)}, without claiming anything: by release of nothing."""
    return {d["address"]: (d["state"], d["vms"]) for d in world.vore("reserve", "--json").json}


def kept_file(l1):
    return l1.run("cat /run/vore/kept-devices").out


def idle(l1, address):
    return l1.driver(address) == "vfio-pci" and l1.read(f"{DEVICES}/{address}/power/control") == "auto"


def save(world, name, **keys):
    return world.vore("load", world.define(name, **keys), "--save").ok()


def test_saved_runs_forgotten(host, kept):
    l1 = host.l1
    save(host, "vm", disks=[], vfio=[SECOND])
    assert idle(l1, DRIVE_B) and l1.driver(DRIVE_A) == "nvme"
    assert reserved(host) == {DRIVE_B: ("reserved", ["vm"])}
    host.vore("start", "vm").ok()
    assert reserved(host) == {DRIVE_B: ("in use", ["vm"])}
    host.vore("release", DRIVE_B).failed(1, "vm", "vore stop vm")
    host.vore("kill", "vm").ok()
    assert idle(l1, DRIVE_B), "rebind is never for what is reserved"
    host.vore("forget", "vm").ok()
    is_back(l1, kept["before"])
    block(l1, DRIVE_B)


def test_forgotten_while_it_runs(host, kept):
    save(host, "vm", disks=[], vfio=[SECOND])
    host.vore("start", "vm").ok()
    host.vore("forget", "vm").ok()
    assert host.l1.driver(DRIVE_B) == "vfio-pci"
    host.vore("kill", "vm").ok()
    host.l1.until(f"! grep -q {DRIVE_B} /run/vore/kept-devices", 30)
    is_back(host.l1, kept["before"])


def test_saved_while_it_runs(host, kept):
    """Nothing was remembered of the drive before: its end does, for the definition, and with that it goes."""
    host.boot("vm", disks=[], vfio=[SECOND])
    host.vore("save", "vm").ok()
    host.vore("kill", "vm").ok()
    assert idle(host.l1, DRIVE_B)
    host.vore("forget", "vm").ok()
    is_back(host.l1, kept["before"])


def test_start_of_vored(host, kept):
    l1 = host.l1
    save(host, "vm", disks=[], vfio=[SECOND], machine={"auto-start": True})
    host.vore("release", DRIVE_B).ok()
    is_back(l1, kept["before"])
    host.end_vored()
    host.start_vored()
    l1.until("vore list | grep -q 'vm.running'")
    assert reserved(host) == {DRIVE_B: ("in use", ["vm"])}
    host.end_vored("KILL")
    host.start_vored()
    assert reserved(host) == {DRIVE_B: ("in use", ["vm"])}
    host.vore("kill", "vm").ok()
    assert idle(l1, DRIVE_B)
    host.vore("release").ok()
    is_back(l1, kept["before"])


def test_held_is_a_warning(host, kept):
    """The first drive is mounted; a VM without it runs; after the unmount it is taken."""
    l1 = host.l1
    drive = block(l1, DRIVE_A)
    l1.run(f"mkfs.ext4 -q {drive} && mkdir -p /mnt && mount {drive} /mnt").ok()
    for text in (save(host, "held", disks=[], vfio=[{**NVME, "index": 0, "reserve": True}]).err,
                 host.vore("list").ok().err, host.vore("devices", "--json").ok().err):
        assert "held:" in text and DRIVE_A in text and "mounted at /mnt" in text, text
    save(host, "other", machine={"auto-start": True})
    host.end_vored()
    begin = time.monotonic()
    host.start_vored("[vfio]\ntimeout = 60\n")
    assert time.monotonic() - begin < 60, "it waited for the deadline"
    l1.until("vore list | grep -q 'other.running'")
    l1.until("grep -q 'held: .*mounted at /mnt' /run/lab/vored.log")
    host.vore("reserve").failed(1, DRIVE_A, "mounted at /mnt")
    l1.run("umount /mnt").ok()
    host.vore("reserve").ok()
    assert idle(l1, DRIVE_A) and host.vore("list").ok().err == ""
    host.vore("release").ok()
    is_back(l1, kept["before"])


def test_by_hand(host, kept):
    l1 = host.l1
    host.vore("reserve", "03:00.0").ok()
    assert idle(l1, CARD) and l1.driver(SOUND) == "snd_hda_intel"
    host.end_vored("KILL")
    host.start_vored()
    assert idle(l1, CARD), "it is kept until it is released"
    assert reserved(host) == {CARD: ("reserved", [])}
    host.vore("release", CARD).ok()
    is_back(l1, kept["before"])
    host.vore("release", CARD).failed(1, CARD, "not kept")
    host.vore("reserve", "00:00.0").failed(1, "bridge")
    host.vore("reserve", "0f:00.0").failed(1, "no such device")
    host.vore("reserve", "nvme").failed(1, "no PCI address")
    holder = l1.out("sleep 1000 <>/dev/dri/card0 >/dev/null 2>&1 & echo $!")
    host.vore("reserve", CARD).failed(1, f"sleep (pid {holder})")
    l1.run(f"kill {holder}").ok()
    is_back(l1, kept["before"])


def test_never_is_remembered(host, kept):
    """rebind = "never" without reserve: it stays, asleep, and release knows what it was."""
    l1 = host.l1
    host.boot("vm", disks=[], vfio=[{**NVME, "index": 1, "rebind": "never"}])
    host.vore("kill", "vm").ok()
    assert idle(l1, DRIVE_B)
    host.vore("release", DRIVE_B).ok()
    is_back(l1, kept["before"])


def test_stop_wins(host, kept):
    """Prepared before it starts, as it is, it is claimed twice."""
    l1 = host.l1
    save(host, "vm", disks=[], vfio=[{**SECOND, "rebind": "stop"}])
    assert idle(l1, DRIVE_B)
    host.vore("prepare", "vm").ok()
    host.vore("start", "vm").ok()
    host.vore("kill", "vm").ok()
    is_back(l1, kept["before"])


def test_group_is_reserved_whole(host, kept):
    l1 = host.l1
    save(host, "card", vfio=[{"addr": CARD, "graphics": True, "group": True, "reserve": True}])
    assert idle(l1, CARD) and idle(l1, SOUND)
    save(host, "card", vfio=[{"addr": CARD, "graphics": True, "group": True}])
    is_back(l1, kept["before"])


@pytest.mark.parametrize("point", ["reserve:bind:before", "reserve:bind:after", "release:restore:before",
                                   "release:restore:after"])
def test_killed_at(host, kept, point):
    """Whoever comes next has it right: reserved if somebody wants it, with the host if nobody does."""
    l1 = host.l1
    save(host, "vm", disks=[], vfio=[SECOND])
    host.end_vored()
    host.start_vored(wait=point.startswith("release"), VORE_TEST_KILL=point)
    if point.startswith("release"):
        host.vore("forget", "vm")
    l1.until("! kill -0 $(cat /run/lab/vored.pid) 2>/dev/null")
    host.start_vored()
    if point.startswith("release"):
        l1.until(f"[ $(basename $(readlink {DEVICES}/{DRIVE_B}/driver)) = nvme ] && ! grep -q {DRIVE_B} /run/vore/kept-devices")
    else:
        l1.until("vore reserve | grep -q reserved")
        assert idle(l1, DRIVE_B)
        host.vore("forget", "vm").ok()
    is_back(l1, kept["before"])


# --- a driver that never lets go; nothing behind this gets a drive ---

def test_stuck_is_a_warning(world, kept):
    """vored answers meanwhile, says so at the deadline, and the next one remembers it."""
    l1, path = world.l1, world.define("stuck", disks=[], vfio=[SECOND])
    world.end_vored()
    world.start_vored(f"[vfio]\ntimeout = {SECONDS}\n")
    hang(l1)
    saving = l1.spawn(["vore", "load", path, "--save"])
    l1.until("grep -q writing /run/lab/hang", 60)
    assert world.listed("stuck")["state"] == "loaded", "the answer did not wait for the deadline"
    assert f"{DRIVE_B} is not reserved: it is stuck leaving nvme" in saving().ok().err
    world.boot("free")
    world.vore("kill", "free").ok()
    world.end_vored("KILL")
    world.start_vored(f"[vfio]\ntimeout = {SECONDS}\n")
    world.vore("reserve").failed(1, DRIVE_B, "stuck leaving nvme", "restart of the host")
    world.vore("release", DRIVE_B).failed(1, "stuck")
    world.boot("free")
