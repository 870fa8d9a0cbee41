"""Devices go to a guest and come back: a drive, a graphics card with its audio function, refusals, and who may open what."""
import pytest

from passed import (CARD, DRIVE_A, DRIVE_B, NVME, SOUND, block, group_node, in_guest, is_back, label_of, make_bootable,
                    open_entries, snapshot)


@pytest.fixture(scope="module")
def kept():
    """For what is done once for all tests here."""
    return {}


@pytest.fixture
def host(world, kept):
    """vored runs; the second drive boots the bare-metal guest; `kept["before"]` is sysfs before any VM."""
    if not kept:
        make_bootable(world.l1, DRIVE_B, "nvme-b")
        world.start_vored()
        kept["before"] = snapshot(world.l1)
    return world


@pytest.fixture
def before(host, kept):
    return kept["before"]


# --- a drive ---

@pytest.fixture
def drive(host, kept):
    """A VM that boots from the second of two equal drives."""
    if not host.listed("drive") or host.listed("drive")["state"] != "running":
        kept["drive"] = host.boot("drive", disks=[], vfio=[{**NVME, "index": 1}])
    return kept["drive"]


def test_guest_boots_from_the_second_drive(drive):
    l1 = drive.l1
    assert [l1.driver(a) for a in (DRIVE_A, DRIVE_B)] == ["nvme", "vfio-pci"]
    assert drive.report()["label"] == "nvme-b"
    assert len(in_guest(drive, **NVME)) == 1
    shown = drive.world.vore("show", "drive", "--json").ok().json["vfio"]
    assert [d["address"] for d in shown] == [DRIVE_B]
    assert drive.l1.run("ls /dev/nvme?n1").out.split() == [block(l1, DRIVE_A)]


def test_devices_says_who_has_it(drive):
    devices = {d["address"]: d for d in drive.world.vore("devices", "--json").ok().json}
    assert devices[DRIVE_B]["used_by"] == "drive" and devices[DRIVE_B]["driver"] == "vfio-pci"
    assert devices[DRIVE_A]["used_by"] is None


def test_qemu_has_this_group_and_no_rights(drive):
    status, node = drive.status(), group_node(drive.l1, DRIVE_B)
    uid = status["Uid"].split()[0]
    assert 70000 <= int(uid) <= 70999 and set(status["Uid"].split()) == {uid}
    assert "0" not in status["Gid"].split() + status["Groups"].split()
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[kind], 16) == 0, kind
    listed = drive.l1.out(f"getfacl -nacp {node}").split()
    assert f"user:{uid}:rw-" in listed and [e for e in listed if e.startswith("user:")] == ["user::rw-", f"user:{uid}:rw-"]
    assert "other::---" in listed
    assert drive.l1.out(f"readlink /proc/{drive.pid}/fd/* | grep ^/dev/vfio/ | sort -u").split() == [node, "/dev/vfio/vfio"]


def test_its_memory_may_be_locked(drive):
    assert int(drive.status()["VmLck"].split()[0]) >= 64 << 10, "KiB: all of it is pinned for the device"
    assert int(drive.l1.out(f"grep 'Max locked memory' /proc/{drive.pid}/limits").split()[3]) >= (64 << 20) + (1 << 30)


def open_as(l1, uid, path):
    """The name of the error when somebody opens it, or "OK"."""
    program = f"import errno,os\ntry: os.open('{path}', os.O_RDWR); print('OK')\nexcept OSError as e: print(errno.errorcode[e.errno])"
    return l1.out(["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--", "python3", "-c", program])


def test_nobody_else_opens_the_group(drive):
    l1, node = drive.l1, group_node(drive.l1, DRIVE_B)
    other = drive.world.boot("other")
    uid = other.status()["Uid"].split()[0]
    assert uid != drive.status()["Uid"].split()[0]
    assert open_as(l1, uid, node) == "EACCES"
    assert open_as(l1, 0, node) == "EBUSY"
    assert open_as(l1, drive.status()["Uid"].split()[0], "/root/other.img") == "EACCES"
    other.world.vore("kill", "other").ok()


def test_device_of_a_running_vm(drive):
    now = snapshot(drive.l1)
    drive.world.vore("boot", drive.world.define("second", vfio=[{**NVME, "index": 1}])).failed(1, DRIVE_B, "drive")
    is_back(drive.l1, now)
    assert drive.entry["state"] == "running"


def test_stop_gives_it_back(drive, before):
    drive.world.vore("stop", "drive").ok()
    drive.says("power button")
    is_back(drive.l1, before)
    assert label_of(drive.l1, DRIVE_B) == "nvme-b"
    assert open_entries(drive.l1, "drive") == []


def test_never_rebound_and_no_access_list_left(host, before):
    l1 = host.l1
    guest = host.boot("stays", disks=[], vfio=[{"addr": DRIVE_B, "rebind": "never"}])
    uid, node = guest.status()["Uid"].split()[0], group_node(l1, DRIVE_B)
    host.vore("kill", "stays").ok()
    assert l1.driver(DRIVE_B) == "vfio-pci"
    assert f"user:{uid}" not in l1.out(f"getfacl -nacp {node}")
    assert open_as(l1, uid, node) == "EACCES"
    # By hand, as its user would; what else is written back is seen in test_stop_gives_it_back.
    l1.run(f"cd /sys/bus/pci/devices/{DRIVE_B} && echo >driver_override && echo {DRIVE_B} >driver/unbind && "
           f"echo {DRIVE_B} >/sys/bus/pci/drivers_probe").ok()
    assert l1.driver(DRIVE_B) == "nvme"
    l1.run(f"echo {before[DRIVE_B + '/power/control']} >/sys/bus/pci/devices/{DRIVE_B}/power/control; "
           f"echo {before[DRIVE_B + '/d3cold_allowed']} >/sys/bus/pci/devices/{DRIVE_B}/d3cold_allowed").ok()
    is_back(l1, before)


