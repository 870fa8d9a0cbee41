/* THE table of keys: every section and key of a definition. What is not here does not exist; parser,
 * defaults, suggestions, the Lua table, origins, JSON and the man page all read these rows. */
#include "def/def.h"

#include "base/macros.h"

#define MIB (INT64_C(1) << 20)

/* Rows of one section: ROW expects S to name its struct. */
#define ROW(key, kind, field, ...)                                                                           \
        { .name = key, .type = kind, .offset = offsetof(struct S, field), __VA_ARGS__ }
#define ENABLED(text) ROW("enabled", ROW_BOOL, enabled, .doc = (text))
#define PCI_ID(key, field, text)                                                                             \
        ROW(key, ROW_INT, field, .max = 0xffff, .number = -1, .words = "any", .doc = (text))
#define AUDIO_USER                                                                                           \
        ROW("user", ROW_STRING, user, .words = "#1000; in session mode oneself",                             \
            .doc = "Whose sound session it is: a user's name, or # and a number.")
#define AUDIO_REQUIRED                                                                                       \
        ROW("required", ROW_BOOL, required,                                                                  \
            .doc = "Whether a missing sound server is an error at start; otherwise the VM starts with a "    \
                   "silent device and a warning.")
#define AUDIO_LATENCY(...) ROW("latency", ROW_INT, latency, .min = 1, .max = 10000000, __VA_ARGS__)
#define AUDIO_BUFFER "The buffer between guest and sound server, in microseconds. A smaller one may crackle."
#define AUDIO_COMPLETED                                                                                      \
        ROW("user-uid", ROW_INT, user_uid, .flags = ROW_NO_KEY, .number = -1),                               \
                ROW("silent", ROW_BOOL, silent, .flags = ROW_NO_KEY)

#define S def_machine
static const struct schema_row machine[] = {
        ROW("name", ROW_STRING, name, .flags = ROW_REQUIRED,
            .doc = "The VM's name, everywhere: 1 to 64 letters, digits, \".\", \"_\" and \"-\", beginning "
                   "with a letter or digit."),
        ROW("memory", ROW_SIZE, memory, .flags = ROW_MIB, .min = MIB, .max = MIB << 26, .unit = MIB,
            .number = 2048 * MIB, .doc = "The guest's memory, in whole MiB."),
        ROW("features", ROW_STRINGS, features, .words = "none",
            .doc = "Sections to enable: \"x\" is short for [x] enabled = true."),
        ROW("auto-start", ROW_BOOL, auto_start,
            .doc = "Start the VM when the daemon starts, if it is saved."),
        ROW("arch", ROW_STRING, arch, .words = "the host's",
            .doc = "The guest's architecture, as QEMU names it: qemu-system-ARCH is run."),
        ROW("chipset", ROW_STRING, chipset, .text = "q35", .doc = "QEMU's machine type."),
        ROW("kvm", ROW_TRISTATE, kvm, .flags = ROW_AUTO, .number = TRI_AUTO,
            .doc = "Whether KVM runs the guest. \"auto\": where it is usable, else slow emulation with a "
                   "warning; with a vfio section no KVM is an error unless false is written."),
        ROW("uuid", ROW_STRING, uuid,
            .words = "made from the host's machine-id and the name; it stays the same",
            .doc = "The VM's UUID, as the guest sees it."),
        ROW("rtc", ROW_STRING, rtc, .allowed = "utc|localtime",
            .words = "\"localtime\" with hyperv, else \"utc\"",
            .doc = "What the guest's clock shows; Windows expects local time."),
        ROW("hotplug-ports", ROW_INT, hotplug_ports, .max = 16, .number = 2,
            .doc = "PCI root ports that are kept free for vore attach: one for each slot of a device."),
};
#undef S

#define S def_cpu
#define FACTOR(key, field, text, ...)                                                                        \
        ROW(key, ROW_INT, field, .min = 1, .max = 1024, .words = text, __VA_ARGS__)
