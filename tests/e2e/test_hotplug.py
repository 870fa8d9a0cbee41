"""attach and detach where there is nothing to attach: what is refused, by whom, and that nothing happens. Devices that
come and go are in the lab."""
import os

import pytest

from world import VarlinkError

NOWHERE = "ffff:ff:1f.7"
IOMMU = os.path.isdir("/sys/kernel/iommu_groups") and os.listdir("/sys/kernel/iommu_groups")


def ports(world, *args):
    return [word for word in world.vore("x", "qemucmd", *args, "--json").ok().json if word.startswith("pcie-root-port,id=hotplug")]


def test_ports(unstarted):
    world = unstarted.start()
    assert len(ports(world, world.define())) == 2
    for number in (0, 1, 16):
        found = ports(world, world.define(machine={"hotplug-ports": number}))
        assert len(found) == number and len({p.split("chassis=")[1].split(",")[0] for p in found}) == number
    world.vore("check", world.define(machine={"hotplug-ports": 17})).failed(1, "machine.hotplug-ports", "16")


def test_guest_starts_with_all_ports(world):
    """QEMU takes their places, and the firmware goes through them."""
    world.boot(machine={"hotplug-ports": 16})


def test_no_such_device(world):
    world.boot()
    world.vore("attach", NOWHERE, "vm").failed(1, f"no device at {NOWHERE}")
    assert world.state_of() == "running"
    world.vore("detach", NOWHERE).failed(1, NOWHERE, "not attached", "none")
    assert world.vore("show", "--json").ok().json["vfio"] == []


@pytest.mark.skipif(bool(IOMMU), reason="this machine has an IOMMU")
def test_no_iommu(world):
    world.boot()
    device = sorted(os.listdir("/sys/bus/pci/devices"))[0] if os.path.isdir("/sys/bus/pci/devices") else NOWHERE
    world.vore("attach", device, "vm").failed(1, "IOMMU")


@pytest.mark.parametrize("address, words", [
    ("046d:c52b", ["046d:c52b", "USB", "not supported by this version"]),
    ("1-2.3", ["1-2.3", "USB", "not supported by this version"]),
    ("001:004", ["001:004", "USB", "not supported by this version"]),
    ("0b:00", ["0b:00", "no address"]), ("", ["no address"]), ("1-", ["no address"]), ("x" * 100, ["x" * 64, "no address"]),
])
@pytest.mark.parametrize("verb", ["attach", "detach"])
def test_addresses(world, verb, address, words):
    world.load()
    world.vore(verb, address, "vm").failed(1, *words)


def test_keep_is_for_usb(world):
    world.load()
    world.vore("attach", "0b:00.3", "vm", "--keep").failed(1, "0000:0b:00.3", "--keep is for USB devices")


def test_of_a_machine_that_does_not_run(world):
    world.load()
    world.vore("attach", "0b:00.3", "vm").failed(1, "vm is loaded", "vore start vm")
    world.vore("detach", "0b:00.3", "vm").failed(1, "vm is loaded")
    world.vore("attach", "0b:00.3").failed(1)  # NAME left out: none runs
    world.vore("attach", "0b:00.3", "absent").failed(1, "absent")


def test_on_the_socket(world):
    world.boot()
    with world.link() as link:
        for timeout in (-1, 1e9):
            with pytest.raises(VarlinkError) as refused:
                link.call("Detach", name="vm", address="0b:00.3", timeout=timeout)
            assert refused.value.parameters == {"parameter": "timeout"}
        with pytest.raises(VarlinkError) as refused:
            link.call("Attach", name="vm", address="046d:c52b")
        assert refused.value.name == "NotSupported"
        with pytest.raises(VarlinkError) as refused:
            list(link.stream("Attach", name="vm", address=NOWHERE))
        assert refused.value.name == "Failed"
