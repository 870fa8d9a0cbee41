"""[looking-glass] and [scream]: memory that guest and host share, from the file to the guest's PCI device and away."""
import grp
import os
import pathlib
import shlex
import shutil
import stat
import struct
import subprocess

import pytest

from world import IS_ROOT, SESSION_UID, build_option, kill9, unique, until

IVSHMEM = (0x1af4, 0x1110)
MIB = 1 << 20


def shared_bars(report):
    """Sizes of the ivshmem devices' memory (BAR 2), by address."""
    return {d["address"]: d["bars"][2] for d in report["pci"] if (d["vendor"], d["device"]) == IVSHMEM}


@pytest.mark.parametrize("keys, mib", [
    ({}, 32),
    ({"width": 2560, "height": 1440}, 64),
    ({"width": 3840, "height": 2160, "bit-depth": 10}, 256),
    ({"buffer-size": 999999}, 1),
])
def test_guest_sees_the_size(world, keys, mib):
    name = unique()
    report = world.boot(name, machine={"features": ["looking-glass"]}, looking_glass=keys).report()
    assert shared_bars(report) == {"00:10.0": mib * MIB}
    file = world.shared_memory(name) / "looking-glass"
    assert file.stat().st_size == mib * MIB and not any(file.open("rb").read(MIB))
    world.vore("stop", name).ok()
    assert not file.parent.exists()


def test_guest_and_host_share_it(world):
    """The guest has one page of it where the host has it: by what the host's QEMU reads at the guest's address."""
    name = unique()
    world.boot(name, machine={"features": ["looking-glass"]})
    with (world.shared_memory(name) / "looking-glass").open("r+b") as f:
        f.seek(4096)
        f.write(struct.pack("<Q", 0x0123456789abcdef))
    pci = world.vore("qmp", name, '{"execute": "query-pci"}').ok().json["return"]
    device = next(d for bus in pci for d in bus["devices"] if d["qdev_id"] == "looking-glass")
    bar = next(r for r in device["regions"] if r["bar"] == 2)
    assert bar["size"] == 32 * MIB and bar["prefetch"]
    said = world.vore("qmp", name, '{"execute": "human-monitor-command", "arguments": {"command-line": '
                      f'"xp /1gx {bar["address"] + 4096:#x}"}}}}').ok().json["return"]
    assert "0x0123456789abcdef" in said


def test_scream_beside_looking_glass(world):
    name = unique()
    result = world.vore("boot", world.define(name, machine={"features": ["looking-glass", "scream"]})).ok()
    assert "warning: scream.enabled" in result.err
    report = world.console(name).report()
    assert shared_bars(report) == {"00:10.0": 32 * MIB, "00:11.0": 2 * MIB}  # Looking Glass takes the first
    assert (world.shared_memory(name) / "scream").stat().st_size == 2 * MIB


def test_made_anew_for_each_start(world):
    name = unique()
    world.load(name, machine={"features": ["looking-glass"]})
    file = world.shared_memory(name) / "looking-glass"
    for _ in range(2):
        world.vore("start", name).ok()
        assert file.open("rb").read(16) == bytes(16)
        with file.open("r+b") as f:
            f.write(b"of the VM before")
        world.vore("kill", name).ok()
        assert not file.exists()
    world.load(name, machine={"features": ["looking-glass"]}, looking_glass={"width": 2560, "height": 1440})
    world.vore("start", name).ok()
    assert file.stat().st_size == 64 * MIB


def test_what_a_crash_left_is_replaced(world):
    name = unique()
    world.load(name, machine={"features": ["looking-glass"]})
    path = world.shared_memory(name)
    path.mkdir(parents=True)
    old = path / "looking-glass"
    old.write_bytes(b"x" * 12345)
    for p in (path.parent, path, old):
        os.chown(p, world.uid, world.uid)
    world.vore("start", name).ok()
    assert old.stat().st_size == 32 * MIB and old.open("rb").read(1) == b"\0"