static const struct schema_row cpu[] = {
        FACTOR("amount", amount, "the product of the others: 4 if nothing is given",
               .doc = "Virtual CPUs in all. If factors are given too, their product must be this."),
        FACTOR("threads", threads, "2; with amount: 2 if amount divided by the given factors is even, else 1",
               .doc = "Threads of each core."),
        FACTOR("cores", cores, "2; with amount: what remains", .doc = "Cores of each die."),
        FACTOR("dies", dies, "1", .doc = "Dies of each socket."),
        FACTOR("sockets", sockets, "1", .doc = "Sockets."),
        ROW("model", ROW_STRING, model, .words = "\"host\" with KVM, else \"max\"",
            .doc = "QEMU's CPU model."),
        ROW("flags", ROW_STRINGS, flags, .words = "none",
            .doc = "CPU properties: \"+name\", \"-name\" or \"name=value\"."),
        ROW("hyperv", ROW_TRISTATE, hyperv, .number = TRI_UNSET, .words = "true under KVM",
            .doc = "The Hyper-V enlightenments, with which Windows runs faster."),
        ROW("hidden", ROW_BOOL, hidden, .doc = "Hide from the guest that it runs under KVM."),
        ROW("vendor-id", ROW_STRING, vendor_id, .words = "QEMU's own",
            .doc = "The hypervisor's name that Hyper-V enlightenments show: at most 12 characters."),
        ROW("pin", ROW_STRINGS, pin, .flags = ROW_UNSUPPORTED | ROW_NUMBERS, .words = "no pinning",
            .doc = "The host CPUs on which the virtual CPUs run."),
        ROW("emulator-pin", ROW_STRING, emulator_pin, .flags = ROW_UNSUPPORTED, .words = "no pinning",
            .doc = "The host CPUs on which QEMU's other threads run."),
        ROW("isolate", ROW_BOOL, isolate, .flags = ROW_UNSUPPORTED,
            .doc = "Keep everything else off the pinned host CPUs while the VM runs."),
        ROW("governor", ROW_STRING, governor, .flags = ROW_UNSUPPORTED, .words = "left as it is",
            .doc = "The frequency governor of the pinned host CPUs while the VM runs."),
        ROW("scheduler", ROW_STRING, scheduler, .flags = ROW_UNSUPPORTED, .words = "left as it is",
            .doc = "The scheduling policy of the virtual CPUs' threads."),
};
#undef S

#define S def_disk
static const struct schema_row disk[] = {
        ROW("preset", ROW_STRING, preset, .flags = ROW_REQUIRED,
            .doc = "How the disk is attached: a preset of the Lua script; \"vore disk presets\" lists them."),
        ROW("path", ROW_PATH, path, .flags = ROW_REQUIRED, .doc = "The image file or block device."),
        ROW("disk_type", ROW_STRING, disk_type, .aliases = { "disk-type", "type" },
            .allowed = "raw|qcow2|vmdk|vdi|vhdx",
            .words = "raw for /dev/, .img, .raw and .iso; .qcow2, .vmdk, .vdi and .vhdx say it",
            .doc = "The image's format. It is never guessed from the content: where the path does not say "
                   "it, it must be given."),
        ROW("read-only", ROW_BOOL, read_only, .doc = "Whether the guest can only read it."),
        ROW("serial", ROW_STRING, serial, .words = "made from the VM's name and the path, always the same",
            .doc = "The serial number that the guest sees."),
        ROW("boot-index", ROW_INT, boot_index, .max = 9999, .number = -1, .words = "none",
            .doc = "The place in the boot order; the lowest boots first."),
        ROW("cdrom", ROW_BOOL, cdrom, .flags = ROW_NO_KEY),
        ROW("block", ROW_BOOL, block, .flags = ROW_NO_KEY),
};
#undef S

