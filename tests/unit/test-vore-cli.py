#!/usr/bin/env python3
"""vore as a program against a fake daemon: test-vore-cli.py VORE FAKE-VORED"""
import grp
import json
import os
import pty
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import time
import unittest

VORE, FAKE = "", ""

MACHINES = [
    {"name": "win10", "state": "running", "reason": None, "pid": 4711, "memory": 12 << 30, "vcpus": 12,
     "auto_start": False, "saved": True},
    {"name": "deb", "state": "failed", "reason": "crash\x1b[31m\nhere", "pid": None, "memory": 512 << 20, "vcpus": 2,
     "auto_start": True, "saved": False},
]
FAULT = {"file": "x.toml", "line": 2, "column": 1, "severity": "error", "key": "machine.nmae",
         "message": "unknown key", "hint": "did you mean name?"}
WARNING = dict(FAULT, severity="warning", line=1, message="odd")
STEPS = [{"name": "qemu", "seconds": 0.0124}]


def ok(**parameters):
    return {"parameters": parameters}


def error(which, **parameters):
    return {"error": "dev.vore.Manager." + which, "parameters": parameters}


def going_on(**parameters):
    return {"parameters": parameters, "continues": True}


def device(address, vendor, number, class_name, group, verdict, **more):
    return dict({"address": address, "vendor": vendor, "device": number, "class": 0, "class_name": class_name, "name": None,
                 "driver": None, "iommu_group": group, "reset_methods": [], "boot_vga": False, "power_state": None,
                 "holders": [], "verdict": verdict, "used_by": None}, **more)


DEVICES = [
    device("0000:0b:00.0", 0x10de, 0x1b80, "VGA controller", 21, "host needs it (/dev/sda1 is mounted at /)",
           name="GP104 \033[31m", driver="nouveau", reset_methods=["flr", "bus"], boot_vga=True, power_state="D0",
           holders=[{"kind": "process", "sentence": "Xorg (pid 812) has /dev/dri/card1 open"},
                    {"kind": "disk", "sentence": "/dev/sda1 is mounted at /"}], used_by="win10"),
    device("0000:0b:00.1", 0x10de, 0x10f0, "sound device", 21, "needs 1 more of its group"),
    device("0000:00:1f.0", 0x8086, 0x5182, "ISA bridge", None, "no IOMMU"),
    device("0000:01:00.0", 0x144d, 0xa808, "NVMe drive", 2, "ready", driver="nvme"),
]

SCRIPT = {
    "List": [ok(machines=MACHINES)],
    "Load": [ok(name="x", saved=True, faults=[WARNING])],
    "Start": [going_on(step={"name": "qemu", "seconds": None}), going_on(step=STEPS[0]),
              ok(name="$name", state="running", pid=4711, seconds=0.061, steps=STEPS, faults=[WARNING], note=None)],
    "Stop": [ok(name="$name", state="stopped", seconds=1.2, steps=[], note=None)],
    "Attach": [going_on(step={"name": "claim", "seconds": None}), going_on(step={"name": "claim", "seconds": 0.2}),
               ok(name="$name", state="running", pid=4711, seconds=0.3, steps=STEPS, faults=[WARNING], note=None,
                  devices=["0000:03:00.0", "0000:03:00.1"])],
    "Detach": [error("DetachTimeout", name="$name", seconds=2.5, message="the guest keeps it")],
    "Kill": [error("NoSuchMachine", name="$name", candidates=["win10"])],
    "Pause": [error("PermissionDenied", message="not yours")],
    "Resume": [{"close": True}],
    "Reset": [{"raw": "garbage\0"}],
    "Unload": [ok()],
    "Forget": [ok()],
    "Save": [error("InvalidDefinition", faults=[FAULT])],
    "Show": [ok(definition=None, source="# text\n", faults=None)],
    "Logs": [ok(path="/log", text="one\ntwo\n")],
    "Subscribe": [going_on(event={"sequence": 1, "time": 1.5, "vm": "a", "event": "state", "data": {"state": "running"}}),
                  {"close": True}],
    "Qmp": [ok(reply={"return": {"status": "running"}})],
    "Console": [ok(writer=True), {"raw": "history\r\n"}, {"echo": True}],
    "QemuCommand": [ok(arguments=["/usr/bin/qemu", "-name", "a b", "it's"], faults=[])],
    "DiskPresets": [ok(presets=[{"name": "nvme", "description": "an NVMe drive"}])],
    "Devices": [ok(devices=DEVICES, notes=["the IOMMU is off (turn it on)"])],
    "Version": [ok(version="0.1.0", qemu="7.2.22", system=False, pid=12)],
}


