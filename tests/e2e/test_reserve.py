"""reserve and release where there is nothing to have: every refusal is useful, and nothing waits. The lab has the rest."""
import json
import time

import pytest

RESERVE = '[[vfio]]\naddr = "ff:1f.7"\nreserve = true\n'
MISSING = "there is no device at 0000:ff:1f.7"


def test_session_says_what_to_do(world):
    """A session reserves nothing: a warning where it is written, an error for the verbs."""
    for words in (["load", world.define(extra=RESERVE), "--save"], ["save", "vm"]):
        result = world.vore(*words).ok()
        assert "vfio[0].reserve" in result.err and "a session daemon reserves no devices" in result.err, result
    assert "a session daemon reserves no devices" in world.vore("check", world.define(extra=RESERVE)).err
    for words in (["reserve"], ["release"], ["reserve", "00:01.0"], ["reserve", "--emit", "udev"]):
        world.vore(*words).failed(1, "a session daemon binds no devices")
    assert world.vore("list").ok().err == ""


@pytest.mark.needs_root
def test_what_is_missing_is_told(root_world):
    world = root_world
    saved = world.vore("load", world.define(extra=RESERVE), "--save").ok()
    assert MISSING in saved.err, saved
    for words in (["list"], ["list", "--json"], ["devices"], ["devices", "--json"]):
        assert f"vm: nothing is reserved for vfio[0].addr: {MISSING}" in world.vore(*words).ok().err
    assert set(world.listed()) == {"name", "state", "reason", "pid", "memory", "vcpus", "auto_start", "saved"}
    world.vore("reserve").failed(1, MISSING)
    assert json.loads(world.vore("reserve", "--json").failed(1).out) == []
    world.vore("reserve", "--install", "udev").failed(1, "nothing to claim at boot")
    world.vore("reserve", "--emit", "initramfs-tools").failed(1, "nothing to claim at boot")
    world.vore("forget", "vm").ok()
    assert world.vore("list").ok().err == ""
    world.vore("reserve").ok()


@pytest.mark.needs_root
def test_file_that_cannot_be_read(root_world):
    """Nobody knows what it reserves: that is said, and nothing is given back until it is mended or forgotten."""
    world, told = root_world, "vm: what it reserves is not known (line "
    world.load("vm", "--save", extra=RESERVE)
    (world.state / "definitions" / "vm.toml").write_text("[machine\n", encoding="ascii")
    assert told in world.vore("reserve").failed(1, "nothing is given back", "vore forget vm").err
    assert told in world.vore("list").ok().err
    assert "vm: what it reserves is not known, so nothing is given back" in world.log.read_text(encoding="utf-8")
    for kind in ("udev", "dracut"):  # the rules would lack what it reserves
        world.vore("reserve", "--emit", kind).failed(1, "saved definition of vm", "vore forget vm")
    world.restart()
    world.vore("forget", "vm").ok()
    world.vore("reserve").ok()
    assert world.vore("list").ok().err == ""


@pytest.mark.needs_root
def test_next_daemon_is_not_held_up(root_world):
    world = root_world
    world.load("first", "--save", extra=RESERVE, machine={"auto-start": True})
    world.load("second", "--save", machine={"auto-start": True})
    begin = time.monotonic()
    world.restart()
    assert world.listed("second") and time.monotonic() - begin < 10
    world.wait_state("running", "second")
    world.wait_state("failed", "first")
    assert MISSING in world.log.read_text(encoding="utf-8")
    world.vore("kill", "second").ok()


@pytest.mark.needs_root
def test_refusals(root_world):
    vore = root_world.vore
    vore("reserve", "ff:1f.7").failed(1, "0000:ff:1f.7", "no such device")
    vore("release", "ff:1f.7").failed(1, "0000:ff:1f.7", "not kept")
    vore("reserve", "card").failed(1, "\"card\" is no PCI address")
    vore("reserve", "--emit", "grub").failed(1, "udev, initramfs-tools and dracut")
    vore("reserve", "ff:1f.7", "--emit", "udev").failed(1, "leave out ff:1f.7")
    vore("reserve", "--emit", "udev", "--remove", "udev").failed(2, "only one of")
    vore("release", "--emit", "udev").failed(2)
    vore("release").ok()


@pytest.mark.needs_root
def test_broken_memory(root_world):
    """A file of kept devices that cannot be understood is told, and does not stop anything."""
    (root_world.runtime / "kept-devices").write_text("{", encoding="ascii")
    root_world.vore("reserve").ok()
    root_world.restart()
    root_world.vore("reserve").ok()
    assert "kept-devices: " in root_world.log.read_text(encoding="utf-8")
