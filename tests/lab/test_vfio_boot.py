"""Reserved devices over a reboot of the host, with systemd and udev: vored takes them before the display manager starts, and
with the rule of the boot no other driver ever has them. Then the same on a host whose drives have moved."""
import dataclasses
import re

import pytest

from kernel import get_kernel
from l1 import EMPTY, NVME_A, NVME_B, USB, Host
from passed import DRIVE_A, DRIVE_B, NVME, make_bootable
from world import World

LATER = ["bochs", "snd_hda_intel", "xhci_pci", "usbhid", "usb_storage", "sd_mod", "kvm_amd"]  # nvme is udev's to load
HOST = Host(init="systemd", state=True, udev=True, slots=[NVME_A, NVME_B], modules=LATER)
SECOND = {**NVME, "index": 1, "reserve": True}
RULE = "/etc/udev/rules.d/70-vore-reserve.rules"
HOOK, SCRIPT = "/etc/initramfs-tools/hooks/vore-reserve", "/etc/initramfs-tools/scripts/init-top/00-vore-reserve"
# Notes which driver the second drive has when the display manager would start.
DISPLAY = f"""[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'basename $$(readlink /sys/bus/pci/devices/{DRIVE_B}/driver) >/run/display; true'
"""
ENABLE = """#!/bin/sh
systemd-sysusers
systemd-tmpfiles --create vore.conf
mkdir -p /etc/systemd/system/lab.target.wants
for unit in vored.service display-manager.service; do
        ln -sf $(find /usr/local/lib/systemd/system /lib/systemd/system /etc/systemd/system -name $unit | head -n 1) \\
                /etc/systemd/system/lab.target.wants/$unit
done
"""


@pytest.fixture(scope="module")
def kept():
    return {}


def wait_vored(l1):
    l1.until("vore daemon version && [ $(systemctl show -P ActiveState display-manager.service) = active ]")


@pytest.fixture
def installed(machine, kept):
    """L1 with vored at boot, and a saved VM with auto-start that reserves the second of two equal drives."""
    if not kept:
        machine.start()
        world = World(machine)
        machine.until(f"[ -e /sys/bus/pci/devices/{DRIVE_B}/driver ]")
        make_bootable(machine, DRIVE_B, "nvme-b")
        world.install()
        machine.run(f"mkdir -p /state/root/etc/systemd/system && cp -a {machine.folder}/install/. /state/root/ && "
                    f"sync").ok()
        machine.write("/state/root/etc/systemd/system/display-manager.service", DISPLAY)
        machine.write("/state/enable", ENABLE)
        machine.run("chmod +x /state/enable; systemctl start vored.socket vored.service").ok()
        path = world.define("vm", disks=[], vfio=[SECOND], machine={"auto-start": True})
        world.vore("load", path, "--save").ok()
        assert machine.driver(DRIVE_B) == "vfio-pci"
        kept["world"] = world
    return kept["world"]


def reboot(machine, **changes):
    machine.power_off()
    machine.host = dataclasses.replace(machine.host, **changes)
    machine.start()


def bound_by_nvme(l1):
    """Which drives nvme ever had since the boot, by the kernel's log."""
    return set(re.findall(r"nvme nvme\d+: pci function ([0-9a-f:.]+)", l1.out("dmesg")))


def files(l1):
    """All that could have been written, with contents and times."""
    return l1.out("find /etc/udev /etc/initramfs-tools /var/lib/vore -type f -exec md5sum {} + | sort; "
                  "find /etc/udev /etc/initramfs-tools /var/lib/vore -printf '%p %m %y\\n' | sort")


def times(l1):
    return l1.out("find /etc/udev /etc/initramfs-tools /var/lib/vore -printf '%p %T@\\n' | sort")


# --- on the first boot ---

UPDATE = """#!/bin/sh
echo "$@" >>/run/updates
[ ! -e /run/no-space ] || { echo 'no space left' >&2; exit 1; }
"""


