"""vored as root: each VM under a number of its own, without a single right that it does not need."""
import fcntl
import os
import pathlib
import signal
import stat
import subprocess
import tempfile

import pytest

from world import BUILD, FIRST_SCRIPT, GUEST_ISO, IS_ROOT, SESSION_UID, Result, status_of

pytestmark = pytest.mark.needs_root


def fingerprint(path):
    s = os.stat(path)
    acl = subprocess.run(["getfacl", "-pn", path], capture_output=True, text=True, check=True).stdout
    return s.st_mode, s.st_uid, s.st_gid, acl


@pytest.fixture
def two(root_world):
    for name in ("one", "two"):
        os.chmod(root_world.image(name), 0o600)
        root_world.vore("boot", root_world.define(name, [{"preset": "virtio",
                                                          "path": root_world.images / f"{name}.img"}])).ok()
        root_world.console(name).wait("ready")
    return root_world


def test_two_vms_under_two_uids_without_capabilities(two):
    seen = []
    for name in ("one", "two"):
        status = status_of(two.listed(name)["pid"])
        uids, gids = set(status["Uid"].split()), set(status["Gid"].split())
        assert len(uids) == 1 and 70000 <= int(*uids) <= 70999
        assert len(gids) == 1 and gids != {"0"}
        assert "0" not in status["Groups"].split()
        for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(status[kind], 16) == 0, kind
        assert status["NoNewPrivs"] == "1" or status["Seccomp"] == "2"
        seen.append(*uids)
    assert len(set(seen)) == 2


def as_uid(uid, *command):
    return subprocess.run(["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--inh-caps=-all",
                           "--bounding-set=-all", *map(str, command)], capture_output=True, text=True)


def test_one_cannot_reach_the_others_disk(two):
    pids = {n: two.listed(n)["pid"] for n in ("one", "two")}
    uid = status_of(pids["one"])["Uid"].split()[0]
    assert as_uid(uid, "cat", two.images / "two.img").returncode != 0
    assert as_uid(uid, "ls", f"/proc/{pids['two']}/fd").returncode != 0
    assert as_uid(uid, "cat", f"/proc/{pids['two']}/mem").returncode != 0
    assert as_uid(uid, "strace", "-o", "/dev/null", "-p", str(pids["two"])).returncode != 0
    descriptors = [os.readlink(f"/proc/{pids['one']}/fd/{n}") for n in os.listdir(f"/proc/{pids['one']}/fd")]
    assert not [d for d in descriptors if "two" in d], descriptors


def test_the_uid_stays_the_vms_own(root_world):
    seen = []
    for _ in range(2):
        root_world.boot()
        seen.append(status_of(root_world.listed()["pid"])["Uid"])
        root_world.vore("kill", "vm").ok()
    assert seen[0] == seen[1]


def test_qemu_has_only_what_it_needs(two):
    """No descriptor of vored's own: not its lock, not its sockets, not the other's console."""
    pid = two.listed("one")["pid"]
    paths = [os.readlink(f"/proc/{pid}/fd/{n}") for n in os.listdir(f"/proc/{pid}/fd")]
    strange = [p for p in paths if str(two.base) in p and not p.endswith(("one.img", "one.log")) and "/one" not in p]
    assert not strange, strange


def test_an_image_in_a_private_home_works_and_is_left_as_it_was(root_world):
    home = root_world.folder("home")
    image = root_world.image("homely")
    moved = home / "disk.img"
    os.rename(image, moved)
    os.chown(moved, SESSION_UID, SESSION_UID)
    os.chmod(moved, 0o600)
    subprocess.run(["setfacl", "-m", "u:12345:r", moved], check=True)
    os.chown(home, SESSION_UID, SESSION_UID)
    os.chmod(home, 0o700)
    before = fingerprint(moved), fingerprint(home)
    console = root_world.boot(disks=[{"preset": "nvme", "path": moved}])
    assert console.report()["label"] == "homely"
    root_world.vore("stop", "vm").ok()
    assert (fingerprint(moved), fingerprint(home)) == before


def test_a_header_that_names_another_machines_disk(root_world):
    """A QEMU can write its own image's header: the next start does not open for it what is another's."""
    theirs = root_world.image("theirs")
    data, over = root_world.images / "data.qcow2", root_world.images / "over.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", theirs, "-F", "raw", over], check=True)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", "data_file=none.img", data, "1M"], check=True,
                   cwd=root_world.images)
    data.write_bytes(data.read_bytes().replace(b"none.img", b"theirs.i"))
    os.link(theirs, root_world.images / "theirs.i")
    for options in ["--save"], []:
        root_world.load("theirs", *options, disks=[{"preset": "virtio", "path": theirs}])
        for path in over, data:
            root_world.load("mine", disks=[{"preset": "virtio", "path": path}])
            root_world.vore("start", "mine").failed(1, str(path), "a disk of the machine theirs")
        root_world.vore("forget" if options else "unload", "theirs").ok()
    root_world.load("theirs", "--save", disks=[{"preset": "virtio", "path": theirs, "read-only": True}])
    root_world.load("mine", disks=[{"preset": "virtio", "path": over}])
    root_world.vore("start", "mine").ok()
    root_world.load("theirs", disks=[{"preset": "virtio", "path": theirs}])
    root_world.vore("start", "theirs").failed(1, str(theirs), "in use by the machine mine")


