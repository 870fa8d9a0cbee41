#include "host/pci.h"

#include "base/str.h"

#include <errno.h>
#include <limits.h>

#define DEVICES "/sys/bus/pci/devices"

/* The flags of a line of `resource` (the kernel's include/linux/ioport.h). */
enum { RESOURCE_IO = 0x100, RESOURCE_PREFETCH = 0x2000, RESOURCE_WIDE = 0x100000, RESOURCE_ROM = 6 };

struct address {
        unsigned domain, bus, device, function;
};

static bool address_read(const char *text, struct address *ret) {
        struct address a;
        int n = 0;

        if (strspn(text, "0123456789abcdef") < 4 ||
            sscanf(text, "%8x:%2x:%2x.%1x%n", &a.domain, &a.bus, &a.device, &a.function, &n) != 4 || text[n])
                return false;
        *ret = a;
        return true;
}

bool host_pci_is_address(const char *text) {
        struct address a;

        if (!address_read(text, &a))
                return false;
        char again[32];
        snprintf(again, sizeof(again), "%04x:%02x:%02x.%x", a.domain, a.bus, a.device, a.function);
        return str_eq(text, again);
}

int host_pci_compare(const char *a, const char *b) {
        struct address x, y;

        if (!address_read(a, &x) || !address_read(b, &y))
                return strcmp(a, b);
        const unsigned left[] = { x.domain, x.bus, x.device, x.function };
        const unsigned right[] = { y.domain, y.bus, y.device, y.function };
        for (size_t i = 0; i < ARRAY_SIZE(left); i++)
                if (left[i] != right[i])
                        return left[i] < right[i] ? -1 : 1;
        return 0;
}

static long long read_number(const struct host *h, const char *address, const char *name,
                             long long fallback) {
        _cleanup_free_ char *path = xasprintf(DEVICES "/%s/%s", address, name);
        long long value;

        return host_read_int(h, path, &value) < 0 ? fallback : value;
}

static const char *read_text(const struct host *h, const char *address, const char *name,
                             struct arena *arena) {
        _cleanup_free_ char *path = xasprintf(DEVICES "/%s/%s", address, name), *line = NULL;

        return host_read_line(h, path, &line) < 0 ? NULL : arena_strdup(arena, line);
}

/* The last part of what a link says. */
static const char *read_link(const struct host *h, const char *address, const char *name,
                             struct arena *arena) {
        _cleanup_free_ char *path = xasprintf(DEVICES "/%s/%s", address, name), *target = NULL;

        if (host_readlink(h, path, &target) < 0)
                return NULL;
        const char *slash = strrchr(target, '/');
        return arena_strdup(arena, slash ? slash + 1 : target);
}

/* The kernel shows bus numbers for bridges only (pci_is_bridge), whatever their class says. */
static int header_type(const struct host *h, const char *address, uint32_t class) {
        bool bridge = read_number(h, address, "secondary_bus_number", -1) >= 0 || class >> 8 == 0x0604;

        return class >> 8 == 0x0607 ? 2 : bridge ? 1 : 0;
}

/* Lines of start, end and flags: six BARs, the ROM, then a bridge's windows. */
static void read_bars(const struct host *h, struct host_pci *d) {
        _cleanup_free_ char *path = xasprintf(DEVICES "/%s/resource", d->address), *text = NULL;
        const char *line;

        if (host_read(h, path, &text) < 0)
                return;
        line = text;
        for (int i = 0; i <= RESOURCE_ROM && line && *line; i++) {
                unsigned long long start, end, flags;

                if (sscanf(line, "%llx %llx %llx", &start, &end, &flags) != 3)
                        return;
                uint64_t size = flags && end > start ? end - start + 1 : 0;
                if (i == RESOURCE_ROM)
                        d->rom_size = size;
                else if (size)
                        d->bars[i] = (struct host_pci_bar){ size, flags & RESOURCE_IO, flags & RESOURCE_WIDE,
                                                            flags & RESOURCE_PREFETCH };
                line = strchr(line, '\n');
                if (line)
                        line++;
        }
}

int host_pci_find(const struct host *h, const char *address, struct arena *arena, struct host_pci *ret) {
        long long vendor = read_number(h, address, "vendor", -1);

        if (vendor < 0 || !host_pci_is_address(address))
                return -ENOENT;
        struct host_pci d = {
                .address = arena_strdup(arena, address),
                .vendor = (uint16_t) vendor,
                .device = (uint16_t) read_number(h, address, "device", 0),
                .subsystem_vendor = (uint16_t) read_number(h, address, "subsystem_vendor", 0),
                .subsystem_device = (uint16_t) read_number(h, address, "subsystem_device", 0),
                .revision = (uint8_t) read_number(h, address, "revision", 0),
                .class = (uint32_t) read_number(h, address, "class", 0) & 0xffffff,
                .driver = read_link(h, address, "driver", arena),
                .iommu_group = -1,
                .reset_methods = read_text(h, address, "reset_method", arena),
                .boot_vga = (int) read_number(h, address, "boot_vga", -1),
                .power_state = read_text(h, address, "power_state", arena),
                .d3cold_allowed = (int) read_number(h, address, "d3cold_allowed", -1),
                .numa_node = (int) read_number(h, address, "numa_node", -1),
        };
        const char *group = read_link(h, address, "iommu_group", arena);
        long long number;

        if (group && str_to_int(group, 0, INT_MAX, &number) == 0)
                d.iommu_group = (int) number;
        d.header_type = header_type(h, address, d.class);
        read_bars(h, &d);
        *ret = d;
        return 0;
}

static int device_compare(const void *a, const void *b) {
        return host_pci_compare(((const struct host_pci *) a)->address,
                                ((const struct host_pci *) b)->address);
}

int host_pci_list(const struct host *h, struct arena *arena, struct host_pci **ret, size_t *ret_n,
                  struct error *err) {
        _cleanup_host_names_ struct host_names names = { 0 };
        size_t n = 0;
        int r = host_names(h, DEVICES, &names);

        if (r < 0 && r != -ENOENT)
                return error_errno(err, r, "cannot read " DEVICES);
        struct host_pci *devices = arena_new0(arena, struct host_pci, names.n + 1);
        for (size_t i = 0; i < names.n; i++)
                if (host_pci_find(h, names.items[i], arena, &devices[n]) == 0)
                        n++;
        qsort(devices, n, sizeof(*devices), device_compare);
        *ret = devices;
        *ret_n = n;
        return 0;
}
