"""Definitions that are kept."""
import os
import signal

from world import definition, GUEST_ISO, IS_ROOT, until


def saved_file(world, name="vm"):
    return world.state / "definitions" / f"{name}.toml"


def test_saved_byte_for_byte(any_world):
    world = any_world
    path = world.define(extra="# a comment, a tab\tand   spaces\n\n\n")
    world.vore("load", path, "--save").ok()
    assert saved_file(world).read_bytes() == path.read_bytes()
    assert world.listed()["saved"] is True
    assert world.vore("show", "vm", "--source").ok().out == path.read_text()


def test_what_is_saved_comes_back(world):
    world.load("kept", "-s")
    world.load("later")
    world.vore("save", "later").ok()
    world.restart(signal.SIGTERM)
    assert {m["name"]: (m["state"], m["saved"]) for m in world.vore("list", "--json").json} == {
        "kept": ("loaded", True), "later": ("loaded", True)}


def test_relative_paths_are_not_saved(world):
    world.image("disk")
    path = world.write("d/vm.toml", definition(disks=[{"preset": "virtio", "path": "../images/disk.img"}]))
    world.vore("load", path, "--save").failed(1, "path", "../images/disk.img")
    assert not saved_file(world).exists()
    world.vore("load", path).ok()
    world.vore("save", "vm").failed(1, "path")
    world.vore("start", "vm").ok()
    world.console().wait("ready")


def test_forget(world):
    world.load("vm", "--save", machine={"features": ["spice"]})
    world.vore("start", "vm").ok()
    world.vore("kill", "vm").ok()
    instance = world.state / "instance/vm"
    assert instance.is_dir()
    world.vore("forget", "vm").ok()
    assert not saved_file(world).exists() and instance.is_dir()
    entry = world.listed()
    assert entry is None or entry["saved"] is False

    world.load("vm", "--save")
    world.vore("forget", "vm", "--purge").ok()
    assert not saved_file(world).exists() and not instance.exists()
    world.vore("forget", "nobody").failed(1, "nobody")


def test_a_load_without_save_is_not_saved(world):
    world.load("vm", "--save")
    world.define("vm", machine={"memory": "96M"})
    result = world.vore("load", "vm.toml").ok()
    assert result.out == "vm is loaded\n" and "vore save vm" in result.err
    assert world.listed()["saved"] is False and world.listed()["memory"] == 96 << 20
    world.restart()
    assert world.listed()["saved"] is True and world.listed()["memory"] == 64 << 20
    world.vore("load", world.define()).ok()  # the same text again
    assert world.listed()["saved"] is True
    world.define("vm", machine={"memory": "96M"})
    world.vore("load", "vm.toml").ok()
    world.vore("save", "vm").ok()
    world.restart()
    assert world.listed()["memory"] == 96 << 20


def test_what_runs_is_not_what_is_saved(world):
    """Another definition was loaded since: that is so also for the next vored, and after the VM's end."""
    world.load("vm", "--save")
    world.load("vm", machine={"memory": "96M"})
    world.vore("prepare", "vm").ok()
    for state in ("prepared", "running", "stopped"):
        for _ in range(2):
            entry = world.listed()
            assert (entry["state"], entry["saved"], entry["memory"]) == (state, False, 96 << 20)
            if state == "stopped":
                break
            world.restart()
        world.vore("start" if state == "prepared" else "kill", "vm").ok()
    world.restart()
    assert world.listed()["saved"] is True and world.listed()["memory"] == 64 << 20


def test_saved_files_that_break_the_rules(world):
    world.load("vm", "--save")
    text = saved_file(world).read_text()
    world.end()
    for name in ("rel", "my vm"):
        path = world.write(saved_file(world, name), text.replace('"vm"', f'"{name}"').replace(str(world.images), "images"))
        os.chmod(path, 0o640)
    world.start()
    entry = world.listed("rel")
    assert entry["state"] == "broken" and "absolute" in entry["reason"]
    world.vore("start", "rel").failed(1, str(saved_file(world, "rel")), "absolute")
    assert "my vm.toml is left alone" in world.log.read_text()


