"""A Linux guest for L2: L1's own kernel, busybox, and the NVMe driver. It says what comes and goes."""
import pathlib
import stat

import kernel
from world import Guest

FOLDER = "/run/lab/linux"
SCRIPT = f"""
local default = require "vore.default"
vore:set_build_command(function(instance, vm)
  vm = default.build(instance, vm)
  if instance.name:find("^linux") then
    vm:arg("-kernel", "{FOLDER}/kernel", "-initrd", "{FOLDER}/initrd",
      "-append", "console=ttyS0 loglevel=3 panic=-1 mitigations=off tsc=reliable no_timer_check")
  end
  return vm
end)
"""
INIT = b"""#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
/bin/busybox --install -s /bin
exec >/dev/ttyS0 2>&1 </dev/null
for module in /modules/*; do insmod $module; done
echo "linux ready"
had= pci= number=0
while :; do
        drive=$(ls /dev/nvme*n1 2>/dev/null)
        if [ "$drive" != "$had" ]; then
                [ -z "$drive" ] || number=$((number + 1))
                if [ -n "$drive" ]; then
                        echo "drive $number comes: $(head -n 1 $drive)."
                else
                        echo "drive $number goes."
                fi
                had=$drive
        fi
        now=$(echo /sys/bus/pci/devices/*)
        if [ "$now" != "$pci" ]; then
                echo "pci:" $(cd /sys/bus/pci/devices && for d in *; do echo "$d=$(cat $d/vendor):$(cat $d/device)"; done).
                pci=$now
        fi
        sleep 0.1
done
"""


def initramfs(k):
    files = {**kernel.folders("bin", "modules", "proc", "sys", "dev"),
             "bin/busybox": kernel.program(kernel.BUSYBOX.read_bytes()), "init": kernel.program(INIT),
             "dev/console": (stat.S_IFREG | 0o600, b"")}
    for n, name in enumerate(k.load_order(["nvme"])):
        files[f"modules/{n:02}-{pathlib.Path(name).name}"] = kernel.program((k.modules / k.release / name).read_bytes())
    return kernel.cpio(files)


def install(l1):
    """Kernel and first file system where QEMU's user may read them; gives the settings with their script."""
    k = kernel.get_kernel()
    (l1.folder / "l2-kernel").write_bytes(k.image.read_bytes())
    (l1.folder / "l2-initrd").write_bytes(initramfs(k))
    l1.run(f"mkdir -p {FOLDER} && chmod 755 /run/lab {FOLDER} && cp {l1.folder}/l2-kernel {FOLDER}/kernel && "
           f"cp {l1.folder}/l2-initrd {FOLDER}/initrd && chmod 644 {FOLDER}/*").ok()
    l1.write(f"{FOLDER}/linux.lua", SCRIPT)
    return f'[qemu]\nscript = "{FOLDER}/linux.lua"\n'


def boot(world, name="linux", **keys):
    machine = {"memory": "256M", **keys.pop("machine", {})}
    world.vore("boot", world.define(name, disks=[], machine=machine, **keys)).ok()
    guest = Guest(world, name).listen()
    guest.says("linux ready")
    return guest
