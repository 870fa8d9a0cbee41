-- The QEMU command line of every virtual machine, made by the function at the end of this file.
--
-- This is the installed default. To change something, either copy the whole file to /etc/vore/qemu.lua (session
-- mode: ~/.config/vore/qemu.lua), name it as `script` in the [qemu] section of vored.toml and edit it, or write
-- a short script that only adds to this one:
--
--     local default = require "vore.default"
--     vore:set_build_command(function(instance, vm)
--       vm = default.build(instance, vm)
--       vm:device { driver = "virtio-rng-pci", bus = default.root_port(vm) }
--       return vm
--     end)
--
-- `vore x qemucmd NAME` shows the result. vore-lua(7) describes vore, vm, qemu, global and instance.
-- The chardev `console` and everything that vored needs for itself (-name, -S, -qmp, -sandbox …) is added by vored.

local M = {}

-- ---------------------------------------------------------------------------------------------------------------
-- Small helpers
-- ---------------------------------------------------------------------------------------------------------------

-- Options that are not given as tables (-spice, -chardev …) separate their parts with commas: one inside a value is
-- written twice. vm:device and its sisters do this by themselves.
local function escape(text)
  return (tostring(text):gsub(",", ",,"))
end

-- The value, or the fallback if it was not set: unset strings are "".
local function given(value, fallback)
  if value == nil or value == "" then
    return fallback
  end
  return value
end

-- The whole text of a file, or "".
local function read(path)
  local file = io.open(path, "r")
  if not file then
    return ""
  end
  local text = file:read("a") or ""
  file:close()
  return text
end

-- The running kernel as a number: 6.1.0 -> 6.01.
local function kernel_version()
  local major, minor = read("/proc/version"):match("^Linux version (%d+)%.(%d+)")
  return tonumber(major or 0) + tonumber(minor or 0) / 100
end

-- Does the host's processor have this flag?
local function host_has(flag)
  local flags = read("/proc/cpuinfo"):match("\nflags%s*:([^\n]*)") or ""
  return (flags .. " "):find(" " .. flag .. " ", 1, true) ~= nil
end

-- A number from a text that is always the same for the same text (FNV-1a).
local function hash(text)
  local value = 0xcbf29ce484222325
  for i = 1, #text do
    value = (value ~ text:byte(i)) * 0x100000001b3
  end
  return value
end

