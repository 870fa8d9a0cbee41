"""The guest plays a tone, and a real sound server hears it."""
import contextlib
import grp
import os
import pathlib
import shutil
import signal
import socket
import stat
import subprocess
import threading

import pytest

import sound
from world import SESSION_UID, alive, build_option, kill9, status_of


@pytest.fixture
def serve():
    """Before the world in a test's arguments: QEMU then ends first."""
    servers = []

    def make(kind, *args, **options):
        missing = [p for p in kind.needs if not sound.have(p)]
        if missing:
            pytest.skip(f"not installed: {', '.join(missing)}")
        servers.append(kind(*args, **options))
        return servers[-1].start()

    yield make
    for server in servers:
        server.end()


def own(world, serve, kind, **options):
    """A server of the session's own user."""
    return serve(kind, SESSION_UID, world.folder("home"), world.base / "run", **options)


def as_uid(uid, *command):
    return subprocess.run(["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *map(str, command)],
                          capture_output=True, text=True)


def fingerprint(path):
    acl = subprocess.run(["getfacl", "-pn", path], capture_output=True, text=True, check=True).stdout
    return stat.S_IMODE(os.stat(path).st_mode), acl


def play(console, hertz):
    console.say(f"tone {hertz}")
    console.wait("playing\r\n")


# --- PulseAudio ---

def test_pulse_of_the_session(serve, world):
    pulse = own(world, serve, sound.Pulse)
    console = world.boot(machine={"features": ["pulse"]})
    play(console, 440)
    pulse.hears(440)
    assert 'media.name = "vm"' in pulse.clients()
    play(console, 700)
    pulse.hears(700)


# --- PulseAudio of another user ---

# One for each process of the tests: a user has one folder of sockets.
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
LISTENER, UIDS = 64911 + WORKER, 71000 + 10 * WORKER


def folder_for(path):
    path.mkdir(mode=0o700, parents=True)
    os.chown(path, LISTENER, LISTENER)
    return path


@pytest.fixture
def system(make_world):
    """A system daemon that knows a user "listener", who is logged in. The machine's own users are left alone."""
    world = make_world("system")
    world.home, world.sockets = folder_for(world.base / "home"), folder_for(pathlib.Path(f"/run/user/{LISTENER}"))
    os.chmod(world.base, 0o711)
    passwd = world.write("passwd", pathlib.Path("/etc/passwd").read_text() +
                         f"listener:x:{LISTENER}:{LISTENER}::{world.home}:/bin/sh\n")
    world.wrap = ["unshare", "--mount", "sh", "-c", f'mount --bind {passwd} /etc/passwd && exec "$@"', "sh"]
    # Its VMs' numbers are its own, too: those of other systems are used by tests beside it.
    world.settings(uids=f"{UIDS}-{UIDS + 9}")
    try:
        yield world.start()
    finally:
        shutil.rmtree(world.sockets)


def listen(serve, world):
    pulse = serve(sound.Pulse, LISTENER, world.home, world.sockets)
    return pulse, {"pulse": {"enabled": True, "user": "listener", "required": True}}


@pytest.mark.needs_root
def test_pulse_of_another_user(serve, system):
    pulse, sections = listen(serve, system)
    console = system.boot(**sections)
    play(console, 520)
    pulse.hears(520)
    pid = system.listed()["pid"]
    uid = int(status_of(pid)["Uid"].split()[0])
    assert uid not in (0, LISTENER)
    assert status_of(pid)["Groups"].split() == []

    # The socket, and nothing else of that user's.
    secret = pulse.home / "secret"
    secret.write_text("mine")
    os.chown(secret, LISTENER, LISTENER)
    os.chmod(secret, 0o600)
    for path in (secret, pulse.socket, pulse.home / ".config/pulse/cookie"):
        assert as_uid(uid, "ls", path).returncode != 0
    for number in os.listdir(f"/proc/{pid}/fd"):
        target = os.readlink(f"/proc/{pid}/fd/{number}")
        assert not target.startswith(str(pulse.home)), target

    # The copy of the cookie is QEMU's alone.
    cookie = (pulse.home / ".config/pulse/cookie").read_bytes()
    variables = pathlib.Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    copy = next(v for v in variables if v.startswith("PULSE_COOKIE=")).split("/")[-1]
    path = f"/proc/{pid}/fd/{copy}"
    assert pathlib.Path(path).read_bytes() == cookie
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o400 and os.stat(path).st_uid == uid
    for other in (LISTENER, SESSION_UID, uid + 1):
        assert as_uid(other, "cat", path).returncode != 0
    copies = [p for p in system.base.rglob("*") if p.is_file() and p.read_bytes() == cookie]
    assert copies == [pulse.home / ".config/pulse/cookie"]


@pytest.mark.needs_root
def test_a_cookie_that_is_a_link_to_roots_files(serve, system):
    """What the user may not read goes to no VM either. The server keeps its cookie in memory: QEMU is refused by it."""
    pulse, sections = listen(serve, system)
    secret = system.base / "secret"
    secret.write_text("root's own")
    os.chmod(secret, 0o600)
    cookie = pulse.home / ".config/pulse/cookie"
    cookie.unlink()
    cookie.symlink_to(secret)
    system.load(**sections)
    system.vore("start", "vm").failed(1, "pulseaudio", "access denied")


@pytest.mark.needs_root
def test_the_server_dies_and_the_guest_goes_on(serve, system):
    pulse, sections = listen(serve, system)
    console = system.boot(**sections)
    play(console, 880)
    pulse.hears(880)
    pulse.kill()
    console.say("echo still here")
    console.wait("still here\r\n")
    play(console, 440)
    assert system.state_of() == "running" and alive(system.listed()["pid"])
    system.vore("stop", "vm").ok()


def mounted(world, pid="self"):
    """Without what tests beside this one mount in their folders."""
    lines = pathlib.Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    others = str(world.base.parent / "vore-e2e-")
    return [line for line in lines if others not in line or f"{world.base}/" in line]


@pytest.mark.needs_root
@pytest.mark.parametrize("end", ["kill", "qemu", "both"])
def test_a_socket_that_lets_in_its_user_only(serve, system, end):
    """QEMU's number gets an ACL on it, and loses it however the VM ends. Nothing else of the host is touched."""
    pulse, sections = listen(serve, system)
    os.chmod(pulse.socket, 0o700)
    before, mounts = fingerprint(pulse.socket), mounted(system)
    console = system.boot(**sections)
    assert fingerprint(pulse.socket) != before
    play(console, 330)
    pulse.hears(330)
    pid = system.listed()["pid"]
    assert mounted(system, pid) == mounted(system, system.process.pid)
    if end == "kill":
        system.vore("kill", "vm").ok()
    elif end == "qemu":
        kill9(pid)
        system.wait_state("failed")
    else:
        system.end(signal.SIGKILL)
        kill9(pid)
        system.start()
        assert system.state_of() == "failed"
    assert fingerprint(pulse.socket) == before
    assert mounted(system) == mounts


KILLS = ["start:access:after", "start:spawn:after", "start:exec:after", "start:run:after", "undo:acl:before",
         "undo:acl:after"]


@pytest.mark.needs_root
@pytest.mark.parametrize("point", KILLS if build_option("test-hooks") else [])
def test_vored_killed_leaves_no_acl(serve, system, point):
    pulse, sections = listen(serve, system)
    os.chmod(pulse.socket, 0o700)
    before = fingerprint(pulse.socket)
    system.restart(VORE_TEST_KILL=point)
    system.load("vm", "--save", **sections)
    if system.vore("start", "vm").rc == 0:
        system.vore("kill", "vm")
    assert system.process.wait(20) == -signal.SIGKILL
    system.start()
    if system.state_of() == "starting":
        system.wait_state("running")
    if system.state_of() == "running":
        assert fingerprint(pulse.socket) != before
        console = system.console()
        console.say("")  # one that had said it long ago repeats it
        console.say("echo ready")
        console.wait("ready\r\n")
        play(console, 440)
        pulse.hears(440)
        system.vore("kill", "vm").ok()
    assert system.qemus() == [] and fingerprint(pulse.socket) == before


# --- no server ---

def test_a_server_that_dies_before_the_start(serve, world):
    """Prepared with it, started without."""
    pulse = own(world, serve, sound.Pulse)
    name = world.load(machine={"features": ["pulse"]})
    assert "silent" not in world.vore("prepare", name).ok().err
    pulse.kill()
    assert "silent" in world.vore("start", name).ok().err


def test_a_server_that_is_none(world):
    """It answers, and then it is not what it should be: as one that dies between the look and QEMU. QEMU says why."""
    path = world.folder("run/pulse", 0o700) / "native"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        os.chmod(path, 0o777)
        listener.listen(16)
        thread = threading.Thread(target=hang_up, args=(listener,), daemon=True)
        thread.start()
        world.load(machine={"features": ["pulse"]})
        world.vore("start", "vm").failed(1, "pulseaudio", "connection terminated")
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)
    assert world.state_of() == "failed" and world.qemus() == []


