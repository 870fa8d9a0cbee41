/* Who uses a disk: a small set of block devices (the disk, its partitions, what is built on them) against the
 * mount table and the swap table. */
#include "host/disk.h"

#include "base/str.h"

#include <errno.h>
#include <sys/sysmacros.h>

enum { SET_MAX = 1024, DEPTH_MAX = 8 };

struct member {
        unsigned major, minor;
        char *name;      /* "sda2"; owned */
        const char *via; /* "sda2" for md0 that is built on it; borrowed from another member; NULL: itself */
};

struct set {
        const struct host *host;
        struct member items[SET_MAX];
        size_t n;
};

static void set_free(struct set **s) {
        if (!*s)
                return;
        for (size_t i = 0; i < (*s)->n; i++)
                free((*s)->items[i].name);
        free(*s);
}

static void add_tree(struct set *s, const char *folder, const char *via, int depth);

/* The kernel's name of a device is the last part of its folder's real path. */
static bool add_member(struct set *s, const char *folder, const char *via, const char **ret_name) {
        _cleanup_free_ char *real = NULL, *dev_path = xasprintf("%s/dev", folder), *dev = NULL;
        unsigned major_nr, minor_nr;

        if (s->n == SET_MAX || host_realpath(s->host, folder, &real) < 0 ||
            host_read_line(s->host, dev_path, &dev) < 0 || sscanf(dev, "%u:%u", &major_nr, &minor_nr) != 2)
                return false;
        for (size_t i = 0; i < s->n; i++)
                if (s->items[i].major == major_nr && s->items[i].minor == minor_nr)
                        return false;
        char *name = xstrdup(strrchr(real, '/') + 1);
        s->items[s->n++] = (struct member){ major_nr, minor_nr, name, via };
        *ret_name = name;
        return true;
}

static void add_holders(struct set *s, const char *folder, const char *name, int depth) {
        _cleanup_free_ char *holders = xasprintf("%s/holders", folder);
        _cleanup_host_names_ struct host_names names = { 0 };

        if (host_names(s->host, holders, &names) < 0)
                return;
        for (size_t i = 0; i < names.n; i++) {
                _cleanup_free_ char *child = xasprintf("/sys/class/block/%s", names.items[i]);

                add_tree(s, child, name, depth + 1);
        }
}

static void add_partitions(struct set *s, const char *folder, const char *via, int depth) {
        _cleanup_host_names_ struct host_names names = { 0 };

        if (host_names(s->host, folder, &names) < 0)
                return;
        for (size_t i = 0; i < names.n; i++) {
                _cleanup_free_ char *child = xasprintf("%s/%s", folder, names.items[i]);
                _cleanup_free_ char *mark = xasprintf("%s/partition", child);
                long long number;

                if (host_read_int(s->host, mark, &number) == 0)
                        add_tree(s, child, via, depth + 1);
        }
}

static void add_tree(struct set *s, const char *folder, const char *via, int depth) {
        const char *name;

        if (depth > DEPTH_MAX || !add_member(s, folder, via, &name))
                return;
        add_holders(s, folder, name, depth);
        add_partitions(s, folder, via, depth);
}

/* Whoever uses the whole disk uses a partition of it too; the disk's other partitions do not matter. */
static void add_disk_of(struct set *s, dev_t whole) {
        _cleanup_free_ char *folder = xasprintf("/sys/dev/block/%u:%u", major(whole), minor(whole));
        const char *name;

        if (add_member(s, folder, NULL, &name))
                add_holders(s, folder, name, 0);
}

/* mountinfo and swaps write spaces and the like as \040. */
static void unescape(char *s) {
        char *out = s;

        for (; *s; s++) {
                if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' && s[3] >= '0' &&
                    s[3] <= '7') {
                        *out++ = (char) ((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
                        s += 3;
                } else
                        *out++ = *s;
        }
        *out = '\0';
}

/* One line of mountinfo (proc(5)): id, parent, major:minor, root, mount point, …, "-", type, source. */
struct mount {
        unsigned major, minor;
        char *point, *source; /* inside the line */
};

static bool mount_parse(char *line, struct mount *m) {
        char *rest = NULL, *field = strtok_r(line, " ", &rest);

        *m = (struct mount){ 0 };
        for (int i = 0; field; i++, field = strtok_r(NULL, " ", &rest)) {
                if (i == 2 && sscanf(field, "%u:%u", &m->major, &m->minor) != 2)
                        return false;
                if (i == 4)
                        m->point = field;
                if (i > 5 && str_eq(field, "-")) {
                        (void) strtok_r(NULL, " ", &rest);
                        m->source = strtok_r(NULL, " ", &rest);
                        break;
                }
        }
        if (!m->point || !m->source)
                return false;
        unescape(m->point);
        unescape(m->source);
        return true;
}

static bool is_device(const struct set *s, const char *path, const struct member *m) {
        struct host_node node;

        return str_starts(path, "/dev/") && host_node(s->host, path, &node) == 0 && node.type == 'b' &&
               major(node.rdev) == m->major && minor(node.rdev) == m->minor;
}

static const char *member_says(const struct member *m, struct arena *arena, const char *what,
                               const char *place) {
        const char *on = m->via ? arena_printf(arena, " (built on /dev/%s)", m->via) : "";

        return arena_printf(arena, "/dev/%s%s is %s%s", m->name, on, what, place);
}

static const char *find_mount(const struct set *s, struct arena *arena) {
        _cleanup_free_ char *text = NULL;
        char *rest = NULL;

        if (host_read(s->host, "/proc/self/mountinfo", &text) < 0)
                return NULL;
        for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
                struct mount m;

                if (!mount_parse(line, &m))
                        continue;
                for (size_t i = 0; i < s->n; i++) {
                        const struct member *d = &s->items[i];

                        /* Major 0: a number of the file system's own, so only its source tells. */
                        if ((m.major == d->major && m.minor == d->minor) ||
                            (m.major == 0 && is_device(s, m.source, d)))
                                return member_says(d, arena, "mounted at ", m.point);
                }
        }
        return NULL;
}

