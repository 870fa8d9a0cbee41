---@meta
-- What scripts of vore see, for editors with lua-language-server: add this folder to `workspace.library`.
-- The reference is vore-lua(7). The module vore.default is in vore/default.lua.

---@class vore
vore = {}

---Sets the function that builds the command line. Called again, the last one counts.
---@param build fun(instance: vore.Instance, vm: vore.VM): vore.VM
function vore:set_build_command(build) end

---Adds a disk preset, or replaces the one of that name.
---@param name string
---@param description string shown by `vore disk presets`
---@param add fun(vm: vore.VM, instance: vore.Instance, index: integer, disk: vore.Disk): vore.VM
---@overload fun(self: vore, name: string, add: fun(vm: vore.VM, instance: vore.Instance, index: integer, disk: vore.Disk): vore.VM)
function vore:register_disk_preset(name, description, add) end

---Adds a disk through its preset.
---@param vm vore.VM
---@param instance vore.Instance
---@param index integer
---@param disk vore.Disk
---@return vore.VM
function vore:add_disk(vm, instance, index, disk) end

---The path of the VM's own copy of a template. The copy is made when the VM starts, and never overwritten.
---@param target string relative, inside the VM's instance folder
---@param source string the template
---@return string path
function vore:get_file(target, source) end

---Lets QEMU open a device node that the arguments do not show.
---@param path string absolute
---@param mode "r"|"rw"
function vore:allow(path, mode) end

---@class vore.VM
local VM = {}

---Adds arguments as they are.
---@param ... string|number
---@return vore.VM
function VM:arg(...) end

---Adds a device. Arrays and tables become dotted keys, booleans on and off; commas need no care.
---@param device { driver: string, id?: string, [string]: any }
---@return vore.VM
function VM:device(device) end

---Adds a block node.
---@param node { driver: string, ["node-name"]: string, [string]: any }
---@return vore.VM
function VM:blockdev(node) end

---Adds an object.
---@param object { ["qom-type"]: string, id: string, [string]: any }
---@return vore.VM
function VM:object(object) end

---Adds a network backend.
---@param netdev { type: string, id: string, [string]: any }
---@return vore.VM
function VM:netdev(netdev) end

---Adds a way for sound to the host.
---@param audiodev { driver: string, id: string, [string]: any }
---@return vore.VM
function VM:audiodev(audiodev) end

---The id last given to a device of that type.
---@param type string
---@return string?
function VM:get_device_id(type) end

---A number that is start the first time, and one more each time.
---@param name string
---@param start? integer
---@return integer
function VM:get_counter(name, start) end

---"pcie.0", then "pcie.1", …
---@param port string
---@return string
function VM:get_next_bus(port) end

---@class vore.Qemu
---@field version string "7.2.22"
qemu = {}

---@param type string
---@return boolean
function qemu:has_device(type) end

---@param type string
---@param name string
---@return boolean
function qemu:has_property(type, name) end

---The value as JSON text. Integral numbers are written as integers, members in a fixed order.
---@param value any
---@return string
function tojson(value) end

---@class vore.Firmware
---@field boot_code string
---@field template string

---@class vore.Global
---@field uefi table<string, vore.Firmware> `default` is there wherever any firmware was found
---@field vore vore.GlobalVore
---@field qemu vore.GlobalQemu
---@field vfio vore.GlobalVfio
global = {}

---@class vore.GlobalVore
---@field group string
---@field state_dir string
---@field runtime_dir string
---@field socket string
---@field log_level string

---@class vore.GlobalQemu
---@field script string "": the installed one
---@field binary string "": qemu-system-ARCH in PATH
---@field uids string "70000-70999"
---@field user string "": each VM has a number of its own
---@field sandbox boolean

---@class vore.GlobalVfio
---@field timeout integer seconds

---@class vore.Machine
---@field name string
---@field arch string "x86_64"
---@field chipset string "q35"
---@field kvm boolean
---@field memory integer MiB
---@field uuid string
---@field rtc "utc"|"localtime"
---@field hotplug_ports integer
---@field auto_start boolean
---@field features string[]

