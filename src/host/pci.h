/* The PCI devices of this machine, by sysfs (the kernel's Documentation/ABI/testing/sysfs-bus-pci). Reading
 * these wakes no device: a device's configuration space, which would, is not touched. Nor is driver_override:
 * the kernel shows it under the device's lock (drivers/pci/pci-sysfs.c), which a driver that never lets go of
 * its device holds for ever, and one such device must not stop every look at the others. */
#pragma once

#include "host/host.h"

enum { HOST_PCI_BARS = 6 };

struct host_pci_bar {
        uint64_t size;               /* bytes; 0: none */
        bool io, wide, prefetchable; /* wide: a 64-bit memory BAR */
};

struct host_pci {                  /* all strings in the arena */
        const char *address;       /* "0000:0b:00.0" */
        uint16_t vendor, device;   /* 0x10de, 0x1b80 */
        uint16_t subsystem_vendor; /* 0 where sysfs does not say, as of bridges */
        uint16_t subsystem_device;
        uint8_t revision;
        uint32_t class;            /* 24 bits: 0x030000 is a VGA controller */
        int header_type;           /* 0 endpoint, 1 PCI bridge, 2 CardBus bridge */
        const char *driver;        /* NULL: none */
        int iommu_group;           /* -1: none */
        const char *reset_methods; /* as the kernel tries them: "flr bus"; "": all are switched off; NULL:
                                    * there is none, or a kernel before 5.15 */
        int boot_vga;              /* 1: the firmware's display; 0; -1: no VGA device */
        const char *power_state;   /* "D0", "D3hot", "unknown", … or NULL */
        int d3cold_allowed;        /* 1, 0; -1 where sysfs does not say */
        int numa_node;             /* -1: none */
        struct host_pci_bar bars[HOST_PCI_BARS];
        uint64_t rom_size; /* bytes of the expansion ROM's BAR; 0: none */

        /* by host_pci_name(); NULL before, and where the hwdb does not know */
        const char *vendor_name, *device_name;
};

/* All devices in the order of their addresses (as numbers). No PCI at all: an empty list. */
int host_pci_list(const struct host *h, struct arena *arena, struct host_pci **ret, size_t *ret_n,
                  struct error *err);
/* One device; -ENOENT: nothing at that address. address is canonical ("0000:0b:00.0"). */
int host_pci_find(const struct host *h, const char *address, struct arena *arena, struct host_pci *ret);

/* Domain, bus, device, function compare as numbers: <0, 0, >0. What is no address sorts as text. */
int host_pci_compare(const char *a, const char *b);
/* Is text an address as the kernel writes it: "0000:0b:00.0"? The domain has four or more digits. */
bool host_pci_is_address(const char *text);

/* Fills vendor_name and device_name from udev's hwdb (hwdb(7)); silent where there is none. A captured host
 * gets none: the hwdb is this machine's. */
void host_pci_name(const struct host *h, struct host_pci *devices, size_t n, struct arena *arena);

/* What a class is, for a person: "VGA controller", "NVMe drive"; "device" if there is no better word. Static.
 */
const char *host_pci_class_name(uint32_t class);
static inline bool host_pci_is_display(uint32_t class) {
        return class >> 16 == 0x03;
}
