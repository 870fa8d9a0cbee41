-- A script of its own with files in every way that QEMU takes them.
vore:set_build_command(function(instance, vm)
  vm:arg("-drive", "if=virtio,format=raw,file=/vm/one,,two.img")
  vm:arg("-drive", "file=/vm/cd.iso,format=raw,media=cdrom,readonly=on")
  vm:arg("-drive", "if=none,id=null,driver=null-co")
  vm:arg("-blockdev", "driver=raw,node-name=three,file.driver=file,file.filename=/vm/three.img")
  vm:blockdev { driver = "file", ["node-name"] = "four", filename = vore:get_file("four.img", "/vm/raw.img") }
  vm:device { driver = "virtio-blk-pci", drive = "three" }
  vm:arg("-kernel", vore:get_file("vmlinuz", "/vm/untold"), "-append", "root=/dev/vda init=/vm/init")
  return vm
end)
