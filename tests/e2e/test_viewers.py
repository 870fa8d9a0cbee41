"""looking-glass, spice, scream: the programs beside a VM, with programs that only say how they were called."""
import grp
import json
import os
import signal
import subprocess

import pytest

from world import SESSION_UID, Result, alive, kill9, unique, until

GROUP = 60  # games, which every Debian has
SAYS = """#!/usr/bin/python3
import json, os, sys
print(json.dumps({"argv": sys.argv, "pid": os.getpid(), "uid": os.getuid(),
                  "fds": [os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd") if int(n) > 2 and
                          os.path.exists(f"/proc/self/fd/{n}")]}))
"""


def program(world, name, text=SAYS):
    return world.write(f"bin/{name}", text, 0o755)


def boot(world, *features, **more):
    name = unique("view")
    world.boot(name, machine={"features": list(features)}, **more)
    return name


def said(result):
    return json.loads(result.ok().out)


# --- Looking Glass ---

def test_the_client_gets_memory_and_socket(world):
    name, client = boot(world, "looking-glass"), program(world, "client")
    answer = said(world.vore("looking-glass", name, "--", "-F", "app:x=--help", "--", env={"LOOKING_GLASS": str(client)}))
    assert answer["argv"] == [str(client), "-f", f"{world.shared_memory(name)}/looking-glass",
                              "-c", f"{world.state}/instance/{name}/spice.sock", "-p", "0", "-F", "app:x=--help", "--"]
    assert answer["uid"] == world.uid
    assert not [f for f in answer["fds"] if "socket" in f]


@pytest.mark.parametrize("words", [[], ["{}"], ["--vm", "{}"], ["--vm={}", "{}"], ["--"]])
def test_which_vm(world, words):
    name, client = boot(world, "looking-glass"), program(world, "looking-glass-client")
    env = {"PATH": f"{client.parent}:{os.environ['PATH']}"}
    argv = said(world.vore("lg", *[w.format(name) for w in words], env=env))["argv"]
    assert argv[0] == str(client) and name in argv[2] and len(argv) == 7


def test_it_becomes_the_client(world):
    name, client = boot(world, "looking-glass"), program(world, "client")
    p = world.popen("lg", name, stdout=subprocess.PIPE, env={**world.env(), "LOOKING_GLASS": str(client)})
    assert json.loads(p.communicate(timeout=60)[0])["pid"] == p.pid


def test_it_starts_with_signals_as_they_usually_are(world):
    """vore itself ignores SIGPIPE, and what is ignored stays so over exec."""
    name, client = boot(world, "looking-glass"), program(world, "client", "#!/bin/sh\ngrep SigIgn /proc/self/status\n")
    ignored = int(world.vore("lg", name, env={"LOOKING_GLASS": str(client)}).ok().out.split()[1], 16)
    assert not ignored & 1 << (signal.SIGPIPE - 1)


def test_without_spice(world):
    name, client = boot(world, "looking-glass", spice={"enabled": False}), program(world, "client")
    argv = said(world.vore("lg", env={"LOOKING_GLASS": str(client)}))["argv"]
    assert argv[3:] == ["spice:enable=no"] and name in argv[2]


def test_what_it_says_when_it_cannot(world):
    name = boot(world, "spice")
    world.vore("lg", name).failed(1, "looking-glass", "features")
    world.vore("lg", "nobody").failed(1, "nobody")
    world.vore("lg", name, "--vm", "other").failed(2, "different")
    world.vore("kill", name).ok()
    world.vore("lg", name).failed(1, "stopped", f"vore start {name}")
    world.vore("lg").failed(1, "no VM is running")
    other = boot(world, "looking-glass")
    world.vore("lg", other, env={"PATH": "/nonexistent"}).failed(1, "looking-glass-client", "install", "LOOKING_GLASS")
    world.vore("lg", other, env={"LOOKING_GLASS": "/nonexistent"}).failed(1, "/nonexistent", "LOOKING_GLASS")


@pytest.fixture
def held(unstarted):
    """A QEMU that waits at its start until somebody says how it goes on."""
    world = unstarted
    world.fifo = world.base / "fifo"
    os.mkfifo(world.fifo)
    os.chown(world.fifo, world.uid, world.uid)
    world.settings(binary=world.write("held-qemu", f"""#!/bin/sh
case " $* " in *" -no-shutdown "*) read answer <{world.fifo}; [ "$answer" = go ] || {{ echo "no luck" >&2; exit 1; }};; esac
exec qemu-system-x86_64 "$@"
""", 0o755))
    return world.start()