/* Every device of a mounted btrfs, also those that mountinfo does not name. */
static const char *find_btrfs(const struct set *s, struct arena *arena) {
        _cleanup_host_names_ struct host_names names = { 0 };

        if (host_names(s->host, "/sys/fs/btrfs", &names) < 0)
                return NULL;
        for (size_t i = 0; i < names.n; i++)
                for (size_t j = 0; j < s->n; j++) {
                        _cleanup_free_ char *path =
                                xasprintf("/sys/fs/btrfs/%s/devices/%s", names.items[i], s->items[j].name);
                        struct host_node node;

                        if (host_node(s->host, path, &node) == 0)
                                return member_says(&s->items[j], arena, "part of the mounted btrfs ",
                                                   names.items[i]);
                }
        return NULL;
}

/* Calls for each path of /proc/swaps; the first that fits. path: a swap file, else the set's devices. */
static const char *find_swap(const struct host *h, const struct set *s, const char *path,
                             struct arena *arena) {
        _cleanup_free_ char *text = NULL;
        char *rest = NULL;

        if (host_read(h, "/proc/swaps", &text) < 0)
                return NULL;
        (void) strtok_r(text, "\n", &rest); /* the headline */
        for (char *line = strtok_r(NULL, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
                line[strcspn(line, " \t")] = '\0';
                unescape(line);
                if (path && str_eq(line, path))
                        return "it is used for swap";
                for (size_t i = 0; s && i < s->n; i++)
                        if (is_device(s, line, &s->items[i]))
                                return member_says(&s->items[i], arena, "used for swap", "");
        }
        return NULL;
}

static const char *find_holder(const struct set *s, struct arena *arena) {
        for (size_t i = 0; i < s->n; i++)
                if (s->items[i].via)
                        return arena_printf(arena, "/dev/%s is part of %s", s->items[i].via,
                                            s->items[i].name);
        return NULL;
}

static const char *device_use(const struct host *h, const struct host_disk *d, struct arena *arena) {
        _cleanup_(set_free) struct set *s = xcalloc(1, sizeof(*s));
        _cleanup_free_ char *folder =
                xasprintf("/sys/dev/block/%u:%u", major(d->node.rdev), minor(d->node.rdev));
        s->host = h;
        add_tree(s, folder, NULL, 0);
        if (d->whole != d->node.rdev)
                add_disk_of(s, d->whole);
        if (s->n == 0) /* no sysfs: at least the number itself */
                s->items[s->n++] = (struct member){ major(d->node.rdev), minor(d->node.rdev),
                                                    xstrdup(strrchr(d->path, '/') + 1), NULL };
        const char *use = find_mount(s, arena);
        if (!use)
                use = find_swap(h, s, NULL, arena);
        if (!use)
                use = find_btrfs(s, arena);
        return use ? use : find_holder(s, arena);
}

bool host_disk_within(const struct host *h, dev_t other, dev_t disk) {
        _cleanup_(set_free) struct set *s = xcalloc(1, sizeof(*s));
        _cleanup_free_ char *folder = xasprintf("/sys/dev/block/%u:%u", major(disk), minor(disk));

        s->host = h;
        add_tree(s, folder, NULL, 0);
        for (size_t i = 0; i < s->n; i++)
                if (makedev(s->items[i].major, s->items[i].minor) == other)
                        return true;
        return other == disk;
}

static const char *loop_use(const struct host *h, const struct host_disk *d, bool read_only,
                            struct arena *arena) {
        _cleanup_host_names_ struct host_names names = { 0 };

        if (host_names(h, "/sys/block", &names) < 0)
                return NULL;
        for (size_t i = 0; i < names.n; i++) {
                _cleanup_free_ char *file = xasprintf("/sys/block/%s/loop/backing_file", names.items[i]);
                _cleanup_free_ char *ro = xasprintf("/sys/block/%s/ro", names.items[i]), *line = NULL;
                long long locked = 0;

                if (!str_starts(names.items[i], "loop") || host_read_line(h, file, &line) < 0 ||
                    !str_eq(line, d->path))
                        continue;
                if (read_only && host_read_int(h, ro, &locked) == 0 && locked)
                        continue;
                return arena_printf(arena, "it is attached to /dev/%s", names.items[i]);
        }
        return NULL;
}

const char *host_disk_use(const struct host *h, const struct host_disk *d, bool read_only,
                          struct arena *arena) {
        if (d->node.type == 'b')
                return device_use(h, d, arena);
        const char *use = find_swap(h, NULL, d->path, arena);
        return use ? use : loop_use(h, d, read_only, arena);
}