@pytest.mark.parametrize("kind, wrote", [("udev", [RULE]), ("initramfs-tools", [HOOK, SCRIPT])])
def test_install_twice_remove_twice(installed, kind, wrote):
    l1 = installed.l1
    l1.write("/usr/local/sbin/update-initramfs", UPDATE)
    l1.run("chmod +x /usr/local/sbin/update-initramfs; : >/run/updates").ok()
    before = files(l1)
    assert [line.split()[1] for line in installed.vore("reserve", "--install", kind).ok().out.splitlines()
            if line.startswith("wrote")] == wrote
    then = files(l1), times(l1)
    assert "up to date" in installed.vore("reserve", "--install", kind).ok().err
    assert (files(l1), times(l1)) == then
    assert "out of date" not in installed.vore("devices").ok().err
    installed.vore("reserve", "--remove", kind).ok()
    assert files(l1) == before
    assert "nothing of" in installed.vore("reserve", "--remove", kind).ok().err
    assert files(l1) == before
    assert l1.read("/run/updates").splitlines() == (["-u -k all"] * 2 if kind != "udev" else [])


def test_initramfs_that_cannot_be_made(installed):
    l1 = installed.l1
    before = files(l1)
    l1.run("touch /run/no-space").ok()
    installed.vore("reserve", "--install", "initramfs-tools").failed(1, "update-initramfs failed: no space left")
    # One kernel's may be made by then: only the note of that is left, until a removal has made all of them again.
    assert "(initramfs-tools) is out of date" in installed.vore("devices").ok().err
    l1.run("rm /run/no-space; mv /var/lib/vore/boot-initramfs-tools /run/note").ok()
    assert files(l1) == before
    l1.run("mv /run/note /var/lib/vore/boot-initramfs-tools; : >/run/updates").ok()
    installed.vore("reserve", "--remove", "initramfs-tools").ok()
    assert files(l1) == before and l1.read("/run/updates") == "-u -k all"


def test_out_of_date(installed):
    """Another definition reserves, then none does: what is installed is not what it should be."""
    vore = installed.vore
    vore("reserve", "--install", "udev").ok()
    vore("load", installed.define("first", vfio=[{**NVME, "index": 0, "reserve": True}]), "--save").ok()
    for verb in ("devices", "reserve"):
        assert "(udev) is out of date: vore reserve --install udev" in vore(verb).ok().err
    vore("reserve", "--install", "udev").ok()
    assert DRIVE_A in installed.l1.read(RULE)
    vore("forget", "first").ok()
    assert "out of date" in vore("devices").ok().err
    vore("reserve", "--remove", "udev").ok()
    assert "out of date" not in vore("devices").ok().err


def test_printed(installed, kept):
    vore = installed.vore
    kept["script"] = vore("reserve", "--emit", "initramfs-tools").ok().out.split(f"# --- {SCRIPT}, mode 0755 ---\n")[1]
    assert DRIVE_B in kept["script"] and DRIVE_A not in kept["script"]
    assert "inst_hook pre-udev" in vore("reserve", "--emit", "dracut").ok().out
    vore("reserve", "--install", "dracut").failed(1, "vore reserve --emit dracut")
    vore("reserve", "--emit", "grub").failed(1, "udev, initramfs-tools and dracut")
    vore("reserve", "--emit", "udev", "--install", "udev").failed(2)


@pytest.mark.long
def test_initramfs_has_it(installed):
    """The real mkinitramfs takes the hook's module and runs the script before udev."""
    l1, kernel = installed.l1, get_kernel()
    l1.write("/usr/local/sbin/update-initramfs", UPDATE)
    l1.run("chmod +x /usr/local/sbin/update-initramfs").ok()
    installed.vore("reserve", "--install", "initramfs-tools").ok()
    config = f"config-{kernel.release}"
    l1.write(f"/boot/{config}", (kernel.folder / "boot" / config).read_text(encoding="ascii"))
    l1.run("cp -a /etc/initramfs-tools /run/conf && "
           "sed -i 's/^MODULES=.*/MODULES=list/; s/^COMPRESS=.*/COMPRESS=gzip/' /run/conf/initramfs.conf").ok()
    l1.run("mkinitramfs -d /run/conf -o /run/initrd $(uname -r) && unmkinitramfs /run/initrd /run/unpacked").ok()
    order = l1.out("cat $(find /run/unpacked -path '*init-top/ORDER')")
    assert order.index("00-vore-reserve") < order.index("init-top/udev")
    assert l1.out("find /run/unpacked -name 'vfio-pci.ko*'")
    installed.vore("reserve", "--remove", "initramfs-tools").ok()


