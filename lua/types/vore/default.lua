---@meta
-- What `require "vore.default"` gives: the parts of the installed script. Their order here is that of build.

local default = {}

---The installed script's build function: all that stands below it, up to sound.
---@param instance vore.Instance
---@param vm vore.VM
---@return vore.VM
function default.build(instance, vm) end

---@param instance vore.Instance
---@param vm vore.VM
function default.machine(instance, vm) end

---@param instance vore.Instance
---@param vm vore.VM
function default.clock(instance, vm) end

---@param instance vore.Instance
---@param vm vore.VM
function default.memory(instance, vm) end

---@param instance vore.Instance
---@param vm vore.VM
function default.cpu(instance, vm) end

---@param instance vore.Instance
---@param vm vore.VM
function default.firmware(instance, vm) end

---@param instance vore.Instance
---@param vm vore.VM
function default.console(instance, vm) end

---Tells OVMF how much room the BARs of passed devices need.
---@param instance vore.Instance
---@param vm vore.VM
function default.mmio_window(instance, vm) end

---The devices of the host that are passed.
---@param instance vore.Instance
---@param vm vore.VM
function default.devices(instance, vm) end

---@param instance vore.Instance
---@param vm vore.VM
function default.display(instance, vm) end

---@param instance vore.Instance
---@param vm vore.VM
function default.input(instance, vm) end

---@param instance vore.Instance
---@param vm vore.VM
function default.disks(instance, vm) end

---@param instance vore.Instance
---@param vm vore.VM
function default.network(instance, vm) end

---@param instance vore.Instance
---@param vm vore.VM
function default.spice(instance, vm) end

---The memory of Looking Glass and Scream.
---@param instance vore.Instance
---@param vm vore.VM
function default.shared_memory(instance, vm) end

---Root ports that stay empty, for `vore attach`.
---@param vm vore.VM
---@param count integer
---@param more? table properties of each port, such as { ["pref64-reserve"] = "16G" }
function default.hotplug_ports(vm, count, more) end

---@param instance vore.Instance
---@param vm vore.VM
function default.sound(instance, vm) end

---A new PCI Express root port.
---@param vm vore.VM
---@return string bus
function default.root_port(vm) end

---A new thread for a controller's I/O.
---@param vm vore.VM
---@return string id
function default.iothread(vm) end

---The block nodes of a disk.
---@param vm vore.VM
---@param index integer
---@param disk vore.Disk
---@return string node
function default.disk_node(vm, index, disk) end

---The disk's serial number, or one made from the VM's name and the path.
---@param instance vore.Instance
---@param disk vore.Disk
---@return string
function default.disk_serial(instance, disk) end

---The disk's place in the boot order.
---@param instance vore.Instance
---@param index integer
---@return integer
function default.boot_index(instance, index) end

return default
