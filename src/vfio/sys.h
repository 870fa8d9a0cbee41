/* The files of PCI sysfs as a few operations, so that a model of the kernel can stand in for them. Whoever
 * calls them may block for ever: only workers do.
 *
 * Every path is absolute. Each operation returns 0 or -errno. */
#pragma once

#include "host/host.h"

struct vfio_ops {
        /* One line without its newline; owned by the caller. */
        int (*read)(void *data, const char *path, char **ret);
        /* One write(2) of the whole text. */
        int (*write)(void *data, const char *path, const char *text);
        /* What the link says; owned by the caller. */
        int (*readlink)(void *data, const char *path, char **ret);
        /* Names in a folder, sorted (host_names()). */
        int (*names)(void *data, const char *path, struct host_names *ret);
        /* The first n bytes, as far as there are so many; returns how many. */
        ssize_t (*bytes)(void *data, const char *path, void *ret, size_t n);
        /* Loads a kernel module with what it depends on; one that is there already is fine. */
        int (*load)(void *data, const char *module);
        /* 1: a process has a VFIO node of the device open, or of its group: "qemu-system-x86 (pid 55) has
         * /dev/vfio/21 open", owned by the caller. 0: none has. */
        int (*open_by)(void *data, const char *address, char **ret);
};

struct vfio_sys {
        const struct vfio_ops *ops;
        void *data;
};

/* The real ones. root NULL: this machine, and writing is -EROFS if VORE_HOST_ROOT names a captured one; else
 * that folder, without kernel modules (-ENOENT). */
int vfio_sys_open(const char *root, struct vfio_sys *ret, struct error *err);
/* Only of what vfio_sys_open() gave. */
void vfio_sys_close(struct vfio_sys *sys);
