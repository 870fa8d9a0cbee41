"""The command line: exit codes, what it prints, and for whom."""
import json
import os
import pty
import re
import subprocess

import pytest

from world import definition


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["start", "--help"], ["help"]])
def test_help_is_exit_0(unstarted, args):
    result = unstarted.vore(*args)
    assert result.rc == 0 and result.out, result


@pytest.mark.parametrize("args", [[], ["strat"], ["start", "--bogus"], ["start", "a", "b"], ["load"], ["stop", "--timeout"],
                                  ["stop", "--timeout", "soon"], ["disk"], ["disk", "create"], ["forget"], ["-c"]])
def test_wrong_usage_is_exit_2(unstarted, args):
    assert unstarted.vore(*args).failed(2).err


def test_a_wrong_verb_names_the_nearest(unstarted):
    unstarted.vore("strat").failed(2, "start")


def test_no_daemon_is_exit_3(unstarted):
    for args in (["list"], ["start", "x"], ["stop", "x"], ["events"], ["logs", "x"], ["daemon", "version"]):
        unstarted.vore(*args).failed(3, "vored")


def test_the_socket_option_beats_the_environment(world):
    for args in (["-c", world.socket, "list"], ["list", "-c", world.socket], ["list", f"--conn={world.socket}"]):
        world.vore(*args, env={"VORE_SOCKET": "/nowhere"}).ok()
    world.vore("-c", "/nowhere", "list").failed(3, "/nowhere")


def test_without_either_the_session_socket(world):
    env = world.env()
    del env["VORE_SOCKET"]
    p = subprocess.run([world.programs / "vore", "list"], env=env, capture_output=True, **world.who())
    assert p.returncode == 0


def test_version(world):
    for args in (["daemon", "version"], ["d", "version"]):
        assert re.search(r"\d+\.\d+", world.vore(*args).ok().out)
    answer = world.vore("daemon", "version", "--json").ok().json
    assert answer["pid"] == world.process.pid and answer["system"] is False


def test_list_for_programs(world):
    world.load("one")
    world.boot("two")
    rows = world.vore("list").ok().rows
    assert [r[:2] for r in rows] == [["one", "loaded"], ["two", "running"]]


def on_a_terminal(world, *args, **env):
    """What a person sees, and the exit status."""
    ours, theirs = pty.openpty()
    p = world.popen(*args, stdin=theirs, stdout=theirs, stderr=theirs, env={**world.env(), "TERM": "xterm", **env})
    os.close(theirs)
    seen = b""
    try:
        while data := os.read(ours, 65536):
            seen += data
    except OSError:
        pass
    os.close(ours)
    return seen.decode(), p.wait(30)


def test_list_for_people(world):
    world.load("one")
    seen, status = on_a_terminal(world, "list")
    assert status == 0 and re.match(r"(\x1b\[[\d;]*m)*name", seen, re.I) and "one" in seen and "\t" not in seen
    seen, status = on_a_terminal(world, "list", NO_COLOR="1")
    assert status == 0 and "\x1b" not in seen
    # What is wrong is shown at its place all the same.
    seen, status = on_a_terminal(world, "check", world.write("bad.toml", "[machine]\nnmae = 1\n"), NO_COLOR="1")
    assert status == 1 and "\x1b" not in seen and "    nmae = 1\r\n    ^\r\n" in seen


def test_names_that_are_nearly_right(world):
    for name in ("a", "win10", "db"):
        world.load(name)
    for wrong in ("xyz", "q", "abc"):
        result = world.vore("start", wrong).failed(1, "there are: a, db, win10")
        assert "did you mean" not in result.err
    world.vore("start", "win1").failed(1, 'did you mean "win10"?')
    for i in range(20):
        world.load(f"another{i:02}")
    assert "there are none" not in world.vore("start", "nosuchvm").failed(1, "vore list").err


def test_words_that_are_nearly_verbs(world):
    assert world.vore("disk presets").ok().rows == world.vore("disk", "presets").ok().rows
    world.vore("help", "disk").failed(2, "disk presets", "disk create")
    world.vore("stop", "vm", "--timeout", "100000").failed(2, "86400")