#define S def_vfio
static const struct schema_row vfio[] = {
        ROW("reserve", ROW_BOOL, reserve,
            .doc = "In a saved definition: bind the device to vfio-pci whenever the daemon starts, and keep "
                   "it there."),
        PCI_ID("vendor", vendor, "The PCI vendor id, such as 0x10de. Alone only beside addr."),
        PCI_ID("device", device, "The PCI device id, such as 0x1b80. Alone only beside addr."),
        ROW("index", ROW_INT, index, .max = 255,
            .doc = "Which one of several with the same ids, in address order, from 0."),
        ROW("addr", ROW_STRING, address, .aliases = { "address" }, .lua = "address",
            .words = "found by vendor, device and index",
            .doc = "The PCI address, such as 0b:00.3 or 0000:0b:00.3. What is given beside it is checked "
                   "against it."),
        ROW("graphics", ROW_BOOL, graphics,
            .doc = "It is the guest's graphics card: QEMU adds no display adapter of its own."),
        ROW("multifunction", ROW_BOOL, multifunction,
            .doc = "Force the property multifunction, which function 0 of a slot with several has anyway."),
        ROW("x-vga", ROW_TRISTATE, x_vga, .number = TRI_UNSET, .words = "true for a VGA device with graphics",
            .doc = "Whether the guest gets the card's legacy VGA registers."),
        ROW("group", ROW_BOOL, group, .doc = "Take the rest of its IOMMU group along."),
        ROW("force", ROW_BOOL, force,
            .doc = "Take the device although the host seems to need it or a program has it open."),
        ROW("rebind", ROW_STRING, rebind, .allowed = "never|stop",
            .words = "\"stop\"; \"never\" for reserved devices",
            .doc = "When the host's driver gets the device back."),
        ROW("reset-method", ROW_STRING, reset_method, .words = "the kernel's choice",
            .doc = "How the kernel resets the device: a name that its reset_method file lists."),
        ROW("rom", ROW_PATH, rom, .words = "the device's own", .doc = "A file with the option ROM to show."),
        ROW("rom-bar", ROW_TRISTATE, rom_bar, .number = TRI_UNSET, .words = "true",
            .doc = "Whether the guest sees an option ROM at all."),
        ROW("along", ROW_BOOL, along, .flags = ROW_NO_KEY),
        ROW("attached", ROW_BOOL, attached, .flags = ROW_NO_KEY),
        ROW("class", ROW_INT, class, .flags = ROW_NO_KEY, .number = -1),
        ROW("iommu-group", ROW_INT, iommu_group, .flags = ROW_NO_KEY, .number = -1),
        ROW("guest-slot", ROW_INT, guest_slot, .flags = ROW_NO_KEY),
        ROW("guest-function", ROW_INT, guest_function, .flags = ROW_NO_KEY),
        ROW("bars", ROW_SIZE, bars, .flags = ROW_NO_KEY),
        ROW("bars-64", ROW_SIZE, bars_64, .flags = ROW_NO_KEY),
};
#undef S

#define S def_uefi
static const struct schema_row uefi[] = {
        ENABLED("Boot with UEFI firmware instead of a BIOS."),
        ROW("firmware", ROW_STRING, firmware, .text = "default",
            .doc = "A [uefi.NAME] of vored.toml; \"default\" is found by itself where that has none."),
        ROW("secure-boot", ROW_BOOL, secure_boot, .doc = "Firmware that enforces Secure Boot."),
        ROW("boot-code", ROW_PATH, boot_code, .flags = ROW_NO_KEY),
        ROW("template", ROW_PATH, template_, .flags = ROW_NO_KEY),
        ROW("format", ROW_STRING, format, .flags = ROW_NO_KEY),
        ROW("template-format", ROW_STRING, template_format, .flags = ROW_NO_KEY),
};
#undef S

#define S def_audio
static const struct schema_row pulse[] = {
        ENABLED("Sound through PulseAudio."),
        ROW("socket-path", ROW_PATH, socket_path, .words = "found from the user's session",
            .doc = "PulseAudio's native socket."),
        AUDIO_USER,
        AUDIO_REQUIRED,
        AUDIO_LATENCY(.number = 40000, .doc = AUDIO_BUFFER),
        AUDIO_COMPLETED,
};

static const struct schema_row jack[] = {
        ENABLED("Sound through JACK."),
        ROW("server", ROW_STRING, server, .words = "JACK's default", .doc = "The JACK server's name."),
        ROW("client-name", ROW_STRING, client_name, .words = "the VM's name",
            .doc = "What the VM is called in JACK's graph."),
        ROW("connect-ports", ROW_STRING, connect_ports, .words = "none",
            .doc = "A regular expression of the ports to connect to."),
        AUDIO_USER,
        AUDIO_REQUIRED,
        AUDIO_LATENCY(.words = "three periods of the server",
                      .doc = "Not for a client of JACK to choose: jackd -p does. Here it is a warning."),
        AUDIO_COMPLETED,
        ROW("socket-path", ROW_PATH, socket_path, .flags = ROW_NO_KEY),
};

static const struct schema_row pipewire[] = {
        ENABLED("Sound through PipeWire; needs QEMU 8.1 or newer."),
        AUDIO_USER,
        AUDIO_REQUIRED,
        AUDIO_LATENCY(.number = 46440, .doc = AUDIO_BUFFER),
        AUDIO_COMPLETED,
        ROW("socket-path", ROW_PATH, socket_path, .flags = ROW_NO_KEY),
};
#undef S

#define S def_scream
static const struct schema_row scream[] = {
        ENABLED("Shared memory for the Scream sound driver."),
        ROW("mem-path", ROW_PATH, mem_path, .words = "scream in the VM's shared memory folder",
            .doc = "The shared memory file. One of your own that is there is used as it is; else it is made "
                   "for "
                   "as long as the VM runs."),
        ROW("buffer-size", ROW_SIZE, buffer_size, .unit = 1, .min = 4096, .max = INT64_C(1) << 30,
            .number = 2097152,
            .doc = "The size of the shared memory; it becomes the lowest power of two that is not below. The "
                   "driver in Windows finds its memory by this size (UseIVSHMEM, in MiB)."),
};
#undef S