def test_backing_chain(root_world):
    base = root_world.image("base")
    folder = root_world.folder("closed")
    os.chmod(folder, 0o700)
    middle, top = folder / "middle.qcow2", folder / "top.qcow2"
    for path, below, kind in ((middle, base, "raw"), (top, middle, "qcow2")):
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", below, "-F", kind, path], check=True)
        os.chmod(path, 0o600)
    os.chmod(base, 0o600)
    report = root_world.boot(disks=[{"preset": "virtio", "path": top}]).report()
    assert report["label"] == "base"
    root_world.vore("stop", "vm").ok()


@pytest.fixture
def loop(root_world):
    """Makes block devices out of files."""
    devices = []

    def attach(path, *options):
        done = subprocess.run(["losetup", "--find", "--show", *options, path], capture_output=True, text=True)
        if done.returncode != 0:
            pytest.skip(f"not available: a loop device ({done.stderr.strip()})")
        devices.append(done.stdout.strip())
        return devices[-1]

    yield attach
    root_world.close()
    for device in devices:
        subprocess.run(["losetup", "--detach", device], check=True)


# Drives as the first vore's own script wrote them.
DRIVE_SCRIPT = FIRST_SCRIPT + """
vore:register_disk_preset("drive", "a drive", function(vm, instance, index, disk)
    vm:arg("-drive", "file=" .. disk.path .. ",driver=" .. disk.disk_type .. ",if=none,id=DRIVE" .. index)
    vm:arg("-device", "virtio-blk-pci,drive=DRIVE" .. index)
    return vm
end)
vore:register_disk_preset("iso", "a CD-ROM", function(vm, instance, index, disk)
    vm:arg("-drive", "file=" .. disk.path .. ",format=raw,if=none,id=CD" .. index)
    vm:arg("-device", "ide-cd,drive=CD" .. index)
    return vm
end)
"""


def test_a_drive_of_the_first_vore_on_a_block_device(root_world, loop):
    """QEMU tells devices from files by their path, which it does not get."""
    root_world.settings(script=root_world.write("mine.lua", DRIVE_SCRIPT))
    root_world.restart()
    device = loop(root_world.image("looped"))
    assert root_world.boot(disks=[{"preset": "drive", "path": device}]).report()["label"] == "looped"


def test_a_cd_of_the_first_vore_that_cannot_be_written(root_world):
    root_world.settings(script=root_world.write("mine.lua", DRIVE_SCRIPT))
    root_world.restart()
    place = root_world.folder("fixed")
    subprocess.run(["mount", "-t", "tmpfs", "none", place], check=True)
    try:
        iso = root_world.write(place / "dvd.iso", root_world.image("dvd", GUEST_ISO).read_bytes())
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        assert root_world.boot(disks=[{"preset": "iso", "path": iso}]).report()["label"] == "dvd"
        root_world.vore("kill", "vm").ok()
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("node", [
    '{driver="raw", ["node-name"]="d", ["read-only"]=true, file={driver="file", filename=path}}',
    '{driver="file", ["node-name"]="d", filename=path, ["auto-read-only"]=true}',
])
def test_nodes_that_are_read_one_way_or_another(root_world, node):
    script = root_world.write("mine.lua", FIRST_SCRIPT + f"""
vore:register_disk_preset("node", "a node", function(vm, instance, index, disk)
    local path = disk.path
    vm:blockdev {node}
    vm:arg("-device", "virtio-blk-pci,drive=d")
    return vm
end)
""")
    root_world.settings(script=script)
    root_world.restart()
    assert root_world.boot(disks=[{"preset": "node", "path": root_world.image("read")}]).report()["label"] == "read"


def test_check_looks_where_start_looks(root_world):
    """What an image needs is not there: told at the disk, without a start."""
    base, top = root_world.image("base"), root_world.images / "top.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", top], check=True)
    base.unlink()
    fault = root_world.vore("check", root_world.define(disks=[{"preset": "virtio", "path": top}]), "--json").json[0]
    assert fault["key"] == "disk[0].path" and fault["line"] > 0 and str(base) in fault["message"]


def test_read_only_disks_are_opened_read_only(root_world):
    image = root_world.image("fixed")
    root_world.boot(disks=[{"preset": "virtio", "path": image, "read-only": True}])
    pid = root_world.listed()["pid"]
    flags = []
    for n in os.listdir(f"/proc/{pid}/fd"):
        if os.readlink(f"/proc/{pid}/fd/{n}") == str(image):
            info = pathlib.Path(f"/proc/{pid}/fdinfo/{n}").read_text()
            flags.append(int(info.split("flags:")[1].split()[0], 8))
    assert flags and not [f for f in flags if f & os.O_ACCMODE]