def test_version_before_anybody_asked_qemu(world):
    assert "QEMU not asked yet" in world.vore("daemon", "version").ok().out


def test_empty_list(world):
    assert world.vore("list", "--json").ok().json == []
    assert world.vore("list").ok().out == ""


def test_show(world):
    world.load(machine={"memory": "96M"})
    shown = world.vore("show", "vm", "--json").ok().json
    assert shown["machine"]["memory"] == 96 << 20 and shown["machine"]["chipset"] == "q35"
    assert shown["cpu"]["amount"] == 1 and shown["uefi"]["enabled"] is False
    assert world.vore("show", "vm").ok().out


def test_show_origin(world):
    world.load(machine={"memory": "96M"})
    shown = world.vore("show", "vm", "--origin", "--json").ok().json
    memory, chipset, arch = (shown["machine"][k] for k in ("memory", "chipset", "arch"))
    assert set(memory) == {"value", "origin", "where"}
    assert (memory["value"], memory["origin"], chipset["origin"]) == (96 << 20, "file", "default")
    assert memory["where"] and arch["origin"] == "host"
    assert "host" in world.vore("show", "vm", "--origin").ok().out


def test_disk_presets(world):
    names = [r[0] for r in world.vore("disk", "presets").ok().rows]
    assert {"nvme", "ssd", "hdd", "virtio", "ide", "iso"} <= set(names)
    presets = world.vore("disk", "preset", "--json").ok().json
    assert [p["name"] for p in presets] == names and all(set(p) == {"name", "description"} for p in presets)


def test_disk_create(unstarted):
    world = unstarted
    raw, qcow2 = world.images / "a.img", world.images / "b.qcow2"
    world.vore("disk", "create", raw, "3M").ok()
    assert raw.stat().st_size == 3 << 20 and raw.stat().st_uid == world.uid
    world.vore("disk", "create", qcow2, "1G").ok()
    assert qcow2.read_bytes()[:4] == b"QFI\xfb"
    world.vore("disk", "create", world.images / "c", "1G", "--type", "qcow2").ok()
    raw.write_bytes(b"precious")
    world.vore("disk", "create", raw, "3M").failed(1, "exists")
    assert raw.read_bytes() == b"precious"
    world.vore("disk", "create", world.images / "no/where.img", "3M").failed(1, "no/where.img")
    assert world.vore("disk", "create", world.images / "d.img", "much").rc in (1, 2)
    assert not (world.images / "d.img").exists()


def test_qemucmd_runs_by_hand(world):
    """The plain form, pasted into a shell: a guest that runs until the time is over."""
    world.load()
    line = world.vore("x", "qemucmd", "vm").ok().out
    assert line.count("\n") == 1 and "/dev/fdset" not in line and "fd=" not in line
    p = subprocess.run(["timeout", "3", "sh", "-c", "exec " + line], capture_output=True, text=True, cwd=world.base,
                       stdin=subprocess.DEVNULL, env=world.env(), **world.who())
    assert p.returncode == 124, p


def test_qemucmd_json_and_exact(world):
    world.load()
    plain = world.vore("x", "qemucmd", "vm", "--json").ok().json
    exact = world.vore("x", "qemucmd", "vm", "--exact", "--json").ok().json
    assert os.path.basename(plain[0]).startswith("qemu-system-") and plain[0] == exact[0]
    assert "-S" in exact and "-S" not in plain and "-nodefaults" in plain
    assert not world.qemus()


def test_qemucmd_of_a_file(world):
    world.vore("x", "qemucmd", world.define()).ok()
    assert world.vore("list", "--json").json == []
    missing = world.define("lost", [{"preset": "virtio", "path": world.images / "lost.img"}])
    world.vore("x", "qemucmd", missing).failed(1, "lost.img", "lost.toml")


def test_logs(world):
    world.boot()
    text = world.logs_of()
    assert "start" in text.lower() and re.search(r"\d\d:\d\d:\d\d", text)
    world.vore("kill", "vm").ok()
    assert len(world.logs_of()) > len(text)
    for _ in range(5):
        world.vore("start", "vm").ok()
        world.vore("kill", "vm").ok()
    kept = sorted((world.state / "log").glob("vm.log*"))
    assert 2 <= len(kept) <= 4, kept


