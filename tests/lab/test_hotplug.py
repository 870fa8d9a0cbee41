"""Devices come to guests that run, and go: with a Linux that lets go, with a guest that knows nothing of it, with a QEMU
that does not do as it should, and with a vored that is killed on the way."""
import json
import re
import subprocess

import pytest

import linux
from l1 import BUILD, EMPTY, GRAPHICS, NVME_A, NVME_B, ROOT, Host
from passed import CARD, DRIVE_A, DRIVE_B, SOUND, block, group_node, is_back, open_entries, snapshot

HOST = Host(slots=[NVME_A, NVME_B, GRAPHICS, EMPTY])
NO_VORED = "! kill -0 $(cat /run/lab/vored.pid)"


def points():
    """As vored itself lists them; a build without test hooks has none."""
    listed = subprocess.run([BUILD / "vored", "--list-test-kills"], capture_output=True, text=True)
    of_these = ("attach:", "detach:", "undo:device:", "undo:acl:")
    return [p for p in listed.stdout.split() if p.startswith(of_these)] if listed.returncode == 0 else []


# Around what is done to the device, and to QEMU; all others only with --long.
CLOSE = ["attach:record:after", "attach:bind:after", "attach:add:before", "attach:add:after", "detach:wait:before",
         "detach:return:before", "undo:device:after"]


def close_or_long(values):
    return [v if v in CLOSE else pytest.param(v, marks=pytest.mark.long) for v in values]


@pytest.fixture(scope="module")
def kept():
    return {}


@pytest.fixture
def host(world, kept):
    if not kept:
        kept["settings"] = linux.install(world.l1)
        world.start_vored(kept["settings"])
        kept["before"] = snapshot(world.l1)
    elif world.l1.run(NO_VORED).status == 0:  # after a failure
        world.start_vored(kept["settings"])
    return world


@pytest.fixture
def before(host, kept):
    return kept["before"]


@pytest.fixture
def guest(host, kept):
    """One that runs for all tests, with nothing attached."""
    if "linux" not in kept or kept["linux"].entry["state"] != "running":
        kept["linux"] = linux.boot(host)
        kept["entries"] = open_entries(host.l1, "linux")
    for device in attached(host, "linux"):
        host.vore("detach", device, "linux")
    return kept["linux"]


def attached(world, name):
    """As show tells, with the origin of each."""
    shown = world.vore("show", name, "--json", "--origin").ok().json["vfio"]
    assert all(d["attached"]["value"] == (d["address"]["origin"] == "attached") for d in shown)
    return [d["address"]["value"] for d in shown if d["attached"]["value"]]


def used_by(world):
    return {d["address"]: d["used_by"] for d in world.vore("devices", "--json").ok().json if d["used_by"]}


def limit(guest):
    """Bytes that its QEMU may lock."""
    return int(guest.l1.out(f"grep 'Max locked memory' /proc/{guest.pid}/limits").split()[3])


def seen_in(guest):
    """The PCI devices that Linux told last: {address: ids}."""
    line = guest.l1.out(f"grep -E '^pci:.*\\.[[:space:]]*$' {guest.log} | tail -n 1").rstrip("\r.")
    return {place: vendor + device for place, vendor, device in re.findall(r"(\S+)=0x(\w+:)0x(\w+)", line)}


# --- a guest that knows it ---

def test_comes_and_goes_three_times(guest, before, kept):
    l1, world = guest.l1, guest.world
    assert limit(guest) < 256 << 20
    for number in (1, 2, 3):
        answer = world.vore("attach", DRIVE_B[5:], "linux", "--json").ok().json
        guest.says(f"drive {number} comes: VORE-LAB nvme-b.")
        assert answer["devices"] == [DRIVE_B] and answer["state"] == "running"
        assert [s["name"] for s in answer["steps"]] == ["plan", "port", "claim", "memory", "access", "plug"]
        assert l1.driver(DRIVE_B) == "vfio-pci"
        assert attached(world, "linux") == [DRIVE_B] and used_by(world) == {DRIVE_B: "linux"}
        assert limit(guest) >= (256 << 20) + (1 << 30)
        again = world.vore("attach", DRIVE_B, "linux").ok()
        assert "already" in again.err and again.out == ""
        node, uid = group_node(l1, DRIVE_B), guest.status()["Uid"].split()[0]
        assert f"user:{uid}:rw-" in l1.out(f"getfacl -nacp {node}").split()
        result = world.vore("detach", DRIVE_B, "linux").ok()
        assert re.fullmatch(rf"{DRIVE_B} is detached from linux \(.*\)\n", result.out), result
        guest.says(f"drive {number} goes.")
        is_back(l1, before)
        block(l1, DRIVE_B)
        assert attached(world, "linux") == [] and used_by(world) == {}
        assert open_entries(l1, "linux") == kept["entries"]


