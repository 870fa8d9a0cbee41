#include "complete/fill.h"

#include "host/disk.h"

#include <errno.h>

static bool known_format(const char *format) {
        return str_eq(format, "raw") || str_eq(format, "qcow2") || str_eq(format, "vmdk") ||
               str_eq(format, "vdi") || str_eq(format, "vhdx");
}

static const char *write_type(struct fill *f, const struct def_disk *d, const char *format) {
        if (!known_format(format))
                return arena_printf(f->arena, "convert it: qemu-img convert -O qcow2 %s NEW.qcow2", d->path);
        if (d->cdrom)
                return arena_printf(f->arena,
                                    "rename it to end in .%s, or write a [[disk]] with preset = \"iso\"",
                                    str_eq(format, "raw") ? "iso" : format);
        return arena_printf(f->arena, "write disk_type = \"%s\"", format);
}

/* The name said nothing, and nobody else did. */
static void ask_for_type(struct fill *f, struct def_disk *d, const char *seen) {
        if (seen)
                FILL_ERROR(f, d, path, "disk_type", write_type(f, d, seen),
                           "the name of %s does not say its type; it looks like %s", d->path, seen);
        else
                FILL_ERROR(f, d, path, "disk_type", "write disk_type = \"raw\", \"qcow2\" or what it is",
                           "the name of %s does not say its type", d->path);
}

/* A disk_type that is written is obeyed; only what QEMU must refuse is an error. seen: NULL if unknown. */
static void check_type(struct fill *f, struct def_disk *d, const char *seen) {
        bool given = DEF_GIVEN(d, disk_type);

        if (str_empty(d->disk_type))
                ask_for_type(f, d, seen);
        else if (given && seen && str_eq(seen, "raw") && !str_eq(d->disk_type, "raw"))
                FILL_ERROR(f, d, disk_type, "disk_type", write_type(f, d, "raw"),
                           "%s is no %s image: it has no such header", d->path, d->disk_type);
        else if (!given && seen && str_eq(seen, "raw") && !str_eq(d->disk_type, "raw"))
                FILL_ERROR(f, d, path, "disk_type", write_type(f, d, "raw"),
                           "%s is %s by its name, but has no such header", d->path, d->disk_type);
        else if (!given && seen && !str_eq(seen, d->disk_type))
                FILL_ERROR(f, d, path, "disk_type", write_type(f, d, seen),
                           "%s is %s by its name, but begins like %s", d->path, d->disk_type, seen);
}

/* The disk in the same folder whose name is nearest, if it is near at all. Not of /dev itself: there the
 * nearest name is some other disk. */
static const char *nearest_name(struct fill *f, const char *path) {
        const char *slash = strrchr(path, '/');
        _cleanup_free_ char *folder = strndup(path, (size_t) (slash - path));
        _cleanup_host_names_ struct host_names names = { 0 };
        unsigned best = (unsigned) strlen(slash + 1) / 2 + 1;
        const char *found = NULL;

        if (!folder || str_eq(folder, "/dev") || host_names(f->req->host, *folder ? folder : "/", &names) < 0)
                return NULL;
        for (size_t i = 0; i < names.n; i++) {
                unsigned distance = str_distance(names.items[i], slash + 1);
                _cleanup_free_ char *whole = xasprintf("%s/%s", folder, names.items[i]);

                if (distance > 0 && distance < best && def_disk_type_by_name(whole)) {
                        best = distance;
                        found = arena_strdup(f->arena, names.items[i]);
                }
        }
        return found ? arena_printf(f->arena, "%s/%s", folder, found) : NULL;
}