def hang_up(listener):
    try:
        while True:
            listener.accept()[0].close()
    except OSError:
        pass


def test_no_server_is_a_silent_card_and_a_warning(world):
    result = world.vore("start", world.load(machine={"features": ["pulse"]})).ok()
    assert "warning: pulse.enabled" in result.err and "pulse/native" in result.err and "silent" in result.err
    console = world.console()
    console.wait("ready\r\n")
    play(console, 440)
    shown = world.vore("show", "vm", "--json").ok().json["pulse"]
    assert shown["silent"] is True and shown["user_uid"] == SESSION_UID
    world.vore("stop", "vm").ok()


@pytest.mark.parametrize("section", ["pulse", "jack"])
def test_a_required_server_is_an_error_before_anything(world, section):
    name = world.load(**{section: {"enabled": True, "required": True}})
    world.vore("check", world.base / "vm.toml").failed(1, f"{section}.required", "answers at")
    world.vore("start", name).failed(1, f"{section}.required", "answers at")
    assert world.qemus() == [] and not (world.state / "instance/vm").exists()


def test_nobody_listens_at_the_socket(world):
    path = world.folder("run/pulse", 0o700) / "native"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        os.chmod(path, 0o777)
    result = world.vore("check", world.define(machine={"features": ["pulse"]})).ok()
    assert "nobody listens" in result.err
    path.unlink()
    path.write_text("")
    result = world.vore("check", world.define(machine={"features": ["pulse"]})).ok()
    assert "no socket" in result.err


