"""A VM's life, as an ordinary user's and as root's daemon runs it."""
import os
import re
import signal
import subprocess

import pytest

from world import alive


def test_life(any_world):
    world = any_world
    world.load()
    entry = world.listed()
    assert (entry["state"], entry["pid"], entry["reason"]) == ("loaded", None, None)

    world.vore("start", "vm").ok()
    entry = world.listed()
    assert entry["state"] == "running" and world.is_qemu(entry["pid"])
    console = world.console()
    console.wait("vore test guest")
    console.wait("ready")

    world.vore("stop", "vm").ok()
    console.wait("power button")
    entry = world.listed()
    assert (entry["state"], entry["pid"], entry["reason"]) == ("stopped", None, None)
    assert world.qemus() == []


def test_starts_again_after_stop_and_kill(any_world):
    world = any_world
    world.boot()
    world.vore("kill", "vm").ok()
    assert world.state_of() == "stopped" and world.qemus() == []
    world.vore("start", "vm").ok()
    world.console().wait("ready")
    world.vore("stop", "vm").ok()
    assert world.state_of() == "stopped"


def test_list_keys(world):
    world.load(machine={"memory": "96M", "auto-start": True}, cpu={"amount": 3, "threads": 1})
    assert world.listed() == {"name": "vm", "state": "loaded", "reason": None, "pid": None, "memory": 96 << 20,
                              "vcpus": 3, "auto_start": True, "saved": False}


def test_pause_and_resume(world):
    console = world.boot()
    world.vore("pause", "vm").ok()
    assert world.state_of() == "paused"
    console.wait("ready\r\n")
    console.say("echo in a dream")
    with pytest.raises(AssertionError):
        console.wait("in a dream", 1)
    world.vore("resume", "vm").ok()
    assert world.state_of() == "running"
    console.wait("in a dream")


def test_pausing_twice_is_no_error(world):
    world.boot()
    for verb in ("pause", "pause", "resume", "resume"):
        world.vore(verb, "vm").ok()


def test_reset(world):
    console = world.boot()
    pid = world.listed()["pid"]
    console.wait("ready\r\n")
    world.vore("reset", "vm").ok()
    console.wait("vore test guest")
    console.wait("ready\r\n")
    assert world.listed()["pid"] == pid


def test_a_guest_that_ignores_the_button_runs_on(world):
    console = world.boot()
    console.say("ignore")
    console.wait("ignoring")
    result = world.vore("stop", "vm", "--timeout", "5").failed(1, "power button", "vore")
    console.wait("power button ignored")
    assert world.state_of() == "running", result

    console.say("echo still here")
    console.wait("still here")
    world.vore("stop", "vm", "--timeout", "1", "--force").ok()
    assert world.state_of() == "stopped" and world.qemus() == []


def test_a_guest_that_cannot_hear_the_button_yet(world):
    """It is told that it may have been too early, and that a later press works."""
    blank = world.write("blank.img", "\0" * 65536)
    world.load(disks=[{"preset": "virtio", "path": blank}])
    world.vore("start", "vm").ok()
    world.vore("stop", "vm", "--timeout", "5").failed(1, "after it began to boot", "vore stop vm", "vore kill vm")
    assert world.state_of() == "running"
    world.vore("kill", "vm").ok()


def test_a_guest_that_spins_can_be_killed(world):
    console = world.boot()
    console.say("spin")
    console.wait("spinning")
    pid = world.listed()["pid"]
    world.vore("kill", "vm").ok()
    assert not alive(pid) and world.state_of() == "stopped"


def test_stop_all(world):
    for name in ("one", "two"):
        world.boot(name)
    world.load("three")
    world.vore("stop", "--all").ok()
    assert {m["name"]: m["state"] for m in world.vore("list", "--json").json} == {
        "one": "stopped", "two": "stopped", "three": "loaded"}


def test_start_shows_its_steps(world):
    world.load()
    result = world.vore("start", "vm").ok()
    assert re.fullmatch(r"vm is running \(pid \d+, \d+ ms\)\n", result.out)
    steps = result.err.splitlines()
    assert len([s for s in steps if re.fullmatch(r"vm: \S.* \.\.\. \d+ ms", s)]) >= 3, result


def test_quiet_start(world):
    world.load()
    result = world.vore("start", "vm", "--quiet").ok()
    assert re.fullmatch(r"vm is running \(pid \d+, \d+ ms\)\n", result.out) and result.err == ""


def test_start_as_json(world):
    world.load()
    answer = world.vore("start", "vm", "--json").ok().json
    assert set(answer) == {"name", "state", "pid", "seconds", "steps"}
    assert (answer["name"], answer["state"]) == ("vm", "running") and world.is_qemu(answer["pid"])
    assert all(set(s) == {"name", "seconds"} for s in answer["steps"])
    assert 0 < sum(s["seconds"] for s in answer["steps"]) <= answer["seconds"] + 0.001