static const char *disks_of_host(struct fill *f) {
        static const char *const no_disks[] = { "loop", "ram", "zram", "dm-", "md" };
        _cleanup_host_names_ struct host_names names = { 0 };
        _cleanup_strbuf_ struct strbuf list = STRBUF_INIT;

        if (host_names(f->req->host, "/sys/block", &names) < 0)
                return NULL;
        for (size_t i = 0; i < names.n && list.len < 200; i++) {
                bool disk = true;

                for (size_t k = 0; k < ARRAY_SIZE(no_disks); k++)
                        disk = disk && !str_starts(names.items[i], no_disks[k]);
                if (disk)
                        strbuf_addf(&list, "%s/dev/%s", list.len ? ", " : "", names.items[i]);
        }
        return list.len ? arena_printf(f->arena, "disks of this host: %s", list.data) : NULL;
}

/* The folder on the way that lets nobody through. */
static const char *closed_folder(struct fill *f, const char *path) {
        _cleanup_free_ char *prefix = xstrdup(path);
        struct host_node node;

        for (char *slash = strrchr(prefix, '/'); slash && slash != prefix; slash = strrchr(prefix, '/')) {
                *slash = '\0';
                if (host_node(f->req->host, prefix, &node) == 0)
                        return arena_strdup(f->arena, prefix);
        }
        return "/";
}

/* What can be done where there is nothing: a folder must be there before a disk can be made in it. */
static const char *make_it(struct fill *f, const struct def_disk *d) {
        const char *parent = arena_strndup(f->arena, d->path, (size_t) (strrchr(d->path, '/') - d->path));
        _cleanup_host_disk_ struct host_disk folder = { 0 };

        if (host_disk(f->req->host, *parent ? parent : "/", &folder) < 0)
                return arena_printf(f->arena, "there is no folder %s", parent);
        if (folder.node.type != 'd')
                return arena_printf(f->arena, "%s is no folder", parent);
        if (d->cdrom)
                return NULL;
        return arena_printf(f->arena, "vore disk create %s SIZE makes an empty one", d->path);
}

static void report_absent(struct fill *f, const struct def_disk *d) {
        _cleanup_free_ char *target = NULL;
        const char *near = nearest_name(f, d->path), *hint;

        if (host_readlink(f->req->host, d->path, &target) >= 0) {
                FILL_ERROR(f, d, path, "path", NULL, "%s is a link to %s, which does not exist", d->path,
                           target);
                return;
        }
        if (near)
                hint = arena_printf(f->arena, "did you mean %s?", near);
        else
                hint = str_starts(d->path, "/dev/") ? disks_of_host(f) : make_it(f, d);
        FILL_ERROR(f, d, path, "path", hint, "%s does not exist", d->path);
}

static void report_unusable(struct fill *f, const struct def_disk *d, int r) {
        if (r == -ENOENT || r == -ENOTDIR)
                report_absent(f, d);
        else if (r == -EACCES)
                FILL_ERROR(f, d, path, "path", NULL,
                           "%s cannot be reached by this user: the folder %s is closed to it", d->path,
                           closed_folder(f, d->path));
        else
                FILL_ERROR(f, d, path, "path", NULL, "%s cannot be used: %s", d->path, strerror(-r));
}

static bool check_kind(struct fill *f, const struct def_disk *d, const struct host_disk *found) {
        static const struct {
                char type;
                const char *name;
        } kinds[] = {
                { 'd', "a folder" }, { 'c', "a character device" }, { 's', "a socket" }, { 'p', "a pipe" }
        };

        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
                if (found->node.type == kinds[i].type) {
                        FILL_ERROR(f, d, path, "path", NULL, "%s is %s, not a disk image or a block device",
                                   d->path, kinds[i].name);
                        return false;
                }
        return true;
}

static void check_access(struct fill *f, const struct def_disk *d, const struct host_disk *found) {
        const struct settings *s = f->req->settings;
        const char *hint =
                s && !s->system ? "vore runs as this user here: the system's daemon may be able to" : NULL;

        if (!found->node.readable)
                FILL_ERROR(f, d, path, "path", hint, "%s may not be read by this user", d->path);
        else if (!d->read_only && !found->node.writable)
                FILL_ERROR(f, d, path, "path", hint ? hint : "write read-only = true if that is enough",
                           "%s may not be written by this user", d->path);
}

