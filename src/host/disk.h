/* What a disk's path is: file or block device, its format by magic, its size, who uses it on this host. */
#pragma once

#include "host/host.h"

struct host_disk {
        struct host_node node; /* type, identity, readable, writable */
        char *path;            /* with all links resolved; owned */
        dev_t whole;           /* of a block device: the disk that it is a partition of, else itself */
        uint64_t size;         /* bytes; of a block device by sysfs (0 without a medium) */
        const char *format;    /* by its first bytes, as QEMU names it: "raw", "qcow2", "qcow", "vmdk", "vdi",
                                * "vhdx", "vpc", "qed", "parallels"; NULL: not readable. Static */
};

/* Looks at path (absolute). In a captured tree files are looked up inside it; one that is not there, and not
 * below a folder that belongs to a host (/dev, /proc, /sys, /run, /etc, /usr, /boot), is looked up on the
 * machine that runs this: a user's images are no facts of the host. -ENOENT, -EACCES, … without a text.
 * Anything that is neither file nor block device is no error here: see node.type. */
int host_disk(const struct host *h, const char *path, struct host_disk *ret);
void host_disk_done(struct host_disk *d);
#define _cleanup_host_disk_ _cleanup_(host_disk_done)

/* The same file or the same device, by whatever path, or one is a partition of the other. */
bool host_disk_overlap(const struct host_disk *a, const struct host_disk *b);

/* The format's name for the first bytes of an image (QEMU's block/: the magic of each driver's probe). */
const char *host_disk_format(const void *data, size_t len);
/* Is it one of those names? */
bool host_disk_is_format(const char *name);

/* How this host uses the disk, as half a sentence in the arena ("/dev/sda2 is mounted at /home", "/dev/sda3
 * is used for swap", "/dev/sda1 is part of md0", "is attached to loop0"), or NULL. Looks at the device, its
 * partitions, and whatever is built on them (sysfs holders: RAID, LVM, dm), by device number in
 * /proc/self/mountinfo, by source for file systems with numbers of their own (btrfs), in /proc/swaps, and at
 * loop devices for files. A loop device that is read-only does not count for a disk that is. */
const char *host_disk_use(const struct host *h, const struct host_disk *d, bool read_only,
                          struct arena *arena);

/* By device number: is other the disk, one of its partitions, or built on them (RAID, LVM, dm)? */
bool host_disk_within(const struct host *h, dev_t other, dev_t disk);