#define S def_spice
static const struct schema_row spice[] = {
        ENABLED("A SPICE server on a Unix socket: \"vore spice\" opens it. Looking Glass implies it, unless "
                "false is written."),
        ROW("socket-path", ROW_PATH, socket_path, .words = "spice.sock in the VM's instance folder",
            .doc = "Where clients find the socket. QEMU always has it in the VM's instance folder; any other "
                   "path becomes a link to that one."),
        ROW("display", ROW_STRING, display, .flags = ROW_NO_KEY),
        ROW("keyboard", ROW_STRING, keyboard, .flags = ROW_NO_KEY),
        ROW("pointer", ROW_STRING, pointer, .flags = ROW_NO_KEY),
        ROW("agent", ROW_BOOL, agent, .flags = ROW_NO_KEY),
        ROW("audio", ROW_BOOL, audio, .flags = ROW_NO_KEY),
        ROW("usb-redirection", ROW_INT, usb_redirection, .flags = ROW_NO_KEY),
};
#undef S

#define S def_looking_glass
static const struct schema_row looking_glass[] = {
        ENABLED("Shared memory for Looking Glass, and what it wants from the VM."),
        ROW("width", ROW_INT, width, .min = 1, .max = 65535, .number = 1920,
            .doc = "The screen's width in pixels; with height and bit-depth it gives the size."),
        ROW("height", ROW_INT, height, .min = 1, .max = 65535, .number = 1080,
            .doc = "The screen's height in pixels."),
        ROW("bit-depth", ROW_INT, bit_depth, .allowed = "8|10|12|16", .number = 8,
            .doc = "Bits of each colour; more than 8 is HDR."),
        ROW("buffer-size", ROW_SIZE, buffer_size, .unit = 1, .min = 4096, .max = INT64_C(1) << 40,
            .words = "what width, height and bit-depth need",
            .doc = "The size of the shared memory; it becomes the lowest power of two that is not below."),
        ROW("mem-path", ROW_PATH, mem_path, .words = "looking-glass in the VM's shared memory folder",
            .doc = "The shared memory file, or a device of the module kvmfr, such as /dev/kvmfr0. A file of "
                   "your own that is there is used as it is; else it is made for as long as the VM runs."),
        ROW("kvmfr", ROW_BOOL, kvmfr, .flags = ROW_NO_KEY),
};
#undef S

#define S def_tpm
static const struct schema_row tpm[] = {
        ENABLED("A TPM 2.0 by swtpm, with its state in the VM's instance folder."),
};
#undef S

#define S def_hugepages
static const struct schema_row hugepages[] = {
        ENABLED("The guest's memory in huge pages."),
        ROW("size", ROW_STRING, size, .allowed = "2M|1G|auto", .text = "auto",
            .doc = "The size of one page."),
        ROW("required", ROW_BOOL, required, .number = 1,
            .doc = "Whether too few free huge pages are an error; otherwise normal memory is used, with a "
                   "warning."),
};
#undef S

#define S def_usb
static const struct schema_row usb[] = {
        PCI_ID("vendor", vendor, "The USB vendor id, such as 0x046d; together with product."),
        PCI_ID("product", product, "The USB product id, such as 0xc52b; together with vendor."),
        ROW("index", ROW_INT, index, .max = 255, .doc = "Which one of several with the same ids, from 0."),
        ROW("port", ROW_STRING, port, .words = "any", .doc = "The host's port: bus and path, such as 1-2.3."),
        ROW("serial", ROW_STRING, serial, .words = "any", .doc = "The device's serial number."),
        ROW("required", ROW_BOOL, required,
            .doc = "Whether an absent device is an error at start; otherwise it is attached when it comes."),
};
#undef S

#define S def_network
static const struct schema_row network[] = {
        ROW("type", ROW_STRING, type, .allowed = "user|bridge|tap|macvtap|passt|none", .text = "user",
            .doc = "What the card is connected to; \"none\" means no card at all."),
        ROW("bridge", ROW_STRING, bridge, .words = "none", .doc = "The host's bridge, for the type bridge."),
        ROW("interface", ROW_STRING, interface, .words = "none",
            .doc = "The host's interface, for the types tap and macvtap."),
        ROW("mac", ROW_STRING, mac, .words = "made from the VM's UUID; it stays the same",
            .doc = "The card's MAC address."),
        ROW("model", ROW_STRING, model, .text = "e1000e", .doc = "QEMU's name of the card."),
        ROW("forward", ROW_STRINGS, forward, .words = "none",
            .doc = "Ports of the host to forward to the guest, for the types user and passt."),
};
#undef S