def test_folders_and_socket_are_private(root_world):
    root_world.boot(machine={"features": ["spice"]})
    mode = stat.S_IMODE(root_world.socket.stat().st_mode)
    assert mode in (0o660, 0o600) and root_world.socket.stat().st_uid == 0
    for path in (root_world.state / "definitions", root_world.state / "log"):
        assert not path.stat().st_mode & 0o007, path
    assert stat.S_IMODE((root_world.state / "instance/vm/spice.sock").stat().st_mode) == 0o660


def test_no_permission_is_exit_3_and_says_who_may(root_world):
    os.chmod(root_world.base, 0o755)
    os.chmod(root_world.runtime, 0o755)
    with tempfile.TemporaryDirectory(prefix="vore-e2e-") as folder:
        os.chmod(folder, 0o755)
        vore = BUILD / "vore"
        if not all(p.stat().st_mode & 1 for p in vore.parents):
            vore = pathlib.Path(folder) / "vore"
            vore.write_bytes((BUILD / "vore").read_bytes())
            vore.chmod(0o755)
        p = as_uid(SESSION_UID, vore, "-c", root_world.socket, "list")
    Result(["list"], p.returncode, p.stdout, p.stderr).failed(3, "root")


@pytest.mark.settings('[qemu]\nuids = "0-10"\n')
def test_uids_of_people_are_refused(make_world):
    world = make_world("system")
    vored = world.launch()
    assert vored.wait(30) == 1
    assert "uids" in world.log.read_text()


@pytest.mark.parametrize("way", ["{}/{}", "{}/./{}", "{}//{}", "{}/sub/../{}"])
def test_links_that_the_vm_itself_made(root_world, way):
    """What ran under its number may have left them: root does not follow them for its next start."""
    secret = root_world.write(root_world.base / "secret.img", b"root's" + bytes(512), 0o600)
    root_world.boot()
    root_world.vore("kill", "vm").ok()
    instance = root_world.state / "instance/vm"
    (instance / "sub").mkdir(mode=0o755)
    (instance / "disk.img").symlink_to(secret)
    os.lchown(instance / "disk.img", instance.stat().st_uid, -1)
    disks = [{"preset": "virtio", "path": way.format(instance, "disk.img")}]
    root_world.vore("boot", root_world.define(disks=disks)).failed(1, "belongs to the VM itself")
    # One of somebody else's is fine: disks have such names.
    os.lchown(instance / "disk.img", 0, 0)
    root_world.vore("boot", root_world.define(disks=disks)).ok()


def test_a_disk_with_a_lease(root_world):
    """Samba takes such ones."""
    with root_world.image("leased").open("r+b") as f:
        fcntl.fcntl(f, fcntl.F_SETSIG, 0)
        fcntl.fcntl(f, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        old = signal.signal(signal.SIGIO, signal.SIG_IGN)
        try:
            root_world.load(disks=[{"preset": "virtio", "path": root_world.images / "leased.img"}])
            root_world.vore("start", "vm").failed(1, "leased.img", "lease")
        finally:
            signal.signal(signal.SIGIO, old)


@pytest.mark.settings('[qemu]\nuids = "70500-70501"\n')
def test_a_third_vm_finds_no_uid(root_world):
    for name in ("one", "two"):
        root_world.load(name)
        root_world.vore("start", name).ok()
    root_world.load("three")
    root_world.vore("start", "three").failed(1, "uids")
    root_world.vore("kill", "one").ok()


@pytest.mark.settings('[qemu]\nuser = "root"\n')
def test_all_as_one_user(root_world):
    root_world.boot()
    assert status_of(root_world.listed()["pid"])["Uid"].split() == ["0"] * 4


@pytest.mark.settings('[qemu]\nuser = "nobody"\n')
@pytest.mark.parametrize("first", ["one", "two"])
def test_access_that_the_user_had_before(make_world, first):
    """Two VMs of one user have a node in turn; its list is then as it was."""
    world = make_world("system")
    node = world.base / "node"
    os.mknod(node, 0o600 | stat.S_IFCHR, os.makedev(1, 7))
    subprocess.run(["setfacl", "-m", "u:nobody:r", node], check=True)
    script = world.write("mine.lua", FIRST_SCRIPT.replace("function(instance, vm)\n",
                                                          f'function(instance, vm)\n    vore:allow("{node}", "rw")\n'))
    world.settings(script=script)
    before = fingerprint(node)
    world.start()
    for name in ("one", "two"):
        world.load(name, disks=[{"preset": "mine", "path": world.image(name)}])
        world.vore("start", name).ok()
    shared = fingerprint(node)
    assert "user:65534:rw-" in shared[3]
    world.vore("kill", first).ok()
    assert fingerprint(node) == shared
    world.vore("kill", "two" if first == "one" else "one").ok()
    assert fingerprint(node) == before


def test_disk_create_in_a_folder_of_ones_own(unstarted):
    path = unstarted.images / "mine.qcow2"
    unstarted.vore("disk", "create", path, "64M").ok()
    assert path.stat().st_uid == (SESSION_UID if IS_ROOT else os.geteuid())
