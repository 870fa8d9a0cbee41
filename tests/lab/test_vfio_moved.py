"""The same definition on a host where the drive sits in another slot."""
import pytest

from l1 import EMPTY, NVME_A, Host
from passed import NVME, in_guest, is_back, snapshot

HOST = Host(slots=[EMPTY, EMPTY, NVME_A])
BEFORE, NOW = "0000:01:00.0", "0000:03:00.0"


@pytest.fixture
def host(world):
    if world.l1.run("test -e /run/lab/vored.pid").status:
        world.start_vored()
    return world


def test_found_again(host):
    before = snapshot(host.l1)
    guest = host.boot("drive", vfio=[NVME])
    assert len(in_guest(guest, **NVME)) == 1 and host.l1.driver(NOW) == "vfio-pci"
    host.vore("kill", "drive").ok()
    is_back(host.l1, before)


def test_old_address_says_where_it_is(host):
    before = snapshot(host.l1)
    host.vore("boot", host.define("old", vfio=[{**NVME, "addr": BEFORE}])).failed(1, BEFORE, f"1b36:0010 is at {NOW} now")
    is_back(host.l1, before)


def test_power_loss_does_no_harm(host, machine):
    """What vored knew of the last boot counts no more, also when the run-time folder outlived it."""
    host.boot("drive", vfio=[NVME])
    old = host.l1.out("cd /run && tar cz vore --exclude=*.sock | base64 -w0")
    machine.power_loss()
    machine.start()
    host.l1.run("mkdir -p /run && base64 -d | tar xzC /run", stdin=old).ok()
    before = snapshot(host.l1)
    host.start_vored()
    is_back(host.l1, before)
    assert host.l1.driver(NOW) == "nvme" and not [m for m in host.vore("list", "--json").ok().json if m["pid"]]
    host.boot("drive", vfio=[NVME])
