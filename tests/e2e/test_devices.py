"""vore devices: captured hosts, and whatever machine this is."""
import json
import pathlib

import pytest

HOSTS = pathlib.Path(__file__).resolve().parents[1] / "hosts"
KEYS = {"address", "vendor", "device", "class", "name", "driver", "iommu_group", "reset_methods", "boot_vga", "holders",
        "verdict", "used_by"}


@pytest.mark.environment(VORE_HOST_ROOT=str(HOSTS / "amd-desktop"))
def test_of_a_desktop(world):
    devices = {d["address"]: d for d in world.vore("devices", "--json").ok().json}
    assert all(KEYS == set(d) for d in devices.values())
    assert devices["0000:01:00.0"]["verdict"] == "ready"
    assert devices["0000:0b:00.0"]["verdict"] == "needs 1 more of its group"
    assert devices["0000:00:01.2"]["verdict"] == "host needs it (/dev/sda2 is mounted at /)"
    assert devices["0000:0a:00.0"]["boot_vga"] is True
    assert devices["0000:01:00.0"]["reset_methods"] == ["flr", "bus"]
    result = world.vore("devices").ok()
    assert [row[0] for row in result.rows] == sorted(devices)
    assert result.err == ""


@pytest.mark.environment(VORE_HOST_ROOT=str(HOSTS / "amd-desktop"))
def test_stuck(world):
    world.vore("devices").ok()
    boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    sentence = "0000:01:00.0 is stuck leaving nvme"
    stuck = world.runtime / "stuck-devices"
    stuck.write_text(json.dumps({"boot": boot, "devices": {"0000:01:00.0": sentence}}), encoding="ascii")
    devices = {d["address"]: d for d in world.vore("devices", "--json").ok().json}
    assert devices["0000:01:00.0"]["verdict"] == "stuck: " + sentence
    assert devices["0000:01:00.0"]["holders"] == []
    assert devices["0000:0b:00.0"]["verdict"] == "needs 1 more of its group"
    stuck.write_text("{", encoding="ascii")
    result = world.vore("devices", "--json").ok()
    assert {d["address"]: d for d in result.json}["0000:01:00.0"]["verdict"] == "ready"
    assert str(stuck) in result.err


def test_of_this_machine(world):
    result = world.vore("devices", "--json").ok()
    assert all(KEYS == set(d) for d in result.json)
    if result.json and all(d["iommu_group"] is None for d in result.json):
        assert "IOMMU" in result.err
        assert not [d for d in result.json if d["verdict"] == "ready"]


def test_usb_is_later(world):
    world.vore("devices", "--usb").failed(1, "not supported by this version")
