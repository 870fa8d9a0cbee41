/* Names of PCI devices: the hwdb's for makers and models, our own few words for classes. */
#include "host/pci.h"

#include "base/str.h"

#include <libudev.h>

/* Longer prefixes first (PCI Code and ID Assignment Specification). */
static const struct {
        uint32_t class;
        unsigned bits; /* of the class that count, from the top */
        const char *name;
} classes[] = {
        { 0x010802, 24, "NVMe drive" },
        { 0x010601, 24, "SATA controller" },
        { 0x030000, 16, "VGA controller" },
        { 0x030200, 16, "3D controller" },
        { 0x040100, 16, "sound device" },
        { 0x040300, 16, "sound device" },
        { 0x060000, 16, "host bridge" },
        { 0x060100, 16, "ISA bridge" },
        { 0x060400, 16, "PCI bridge" },
        { 0x020000, 16, "network card" },
        { 0x0c0300, 16, "USB controller" },
        { 0x0c0500, 16, "SMBus controller" },
        { 0x080600, 16, "IOMMU" },
        { 0x010000, 8, "storage controller" },
        { 0x020000, 8, "network device" },
        { 0x030000, 8, "display controller" },
        { 0x040000, 8, "multimedia device" },
        { 0x050000, 8, "memory controller" },
        { 0x060000, 8, "bridge" },
        { 0x070000, 8, "communication device" },
        { 0x080000, 8, "system device" },
        { 0x090000, 8, "input device" },
        { 0x0c0000, 8, "serial bus controller" },
        { 0x0d0000, 8, "wireless device" },
        { 0x100000, 8, "encryption device" },
        { 0x110000, 8, "signal processor" },
        { 0x120000, 8, "accelerator" },
};

const char *host_pci_class_name(uint32_t class) {
        for (size_t i = 0; i < ARRAY_SIZE(classes); i++)
                if ((class ^ classes[i].class) >> (24 - classes[i].bits) == 0)
                        return classes[i].name;
        return "device";
}

static void name_one(struct udev_hwdb *hwdb, struct host_pci *d, struct arena *arena) {
        struct udev_list_entry *entry, *first;
        char alias[96];

        /* As the kernel writes it in `modalias` (drivers/pci/pci-sysfs.c). */
        snprintf(alias, sizeof(alias), "pci:v%08Xd%08Xsv%08Xsd%08Xbc%02Xsc%02Xi%02X", d->vendor, d->device,
                 d->subsystem_vendor, d->subsystem_device, d->class >> 16, d->class >> 8 & 0xff,
                 d->class & 0xff);
        first = udev_hwdb_get_properties_list_entry(hwdb, alias, 0);
        udev_list_entry_foreach(entry, first) {
                const char *key = udev_list_entry_get_name(entry), *value = udev_list_entry_get_value(entry);

                if (str_eq(key, "ID_VENDOR_FROM_DATABASE"))
                        d->vendor_name = arena_strdup(arena, value);
                else if (str_eq(key, "ID_MODEL_FROM_DATABASE"))
                        d->device_name = arena_strdup(arena, value);
        }
}

void host_pci_name(const struct host *h, struct host_pci *devices, size_t n, struct arena *arena) {
        if (host_captured(h))
                return;
        struct udev *udev = udev_new();
        struct udev_hwdb *hwdb = udev ? udev_hwdb_new(udev) : NULL;

        for (size_t i = 0; hwdb && i < n; i++)
                name_one(hwdb, &devices[i], arena);
        udev_hwdb_unref(hwdb);
        udev_unref(udev);
}
