/* What bind.c and restore.c share. */
#pragma once

#include "vfio/bind.h"

#define VFIO_DEVICES "/sys/bus/pci/devices"
#define VFIO_PCI "vfio-pci"
#define VFIO_DRIVERS "/sys/bus/pci/drivers"

/* Writes an attribute of the device; err names it. */
int vfio_put(const struct vfio_sys *sys, const char *address, const char *attribute, const char *text,
             struct error *err);
/* driver_override; "" clears it. */
int vfio_put_override(const struct vfio_sys *sys, const char *address, const char *driver, struct error *err);
/* Quiet: the device's address into drivers/DRIVER/FILE ("bind", "unbind"). */
int vfio_tell_driver(const struct vfio_sys *sys, const char *driver, const char *file, const char *address);
/* As drivers_probe: success does not mean that a driver took it. */
int vfio_probe(const struct vfio_sys *sys, const char *address, struct error *err);
/* From that driver, if it still is with it; verified. */
int vfio_unbind(const struct vfio_sys *sys, const char *address, const char *driver,
                struct vfio_progress *progress, struct error *err);
/* The driver's folder, loading its module if need be. */
int vfio_need_driver(const struct vfio_sys *sys, const char *driver, const char *module,
                     struct vfio_progress *progress, struct error *err);
void vfio_doing(struct vfio_progress *progress, const char *fmt, ...) _printf_(2, 3);
