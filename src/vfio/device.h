/* A PCI device as sysfs shows it now, and what of it must come back when a guest is done with it. */
#pragma once

#include "base/json.h"
#include "vfio/sys.h"

enum { VFIO_ADDRESS_MAX = 24, VFIO_NAME_MAX = 64, VFIO_METHODS_MAX = 128, VFIO_SENTENCE_MAX = 256 };

/* What a bind changes. Fixed sizes, so that it can be copied; longer values are refused (-ENAMETOOLONG). */
struct vfio_original {
        char address[VFIO_ADDRESS_MAX]; /* "0000:0b:00.0" */
        uint16_t vendor, device;        /* another device at the address is not ours to touch */
        char driver[VFIO_NAME_MAX];     /* "": none */
        bool probe; /* it was claimed before anybody saw its driver: whatever the kernel chooses */
        char module[VFIO_NAME_MAX];   /* the kernel module of driver; "": built in, or none */
        char override[VFIO_NAME_MAX]; /* driver_override; "": none */
        char power_control[8];        /* "auto", "on"; "": no such file */
        int d3cold_allowed;           /* 1, 0; -1: no such file */
        bool has_reset_method;
        char reset_method[VFIO_METHODS_MAX]; /* "flr bus"; "": all are switched off */
};

/* Is it the same kind of device at the same address? */
bool vfio_original_same(const struct vfio_original *a, const struct vfio_original *b);

/* {address, vendor, device, driver, module, driver_override, power_control, d3cold_allowed, reset_method};
 * what is not there is null. With probe also {probe: true}. */
json_t *vfio_original_to_json(const struct vfio_original *o);
/* -EBADMSG: not what vfio_original_to_json() gives. */
int vfio_original_from_json(const json_t *j, struct vfio_original *ret, struct error *err);

struct vfio_member { /* of an IOMMU group */
        char address[VFIO_ADDRESS_MAX];
        char driver[VFIO_NAME_MAX]; /* "": none */
        bool bridge;
};
enum { VFIO_MEMBERS_MAX = 64 };

struct vfio_device {
        bool present; /* false: nothing else here counts but original.address */
        struct vfio_original original;
        uint32_t class;                               /* 24 bits */
        bool bridge;                                  /* no endpoint: vfio-pci does not take it */
        int iommu_group;                              /* -1: none */
        int boot_vga;                                 /* 1, 0; -1: no VGA device */
        char power_state[16];                         /* "D0", …; "": not told */
        struct vfio_member members[VFIO_MEMBERS_MAX]; /* of its group, itself included; -E2BIG for more */
        size_t n_members;
};

/* A device that is not there is no error: see present. */
int vfio_look(const struct vfio_sys *sys, const char *address, struct vfio_device *ret, struct error *err);

/* {address, present, original (as above), class, bridge, iommu_group, boot_vga, power_state, members:
 * [{address, driver, bridge}]} and back. */
json_t *vfio_device_to_json(const struct vfio_device *d);
int vfio_device_from_json(const json_t *j, struct vfio_device *ret, struct error *err);

/* --- for the files of this room --- */

/* 1: it is there; 0: it is not; -errno. */
int vfio_present(const struct vfio_sys *sys, const char *address);
/* The driver's name, "" for none. */
int vfio_driver(const struct vfio_sys *sys, const char *address, char ret[static VFIO_NAME_MAX]);
/* driver_override, "" for none. */
int vfio_override(const struct vfio_sys *sys, const char *address, char ret[static VFIO_NAME_MAX]);
/* The class, and whether it is a bridge. */
int vfio_bridge(const struct vfio_sys *sys, const char *address, uint32_t *ret_class, bool *ret);
/* All of original; -ENODEV with a sentence if the device is not there. */
int vfio_original_read(const struct vfio_sys *sys, const char *address, struct vfio_original *ret,
                       struct error *err);