@pytest.mark.parametrize("how", ["off", "kill", "qemu", "stop"])
def test_gone_however_it_ends(world, how):
    name = unique()
    console = world.boot(name, machine={"features": ["looking-glass", "scream"]})
    path = world.shared_memory(name)
    assert len(os.listdir(path)) == 2
    if how == "off":
        console.say("off")
        world.wait_state("stopped", name)
    elif how == "qemu":
        kill9(world.listed(name)["pid"])
        world.wait_state("failed", name)
    else:
        world.vore("stop" if how == "stop" else "kill", name).ok()
    assert not path.exists()


def test_a_failed_start_leaves_nothing(world):
    """QEMU itself refuses: two things with one id."""
    name = unique()
    script = world.write("bad.lua", 'local default = require "vore.default"\nvore:set_build_command(function(i, vm)\n'
                         '  vm = default.build(i, vm)\n  vm:arg("-device", "nonesuch")\n  return vm\nend)\n')
    world.settings(script=script)
    world.restart()
    world.load(name, machine={"features": ["looking-glass"]})
    world.vore("start", name).failed(1, "nonesuch")
    assert not world.shared_memory(name).exists()


def test_too_little_room(world):
    """A terabyte is more than any /dev/shm has here: said before QEMU, and nothing is left."""
    name = unique()
    world.load(name, machine={"features": ["looking-glass"]}, looking_glass={"buffer-size": "1T"})
    world.vore("start", name).failed(1, "needs 1T", "MiB free")
    assert not world.shared_memory(name).exists()
    assert "qemu" not in world.logs_of(name).lower()


# --- a path of the user's ---

def test_a_file_of_the_users_is_left_as_it_is(world):
    name, path = unique(), world.images / "mine"
    world.write(path, b"kept" + bytes(32 * MIB - 4), 0o640)
    before = path.stat()
    world.boot(name, machine={"features": ["looking-glass"]}, looking_glass={"mem-path": str(path)})
    assert not world.shared_memory(name).exists()
    world.vore("kill", name).ok()
    after = path.stat()
    assert [getattr(before, k) == getattr(after, k) for k in ("st_mode", "st_uid", "st_gid", "st_size", "st_ino")]
    assert path.open("rb").read(4) == b"kept"


def test_a_path_of_the_users_that_is_not_there(world):
    name, path = unique(), world.images / "made here"
    world.boot(name, machine={"features": ["looking-glass"]}, looking_glass={"mem-path": str(path)})
    assert path.stat().st_size == 32 * MIB
    world.vore("kill", name).ok()
    assert not path.exists()


@pytest.mark.skipif(not build_option("test-hooks"), reason="this build has no test hooks")
@pytest.mark.parametrize("when", ["before", "after"])
def test_somebody_elses_file_at_that_path(make_world, when):
    """vored dies around the making of the file; the next one takes away its own, and not what has come in its place."""
    world = make_world()
    name, path = unique(), world.images / "theirs"
    world.start(VORE_TEST_KILL=f"start:memory-file:{when}")
    world.load(name, "--save", machine={"features": ["looking-glass"]}, looking_glass={"mem-path": str(path)})
    world.vore("start", name)
    assert world.process.wait(20) == -9 and path.exists() == (when == "after")
    world.write(world.images / "new", b"theirs").rename(path)
    world.start()
    assert world.listed(name)["pid"] is None and path.read_bytes() == b"theirs"


def test_a_start_that_is_killed_while_it_makes_the_memory(world):
    """Filling it takes a while: the kill comes in between."""
    name = unique()
    world.load(name, machine={"features": ["looking-glass"]}, looking_glass={"buffer-size": "1G"})
    path = world.shared_memory(name) / "looking-glass"
    with world.link() as link:
        link.send("Start", {"name": name})
        until("the file", path.exists, 20)
        world.vore("kill", name).ok()
    assert world.listed(name)["state"] in ("stopped", "loaded") and not path.parent.exists()


def test_a_file_that_is_too_small(world):
    path = world.write(world.images / "small", b"x" * 4096)
    world.load("vm", machine={"features": ["looking-glass"]}, looking_glass={"mem-path": str(path)})
    world.vore("start", "vm").failed(1, "4096 bytes", "33554432")
    assert path.stat().st_size == 4096


# --- kvmfr: there is no such module here, so what can be tested is what must not be taken for one ---

