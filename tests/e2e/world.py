"""What the tests stand on: a vored of their own with private folders, the command line, a raw Varlink client,
the guest's console, processes."""
import contextlib
import itertools
import json
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("VORE_BUILD", ROOT / "build")).resolve()
GUEST_IMG, GUEST_ISO, GUEST_UEFI = (BUILD / "tests/guest" / n for n in ("guest.img", "guest.iso", "guest-uefi.img"))
IS_ROOT = os.geteuid() == 0
NEWER_QEMU = os.environ.get("VORE_E2E_QEMU")
# An ordinary user for session mode when the tests run as root: a number that no passwd file has.
SESSION_UID = 64901 if IS_ROOT else os.geteuid()


def build_option(name):
    options = json.loads((BUILD / "meson-info/intro-buildoptions.json").read_text())
    return next(o["value"] for o in options if o["name"] == name)


SANITIZED = build_option("b_sanitize") != "none"
PATIENCE = 60  # seconds until something that must happen counts as missing
INTERFACE = "dev.vore.Manager."


def unique(prefix="vm"):
    """A name that no other test uses that runs beside this one."""
    return f"{prefix}-{os.getpid()}-{next(_numbers)}"


_numbers = itertools.count(1)


class Timeout(AssertionError):
    pass


def until(what, condition, seconds=PATIENCE):
    """Waits for what has no event to wait for. The first true answer is the result."""
    end = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise Timeout(f"not within {seconds} s: {what}")
        time.sleep(0.01)


# --- processes ---

def alive(pid):
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def status_of(pid):
    """/proc/PID/status as a dict."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return {k: v.strip() for k, _, v in (line.partition(":") for line in lines)}


def logs_into(pid, folder):
    try:
        return os.readlink(f"/proc/{pid}/fd/2").startswith(str(folder) + "/") and alive(pid)
    except OSError:
        return False


def kill9(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    until(f"the end of process {pid}", lambda: not alive(pid), 10)


# --- a definition ---

def toml(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {toml(v)}" for k, v in value.items()) + " }"
    return json.dumps(value)


def definition(name="vm", disks=(), extra="", kvm=False, **sections):
    """The text of a definition; sections are dicts by section name; machine gets memory 64M, cpu amount 1."""
    machine = {"name": name, "memory": "64M", **({} if kvm is None else {"kvm": kvm}), **sections.pop("machine", {})}
    cpu = sections.pop("cpu", {"amount": 1})
    text = ""
    for section, keys in {"machine": machine, "cpu": cpu, **sections}.items():
        text += f"[{section.replace('_', '-')}]\n" + "".join(f"{k.replace('_', '-')} = {toml(v)}\n" for k, v in keys.items()) + "\n"
    for disk in disks:
        text += "[[disk]]\n" + "".join(f"{k.replace('_', '-')} = {toml(str(v) if isinstance(v, os.PathLike) else v)}\n"
                                       for k, v in disk.items()) + "\n"
    return text + extra


def relabel(data, label):
    at = data.index(b"VORE-LABEL:") + 11
    return data[:at] + label.encode().ljust(12)[:12] + data[at + 12:]


def with_qemu(settings, **keys):
    """vored.toml's text with keys of [qemu] that it does not have yet."""
    new = "".join(f"{k} = {toml(str(v))}\n" for k, v in keys.items() if f"{k} =" not in settings)
    if "[qemu]\n" not in settings:
        settings += "\n[qemu]\n"
    return settings.replace("[qemu]\n", "[qemu]\n" + new)


# As people wrote it for the first vore: only arguments as text, counters and presets.
FIRST_SCRIPT = """
vore:register_disk_preset("mine", "a disk", function(vm, instance, index, disk)
    local id = "disk" .. vm:get_counter("disk", 0)
    vm:arg("-blockdev", tojson({ driver = disk.disk_type, ["node-name"] = id,
                                 file = { driver = "file", filename = disk.path } }))
    vm:arg("-device", "virtio-blk-pci,drive=" .. id)
    return vm
end)
vore:set_build_command(function(instance, vm)
    vm:arg("-machine", "q35,accel=tcg,hpet=off", "-m", instance.memory, "-nodefaults", "-display", "none")
    vm:arg("-device", "isa-serial,chardev=console")
    for index, disk in ipairs(instance.disks) do
        vm = vore:add_disk(vm, instance, index, disk)
    end
    return vm
end)
"""


