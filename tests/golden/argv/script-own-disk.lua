-- The installed script, and disks of one's own behind those of the definition.
local default = require "vore.default"
vore:set_build_command(function(instance, vm)
  vm = default.build(instance, vm)
  for i = 1, 2 do
    vm = vore:add_disk(vm, instance, #instance.disks + i, {
      preset = "virtio",
      path = i == 1 and "/vm/raw.img" or "/vm/untold",
      disk_type = "raw",
    })
  end
  return vm
end)
