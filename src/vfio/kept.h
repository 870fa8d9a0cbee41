/* Devices that stay with vfio-pci without a machine: reserved ones, those claimed by hand, those that
 * `rebind = "never"` leaves there, and those that could not be given back. What each was before is remembered
 * in one file of the run-time folder until it is given back or the host restarts: an entry is written before
 * the first write to sysfs, and goes when the device is back, so that whoever comes after a kill -9 knows all
 * of them. */
#pragma once

#include "vfio/device.h"

/* Who wants it kept; the word in the file: a saved definition (it is given back when none wants it any more),
 * somebody who typed it, `rebind = "never"`, or nobody: a machine's end could not give it back. */
#define VFIO_KEPT_RESERVE "reserve"
#define VFIO_KEPT_HAND "hand"
#define VFIO_KEPT_NEVER "never"
#define VFIO_KEPT_LEFT "left"

enum { VFIO_KEPT_MAX = 256 };

/* {ADDRESS: {why, original}}; empty if there are none. -EBADMSG as vfio_stuck_list(). */
int vfio_kept_list(const char *dir, json_t **ret, struct error *err);
/* 1: it is kept, ret_why (owned by the caller) and ret may be NULL; 0: it is not. A file that cannot be
 * understood knows nothing. */
int vfio_kept_find(const char *dir, const char *address, struct vfio_original *ret, char **ret_why);
/* Remembers what it was, or takes the place of what is there. A file that cannot be understood is written
 * anew. -E2BIG past VFIO_KEPT_MAX. */
int vfio_kept_put(const char *dir, const struct vfio_original *original, const char *why, struct error *err);
int vfio_kept_drop(const char *dir, const char *address, struct error *err);

/* What is to be remembered of a device that was found like that. One that is with vfio-pci by its
 * driver_override, or has that override and no driver, was claimed at boot, by a rule of ours or of somebody
 * else: nobody knows its driver, and giving it back lets the kernel choose (vfio_original.probe), with the
 * kernel's own settings. */
void vfio_original_before(const struct vfio_original *found, struct vfio_original *ret);

/* What it looks like while it is kept: with vfio-pci (or the VFIO driver it had), its own reset methods,
 * never in D3cold, asleep as long as nobody uses it. For vfio_restore(). */
void vfio_original_idle(const struct vfio_original *before, struct vfio_original *ret);