# --- and over the next ones ---

def test_udev_rule(installed, machine):
    installed.vore("reserve", "--install", "udev").ok()
    machine.run(f"mkdir -p /state/root/etc/udev/rules.d && cp -p {RULE} /state/root/etc/udev/rules.d/").ok()
    reboot(machine)
    wait_vored(machine)
    assert machine.read("/run/display") == "vfio-pci"
    machine.until("vore list | grep -q 'vm.running'")
    machine.until(f"[ -e /sys/bus/pci/devices/{DRIVE_A}/nvme ]")
    assert bound_by_nvme(machine) == {DRIVE_A}
    assert installed.vore("devices").ok().err == "", "and the rule is up to date"
    # Giving it back lets the kernel choose, as nobody ever saw its driver.
    installed.vore("kill", "vm").ok()
    installed.vore("release", DRIVE_B).ok()
    assert machine.driver(DRIVE_B) == "nvme"


@pytest.mark.long
def test_moved_and_exchanged(installed, machine):
    """Another model where the drive was, and the drive elsewhere: neither is claimed at boot, and vored finds the drive."""
    reboot(machine, slots=[NVME_A, USB, NVME_B])
    wait_vored(machine)
    now = "0000:03:00.0"
    machine.until(f"[ -e /sys/bus/pci/devices/{DRIVE_B}/driver ]")
    assert machine.driver(DRIVE_B) == "xhci_hcd"
    assert now in bound_by_nvme(machine), "the rule is not for this place"
    machine.until("vore list | grep -q 'vm.running'")
    assert machine.driver(now) == "vfio-pci"
    assert "(udev) is out of date" in installed.vore("devices").ok().err


@pytest.mark.long
def test_removed(installed, machine):
    reboot(machine, slots=[NVME_A])
    wait_vored(machine)
    machine.until(f"[ -e /sys/bus/pci/devices/{DRIVE_A}/driver ]")
    assert machine.driver(DRIVE_A) == "nvme"
    for verb in ("list", "devices"):
        assert "vm: nothing is reserved for vfio[0].index: there is only 1 device 1b36:0010" in installed.vore(verb).ok().err
    assert installed.listed("vm")["state"] == "failed"


@pytest.mark.long
def test_without_a_rule(installed, machine):
    """nvme has it first; vored takes it, and still before the display manager starts."""
    machine.run("rm -rf /state/root/etc/udev").ok()
    reboot(machine, slots=[NVME_A, NVME_B], modules=["nvme", *LATER])
    wait_vored(machine)
    assert bound_by_nvme(machine) == {DRIVE_A, DRIVE_B}
    assert machine.read("/run/display") == "vfio-pci"
    machine.until("vore list | grep -q 'vm.running'")


def test_initramfs(installed, machine, kept):
    """The script as an initramfs would run it, before any driver of a device is there."""
    reboot(machine, init="plain", first=kept["script"], slots=[NVME_A, NVME_B], modules=["nvme", *LATER])
    assert bound_by_nvme(machine) == {DRIVE_A}
    assert machine.driver(DRIVE_B) == "vfio-pci" and machine.driver(DRIVE_A) == "nvme"
    world = World(machine)
    world.start_vored()
    machine.until("vore list | grep -q 'vm.running'")
    world.vore("kill", "vm").ok()
    world.vore("release").ok()
    assert machine.driver(DRIVE_B) == "nvme"


def test_initramfs_elsewhere(installed, machine, kept):
    reboot(machine, slots=[NVME_A, USB, NVME_B, EMPTY])
    assert bound_by_nvme(machine) == {DRIVE_A, "0000:03:00.0"}
    assert machine.driver(DRIVE_B) == "xhci_hcd"