#define S def_input
static const struct schema_row input[] = {
        ROW("path", ROW_PATH, path, .words = "found by name", .doc = "The evdev node in /dev/input."),
        ROW("name", ROW_STRING, name, .words = "none", .doc = "The device's name, instead of a path."),
        ROW("grab-toggle", ROW_STRING, grab_toggle, .words = "QEMU's own",
            .doc = "The keys that switch the device between host and guest."),
};
#undef S

#define SECTION(key, field, type, table, ...)                                                                \
        {                                                                                                    \
                .name = key, .offset = offsetof(struct def, field), .size = sizeof(struct type),             \
                .rows = table, .n_rows = ARRAY_SIZE(table), __VA_ARGS__                                      \
        }
#define LIST(key, field, type, table, ...)                                                                   \
        SECTION(key, field, type, table, .count_offset = offsetof(struct def, n_##field), __VA_ARGS__)

static const struct schema_section sections[] = {
        SECTION("machine", machine, def_machine, machine, .doc = "The virtual machine as a whole."),
        SECTION("cpu", cpu, def_cpu, cpu,
                .doc = "The virtual CPUs. Sockets, dies, cores and threads multiply to the amount; what is "
                       "missing is calculated, and what is given is verified."),
        LIST("disk", disk, def_disk, disk, .flags = SECTION_LIST, .lua = "disks",
             .doc = "A disk; as many as wanted, in this order."),
        LIST("vfio", vfio, def_vfio, vfio, .flags = SECTION_LIST,
             .doc = "A PCI device of the host that is passed through."),
        SECTION("uefi", uefi, def_uefi, uefi, .flags = SECTION_FEATURE,
                .doc = "The firmware. Each VM has a copy of the variables of its own."),
        SECTION("pulse", pulse, def_audio, pulse, .flags = SECTION_FEATURE,
                .doc = "Sound through PulseAudio, or PipeWire's server for it. Several of pulse, pipewire "
                       "and jack are several sound cards, in this order; SPICE carries sound only without "
                       "them."),
        SECTION("jack", jack, def_audio, jack, .flags = SECTION_FEATURE, .doc = "Sound through JACK."),
        SECTION("pipewire", pipewire, def_audio, pipewire, .flags = SECTION_FEATURE,
                .doc = "Sound through PipeWire."),
        SECTION("scream", scream, def_scream, scream, .flags = SECTION_FEATURE,
                .doc = "Sound through Scream over shared memory: \"vore scream start\" plays it. Not beside "
                       "looking-glass, whose documentation advises against it."),
        SECTION("spice", spice, def_spice, spice, .flags = SECTION_FEATURE,
                .doc = "The display, keyboard, mouse and clipboard over SPICE."),
        SECTION("looking-glass", looking_glass, def_looking_glass, looking_glass, .flags = SECTION_FEATURE,
                .doc = "The guest's screen through shared memory, shown by Looking Glass: \"vore "
                       "looking-glass\". It enables spice, which carries keyboard, mouse, sound and "
                       "clipboard, "
                       "unless that says false."),
        SECTION("tpm", tpm, def_tpm, tpm, .flags = SECTION_FEATURE | SECTION_UNSUPPORTED,
                .doc = "A trusted platform module, as Windows 11 wants one."),
        SECTION("hugepages", hugepages, def_hugepages, hugepages,
                .flags = SECTION_FEATURE | SECTION_UNSUPPORTED, .doc = "The guest's memory in huge pages."),
        LIST("usb", usb, def_usb, usb, .flags = SECTION_LIST | SECTION_UNSUPPORTED,
             .doc = "A USB device of the host: by vendor and product, by port, or by serial."),
        LIST("network", network, def_network, network, .flags = SECTION_LIST | SECTION_UNSUPPORTED,
             .doc = "A network card. Without this section there is one in QEMU's user mode network."),
        LIST("input", input, def_input, input, .flags = SECTION_LIST | SECTION_UNSUPPORTED,
             .doc = "An input device of the host, by path or by name."),
};

const struct schema def_schema = { .file = "vore.toml",
                                   .sections = sections,
                                   .n_sections = ARRAY_SIZE(sections) };
