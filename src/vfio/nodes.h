/* The device nodes, network interfaces and disks below one PCI device in sysfs. */
#pragma once

#include "host/pci.h"

#include <sys/types.h>

struct node {      /* strings in the arena */
        char type; /* 'c' or 'b' */
        dev_t rdev;
        const char *name; /* "/dev/dri/card1" */
};

enum { NODES_MAX = 512, NODES_NAMES_MAX = 64 };

struct nodes {
        const struct host *host;
        struct arena *arena;
        struct node items[NODES_MAX];
        size_t n;
        const char *interfaces[NODES_NAMES_MAX]; /* "eth0" */
        size_t n_interfaces;
        struct node disks[NODES_NAMES_MAX]; /* whole ones; also in items */
        size_t n_disks;
        unsigned folders; /* that were visited: bounded */
};

/* Zeroed but for host and arena; then this. */
void nodes_find(struct nodes *nodes, const struct host_pci *device);
bool nodes_have(const struct nodes *nodes, char type, dev_t rdev, const char **ret_name);
