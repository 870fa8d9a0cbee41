"""The guest's screen, for real: the client of Looking Glass (Debian sid has it) and a SPICE viewer, started by vore as an
ordinary user in the group. They are unpacked beside the system (debian-tree) and run there by chroot, with Xvfb."""
import grp
import os
import pathlib
import subprocess

import pytest

from world import BUILD, SESSION_UID, Result, unique, until

pytestmark = pytest.mark.needs_root

GROUP = 60  # games, which every Debian has
PLACE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "vore-desktop"
PACKAGES = ["base-files", "dash", "coreutils", "libjansson4", "looking-glass-client", "xvfb", "libgl1-mesa-dri", "imagemagick",
            "xdotool", "spice-client-gtk"]
DISPLAY = f":{700 + os.getpid() % 1000}"
SIZE = 1024, 768
# In a mount namespace of its own: devices, this test's folder and the build, at paths that both sides know.
ENTER = """set -e
tree=$1 base=$2 build=$3 ids=$4
shift 4
mount --rbind /dev "$tree/dev"
mount -t proc proc "$tree/proc"
mount -t tmpfs tmpfs "$tree/tmp"
mkdir "$tree/tmp/build" "$tree$base"
mount --bind "$build" "$tree/tmp/build"
mount --bind "$base" "$tree$base"
exec chroot $ids "$tree" /usr/bin/env -i "$@"
"""


@pytest.fixture(scope="module")
def tree():
    p = subprocess.run([pathlib.Path(__file__).parent / "debian-tree", "sid", PLACE, *PACKAGES], capture_output=True, text=True)
    if p.returncode == 3:
        pytest.skip("not available: the packages of the client cannot be had: " + (p.stderr.strip() or "?").splitlines()[-1])
    assert p.returncode == 0, p.stdout + p.stderr
    return PLACE / "tree"