# --- a graphics card and its audio function; the minimal file for Looking Glass ---

CARD_KEYS = {"vendor": 0x1234, "device": 0x1111, "graphics": True}


def test_card_without_its_group(host, before):
    path = host.define("card", vfio=[CARD_KEYS])
    host.vore("boot", path).failed(1, CARD, SOUND, "snd_hda_intel", "group = true")
    is_back(host.l1, before)


def test_card_with_its_group(host, before):
    guest = host.boot("card", vfio=[{**CARD_KEYS, "group": True}], machine={"features": ["looking-glass"]})
    assert [host.l1.driver(a) for a in (CARD, SOUND)] == ["vfio-pci", "vfio-pci"]
    (card,), sounds = in_guest(guest, vendor=0x1234), in_guest(guest, vendor=0x8086, device=0x293e)
    assert card[-1] == "0" and card[:-1] + "1" in sounds and len(sounds) == 2, "SPICE has one of its own"
    assert in_guest(guest, vendor=0x1234) == [card], "there is no adapter of QEMU's beside it"
    memory = next(d for d in guest.report()["pci"] if (d["vendor"], d["device"]) == (0x1af4, 0x1110))
    assert memory["bars"][2] == 32 << 20 == int(host.l1.out("stat -c %s /dev/shm/vore/card/looking-glass"))
    host.vore("stop", "card").ok()
    is_back(host.l1, before)
    assert not host.l1.out("ls /dev/shm/vore").split()
    assert [host.l1.driver(a) for a in (CARD, SOUND)] == ["bochs-drm", "snd_hda_intel"]
    host.l1.until("test -c /dev/dri/card0 && test -c /dev/snd/controlC0")


# --- refusals ---

REFUSED = {
    "ids-and-address": ([{"addr": SOUND, **NVME}], ["1b36:0010", SOUND, DRIVE_A, DRIVE_B]),
    "one-at-another-place": ([{"addr": DRIVE_A, "vendor": 0x8086, "device": 0x293e}], [SOUND, "addr"]),
    "index": ([{**NVME, "index": 2}], [DRIVE_A, DRIVE_B, "index"]),
    "nothing-there": ([{"addr": "0000:1f:00.0"}], ["no device at 0000:1f:00.0", "vore devices"]),
    "no-such-ids": ([{"vendor": 0x1b36, "device": 0x7777}], ["1b36:7777"]),
    "twice": ([{"addr": DRIVE_A}, {"addr": DRIVE_A}], ["same device", "vfio[0]"]),
    "twice-differently": ([{**NVME, "index": 0}, {"addr": DRIVE_A}], [DRIVE_A]),
    "bridge": ([{"addr": "0000:00:10.0"}], ["bridge"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(host, before, name):
    vfio, words = REFUSED[name]
    host.vore("boot", host.define("refused", vfio=vfio)).failed(1, *words)
    is_back(host.l1, before)


def test_controller_of_a_mounted_disk(host, before):
    l1, drive = host.l1, block(host.l1, DRIVE_A)
    l1.run(f"mkfs.ext4 -q {drive} && mkdir -p /mnt/data && mount {drive} /mnt/data").ok()
    path = host.define("mounted", vfio=[{**NVME, "index": 0}])
    host.vore("boot", path).failed(1, DRIVE_A, "/mnt/data", "force = true")
    is_back(l1, before)
    l1.run("umount /mnt/data").ok()


# --- again and again ---

def daemon(l1):
    """What could grow: descriptors and memory of vored, access lists, journals."""
    pid = l1.read("/run/lab/vored.pid").strip()
    l1.until(f"! pgrep -P {pid}")  # workers outlive their answers a little
    rss = int(l1.out(f"grep VmRSS /proc/{pid}/status").split()[1])
    return {"descriptors": int(l1.out(f"ls /proc/{pid}/fd | wc -l")),
            "entries": open_entries(l1, "soak"), "lists": l1.out("getfacl -nsRp /dev 2>/dev/null")}, rss


@pytest.mark.parametrize("rounds", [10, pytest.param(50, marks=pytest.mark.long)])
def test_soak(host, before, rounds):
    """Every fifth round its QEMU is killed."""
    l1, keys = host.l1, {"disks": [], "vfio": [{**NVME, "index": 1}]}
    host.vore("boot", host.define("soak", **keys)).ok()
    host.vore("kill", "soak").ok()
    first, first_rss = daemon(l1)
    for number in range(rounds):
        host.vore("start", "soak").ok()
        if number % 5 == 4:
            l1.run(f"kill -9 {host.listed('soak')['pid']}").ok()
            l1.until("vore list | grep -q '^soak.failed'")
        else:
            host.vore("kill", "soak").ok()
        is_back(l1, before)
    # The last client's connection is closed when vored sees that it is gone.
    l1.until(f"[ $(ls /proc/$(cat /run/lab/vored.pid)/fd | wc -l) -le {first['descriptors']} ]")
    last, last_rss = daemon(l1)
    assert last == first
    assert last_rss <= first_rss + 1024, "KiB"
    host.vore("unload", "soak").ok()
