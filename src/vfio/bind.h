/* One device to vfio-pci and back. Everything here may block for ever in the kernel: only workers call it.
 *
 * A device is taken by its driver_override and never by new_id, which takes every card of the same kind. Each
 * bind is verified: drivers_probe says that it succeeded also when no driver took the device. */
#pragma once

#include "vfio/device.h"

struct vfio_claim {
        bool idle; /* it will wait for its guest: vfio-pci may let it sleep. Else it is kept awake (D0) */
        bool has_reset_method;
        char reset_method[VFIO_METHODS_MAX]; /* as the kernel takes it: "flr bus", "default", "": none */
};

/* What is being done right now, for whoever finds that it never returned: "leaving nvidia". */
struct vfio_progress {
        char doing[VFIO_NAME_MAX + 32];
};

/* Binds the device to vfio-pci. expected is what the caller wrote down before: if driver, override or ids are
 * different by now nothing is done (-ESTALE): the device is somebody else's matter, and the caller strikes
 * what it wrote down without a vfio_restore(), which would undo what others did. A bridge is refused
 * (-EINVAL). A device with a VFIO driver already keeps it. Loads vfio-pci, wakes the device, forbids D3cold,
 * sets reset-method if wanted, all before it leaves its driver.
 *
 * On failure everything is put back as by vfio_restore(); if that fails too, the error says both. Modules
 * stay loaded. progress may be NULL. */
int vfio_bind(const struct vfio_sys *sys, const struct vfio_original *expected,
              const struct vfio_claim *claim, struct vfio_progress *progress, struct error *err);

/* Gives the device back: exactly its own driver (or none), override, reset methods, D3cold and power control.
 * With original->probe the kernel chooses the driver. Where it finds things right it writes nothing, so it
 * may come after any part of a bind, and twice. A device that is gone, or another one at its address, is
 * fine: nothing is done. A device that somebody gave to a third driver is left with it: the rest is restored
 * (but for an override that names another driver than this one), and the error is -EEXIST: nobody has to give
 * it back any more. A device that would have to leave its VFIO driver while a process has a VFIO node of it
 * or of its group open (another VM, another tool, or a QEMU that does not end: leaving would wait for it) is
 * not touched at all: -EBUSY with a sentence that names the process. After other errors it goes on with the
 * rest as well, and the error says what could not be undone; trying again may help. */
int vfio_restore(const struct vfio_sys *sys, const struct vfio_original *original,
                 struct vfio_progress *progress, struct error *err);
