-- A script that only adds to the installed one.
local default = require "vore.default"

vore:register_disk_preset("nvme", "NVMe with big blocks", function(vm, instance, index, disk)
  vm:device {
    driver = "nvme",
    bus = default.root_port(vm),
    drive = default.disk_node(vm, index, disk),
    serial = default.disk_serial(instance, disk),
    logical_block_size = 4096,
    physical_block_size = 4096,
  }
  return vm
end)

vore:set_build_command(function(instance, vm)
  vm = default.build(instance, vm)
  vm:object { ["qom-type"] = "rng-random", id = "rng0", filename = "/dev/urandom" }
  vm:device { driver = "virtio-rng-pci", rng = "rng0", bus = default.root_port(vm) }
  return vm
end)
