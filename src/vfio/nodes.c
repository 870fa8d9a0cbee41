#include "vfio/nodes.h"

#include "base/str.h"
#include "host/need.h"

#include <errno.h>
#include <sys/sysmacros.h>

enum { DEPTH_MAX = 24, FOLDERS_MAX = 16384, NVIDIA_MAJOR = 195 };

/* Subsystems whose open nodes hold nothing up: logind and desktops always have them open, and let go when
 * their device goes. */
static const char *const harmless[] = { "input", "hidraw", "leds", "usbmon", "watchdog", "rtc", "ptp" };

static char *basename_of(const char *path) {
        const char *slash = strrchr(path, '/');

        return xstrdup(slash ? slash + 1 : path);
}

/* By its link; NULL in a captured tree, which may lack it. */
static char *subsystem_of(const struct host *h, const char *folder) {
        _cleanup_free_ char *link = xasprintf("%s/subsystem", folder), *target = NULL;

        return host_readlink(h, link, &target) == 0 ? basename_of(target) : NULL;
}

/* The name below /dev: DEVNAME of uevent, else the folder's name, where "!" stands for "/". */
static const char *node_name(struct nodes *nodes, const char *folder) {
        _cleanup_free_ char *path = xasprintf("%s/uevent", folder), *text = NULL, *name = basename_of(folder);

        if (host_read(nodes->host, path, &text) == 0) {
                const char *line = str_starts(text, "DEVNAME=") ? text : strstr(text, "\nDEVNAME=");

                if (line) {
                        line += strcspn(line, "=") + 1;
                        return arena_printf(nodes->arena, "/dev/%.*s", (int) strcspn(line, "\n"), line);
                }
        }
        for (char *p = name; *p; p++)
                if (*p == '!')
                        *p = '/';
        return arena_printf(nodes->arena, "/dev/%s", name);
}

static struct node *add(struct nodes *nodes, char type, dev_t rdev, const char *name) {
        if (nodes->n == NODES_MAX || nodes_have(nodes, type, rdev, NULL))
                return NULL;
        nodes->items[nodes->n] = (struct node){ type, rdev, name };
        return &nodes->items[nodes->n++];
}

static bool has_file(const struct host *h, const char *folder, const char *name) {
        _cleanup_free_ char *path = xasprintf("%s/%s", folder, name), *line = NULL;

        return host_read_line(h, path, &line) == 0;
}

static bool is_harmless(const char *subsystem) {
        for (size_t i = 0; i < ARRAY_SIZE(harmless); i++)
                if (str_eq(subsystem, harmless[i]))
                        return true;
        return false;
}

/* A folder with a file `dev` is a device that has a node. */
static void add_folder(struct nodes *nodes, const char *folder) {
        _cleanup_free_ char *path = xasprintf("%s/dev", folder), *line = NULL, *subsystem = NULL;
        unsigned major_nr, minor_nr;

        if (host_read_line(nodes->host, path, &line) < 0 || sscanf(line, "%u:%u", &major_nr, &minor_nr) != 2)
                return;
        subsystem = subsystem_of(nodes->host, folder);
        if (is_harmless(subsystem))
                return;
        bool disk = subsystem ? str_eq(subsystem, "block") : has_file(nodes->host, folder, "size");
        const struct node *node =
                add(nodes, disk ? 'b' : 'c', makedev(major_nr, minor_nr), node_name(nodes, folder));
        if (node && disk && !has_file(nodes->host, folder, "partition") && nodes->n_disks < NODES_NAMES_MAX)
                nodes->disks[nodes->n_disks++] = *node;
}

static void walk(struct nodes *nodes, const char *folder, int depth);

/* Namespaces of a drive that may have several controllers hang from its subsystem, not from the PCI device
 * (drivers/nvme/host/multipath.c). */
static void add_nvme_subsystem(struct nodes *nodes, const char *controller) {
        _cleanup_host_names_ struct host_names names = { 0 };

        if (host_names(nodes->host, "/sys/class/nvme-subsystem", &names) < 0)
                return;
        for (size_t i = 0; i < names.n; i++) {
                _cleanup_free_ char *folder = xasprintf("/sys/class/nvme-subsystem/%s", names.items[i]);
                _cleanup_free_ char *mine = xasprintf("%s/%s", folder, controller), *target = NULL;

                if (host_readlink(nodes->host, mine, &target) == 0)
                        walk(nodes, folder, 0);
        }
}

