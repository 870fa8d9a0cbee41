#include "vfio/holders.h"

#include "base/str.h"
#include "host/disk.h"
#include "vfio/bind.h"
#include "vfio/nodes.h"

#include <errno.h>
#include <fcntl.h>

struct list {
        const struct host *host;
        struct arena *arena;
        struct vfio_holder items[VFIO_HOLDERS_MAX];
        size_t n;
};

static void add(struct list *l, struct vfio_holder holder) {
        for (size_t i = 0; i < l->n; i++)
                if (str_eq(l->items[i].sentence, holder.sentence))
                        return;
        if (l->n < VFIO_HOLDERS_MAX)
                l->items[l->n++] = holder;
}

/* --- processes --- */

static const char *program_of(const struct list *l, long pid) {
        _cleanup_free_ char *path = xasprintf("/proc/%ld/comm", pid), *line = NULL;

        return host_read_line(l->host, path, &line) < 0 ? "a process" : arena_strdup(l->arena, line);
}

static void look_at_descriptor(struct list *l, const struct nodes *nodes, long pid, const char *folder,
                               const char *number) {
        _cleanup_free_ char *path = xasprintf("%s/%s", folder, number), *target = NULL;
        struct host_node node;
        const char *name;

        /* Most descriptors are sockets and files: the link's text is cheaper than the node. In a container or
         * a chroot it need not begin with /dev. */
        if (host_readlink(l->host, path, &target) < 0 || !strstr(target, "/dev/") ||
            host_node(l->host, path, &node) < 0 || !nodes_have(nodes, node.type, node.rdev, &name))
                return;
        const char *program = program_of(l, pid);
        add(l, (struct vfio_holder){
                       .kind = "process",
                       .pid = pid,
                       .program = program,
                       .what = name,
                       .sentence = arena_printf(l->arena, "%s (pid %ld) has %s open", program, pid, name),
               });
}

static void find_processes(struct list *l, const struct nodes *nodes) {
        _cleanup_host_names_ struct host_names processes = { 0 };

        if (nodes->n == 0 || host_names(l->host, "/proc", &processes) < 0)
                return;
        for (size_t i = 0; i < processes.n; i++) {
                _cleanup_free_ char *folder = xasprintf("/proc/%s/fd", processes.items[i]);
                _cleanup_host_names_ struct host_names descriptors = { 0 };
                long long pid;

                if (str_to_int(processes.items[i], 1, INT32_MAX, &pid) < 0 ||
                    host_names(l->host, folder, &descriptors) < 0)
                        continue;
                for (size_t j = 0; j < descriptors.n; j++)
                        look_at_descriptor(l, nodes, (long) pid, folder, descriptors.items[j]);
        }
}

/* --- network --- */

enum { IFF_UP_BIT = 1, UPPER_DEPTH = 4 };

/* Is it in the table of routes as the way to everywhere? /proc/net/route: Iface, Destination, …, Mask as the
 * eighth; /proc/net/ipv6_route: destination, its length, …, the interface last. */