def test_functions_of_a_slot(guest, before):
    l1, world = guest.l1, guest.world
    world.vore("attach", CARD, "linux").failed(1, CARD, SOUND, "snd_hda_intel", "--group attaches all")
    is_back(l1, before)
    assert world.vore("attach", SOUND, "linux", "--group", "--json").ok().json["devices"] == [SOUND, CARD]
    l1.until(rf"grep -qE '^pci:.*=0x1234:0x1111 .*=0x8086:0x293e.*\.[[:space:]]*$' {guest.log}")  # one whole line
    places = {ids: place for place, ids in seen_in(guest).items()}
    card, sound = places["1234:1111"], places["8086:293e"]
    assert card[:-1] == sound[:-1] and (card[-1], sound[-1]) == ("0", "1")
    result = world.vore("detach", CARD, "linux", "--json").ok()
    assert set(result.json["devices"]) == {CARD, SOUND}
    is_back(l1, before)
    assert [l1.driver(a) for a in (CARD, SOUND)] == ["bochs-drm", "snd_hda_intel"]


def test_ports_are_not_endless(guest, before):
    world = guest.world
    world.vore("attach", DRIVE_A, "linux").ok()
    world.vore("attach", DRIVE_B, "linux").ok()
    world.vore("attach", CARD, "linux", "--group").failed(1, "2 root ports", "hotplug-ports", "vore detach")
    assert world.l1.driver(CARD) == "bochs-drm"
    for drive in (DRIVE_A, DRIVE_B):
        world.vore("detach", drive, "linux").ok()
    is_back(world.l1, before)


def test_what_the_host_uses(guest, before):
    l1, world, drive = guest.l1, guest.world, block(guest.l1, DRIVE_A)
    l1.run(f"mkfs.ext4 -q {drive} && mkdir -p /mnt/data && mount {drive} /mnt/data").ok()
    world.vore("attach", DRIVE_A, "linux").failed(1, DRIVE_A, "/mnt/data", "--force")
    l1.run("umount /mnt/data").ok()
    l1.run(f"sleep 1000 <{drive} >/dev/null 2>&1 & echo $! >/run/lab/sleep").ok()
    world.vore("attach", DRIVE_A, "linux").failed(1, DRIVE_A, "sleep", "--force")
    l1.run("kill $(cat /run/lab/sleep)").ok()
    is_back(l1, before)


def test_what_is_no_device(guest):
    world = guest.world
    world.vore("attach", "1f:00.0", "linux").failed(1, "no device at 0000:1f:00.0")
    world.vore("attach", "00:10.0", "linux").failed(1, "bridge")
    world.vore("attach", "046d:c52b", "linux").failed(1, "USB", "not supported by this version")
    world.vore("attach", DRIVE_B, "linux", "--keep").failed(1, "--keep is for USB")
    world.vore("detach", DRIVE_B, "linux").failed(1, DRIVE_B, "not attached")


# --- vored is killed on the way ---

@pytest.mark.parametrize("point", close_or_long(points()))
def test_vored_killed_at(guest, before, kept, point):
    """The next one knows what the guest has, and gives back what it has not."""
    world, l1, pid = guest.world, guest.l1, guest.pid
    world.end_vored()
    world.start_vored(kept["settings"], VORE_TEST_KILL=point)
    if world.vore("attach", DRIVE_B, "linux").status == 0:
        world.vore("detach", DRIVE_B, "linux")
    l1.until(NO_VORED, 20)
    world.start_vored(kept["settings"])
    entry = world.listed("linux")
    assert (entry["state"], entry["pid"]) == ("running", pid)
    if attached(world, "linux"):
        assert l1.driver(DRIVE_B) == "vfio-pci" and used_by(world) == {DRIVE_B: "linux"}
        world.vore("detach", DRIVE_B, "linux").ok()
    is_back(l1, before)
    assert used_by(world) == {} and open_entries(l1, "linux") == kept["entries"]
    assert json.loads(l1.read("/run/vore/vm/linux/state.json"))["attached"] == []


def test_it_was_attached_by_another_vored(guest, before, kept):
    world = guest.world
    world.vore("attach", DRIVE_B, "linux").ok()
    world.end_vored("KILL")
    world.start_vored(kept["settings"])
    assert attached(world, "linux") == [DRIVE_B]
    world.vore("attach", DRIVE_B, "linux").ok()
    world.vore("detach", DRIVE_B, "linux").ok()
    is_back(world.l1, before)


