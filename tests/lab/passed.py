"""Devices that go to a guest and come back, as L1's sysfs shows them."""
import json
import shlex

from world import BUILD

NVME = {"vendor": 0x1b36, "device": 0x0010}
DRIVE_A, DRIVE_B, CARD, SOUND = "0000:01:00.0", "0000:02:00.0", "0000:03:00.0", "0000:03:00.1"
DEVICES = "/sys/bus/pci/devices"
STATE = ["driver_override", "power/control", "d3cold_allowed", "reset_method"]  # what a claim writes


def snapshot(l1):
    """Everything about PCI devices that somebody could have written, and their drivers: {"ADDRESS/FILE": text}."""
    files = " ".join(f"*/{name}" for name in STATE)
    lines = l1.out(f"cd {DEVICES} && grep -s '' {files}; stat -c %N */driver").splitlines()
    return dict(line.split(" -> ") if " -> " in line else line.rsplit(":", 1) for line in lines)


def is_back(l1, before):
    """All as in the snapshot?"""
    now = snapshot(l1)
    changed = {key: (before.get(key), now.get(key)) for key in before.keys() | now.keys() if before.get(key) != now.get(key)}
    assert not changed, f"not as before (was, is): {changed}"


def block(l1, address):
    """The whole disk of an NVMe drive, when the host has it; the kernel looks for it after the driver is bound."""
    pattern = f"{DEVICES}/{address}/nvme/nvme*/nvme*n1"
    l1.until(f"[ -b /dev/$(basename $(readlink -f {pattern})) ]")
    return "/dev/" + l1.out(f"basename $(readlink -f {pattern})")


def make_bootable(l1, address, label):
    """The bare-metal guest on the drive; its report shows the label."""
    words = f"VORE-LABEL:{label:12}"
    l1.run(f"sed 's/VORE-LABEL:disk        /{words}/' {shlex.quote(str(BUILD / 'tests/guest/guest.img'))} "
           f">{block(l1, address)} && sync").ok()


def label_of(l1, address):
    """What the host reads there, past its caches."""
    drive = block(l1, address)
    return l1.out(f"blockdev --flushbufs {drive}; head -c 1M {drive} | grep -aom1 'VORE-LABEL:[a-z0-9-]*'").split(":")[1]


def group_node(l1, address):
    return "/dev/vfio/" + l1.out(f"basename $(readlink {DEVICES}/{address}/iommu_group)")


def in_guest(guest, **ids):
    """The places in the guest of the devices with these ids."""
    return [d["address"] for d in guest.report()["pci"] if all(d[key] == value for key, value in ids.items())]


def open_entries(l1, name):
    """What vored's journal says is still to be undone for a VM."""
    path = f"/run/vore/vm/{name}/journal"
    lines = [json.loads(line) for line in l1.run(["cat", path]).out.splitlines()]
    struck = {line["strike"] for line in lines if "strike" in line}
    return [line for line in lines if "add" in line and line["add"] not in struck]
