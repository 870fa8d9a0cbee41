"""The script for an initramfs, run by busybox in a /sys of our own: what it claims, and what it leaves alone. It ends well
whatever there is, as the boot goes on behind it."""
import pathlib
import shutil
import subprocess

import pytest

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden/rules"
DRIVE, CARD = "0000:02:00.0", "0000:03:00.0"  # as in the golden file: 1b36:0010 and 1234:1111
pytestmark = pytest.mark.needs_root


def script(kind, path):
    """The file of that path out of what vore reserve --emit prints."""
    text = (GOLDEN / f"{kind}.expected").read_text(encoding="ascii")
    return text.split(f"# --- {path}, mode 0755 ---\n")[1].split("\n# --- ")[0]


SCRIPTS = {"initramfs-tools": script("initramfs-tools", "/etc/initramfs-tools/scripts/init-top/00-vore-reserve"),
           "dracut": script("dracut", "/usr/lib/dracut/modules.d/90vore-reserve/vore-reserve.sh")}


@pytest.fixture(params=SCRIPTS)
def boot(request, tmp_path):
    """Runs it there, with {file below sys: text}; gives what the files say afterwards."""
    if not shutil.which("busybox"):
        pytest.skip("there is no busybox")

    def run(files):
        sys = tmp_path / "sys"
        sys.mkdir()
        for name, text in files.items():
            (sys / name).parent.mkdir(parents=True, exist_ok=True)
            (sys / name).write_text(text, encoding="ascii")
        (tmp_path / "script").write_text(SCRIPTS[request.param], encoding="ascii")
        # Without a folder of modules busybox's modprobe finds none to load into this machine.
        done = subprocess.run(["unshare", "--mount", "sh", "-c", "{ [ ! -d /lib/modules ] || mount -t tmpfs none /lib/modules; }"
                               f" && mount --bind {sys} /sys && exec busybox sh {tmp_path}/script"], capture_output=True,
                              text=True, timeout=20)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        return {str(p.relative_to(sys)): p.read_text(encoding="ascii") for p in sys.rglob("*") if p.is_file()}

    return run


def device(address, vendor, number, **more):
    folder = f"bus/pci/devices/{address}/"
    return {folder + name: text for name, text in {"vendor": vendor + "\n", "device": number + "\n", "iommu_group": "",
                                                   "driver_override": "(null)\n", **more}.items()}


READY = {"bus/pci/drivers/vfio-pci/bind": "", "bus/pci/drivers_probe": ""}


def test_claims_what_is_listed(boot):
    before = {**READY, **device(DRIVE, "0x1b36", "0x0010"), **device("0000:01:00.0", "0x1b36", "0x0010")}
    after = boot(before)
    # Nobody binds here, so it is not kept from the host either.
    assert after["bus/pci/drivers_probe"] == DRIVE + "\n"
    assert after[f"bus/pci/devices/{DRIVE}/driver_override"] == "\n"
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"bus/pci/drivers_probe", f"bus/pci/devices/{DRIVE}/driver_override"}, "the equal one is the host's"


@pytest.mark.parametrize("files", [
    device(DRIVE, "0x1b36", "0x0011"), device(DRIVE, "0x1234", "0x0010"), device(DRIVE, "0x1b36", "0x0010", driver=""),
    {k: v for k, v in device(DRIVE, "0x1b36", "0x0010").items() if not k.endswith("iommu_group")},
    {"bus/pci/devices/0000:04:00.0/vendor": "0x1b36\n"}, {f"bus/pci/devices/{DRIVE}/iommu_group": ""}],
    ids=["another device", "another vendor", "with a driver", "without IOMMU", "elsewhere", "without ids"])
def test_leaves_alone(boot, files):
    before = {**READY, **files}
    assert boot(before) == before


def test_without_vfio_pci(boot):
    before = {"bus/pci/drivers_probe": "", **device(DRIVE, "0x1b36", "0x0010")}
    assert boot(before) == before


def test_without_anything(boot):
    assert boot({}) == {}
