/* Who uses a PCI device on this host right now, so that nobody takes it away under them: an unbind waits for
 * some of them for ever. By sysfs and /proc; only workers call this, as /proc can block. */
#pragma once

#include "base/json.h"
#include "host/host.h"

struct vfio_holder {          /* all strings in the arena */
        const char *kind;     /* "process", "network", "disk", or "host": what host_pci_need() says */
        long pid;             /* of a process; else 0 */
        const char *program;  /* of a process: "Xorg"; else NULL */
        const char *what;     /* "/dev/dri/card1", "eth0"; of the host: the device's address */
        const char *sentence; /* "Xorg (pid 812) has /dev/dri/card1 open" */
        bool host_needs;      /* "host" and "disk". Else somebody who could be asked to let go */
};

enum { VFIO_HOLDERS_MAX = 64 };

/* Looks at
 * - what the host itself needs it for (host/need.h), and disks of a pool that no table shows (ZFS)
 * - processes with one of its device nodes open: graphics, sound, I2C of a graphics card, disks, USB, …, and
 *   NVIDIA's own nodes; of a device with a VFIO driver the nodes of vfio. Input devices do not count: logind
 *   always has them, and they let go.
 * - network interfaces that are up
 * At most VFIO_HOLDERS_MAX; what the host needs comes first. -ENOENT: no such device. What cannot be read
 * (other users' processes, without root) counts as nothing. */
int vfio_holders(const struct host *h, const char *address, struct arena *arena, struct vfio_holder **ret,
                 size_t *ret_n, struct error *err);

/* Only the processes, and only the first of them: 1 with its sentence, 0, -ENOENT for no such device. */
int vfio_holders_process(const struct host *h, const char *address, struct arena *arena, const char **ret);

/* 0 if there are none; else -EBUSY: "0000:0b:00.0 is in use: Xorg (pid 812) has /dev/dri/card1 open; …". */
int vfio_holders_refuse(const char *address, const struct vfio_holder *holders, size_t n, struct error *err);

struct vfio_holders_job {
        const char *root; /* of the host; NULL: this machine */
        const char *const *addresses;
        size_t n;
};
/* A work_fn (work/work.h); arg is a struct vfio_holders_job. Result: {ADDRESS: [{kind, pid, program, what,
 * sentence, host_needs}]}; devices that are not there are left out. */
int vfio_holders_work(void *arg, int report_fd, json_t **ret, struct error *err);