---@class vore.Instance: vore.Machine
---@field machine vore.Machine the same keys once more
---@field display boolean --display: keep a display adapter although graphics are passed
---@field cpu vore.Cpu
---@field disks vore.Disk[]
---@field vfio vore.Vfio[]
---@field uefi vore.Uefi
---@field spice vore.Spice
---@field looking_glass vore.LookingGlass
---@field scream vore.SharedMemory
---@field pulse vore.Sound
---@field jack vore.Jack
---@field pipewire vore.Sound
---@field tpm vore.Tpm
---@field hugepages vore.Hugepages
---@field usb table[]
---@field network vore.Network[]
---@field input table[]

---@class vore.Cpu
---@field amount integer the product of the four factors
---@field sockets integer
---@field dies integer
---@field cores integer
---@field threads integer
---@field model string "host", "max" or what the definition says
---@field flags string[]
---@field hyperv boolean
---@field hidden boolean
---@field vendor_id string
---@field pin (string|integer)[]
---@field emulator_pin string
---@field isolate boolean
---@field governor string
---@field scheduler string

---@class vore.Disk
---@field preset string
---@field path string
---@field disk_type "raw"|"qcow2"|"vmdk"|"vdi"|"vhdx"
---@field read_only boolean
---@field serial string
---@field boot_index integer -1: not given
---@field cdrom boolean put in with --cdrom
---@field block boolean a block device of the host, wherever its path is; else a file

---@class vore.Vfio
---@field reserve boolean
---@field address string "0000:0b:00.3"
---@field vendor integer
---@field device integer
---@field index integer
---@field graphics boolean
---@field multifunction boolean the property of the guest's device, also where nobody wrote it
---@field x_vga boolean
---@field group boolean
---@field force boolean
---@field rebind "never"|"stop"
---@field reset_method string "": the kernel's choice
---@field rom string "": the device's own
---@field rom_bar boolean|"auto" "auto": not given
---@field along boolean taken along by `group` of another one
---@field attached boolean always false here: devices that vore attach added are in `vore show` only
---@field class integer the PCI class code: 0x030000 is a VGA controller
---@field iommu_group integer
---@field guest_slot integer functions of one slot of the host share one; slots count from 0
---@field guest_function integer
---@field bars integer bytes of its memory BARs
---@field bars_64 integer bytes of the 64-bit ones among them

---@class vore.Uefi
---@field enabled boolean
---@field firmware string a [uefi.NAME] of vored.toml
---@field secure_boot boolean
---@field boot_code string
---@field template string
---@field format "raw"|"qcow2" of boot_code
---@field template_format "raw"|"qcow2"

---@class vore.Spice
---@field enabled boolean
---@field socket_path string
---@field display string "virtio-vga", "VGA", "none"; "" without SPICE and Looking Glass
---@field keyboard string a device beside the board's keyboard, "none" or ""
---@field pointer string "usb-tablet", "virtio-mouse-pci", "none" or ""
---@field agent boolean
---@field audio boolean
---@field usb_redirection integer channels

---@class vore.SharedMemory
---@field enabled boolean
---@field mem_path string
---@field buffer_size integer bytes, a power of two

---@class vore.LookingGlass: vore.SharedMemory
---@field width integer
---@field height integer
---@field bit_depth integer
---@field kvmfr boolean mem_path is a device of the module kvmfr

---@class vore.Sound
---@field enabled boolean
---@field socket_path string where the server listens; "": not found
---@field user string
---@field user_uid integer -1: none
---@field required boolean
---@field latency integer microseconds
---@field silent boolean no server answers: the audiodev is to be "none"

---@class vore.Jack: vore.Sound
---@field server string "": JACK's default
---@field client_name string "": the VM's name
---@field connect_ports string

---@class vore.Tpm
---@field enabled boolean

---@class vore.Hugepages
---@field enabled boolean
---@field size "2M"|"1G"|"auto"
---@field required boolean

---@class vore.Network
---@field type "user"|"bridge"|"tap"|"macvtap"|"passt"|"none"
---@field mac string
---@field model string
---@field bridge string
---@field interface string
---@field forward string[]
