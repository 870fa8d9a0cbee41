/* A small model of the kernel's PCI bus: devices, drivers, and the rules by which they find each other,
 * behind the operations of vfio/sys.h. The rules are those of Linux 6.1 (drivers/base/bus.c,
 * drivers/base/dd.c, drivers/pci/pci-driver.c, drivers/pci/pci-sysfs.c, drivers/pci/pci.c,
 * drivers/vfio/pci/vfio_pci_core.c):
 *
 * - driver_override: only the driver of that name matches, whatever its ids are; nothing is bound or unbound
 * by writing it; a newline clears it, no bytes change nothing; without one it reads "(null)"
 * - unbind: -ENODEV unless the device is with just this driver; power control is "on" after it
 * - bind: -ENODEV unless the driver matches, -EBUSY if the device has one, else what the driver's probe says
 * - drivers_probe: offers the device to every driver that matches and says success whatever came of it
 * - vfio-pci has no ids; it refuses bridges and devices without a group with -EINVAL, and sets power control
 * to "auto" when it takes a device
 * - reset_method: names that the device has, "default", or a newline for none; -EINVAL for others
 * - a module that is loaded offers its driver to every device without one
 *
 * Every operation has a number, from 0. It can fail, before or after its effect, the device can vanish just
 * before it, and it can never return. */
#pragma once

#include "vfio/sys.h"

#include <stdbool.h>

struct model_driver {
        char name[32], module[32]; /* module "": built in */
        uint16_t vendor, device;   /* its only id; 0: none */
        bool loaded;
        bool allows_sleep; /* sets power control to "auto" when it takes a device */
        int probe_error;   /* negative: it refuses every device */
        bool regrabs;      /* takes its devices again as soon as they leave it */
        int bind_error;    /* negative: `bind` says so; drivers_probe works */
        bool hangs;        /* leaving it never returns */
};

struct model_device {
        char address[16];
        uint16_t vendor, device;
        uint32_t class;
        int group;                /* -1: none */
        bool there, bridge, dead; /* dead: its configuration space reads as ones */
        struct model_driver *driver;
        char override[64];
        int d3cold; /* -1: no such file */
        char power[8];
        const char *open_by; /* who has its group's node open: a sentence; NULL: nobody */
        bool resets;         /* false: no file reset_method */
        char reset[64], all_resets[64];
};

enum { MODEL_MAX = 8 };

struct model_fault {
        int at;     /* number of the operation; -1: never */
        int code;   /* negative errno */
        bool after; /* its effect happens and the error is a lie */
};

struct model {
        struct model_device devices[MODEL_MAX];
        struct model_driver drivers[MODEL_MAX];
        size_t n_devices, n_drivers;
        int op;     /* the next operation's number */
        int writes; /* those that wrote or loaded */
        struct model_fault faults[2];
        int vanish_at;             /* -1: never; the first device */
        const char *hangs_at;      /* writing to a path that ends so never returns; NULL: none */
        const char *hangs_reading; /* the same for reading */
        int dead_from;    /* -1: never; from there on all fail with -EIO: whoever used them was killed */
        bool has_backend; /* vfio_iommu_type1 is loaded */
        bool uses_new_id, left_asleep; /* left_asleep: a driver of the host was left while power was "auto" */
};

/* No faults. The drivers: vfio-pci (its module not loaded), nvme, nouveau, snd_hda_intel, pcieport, and
 * "other", which takes the first device's ids too but comes later. The devices: a graphics card and its sound
 * of group 7, a drive alone in group 8, a bridge in group 7. */
void model_init(struct model *m);
struct vfio_sys model_sys(struct model *m);

struct model_device *model_device(struct model *m, const char *address);
struct model_driver *model_driver(struct model *m, const char *name);

/* All that a bind may change, as text; modules that were loaded do not count. Owned by the caller. */
char *model_text(const struct model *m);

#define MODEL_CARD "0000:0b:00.0"
#define MODEL_SOUND "0000:0b:00.1"
#define MODEL_DRIVE "0000:01:00.0"
#define MODEL_BRIDGE "0000:00:03.1"
