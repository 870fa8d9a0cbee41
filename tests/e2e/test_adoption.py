"""Any end of vored leaves its VMs running; the next one finds them."""
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from world import IS_ROOT, PATIENCE, alive, until


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_the_next_vored_has_the_same_vm(any_world, how):
    world = any_world
    world.boot()
    pid = world.listed()["pid"]
    status = world.end(how)
    assert status == (0 if how == signal.SIGTERM else -9)
    assert alive(pid) and world.socket.exists() == (how == signal.SIGKILL)

    world.start()
    entry = world.listed()
    assert (entry["state"], entry["pid"], entry["reason"]) == ("running", pid, None)
    console = world.console()
    console.wait("vore test guest")  # the history survives
    console.say("echo you again")
    console.wait("you again")
    world.vore("pause", "vm").ok()
    world.vore("resume", "vm").ok()
    world.vore("stop", "vm").ok()
    assert world.state_of() == "stopped" and not alive(pid)


def test_adopted_again_and_again(world):
    world.boot()
    pid = world.listed()["pid"]
    for _ in range(3):
        world.restart(signal.SIGKILL)
        assert world.listed()["pid"] == pid
    world.vore("kill", "vm").ok()
    assert world.qemus() == []


def test_paused_stays_paused(world):
    world.boot()
    world.vore("pause", "vm").ok()
    world.restart()
    assert world.state_of() == "paused"
    world.vore("resume", "vm").ok()
    world.vore("stop", "vm").ok()


def test_powered_off_meanwhile(world):
    console = world.boot("vm", "--save")
    console.wait("ready\r\n")
    pid = world.listed()["pid"]
    world.vore("qmp", "vm", json.dumps({"execute": "system_powerdown"})).ok()
    world.end(signal.SIGKILL)
    until("the guest's power-off", lambda: not alive(pid) or threads_idle(pid), 20)
    world.start()
    entry = world.wait_state("stopped")
    assert entry["pid"] is None and entry["reason"] is None
    until("QEMU's end", lambda: not alive(pid), 10)


def threads_idle(pid):
    """A guest that is off uses no time: QEMU waits in -no-shutdown."""
    def ticks():
        with open(f"/proc/{pid}/stat") as f:
            return sum(map(int, f.read().rpartition(")")[2].split()[11:13]))
    before = ticks()
    time.sleep(1.5)
    return ticks() == before


