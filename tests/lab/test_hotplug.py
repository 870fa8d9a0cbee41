"""Devices come to guests that run, and go: with a Linux that lets go, and with a guest that knows nothing of it."""
import pytest

import linux
from l1 import EMPTY, GRAPHICS, NVME_A, NVME_B, Host
from passed import DRIVE_A, DRIVE_B, block, group_node, is_back, open_entries, snapshot

HOST = Host(slots=[NVME_A, NVME_B, GRAPHICS])


@pytest.fixture(scope="module")
def kept():
    return {}


@pytest.fixture
def host(world, kept):
    if not kept:
        world.start_vored(linux.install(world.l1))
        kept["before"] = snapshot(world.l1)
    return world


@pytest.fixture
def before(host, kept):
    return kept["before"]


@pytest.fixture
def guest(host, kept):
    if "linux" not in kept:
        kept["linux"] = linux.boot(host)
    return kept["linux"]


def test_comes_and_goes_three_times(guest, before):
    l1, world = guest.l1, guest.world
    for number in (1, 2, 3):
        answer = world.vore("attach", DRIVE_B[5:], "linux", "--json").ok().json
        guest.says(f"drive {number} comes: VORE-LAB nvme-b.")
        assert answer["devices"] == [DRIVE_B] and answer["state"] == "running"
        print([(s["name"], round(s["seconds"], 3)) for s in answer["steps"]])
        assert l1.driver(DRIVE_B) == "vfio-pci"
        world.vore("detach", DRIVE_B, "linux").ok()
        guest.says(f"drive {number} goes.")
        is_back(l1, before)
        block(l1, DRIVE_B)
        assert open_entries(l1, "linux") != []
