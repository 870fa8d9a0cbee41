#include "vfio/holders.h"

#include "base/str.h"
#include "host/need.h"
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

enum { IFF_UP_BIT = 1 };

static void find_interfaces(struct list *l, const struct nodes *nodes) {
        for (size_t i = 0; i < nodes->n_interfaces; i++) {
                const char *name = nodes->interfaces[i];
                _cleanup_free_ char *path = xasprintf("/sys/class/net/%s/flags", name);
                long long flags;

                if (host_read_int(l->host, path, &flags) < 0 || !(flags & IFF_UP_BIT))
                        continue;
                add(l, (struct vfio_holder){
                               .kind = "network",
                               .what = name,
                               .sentence = arena_printf(l->arena, "the network interface %s is up", name),
                       });
        }
}

/* --- disks --- */

static bool is_loaded(const struct host *h, const char *module) {
        _cleanup_free_ char *path = xasprintf("/sys/module/%s", module);
        struct host_node node;

        return host_node(h, path, &node) == 0;
}

/* File systems over several disks that no table shows. Whoever claims a disk or a partition of it keeps
 * others from claiming the whole (the kernel's bd_prepare_to_claim). Tried only where there is such a file
 * system, as it would be in the way of a mount at the same moment; not for what is not this machine. */
static bool is_claimed(const struct host *h, const struct node *disk) {
        struct host_node node;

        if (host_captured(h) || (!is_loaded(h, "zfs") && !is_loaded(h, "bcachefs")) ||
            host_node(h, disk->name, &node) < 0 || node.type != 'b' || node.rdev != disk->rdev)
                return false;
        _cleanup_close_ int fd = host_fd(h, disk->name, O_RDONLY | O_EXCL | O_NONBLOCK | O_NOCTTY);
        return fd == -EBUSY;
}

static void find_disks(struct list *l, const struct nodes *nodes) {
        for (size_t i = 0; i < nodes->n_disks; i++) {
                const char *name = nodes->disks[i].name;

                if (!is_claimed(l->host, &nodes->disks[i]))
                        continue;
                add(l, (struct vfio_holder){
                               .kind = "disk",
                               .what = name,
                               .sentence = arena_printf(
                                       l->arena, "%s is part of a file system or pool (ZFS, bcachefs)", name),
                               .host_needs = true,
                       });
        }
}

/* --- all --- */

static void find_need(struct list *l, const struct host_pci *device) {
        const char *need = host_pci_need(l->host, device, l->arena);

        if (need)
                add(l,
                    (struct vfio_holder){
                            .kind = "host", .what = device->address, .sentence = need, .host_needs = true });
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
        find_need(l, &device);
        find_disks(l, nodes);
        find_interfaces(l, nodes);
        find_processes(l, nodes);
        *ret = arena_new0(arena, struct vfio_holder, l->n + 1);
        *ret_n = l->n;
        sort(l, *ret);
        return 0;
}

int vfio_holders_process(const struct host *h, const char *address, struct arena *arena, const char **ret) {
        _cleanup_free_ struct nodes *nodes = xcalloc(1, sizeof(*nodes));
        _cleanup_free_ struct list *l = xcalloc(1, sizeof(*l));
        struct host_pci device;
        int r = host_pci_find(h, address, arena, &device);

        if (r < 0)
                return r;
        *nodes = (struct nodes){ .host = h, .arena = arena };
        *l = (struct list){ .host = h, .arena = arena };
        nodes_find(nodes, &device);
        find_processes(l, nodes);
        if (l->n == 0)
                return 0;
        *ret = l->items[0].sentence;
        return 1;
}

enum { REFUSE_NAMES_MAX = 6 };

int vfio_holders_refuse(const char *address, const struct vfio_holder *holders, size_t n, struct error *err) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

        if (n == 0)
                return 0;
        for (size_t i = 0; i < n && i < REFUSE_NAMES_MAX; i++)
                strbuf_addf(&b, "%s%s", i ? "; " : "", holders[i].sentence);
        if (n > REFUSE_NAMES_MAX)
                strbuf_addf(&b, "; and %zu more", n - REFUSE_NAMES_MAX);
        return error_set(err, -EBUSY,
                         "%s is in use: %s (force = true, or --force of vore attach, takes it all the same)",
                         address, b.data);
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
