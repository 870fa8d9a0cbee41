/* Devices of Looking Glass's kernel module, kvmfr: /dev/kvmfr0 and so on, each with memory of a fixed size.
 */
#pragma once

#include "host/host.h"

/* Is this character device one of kvmfr's, by its class in sysfs, else by /proc/devices? A file of that name
 * is none: QEMU makes one where the module is not loaded. */
bool host_is_kvmfr(const struct host *h, const struct host_node *node);

/* Bytes of the device's memory, as the module says them by its ioctl KVMFR_DMABUF_GETSIZE (LookingGlass,
 * module/kvmfr.h). -EACCES: this user may not open it; -ENOTTY: it does not tell. */
int host_kvmfr_size(const struct host *h, const char *path, uint64_t *ret);