static bool is_default_route(const struct host *h, const char *interface) {
        _cleanup_free_ char *v4 = NULL, *v6 = NULL;
        char *rest = NULL, name[32], destination[40], mask[16], length[8];

        if (host_read(h, "/proc/net/route", &v4) == 0)
                for (char *line = strtok_r(v4, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
                        if (sscanf(line, "%31s %39s %*s %*s %*s %*s %*s %15s", name, destination, mask) == 3 &&
                            str_eq(name, interface) && str_eq(destination, "00000000") && str_eq(mask, "00000000"))
                                return true;
        if (host_read(h, "/proc/net/ipv6_route", &v6) == 0)
                for (char *line = strtok_r(v6, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
                        if (sscanf(line, "%39s %7s %*s %*s %*s %*s %*s %*s %*s %31s", destination, length, name) == 3 &&
                            str_eq(name, interface) && str_eq(length, "00") &&
                            !destination[strspn(destination, "0")])
                                return true;
        return false;
}

/* The interface, or what is built on it: a bridge, a bond, a VLAN. */
static const char *find_default_route(const struct list *l, const char *interface, int depth) {
        _cleanup_free_ char *folder = xasprintf("/sys/class/net/%s", interface);
        _cleanup_host_names_ struct host_names names = { 0 };
        const char *found = NULL;

        if (is_default_route(l->host, interface))
                return arena_strdup(l->arena, interface);
        if (depth == UPPER_DEPTH || host_names(l->host, folder, &names) < 0)
                return NULL;
        for (size_t i = 0; !found && i < names.n; i++)
                if (str_starts(names.items[i], "upper_"))
                        found = find_default_route(l, names.items[i] + strlen("upper_"), depth + 1);
        return found;
}

static void find_interfaces(struct list *l, const struct nodes *nodes) {
        for (size_t i = 0; i < nodes->n_interfaces; i++) {
                const char *name = nodes->interfaces[i], *route;
                _cleanup_free_ char *path = xasprintf("/sys/class/net/%s/flags", name);
                long long flags;

                if (host_read_int(l->host, path, &flags) < 0 || !(flags & IFF_UP_BIT))
                        continue;
                route = find_default_route(l, name, 0);
                const char *sentence =
                        !route                ? arena_printf(l->arena, "the network interface %s is up", name) :
                        str_eq(route, name)   ? arena_printf(l->arena, "the host's default route runs over %s", name) :
                                                arena_printf(l->arena, "the host's default route runs over %s (by %s)",
                                                             name, route);
                add(l, (struct vfio_holder){
                               .kind = "network", .what = name, .sentence = sentence, .host_needs = route });
        }
}

/* --- disks --- */

static bool is_loaded(const struct host *h, const char *module) {
        _cleanup_free_ char *path = xasprintf("/sys/module/%s", module);
        struct host_node node;

        return host_node(h, path, &node) == 0;
}

/* File systems over several disks that no table shows. Whoever claims a disk or a partition of it keeps others
 * from claiming the whole (the kernel's bd_prepare_to_claim). Tried only where there is such a file system, as
 * it would be in the way of a mount at the same moment; not for what is not this machine. */
static bool is_claimed(const struct host *h, const struct node *disk) {
        struct host_node node;

        if (host_captured(h) || (!is_loaded(h, "zfs") && !is_loaded(h, "bcachefs")) || host_node(h, disk->name, &node) < 0 || node.type != 'b' || node.rdev != disk->rdev)
                return false;
        _cleanup_close_ int fd = host_fd(h, disk->name, O_RDONLY | O_EXCL | O_NONBLOCK | O_NOCTTY);
        return fd == -EBUSY;
}

static void find_disks(struct list *l, const struct nodes *nodes) {
        for (size_t i = 0; i < nodes->n_disks; i++) {
                const struct node *node = &nodes->disks[i];
                struct host_disk disk = { .node = { .type = 'b', .rdev = node->rdev }, .whole = node->rdev };

                disk.path = arena_strdup(l->arena, node->name);
                const char *use = host_disk_use(l->host, &disk, false, l->arena);
                if (!use && is_claimed(l->host, node))
                        use = arena_printf(l->arena, "%s is part of a file system or pool (ZFS, bcachefs)", node->name);
                if (use)
                        add(l, (struct vfio_holder){
                                       .kind = "disk", .what = node->name, .sentence = use, .host_needs = true });
        }
}

/* --- all --- */

static void find_itself(struct list *l, const struct host_pci *device) {
        if (device->header_type != 0)
                add(l, (struct vfio_holder){ .kind = "bridge", .what = device->address, .host_needs = true,
                                             .sentence = arena_printf(l->arena, "it is a bridge: what is behind it "
                                                                      "can be used, not the bridge") });
        if (device->boot_vga == 1 && device->driver && !vfio_driver_is_vfio(device->driver))
                add(l, (struct vfio_holder){ .kind = "display", .what = device->address, .host_needs = true,
                                             .sentence = arena_printf(l->arena, "it is the display that the host "
                                                                      "started with (driver %s)", device->driver) });
}

/* What the host needs first; else as found. */
static void sort(struct list *l, struct vfio_holder *ret) {
        size_t n = 0;

        for (int needed = 1; needed >= 0; needed--)
                for (size_t i = 0; i < l->n; i++)
                        if (l->items[i].host_needs == needed)
                                ret[n++] = l->items[i];
}

int vfio_holders(const struct host *h, const char *address, struct arena *arena, struct vfio_holder **ret,
                 size_t *ret_n, struct error *err) {
        _cleanup_free_ struct nodes *nodes = xcalloc(1, sizeof(*nodes));
        _cleanup_free_ struct list *l = xcalloc(1, sizeof(*l));
        struct host_pci device;
        int r = host_pci_find(h, address, arena, &device);

        if (r < 0)
                return error_set(err, r, "%s: there is no such device", address);
        *nodes = (struct nodes){ .host = h, .arena = arena };
        *l = (struct list){ .host = h, .arena = arena };
        nodes_find(nodes, &device);
        find_itself(l, &device);
        find_disks(l, nodes);
        find_interfaces(l, nodes);
        find_processes(l, nodes);
        *ret = arena_new0(arena, struct vfio_holder, l->n + 1);
        *ret_n = l->n;
        sort(l, *ret);
        return 0;
}

static json_t *holders_json(const struct vfio_holder *holders, size_t n) {
        json_t *list = json_array();

        for (size_t i = 0; i < n; i++) {
                const struct vfio_holder *holder = &holders[i];
                json_t *j = json_object();

                json_put_str(j, "kind", holder->kind);
                json_put(j, "pid", holder->pid ? json_integer(holder->pid) : json_null());
                /* A process names itself as it likes. */
                json_put(j, "program", holder->program ? json_string_lossy(holder->program) : json_null());
                json_put(j, "what", json_string_lossy(holder->what));
                json_put(j, "sentence", json_string_lossy(holder->sentence));
                json_put_bool(j, "host_needs", holder->host_needs);
                json_push(list, j);
        }
        return list;
}

int vfio_holders_work(void *arg, int report_fd, json_t **ret, struct error *err) {
        const struct vfio_holders_job *job = arg;
        _cleanup_arena_ struct arena *arena = arena_new();
        _cleanup_json_ json_t *all = json_object();
        _cleanup_host_ struct host *h = NULL;
        int r = host_open(job->root, &h, err);

        for (size_t i = 0; r >= 0 && i < job->n; i++) {
                struct vfio_holder *holders;
                size_t n;

                r = vfio_holders(h, job->addresses[i], arena, &holders, &n, err);
                if (r >= 0)
                        json_put(all, job->addresses[i], holders_json(holders, n));
                else if (r == -ENOENT)
                        r = 0;
        }
        if (r < 0)
                return r;
        *ret = TAKE_PTR(all);
        return 0;
}
