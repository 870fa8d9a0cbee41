"""Every way QEMU can end leads to a state with a reason that a person understands."""
import os
import subprocess

import pytest

from world import kill9, until


def test_kill_9_of_qemu(any_world):
    world = any_world
    world.boot()
    kill9(world.listed()["pid"])
    entry = world.wait_state("failed")
    assert entry["pid"] is None and "kill" in entry["reason"].lower()
    world.vore("start", "vm").ok()
    assert world.state_of() == "running" and world.listed()["reason"] is None


def test_whoever_starts_vored_ignores_the_ends_of_children(unstarted):
    world = unstarted
    world.wrap = ["sh", "-c", "trap '' CHLD; exec \"$@\"", "sh"]
    world.start()
    world.boot()
    kill9(world.listed()["pid"])
    assert "signal 9" in world.wait_state("failed")["reason"]


def test_power_off_from_inside(any_world):
    world = any_world
    world.boot().say("off")
    entry = world.wait_state("stopped")
    assert entry["reason"] is None and world.qemus() == []


@pytest.mark.parametrize("command", ["crash", "reset"])
def test_a_guest_that_resets_runs_on(world, command):
    with world.link() as link:
        console = world.boot()
        pid = world.listed()["pid"]
        events = link.stream("Subscribe", name="vm")
        assert next(events)["event"]["event"] == "snapshot"
        console.wait("ready\r\n")
        console.say(command)
        console.wait("ready\r\n")
        while next(events)["event"]["event"] != "reset":
            pass
    assert world.listed()["state"] == "running" and world.listed()["pid"] == pid


def fake_qemu(world, body):
    """Answers the question for its capabilities as the real one, and does body when it is to run a VM."""
    return world.write("fake-qemu", f"""#!/bin/sh
case " $* " in *" -M none "*|*" -machine none"*) exec qemu-system-x86_64 "$@" ;; esac
{body}
""", 0o755)


def with_binary(world, path):
    world.settings(binary=path)
    return world.start()


def test_missing_binary(unstarted):
    world = with_binary(unstarted, "/nowhere/qemu-system-x86_64")
    loaded = world.vore("load", world.define())
    if loaded.rc == 0:
        loaded = world.vore("start", "vm")
    loaded.failed(1, "/nowhere/qemu-system-x86_64")
    assert world.qemus() == []


def test_binary_that_vanishes(unstarted):
    fake = fake_qemu(unstarted, "exit 1")
    world = with_binary(unstarted, fake)
    world.load()
    fake.unlink()
    world.vore("start", "vm").failed(1, "fake-qemu")
    assert world.state_of() == "failed"


def test_binary_that_exits_1(unstarted):
    world = with_binary(unstarted, fake_qemu(unstarted, "echo 'fake-qemu: the flux is missing' >&2; exit 1"))
    world.load()
    world.vore("start", "vm").failed(1, "the flux is missing")
    entry = world.listed()
    assert entry["state"] == "failed" and "the flux is missing" in entry["reason"]
    assert "the flux is missing" in world.logs_of()


def test_binary_that_is_killed_at_once(unstarted):
    world = with_binary(unstarted, fake_qemu(unstarted, "kill -9 $$"))
    world.load()
    world.vore("start", "vm").failed(1, "kill")
    assert world.state_of() == "failed"


def test_a_start_that_hangs_can_be_killed(unstarted):
    world = with_binary(unstarted, fake_qemu(unstarted, "exec sleep 1000"))
    world.load()
    start = world.popen("start", "vm", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    world.wait_state("starting")
    world.vore("kill", "vm").ok()
    assert start.wait(20) == 1
    assert world.state_of() == "stopped"


def test_a_start_that_hangs_can_be_stopped(unstarted):
    world = with_binary(unstarted, fake_qemu(unstarted, "exec sleep 1000"))
    world.load()
    start = world.popen("start", "vm", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    world.wait_state("starting")
    world.vore("stop", "vm", "--timeout", "10").ok()
    assert start.wait(20) == 1
    assert world.state_of() in ("stopped", "loaded")


def test_stop_all_reaches_what_starts_meanwhile(unstarted):
    """A start that is cancelled is followed by the next one of auto-start."""
    world = with_binary(unstarted, fake_qemu(unstarted, "exec sleep 1000"))
    for name in ("one", "two"):
        world.load(name, "--save", machine={"auto-start": True})
    world.restart()
    world.wait_state("starting", "one")
    world.vore("stop", "--all", "--timeout", "5", "--force").ok()
    assert {m["name"]: m["state"] for m in world.vore("list", "--json").json} == {"one": "stopped", "two": "stopped"}
    assert world.qemus() == []


def test_disk_that_vanished(world):
    world.load()
    (world.images / "vm.img").unlink()
    world.vore("start", "vm").failed(1, "vm.img")
    assert world.qemus() == []


def test_two_vms_do_not_share_a_disk(world):
    world.boot("one")
    disk = [{"preset": "virtio", "path": world.images / "one.img"}]
    loaded = world.vore("load", world.define("two", disk))
    if loaded.rc == 0:
        loaded = world.vore("start", "two")
    loaded.failed(1, "one")
    assert world.state_of("one") == "running"


@pytest.mark.needs_root
@pytest.mark.parametrize("full", ["log", "definitions"])
def test_full_disk(make_world, full):
    world = make_world("system").start()
    world.load("other", "--save")
    folder = world.state / full
    folder.mkdir(exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k,nr_inodes=64", "tmpfs", folder]).returncode:
        pytest.skip("needs root with the right to mount")
    try:
        (folder / "filler").write_bytes(b"x" * 4096)
        if full == "log":  # a VM that cannot log runs, or says why it does not
            started = world.vore("boot", world.define())
            if started.rc:
                started.failed(1, "space")
            else:
                world.console().wait("ready")
                world.vore("stop", "vm").ok()
        else:
            world.vore("load", world.define(), "--save").failed(1, "space")
            assert not (folder / "vm.toml").exists()
        assert world.state_of("other") == "loaded"
    finally:
        until("the unmount", lambda: subprocess.run(["umount", "-l", folder]).returncode == 0, 10)
    assert os.path.isdir(folder)