# --- the command line's answer ---

class Result:
    def __init__(self, args, rc, out, err):
        self.args, self.rc, self.out, self.err = args, rc, out, err

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def rows(self):
        return [line.split("\t") for line in self.out.splitlines()]

    def ok(self):
        assert self.rc == 0, self
        return self

    def failed(self, rc=1, *words):
        assert self.rc == rc, self
        for word in words:
            assert word.lower() in self.err.lower(), f"{word!r} is missing in {self}"
        return self

    def __repr__(self):
        return f"vore {' '.join(map(str, self.args))} -> {self.rc}\nstdout: {self.out}\nstderr: {self.err}"


# --- a raw Varlink client ---

class VarlinkError(Exception):
    def __init__(self, error, parameters):
        super().__init__(f"{error} {parameters}")
        self.name, self.parameters = error.removeprefix(INTERFACE), parameters


class Varlink:
    def __init__(self, path, timeout=PATIENCE):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(path))  # waits where the queue is full
        self.sock.settimeout(timeout)
        self.rest = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, method, parameters=None, **flags):
        method = method if "." in method else INTERFACE + method
        self.sock.sendall(json.dumps({"method": method, "parameters": parameters or {}, **flags}).encode() + b"\0")

    def receive(self):
        """One message; None at the end of the stream."""
        while b"\0" not in self.rest:
            data = self.sock.recv(65536)
            if not data:
                return None
            self.rest += data
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def closed(self):
        """Has the other end closed, after whatever it still said?"""
        try:
            while self.receive() is not None:
                pass
        except ConnectionResetError:
            pass
        return True

    def reply(self):
        message = self.receive()
        if message is None:
            raise ConnectionError("closed instead of a reply")
        if "error" in message:
            raise VarlinkError(message["error"], message.get("parameters", {}))
        return message

    def call(self, method, **parameters):
        self.send(method, parameters)
        return self.reply()["parameters"]

    def stream(self, method, **parameters):
        """Yields the parameters of every reply, with `more`."""
        self.send(method, parameters, more=True)
        while True:
            message = self.reply()
            yield message["parameters"]
            if not message.get("continues"):
                return


class Console:
    """The serial console of a VM, over an upgraded connection."""

    def __init__(self, path, name, write=True):
        self.link = Varlink(path)
        self.link.send("Console", {"name": name, "write": write}, upgrade=True)
        self.writer = self.link.reply()["parameters"]["writer"]
        self.data, self.link.rest = self.link.rest, b""
        self.seen = 0

    def read_some(self, seconds):
        if not select.select([self.link.sock], [], [], max(seconds, 0))[0]:
            return True
        try:
            data = self.link.sock.recv(65536)
        except ConnectionResetError:
            data = b""
        self.data += data
        return bool(data)

    def wait(self, text, seconds=PATIENCE):
        """Waits for text behind what was waited for last; returns what came up to its end."""
        end = time.monotonic() + seconds
        while (at := self.data.find(text.encode(), self.seen)) < 0:
            if not self.read_some(end - time.monotonic()) or time.monotonic() > end:
                raise Timeout(f"the guest did not say {text!r}, but: {self.data[self.seen:]!r}")
        start, self.seen = self.seen, at + len(text)
        return self.data[start:self.seen].decode(errors="replace")

    def say(self, line):
        self.link.sock.sendall(line.encode() + b"\n")

    def report(self):
        """The next JSON line that the guest prints."""
        self.wait('{"firmware"')
        return json.loads('{"firmware"' + self.wait("\n"))

    def close(self):
        self.link.close()


# --- a vored ---

