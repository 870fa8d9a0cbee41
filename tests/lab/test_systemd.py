"""L1 with systemd: vored installed as a distribution would, its guests outlive it, and the host's shutdown is kind to them."""
import re

import pytest

from l1 import OFF_S, Host
from world import Guest

HOST = Host(init="systemd", state=True)
SCOPE = "vore-guest.scope"


@pytest.fixture
def guest(world):
    """One VM for all tests, started by the first after each boot of L1."""
    if world.l1.run("test -e /run/lab/guest.console").status == 0:
        return Guest(world, "guest")
    world.install()
    world.l1.run("systemctl start vored.socket vored.service").ok()
    return world.boot("guest")


def main_pid(l1):
    return int(l1.out("systemctl show -P MainPID vored.service"))


def unit(l1, name, *properties):
    lines = l1.out(["systemctl", "show", name, *(f"-p{p}" for p in properties)]).splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_installed_and_enabled(guest):
    l1 = guest.l1
    assert unit(l1, "vored.service", "ActiveState", "Type") == {"ActiveState": "active", "Type": "notify"}
    for name in ("vored.socket", "vored.service"):
        assert l1.out(["systemctl", "is-enabled", name]) == "enabled"
    assert unit(l1, "vore-guests.service", "ActiveState")["ActiveState"] == "active"
    assert l1.out("stat -c '%U:%G %a' /run/vore/vored.sock") == "root:vore 660"
    assert l1.out("stat -c '%a' /var/lib/vore /var/log/vore").split() == ["711", "750"]


def test_scope_in_machine_slice(guest):
    shown = unit(guest.l1, SCOPE, "ActiveState", "Slice", "Before", "ControlGroup")
    assert shown["ActiveState"] == "active" and shown["Slice"] == "machine.slice"
    assert "vore-guests.service" in shown["Before"].split()
    assert guest.l1.out(f"cat /proc/{guest.pid}/cgroup") == f"0::{shown['ControlGroup']}"


def same_vm_after(guest, action):
    """Does it, and checks that there is another vored with the same VM, which still answers."""
    l1, pid, vored = guest.l1, guest.pid, main_pid(guest.l1)
    l1.run(action).ok()
    l1.until(f"p=$(systemctl show -P MainPID vored.service) && [ $p != 0 ] && [ $p != {vored} ] && "
             "[ $(systemctl show -P ActiveState vored.service) = active ]")
    assert guest.pid == pid and guest.entry["state"] == "running"
    assert unit(l1, SCOPE, "ActiveState")["ActiveState"] == "active"
    guest.listen()
    guest.tell(f"echo alive-{vored}")
    guest.says(f"alive-{vored}")


def test_restart_adopts(guest):
    same_vm_after(guest, "systemctl restart vored.service")


def test_killed_vored_comes_back_and_adopts(guest):
    same_vm_after(guest, "kill -9 $(systemctl show -P MainPID vored.service)")


def test_stopped_vored_comes_by_its_socket(guest):
    same_vm_after(guest, "systemctl stop vored.service && vore list")


def test_guest_off_removes_its_scope(guest):
    other = guest.world.boot("other")
    other.world.vore("stop", "other").ok()
    other.says("power button")
    guest.l1.until("! systemctl is-active -q vore-other.scope")
    assert guest.entry["state"] == "running"


def listen_to_the_end(l1):
    """The guest's console on the disk that stays, by a client that is stopped behind vore-guests.service."""
    l1.run("systemd-run --unit=listener -p After=vored.service -p Before=vore-guests.service sh -c "
           "'mkfifo /run/lab/for-ever; exec vore console guest <>/run/lab/for-ever >/state/guest.console 2>&1'").ok()
    l1.until("grep -q ready /state/guest.console")


def last_words(l1):
    return l1.read("/state/guest.console").split("\n")[-1].strip()


def shut_down(machine, seconds=OFF_S):
    """Shuts L1 down and boots it again; the guest's log, and L1's console of the shutdown."""
    before = machine.console.stat().st_size
    machine.power_off(seconds)
    console = machine.console.read_bytes()[before:].decode(errors="replace")
    machine.start()
    return machine.read("/var/log/vore/guest.log"), console


def scope_waited(console):
    """systemd did not stop the scope: it ended because its guest was off."""
    return f"Stopping {SCOPE}" not in console and console.index("guest: stopping") < console.index(f"{SCOPE}: Deactivated")


def test_host_shutdown_presses_the_power_button(guest, machine):
    listen_to_the_end(machine)
    log, console = shut_down(machine)
    assert last_words(machine) == "power button"
    assert "the power button is pressed" in log and log.rstrip().endswith("ended: stopped"), log
    assert scope_waited(console), console


def test_host_shutdown_while_vored_is_stopped(guest, machine):
    guest.l1.run("systemctl stop vored.service").ok()
    log, console = shut_down(machine)
    assert "the power button is pressed" in log and log.rstrip().endswith("ended: stopped"), log


@pytest.mark.long
def test_host_shutdown_waits_for_a_slow_guest(guest, machine):
    """One that ignores its button keeps its scope for the 90 seconds of vore-guests.service, then it is ended."""
    guest.tell("ignore")
    guest.tell("echo heard")
    guest.says("heard")
    listen_to_the_end(machine)
    log, console = shut_down(machine, seconds=2 * OFF_S)
    assert last_words(machine) == "power button ignored"
    times = [float(t) for t in re.findall(r"\[ *([0-9.]+)\] .*guest: stopp(?:ing|ed)", console)]
    assert len(times) == 2 and times[1] - times[0] >= 89, console
    assert scope_waited(console), console
