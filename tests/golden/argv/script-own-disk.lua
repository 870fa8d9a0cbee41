-- The installed script, and a disk of one's own behind those of the definition.
local default = require "vore.default"
vore:set_build_command(function(instance, vm)
  vm = default.build(instance, vm)
  return vore:add_disk(vm, instance, #instance.disks + 1, { preset = "virtio", path = "/vm/raw.img", disk_type = "raw" })
end)