@pytest.mark.parametrize("answer", ["go", "fail"])
def test_a_vm_that_is_starting_is_waited_for(held, answer):
    world, name, client = held, unique("view"), program(held, "client")
    world.load(name, machine={"features": ["looking-glass"]})
    start = world.popen("start", name, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    world.wait_state("starting", name)
    lg = world.popen("lg", name, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                     env={**world.env(), "LOOKING_GLASS": str(client)})
    assert lg.stderr.readline() == f"{name} is starting ...\n"
    world.fifo.write_text(answer + "\n")
    out, err = lg.communicate(timeout=60)
    start.wait(60)
    if answer == "go":
        assert json.loads(out)["argv"][2].endswith("looking-glass") and lg.returncode == 0
    else:
        assert "failed" in err and "no luck" in err and lg.returncode == 1


# --- SPICE ---

@pytest.mark.parametrize("viewer, before", [("remote-viewer", ""), ("spicy", "--uri="), ("spicy-screenshot", "--uri="),
                                            ("mine", "")])
def test_spice_viewers(world, viewer, before):
    name, path = boot(world, "spice"), program(world, viewer)
    argv = said(world.vore("spice", name, env={"VORE_SPICE_VIEWER": str(path)}))["argv"]
    assert argv == [str(path), f"{before}spice+unix://{world.state}/instance/{name}/spice.sock"]


def test_spice_says_when_it_cannot(world):
    name = boot(world)
    world.vore("spice").failed(1, "SPICE", "features")
    world.vore("kill", name).ok()
    name = boot(world, "spice")
    world.vore("spice", name, env={"PATH": "/nonexistent"}).failed(1, "remote-viewer", "spicy", "virt-viewer",
                                                                   "VORE_SPICE_VIEWER")


# --- system mode: who may ---

def group_settings(gid):
    return f'[vore]\ngroup = "{grp.getgrgid(gid).gr_name}"\n'


def as_member(world, *words, groups=(GROUP,), uid=SESSION_UID, env=None):
    """vore of the build as an ordinary user; world.programs must be reachable for one."""
    for path in (world.base, world.runtime):
        os.chmod(path, 0o755)
    command = ["setpriv", f"--reuid={uid}", f"--regid={uid}",
               "--groups=" + ",".join(map(str, groups)) if groups else "--clear-groups", world.programs / "vore"]
    p = subprocess.run([*map(str, command), "-c", str(world.socket), *map(str, words)], capture_output=True, text=True,
                       cwd="/", env={**world.env(), **(env or {})})
    return Result(words, p.returncode, p.stdout, p.stderr)


@pytest.fixture
def system(root_world):
    if not all(p.stat().st_mode & 1 for p in (root_world.programs, *root_world.programs.parents)):
        pytest.skip("needs root's files to be readable for others")
    return root_world


@pytest.mark.needs_root
@pytest.mark.settings(group_settings(GROUP))
def test_a_member_of_the_group_may(system):
    name, client = boot(system, "looking-glass"), program(system, "client", SAYS.replace("print", """
for path in sys.argv[2], sys.argv[4]:
    assert os.access(path, os.R_OK | os.W_OK), path
print"""))
    argv = said(as_member(system, "lg", name, env={"LOOKING_GLASS": str(client)}))["argv"]
    assert argv[2] == f"/dev/shm/vore/{name}/looking-glass"


@pytest.mark.needs_root
@pytest.mark.settings(group_settings(GROUP))
def test_who_may_use_the_socket_but_not_the_memory(system):
    """A socket that is open for all shows what the files' own modes are for."""
    name = boot(system, "looking-glass", "scream")
    os.chmod(system.socket, 0o666)
    group = grp.getgrgid(GROUP).gr_name
    for words, env in ((["lg", name], {"LOOKING_GLASS": "/bin/true"}), (["spice", name], {"VORE_SPICE_VIEWER": "/bin/true"}),
                       (["scream", "start", name], {"VORE_SCREAM": "/bin/true"})):
        as_member(system, *words, groups=(), env=env).failed(1, "no permission", f"join the group {group}")


@pytest.mark.needs_root
@pytest.mark.settings(group_settings(GROUP))
def test_root_is_refused(root_world):
    name = boot(root_world, "looking-glass")
    group = grp.getgrgid(GROUP).gr_name
    root_world.vore("lg", name, env={"LOOKING_GLASS": "/bin/true", "SUDO_USER": "alice"}).failed(
        1, "root", "as alice", group)


# --- Scream ---

RECEIVER = """#!/bin/sh
echo "$0 $*"
exec sleep 1000
"""


@pytest.fixture
def receiver(world):
    path = program(world, "receiver", RECEIVER)
    started = []

    def start(name, path=path, **env):
        result = world.vore("scream", "start", name, "--json", env={"VORE_SCREAM": str(path), **env})
        if result.rc == 0:
            started.append(result.json["pid"])
        return result
    yield start
    for pid in started:
        if alive(pid):
            kill9(pid)


def children(pid):
    return [int(c) for c in open(f"/proc/{pid}/task/{pid}/children").read().split()]


def log_of(world, name):
    return (world.runtime / f"scream-{name}.log").read_text()


def test_a_receiver_that_ends_at_once(world):
    name = boot(world, "scream")
    path = world.write("receiver", "#!/bin/sh\necho no sound here >&2\nexit 1\n", 0o755)
    world.vore("scream", "start", name, env={"VORE_SCREAM": str(path), "VORE_TEST_SETTLE_MS": "20000"}).failed(
        1, "ended at once: no sound here")
    result = world.vore("scream", "stop", name).ok()
    assert "no Scream receiver runs" in result.err and not result.out
    world.vore("scream", "stop", "nosuch").failed(1, "nosuch")


def test_scream_runs_and_stops(world, receiver):
    name = boot(world, "scream")
    pid = receiver(name).ok().json["pid"]
    child, = children(pid)
    assert os.stat(f"/proc/{pid}").st_uid == world.uid
    until("the receiver's word", lambda: log_of(world, name))
    assert log_of(world, name).split()[1:] == ["-m", f"{world.shared_memory(name)}/scream"]
    again = receiver(name).ok()
    assert again.json["pid"] == pid and "already" in again.err
    assert "is stopped" in world.vore("scream", "stop", name).ok().out
    assert not alive(pid) and not alive(child)
    assert "no Scream receiver" in world.vore("scream", "stop").ok().err
    pid = receiver(name).ok().json["pid"]
    assert alive(pid)


def test_older_receivers_take_the_path(world, receiver):
    name, path = boot(world, "scream"), program(world, "scream-ivshmem-pulse", RECEIVER)
    receiver(name, path).ok()
    until("the receiver's word", lambda: log_of(world, name))
    assert log_of(world, name).split()[1:] == [f"{world.shared_memory(name)}/scream"]


def test_a_receiver_by_a_relative_path(world, receiver):
    name = boot(world, "scream")
    program(world, "receiver", RECEIVER)
    receiver(name, "bin/receiver").ok()


@pytest.mark.parametrize("how", ["vm", "receiver", "follower", "daemon"])
def test_scream_ends_with_the_vm_and_not_with_the_daemon(world, receiver, how):
    name = boot(world, "scream")
    pid = receiver(name).ok().json["pid"]
    child, = children(pid)
    if how == "daemon":
        world.restart(signal.SIGKILL)
        assert alive(pid) and alive(child)
        how = "vm"
    if how == "vm":
        world.vore("kill", name).ok()
    else:
        os.kill(child if how == "receiver" else pid, signal.SIGTERM)
    until("the end of the receiver", lambda: not alive(pid) and not alive(child), 10)
    assert world.vore("scream", "stop", name).ok()
    assert not (world.runtime / f"scream-{name}").exists()


def test_a_follower_that_is_killed_takes_the_receiver_along(world, receiver):
    name = boot(world, "scream")
    pid = receiver(name).ok().json["pid"]
    child, = children(pid)
    kill9(pid)
    until("the end of the receiver", lambda: not alive(child), 10)
    receiver(name).ok()


def test_scream_says_when_it_cannot(world, receiver):
    name = boot(world, "spice")
    receiver(name).failed(1, "scream", "features")
    world.vore("kill", name).ok()
    name = boot(world, "scream")
    receiver(name, "/nonexistent").failed(1, "/nonexistent")
    world.vore("scream", "start", name, env={"PATH": "/nonexistent"}).failed(1, "scream-ivshmem-pulse", "VORE_SCREAM")
    bad = world.write("bin/bad", "#!/nonexistent/interpreter\n", 0o755)
    receiver(name, bad).failed(1, "cannot run", "No such file")
