"""vored and its VMs in L1, for scenarios."""
import json
import shlex
import subprocess

from l1 import BUILD, COMMAND_S, ROOT

GUEST = BUILD / "tests/guest/guest.img"  # bare metal: greets, reports what it was given, heeds the power button


def definition(name, disks=(), vfio=(), kvm="auto", **sections):
    """The text of a definition; sections, disks and vfio are dicts of keys."""
    machine = {"name": name, "memory": "64M", "kvm": kvm, **sections.pop("machine", {})}
    tables = [(f"[{key}]", value) for key, value in {"machine": machine, "cpu": {"amount": 1}, **sections}.items()]
    tables += [("[[disk]]", d) for d in disks] + [("[[vfio]]", v) for v in vfio]
    lines = []
    for header, keys in tables:
        lines += [header, *(f"{k.replace('_', '-')} = {json.dumps(v)}" for k, v in keys.items()), ""]
    return "\n".join(lines)


class Guest:
    """A VM in L1, and its serial console as a file there."""

    def __init__(self, world, name):
        self.world, self.l1, self.name = world, world.l1, name
        self.log, self.input = f"/run/lab/{name}.console", f"/run/lab/{name}.input"

    def listen(self):
        # Open both ways, a fifo never ends: so the client stays until the VM goes.
        self.l1.run(f"mkdir -p /run/lab && rm -f {self.log} {self.input} && mkfifo {self.input} && "
                    f"setsid vore console {self.name} <>{self.input} >{self.log} 2>{self.log}.err &").ok()
        return self

    def says(self, text, seconds=COMMAND_S):
        self.l1.until(f"grep -qF -e {shlex.quote(text)} {self.log}", seconds)

    def tell(self, line):
        self.l1.run(f"cat >{self.input}", stdin=line + "\n").ok()

    def report(self):
        """What the guest was given, by its first word on it."""
        self.says("ready")
        return json.loads(self.l1.out(f"grep -m1 firmware {self.log}"))

    @property
    def entry(self):
        return self.world.listed(self.name)

    @property
    def pid(self):
        return self.entry["pid"]

    def status(self):
        """/proc/PID/status of its QEMU as a dict."""
        lines = self.l1.read(f"/proc/{self.pid}/status").splitlines()
        return {k: v.strip() for k, _, v in (line.partition(":") for line in lines)}


class World:
    def __init__(self, l1):
        self.l1 = l1

    # --- vored without systemd ---

    def start_vored(self, settings="", wait=True, **environment):
        """The build's vored as root with its usual folders; its output in /run/lab/vored.log. It may end before anybody
        can ask it, if that is what it is started for: wait=False."""
        words = " ".join(f"{k}={shlex.quote(str(v))}" for k, v in environment.items())
        self.l1.run("getent group vore >/dev/null || groupadd --system vore").ok()
        self.l1.write("/etc/vore/vored.toml", settings)
        self.l1.run(f"mkdir -p /run/lab; {words} setsid {shlex.quote(str(BUILD / 'vored'))} >>/run/lab/vored.log 2>&1 "
                    "</dev/null & echo $! >/run/lab/vored.pid").ok()
        if wait:
            self.wait_vored()
        return self

    def end_vored(self, signal="TERM"):
        self.l1.run(f"kill -{signal} $(cat /run/lab/vored.pid)").ok()
        self.l1.until("! kill -0 $(cat /run/lab/vored.pid) 2>/dev/null")

    def wait_vored(self):
        self.l1.until("vore daemon version >/dev/null 2>&1")

    # --- vored as a distribution installs it, in a systemd L1 ---

    def install(self):
        """What meson install gives, with the group and the folders that a package's scripts would make."""
        folder = self.l1.folder / "install"
        subprocess.run(["meson", "install", "--quiet", "--no-rebuild", "-C", BUILD, "--destdir", folder], check=True,
                       stdout=subprocess.DEVNULL, timeout=120, cwd=ROOT)
        self.l1.run(f"cp -a {folder}/. / && systemd-sysusers && systemd-tmpfiles --create vore.conf && "
                    "systemctl daemon-reload && systemctl preset vored.socket vored.service").ok()

    # --- what a scenario does with it ---

    def vore(self, *args, **options):
        return self.l1.run(["vore", *args], **options)

    def listed(self, name):
        """Its entry in the list, or None."""
        return next((m for m in self.vore("list", "--json").ok().json if m["name"] == name), None)

    def define(self, name, **keys):
        """Writes a definition file; without disks it boots the bare-metal guest."""
        if "disks" not in keys:
            image = f"/root/{name}.img"
            self.l1.run(["cp", GUEST, image]).ok()
            keys["disks"] = [{"preset": "virtio", "path": image}]
        return self.l1.write(f"/root/{name}.toml", definition(name, **keys))

    def boot(self, name, *options, **keys):
        """Boots it and waits until the bare-metal guest is ready."""
        self.vore("boot", self.define(name, **keys), *options).ok()
        guest = Guest(self, name).listen()
        guest.says("ready")
        return guest