class Fake:
    def __init__(self, folder, changes=None):
        self.socket = os.path.join(folder, "sock")
        script = os.path.join(folder, "script.json")
        with open(script, "w", encoding="utf-8") as f:
            json.dump(dict(SCRIPT, **(changes or {})), f)
        self.process = subprocess.Popen([FAKE, self.socket, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.process.stdout.readline()

    def calls(self):
        with open(self.socket + ".calls", encoding="utf-8") as f:
            return [json.loads(line) for line in f]

    def end(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


class Base(unittest.TestCase):
    changes = None

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.fake = Fake(self.folder.name, self.changes)
        self.env = dict(os.environ, VORE_SOCKET=self.fake.socket, TZ="UTC")
        self.env.pop("NO_COLOR", None)
        self.definition = os.path.join(self.folder.name, "x.toml")
        with open(self.definition, "w", encoding="utf-8") as f:
            f.write("[machine]\nnmae = 'x'\n")

    def tearDown(self):
        self.fake.end()
        self.folder.cleanup()

    def vore(self, *words, code=0, **more):
        more.setdefault("stdin", subprocess.DEVNULL)
        p = subprocess.run([VORE, *words], capture_output=True, text=True, timeout=20, cwd=self.folder.name,
                           env=more.pop("env", self.env), check=False, **more)
        self.assertEqual(p.returncode, code, (words, p.stdout, p.stderr))
        return p.stdout, p.stderr

    def on_terminal(self, *words, keys=b"", until=None, env=None):
        """Runs vore on a pseudo-terminal; types keys once until was seen. Gives what it printed and its status."""
        pid, fd = pty.fork()
        if pid == 0:
            try:
                os.execve(VORE, [VORE, *words], env or self.env)
            finally:
                os._exit(127)
        seen, before = b"", termios.tcgetattr(fd)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if not select.select([fd], [], [], 1)[0]:
                continue
            try:
                chunk = os.read(fd, 65536)
            except OSError:
                break
            seen += chunk
            if keys and (until or b"") in seen:
                os.write(fd, keys)
                keys = b""
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.close(fd)
        return seen.decode(), status, before


class Verbs(Base):
    def test_list(self):
        out, _ = self.vore("list")
        self.assertEqual(out, "win10\trunning\t4711\t12G\t12\tno\tyes\t-\n"
                              "deb\tfailed\t-\t512M\t2\tyes\tno\tcrash\\x1b[31m\\nhere\n")
        out, _ = self.vore("list", "--json")
        self.assertEqual(json.loads(out), MACHINES)
        out, _ = self.vore("--json", "-c", self.fake.socket, "list", env=dict(self.env, VORE_SOCKET="/nonexistent"))
        self.assertEqual(json.loads(out), MACHINES)
        text, _, _ = self.on_terminal("list")
        self.assertIn("\033[32mrunning\033[0m", text)
        text, _, _ = self.on_terminal("list", env=dict(self.env, NO_COLOR="1"))
        self.assertTrue(text.startswith("NAME   STATE     PID  MEMORY"), text)
        self.assertNotIn("\033", text)

    def test_start(self):
        out, err = self.vore("start")
        self.assertEqual(out, "deb is running (pid 4711, 61 ms)\n")
        self.assertEqual(err, "deb: qemu ... 12 ms\nx.toml:1:1: warning: machine.nmae: odd (did you mean name?)\n")
        out, err = self.vore("start", "deb", "--quiet")
        self.assertNotIn("qemu", err)
        self.assertNotIn("more", self.fake.calls()[-1])
        out, err = self.vore("start", "deb", "--json")
        self.assertNotIn("more", self.fake.calls()[-1])
        self.assertEqual(json.loads(out), {"name": "deb", "state": "running", "pid": 4711, "seconds": 0.061, "steps": STEPS})
        text, code, _ = self.on_terminal("start", "deb")
        self.assertEqual(code, 0)
        self.assertIn("deb: qemu ... 12 ms\r\n", text)

    def test_attach(self):
        out, err = self.vore("attach", "03:00.0", "--group", "--force")
        self.assertEqual(out, "0000:03:00.0, 0000:03:00.1 are attached to win10 (300 ms)\n")
        self.assertEqual(err, "win10: claim ... 200 ms\nx.toml:1:1: warning: machine.nmae: odd (did you mean name?)\n")
        self.assertEqual(self.fake.calls()[-1]["parameters"], {"name": "win10", "address": "03:00.0", "force": True,
                                                               "group": True})
        out, _ = self.vore("attach", "1-2", "deb", "--keep", "--json")
        self.assertEqual(json.loads(out), {"name": "deb", "state": "running", "pid": 4711, "seconds": 0.3, "steps": STEPS,
                                           "devices": ["0000:03:00.0", "0000:03:00.1"]})
        self.assertEqual(self.fake.calls()[-1]["parameters"], {"name": "deb", "address": "1-2", "keep": True})
        self.vore("attach", code=2)
        _, err = self.vore("detach", "03:00.0", "--timeout", "2.5", code=1)
        self.assertEqual(err, "vore: detach: the guest keeps it\n")
        self.assertEqual(self.fake.calls()[-1]["parameters"], {"name": "win10", "address": "03:00.0", "timeout": 2.5})
        self.vore("detach", "03:00.0", "--timeout", "soon", code=2)

    def test_load(self):
        out, err = self.vore("load", "x.toml", "-s", "--cdrom", "x.toml")
        self.assertEqual(out, "x is loaded and saved\n")
        self.assertIn("x.toml:1:1: warning:", err)
        call = self.fake.calls()[0]
        folder = os.path.realpath(self.folder.name)
        self.assertEqual(call["parameters"], {"toml": "[machine]\nnmae = 'x'\n", "directory": folder, "file": "x.toml",
                                              "save": True, "cdroms": [folder + "/x.toml"]})
        self.vore("load", "-", stdin=None, input="[machine]\n")
        self.assertEqual(self.fake.calls()[1]["parameters"], {"toml": "[machine]\n", "directory": folder, "file": "-"})
        _, err = self.vore("load", "absent.toml", code=1)
        self.assertIn("absent.toml: No such file", err)
        _, err = self.vore("load", "x.toml", "--cdrom", "absent.iso", code=1)
        self.assertIn("--cdrom absent.iso: No such file", err)
        os.symlink("x.toml", os.path.join(os.fsencode(self.folder.name), b"\xff.iso"))
        _, err = self.vore("load", "x.toml", "--cdrom", os.fsdecode(b"\xff.iso"), code=1, errors="replace")
        self.assertIn("the path is not valid UTF-8", err)
        with open(self.definition, "ab") as f:
            f.write(b"# \xc3\xa9 \xff")
        _, err = self.vore("load", "x.toml", code=1)
        self.assertIn("x.toml:3:5: error: ", err)
        with open(self.definition, "wb") as f:
            f.write(b"#" * 65537)
        _, err = self.vore("load", "x.toml", code=1)
        self.assertIn("64 KiB", err)
        self.assertEqual(len(self.fake.calls()), 2)

    def test_boot(self):
        out, err = self.vore("boot", "x.toml", "--cdrom", "x.toml", "--display")
        self.assertEqual(out, "x is running (pid 4711, 61 ms)\n")
        self.assertEqual(err.count("odd"), 1, "a warning of load and start is said once")
        load, start = [call["parameters"] for call in self.fake.calls()]
        self.assertNotIn("cdroms", load)
        self.assertTrue(start["display"] and len(start["cdroms"]) == 1)

    def test_errors(self):
        _, err = self.vore("kill", "wni10", code=1)
        self.assertIn('did you mean "win10"', err)
        _, err = self.vore("pause", code=3)
        self.assertIn("not yours", err)
        _, err = self.vore("resume", code=1)
        self.assertIn("closed the connection", err)
        self.vore("reset", code=1)
        _, err = self.vore("save", "win10", code=1)
        self.assertEqual(err, "x.toml:2:1: error: machine.nmae: unknown key (did you mean name?)\n")
        _, err = self.vore("prepare", "deb", code=1)
        self.assertIn("does not know Prepare", err)
        _, err = self.vore("show", code=1)
        self.assertIn("several VMs fit; say which: vore show NAME\n  win10  running\n  deb    failed\n", err)
        for words in (["lst"], ["forget"], ["list", "--bogus"], ["stop", "--timeout", "x"], ["stop", "a", "--all"], []):
            self.vore(*words, code=2)
        for words in (["devices", "--usb"], ["pins"], ["cdrom", "--eject"]):
            _, err = self.vore(*words, code=1)
            self.assertIn("is not supported by this version", err)

    def test_no_daemon(self):
        absent = os.path.join(self.folder.name, "absent")
        _, err = self.vore("list", "-c", absent, code=3)
        self.assertIn("vored --socket " + absent, err)
        dead = socket.socket(socket.AF_UNIX)
        dead.bind(absent)
        dead.close()
        self.vore("list", "--conn=" + absent, code=3)
        self.vore("--help", "-c", absent)
        self.vore("--version")

    def test_session_first(self):
        os.mkdir(os.path.join(self.folder.name, "vore"))
        os.symlink("../sock", os.path.join(self.folder.name, "vore", "vored.sock"))
        env = dict(self.env, VORE_SOCKET="", XDG_RUNTIME_DIR=self.folder.name)
        self.assertIn("win10", self.vore("list", env=env)[0])

    @unittest.skipUnless(os.geteuid() == 0, "needs another user")
    def test_no_permission(self):
        group = grp.getgrnam("daemon")
        os.chmod(self.folder.name, 0o755)
        os.chown(self.fake.socket, 0, group.gr_gid)
        os.chmod(self.fake.socket, 0o660)
        try:
            _, err = self.vore("list", code=3, user=65534, extra_groups=[])
        except PermissionError:
            self.skipTest("the build folder is not for everybody")
        self.assertIn("join the group daemon (sudo usermod -aG daemon ", err)
        os.chmod(self.fake.socket, 0o600)
        _, err = self.vore("list", code=3, user=65534, extra_groups=[])
        self.assertIn("belongs to root alone", err)

    def test_look(self):
        self.assertEqual(self.vore("show", "a", "--source")[0], "# text\n")
        self.assertEqual(json.loads(self.vore("show", "a", "--source", "--json")[0]), {"source": "# text\n"})
        self.assertEqual(self.vore("logs", "a")[0], "one\ntwo\n")
        lines = [json.loads(line) for line in self.vore("logs", "a", "-f", "--json")[0].splitlines()]
        self.assertEqual([(line["vm"], line["event"], line["data"]) for line in lines],
                         [("a", "log", {"line": "one"}), ("a", "log", {"line": "two"})])
        out, _ = self.vore("events", code=1)
        self.assertEqual(out, "1970-01-01T00:00:01.500\ta\tstate\tstate=running\n")
        out, _ = self.vore("events", "--json", code=1)
        self.assertLessEqual({"time", "vm", "event", "data"}, set(json.loads(out)))
        self.assertEqual(json.loads(self.vore("qmp", "query-status")[0]), {"return": {"status": "running"}})
        self.assertEqual(self.vore("x", "qemucmd", "a")[0], "/usr/bin/qemu -name 'a b' 'it'\\''s'\n")
        self.assertEqual(json.loads(self.vore("x", "qemucmd", "./x.toml", "--exact", "--json")[0])[2], "a b")
        self.assertEqual(self.fake.calls()[-1]["parameters"]["exact"], True)
        self.assertEqual(self.vore("disk", "preset")[0], "nvme\tan NVMe drive\n")
        self.assertEqual(json.loads(self.vore("d", "version", "--json")[0])["pid"], 12)

    def test_devices(self):
        out, err = self.vore("devices")
        self.assertEqual(out.splitlines()[0].split("\t"),
                         ["0000:0b:00.0", "10de:1b80", "VGA controller", "GP104 \\x1b[31m", "nouveau", "21", "flr bus",
                          "yes", "D0", "Xorg (pid 812) has /dev/dri/card1 open; /dev/sda1 is mounted at /",
                          "host needs it (/dev/sda1 is mounted at /)", "win10"])
        self.assertEqual(out.splitlines()[2],
                         "0000:00:1f.0\t8086:5182\tISA bridge\t-\t-\t-\t-\tno\t-\t-\tno IOMMU\t-")
        self.assertEqual(err, "the IOMMU is off (turn it on)\n")
        listed = json.loads(self.vore("devices", "--json")[0])
        self.assertEqual(listed, [{k: v for k, v in d.items() if k not in ("class_name", "power_state")} for d in DEVICES])
        for one in listed:
            self.assertEqual(set(one), {"address", "vendor", "device", "class", "name", "driver", "iommu_group",
                                        "reset_methods", "boot_vga", "holders", "verdict", "used_by"})
        self.assertEqual(self.vore("devices", "-q")[1], "")
        text, code, _ = self.on_terminal("devices", env=dict(self.env, NO_COLOR="1"))
        self.assertEqual(code, 0)
        self.assertIn("""IOMMU group 2
\u2514\u2500 0000:01:00.0 144d:a808 NVMe drive
      ready, driver nvme, no reset
IOMMU group 21
\u251c\u2500 0000:0b:00.0 10de:1b80 VGA controller: GP104 \\x1b[31m
\u2502     host needs it (/dev/sda1 is mounted at /), driver nouveau, reset flr bus, D0, boot VGA, used by win10
\u2502     Xorg (pid 812) has /dev/dri/card1 open
\u2514\u2500 0000:0b:00.1 10de:10f0 sound device
      needs 1 more of its group, no driver, no reset
no IOMMU group
\u2514\u2500 0000:00:1f.0 8086:5182 ISA bridge
      no IOMMU, no driver, no reset
""", text.replace("\r\n", "\n"))
        text, _, _ = self.on_terminal("devices")
        self.assertIn("\033[32mready\033[0m", text)

    def test_output_fails(self):
        with open("/dev/full", "w", encoding="utf-8") as full:
            p = subprocess.run([VORE, "list"], stdout=full, stderr=subprocess.PIPE, env=self.env, text=True, check=False)
        self.assertEqual(p.returncode, 1)
        self.assertIn("No space left", p.stderr)
        reader, writer = os.pipe()
        os.close(reader)
        p = subprocess.run([VORE, "list"], stdout=writer, stderr=subprocess.PIPE, env=self.env, text=True, check=False)
        os.close(writer)
        self.assertEqual(p.stderr, "")
        p = subprocess.run(["sh", "-c", '"$0" list >&-', VORE], stderr=subprocess.PIPE, env=self.env, check=False)
        self.assertEqual(p.returncode, 1)


# What stands on the line behind "vore ", and what Tab offers there. SOCKET is the fake daemon's, which no variable names.
NAMES = {"win10", "deb"}
TABS = [
    ("scr", {"scream"}),
    ("scream ", {"start", "stop"}),
    ("disk ", {"presets", "create"}),
    ("disk pr", {"presets"}),
    ("d ", {"version"}),
    ("-q -c SOCKET sto", {"stop"}),
    ("--conn=SOCKET disk c", {"create"}),
    ("-c SOCKET start ", NAMES),
    ("--conn=SOCKET start w", {"win10"}),
    ("start -c SOCKET d", {"deb"}),
    ("start --cdrom x.toml -c SOCKET w", {"win10"}),
    ("-c SOCKET lg ", NAMES),
    ("-c SOCKET lg --vm w", {"win10"}),
    ("-c SOCKET looking-glass --vm w", {"win10"}),
    ("-c SOCKET scream start ", NAMES),
    ("-c SOCKET x qemucmd ", NAMES | {"x.toml", "folder"}),
    ("list ", set()),
    ("load x", {"x.toml"}),
    ("load ", {"x.toml", "folder"}),
    ("check --config x", {"x.toml"}),
    ("-c fol", {"folder"}),
    ("completion ", {"bash", "zsh", "fish"}),
    ("help scr", {"scream"}),
    ("help he", {"help"}),
    ("help scream ", {"start", "stop"}),
    ("help disk create ", set()),
    ("help start ", set()),
    ("reserve --emit ", {"udev", "initramfs-tools", "dracut"}),
    ("reserve --install ", {"udev", "initramfs-tools"}),
    ("reserve --remove u", {"udev"}),
    ("disk create a 1G --type ", {"raw", "qcow2", "vmdk", "vdi", "vhdx"}),
    ("stop --timeout ", set()),
    ("stop --f", {"--force"}),
    ("attach --f", {"--force"}),
    ("start --di", {"--display"}),
    ("scream start --di", set()),
    ("scream start --cd", set()),
    ("disk preset --js", {"--json"}),
    ("d version --js", {"--json"}),
    ("lg --vm=win10 --js", {"--json"}),
    ("--js", {"--json"}),
]

# Of zsh's completion there is no output: what it is about to add is written down, and so is what the line has become.
ZSH = """
PS1='tab me: '; setopt no_beep no_auto_menu no_list_beep
fpath=(%(folder)s $fpath); autoload -U compinit; compinit -u -D
typeset -ga seen
compadd() {
    local -a hits
    if [[ ${@[1,(i)(-|--)]} != *-(O|A|D)\ * ]]; then
        builtin compadd -A hits "$@"; seen+=($hits)
    fi
    builtin compadd "$@"
}
show() { print -rl -- "$BUFFER" $seen "" >%(result)s.new; mv %(result)s.new %(result)s; seen=(); BUFFER=; }
zle -N show; bindkey '^X^W' show; bindkey '^I' complete-word
"""
BASH = """
PS1='tab me: '; bind 'set bell-style none' 'set enable-bracketed-paste off'; . %(folder)s/_vore
show() { printf '%%s\n' "$READLINE_LINE" >%(result)s.new; mv %(result)s.new %(result)s; READLINE_LINE=; }
bind -x '"\C-x\C-w": show'
"""


class Shell:
    """A shell at a terminal."""
    def __init__(self, words, setup, folder, env, cwd):
        self.result = os.path.join(folder, "result")
        with open(os.path.join(folder, "setup"), "w", encoding="utf-8") as f:
            f.write(setup % {"folder": folder, "result": self.result})
        pid, self.fd = pty.fork()
        if pid == 0:
            try:
                os.chdir(cwd)
                os.execvpe(words[0], words, env)
            finally:
                os._exit(127)
        self.pid, self.said = pid, b""
        os.write(self.fd, b". " + os.path.join(folder, "setup").encode() + b"\n")
        self.wait(lambda: b"tab me: " in self.said)

    def wait(self, done):
        deadline = time.monotonic() + 20
        while not done():
            if time.monotonic() > deadline:
                raise AssertionError("the shell does not answer: %r" % self.said)
            if select.select([self.fd], [], [], 0.02)[0]:
                self.said += os.read(self.fd, 65536)

    def tab(self, line):
        """The line after Tab, and what was offered."""
        os.write(self.fd, line.encode() + b"\t\x18\x17")
        self.wait(lambda: os.path.exists(self.result))
        with open(self.result, encoding="utf-8") as f:
            lines = f.read().splitlines()
        os.unlink(self.result)
        return lines[0], {one for one in lines[1:] if one}

    def end(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


class Completion(Base):
    def setUp(self):
        super().setUp()
        self.tools = tempfile.TemporaryDirectory()
        self.cwd = os.path.join(self.folder.name, "cwd")
        os.makedirs(os.path.join(self.cwd, "folder"))
        with open(os.path.join(self.cwd, "x.toml"), "w", encoding="utf-8"):
            pass
        os.symlink(VORE, os.path.join(self.tools.name, "vore"))
        self.env.update(PATH=self.tools.name + ":" + os.environ["PATH"], HOME=self.tools.name, TERM="xterm", LC_ALL="C",
                        VORE_SOCKET="/nonexistent")

    def tearDown(self):
        self.tools.cleanup()
        super().tearDown()

    def script(self, shell, name="_vore"):
        path = os.path.join(self.tools.name, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(self.vore("completion", shell)[0])
        return path

    def shell(self, words, setup):
        shell = Shell(words, setup, self.tools.name, self.env, self.cwd)
        self.addCleanup(shell.end)
        return shell

    def line(self, line):
        return "vore " + line.replace("SOCKET", self.fake.socket)

    def test_unknown_shell(self):
        self.vore("completion", "tcsh", code=2)

    def test_bash(self):
        """Words as Readline makes them."""
        ask = '. %s\nt() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _vore; echo "${COMPREPLY[*]}"; }\n' % self.script("bash")
        for line, _ in TABS:
            words = self.line(line).replace("=", " = ").split(" ")
            ask += "t " + " ".join("'%s'" % word for word in words) + "\n"
        p = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, env=self.env, check=False, cwd=self.cwd)
        self.assertEqual(p.stderr, "")
        for (line, wanted), got in zip(TABS, p.stdout.split("\n")):
            self.assertEqual(sorted(got.split()), sorted(wanted), line)

    def test_bash_at_a_terminal(self):
        self.script("bash")
        shell = self.shell(["bash", "--norc", "--noprofile", "-i"], BASH)
        for line, wanted in (("scr", "scream "), ("load fol", "load folder/"), ("-c fol", "-c folder/"),
                             ("start --cdrom fol", "start --cdrom folder/"), ("check --config=fol", "check --config=folder/"),
                             ("-c SOCKET start w", "-c SOCKET start win10 "), ("lg a -- fol", "lg a -- folder/")):
            self.assertEqual(shell.tab(self.line(line))[0], self.line(wanted))

    @unittest.skipUnless(shutil.which("zsh"), "there is no zsh")
    def test_zsh(self):
        self.script("zsh")
        shell = self.shell(["zsh", "-f", "-i"], ZSH)
        # The first Tab of a shell is the one that loads the function.
        self.assertEqual(shell.tab("vore scr"), ("vore scream ", {"scream"}))
        for line, wanted in TABS:
            offered = shell.tab(self.line(line))[1]
            if line.endswith(" "): # where nothing else may stand, zsh offers options
                offered = {one for one in offered if not one.startswith("-")}
            self.assertEqual(offered, wanted, line)
        for line, wanted in (("load fol", "load folder/"), ("start --cdrom fol", "start --cdrom folder/"),
                             ("start --cd", "start --cdrom=")):
            self.assertEqual(shell.tab(self.line(line))[0], self.line(wanted))

    @unittest.skipUnless(shutil.which("zsh"), "there is no zsh")
    def test_zsh_sourced(self):
        self.script("zsh", "sourced")
        shell = self.shell(["zsh", "-f", "-i"], ZSH + ". %(folder)s/sourced\n")
        self.assertEqual(shell.tab("vore scr"), ("vore scream ", {"scream"}))

    @unittest.skipUnless(shutil.which("fish"), "there is no fish")
    def test_fish(self):
        script = self.script("fish")
        ask = "".join("complete -C '%s'; echo .\n" % self.line(line) for line, _ in TABS)
        p = subprocess.run(["fish", "--no-config", "-c", "source %s\n%s" % (script, ask)], capture_output=True, text=True,
                           env=self.env, check=False, cwd=self.cwd)
        self.assertEqual(p.stderr, "")
        for (line, wanted), got in zip(TABS, p.stdout.split(".\n")):
            self.assertEqual(sorted(one.split("\t")[0].rstrip("/") for one in got.splitlines()), sorted(wanted), line)


class StopAll(Base):
    changes = {"List": [ok(machines=[dict(MACHINES[0], name="vm%d" % i) for i in range(100)])]}

    def test_all(self):
        out, _ = self.vore("stop", "--all", "--timeout", "5", "--force")
        self.assertEqual(sorted(out.splitlines()), sorted("vm%d is stopped (1200 ms)" % i for i in range(100)))
        stops = [c["parameters"] for c in self.fake.calls() if c["method"].endswith(".Stop")]
        self.assertEqual(len(stops), 100)  # each is asked once, although it is listed as running to the end
        self.assertTrue(all(p["force"] and p["timeout"] == 5 for p in stops))
        self.assertEqual(len(json.loads(self.vore("stop", "--all", "--json")[0])), 100)


class StopAllFails(Base):
    changes = {"List": [ok(machines=MACHINES)],
               "Stop": [error("StopTimeout", name="$name", seconds=1.0, message="")]}

    def test_all(self):
        _, err = self.vore("stop", "--all", code=1)
        self.assertIn("win10 did not power off in 1000 ms", err)
        out, _ = self.vore("stop", "--all", "--json", code=1)
        self.assertEqual(json.loads(out)[0]["error"], "StopTimeout")


class Console(Base):
    def test_pipe(self):
        self.assertEqual(self.vore("console")[0], "history\r\n".replace("\r\n", "\n"))
        self.assertEqual(self.vore("console", stdin=None, input="hello")[0], "history\nhello")

    def test_terminal(self):
        text, code, _ = self.on_terminal("console", keys=b"typed\x03\x1d", until=b"history")
        self.assertEqual(code, 0)
        self.assertIn("Ctrl-] leaves", text)
        self.assertIn("left the console", text)

    def test_terminal_is_restored(self):
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            master, slave = os.openpty()
            before = termios.tcgetattr(slave)
            p = subprocess.Popen([VORE, "console", "win10"], stdin=slave, stdout=subprocess.PIPE,
                                 stderr=subprocess.DEVNULL, env=self.env)
            self.assertEqual(p.stdout.read(9), b"history\r\n")
            self.assertNotEqual(termios.tcgetattr(slave), before)
            p.send_signal(number)
            self.assertEqual(p.wait(), -number)
            self.assertEqual(termios.tcgetattr(slave), before)
            p.stdout.close()
            os.close(master)
            os.close(slave)


class StartFails(Base):
    changes = {"Start": [going_on(step={"name": "qemu", "seconds": None}), error("StartFailed", name="deb", reason="no KVM")]}

    def test_line_is_completed(self):
        text, code, _ = self.on_terminal("start", "deb")
        self.assertEqual((text, code), ("deb: qemu ...\r\nvore: start: deb: no KVM; its log: vore logs deb\r\n", 1))
        _, err = self.vore("start", "deb", code=1)
        self.assertEqual(err, "vore: start: deb: no KVM; its log: vore logs deb\n")


class Check(Base):
    def setUp(self):
        super().setUp()
        self.env.pop("VORE_HOST_ROOT", None)
        self.env["XDG_CACHE_HOME"] = self.folder.name
        self.settings = os.path.join(self.folder.name, "vored.toml")
        with open(self.settings, "w", encoding="utf-8") as f:
            f.write("[vore]\nstate-dir = '%s/state'\n[qemu]\nbinary = '/bin/false'\n" % self.folder.name)

    def test_daemon_answers_alone(self):
        out, _ = self.vore("check", "x.toml", "--json")
        self.assertEqual(json.loads(out), [WARNING])
        self.assertTrue(self.fake.calls()[0]["parameters"]["dry_run"])

    def test_settings_are_for_here(self):
        out, _ = self.vore("check", "x.toml", "--config", self.settings, "--json", code=1)
        faults = json.loads(out)
        self.assertEqual([(f["line"], f["severity"], f["key"]) for f in faults],
                         [(1, "error", "machine.name"), (2, "error", "machine.nmae")])
        self.assertEqual(set(faults[0]), {"file", "line", "column", "severity", "key", "message", "hint"})
        self.assertFalse(os.path.exists(self.fake.socket + ".calls"))
        _, err = self.vore("check", "x.toml", "--config", "/nonexistent", code=1)
        self.assertIn("/nonexistent", err)

    def test_no_daemon(self):
        _, err = self.vore("check", "x.toml", "-c", "/nonexistent", code=1)
        self.assertIn("x.toml:2", err)


class CheckFails(Base):
    changes = {"Load": [error("InvalidDefinition", faults=[FAULT])]}

    def test_faults_of_the_error(self):
        out, _ = self.vore("check", "x.toml", "--json", code=1)
        self.assertEqual(json.loads(out), [FAULT])


class CheckGarbage(Base):
    changes = {"Load": [{"raw": "garbage\0"}]}

    def test_here_instead(self):
        _, err = self.vore("check", "x.toml", code=1)
        self.assertIn("x.toml:2", err)


class ConsoleReader(Base):
    changes = {"Console": [ok(writer=False), {"raw": "history\r\n"}, {"close": True}]}

    def test_reader(self):
        _, err = self.vore("console")
        self.assertIn("only reads", err)


class DiskCreate(Base):
    def test_create(self):
        out, _ = self.vore("disk", "create", "a.qcow2", "1G")
        self.assertEqual(out, "a.qcow2 is made (qcow2, 1G)\n")
        self.assertEqual(json.loads(self.vore("disk", "create", "b.img", "1 MiB", "--json")[0]),
                         {"path": "b.img", "type": "raw", "size": 1 << 20})
        self.assertEqual(os.path.getsize(os.path.join(self.folder.name, "b.img")), 1 << 20)
        self.vore("disk", "create", "c", "1M", "--type=raw")
        self.assertEqual(os.path.getsize(os.path.join(self.folder.name, "c")), 1 << 20)
        os.symlink("nowhere", os.path.join(self.folder.name, "link.img"))
        for path in ("a.qcow2", "link.img"):
            _, err = self.vore("disk", "create", path, "2G", code=1)
            self.assertIn("never overwritten", err)
        self.vore("disk", "create", "d.img", "20", code=2)
        self.vore("disk", "create", "d.img", "20X", code=2)
        self.vore("disk", "create", "d.img", "0", code=2)
        self.vore("disk", "create", "d.img", "1G", "--type", "qcow3", code=2)
        self.vore("disk", "create", "absent/d.img", "1G", code=1)
        self.vore("disk", "create", "d.img", "1G", code=1, env=dict(self.env, PATH="/nonexistent"))
        left = sorted(os.listdir(self.folder.name))
        self.assertEqual([n for n in left if n.startswith((".", "d"))], [])


if __name__ == "__main__":
    FAKE, VORE = os.path.abspath(sys.argv.pop()), os.path.abspath(sys.argv.pop())
    unittest.main()
