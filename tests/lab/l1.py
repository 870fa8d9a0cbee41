"""L1, the host under test: a QEMU with an IOMMU and an AMD CPU under TCG, the outer machine's files as its root, and a
channel over which commands run in it."""
import dataclasses
import json
import os
import pathlib
import select
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import kernel

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = pathlib.Path(os.environ.get("VORE_BUILD", ROOT / "build")).resolve()
BOOT_S, OFF_S, COMMAND_S = 480, 360, 240  # a busy machine may be many times as slow as an idle one

# What sits behind one root port each. {disk:NAME} becomes an image of 16 MiB with NAME's marker in its first sector.
NVME_A = ["nvme,id=nvme-a,serial=lab-a,drive={disk:nvme-a}"]
NVME_B = ["nvme,id=nvme-b,serial=lab-b,drive={disk:nvme-b}"]
GRAPHICS = ["bochs-display,id=gpu,addr=0.0,multifunction=on", "ich9-intel-hda,id=hda,addr=0.1",
            "hda-output,bus=hda.0,audiodev=none"]
USB = ["qemu-xhci,id=xhci", "usb-tablet,id=tablet,bus=xhci.0", "usb-storage,id=stick,serial=lab-stick,bus=xhci.0,"
       "drive={disk:stick}"]
EMPTY = []


@dataclasses.dataclass
class Host:
    """What kind of L1 a scenario wants. `slots`: slot N is at PCI address 0N:00, as SeaBIOS counts root ports.

    `smp`: several CPUs are only for scenarios whose guests do without KVM (kvm=False). Two faults of QEMU's emulator are
    why. With a thread for each CPU, all of them spin sooner or later: the translation of code is dropped just before that
    code is overwritten, so that another CPU may translate the old bytes in between, and keeps them. KVM has the scheduler
    patched when its first virtual CPU comes and when the last one goes (a static key), by way of a breakpoint, which some
    CPUs then meet for ever. With one thread for all CPUs (tcg,thread=single), guests crash: an interrupt that VMRUN has
    injected stays noted as an exception, and is delivered once more, whatever the guest does then, if the CPU is kicked
    before the guest exits; and in that mode, whatever happens to one CPU kicks the one that runs."""
    init: str = "plain"  # or "systemd"
    state: bool = False  # /var/lib/vore and /var/log/vore, and /state, on a disk that outlives a reboot
    udev: bool = False  # with systemd: udevd runs, and finds the drivers of what there is
    first: str = ""  # a script that the first file system runs before any driver of a device is there, as an initramfs would
    slots: list = dataclasses.field(default_factory=lambda: [NVME_A, NVME_B, GRAPHICS, USB, EMPTY])
    memory: str = "4G"
    smp: str = "1"
    modules: list = dataclasses.field(default_factory=lambda: ["nvme", "bochs", "snd_hda_intel", "xhci_pci", "usbhid",
                                                               "usb_storage", "sd_mod", "kvm_amd"])
    cmdline: str = ""  # more for the kernel
    qemu: list = dataclasses.field(default_factory=list)  # more for QEMU


class LabFailure(AssertionError):
    pass


class Result:
    def __init__(self, command, answer):
        self.command, self.status, self.late = command, answer["status"], answer.get("late")
        self.out, self.err = answer["stdout"], answer["stderr"]

    @property
    def json(self):
        return json.loads(self.out)

    def ok(self):
        assert self.status == 0 and not self.late, self
        return self

    def failed(self, status=1, *words):
        assert self.status == status, self
        for word in words:
            assert word.lower() in self.err.lower(), f"{word!r} is missing in {self}"
        return self

    def __repr__(self):
        late = ", killed at its deadline" if self.late else ""
        return f"in L1: {self.command} -> {self.status}{late}\nstdout: {self.out}\nstderr: {self.err}"


class Lines:
    """JSON objects, one a line, over a socket; nothing waits past a deadline."""

    def __init__(self, sock):
        self.sock, self.rest = sock, b""

    def send(self, message):
        self.sock.settimeout(COMMAND_S)
        self.sock.sendall(json.dumps(message).encode() + b"\n")

    def receive(self, deadline):
        """The next object, or None at the deadline; EOFError at the end."""
        while b"\n" not in self.rest:
            if not select.select([self.sock], [], [], max(0, deadline - time.monotonic()))[0]:
                return None
            try:
                data = self.sock.recv(1 << 16)
            except ConnectionResetError:
                data = b""
            if not data:
                raise EOFError
            self.rest += data
        line, _, self.rest = self.rest.partition(b"\n")
        return json.loads(line)