def test_what_is_done_already_is_no_error(world):
    world.boot()
    pid = world.listed()["pid"]
    result = world.vore("start", "vm").ok()
    assert "running" in result.err + result.out and world.listed()["pid"] == pid
    world.vore("kill", "vm").ok()
    for verb in ("stop", "kill"):
        world.vore(verb, "vm").ok()
    assert world.state_of() == "stopped"


def test_the_name_may_be_left_out(world):
    world.vore("start").failed(1)
    world.load("one")
    world.vore("start").ok()
    world.load("two")
    world.vore("start").ok()
    assert world.state_of("two") == "running"
    world.vore("stop").failed(1, "one", "two")
    world.vore("kill", "one").ok()
    world.vore("kill").ok()
    assert world.state_of("two") == "stopped"


def test_unknown_name(world):
    world.load("windows")
    world.vore("start", "widnows").failed(1, "widnows", "windows")


def test_a_running_vm_is_not_replaced_nor_unloaded(world):
    world.boot()
    world.vore("load", world.define()).failed(1, "running")
    world.vore("unload", "vm").failed(1, "running")
    world.vore("kill", "vm").ok()
    world.vore("load", world.define(machine={"memory": "80M"})).ok()
    assert world.listed()["memory"] == 80 << 20
    world.vore("unload", "vm").ok()
    assert world.listed() is None


def test_prepare_and_give_back(world):
    world.load()
    world.vore("prepare", "vm").ok()
    assert world.state_of() == "prepared" and world.qemus() == []
    world.vore("stop", "vm").ok()
    assert world.state_of() in ("loaded", "stopped")
    world.vore("prepare", "vm").ok()
    world.vore("start", "vm").ok()
    assert world.state_of() == "running"


def test_one_operation_at_a_time(world):
    console = world.boot()
    console.say("ignore")
    console.wait("ignoring")
    stop = world.popen("stop", "vm", "--timeout", "60")
    console.wait("power button ignored")
    assert world.state_of() == "stopping"
    world.vore("reset", "vm").failed(1, "stop")
    world.vore("kill", "vm").ok()
    assert stop.wait(20) in (0, 1)
    assert world.state_of() == "stopped"


def test_stop_all_with_force_joins_a_stop(world):
    """As the host's shutdown does it, whatever is under way."""
    console = world.boot()
    console.say("ignore")
    console.wait("ignoring")
    stop = world.popen("stop", "vm", "--timeout", "600", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    console.wait("power button ignored")
    world.vore("stop", "--all", "--timeout", "1", "--force").ok()
    assert stop.wait(20) == 0
    assert world.state_of() == "stopped" and world.qemus() == []


def test_a_qemu_that_hangs_is_stopped_with_force(world):
    world.boot()
    pid = world.listed()["pid"]
    os.kill(pid, signal.SIGSTOP)
    world.vore("stop", "vm", "--timeout", "1").failed(1, "does not answer", "vore kill vm")
    assert world.state_of() == "running"
    world.vore("stop", "vm", "--timeout", "1", "--force").ok()
    assert world.state_of() == "stopped" and not alive(pid)


def test_many_commands_for_qemu_at_once(world):
    """Its monitor serves one client at a time."""
    world.boot()
    links = [world.link() for _ in range(20)]
    for link in links:
        link.send("Qmp", {"name": "vm", "command": "query-status"})
    for link in links:
        assert link.reply()["parameters"]["reply"]["return"]["status"] == "running"
        link.close()


def test_a_client_that_goes_away_cancels_nothing(world):
    console = world.boot()
    console.say("ignore")
    console.wait("ignoring")
    stop = world.popen("stop", "vm", "--timeout", "15", "--force")
    console.wait("power button ignored")
    stop.kill()
    stop.wait()
    world.wait_state("stopped")


def test_a_stop_whose_answer_nobody_reads_waits_all_the_same(world):
    console = world.boot()
    console.say("ignore")
    console.wait("ignoring")
    stop = world.popen("stop", "vm", "--timeout", "3", "--force", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    stop.stdout.close()
    stop.wait(60)
    assert world.state_of() == "stopped" and world.qemus() == []


def test_stop_all_gives_back_what_is_prepared(world):
    world.load("one")
    world.load("two")
    world.vore("prepare", "one").ok()
    assert "one is stopped" in world.vore("stop", "--all").ok().out
    assert [m["state"] for m in world.vore("list", "--json").ok().json] == ["stopped", "loaded"]