def test_a_server_that_hangs_holds_nobody_up(world):
    """Its queue is full: a connection would wait for ever."""
    path = world.folder("run/pulse", 0o700) / "native"
    with socket.socket(socket.AF_UNIX) as hanging, socket.socket(socket.AF_UNIX) as first:
        hanging.bind(str(path))
        os.chmod(path, 0o777)
        hanging.listen(0)
        first.connect(str(path))
        result = world.vore("check", world.define(machine={"features": ["pulse"]})).ok()
        assert "hang" in result.err


def test_a_session_has_its_own_sound_only(world):
    world.vore("check", world.define(pulse={"enabled": True, "user": "root"})).failed(1, "pulse.user", "session")
    world.vore("check", world.define(pulse={"enabled": True, "user": "nobody-there"})).failed(1, "pulse.user", "no user")


def test_several_ways_are_several_cards(serve, world):
    """The guest plays through all of them; the first is PulseAudio's."""
    pulse = own(world, serve, sound.Pulse)
    jack = serve(sound.Jack, SESSION_UID, world.folder("home2"), world.base / "run")
    console = world.boot(machine={"features": ["pulse", "jack", "spice"]}, jack={"server": jack.name})
    command = world.vore("x", "qemucmd", "vm", "--json").ok().json
    cards = [a for a in command if a.startswith("hda-duplex")]
    assert [dict(p.split("=") for p in c.split(",")[1:])["audiodev"] for c in cards] == ["pulse", "jack"]
    play(console, 500)
    pulse.hears(500)
    jack.hears(500)


# --- JACK ---

def of_user(uid):
    found = []
    for path in pathlib.Path("/dev/shm").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found += [path] if path.lstat().st_uid == uid else []
    return found