class L1:
    def __init__(self, host):
        self.host, self.process, self.boots = host, None, 0
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="vore-lab-"))
        os.chmod(self.folder, 0o755)
        self.console = self.folder / "console.log"

    # --- its life ---

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def start(self):
        """Boots it, and returns when it takes commands."""
        assert not self.running
        self.boots += 1
        begin = time.monotonic()
        agent, agent_end = socket.socketpair()
        qmp, qmp_end = socket.socketpair()
        with open(self.console, "ab") as log, agent_end, qmp_end:
            log.write(f"\n--- boot {self.boots}\n".encode())
            log.flush()
            # With this process, however it ends, goes L1.
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *self.command(agent_end.fileno(), qmp_end.fileno())],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[agent_end.fileno(), qmp_end.fileno()])
        self.agent, self.monitor, self.answers, self.next_id = Lines(agent), Lines(qmp), {}, 1
        self.answer(0, BOOT_S, "boot")
        self.boot_s = time.monotonic() - begin
        return self

    def power_off(self, seconds=OFF_S):
        """Shuts it down as its init does, and waits for the end."""
        command = "systemctl --no-block poweroff" if self.host.init == "systemd" else "sync; /bin/busybox poweroff -f"
        self.spawn(command)
        self.wait_off(seconds)

    def wait_off(self, seconds=OFF_S):
        """Waits for a power-off that was asked for."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise LabFailure(f"L1 is not off after {seconds} s") from None
        assert status == 0, f"L1's QEMU ended with status {status}"
        self.close_channels()

    def power_loss(self):
        """As if its plug were pulled."""
        if self.running:
            self.process.kill()
            self.process.wait(OFF_S)
        self.close_channels()

    def close_channels(self):
        for name in ("agent", "monitor"):
            if lines := getattr(self, name, None):
                lines.sock.close()

    def close(self):
        self.power_loss()
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- its command line ---

    def image(self, name, size=16 << 20):
        path = self.folder / f"{name}.img"
        if not path.exists():
            with open(path, "wb") as f:
                f.write(marker(name).encode())
                f.truncate(size)
        return path

    def state_disk(self):
        path = self.folder / "state.img"
        if not path.exists():
            with open(path, "wb") as f:
                f.truncate(256 << 20)
            subprocess.run([kernel.find_tool("mkfs.ext4"), "-q", "-F", path], check=True, timeout=60)
        return path

    def device(self, text, port):
        """A line of a slot as arguments: its disk first, and its bus, if it names none."""
        arguments = []
        if "{disk:" in text:
            name = text.split("{disk:")[1].split("}")[0]
            arguments += ["-drive", f"if=none,id=disk-{name},format=raw,file={self.image(name)}"]
            text = text.replace("{disk:" + name + "}", f"disk-{name}")
        return [*arguments, "-device", text if "bus=" in text else f"{text},bus={port}"]

    def initrd(self, k):
        """The first file system, and this run's settings."""
        settings = {"LAB": HERE, "BUILD": BUILD, "KERNEL_MODULES": k.modules, "INIT": self.host.init,
                    "MODULES": " ".join(self.host.modules), "STATE": "/dev/vda" if self.host.state else "",
                    "UDEV": "yes" if self.host.udev else ""}
        text = "".join(f"{key}={shlex.quote(str(value))}\n" for key, value in settings.items())
        files = {"lab.conf": (0o100644, text.encode())}
        if self.host.first:
            files |= {"first": kernel.program(self.host.first.encode()), **kernel.loadable(k, ["vfio_pci", "vfio_iommu_type1"])}
        path = self.folder / "initrd"
        path.write_bytes(kernel.initramfs(k) + kernel.cpio(files))
        return path

    def command(self, agent_fd, qmp_fd):
        k, host = kernel.get_kernel(), self.host
        # On a busy machine ticks come late, and the kernel would give the timer up (no_timer_check).
        cmdline = f"console=ttyS0 loglevel=4 panic=-1 no_timer_check intel_iommu=on iommu=pt mitigations=off {host.cmdline}"
        if host.init == "systemd":
            cmdline += " systemd.journald.forward_to_console=1 systemd.show_status=0"
        arguments = [
            kernel.find_tool("qemu-system-x86_64"), "-name", "vore-lab", "-nodefaults", "-display", "none", "-no-reboot",
            "-machine", "q35,accel=tcg,kernel-irqchip=off", "-smp", host.smp, "-m", host.memory,
            "-cpu", "max,vendor=AuthenticAMD,svm=on,npt=on", "-device", "intel-iommu,intremap=on,caching-mode=on",
            "-kernel", str(k.image), "-initrd", str(self.initrd(k)), "-append", cmdline,
            "-serial", "stdio", "-chardev", f"socket,id=qmp,fd={qmp_fd}", "-qmp", "chardev:qmp",
            "-chardev", f"socket,id=agent,fd={agent_fd}", "-device", "virtio-serial-pci",
            "-device", "virtserialport,chardev=agent,name=lab.agent",
            "-fsdev", "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap",
            "-device", "virtio-9p-pci,fsdev=root,mount_tag=root", "-audiodev", "none,id=none"]
        if host.state:
            arguments += ["-drive", f"if=none,id=state,format=raw,file={self.state_disk()}",
                          "-device", "virtio-blk-pci,drive=state"]
        for number, slot in enumerate(host.slots, 1):
            port = f"rp{number}"
            arguments += ["-device", f"pcie-root-port,id={port},chassis={number},slot={number},addr=0x{15 + number:x}"]
            for text in slot:
                arguments += self.device(text, port)
        return arguments + list(host.qemu)

    # --- commands in it ---

    def answer(self, number, seconds, what):
        deadline = time.monotonic() + seconds
        while number not in self.answers:
            try:
                message = self.agent.receive(deadline)
            except EOFError:
                raise LabFailure(f"L1 ended during: {what}") from None
            if message is None:
                raise LabFailure(f"no answer from L1 within {seconds:.0f} s: {what}")
            self.answers[message["id"]] = message
        return self.answers.pop(number)

    def spawn(self, command, seconds=COMMAND_S, stdin=""):
        """Starts a command and does not wait: a function that does, and gives its Result. A string is for sh. What
        a command leaves running must have its output redirected."""
        argv = ["/bin/sh", "-c", command] if isinstance(command, str) else [str(a) for a in command]
        number, self.next_id = self.next_id, self.next_id + 1
        self.agent.send({"id": number, "argv": argv, "stdin": stdin, "timeout": seconds})
        return lambda: Result(command, self.answer(number, seconds + 10, command))

    def run(self, command, seconds=COMMAND_S, stdin=""):
        """Runs a command to its end, at most so long; its Result. One that fails is no error: see Result.ok."""
        return self.spawn(command, seconds, stdin)()

    def out(self, command, **options):
        """The output of a command that must succeed, without the last newline."""
        return self.run(command, **options).ok().out.rstrip("\n")

    def until(self, condition, seconds=COMMAND_S):
        """Waits in L1 for the success of a shell command, which is repeated."""
        result = self.run(f"until {{ {condition}\n}} >/dev/null 2>&1; do sleep 0.1; done", seconds)
        assert not result.late, f"not within {seconds} s in L1: {condition}"

    def read(self, path):
        return self.out(["cat", path])

    def write(self, path, text):
        self.run(f"mkdir -p {shlex.quote(os.path.dirname(path))} && cat >{shlex.quote(path)}", stdin=text).ok()
        return path

    def driver(self, address):
        """The driver of a PCI device (0000:01:00.0), or None."""
        return os.path.basename(self.run(["readlink", f"/sys/bus/pci/devices/{address}/driver"]).out.strip()) or None

    def group(self, address):
        """The devices of its IOMMU group."""
        return self.out(f"ls /sys/bus/pci/devices/{address}/iommu_group/devices").split()

    # --- its hardware ---

    def qmp(self, execute, **arguments):
        """A command for L1's own QEMU: device_add, device_del…"""
        deadline = time.monotonic() + COMMAND_S
        if not hasattr(self.monitor, "greeted"):
            self.monitor.greeted = self.monitor.receive(deadline)
            self.qmp("qmp_capabilities")
        self.monitor.send({"execute": execute, "arguments": arguments})
        while (message := self.monitor.receive(deadline)) is not None:
            if "error" in message:
                raise LabFailure(f"{execute}: {message['error']}")
            if "return" in message:
                return message["return"]
        raise LabFailure(f"L1's QEMU does not answer {execute}")


def marker(name):
    """What is at the beginning of the disk of that name."""
    return f"VORE-LAB {name}\n"
