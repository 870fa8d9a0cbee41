"""L1 without systemd: its hardware, and a VM under KVM from start to power button."""
import pytest

from l1 import marker


def test_iommu_groups(l1):
    assert l1.group("0000:01:00.0") == ["0000:01:00.0"]
    assert l1.group("0000:03:00.0") == ["0000:03:00.0", "0000:03:00.1"]


@pytest.mark.parametrize("address, driver", [("0000:01:00.0", "nvme"), ("0000:02:00.0", "nvme"),
                                             ("0000:03:00.0", "bochs-drm"), ("0000:03:00.1", "snd_hda_intel"),
                                             ("0000:04:00.0", "xhci_hcd")])
def test_host_drivers(l1, address, driver):
    assert l1.driver(address) == driver


def test_disks_and_nodes(l1):
    names = [l1.out(f"head -n1 $(readlink -f /sys/bus/pci/devices/0000:0{n}:00.0/nvme/nvme?/nvme?n1 | "
                    "sed 's|.*/|/dev/|')") + "\n" for n in (1, 2)]
    assert names == [marker("nvme-a"), marker("nvme-b")]
    l1.run("test -c /dev/dri/card0 && test -c /dev/snd/controlC0 && test -c /dev/kvm").ok()
    l1.until("test -b /dev/sda")  # USB is looked through in the background
    assert "svm" in l1.read("/proc/cpuinfo").split()
    assert l1.run("lsmod | grep vfio").status == 1, "vored is to load it"


def test_usb_unplug(l1):
    l1.until("lsusb_products=$(cat /sys/bus/usb/devices/*/product); echo $lsusb_products | grep -q Tablet")
    l1.qmp("device_del", id="tablet")
    l1.until("! cat /sys/bus/usb/devices/*/product | grep -q Tablet")


@pytest.fixture(scope="module")
def guest_started(machine):
    return []


@pytest.fixture
def guest(world, guest_started):
    """One VM for what follows, started by the first test that wants it."""
    if not guest_started:
        world.start_vored()
        guest_started.append(world.boot("plain"))
    return guest_started[0]


def test_kvm_is_found_usable(guest):
    assert guest.world.vore("show", "plain", "--json").ok().json["kvm"] is True
    assert guest.report()["hypervisor"] == "Microsoft Hv"  # as hyperv, which is KVM's alone, shows itself
    assert guest.l1.run(f"ls -l /proc/{guest.pid}/fd | grep -c anon_inode:kvm-vcpu").out.strip() == "1"


def test_qemu_has_no_rights(guest):
    status = guest.status()
    uids, gids = set(status["Uid"].split()), set(status["Gid"].split())
    assert len(uids) == 1 and 70000 <= int(*uids) <= 70999
    assert len(gids) == 1 and gids != {"0"} and "0" not in status["Groups"].split()
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[kind], 16) == 0, kind
    assert status["Seccomp"] == "2"
    # Without passed devices it may lock no more than any process here.
    limits = [guest.l1.out(f"grep 'Max locked memory' /proc/{pid}/limits") for pid in (guest.pid, 1)]
    assert limits[0] == limits[1]


def test_power_button(guest):
    guest.world.vore("stop", "plain").ok()
    guest.says("power button")
    assert guest.entry["state"] == "stopped" and guest.entry["pid"] is None
    guest.l1.until("! pgrep qemu-system")