class Desk:
    """Programs in the tree, as an ordinary user; all end with the test."""

    def __init__(self, world, tree):
        self.world, self.tree, self.running = world, tree, []
        self.home = world.folder("home")
        os.chown(self.home, SESSION_UID, SESSION_UID)
        for path in (world.base, world.runtime):
            os.chmod(path, 0o755)

    def command(self, *words, groups=GROUP, **env):
        ids = ["--userspec", f"{SESSION_UID}:{SESSION_UID}", *([f"--groups={groups}"] if groups else [])]
        env = {"HOME": self.home, "XDG_RUNTIME_DIR": self.home, "PATH": "/usr/bin", "LC_ALL": "C.UTF-8", "DISPLAY": DISPLAY,
               "LIBGL_ALWAYS_SOFTWARE": 1, "VORE_SOCKET": self.world.socket, **env}
        return ["unshare", "-m", "sh", "-c", ENTER, "enter", self.tree, self.world.base, BUILD, " ".join(ids),
                *(f"{k}={v}" for k, v in env.items()), "/bin/sh", "-c", 'cd "$HOME"; exec "$@"', "sh", *map(str, words)]

    def run(self, *words, **options):
        p = subprocess.run(self.command(*words, **options), capture_output=True, text=True, timeout=120)
        return Result(words, p.returncode, p.stdout, p.stderr)

    def start(self, *words, **options):
        log = (self.home / f"{len(self.running)}.log").open("w+")
        self.running.append(subprocess.Popen(self.command(*words, **options), stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        return self.running[-1], pathlib.Path(log.name)

    def close(self):
        for process in reversed(self.running):
            process.kill()
            process.wait()


@pytest.fixture
def desk(make_world, tree):
    world = make_world("system", settings=f'[vore]\ngroup = "{grp.getgrgid(GROUP).gr_name}"\n').start()
    desk = Desk(world, tree)
    yield desk
    desk.close()


class Picture:
    """A PPM file (P6), by pixels."""

    def __init__(self, path):
        data = path.read_bytes()
        kind, size, most, self.data = data.split(b"\n", 3)
        assert kind == b"P6" and most == b"255", data[:20]
        self.width, self.height = map(int, size.split())

    def pixel(self, x, y):
        at = 3 * (y * self.width + x)
        return tuple(self.data[at:at + 3])

    def has_the_guest(self):
        """Four quarters, red and green above blue and cyan, on a screen of 720 times 400, as large as fits."""
        scale = min(self.width / 720, self.height / 400)
        across, down = 720 * scale / 4, 400 * scale / 4
        x, y = self.width / 2, self.height / 2
        wanted = {(-1, -1): (170, 0, 0), (1, -1): (0, 170, 0), (-1, 1): (0, 0, 170), (1, 1): (0, 170, 170)}
        return all(abs(a - b) < 24 for (i, j), color in wanted.items()
                   for a, b in zip(self.pixel(int(x + i * across), int(y + j * down)), color))


def test_a_picture_is_looked_at(tmp_path):
    """The test of the tests: no other picture is taken for the guest's."""
    def picture(*quarters):
        rows = [b"".join(bytes(q) * 360 for q in pair) * 200 for pair in (quarters[:2], quarters[2:])]
        (tmp_path / "x").write_bytes(b"P6\n720 400\n255\n" + b"".join(rows))
        return Picture(tmp_path / "x")
    red, green, blue, cyan, black = (170, 0, 0), (0, 170, 0), (0, 0, 170), (0, 170, 170), (0, 0, 0)
    assert picture(red, green, blue, cyan).has_the_guest()
    for quarters in ((black,) * 4, (green, red, blue, cyan), (red, green, blue, black)):
        assert not picture(*quarters).has_the_guest()


def boot(world, *features):
    name = unique("desk")
    return name, world.boot(name, machine={"features": list(features)})


def screen(desk):
    desk.run("import-im7.q16", "-window", "root", "-depth", "8", "ppm:screen.ppm").ok()
    return Picture(desk.home / "screen.ppm")


def start_screen(desk):
    server, log = desk.start("Xvfb", DISPLAY, "-screen", "0", f"{SIZE[0]}x{SIZE[1]}x24")
    until("the X server", lambda: server.poll() is not None or desk.run("xdotool", "getdisplaygeometry").rc == 0)
    assert server.poll() is None, log.read_text()


def window(desk):
    return desk.run("xdotool", "search", "--name", "Looking Glass").out.split()


def test_looking_glass(desk):
    """`vore looking-glass` starts the real client: it opens our memory, connects to our socket, shows the guest's screen,
    and what is typed reaches the guest."""
    world = desk.world
    name, console = boot(world, "looking-glass")
    start_screen(desk)
    client, log = desk.start("/tmp/build/vore", "looking-glass", name, "--", "win:dontUpscale=no")
    until("the guest's screen in the client", lambda: client.poll() is None and screen(desk).has_the_guest() or
          client.poll() is not None)
    assert client.poll() is None, log.read_text()

    # It is the client, in vore's process, and has the VM's memory mapped.
    assert os.readlink(f"/proc/{client.pid}/exe").endswith("/looking-glass-client")
    maps = pathlib.Path(f"/proc/{client.pid}/maps").read_text()
    assert f"/dev/shm/vore/{name}/looking-glass" in maps
    spice = world.vore("qmp", name, "query-spice").ok().json["return"]
    assert {1, 2, 3} <= {c["channel-type"] for c in spice["channels"]}  # main, display, inputs

    # Without a window manager a window gets the keys when it is told to.
    desk.run("xdotool", "windowfocus", "--sync", window(desk)[0]).ok()
    desk.run("xdotool", "mousemove", SIZE[0] // 2, SIZE[1] // 2, "key", "--delay", "100", "v", "o", "r", "e").ok()
    for code in ("2f", "18", "13", "12"):
        console.wait(f"key {code}\r\n")
    world.vore("kill", name).ok()
    assert not world.shared_memory(name).exists()


def test_spice_viewer(desk):
    """`vore spice` as a member of the group; without the group the socket is closed."""
    name, _ = boot(desk.world, "spice")
    viewer = {"VORE_SPICE_VIEWER": "spicy-screenshot"}

    def picture():
        desk.run("/tmp/build/vore", "spice", name, **viewer).ok()
        return Picture(desk.home / "spicy-screenshot.ppm").has_the_guest()
    until("the guest's screen in the viewer", picture)
    (desk.home / "spicy-screenshot.ppm").unlink()

    os.chmod(desk.world.socket, 0o666)
    desk.run("/tmp/build/vore", "spice", name, groups=None, **viewer).failed(1, "no permission", "join the group")
    socket = desk.world.state / "instance" / name / "spice.sock"
    refused = desk.run("spicy-screenshot", f"--uri=spice+unix://{socket}", groups=None)
    assert not (desk.home / "spicy-screenshot.ppm").exists(), refused