def test_logs_follow(world):
    world.boot()
    follower = world.popen("logs", "vm", "-f", stdout=subprocess.PIPE)
    first = follower.stdout.readline()
    assert first
    world.vore("kill", "vm").ok()
    while "kill" not in (line := follower.stdout.readline()).lower():
        assert line
    follower.terminate()
    follower.wait()


def test_a_reader_that_has_enough(world):
    """Like `vore logs vm | head -1`: no complaint, whatever filled the pipe."""
    world.load()
    world.write(world.state / "log/vm.log", ("x" * 99 + "\n") * 20_000)
    for options in [], ["--json"]:
        logs = world.popen("logs", "vm", *options, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        logs.stdout.read(100)
        logs.stdout.close()
        assert logs.stderr.read() == "" and logs.wait(60) == 1


def test_events(world):
    watcher = world.popen("events", "--json", stdout=subprocess.PIPE)
    seen = [json.loads(watcher.stdout.readline())]
    world.load()
    world.vore("start", "vm").ok()
    while not (seen[-1]["event"] == "state" and "running" in json.dumps(seen[-1]["data"])):
        seen.append(json.loads(watcher.stdout.readline()))
    watcher.terminate()
    watcher.wait()
    assert seen[0]["event"] == "snapshot" and all({"time", "vm", "event", "data"} <= set(e) for e in seen)


def test_events_end_with_the_daemon(world):
    watcher = world.popen("events", "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    watcher.stdout.readline()
    world.end()
    assert watcher.wait(10) in (1, 3)


def test_qmp(world):
    world.boot()
    assert world.vore("qmp", "vm", '{"execute":"query-status"}').ok().json["return"]["status"] == "running"
    assert world.vore("qmp", "vm", "query-status").ok().json["return"]["running"] is True
    world.vore("qmp", "vm", '{"execute":"no-such-command"}').failed(1, "no-such-command")
    world.vore("qmp", "vm", "{").failed(1)
    world.vore("kill", "vm").ok()
    world.vore("qmp", "vm", "query-status").failed(1, "vm")


def test_console_without_a_terminal(world):
    world.boot()
    result = world.vore("console", "vm").ok()
    assert "vore test guest" in result.out and "ready" in result.out


def test_console_both_ways(world):
    world.boot().close()
    p = world.popen("console", "vm", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    p.stdin.write("echo from a pipe\n")
    p.stdin.flush()
    while p.stdout.readline().strip() != "from a pipe":
        pass
    p.stdin.close()
    assert p.wait(20) == 0


def test_console_on_a_terminal_leaves_on_its_key(world):
    world.boot().close()
    ours, theirs = pty.openpty()
    p = world.popen("console", "vm", stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""
    while b"ready" not in seen:
        seen += os.read(ours, 4096)
    os.write(ours, b"\x1d")
    assert p.wait(10) == 0
    os.close(ours)


@pytest.mark.parametrize("shell", ["bash"])
def test_completion(unstarted, shell):
    script = unstarted.vore("completion", shell).ok().out
    subprocess.run([shell, "-n"], input=script, text=True, check=True)
    assert "start" in script


def test_what_comes_later_says_so(world):
    world.boot()
    for args in (["attach", "046d:c52b", "vm"], ["detach", "1-2.3", "vm"], ["cdrom", "vm", "--eject"], ["pins", "vm"]):
        world.vore(*args).failed(1, "not supported by this version")


def test_boot_is_load_and_start(world):
    result = world.vore("boot", world.define(), "--save").ok()
    assert "vm is running" in result.out
    assert world.listed()["saved"] is True


def test_paths_count_from_the_definition(world):
    world.image("disk")
    world.write("sub/vm.toml", definition(disks=[{"preset": "virtio", "path": "../images/disk.img"}]))
    world.vore("boot", "sub/vm.toml", cwd=world.base).ok()
    assert world.console().report()["label"] == "disk"
