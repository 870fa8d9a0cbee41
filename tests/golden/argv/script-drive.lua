-- As the first scripts were written: raw arguments, a preset of one's own, and an option that QEMU dropped.
vore:register_disk_preset("mine", "my own", function(vm, instance, index, disk)
  vm:arg("-drive", "file=" .. disk.path .. ",format=" .. disk.disk_type .. ",if=none,id=d" .. index)
  vm:arg("-device", "virtio-blk-pci,drive=d" .. index)
  return vm
end)
vore:set_build_command(function(instance, vm)
  vm:arg("-no-hpet", "-m", instance.memory, "-smp", instance.cpu.amount)
  for index, disk in ipairs(instance.disks) do
    vm = vore:add_disk(vm, instance, index, disk)
  end
  vm:arg("-serial", "chardev:console")
  return vm
end)
