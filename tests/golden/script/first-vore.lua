-- In the style of scripts for the first vore: everything by hand, raw arguments, no tables.
local function is_q35(instance)
  return instance.chipset == "q35" or string.find(instance.chipset, "pc-q35", 1, true) == 1
end

local function legacy_bridge(vm)
  local pcie = vm:get_device_id("i82801b11-bridge")
  if pcie == nil then
    pcie = "dmi"
    vm:arg("-device", "i82801b11-bridge,bus=" .. vm:get_next_bus("pcie") .. ",id=" .. pcie)
  end
  local bridge = vm:get_device_id("pci-bridge")
  if bridge == nil then
    bridge = "legacy"
    vm:arg("-device", "pci-bridge,bus=" .. pcie .. ",id=" .. bridge .. ",chassis_nr=" .. vm:get_counter("chassis", 1))
  end
  return bridge
end

local function shared_memory(vm, id, path, size)
  local bridge = legacy_bridge(vm)
  vm:arg("-object", "memory-backend-file,share=on,id=mem-" .. id .. ",size=" .. size .. ",mem-path=" .. path)
  vm:arg("-device", string.format("ivshmem-plain,memdev=mem-%s,bus=%s,addr=0x%x", id, bridge, vm:get_counter("slot", 1)))
  return vm
end

vore:set_build_command(function(instance, vm)
  assert(is_q35(instance))
  vm:arg("-no-hpet", "-no-user-config", "-no-shutdown")
  vm:arg("-rtc", "driftfix=slew")
  if instance.kvm then
    vm:arg("-enable-kvm")
  end
  vm:arg("-machine", "q35,usb=off,vmport=off,dump-guest-core=off")
  vm:arg("-m", instance.memory)
  local cpu = instance.cpu
  vm:arg("-smp", string.format("%d,sockets=%d,dies=%d,cores=%d,threads=%d", cpu.amount, cpu.sockets, cpu.dies,
    cpu.cores, cpu.threads))
  for index, disk in ipairs(instance.disks) do
    vm = vore:add_disk(vm, instance, index, disk)
  end
  if instance.uefi.enabled then
    vm:arg("-drive", "if=pflash,unit=0,format=raw,readonly=on,file=" .. global.uefi.default.boot_code,
      "-drive", "if=pflash,unit=1,format=raw,file=" .. vore:get_file("uefi/OVMF_VARS.fd", global.uefi.default.template))
  end
  for _, device in ipairs(instance.vfio) do
    if device.graphics and vm:get_counter("no_display", 0) == 0 then
      vm:arg("-vga", "none")
    end
    vm:arg("-device", "vfio-pci,host=" .. device.address .. (device.graphics and ",x-vga=on" or "") ..
      (device.multifunction and ",multifunction=on" or ""))
  end
  if instance.looking_glass.enabled then
    vm = shared_memory(vm, "lg", instance.looking_glass.mem_path, instance.looking_glass.buffer_size)
  end
  if instance.scream.enabled then
    vm = shared_memory(vm, "scream", instance.scream.mem_path, instance.scream.buffer_size)
  end
  if instance.spice.enabled then
    vm:arg("-spice", "unix,disable-ticketing=on,addr=" .. instance.spice.socket_path)
  end
  if instance.pulse.enabled then
    vm:arg("-device", "intel-hda", "-device", "hda-duplex,audiodev=pulse")
    vm:arg("-audiodev", "pa,id=pulse,server=" .. instance.pulse.socket_path)
  end
  return vm
end)

local function scsi(kind)
  return function(vm, instance, index, disk)
    local controller = vm:get_device_id("virtio-scsi-pci")
    if controller == nil then
      controller = "scsi"
      vm:arg("-device", "virtio-scsi-pci,id=" .. controller)
    end
    vm:arg("-blockdev", tojson({
      ["driver"] = disk.disk_type,
      ["node-name"] = "image-" .. index,
      ["file"] = { ["driver"] = "host_device", ["filename"] = disk.path, ["cache"] = { ["direct"] = true } },
    }))
    vm:arg("-device", "scsi-hd,bus=" .. controller .. ".0,drive=image-" .. index .. (kind == "ssd" and ",rotation_rate=1" or ""))
    return vm
  end
end

vore:register_disk_preset("ssd", scsi("ssd"))
vore:register_disk_preset("hdd", "A disk that turns", scsi("hdd"))
vore:register_disk_preset("nvme", "NVMe", function(vm, instance, index, disk)
  local number = vm:get_counter("nvme", 1)
  vm:arg("-drive", "if=none,id=nvme" .. number .. ",format=" .. disk.disk_type .. ",file=" .. disk.path)
  vm:arg("-device", "nvme,drive=nvme" .. number .. ",serial=nvme-" .. number)
  return vm
end)