static void check_host_use(struct fill *f, const struct def_disk *d, const struct host_disk *found) {
        const char *use = host_disk_use(f->req->host, found, d->read_only, f->arena);

        if (use)
                FILL_ERROR(f, d, path, "path",
                           "a disk that this host uses would be destroyed by a second user",
                           "%s is in use by this host: %s", d->path, use);
}

static void check_other_vms(struct fill *f, const struct def_disk *d, const struct host_disk *found) {
        for (size_t i = 0; i < f->req->n_uses; i++) {
                const struct complete_use *u = &f->req->uses[i];
                _cleanup_host_disk_ struct host_disk other = { 0 };

                if ((d->read_only && u->read_only) || str_eq(u->vm, f->def->machine.name))
                        continue;
                if (!str_eq(u->path, d->path) &&
                    (host_disk(f->req->host, u->path, &other) < 0 || !host_disk_overlap(&other, found)))
                        continue;
                FILL_ERROR(f, d, path, "path",
                           arena_printf(f->arena, "vore stop %s first, or write read-only = true in both",
                                        u->vm),
                           "%s is in use by the machine %s", d->path, u->vm);
                return;
        }
}

static void check_twice(struct fill *f, size_t index, const struct host_disk *found) {
        const struct def_disk *d = &f->def->disk[index], *other;

        for (size_t i = 0; i < index; i++) {
                other = &f->def->disk[i];
                bool same_path = str_eq(d->path, other->path);

                /* Equal names are told where they are read; --cdrom comes later. */
                if ((same_path && !d->cdrom) || (d->read_only && other->read_only))
                        continue;
                if (!found[i].path || !host_disk_overlap(&found[i], &found[index]))
                        continue;
                if (same_path)
                        FILL_ERROR(f, d, path, "path",
                                   arena_printf(f->arena, "with read-only = true for %s it is possible",
                                                other->head.path),
                                   "%s is %s's already, which writes to it", d->path, other->head.path);
                else
                        FILL_ERROR(f, d, path, "path", NULL,
                                   "%s is the same disk as %s of %s, or a part of it", d->path, other->path,
                                   other->head.path);
                return;
        }
}

/* QEMU's drivers for files and for devices refuse each other's. Of what is not there only the name tells. */
static void fill_block(struct def_disk *d, const struct host_disk *found) {
        d->block = found ? found->node.type == 'b' : str_starts(d->path, "/dev/");
        DEF_MARK(d, block, found ? ORIGIN_HOST : ORIGIN_DEFAULT, found ? d->path : "the path's name");
}

static void fill_disk(struct fill *f, size_t index, struct host_disk *found) {
        struct def_disk *d = &f->def->disk[index];

        if (str_empty(d->path))
                return; /* told already: the key is required */
        if (!d->read_only && def_disk_read_only(d)) {
                d->read_only = true;
                DEF_MARK(d, read_only, ORIGIN_DEFAULT, "preset iso");
        }
        int r = host_disk(f->req->host, d->path, &found[index]);
        fill_block(d, r < 0 ? NULL : &found[index]);
        if (r < 0) {
                report_unusable(f, d, r);
                check_type(f, d, NULL);
                return;
        }
        if (!check_kind(f, d, &found[index]))
                return;
        check_type(f, d, found[index].format);
        check_access(f, d, &found[index]);
        check_host_use(f, d, &found[index]);
        check_other_vms(f, d, &found[index]);
        check_twice(f, index, found);
}

void fill_disks(struct fill *f) {
        _cleanup_free_ struct host_disk *found = xcalloc(f->def->n_disk + 1, sizeof(*found));

        for (size_t i = 0; i < f->def->n_disk; i++)
                fill_disk(f, i, found);
        for (size_t i = 0; i < f->def->n_disk; i++)
                host_disk_done(&found[i]);
}