def test_qemu_killed_meanwhile(world):
    world.boot("vm", "--save")
    pid = world.listed()["pid"]
    world.end(signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    until("QEMU's end", lambda: not alive(pid), 10)
    world.start()
    entry = world.listed()
    assert entry["state"] == "failed" and entry["pid"] is None and "vored was away" in entry["reason"]
    world.vore("start", "vm").ok()


def test_a_number_that_now_means_another_process(world):
    """Killed with QEMU's pid taken over by nobody of ours: start times tell them apart."""
    world.boot("vm", "--save")
    pid = world.listed()["pid"]
    world.end(signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    until("QEMU's end", lambda: not alive(pid), 10)
    changed = 0
    for path in (world.runtime / "vm/vm").rglob("*"):
        if path.is_file() and str(pid).encode() in path.read_bytes():
            path.write_bytes(path.read_bytes().replace(str(pid).encode(), str(os.getpid()).encode()))
            changed += 1
    assert changed
    world.start()
    assert world.state_of() == "failed" and world.listed()["pid"] is None


def test_events_of_a_running_vm_reach_the_next_vored(world):
    console = world.boot()
    world.restart()
    console = world.console()
    console.wait("ready\r\n")
    console.say("off")
    world.wait_state("stopped")


def test_a_stop_keeps_its_deadline(world):
    console = world.boot()
    console.say("ignore")
    console.wait("ignoring")
    stop = world.popen("stop", "vm", "--timeout", "12", "--force")
    console.wait("power button ignored")
    world.end(signal.SIGKILL)
    assert stop.wait(10) in (1, 3)
    world.start()
    assert world.state_of() in ("stopping", "stopped")
    world.wait_state("stopped")
    assert world.qemus() == []


def test_an_unsaved_vm_survives_as_well(world):
    world.boot()
    world.restart()
    assert world.listed()["saved"] is False
    assert "[machine]" in world.vore("show", "vm", "--source").ok().out


def test_garbage_in_the_run_time_folder(world):
    world.boot()
    pid = world.listed()["pid"]
    world.end(signal.SIGKILL)
    for path in (world.runtime / "vm/vm").rglob("*"):
        if path.is_file() and path.suffix == ".json":
            path.write_text('{"half": ')
    world.start()
    world.vore("list", "--json").ok()
    assert alive(pid)  # it is somebody's machine: never ended because of a file that we cannot read


def test_sigterm_is_tidy(world):
    world.boot()
    before = world.listed()["pid"]
    assert world.end(signal.SIGTERM) == 0
    assert not world.socket.exists() and alive(before)


def test_sigint_as_well(world):
    assert world.end(signal.SIGINT) == 0
    assert not world.socket.exists()


def test_a_second_vored_is_refused(world):
    second = world.launch("--socket", world.runtime / "other.sock")
    assert second.wait(PATIENCE) == 1
    assert "another vored" in world.log.read_text() and str(world.state) in world.log.read_text()
    world.vore("list").ok()


@pytest.mark.needs_root
def test_a_second_vored_with_another_state_folder_is_refused(make_world):
    """It would find the first one's VMs in the run-time folder, and take them for its own."""
    world = make_world("system")
    world.start()
    second = world.launch("--state-dir", world.base / "other", "--socket", world.runtime / "other.sock")
    assert second.wait(PATIENCE) == 1
    assert f"another vored uses the run-time folder {world.runtime}" in world.log.read_text()
    world.vore("list").ok()


@pytest.mark.needs_root
def test_a_state_folder_behind_a_link(make_world):
    """As when it was moved to a larger disk."""
    world = make_world("system")
    world.folder("large")
    world.state.symlink_to(world.base / "large")
    world.start()
    world.boot()


def test_a_stale_socket_is_replaced(world):
    world.end(signal.SIGKILL)
    assert world.socket.exists()
    world.start()
    world.vore("list").ok()


def test_a_live_socket_is_not(unstarted):
    world = unstarted
    world.runtime.mkdir(mode=0o700)
    if IS_ROOT:
        os.chown(world.runtime, world.uid, world.uid)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(world.socket))
        other.listen()
        os.chmod(world.socket, 0o777)
        vored = world.launch()
        assert vored.wait(PATIENCE) == 1
        assert world.socket.exists() and "vored.sock" in world.log.read_text()


def test_socket_handed_over_is_never_unlinked(unstarted):
    """Socket activation: descriptor 3, LISTEN_FDS and LISTEN_PID."""
    world = unstarted
    path = world.base / "handed.sock"
    with socket.socket(socket.AF_UNIX) as handed:
        handed.bind(str(path))
        os.chmod(path, 0o777)
        handed.listen()
        world.wrap = [sys.executable, "-c", "import os, sys\nos.dup2(int(sys.argv[1]), 3)\n"
                      "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))\n"
                      "os.execv(sys.argv[2], sys.argv[2:])", str(handed.fileno())]
        who = world.who
        world.who = lambda: {**who(), "pass_fds": [handed.fileno()]}
        world.start()
        world.who = who
    world.wrap = []
    world.vore("-c", path, "list").ok()
    assert world.end(signal.SIGTERM) == 0
    assert path.exists()


@pytest.mark.parametrize("button", ["heeded", "ignored"])
def test_power_off_without_a_daemon(any_world, button):
    """At host shutdown with vored gone, `vored --power-off` presses the buttons; one that ignores it is ended."""
    world = any_world
    console = world.boot()
    pid = world.listed()["pid"]
    console.wait("ready")
    if button == "ignored":
        console.say("ignore")
        console.wait("ignoring")
    console.close()
    world.end()
    process = world.launch("--power-off", "2")
    assert process.wait(PATIENCE) == 0
    assert not alive(pid) and not world.socket.exists()
    world.start()
    assert world.state_of() == "stopped"


def test_power_off_takes_over_a_stop(world):
    """Of the vored before, which had more time for it, and no force."""
    console = world.boot()
    pid = world.listed()["pid"]
    console.say("ignore")
    console.wait("ignoring")
    stop = world.popen("stop", "vm", "--timeout", "600", stderr=subprocess.DEVNULL)
    console.wait("power button ignored")
    world.end()
    assert stop.wait(PATIENCE) in (1, 3)
    assert world.launch("--power-off", "1").wait(PATIENCE) == 0
    assert not alive(pid)
    world.start()
    assert world.state_of() == "stopped"


def test_power_off_of_a_qemu_that_hangs(world):
    world.boot()
    pid = world.listed()["pid"]
    world.end()
    os.kill(pid, signal.SIGSTOP)
    assert world.launch("--power-off", "1").wait(PATIENCE) == 0
    assert not alive(pid)
    world.start()
    assert world.state_of() == "stopped"


def test_a_kill_goes_on_in_the_next_vored(world):
    """Also of a QEMU that hangs, which never greets it."""
    world.boot()
    pid = world.listed()["pid"]
    os.kill(pid, signal.SIGSTOP)
    kill = world.popen("kill", "vm", stderr=subprocess.DEVNULL)
    world.wait_state("stopping")
    world.end(signal.SIGKILL)
    assert kill.wait(PATIENCE) in (1, 3)
    world.start()
    world.wait_state("stopped")
    assert not alive(pid)


def test_power_off_beside_a_daemon_does_nothing(world):
    world.boot()
    assert world.launch("--power-off", "2").wait(PATIENCE) == 0
    assert world.state_of() == "running"