def test_a_folder_that_was_left(world):
    """Its machine is neither loaded nor saved any more."""
    world.load("vm")
    world.vore("start", "vm").ok()
    world.vore("kill", "vm").ok()
    world.vore("unload", "vm").ok()
    assert (world.state / "instance/vm").is_dir()
    world.vore("forget", "vm").failed(1, "vm")
    world.vore("forget", "vm", "--purge").ok()
    assert not (world.state / "instance/vm").exists()


def test_the_daemons_own_trouble_is_no_missing_permission(world):
    world.load("vm")
    os.chmod(world.state / "definitions", 0o500)
    world.vore("save", "vm").failed(1, "definitions")
    os.chmod(world.state / "definitions", 0o700)


def test_a_purge_that_was_cut_off(world):
    """The folder has another name by then, and goes at the next start."""
    world.end()
    left = world.write(world.state / "instance/.purged-vm-123/uefi/OVMF_VARS.fd", b"x")
    for p in (left, *list(left.parents)[:3]) if IS_ROOT else ():
        os.chown(p, world.uid, -1)
    world.start()
    until("its end", lambda: not os.listdir(world.state / "instance"), 20)


def test_unload_keeps_the_saved_file(world):
    world.load("vm", "--save")
    world.vore("unload", "vm").ok()
    assert saved_file(world).exists()
    world.restart(signal.SIGTERM)
    assert world.state_of() == "loaded"


def test_a_cdrom_is_never_saved(world):
    world.vore("load", world.define(), "--save", "--cdrom", world.image("cd", GUEST_ISO)).ok()
    assert "cd.iso" not in saved_file(world).read_text()
    world.restart(signal.SIGTERM)
    world.vore("start", "vm").ok()
    assert world.console().report()["label"] == "vm"


def test_broken_files_are_listed_and_do_no_harm(world):
    world.load("good", "--save")
    world.end()
    world.write(saved_file(world, "syntax"), "[machine\nname = \n")
    world.write(saved_file(world, "empty"), "")
    world.write(saved_file(world, "binary"), bytes(range(256)))
    world.write(saved_file(world, "huge"), "#" * 200_000)
    world.start()
    listed = {m["name"]: m for m in world.vore("list", "--json").json}
    assert listed["good"]["state"] == "loaded"
    for name in ("syntax", "empty", "binary", "huge"):
        entry = listed[name]
        assert (entry["state"], entry["memory"], entry["vcpus"], entry["saved"]) == ("broken", None, None, True)
        assert entry["reason"]
    world.vore("start", "syntax").failed(1)
    world.vore("forget", "syntax").ok()
    assert world.listed("syntax") is None and not saved_file(world, "syntax").exists()


def test_auto_start_goes_by_name_and_over_failures(world):
    for name in ("c", "a"):
        world.load(name, "--save", machine={"auto-start": True})
    lost = world.image("lost")
    world.load("b", "--save", machine={"auto-start": True}, disks=[{"preset": "virtio", "path": lost}])
    world.load("d", "--save")
    lost.unlink()
    world.restart(signal.SIGTERM)
    world.wait_state("running", "c")
    world.wait_state("failed", "b")
    assert world.state_of("d") == "loaded" and "lost" in world.listed("b")["reason"]

    def started(name):
        with open(f"/proc/{world.listed(name)['pid']}/stat") as f:
            return int(f.read().rpartition(")")[2].split()[19])
    assert started("a") <= started("c")


def test_saving_is_atomic_and_replaces(world):
    world.load("vm", "--save")
    world.load("vm", "--save", machine={"memory": "80M"})
    assert '"80M"' in saved_file(world).read_text()
    assert [p.name for p in saved_file(world).parent.iterdir()] == ["vm.toml"]