-- A new PCI Express root port, and the name of its bus. PCI Express devices belong behind one each: there they
-- can be unplugged, and virtio devices drop their legacy parts. Eight ports share a slot of the root complex.
function M.root_port(vm)
  local number = vm:get_counter("root-port", 0)
  local id = "port" .. number
  vm:device {
    driver = "pcie-root-port",
    id = id,
    bus = "pcie.0",
    addr = string.format("%x.%x", 2 + number // 8, number % 8),
    chassis = number + 1,
    multifunction = number % 8 == 0 or nil,
  }
  return id
end

-- Root ports that stay empty, in slots of their own, so that they move nothing else: `vore attach` uses those whose id
-- begins with "hotplug". Firmware gives an empty port a window of 2 MiB; a card with larger BARs needs one that is told:
-- more = { ["pref64-reserve"] = "16G" }.
function M.hotplug_ports(vm, count, more)
  for number = 0, count - 1 do
    local port = {
      driver = "pcie-root-port",
      id = "hotplug" .. number,
      bus = "pcie.0",
      addr = string.format("%x.%x", 20 + number // 8, number % 8),
      chassis = 128 + number,
      multifunction = number % 8 == 0 or nil,
    }
    for key, value in pairs(more or {}) do
      port[key] = value
    end
    vm:device(port)
  end
end

-- ---------------------------------------------------------------------------------------------------------------
-- The board
-- ---------------------------------------------------------------------------------------------------------------

function M.machine(instance, vm)
  if instance.chipset ~= "q35" and not instance.chipset:find("^pc%-q35") then
    error("this script only knows the chipset q35, not " .. instance.chipset)
  end
  -- No defaults: what is there was asked for here.
  vm:arg("-nodefaults", "-no-user-config")

  local options = {
    instance.chipset,
    "accel=" .. (instance.kvm and "kvm" or "tcg"),
    "usb=off",
    "vmport=off",
    "hpet=off", -- guests have better clocks
    "dump-guest-core=off",
    "mem-merge=off",
    "memory-backend=ram0",
  }
  if instance.kvm then
    table.insert(options, 3, "kernel-irqchip=on")
  end
  if instance.uefi.enabled then
    table.insert(options, "pflash0=pflash0")
    table.insert(options, "pflash1=pflash1")
    if instance.uefi.secure_boot then
      table.insert(options, "smm=on")
    end
  end
  vm:arg("-machine", table.concat(options, ","))
  -- Graphics cards rarely survive the guest's suspend to memory.
  vm:arg("-global", "ICH9-LPC.disable_s3=1")
  if given(instance.uuid) then
    vm:arg("-uuid", instance.uuid)
  end
  -- Only what has a boot index is booted from: no network boot, no waiting.
  vm:arg("-boot", "menu=off,strict=on")
end

function M.clock(instance, vm)
  local rtc = "base=" .. given(instance.rtc, "utc")
  if instance.cpu.hyperv then
    rtc = rtc .. ",driftfix=slew"
  end
  vm:arg("-rtc", rtc)
  if instance.kvm then
    vm:arg("-global", "kvm-pit.lost_tick_policy=delay")
  end
end

function M.memory(instance, vm)
  vm:arg("-m", "size=" .. instance.memory .. "M")
  vm:object { ["qom-type"] = "memory-backend-memfd", id = "ram0", size = instance.memory * 1024 * 1024 }
end

-- ---------------------------------------------------------------------------------------------------------------
-- Processors
-- ---------------------------------------------------------------------------------------------------------------

-- What makes Windows run well as a guest, in an order in which each comes after those that it needs. KVM refuses
-- what it does not know, and QEMU then does not start: so each says since which kernel it is there.
local enlightenments = {
  { "hv-relaxed", since = 3.00 },
  { "hv-vapic", since = 3.00 },
  { "hv-spinlocks", since = 3.00, value = "0x1fff" },
  { "hv-vpindex", since = 4.04 },
  { "hv-runtime", since = 4.04 },
  { "hv-time", since = 3.14 },
  { "hv-synic", since = 4.05, needs = { "hv-vpindex" } },
  { "hv-stimer", since = 4.05, needs = { "hv-vpindex", "hv-synic", "hv-time" } },
  { "hv-stimer-direct", since = 5.00, needs = { "hv-stimer" } },
  { "hv-frequencies", since = 4.14 },
  { "hv-tlbflush", since = 4.18, needs = { "hv-vpindex" } },
  { "hv-ipi", since = 4.20, needs = { "hv-vpindex" } },
  { "hv-xmm-input", since = 5.14 },
  { "hv-tlbflush-ext", since = 6.02, needs = { "hv-tlbflush" } },
}

local function has_all(set, names)
  for _, name in ipairs(names or {}) do
    if not set[name] then
      return false
    end
  end
  return true
end

local function add_enlightenments(options)
  local kernel, have = kernel_version(), {}
  for _, e in ipairs(enlightenments) do
    local name = e[1]
    if kernel >= e.since and has_all(have, e.needs) then
      have[name] = true
      table.insert(options, name .. (e.value and "=" .. e.value or "=on"))
    end
  end
end

function M.cpu(instance, vm)
  local cpu = instance.cpu
  local model = given(cpu.model, instance.kvm and "host" or "max")
  local options = { model }
  if model == "host" then
    -- The guest may see all that the host has: these machines do not move.
    table.insert(options, "migratable=off")
  end
  -- A guest only sees the threads of AMD's processors with topoext. QEMU's own "max" is one without, and without
  -- dies: then it says that it is Intel's.
  if cpu.threads > 1 and model == "host" and host_has("topoext") then
    table.insert(options, "topoext=on")
  elseif (cpu.threads > 1 or cpu.dies > 1) and model == "max" and not instance.kvm then
    table.insert(options, "vendor=GenuineIntel")
  end
  -- A leaf of CPUID that the processor does not have is answered by its last one. With dies that is 0x1f, where
  -- QEMU from 9 on (seen in 10.0 and 11.1) aborts when firmware looks for hypervisors: so it is not the last.
  if cpu.dies > 1 and not instance.kvm and tonumber(qemu.version:match("^%d+") or 0) >= 9 then
    table.insert(options, "min-level=0x20")
  end
  if instance.kvm then
    if cpu.hyperv then
      add_enlightenments(options)
    end
    if given(cpu.vendor_id) then
      -- -cpu is the one option in which a comma cannot be written twice.
      assert(not cpu.vendor_id:find(","), "cpu.vendor-id cannot hold a comma")
      table.insert(options, "hv-vendor-id=" .. cpu.vendor_id)
    end
    if cpu.hidden then
      table.insert(options, "kvm=off")
    end
  end
  for _, flag in ipairs(cpu.flags or {}) do
    table.insert(options, flag)
  end
  vm:arg("-cpu", table.concat(options, ","))
  vm:arg("-smp", string.format("cpus=%d,sockets=%d,dies=%d,cores=%d,threads=%d", cpu.amount, cpu.sockets,
    cpu.dies, cpu.cores, cpu.threads))
end

-- ---------------------------------------------------------------------------------------------------------------
-- Firmware
-- ---------------------------------------------------------------------------------------------------------------

-- OVMF's code is shared and read-only; its variables are a copy that belongs to this machine.
function M.firmware(instance, vm)
  local uefi = instance.uefi
  if not uefi.enabled then
    return
  end
  local format, template_format = given(uefi.format, "raw"), given(uefi.template_format, "raw")
  local code = given(uefi.boot_code, global.uefi and global.uefi.default and global.uefi.default.boot_code)
  local template = given(uefi.template, global.uefi and global.uefi.default and global.uefi.default.template)
  if not code or not template then
    error("no UEFI firmware was found: install ovmf, or set [uefi.default] in vored.toml")
  end
  vm:blockdev { driver = "file", ["node-name"] = "pflash0-file", filename = code, ["read-only"] = true }
  vm:blockdev { driver = format, ["node-name"] = "pflash0", file = "pflash0-file", ["read-only"] = true }
  vm:blockdev {
    driver = "file",
    ["node-name"] = "pflash1-file",
    filename = vore:get_file("uefi/OVMF_VARS.fd", template),
  }
  vm:blockdev { driver = template_format, ["node-name"] = "pflash1", file = "pflash1-file" }
  if uefi.secure_boot then
    vm:arg("-global", "driver=cfi.pflash01,property=secure,value=on")
  end
end

-- ---------------------------------------------------------------------------------------------------------------
-- Devices of the host
-- ---------------------------------------------------------------------------------------------------------------

-- The functions of one slot of the host stay together in one slot of the guest, behind a port of their own: drivers of
-- graphics cards look for their sound function beside them.
function M.devices(instance, vm)
  local ports = {}
  for index, device in ipairs(instance.vfio or {}) do
    local slot = device.guest_slot or index
    ports[slot] = ports[slot] or M.root_port(vm)
    local rombar
    if type(device.rom_bar) == "boolean" then
      rombar = device.rom_bar and 1 or 0
    end
    vm:device {
      driver = "vfio-pci",
      id = "vfio" .. index,
      host = device.address,
      bus = ports[slot],
      addr = string.format("00.%x", device.guest_function or 0),
      multifunction = device.multifunction or nil,
      ["x-vga"] = device.x_vga == true or nil,
      romfile = given(device.rom),
      rombar = rombar,
    }
  end
end

-- OVMF has 32 GiB for the 64-bit BARs of all devices unless it is told otherwise; newer ones take an eighth of what the
-- processor can address, and the larger of both. The slots are laid out here as OVMF does it, the largest first, each
-- at a multiple of its largest BAR. If that fills the 32 GiB, the next power of two with room for the rest is asked for.
local mmio_default = 32 << 30

function M.mmio_window(instance, vm)
  if not instance.uefi.enabled then
    return -- SeaBIOS puts them wherever the processor can address
  end
  local slots, sizes, at = {}, {}, 0
  for index, device in ipairs(instance.vfio or {}) do
    local slot = device.guest_slot or index
    slots[slot] = (slots[slot] or 0) + (device.bars_64 or 0)
  end
  for _, section in ipairs { instance.looking_glass, instance.scream } do
    if section.enabled then
      table.insert(sizes, section.buffer_size)
    end
  end
  for _, bytes in pairs(slots) do
    table.insert(sizes, bytes)
  end
  table.sort(sizes, function(a, b) return a > b end)
  for _, bytes in ipairs(sizes) do
    local alignment = 1
    while alignment * 2 <= bytes do
      alignment = alignment * 2
    end
    at = (at + alignment - 1) // alignment * alignment + bytes
  end
  if at < mmio_default then
    return
  end
  local window = mmio_default
  while window <= at do
    window = window * 2
  end
  vm:arg("-fw_cfg", "name=opt/ovmf/X-PciMmio64Mb,string=" .. (window >> 20))
end

-- ---------------------------------------------------------------------------------------------------------------
-- Disks
-- ---------------------------------------------------------------------------------------------------------------

-- What lies behind a disk: one node for the file or device, one for the format. Returns the name of the latter.
--
-- Host devices are opened past the page cache, with Linux's own asynchronous I/O. Files are not: not every file
-- system can (tmpfs), so they go through the page cache and QEMU's threads. To have it otherwise for your files,
-- set aio = "native" and cache = { direct = true } below.
function M.disk_node(vm, index, disk)
  local name = "disk" .. index
  local host_device = disk.block
  if host_device == nil then -- a disk of the script's own: only its name tells
    host_device = disk.path:find("^/dev/") ~= nil
  end
  vm:blockdev {
    driver = host_device and "host_device" or "file",
    ["node-name"] = name .. "-file",
    filename = disk.path,
    aio = host_device and "native" or "threads",
    cache = { direct = host_device, ["no-flush"] = false },
    discard = "unmap",
    ["read-only"] = disk.read_only or nil,
  }
  vm:blockdev {
    driver = disk.disk_type,
    ["node-name"] = name,
    file = name .. "-file",
    discard = "unmap",
    -- Zeroes that the guest writes make holes in an image.
    ["detect-zeroes"] = not host_device and not disk.read_only and "unmap" or nil,
    ["read-only"] = disk.read_only or nil,
  }
  return name
end

-- What guests see: the same one every time, although nobody gave one.
function M.disk_serial(instance, disk)
  return given(disk.serial, string.format("%016X", hash(instance.name .. "\0" .. disk.path)))
end

-- The order of booting: media that were put in for this start, then what has a boot index, then the rest.
function M.boot_index(instance, index)
  if not instance.disks[index] then -- one of the script's own, behind all others
    return index - 1
  end
  local function rank(i)
    local disk = instance.disks[i]
    if disk.cdrom then
      return 0, i
    elseif disk.boot_index and disk.boot_index >= 0 then
      return 1, disk.boot_index
    end
    return 2, i
  end
  local kind, order = rank(index)
  local before = 0
  for i = 1, #instance.disks do
    local other_kind, other_order = rank(i)
    if other_kind < kind or (other_kind == kind and (other_order < order or (other_order == order and i < index)))
    then
      before = before + 1
    end
  end
  return before
end

-- A thread of its own for a controller's I/O.
function M.iothread(vm)
  local id = "iothread" .. vm:get_counter("iothread", 0)
  vm:object { ["qom-type"] = "iothread", id = id }
  return id
end

-- A free place on a SATA controller. The board has one with six.
local function sata_bus(vm)
  local number = vm:get_counter("sata", 0)
  if number < 6 then
    return "ide." .. number
  end
  local id = "ahci" .. number // 6
  if number % 6 == 0 then
    vm:device { driver = "ich9-ahci", id = id, bus = "pcie.0" }
  end
  return id .. "." .. number % 6
end

local function scsi_bus(vm)
  local id = vm:get_device_id("virtio-scsi-pci")
  if not id then
    id = "scsi0"
    vm:device { driver = "virtio-scsi-pci", id = id, bus = M.root_port(vm), iothread = M.iothread(vm) }
  end
  return id .. ".0"
end

local function scsi_disk(rotation_rate)
  return function(vm, instance, index, disk)
    vm:device {
      driver = "scsi-hd",
      bus = scsi_bus(vm),
      ["scsi-id"] = vm:get_counter("scsi", 0),
      lun = 0,
      drive = M.disk_node(vm, index, disk),
      serial = M.disk_serial(instance, disk),
      rotation_rate = rotation_rate,
      bootindex = M.boot_index(instance, index),
    }
    return vm
  end
end

vore:register_disk_preset("nvme", "NVMe drive; Windows, Linux and macOS have its driver", function(vm, instance, index, disk)
  vm:device {
    driver = "nvme",
    id = "nvme" .. index,
    bus = M.root_port(vm),
    drive = M.disk_node(vm, index, disk),
    serial = M.disk_serial(instance, disk),
    bootindex = M.boot_index(instance, index),
  }
  return vm
end)

-- A rotation rate of 1 says: no moving parts.
vore:register_disk_preset("ssd", "solid state disk on virtio-scsi", scsi_disk(1))
vore:register_disk_preset("hdd", "hard disk on virtio-scsi", scsi_disk(7200))

vore:register_disk_preset("virtio", "virtio-blk: the fastest, with a thread of its own", function(vm, instance, index, disk)
  vm:device {
    driver = "virtio-blk-pci",
    id = "virtio" .. index,
    bus = M.root_port(vm),
    iothread = M.iothread(vm),
    drive = M.disk_node(vm, index, disk),
    serial = M.disk_serial(instance, disk),
    bootindex = M.boot_index(instance, index),
  }
  return vm
end)

vore:register_disk_preset("ide", "SATA disk: for guests without other drivers", function(vm, instance, index, disk)
  if disk.read_only then
    error("disk " .. disk.path .. ": SATA disks cannot be read-only, other presets can")
  end
  vm:device {
    driver = "ide-hd",
    id = "sata" .. index,
    bus = sata_bus(vm),
    drive = M.disk_node(vm, index, disk),
    serial = M.disk_serial(instance, disk),
    bootindex = M.boot_index(instance, index),
  }
  return vm
end)

vore:register_disk_preset("iso", "CD-ROM drive (SATA) with a read-only image in it", function(vm, instance, index, disk)
  local medium = {}
  for key, value in pairs(disk) do
    medium[key] = value
  end
  medium.read_only = true
  vm:device {
    driver = "ide-cd",
    id = "cdrom" .. index,
    bus = sata_bus(vm),
    drive = M.disk_node(vm, index, medium),
    bootindex = M.boot_index(instance, index),
  }
  return vm
end)

function M.disks(instance, vm)
  for index, disk in ipairs(instance.disks) do
    vm = vore:add_disk(vm, instance, index, disk)
  end
end

-- ---------------------------------------------------------------------------------------------------------------
-- Screen and keyboard
-- ---------------------------------------------------------------------------------------------------------------

-- A device that the definition, as it was completed, asks for by QEMU's name. vm:device() gets the rest.
local function wanted(name)
  return given(name, "none") ~= "none" and name or nil
end

-- Nothing can show a screen without SPICE or Looking Glass, so there is no display adapter then either; nor is there one
-- beside a passed-through card, which has to be the guest's first, unless --display asked for it.
function M.display(instance, vm)
  vm:arg("-display", "none")
  local adapter = wanted(instance.spice.display)
  if adapter then
    vm:device { driver = adapter, id = "video0", bus = "pcie.0", addr = "1" }
  end
end

-- A tablet knows where the pointer is, so that the viewer need not capture it. Looking Glass does capture it, and
-- wants a plain mouse.
function M.input(instance, vm)
  vm:device { driver = "qemu-xhci", id = "usb", bus = M.root_port(vm), p2 = 15, p3 = 15 }
  local keyboard, pointer = wanted(instance.spice.keyboard), wanted(instance.spice.pointer)
  if keyboard then
    vm:device { driver = keyboard, id = "keyboard0", bus = M.root_port(vm) }
  end
  if pointer == "usb-tablet" then
    vm:device { driver = pointer, id = "tablet0", bus = "usb.0" }
  elseif pointer then
    vm:device { driver = pointer, id = "mouse0", bus = M.root_port(vm) }
  end
end

function M.spice(instance, vm)
  if not instance.spice.enabled then
    return
  end
  -- Only over a Unix socket: its mode says who may connect, and nothing needs to be compressed.
  vm:arg("-spice", "unix=on,addr=" .. escape(instance.spice.socket_path) ..
    ",disable-ticketing=on,image-compression=off,playback-compression=off,streaming-video=off")
  -- The agent inside the guest: clipboard, resolution, mouse.
  if instance.spice.agent then
    vm:device { driver = "virtio-serial-pci", id = "serial0", bus = M.root_port(vm) }
    vm:arg("-chardev", "spicevmc,id=vdagent,name=vdagent")
    vm:device { driver = "virtserialport", bus = "serial0.0", nr = 1, chardev = "vdagent", name = "com.redhat.spice.0" }
  end
  -- USB devices of whoever looks at it; Looking Glass's coming version plays the guest's sound through one.
  if qemu:has_device("usb-redir") then
    for i = 0, (instance.spice.usb_redirection or 0) - 1 do
      vm:arg("-chardev", "spicevmc,id=usbredir" .. i .. ",name=usbredir")
      vm:device { driver = "usb-redir", id = "redirection" .. i, bus = "usb.0", chardev = "usbredir" .. i }
    end
  end
end

-- Memory that the guest shares with a program of the host, behind a PCI device. Looking Glass documents it on the root
-- bus. Its program in the guest takes the first such device, so that one has the lower place; Scream's driver takes
-- the one of its size.
local function shared_memory(vm, id, section, place)
  if not section.enabled then
    return
  end
  vm:object {
    ["qom-type"] = "memory-backend-file",
    id = id .. "-memory",
    ["mem-path"] = section.mem_path,
    size = section.buffer_size,
    share = true,
  }
  vm:device { driver = "ivshmem-plain", id = id, bus = "pcie.0", addr = place, memdev = id .. "-memory" }
end

function M.shared_memory(instance, vm)
  shared_memory(vm, "looking-glass", instance.looking_glass, "10")
  shared_memory(vm, "scream", instance.scream, "11")
end

-- ---------------------------------------------------------------------------------------------------------------
-- Sound
-- ---------------------------------------------------------------------------------------------------------------

-- QEMU looks after its sound every 5 ms, twice as often as by itself: one turn that comes late is not heard.
local timer_period = 5000

-- What each way of sound wants to be told, apart from its id. `name` is what the VM is called in mixers.
local backends = {
  pulse = function(sound, name)
    local stream = { latency = sound.latency, ["stream-name"] = name }
    return {
      driver = "pa",
      server = "unix:" .. sound.socket_path,
      ["timer-period"] = timer_period,
      ["in"] = stream,
      out = stream,
    }
  end,
  pipewire = function(sound, name)
    local stream = { latency = sound.latency, ["stream-name"] = name }
    return { driver = "pipewire", ["timer-period"] = timer_period, ["in"] = stream, out = stream }
  end,
  jack = function(sound, name)
    local client = {
      ["server-name"] = given(sound.server),
      ["client-name"] = given(sound.client_name, name),
      ["connect-ports"] = given(sound.connect_ports),
    }
    return { driver = "jack", ["timer-period"] = timer_period, ["in"] = client, out = client }
  end,
  spice = function()
    return { driver = "spice" }
  end,
}

-- One controller, and a codec on it for each way of sound: guests take the first for their default. SPICE carries sound
-- only where nothing else does. The ids are those of the sections, for scripts that want other cards.
function M.sound(instance, vm)
  local ways = {}
  for _, way in ipairs { "pulse", "pipewire", "jack" } do
    if instance[way] and instance[way].enabled then
      table.insert(ways, way)
    end
  end
  if instance.spice.audio then
    table.insert(ways, "spice")
  end
  for index, way in ipairs(ways) do
    local audiodev = backends[way](instance[way], instance.name)
    if instance[way].silent then
      audiodev = { driver = "none" } -- QEMU would not start without its server
    end
    audiodev.id = way
    vm:audiodev(audiodev)
    if index == 1 then
      vm:device { driver = "ich9-intel-hda", id = "sound0", bus = "pcie.0", addr = "1b" }
    end
    vm:device { driver = "hda-duplex", bus = "sound0.0", audiodev = way }
  end
end

-- ---------------------------------------------------------------------------------------------------------------
-- Console
-- ---------------------------------------------------------------------------------------------------------------

-- `vore console` talks to the first serial port.
function M.console(_, vm)
  vm:device { driver = "isa-serial", chardev = "console", index = 0 }
end

-- ---------------------------------------------------------------------------------------------------------------
-- Network
-- ---------------------------------------------------------------------------------------------------------------

local network_models = { virtio = "virtio-net-pci" }

function M.network(instance, vm)
  for index, network in ipairs(instance.network or {}) do
    if network.type == "user" then
      local id = "net" .. index
      local model = given(network.model, "e1000e")
      vm:netdev { type = "user", id = id }
      vm:device {
        driver = network_models[model] or model,
        bus = M.root_port(vm),
        netdev = id,
        mac = given(network.mac),
        romfile = "", -- no network boot: see -boot
      }
    end
  end
end

-- ---------------------------------------------------------------------------------------------------------------

function M.build(instance, vm)
  M.machine(instance, vm)
  M.clock(instance, vm)
  M.memory(instance, vm)
  M.cpu(instance, vm)
  M.firmware(instance, vm)
  M.console(instance, vm)
  M.mmio_window(instance, vm)
  M.devices(instance, vm)
  M.display(instance, vm)
  M.input(instance, vm)
  M.disks(instance, vm)
  M.network(instance, vm)
  M.spice(instance, vm)
  M.shared_memory(instance, vm)
  M.hotplug_ports(vm, instance.hotplug_ports or 0)
  M.sound(instance, vm)
  return vm
end

vore:set_build_command(M.build)

return M
