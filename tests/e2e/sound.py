"""Sound servers of the tests' own, and what is heard on them."""
import array
import fcntl
import os
import pathlib
import shutil
import signal
import statistics
import subprocess

from world import IS_ROOT, Timeout, until

RATE = 48000


def mono(data):
    samples = array.array("h")
    samples.frombytes(data[:len(data) // 2 * 2])
    return samples


def frequency(samples, rate=RATE):
    """Of what is loud in it: by the median of its periods, so that gaps of a busy machine do not count, however many there
    are. None: silence."""
    size, periods = rate // 20, []
    for start in range(0, len(samples) - size, size):
        piece = samples[start:start + size]
        loud = max(map(abs, piece))
        if loud < 1000:
            continue
        # From below a half to above it: noise around zero is no crossing.
        ups, below = [], False
        for i, value in enumerate(piece):
            if value < -loud // 2:
                below = True
            elif value > loud // 2 and below:
                ups.append(i)
                below = False
        periods += [later - up for up, later in zip(ups, ups[1:])]
    return rate / statistics.mean(middle(periods)) if len(periods) > 4 else None


def middle(values):
    """The middle half: a mean of it is finer than one sample."""
    values = sorted(values)
    return values[len(values) // 4:-(len(values) // 4) or None]


class Server:
    """A process of some user's, with a home and a run-time folder. Ended by the fixture."""

    def __init__(self, uid, home, runtime, groups=(), **env):
        self.uid, self.home, self.runtime, self.groups = uid, pathlib.Path(home), pathlib.Path(runtime), list(groups)
        self.env = {"PATH": os.environ["PATH"], "HOME": str(home), "XDG_RUNTIME_DIR": str(runtime), "LC_ALL": "C.UTF-8",
                    "DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent", **env}
        self.processes = []

    def who(self):
        return dict(user=self.uid, group=self.uid, extra_groups=self.groups) if IS_ROOT else {}

    def spawn(self, *command, **options):
        log = open(self.home / f"{command[0]}.log", "ab")
        with log:
            process = subprocess.Popen([str(c) for c in command], env=self.env, cwd=self.home, stdin=subprocess.DEVNULL,
                                       **{"stdout": log, "stderr": log, **self.who(), **options})
        self.processes.append(process)
        return process

    def ask(self, *command, timeout=60):
        return subprocess.run([str(c) for c in command], env=self.env, cwd=self.home, capture_output=True,
                              timeout=timeout, **self.who())

    def said(self):
        return "".join(p.read_text(errors="replace")[-2000:] for p in self.home.glob("*.log"))

    def kill(self, sig=signal.SIGKILL):
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(sig)
            process.wait()
        self.processes = []

    def end(self):
        self.kill(signal.SIGTERM)

    def heard(self, seconds=2.0):
        """What its output plays from now on."""
        process = self.spawn(*self.recorder(), stdout=subprocess.PIPE)
        try:
            return mono(process.stdout.read(int(seconds * RATE) * 2))
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    def hears(self, hertz, seconds=60):
        """Waits until the tone is there."""
        def right():
            seen.append(frequency(self.heard(1)))
            return seen[-1] and abs(seen[-1] - hertz) < hertz * 0.03
        seen = []
        try:
            until(f"a tone of {hertz} Hz", right, seconds)
        except Timeout as e:
            raise Timeout(f"{e}; heard {seen[-5:]}; the server said: {self.said()}") from None


class Pulse(Server):
    """PulseAudio with a null sink."""
    needs = ("pulseaudio", "parec", "pactl")

    def start(self):
        self.spawn("pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "-L",
                   "module-native-protocol-unix", "-L", f"module-null-sink sink_name=null rate={RATE}")
        until("PulseAudio", lambda: self.ask("pactl", "info").returncode == 0)
        return self

    @property
    def socket(self):
        return self.runtime / "pulse/native"

    def recorder(self):
        return ("parec", "-d", "null.monitor", "--raw", "--format=s16le", f"--rate={RATE}", "--channels=1",
                "--latency-msec=50")

    def clients(self):
        return self.ask("pactl", "list", "sink-inputs").stdout.decode()


PIPEWIRE = """
context.properties = { core.daemon = true core.name = pipewire-0 default.clock.rate = 48000 support.dbus = false }
context.spa-libs = { audio.convert.* = audioconvert/libspa-audioconvert support.* = support/libspa-support }
context.modules = [
 { name = libpipewire-module-protocol-native } { name = libpipewire-module-metadata }
 { name = libpipewire-module-spa-node-factory } { name = libpipewire-module-client-node }
 { name = libpipewire-module-access } { name = libpipewire-module-adapter } { name = libpipewire-module-link-factory }
]
context.objects = [
 { factory = metadata args = { metadata.name = default } }
 { factory = spa-node-factory
   args = { factory.name = support.node.driver node.name = Dummy-Driver priority.driver = 20000 } }
 { factory = adapter args = { factory.name = support.null-audio-sink node.name = sink media.class = Audio/Sink
                              object.linger = true audio.position = "FL,FR" } }
]
"""


class PipeWire(Server):
    """PipeWire with a null sink, and WirePlumber, which connects streams to it. No D-Bus."""
    needs = ("pipewire", "wireplumber", "pw-record", "pw-link")

    def write(self, name, text):
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        for p in (path, *path.parents):
            if p == self.home:
                break
            if IS_ROOT:
                os.chown(p, self.uid, self.uid)
        return path

    def start(self):
        self.write(".config/wireplumber/policy.lua.d/20-defaults.lua",
                   'load_module("default-nodes", { ["use-persistent-storage"] = false })\n')
        self.spawn("pipewire", "-c", self.write("pipewire.conf", PIPEWIRE), umask=0o077)
        until("PipeWire", lambda: self.socket.exists())
        self.spawn("wireplumber", "-c", "policy.conf")
        until("PipeWire's sink", lambda: b"sink:playback_FL" in self.ask("pw-link", "-i").stdout)
        return self

    @property
    def socket(self):
        return self.runtime / "pipewire-0"

    def heard(self, seconds=2.0):
        path = self.home / "heard.wav"
        path.unlink(missing_ok=True)
        self.ask("timeout", seconds + 0.5, "pw-record", "-P", "{ stream.capture.sink=true }", "--format", "s16", "--rate",
                 RATE, "--channels", "1", path)
        return mono(path.read_bytes()[44:])

    def clients(self):
        return self.ask("pw-link", "-o").stdout.decode()


class Jack(Server):
    """jackd with its dummy driver. All servers of a machine share one registry in /dev/shm, which has room for eight and
    forgets none: one test at a time, and it takes along what it brought."""
    needs = ("jackd", "jack_rec", "jack_lsp", "jack_wait")
    registry = pathlib.Path("/dev/shm/jack-shm-registry")
    name = "vore-test"

    def __init__(self, uid, home, runtime, **options):
        super().__init__(uid, home, runtime, JACK_DEFAULT_SERVER=self.name, JACK_NO_AUDIO_RESERVATION="1", **options)
        self.lock = open(f"/tmp/vore-e2e-jack-{os.geteuid()}.lock", "w")
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        self.first = not self.registry.exists()

    def start(self):
        self.spawn("jackd", "-r", "-n", self.name, "-d", "dummy", "-r", RATE, "-p", "1024")
        assert self.ask("jack_wait", "-s", self.name, "-w", "-t", "30").returncode == 0, self.said()
        return self

    def heard(self, seconds=2.0):
        path = self.home / "heard.wav"
        path.unlink(missing_ok=True)
        self.ask("jack_rec", "-f", path, "-d", int(seconds), "-b", "16", f"out-{self.client}:output 0")
        return mono(path.read_bytes()[44:]) if path.exists() else mono(b"")

    client = "vm"

    def end(self):
        super().end()
        # What one that was killed leaves behind, up to 100 MiB; the number is a test's own.
        for path in pathlib.Path("/dev/shm").glob("jack*") if IS_ROOT else ():
            if path.stat().st_uid == self.uid:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        if self.first:
            self.registry.unlink(missing_ok=True)
        self.lock.close()

    def clients(self):
        return self.ask("jack_lsp", "-c").stdout.decode()


def have(*programs):
    return all(shutil.which(p) for p in programs)
