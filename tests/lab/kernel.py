"""The kernel of L1: Debian's package, unpacked into a cache folder and never installed; and the first file system, busybox
and just enough modules to reach the outer machine's files."""
import os
import pathlib
import re
import shutil
import stat
import subprocess
import tempfile

CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "vore-lab"
HERE = pathlib.Path(__file__).resolve().parent
BUSYBOX = pathlib.Path("/bin/busybox")
# Enough to mount L1's root and its state folder, and to talk to the harness. Everything else comes from that root.
FIRST_MODULES = ["virtio_pci", "virtio_blk", "virtio_console", "9pnet_virtio", "9p", "overlay", "crc32c_generic", "ext4"]


class Unavailable(Exception):
    """The lab cannot be had on this machine; the text says what to do."""


def find_tool(name):
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not path:
        raise Unavailable(f"{name} is missing: ./dev setup")
    return path


class Kernel:
    """One unpacked kernel: image, modules (a /lib/modules), release."""

    def __init__(self, folder):
        self.folder = folder
        self.image = next(folder.glob("boot/vmlinuz-*"))
        self.modules = folder / "lib/modules"
        self.release = self.image.name.removeprefix("vmlinuz-")

    def dependencies(self):
        """Paths of .ko files below the release's folder, each with those that it needs."""
        text = (self.modules / self.release / "modules.dep").read_text()
        return {name: needs.split() for name, _, needs in (line.partition(":") for line in text.splitlines())}

    def load_order(self, names):
        """Files for these modules and all that they need, each behind what it needs."""
        table = self.dependencies()
        files = {re.sub(r"\.ko.*", "", pathlib.Path(f).name).replace("-", "_"): f for f in table}
        order = []
        for name in names:
            if name not in files:
                continue  # built in
            order += [f for f in [*reversed(table[files[name]]), files[name]] if f not in order]
        return order


def apt(*args, **options):
    try:
        return subprocess.run(args, check=True, capture_output=True, text=True, timeout=300, **options).stdout
    except FileNotFoundError:
        raise Unavailable("this is no Debian: the lab takes its kernel from Debian's linux-image-amd64") from None
    except subprocess.CalledProcessError as e:
        raise Unavailable(f"{' '.join(args)}: {e.stderr.strip()} (apt-get update may help)") from None


def fetch(folder):
    """Downloads and unpacks the package that linux-image-amd64 stands for."""
    found = re.search(r"Depends: (linux-image-\S+)", apt("apt-cache", "depends", "linux-image-amd64"))
    if not found:
        raise Unavailable("apt knows no linux-image-amd64: apt-get update")
    depmod = find_tool("depmod")
    # Root's apt would download as the user _apt, who cannot write here.
    apt("apt-get", "-o", "APT::Sandbox::User=", "download", found[1], cwd=folder)
    package = next(folder.glob("*.deb"))
    subprocess.run(["dpkg-deb", "-x", package, folder], check=True, timeout=300)
    package.unlink()
    shutil.rmtree(folder / "usr", ignore_errors=True)
    kernel = Kernel(folder)
    subprocess.run([depmod, "-b", folder, kernel.release], check=True, timeout=300)


def get_kernel():
    """The newest one in the cache; without any, Debian's."""
    kept = sorted((d for d in CACHE.glob("kernel-*") if d.is_dir()), key=lambda d: d.stat().st_mtime)
    if kept:
        return Kernel(kept[-1])
    CACHE.mkdir(parents=True, exist_ok=True)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="new-", dir=CACHE))
    try:
        fetch(folder)
        os.chmod(folder, 0o755)
        target = CACHE / f"kernel-{Kernel(folder).release}"
        if not target.exists():  # another run may have been faster
            folder.rename(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Kernel(target)


# --- the first file system ---

def cpio(files):
    """A newc archive of {path: (mode, bytes)}; parents first. See the kernel's early-userspace/buffer-format."""
    out = bytearray()
    for number, (name, (mode, data)) in enumerate([*files.items(), ("TRAILER!!!", (0, b""))], 1):
        path = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path), 0)
        out += b"070701" + b"".join(b"%08X" % f for f in fields) + path
        out += b"\0" * (-len(out) % 4) + data
        out += b"\0" * (-len(out) % 4)
    return bytes(out)


def folders(*names):
    return {name: (stat.S_IFDIR | 0o755, b"") for name in names}


def program(data):
    return stat.S_IFREG | 0o755, data


def loadable(kernel, names):
    """Modules for a modprobe in the first file system, with all that they need."""
    folder, order, table = f"lib/modules/{kernel.release}", kernel.load_order(names), kernel.dependencies()
    files = folders("lib", "lib/modules", folder)
    flat = {f: pathlib.Path(f).name for f in order}
    for f in order:
        files[f"{folder}/{flat[f]}"] = program((kernel.modules / kernel.release / f).read_bytes())
    lines = "".join(f"{flat[f]}: {' '.join(flat[n] for n in table[f])}\n" for f in order)
    files[f"{folder}/modules.dep"] = (stat.S_IFREG | 0o644, lines.encode())
    return files


def initramfs(kernel):
    if not BUSYBOX.exists():
        raise Unavailable(f"{BUSYBOX} is missing: ./dev setup (busybox-static)")
    order = kernel.load_order(FIRST_MODULES)
    files = {**folders("bin", "modules", "proc", "sys", "dev", "lower", "upper", "root"),
             "bin/busybox": program(BUSYBOX.read_bytes()), "init": program((HERE / "init").read_bytes())}
    for n, name in enumerate(order):  # insmod takes them in the order of their names
        files[f"modules/{n:02}-{pathlib.Path(name).name}"] = program((kernel.modules / kernel.release / name).read_bytes())
    return cpio(files)
