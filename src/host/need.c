#include "host/need.h"

#include "base/str.h"
#include "host/disk.h"

#include <errno.h>
#include <sys/sysmacros.h>

enum { LOWER_DEPTH_MAX = 8 };

bool host_pci_vfio_driver(const char *driver) {
        return driver && strstr(driver, "vfio");
}

bool host_pci_may_stay(const struct host_pci *d) {
        return !d->driver || host_pci_vfio_driver(d->driver) || str_eq(d->driver, "pcieport") ||
               str_eq(d->driver, "pci-stub");
}

/* Is this folder of sysfs at or below the device? */
static bool behind(const struct host *h, const char *folder, const char *address) {
        _cleanup_free_ char *real = NULL, *part = xasprintf("/%s/", address);

        return host_realpath(h, folder, &real) >= 0 && strstr(real, part);
}

/* With multipath, the kernel's path of a namespace is nvme0c1n1, hidden, and the disk is nvme0n1. */
static char *disk_name(const char *name) {
        unsigned subsystem, controller, space;
        int n = 0;

        if (sscanf(name, "nvme%uc%un%u%n", &subsystem, &controller, &space, &n) == 3 && !name[n])
                return xasprintf("nvme%un%u", subsystem, space);
        return xstrdup(name);
}

static int disk_number(const struct host *h, const char *disk, dev_t *ret) {
        _cleanup_free_ char *number = xasprintf("/sys/class/block/%s/dev", disk), *line = NULL;
        unsigned major_nr, minor_nr;
        int r = host_read_line(h, number, &line);

        if (r < 0)
                return r;
        if (sscanf(line, "%u:%u", &major_nr, &minor_nr) != 2)
                return -EINVAL;
        *ret = makedev(major_nr, minor_nr);
        return 0;
}

typedef const char *(*disk_fn)(const struct host *h, const char *disk, dev_t rdev, void *data);

/* Calls fn for the disks behind the device until it says what it looked for. */
static const char *disks_behind(const struct host *h, const char *address, disk_fn fn, void *data) {
        _cleanup_host_names_ struct host_names names = { 0 };
        const char *found = NULL;

        if (host_names(h, "/sys/class/block", &names) < 0)
                return NULL;
        for (size_t i = 0; i < names.n && !found; i++) {
                _cleanup_free_ char *folder = xasprintf("/sys/class/block/%s", names.items[i]);
                _cleanup_free_ char *mark = xasprintf("%s/partition", folder),
                                    *disk = disk_name(names.items[i]);
                struct host_node node;
                dev_t rdev;

                if (host_node(h, mark, &node) < 0 && behind(h, folder, address) &&
                    disk_number(h, disk, &rdev) >= 0)
                        found = fn(h, disk, rdev, data);
        }
        return found;
}

static const char *disk_need(const struct host *h, const char *disk, dev_t rdev, void *arena) {
        _cleanup_free_ char *path = xasprintf("/dev/%s", disk);
        /* Not host_disk(): it would open every disk. */
        const struct host_disk d = { .node = { .type = 'b', .rdev = rdev }, .path = path, .whole = rdev };

        return host_disk_use(h, &d, false, arena);
}

static const char *disk_holds(const struct host *h, const char *disk, dev_t rdev, void *other) {
        return host_disk_within(h, *(const dev_t *) other, rdev) ? "it" : NULL;
}

bool host_pci_has_disk(const struct host *h, const char *address, dev_t disk) {
        return disks_behind(h, address, disk_holds, &disk);
}

/* The interface, or one that it is built on: a bridge's ports, a bond's slaves, a VLAN's card. */
static bool interface_behind(const struct host *h, const char *name, const char *address, int depth) {
        _cleanup_free_ char *folder = xasprintf("/sys/class/net/%s", name);
        _cleanup_host_names_ struct host_names names = { 0 };

        if (depth > LOWER_DEPTH_MAX)
                return false;
        if (behind(h, folder, address))
                return true;
        if (host_names(h, folder, &names) < 0)
                return false;
        for (size_t i = 0; i < names.n; i++)
                if (str_starts(names.items[i], "lower_") &&
                    interface_behind(h, names.items[i] + strlen("lower_"), address, depth + 1))
                        return true;
        return false;
}

/* The interface of a default route: 4: "eth0 00000000 GATEWAY FLAGS … MASK", 6: "0…0 00 … FLAGS eth0" (the
 * kernel's net/ipv4/fib_trie.c, net/ipv6/route.c). */
static bool route_default(const char *line, int version, char ret_name[static 32]) {
        unsigned destination, flags, mask;

        if (version == 4)
                return sscanf(line, "%31s %x %*x %x %*d %*d %*d %x", ret_name, &destination, &flags, &mask) ==
                               4 &&
                       destination == 0 && mask == 0 && flags & 1;
        return str_starts(line, "00000000000000000000000000000000 00 ") &&
               sscanf(line, "%*s %*s %*s %*s %*s %*s %*s %*s %x %31s", &flags, ret_name) == 2 && flags & 1;
}

static const char *route_need(const struct host *h, const char *address, int version, struct arena *arena) {
        _cleanup_free_ char *text = NULL;
        char *rest = NULL, name[32];

        if (host_read(h, version == 4 ? "/proc/net/route" : "/proc/net/ipv6_route", &text) < 0)
                return NULL;
        for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
                if (route_default(line, version, name) && interface_behind(h, name, address, 0))
                        return arena_printf(arena, "the default route is by %s", name);
        return NULL;
}

bool host_pci_function_of(const struct host *h, const char *virtual_function, const char *physical_function) {
        _cleanup_free_ char *link = xasprintf("/sys/bus/pci/devices/%s/physfn", virtual_function),
                            *target = NULL;

        if (host_readlink(h, link, &target) < 0)
                return false;
        const char *slash = strrchr(target, '/');
        return str_eq(slash ? slash + 1 : target, physical_function);
}

/* A physical function's driver takes its virtual functions away when it goes: whoever has one loses it, and
 * nobody makes them again. */
static const char *functions_need(const struct host *h, const char *address, struct arena *arena) {
        const char *first = NULL;

        for (unsigned i = 0;; i++) {
                _cleanup_free_ char *link = xasprintf("/sys/bus/pci/devices/%s/virtfn%u", address, i),
                                    *target = NULL;
                struct host_pci function;

                if (host_readlink(h, link, &target) < 0)
                        break;
                const char *slash = strrchr(target, '/');
                if (host_pci_find(h, slash ? slash + 1 : target, arena, &function) < 0)
                        continue;
                if (function.driver)
                        return arena_printf(arena, "its virtual function %s is with the driver %s",
                                            function.address, function.driver);
                first = first ? first : function.address;
        }
        return first ? arena_printf(arena, "its virtual function %s goes away with its driver", first) : NULL;
}

const char *host_pci_need(const struct host *h, const struct host_pci *device, struct arena *arena) {
        const char *need = NULL;

        if (device->header_type != 0 || device->class >> 16 == 0x06)
                return "it is one of its bridges";
        if (host_pci_vfio_driver(device->driver))
                return NULL;
        need = disks_behind(h, device->address, disk_need, arena);
        if (!need)
                need = route_need(h, device->address, 4, arena);
        if (!need)
                need = route_need(h, device->address, 6, arena);
        if (!need)
                need = functions_need(h, device->address, arena);
        return !need && device->boot_vga == 1 ? "it is the boot display" : need;
}