def test_jack_of_the_session(serve, world):
    jack = serve(sound.Jack, SESSION_UID, world.folder("home"), world.base / "run")
    jack.client = "guest"
    console = world.boot(jack={"enabled": True, "required": True, "server": jack.name, "client-name": "guest",
                               "connect-ports": "system:playback_.*"})
    play(console, 440)
    jack.hears(440)
    lines = jack.clients().splitlines()
    assert "system:playback_1" in lines[lines.index("out-guest:output 0") + 1]


@pytest.mark.needs_root
def test_jack_of_another_user_needs_a_group(serve, system):
    jack = serve(sound.Jack, LISTENER, system.home, system.sockets)
    sections = {"jack": {"enabled": True, "user": "listener", "server": jack.name}}
    result = system.vore("check", system.define(**sections)).failed(1, "JACK_PROMISCUOUS_SERVER", "[qemu]")
    assert "jack.user" in result.err
    jack.kill()
    jack.env["JACK_PROMISCUOUS_SERVER"] = "audio"
    jack.groups = [grp.getgrnam("audio").gr_gid]
    jack.start()
    console = system.boot(**sections)
    status = status_of(system.listed()["pid"])
    assert status["Groups"].split() == [str(jack.groups[0])]
    play(console, 600)
    jack.hears(600)
    jack.kill()
    console.say("echo still here")
    console.wait("still here\r\n")
    uid = int(status_of(system.listed()["pid"])["Uid"].split()[0])
    # What libjack may leave, and what is none of its own.
    left, other = (pathlib.Path(f"/dev/shm/{name}-{os.getpid()}") for name in ("jack_vore-e2e", "vore-e2e"))
    left.mkdir()
    (left / "inside").write_text("")
    other.write_text("")
    os.chown(left, uid, uid)
    os.chown(other, uid, uid)
    kill9(system.listed()["pid"])
    system.wait_state("failed")
    assert of_user(uid) == [other]
    other.unlink()


@pytest.mark.needs_root
def test_all_vms_as_the_listener(serve, system):
    """Then its JACK needs no group, and its PulseAudio no cookie."""
    system.end()
    system.settings(user="listener")
    system.start()
    jack = serve(sound.Jack, LISTENER, system.home, system.sockets)
    pulse, sections = listen(serve, system)
    console = system.boot(jack={"enabled": True, "user": "listener", "server": jack.name, "required": True}, **sections)
    status = status_of(system.listed()["pid"])
    assert int(status["Uid"].split()[0]) == LISTENER and status["Groups"].split() == []
    assert b"PULSE_COOKIE" not in pathlib.Path(f"/proc/{system.listed()['pid']}/environ").read_bytes()
    play(console, 470)
    jack.hears(470)
    pulse.hears(470)
    before = set(of_user(LISTENER))
    system.vore("kill", "vm").ok()
    assert jack.registry.exists() and "system:playback_1" in jack.clients()
    assert {p for p in before if "system" in p.name} <= set(of_user(LISTENER))


# --- PipeWire ---

@pytest.mark.newer_qemu  # 8.1 or newer
def test_pipewire_of_the_session(serve, world):
    pipewire = own(world, serve, sound.PipeWire)
    console = world.boot(machine={"features": ["pipewire"]}, pipewire={"required": True})
    play(console, 440)
    pipewire.hears(440)


@pytest.mark.newer_qemu
@pytest.mark.needs_root
def test_pipewire_of_another_user(serve, system):
    """Its socket is that user's alone: QEMU's number gets an ACL, and it is gone afterwards."""
    pipewire = serve(sound.PipeWire, LISTENER, system.home, system.sockets)
    before = fingerprint(pipewire.socket)
    console = system.boot(pipewire={"enabled": True, "user": "listener", "required": True})
    assert fingerprint(pipewire.socket) != before
    play(console, 440)
    pipewire.hears(440)
    system.vore("kill", "vm").ok()
    assert fingerprint(pipewire.socket) == before
    system.vore("start", "vm").ok()
    console = system.console()
    console.wait("ready\r\n")
    play(console, 440)
    pipewire.kill()
    console.say("echo still here")
    console.wait("still here\r\n")
    pipewire.start()
    before = fingerprint(pipewire.socket)
    system.vore("kill", "vm").ok()
    assert fingerprint(pipewire.socket) == before