class World:
    """Private folders, one vored at a time, everything in them; gone after the test."""

    def __init__(self, mode="session", settings="", env=None, wrap=()):
        self.mode, self.wrap = mode, list(wrap)
        self.uid = 0 if mode == "system" else SESSION_UID
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="vore-e2e-", dir="/tmp"))
        self.process, self.ready, self.consoles, self.exact_env = None, None, [], env or {}
        self.images = self.folder("images")
        self.programs = BUILD
        if mode == "system":
            self.state, self.runtime, self.config = self.base / "state", self.base / "run", self.base / "vored.toml"
            self.cache = self.state / "cache"
        else:
            self.state, self.runtime = self.folder("state") / "vore", self.folder("run", 0o700) / "vore"
            self.config, self.cache = self.folder("config/vore") / "vored.toml", self.folder("cache")
        self.socket, self.log = self.runtime / "vored.sock", self.base / "vored.log"
        os.chown(self.base, self.uid, self.uid if IS_ROOT else -1)
        self.reach_programs(settings)

    def folder(self, name, mode=0o755):
        path = self.base / name
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(mode)
        if IS_ROOT:
            for p in (path, *path.parents):
                if p == self.base.parent:
                    break
                os.chown(p, self.uid, self.uid)
        return path

    def reach_programs(self, settings):
        """A clone in a home of mode 0700 is out of an ordinary user's reach: then with a copy."""
        def reachable(path):
            return all(p.stat().st_mode & 1 for p in (path, *path.parents))
        lines = settings
        if self.uid and IS_ROOT and not reachable(BUILD):
            self.programs = self.folder("programs")
            for path in BUILD.glob("vore*"):
                if path.is_file():
                    shutil.copy2(path, self.programs)
            shutil.copytree(ROOT / "lua", self.programs / "lua")
            if host := self.exact_env.get("VORE_HOST_ROOT"):
                shutil.copytree(host, self.programs / "host", symlinks=True)
                self.exact_env = {**self.exact_env, "VORE_HOST_ROOT": str(self.programs / "host")}
            subprocess.run(["chmod", "-R", "a+rX", self.programs], check=True)
            lines = with_qemu(lines, script=self.programs / "lua/qemu.lua")
        if NEWER_QEMU:
            lines = with_qemu(lines, binary=NEWER_QEMU)
        self.write(self.config, lines)

    def settings(self, **qemu):
        """Adds keys of [qemu] to vored.toml."""
        self.write(self.config, with_qemu(self.config.read_text(), **qemu))

    def env(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("VORE_", "XDG_", "NOTIFY_", "LISTEN_"))}
        env.update(HOME=str(self.base), VORE_SOCKET=str(self.socket), LC_ALL="C.UTF-8",
                   ASAN_OPTIONS="detect_leaks=1:exitcode=97:quarantine_size_mb=1", UBSAN_OPTIONS="print_stacktrace=1")
        env.update(XDG_CONFIG_HOME=str(self.base / "config"), XDG_STATE_HOME=str(self.base / "state"),
                   XDG_RUNTIME_DIR=str(self.base / "run"), XDG_CACHE_HOME=str(self.base / "cache"))
        env.update(self.exact_env)
        return env

    def who(self):
        return dict(user=self.uid, group=self.uid, extra_groups=[]) if IS_ROOT and self.uid else {}

    def arguments(self):
        if self.mode == "system":
            return ["--config", self.config, "--state-dir", self.state, "--runtime-dir", self.runtime]
        return []

    def launch(self, *more, **env):
        """vored without waiting for anything. self.ready is the socket where it says READY=1."""
        self.ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        address = f"\0vore-e2e-{os.getpid()}-{id(self.ready)}-{time.monotonic_ns()}"
        self.ready.bind(address)
        with open(self.log, "ab") as log:
            return subprocess.Popen([*self.wrap, self.programs / "vored", *self.arguments(), *more],
                                    env={**self.env(), "NOTIFY_SOCKET": "@" + address[1:], **env}, cwd="/",
                                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self.who())

    def start(self, *more, **env):
        assert self.process is None or self.process.poll() is not None
        self.process = self.launch(*more, **env)
        pidfd = os.pidfd_open(self.process.pid)
        try:
            while True:
                readable, _, _ = select.select([self.ready, pidfd], [], [], PATIENCE)
                assert self.ready in readable, f"vored is not ready: {self.log.read_text()}"
                if "READY=1" in self.ready.recv(4096).decode().splitlines():
                    return self
        finally:
            os.close(pidfd)

    def end(self, sig=signal.SIGTERM):
        """Ends vored; its exit status."""
        self.process.send_signal(sig)
        return self.process.wait(PATIENCE)

    def restart(self, sig=signal.SIGKILL, **env):
        self.end(sig)
        return self.start(**env)

    def shared_memory(self, name):
        """The VM's folder in /dev/shm, which is one for all worlds of this user: so its name should be unique."""
        return pathlib.Path("/dev/shm/vore" if self.uid == 0 else f"/dev/shm/vore-{self.uid}") / name

    # --- what a test does with it ---

    def popen(self, *args, **options):
        return subprocess.Popen([self.programs / "vore", *map(str, args)],
                                **{"env": self.env(), "cwd": self.base, "text": True, **self.who(), **options})

    def vore(self, *args, stdin="", timeout=2 * PATIENCE, cwd=None, env=None):
        p = subprocess.run([self.programs / "vore", *map(str, args)], env={**self.env(), **(env or {})}, input=stdin,
                           capture_output=True, text=True, timeout=timeout, cwd=cwd or self.base, **self.who())
        return Result(args, p.returncode, p.stdout, p.stderr)

    def write(self, path, text, mode=0o644):
        path = self.base / path
        path.parent.mkdir(parents=True, exist_ok=True)
        data = text.encode() if isinstance(text, str) else text
        path.write_bytes(data)
        os.chmod(path, mode)
        if IS_ROOT:
            os.chown(path, self.uid, self.uid)
        return path

    def image(self, label="disk", source=GUEST_IMG, name=None):
        return self.write(self.images / (name or label + source.suffix), relabel(source.read_bytes(), label))

    def define(self, name="vm", disks=None, **more):
        """A definition file; without disks it boots the guest from a virtio disk."""
        if disks is None:
            disks = [{"preset": "virtio", "path": self.image(name)}]
        return self.write(f"{name}.toml", definition(name, disks, **more))

    def load(self, name="vm", *options, **more):
        self.vore("load", self.define(name, **more), *options).ok()
        return name

    def boot(self, name="vm", *options, **more):
        """Boots the test guest and waits until it is ready; its console."""
        self.vore("boot", self.define(name, **more), *options).ok()
        console = self.console(name)
        console.wait("ready\r\n")
        console.seen = 0
        return console

    def console(self, name="vm", **options):
        console = Console(self.socket, name, **options)
        self.consoles.append(console)
        return console

    def link(self, **options):
        return Varlink(self.socket, **options)

    def listed(self, name="vm"):
        """Its entry in the list, or None."""
        return next((m for m in self.vore("list", "--json").ok().json if m["name"] == name), None)

    def state_of(self, name="vm"):
        entry = self.listed(name)
        return entry and entry["state"]

    def wait_state(self, state, name="vm", seconds=PATIENCE):
        """By the event stream, whose snapshot comes first."""
        with self.link(timeout=seconds) as link:
            link.send("Subscribe", {"name": name}, more=True)
            while True:
                event = link.reply()["parameters"]["event"]
                if self.state_of(name) == state:
                    return self.listed(name)
                assert event["event"] != "overflow"

    def qemus(self):
        """The QEMUs of this world: whose log lies in it."""
        return [p for p in map(int, filter(str.isdigit, os.listdir("/proc")))
                if p != (self.process.pid if self.process else 0) and self.is_qemu(p)]

    def is_qemu(self, pid):
        try:
            return "qemu" in os.readlink(f"/proc/{pid}/exe") and logs_into(pid, self.base)
        except OSError:
            return False

    def logs_of(self, name="vm"):
        return self.vore("logs", name).ok().out

    def close(self):
        """Ends what runs, removes the folders; says what vored should not have done."""
        problems = []
        for console in self.consoles:
            console.close()
        if self.process and self.process.poll() is None:
            status = self.end()
            if status != 0:
                problems.append(f"vored ended with {status}")
        for pid in self.qemus():
            kill9(pid)
        for vm in self.runtime.glob("vm/*"):  # what is in /dev/shm is not below self.base
            shutil.rmtree(self.shared_memory(vm.name), ignore_errors=True)
        said = self.log.read_text(errors="replace") if self.log.exists() else ""
        for word in ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:", "Assertion"):
            if word in said:
                problems.append(f"{word} in vored's output:\n{said}")
        shutil.rmtree(self.base, ignore_errors=True)
        assert not problems, "\n".join(problems)
