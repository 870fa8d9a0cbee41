"""The socket: Varlink as it is specified, and clients that cost the others nothing."""
import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import time

import pytest

from world import SANITIZED, Varlink, VarlinkError, until

SERVICE = "org.varlink.service."


def resident(world):
    with open(f"/proc/{world.process.pid}/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def held_up(*tasks):
    """Seconds for which these had to wait for a processor, which is not vored's doing (proc_pid_schedstat)."""
    return sum(int(pathlib.Path(f"/proc/{task}/schedstat").read_text().split()[1]) for task in tasks) / 1e9


def answers(world, within=1.0):
    tasks = world.process.pid, "thread-self"
    start, waited = time.monotonic(), held_up(*tasks)
    with world.link() as link:
        link.call("List")
    took = time.monotonic() - start
    assert took - (held_up(*tasks) - waited) < within


def test_introspection(world):
    with world.link() as link:
        info = link.call(SERVICE + "GetInfo")
        assert {"vendor", "product", "version", "url", "interfaces"} <= set(info)
        assert set(info["interfaces"]) == {"dev.vore.Manager", "org.varlink.service"}
        text = link.call(SERVICE + "GetInterfaceDescription", interface="dev.vore.Manager")["description"]
        assert text.lstrip().startswith("#") and "method Start(" in text


@pytest.mark.parametrize("method, parameters, error", [
    (SERVICE + "GetInterfaceDescription", {"interface": "no.such"}, SERVICE + "InterfaceNotFound"),
    ("no.such.Thing", {}, SERVICE + "InterfaceNotFound"),
    ("NoSuchMethod", {}, SERVICE + "MethodNotFound"),
    ("Start", {}, SERVICE + "InvalidParameter"),
    ("Start", {"name": 5}, SERVICE + "InvalidParameter"),
    ("Start", {"name": "nobody"}, "NoSuchMachine"),
    ("Load", {"toml": "[machine", "directory": "/"}, "InvalidDefinition"),
])
def test_errors(world, method, parameters, error):
    with world.link() as link:
        with pytest.raises(VarlinkError) as caught:
            link.call(method, **parameters)
        assert caught.value.name == error
        assert "machines" in link.call("List")  # the connection lives on


def test_calls_in_one_packet_are_answered_in_order(world):
    with world.link() as link:
        link.sock.sendall(b'{"method":"dev.vore.Manager.List"}\0{"method":"dev.vore.Manager.Version"}\0')
        assert "machines" in link.reply()["parameters"]
        assert "version" in link.reply()["parameters"]


def test_a_call_byte_by_byte(world):
    with world.link() as link:
        for byte in b'{"method":"dev.vore.Manager.List"}\0':
            link.sock.sendall(bytes([byte]))
        assert link.reply()["parameters"] == {"machines": []}


def test_oneway_gets_no_reply(world):
    with world.link() as link:
        link.send("List", oneway=True)
        assert "version" in link.call("Version")


@pytest.mark.parametrize("garbage", [
    b"GET / HTTP/1.1\r\n\r\n\0", b"\0", b"\0\0\0\0", b"[]\0", b"{}\0", b'"x"\0', b'{"method":5}\0', b"\xff\xfe\xfd\0",
    b'{"method":"dev.vore.Manager.List","parameters":[]}\0', b"[" * 100_000 + b"\0", b'{"a":' * 5000 + b"\0",
    b"x" * (1 << 21),
], ids=range(12))
def test_garbage(world, garbage):
    with world.link(timeout=20) as link:
        try:
            link.sock.sendall(garbage)
            message = link.receive()
        except (BrokenPipeError, ConnectionResetError):
            message = None
        assert message is None or "error" in message
    answers(world)


def test_a_message_over_the_limit_is_not_kept(world):
    before = resident(world)
    with world.link() as link:
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            for _ in range(64):
                link.sock.sendall(b" " * (1 << 20))
    assert resident(world) - before < (16 if SANITIZED else 4) << 20
    answers(world)


def test_half_a_message_is_cut_off(world):
    with world.link(timeout=30) as link:
        link.sock.sendall(b'{"method":"dev.vore')
        start = time.monotonic()
        answers(world)
        assert link.closed()
        assert 5 < time.monotonic() - start < 25


def test_idle_clients(world):
    links = []
    try:
        for _ in range(60):
            links.append(Varlink(world.socket))
        with world.link() as link:
            link.call("List")
    finally:
        for link in links:
            link.close()


def test_many_idle_clients_then_room_again(world):
    """Whatever the limit is, it does not stay used up."""
    links = [Varlink(world.socket) for _ in range(200)]
    for link in links:
        link.close()
    until("an answer", lambda: world.vore("list").rc == 0, 10)


def test_a_client_that_never_reads(world):
    world.load()
    before = resident(world)
    with socket.socket(socket.AF_UNIX) as greedy:
        greedy.connect(str(world.socket))
        greedy.settimeout(1)
        call = json.dumps({"method": SERVICE + "GetInterfaceDescription",
                           "parameters": {"interface": "dev.vore.Manager"}}).encode() + b"\0"
        try:
            for _ in range(20_000):
                greedy.sendall(call)
        except OSError:
            pass
        answers(world)
        assert resident(world) - before < 16 << 20


def test_a_subscriber_that_never_reads(world):
    lazy = world.link()
    lazy.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    lazy.send("Subscribe", more=True)
    text = world.define().read_text()
    with world.link() as link:
        link.call("Load", toml=text, directory=str(world.base))
        before = resident(world)
        for _ in range(300):
            link.call("Load", toml=text, directory=str(world.base))
    assert resident(world) - before < (16 if SANITIZED else 4) << 20
    answers(world)
    lazy.close()


def test_events_begin_with_a_snapshot_and_are_numbered(world):
    world.load()
    with world.link() as link:
        events = link.stream("Subscribe")
        first = next(events)["event"]
        assert first["event"] == "snapshot"
        assert [m["name"] for m in first["data"]["machines"]] == ["vm"]
        world.vore("start", "vm").ok()
        seen = []
        while not seen or not (seen[-1]["event"] == "state" and "running" in json.dumps(seen[-1]["data"])):
            seen.append(next(events)["event"])
        numbers = [e["sequence"] for e in seen]
        assert numbers == sorted(set(numbers)) and numbers[0] > first["sequence"] - 1
        assert {e["vm"] for e in seen} == {"vm"} and any(e["event"] == "step" for e in seen)


def test_events_come_before_the_reply(world):
    world.load()
    with world.link() as events, world.link() as link:
        stream = events.stream("Subscribe")
        next(stream)
        link.call("Start", name="vm")
        events.sock.setblocking(False)  # whatever the start caused has been sent by now
        try:
            while True:
                data = events.sock.recv(65536)
                if not data:
                    break
                events.rest += data
        except BlockingIOError:
            pass
        assert b'"running"' in events.rest


def test_logs_are_sent_as_they_are_read(world):
    """8 MiB, by many who do not: the daemon neither stops for it nor keeps it."""
    world.load()
    line = "x" * 99 + "\n"
    world.write(world.state / "log/vm.log", line * 80_000)
    before = resident(world)
    lazy = [world.link() for _ in range(20)]
    for link in lazy:
        link.send("Logs", {"name": "vm"}, more=True)
    answers(world)
    assert resident(world) - before < (64 if SANITIZED else 16) << 20
    for link in lazy:
        link.close()
    with world.link() as link:
        assert "".join(r["text"] for r in link.stream("Logs", name="vm")) == line * 80_000
        last = link.call("Logs", name="vm")["text"]
        assert 1 << 17 < len(last) <= 1 << 18 and not last.replace(line, "")
    assert world.logs_of() == line * 80_000
    assert world.vore("logs", "vm", "--json").ok().json["text"] == line * 80_000


def test_a_follower_that_was_slow_gets_the_rest(world):
    world.load()
    log = world.write(world.state / "log/vm.log", "first\n")
    with world.link() as link:
        link.send("Logs", {"name": "vm", "follow": True}, more=True)
        assert link.reply()["parameters"]["text"] == "first\n"
        with log.open("a") as f:
            f.write("y" * 99 + "\n" + ("z" * 99 + "\n") * 40_000 + "last\n")
        answers(world)
        text = ""
        while not text.endswith("last\n"):
            text += link.reply()["parameters"]["text"]
        assert len(text) == 40_001 * 100 + 5


def follow(world, name="vm"):
    """One that reads the log and is known to the daemon."""
    link = world.link()
    link.send("Logs", {"name": name, "follow": True}, more=True)
    for _ in range(2):
        answers(world)
    return link


def test_a_log_that_is_not_there_yet(world):
    world.load()
    with follow(world) as link:
        world.vore("start", "vm").ok()
        assert "vored: start" in link.reply()["parameters"]["text"]


def test_a_log_that_is_put_aside(world):
    world.load()
    with follow(world) as link:
        text = ""
        for _ in range(3):
            world.vore("start", "vm").ok()
            world.vore("kill", "vm").ok()
        while text.count("vored: start\n") < 3 or text.count("vored: ended") < 3:
            text += link.reply()["parameters"]["text"]
        assert (text.count("vored: start\n"), text.count("vored: ended")) == (3, 3)


def rest_of(link, end):
    text = ""
    while end not in text:
        text += link.reply()["parameters"]["text"]
    return text


def test_a_slow_reader_of_a_log_that_is_put_aside(world):
    world.load()
    text = ("z" * 99 + "\n") * 40_000 + "last\n"
    log = world.write(world.state / "log/vm.log", "first\n")
    with follow(world) as link:
        with log.open("a") as f:
            f.write(text)
        world.vore("start", "vm").ok()
        assert rest_of(link, "vored: start\n").startswith("first\n" + text)


def test_a_log_that_is_cut_under_its_reader(world):
    """It gets every line once, if it is not further behind than what is kept."""
    world.load()
    log = world.write(world.state / "log/vm.log", "first\n")
    lines = [f"{i:099}\n" for i in range(85_000)]
    with follow(world) as link:
        with log.open("a") as f:
            f.writelines(lines[:83_000])
        assert rest_of(link, lines[82_999]) == "first\n" + "".join(lines[:83_000])
        with log.open("ab", buffering=0) as f:
            f.write("".join(lines[83_000:]).encode())
        text = rest_of(link, lines[-1])
        until("the cut", lambda: log.stat().st_size < 8 << 20)
        assert [line for line in text.splitlines(True) if "vored: " not in line] == lines[83_000:]


def test_a_log_that_somebody_empties_under_its_reader(world):
    world.load()
    log = world.write(world.state / "log/vm.log", "first\n" * 100)
    with follow(world) as link:
        rest_of(link, "first\n" * 100)
        log.write_text("second\n")
        rest_of(link, "second\n")


@pytest.mark.parametrize("leave", [True, False])
def test_a_reader_of_logs_stops_nobody(world, leave):
    """It waits for a file that is not there yet, and leaves, or gets it: everybody starts all the same."""
    for name in ("one", "two"):
        world.load(name)
    link = follow(world, "one")
    if leave:
        link.close()
    for name in ("one", "two", "one"):
        world.vore("start", name, timeout=30).ok()
        answers(world)
        world.vore("kill", name).ok()
    if not leave:
        assert "vored: start" in link.reply()["parameters"]["text"]
        link.close()


def test_a_log_with_zeros(world):
    world.load()
    world.write(world.state / "log/vm.log", "one\n\0two\nthree\n")
    assert world.logs_of() == "one\n?two\nthree\n"


@pytest.mark.parametrize("args", [["events", "--json"], ["logs", "vm", "-f"]])
def test_a_stream_ends_with_its_reader(world, args):
    """Also when nothing more comes."""
    world.boot()
    stream = world.popen(*args, stdout=subprocess.PIPE)
    assert stream.stdout.readline()
    stream.stdout.close()
    assert stream.wait(20) == 1


@pytest.mark.parametrize("method", ["Load", "Start", "Prepare", "QemuCommand"])
def test_media_have_absolute_paths(world, method):
    world.load()
    with world.link() as link, pytest.raises(VarlinkError) as refused:
        link.call(method, cdroms=["x.iso"], **({"toml": "", "directory": "/"} if method == "Load" else {"name": "vm"}))
    assert refused.value.name == SERVICE + "InvalidParameter" and world.state_of() == "loaded"


def test_long_calls_stream_their_steps(world):
    world.load()
    with world.link() as link:
        replies = list(link.stream("Start", name="vm"))
    assert replies[-1]["state"] == "running" and all("step" in r for r in replies[:-1]) and len(replies) > 3


def test_a_long_list_comes_in_parts(world):
    """Only to those who ask for several replies; every machine is in just one of them."""
    names = [f"vm{i:03}" for i in range(150)]
    with world.link() as link:
        for name in names:
            link.call("Load", toml=world.define(name).read_text(), directory=str(world.base))
        parts = [[m["name"] for m in reply["machines"]] for reply in link.stream("List")]
        assert [name for part in parts for name in part] == names and len(parts) > 1
        assert [m["name"] for m in link.call("List")["machines"]] == names
    assert [row[0] for row in world.vore("list").ok().rows] == names
    assert [m["name"] for m in world.vore("list", "--json").ok().json] == names


def test_a_long_list_for_a_client_that_is_slow(world):
    """What does not fit into the socket comes as one part: nothing is lost, and nothing piles up in small ones."""
    names = [f"vm{i:04}" for i in range(1000)]
    text = world.define().read_text()
    with world.link() as link:
        for name in names:
            link.call("Load", toml=text.replace('"vm"', f'"{name}"'), directory=str(world.base))
        usual = max(len(reply["machines"]) for reply in link.stream("List"))
    with world.link() as slow:
        for _ in range(8):
            slow.send("List", more=True)
        answers(world)
        seen, parts = [], []
        while len(seen) < 8 * len(names):
            parts.append([m["name"] for m in slow.reply()["parameters"]["machines"]])
            seen += parts[-1]
        assert seen == names * 8 and max(map(len, parts)) > usual


def test_many_readers_one_writer(world):
    world.boot()
    first, second = world.consoles[0], world.console()
    assert first.writer and not second.writer
    second.wait("ready\r\n")
    first.say("echo to all")
    second.wait("to all")
    first.close()
    until("the writer's place", lambda: world.console().writer, 10)


def test_console_needs_upgrade(world):
    world.boot()
    with world.link() as link:
        with pytest.raises(VarlinkError):
            link.call("Console", name="vm")


def test_a_console_that_never_reads_does_not_stop_the_guest(world):
    """Its history keeps the last 64 KiB."""
    busy = world.boot()
    world.console()  # never reads
    busy.wait("ready\r\n")
    for i in range(600):
        busy.say(f"echo {i:05} " + "x" * 200)
        busy.wait(f"{i:05} ")
    busy.say("echo the end")
    busy.wait("the end")
    history = world.console()
    history.wait("the end")
    assert 32 << 10 < len(history.data) <= 66 << 10


def workers_at_work(pid):
    """The children of a vored that have their report still to end: one that has ended it only has to exit."""
    def reports(child):
        try:
            links = [os.readlink(f) for f in pathlib.Path(f"/proc/{child}/fd").iterdir() if int(f.name) > 2]
        except OSError:  # it has exited meanwhile
            return False
        return any(link.startswith("pipe:") for link in links)
    os.kill(pid, signal.SIGSTOP)  # nothing new comes while they are counted
    try:
        until("its rest", lambda: pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [child for child in children if reports(child)]
    finally:
        os.kill(pid, signal.SIGCONT)


def test_looks_take_turns(make_world):
    """Many clients ask for what costs a process each: there are few at a time, each gets its answer, and nobody else
    waits for them."""
    world = make_world()
    slow = world.write("slow.lua", "local start = os.clock()\nwhile os.clock() - start < 0.05 do end\n"
                                   'vore:register_disk_preset("mine", "", function(vm) return vm end)\n')
    world.settings(script=slow)
    world.start()
    links = [world.link() for _ in range(20)]
    for link in links:
        link.send("DiskPresets")
    most, waiting = 0, {link.sock for link in links}
    while waiting:
        most = max(most, len(workers_at_work(world.process.pid)))
        answers(world, 2.0)
        waiting -= set(select.select(list(waiting), [], [], 0.02)[0])
    for link in links:
        assert [p["name"] for p in link.reply()["parameters"]["presets"]] == ["mine"]
        link.close()
    assert 2 <= most <= 8
