"""What the guest was given is what the definition says."""
import pathlib
import subprocess

import pytest

from world import GUEST_ISO, GUEST_UEFI, toml, unique

OVMF = pathlib.Path("/usr/share/OVMF")
E1000E, NVME, VIRTIO_VGA = (0x8086, 0x10d3), 0x010802, (0x1af4, 0x1050)
VIRTIO_BLK, VIRTIO_SCSI = {(0x1af4, 0x1001), (0x1af4, 0x1042)}, {(0x1af4, 0x1004), (0x1af4, 0x1048)}


def ids(report):
    return {(d["vendor"], d["device"]) for d in report["pci"]}


@pytest.mark.parametrize("text, mib", [("64M", 64), (96, 96), ("128 MiB", 128)])
def test_memory(world, text, mib):
    report = world.boot(machine={"memory": text}).report()
    assert report["memory"] == mib << 20 == world.listed()["memory"]


@pytest.mark.parametrize("cpu, cpus, topology", [
    ({"amount": 1}, 1, (1, 1, 1, 1)),
    ({"amount": 3}, 3, (1, 3, 1, 1)),
    ({"amount": 4}, 4, (2, 2, 1, 1)),
    ({}, 4, (2, 2, 1, 1)),
    ({"cores": 3}, 6, (2, 3, 1, 1)),
    ({"amount": 12, "sockets": 2}, 12, (2, 3, 1, 2)),
    ({"dies": 2, "cores": 2, "threads": 1}, 4, (1, 2, 2, 1)),
])
def test_processors(world, cpu, cpus, topology):
    """threads, cores, dies, sockets. Only Intel's leaf 0x1f tells dies apart."""
    if cpu.get("dies"):
        cpu = {**cpu, "model": "qemu64", "flags": ["vendor=GenuineIntel"]}
    report = world.boot(cpu=cpu).report()
    assert report["cpus"] == cpus == world.listed()["vcpus"]
    assert tuple(report["topology"][k] for k in ("threads", "cores", "dies", "sockets")) == topology


@pytest.mark.parametrize("preset, expected", [
    ("nvme", lambda r: any(d["class"] == NVME for d in r["pci"])),
    ("ssd", lambda r: ids(r) & VIRTIO_SCSI),
    ("hdd", lambda r: ids(r) & VIRTIO_SCSI),
    ("virtio", lambda r: ids(r) & VIRTIO_BLK),
    ("ide", lambda r: not ids(r) & (VIRTIO_BLK | VIRTIO_SCSI) and all(d["class"] != NVME for d in r["pci"])),
])
def test_presets_boot(world, preset, expected):
    report = world.boot(disks=[{"preset": preset, "path": world.image("system")}]).report()
    assert (report["medium"], report["label"]) == ("disk", "system")
    assert expected(report), report


def test_iso_preset_boots(world):
    report = world.boot(disks=[{"preset": "iso", "path": world.image("dvd", GUEST_ISO)}]).report()
    assert (report["medium"], report["label"]) == ("cdrom", "dvd")


def test_the_first_disk_boots(world):
    disks = [{"preset": p, "path": world.image(p)} for p in ("virtio", "nvme", "ssd", "ide")]
    assert world.boot(disks=disks).report()["label"] == "virtio"


def test_boot_index(world):
    disks = [{"preset": "virtio", "path": world.image("first"), "boot-index": 2},
             {"preset": "nvme", "path": world.image("second"), "boot-index": 1}]
    assert world.boot(disks=disks).report()["label"] == "second"


def test_qcow2(world, qcow2):
    """An empty one beside the system disk: its type comes from its name."""
    disks = [{"preset": "virtio", "path": world.image("system")}, {"preset": "nvme", "path": qcow2("data.qcow2")}]
    report = world.boot(disks=disks).report()
    assert report["label"] == "system" and any(d["class"] == NVME for d in report["pci"])


def test_a_file_below_dev(world):
    """Whether a disk is a file or a device is not for its path's name to say."""
    path = world.image("system", name=f"/dev/shm/{unique()}.img")
    try:
        assert world.boot(disks=[{"preset": "virtio", "path": path}]).report()["label"] == "system"
    finally:
        path.unlink()