def test_qemu_killed_while_attached(guest, before):
    """The last test of this guest."""
    l1, world = guest.l1, guest.world
    world.vore("attach", DRIVE_B, "linux").ok()
    world.vore("attach", CARD, "linux", "--group").ok()
    l1.run(f"kill -9 {guest.pid}").ok()
    l1.until("vore list | grep -q '^linux.failed'")
    is_back(l1, before)
    assert open_entries(l1, "linux") == [] and used_by(world) == {}


# --- a guest that does not ---

def test_guest_that_ignores_it(host, before):
    l1 = host.l1
    guest = host.boot("bare", machine={"hotplug-ports": 1})
    host.vore("attach", DRIVE_B, "bare").ok()
    host.vore("detach", DRIVE_B, "bare", "--timeout", "2").failed(1, f"did not let go of {DRIVE_B} within 2 s", "vore reset")
    assert guest.entry["state"] == "running" and l1.driver(DRIVE_B) == "vfio-pci"
    assert attached(host, "bare") == [DRIVE_B] and used_by(host) == {DRIVE_B: "bare"}
    l1.run(f"kill -0 {guest.pid}").ok()
    host.vore("detach", DRIVE_B, "bare", "--timeout", "1").failed(1, "did not let go")
    host.vore("reset", "bare").ok()
    l1.until("! vore show bare --json | grep -q '\"attached\": *true'", 60)
    is_back(l1, before)
    host.vore("attach", DRIVE_B, "bare").ok()
    host.vore("reset", "bare").ok()  # what it was not asked to let go of it keeps
    guest.says("ready")
    assert attached(host, "bare") == [DRIVE_B]
    host.vore("kill", "bare").ok()
    is_back(l1, before)
    assert open_entries(l1, "bare") == []


# --- a QEMU that does not do as it should ---

@pytest.fixture
def fake(host, kept):
    """Makes VMs whose QEMU is the tests' own, with these faults."""
    l1 = host.l1
    binary = "/run/lab/fake-qemu"
    l1.run(["cp", ROOT / "tests/fake/fake-qemu", binary]).ok()
    host.end_vored()
    host.start_vored(f'[qemu]\nbinary = "{binary}"\n')

    def boot(**faults):
        l1.write(f"{binary}.json", json.dumps(faults))
        host.vore("boot", host.define("fake", disks=[])).ok()
        return host
    yield boot
    host.vore("kill", "fake")
    host.end_vored()
    host.start_vored(kept["settings"])


def test_qemu_refuses_the_device(fake, before):
    world = fake(refuse={"device_add": "no flux"})
    world.vore("attach", CARD, "fake", "--group").failed(1, f"does not take {SOUND}", "no flux")
    is_back(world.l1, before)
    assert attached(world, "fake") == [] and world.listed("fake")["state"] == "running"


@pytest.mark.parametrize("command", ["device_add", "device_del"])
def test_qemu_dies_on_the_way(fake, before, command):
    world = fake(die=command, how="kill")
    if world.vore("attach", DRIVE_B, "fake").status == 0:
        world.vore("detach", DRIVE_B, "fake").failed(1, "ended meanwhile", "signal 9")
    assert world.listed("fake")["state"] == "failed"
    is_back(world.l1, before)
    assert open_entries(world.l1, "fake") == []


def test_killed_while_the_guest_is_asked(fake, before):
    world = fake(unplug="never")
    l1 = world.l1
    world.vore("attach", DRIVE_B, "fake").ok()
    waiting = l1.spawn("vore detach " + DRIVE_B + " fake")
    l1.until("vore logs fake | grep -q 'vored: detach '")
    world.vore("pause", "fake").failed(1, "busy: detach")
    world.vore("kill", "fake").ok()
    waiting().failed(1, "ended meanwhile")
    is_back(l1, before)


@pytest.mark.long
@pytest.mark.parametrize("point", points())
def test_both_killed_at(fake, before, point):
    world = fake()
    l1, pid = world.l1, world.listed("fake")["pid"]
    settings = l1.read("/etc/vore/vored.toml")
    world.end_vored()
    world.start_vored(settings, VORE_TEST_KILL=point)
    if world.vore("attach", DRIVE_B, "fake").status == 0:
        world.vore("detach", DRIVE_B, "fake")
    l1.until(NO_VORED, 20)
    l1.run(f"kill -9 {pid}").ok()
    world.start_vored(settings)
    assert world.listed("fake")["state"] == "failed"
    is_back(l1, before)
    assert open_entries(l1, "fake") == [] and used_by(world) == {}