def test_no_kvmfr_is_no_file(world):
    world.vore("check", world.define(machine={"features": ["looking-glass"]},
                                     looking_glass={"mem-path": "/dev/kvmfr77"})).failed(1, "kvmfr", "modprobe")
    assert not os.path.exists("/dev/kvmfr77")


@pytest.mark.needs_root
@pytest.mark.parametrize("kind, words", [("file", "regular file"), ("device", "character device")])
def test_what_is_called_kvmfr_and_is_none(root_world, kind, words):
    path = f"/dev/kvmfr9{os.getpid()}"
    if kind == "file":
        pathlib.Path(path).write_bytes(bytes(32 * MIB))
    else:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 5))
    try:
        root_world.load("vm", machine={"features": ["looking-glass"]}, looking_glass={"mem-path": path})
        root_world.vore("start", "vm").failed(1, words, "kvmfr")
    finally:
        os.unlink(path)


# --- system mode: the VM's own number, the group, and nobody else ---

def group_settings(gid):
    return f'[vore]\ngroup = "{grp.getgrgid(gid).gr_name}"\n'


GROUP = 60  # games, which every Debian has


@pytest.mark.needs_root
@pytest.mark.settings(group_settings(GROUP))
def test_who_may_open_it(root_world):
    name = unique()
    root_world.boot(name, machine={"features": ["looking-glass"]})
    file = root_world.shared_memory(name) / "looking-glass"
    info = file.stat()
    assert (stat.S_IMODE(info.st_mode), info.st_gid) == (0o660, GROUP) and 70000 <= info.st_uid <= 70999
    for p in (file.parent, file.parent.parent):
        assert stat.S_IMODE(p.stat().st_mode) == 0o711 and p.stat().st_uid == 0

    def may(*groups):
        return subprocess.run(["setpriv", f"--reuid={SESSION_UID}", f"--regid={SESSION_UID}", *groups, "test", "-w", file,
                               "-a", "-r", file]).returncode == 0
    assert may(f"--groups={GROUP}") and not may("--clear-groups")


@pytest.mark.skipif(not IS_ROOT, reason="needs root")
@pytest.mark.parametrize("what", ["folder", "link", "writable"])
def test_a_folder_that_somebody_else_made(make_world, what):
    """In /dev/shm anybody can make a folder of our name; a daemon of another user finds it."""
    world = make_world()
    world.uid = 40000 + os.getpid() % 20000  # a user of its own, as all sessions share /dev/shm/vore-UID
    for p in (world.base, *world.base.rglob("*")):
        os.lchown(p, world.uid, world.uid)
    world.start()
    base = world.shared_memory("vm").parent
    if what == "link":
        base.symlink_to(world.images)
    else:
        base.mkdir()
        os.chown(base, SESSION_UID if what == "folder" else world.uid, -1)
        os.chmod(base, 0o755 if what == "folder" else 0o777)
    try:
        world.load("vm", machine={"features": ["looking-glass"]})
        world.vore("start", "vm").failed(1, str(base), "somebody else")
        assert not list(world.images.glob("vm")) and (what == "link" or not os.listdir(base))
        # What is behind it is not vored's to remove either.
        inside = world.write(world.images / "vm/kept" if what == "link" else base / "vm/kept", b"")
        os.chown(inside.parent, world.uid, -1)
        world.vore("unload", "vm").ok()
        assert inside.exists()
        shutil.rmtree(inside.parent)
    finally:
        base.unlink() if what == "link" else base.rmdir()


# --- by hand ---

def test_the_plain_command_runs_by_hand(world):
    """QEMU makes the file in the folder that is there for it, also after another size."""
    for keys, mib in ({"width": 2560, "height": 1440}, 64), ({}, 32):
        name = unique() if mib == 64 else name
        definition = world.define(name, machine={"features": ["looking-glass"]}, looking_glass=keys)
        command = shlex.split(world.vore("x", "qemucmd", definition).ok().out)
        process = subprocess.Popen([*command, "-monitor", "stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, cwd="/", **world.who())
        out, err = process.communicate("quit\n", timeout=60)
        assert process.returncode == 0, out + err
        file = world.shared_memory(name) / "looking-glass"
        assert file.stat().st_size == mib * MIB
    world.load(name, machine={"features": ["looking-glass"]})
    world.vore("unload", name).ok()
    assert not file.parent.exists()