static void add_interfaces(struct nodes *nodes, const char *folder) {
        _cleanup_host_names_ struct host_names names = { 0 };

        if (host_names(nodes->host, folder, &names) < 0)
                return;
        for (size_t i = 0; i < names.n && nodes->n_interfaces < NODES_NAMES_MAX; i++)
                nodes->interfaces[nodes->n_interfaces++] = arena_strdup(nodes->arena, names.items[i]);
}

/* Links lead elsewhere; devices behind a bridge are devices of their own. */
static void walk_entry(struct nodes *nodes, const char *folder, const char *name, int depth) {
        _cleanup_free_ char *child = xasprintf("%s/%s", folder, name), *target = NULL;

        if (host_pci_is_address(name) || str_eq(name, "power") || str_eq(name, "msi_irqs") ||
            host_readlink(nodes->host, child, &target) == 0)
                return;
        if (str_eq(name, "net"))
                add_interfaces(nodes, child);
        walk(nodes, child, depth + 1);
        if (str_starts(name, "nvme") && name[4] && str_ends(folder, "/nvme"))
                add_nvme_subsystem(nodes, name);
}

static void walk(struct nodes *nodes, const char *folder, int depth) {
        _cleanup_host_names_ struct host_names names = { 0 };

        if (depth > DEPTH_MAX || nodes->folders >= FOLDERS_MAX || host_names(nodes->host, folder, &names) < 0)
                return;
        nodes->folders++;
        add_folder(nodes, folder);
        for (size_t i = 0; i < names.n; i++)
                walk_entry(nodes, folder, names.items[i], depth);
}

/* NVIDIA's driver makes nodes that sysfs does not show: one for each card, and some for all of them. */
static void add_nvidia(struct nodes *nodes, const struct host_pci *device) {
        _cleanup_free_ char *path = xasprintf("/proc/driver/nvidia/gpus/%s/information", device->address);
        _cleanup_free_ char *text = NULL;
        _cleanup_host_names_ struct host_names cards = { 0 };
        long minor_nr = -1;

        if (!device->driver || !str_starts(device->driver, "nvidia"))
                return;
        if (host_read(nodes->host, path, &text) == 0) {
                const char *line = strstr(text, "Device Minor:");
                if (line)
                        minor_nr = strtol(line + strlen("Device Minor:"), NULL, 10);
        }
        bool only = host_names(nodes->host, "/proc/driver/nvidia/gpus", &cards) < 0 || cards.n <= 1;
        for (int i = 0; i < 256; i++) {
                const char *name = i == 255 ? "/dev/nvidiactl" :
                                   i == 254 ? "/dev/nvidia-modeset" :
                                              arena_printf(nodes->arena, "/dev/nvidia%d", i);
                if (minor_nr < 0 || i == minor_nr || (i >= 254 && only))
                        add(nodes, 'c', makedev(NVIDIA_MAJOR, i), name);
        }
        struct host_node uvm; /* its major number is dealt out at run time */
        if (only && host_node(nodes->host, "/dev/nvidia-uvm", &uvm) == 0 && uvm.type == 'c')
                add(nodes, 'c', uvm.rdev, "/dev/nvidia-uvm");
}

static void add_vfio(struct nodes *nodes, const struct host_pci *device) {
        const char *path = arena_printf(nodes->arena, "/dev/vfio/%d", device->iommu_group);
        struct host_node node;

        if (host_pci_vfio_driver(device->driver) && device->iommu_group >= 0 &&
            host_node(nodes->host, path, &node) == 0 && node.type == 'c')
                add(nodes, 'c', node.rdev, path);
}

void nodes_find(struct nodes *nodes, const struct host_pci *device) {
        _cleanup_free_ char *link = xasprintf("/sys/bus/pci/devices/%s", device->address), *folder = NULL;

        if (host_realpath(nodes->host, link, &folder) == 0 && device->header_type == 0)
                walk(nodes, folder, 0);
        add_nvidia(nodes, device);
        add_vfio(nodes, device);
}

bool nodes_have(const struct nodes *nodes, char type, dev_t rdev, const char **ret_name) {
        for (size_t i = 0; i < nodes->n; i++)
                if (nodes->items[i].type == type && nodes->items[i].rdev == rdev) {
                        if (ret_name)
                                *ret_name = nodes->items[i].name;
                        return true;
                }
        return false;
}