def test_cdrom_boots_before_all_others(world):
    world.image("installer", GUEST_ISO)
    world.vore("boot", world.define(), "--cdrom", "images/installer.iso", cwd=world.base).ok()
    report = world.console().report()
    assert (report["medium"], report["label"]) == ("cdrom", "installer")


def test_several_cdroms(world):
    isos = [world.image(n, GUEST_ISO) for n in ("one", "two")]
    report = world.boot("vm", "--cdrom", isos[0], "--cdrom", isos[1]).report()
    assert report["label"] == "one"


def test_cdrom_of_a_start_is_for_that_start(world):
    world.load()
    world.vore("start", "vm", "--cdrom", world.image("once", GUEST_ISO)).ok()
    assert world.console().report()["label"] == "once" and "once" in world.vore("x", "qemucmd", "vm").ok().out
    world.vore("kill", "vm").ok()
    assert "once" not in world.vore("x", "qemucmd", "vm").ok().out
    world.vore("start", "vm").ok()
    console = world.console()
    reports = [console.report()]
    while reports[-1]["label"] == "once":  # the history of the first start
        reports.append(console.report())
    assert reports[-1]["label"] == "vm"


def test_cdrom_of_a_prepare_is_for_its_start(world):
    world.load()
    world.vore("prepare", "vm", "--cdrom", world.image("once", GUEST_ISO)).ok()
    assert "--cdrom" in world.vore("prepare", "vm", "--display").ok().err
    world.restart()
    world.vore("start", "vm").ok()
    assert world.console().report()["label"] == "once"
    world.restart()
    assert "once.iso" in world.vore("x", "qemucmd", "vm").ok().out
    assert "count for a start" in world.vore("start", "vm", "--cdrom", world.images / "once.iso").ok().err


def test_cdrom_of_a_load_stays_until_unload(world):
    world.vore("load", world.define(), "--cdrom", world.image("stays", GUEST_ISO)).ok()
    for _ in range(2):
        world.vore("start", "vm").ok()
        assert world.console().report()["label"] == "stays"
        world.vore("kill", "vm").ok()


def test_the_implicit_network_card_and_the_display(world):
    report = world.boot(machine={"features": ["spice"]}).report()
    assert E1000E in ids(report) and VIRTIO_VGA in ids(report)
    assert (world.state / "instance/vm/spice.sock").is_socket()


def test_tcg_is_what_the_guest_sees(world):
    assert world.boot(kvm=False).report()["hypervisor"] == "TCGTCGTCGTCG"


@pytest.mark.parametrize("mode", ["session", pytest.param("system", marks=pytest.mark.needs_root)])
def test_uefi_whose_template_is_qcow2(make_world, mode):
    """Beside code that is raw."""
    world = make_world(mode)
    if not GUEST_UEFI.exists():
        pytest.skip("the UEFI guest needs clang and lld")
    template = world.images / "VARS.qcow2"
    subprocess.run(["qemu-img", "convert", "-q", "-O", "qcow2", OVMF / "OVMF_VARS_4M.fd", template], check=True)
    world.write(template, template.read_bytes())
    world.write(world.config, world.config.read_text() + "[uefi.default]\n" + "".join(
        f"{k} = {toml(str(v))}\n" for k, v in {"boot-code": OVMF / "OVMF_CODE_4M.fd", "template": template}.items()))
    world.start()
    report = world.boot(machine={"features": ["uefi"], "memory": "128M"},
                        disks=[{"preset": "nvme", "path": world.image("efi", GUEST_UEFI)}]).report()
    assert report["firmware"] == "uefi"


def test_uefi(any_world):
    world = any_world
    if not GUEST_UEFI.exists():
        pytest.skip("the UEFI guest needs clang and lld")
    report = world.boot(machine={"features": ["uefi"], "memory": "128M"},
                        disks=[{"preset": "nvme", "path": world.image("efi", GUEST_UEFI)}]).report()
    assert (report["firmware"], report["memory"]) == ("uefi", 128 << 20)
    variables = world.state / "instance/vm/uefi/OVMF_VARS.fd"
    assert variables.stat().st_size > 0
    world.vore("stop", "vm").ok()
    before = variables.read_bytes()
    world.vore("start", "vm").ok()
    world.vore("kill", "vm").ok()
    assert len(variables.read_bytes()) == len(before)  # kept, not copied anew over it
