#include "plan/handover.h"

#include "base/str.h"
#include "plan/image.h"
#include "plan/links.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHAIN_MAX = 32, FILES_MAX = 256 };

struct handover {
        struct plan *p;
        struct argv *args;
        const char *instance_dir;
        json_t *nodes; /* node name -> path of its file */
        int next_fd, next_set;
        const char *image; /* in the arena: whose chain was built last */
        struct links links;
        bool drive; /* of -drive, whose nodes are all "auto-read-only" (QEMU's blockdev.c) */
};

/* How QEMU opens a file. Of AUTO it tries both, one after the other, and is content with reading. */
enum access { READ, WRITE, AUTO };

static int file_add(struct handover *h, const char *path, int set, int flags) {
        struct plan *p = h->p;

        if (p->n_files >= FILES_MAX)
                return -E2BIG;
        p->files = arena_grow(p->arena, p->files, p->n_files, p->n_files + 1, sizeof(*p->files));
        p->files[p->n_files++] = (struct plan_file){
                .path = arena_strdup(p->arena, path), .fd = h->next_fd, .set = set, .flags = flags
        };
        return h->next_fd++;
}

static bool is_block_device(const char *path) {
        struct stat st;

        return stat(path, &st) == 0 && S_ISBLK(st.st_mode);
}

/* Gives path a set of its own; the name that QEMU knows it by. */
static int fdset_add(struct handover *h, const char *path, enum access access, char **ret,
                     struct error *err) {
        /* Two machines may read one device; to write it takes it for oneself. */
        int set = h->next_set++, excl = access != READ && is_block_device(path) ? O_EXCL : 0;

        if (file_add(h, path, set, (access == READ ? O_RDONLY : O_RDWR) | excl) < 0 ||
            (access == AUTO && file_add(h, path, set, O_RDONLY) < 0))
                return error_set(err, -E2BIG, "more than %d files in the arguments", FILES_MAX);
        *ret = xasprintf("/dev/fdset/%d", set);
        return 0;
}

static bool is_image_path(const char *path) {
        return path && *path == '/' && !str_starts(path, "/dev/fdset/");
}

static int chain_build(struct handover *h, const char *path, unsigned depth, json_t *node, struct error *err);

/* {"driver": format, "read-only": true, "file": {…}} for one backing file and all below it. */
static int backing_build(struct handover *h, const char *path, const char *format, unsigned depth,
                         json_t **ret, struct error *err) {
        _cleanup_json_ json_t *node = json_object();
        _cleanup_free_ char *fdset = NULL;
        int r = fdset_add(h, path, READ, &fdset, err);

        if (r >= 0 && str_eq(format, "vmdk"))
                r = image_vmdk_check(path, err);
        if (r < 0)
                return r;
        json_t *file = json_object();
        json_put_str(file, "driver", "file");
        json_put_str(file, "filename", fdset);
        json_put_bool(file, "read-only", true);
        json_put_str(node, "driver", format);
        json_put_bool(node, "read-only", true);
        json_put(node, "file", file);
        if (str_eq(format, "qcow2")) {
                r = chain_build(h, path, depth + 1, node, err);
                if (r < 0)
                        return r;
        }
        *ret = TAKE_PTR(node);
        return 0;
}

/* The template of which path is, or is to be, the VM's own copy; NULL: it is none. */
static const char *template_of(const struct handover *h, const char *path) {
        const char *target = plan_below(h->instance_dir, path);

        for (size_t i = 0; target && i < h->p->n_copies; i++)
                if (str_eq(h->p->copies[i].target, target))
                        return h->p->copies[i].source;
        return NULL;
}

/* The header of a copy that the start is going to make is still its template's. */
static const char *header_of(const struct handover *h, const char *path) {
        const char *template = template_of(h, path);

        return template && access(path, F_OK) < 0 ? template : path;
}

/* Adds "backing" and "data-file" to node, the qcow2 format node over path, as its header says. */
static int chain_build(struct handover *h, const char *path, unsigned depth, json_t *node,
                       struct error *err) {
        _cleanup_(image_links_done) struct image_links links = { 0 };

        if (depth > CHAIN_MAX)
                return error_set(err, -ELOOP, "%s has more than %d backing files", path, CHAIN_MAX);
        const char *header = header_of(h, path);
        int r = image_links_read(header, &links, err);
        if (r < 0)
                return r;
        if (header != path && links.relative)
                return error_set(
                        err, -EOPNOTSUPP,
                        "%s names another file from its folder on, where its copy %s will not be: qemu-img "
                        "rebase -u -b writes the whole path",
                        header, path);
        if (links.data_file && !json_object_get(node, "data-file")) {
                _cleanup_free_ char *fdset = NULL;
                bool write = !json_get_bool(node, "read-only", false);
                struct link link = { path, header, links.data_file, NULL, write };

                r = link_check(&h->links, &link, err);
                if (r < 0)
                        return r;
                r = fdset_add(h, links.data_file, write ? WRITE : READ, &fdset, err);
                if (r < 0)
                        return r;
                json_put(node, "data-file",
                         json_pack("{s:s, s:s, s:b}", "driver", "file", "filename", fdset, "read-only",
                                   !write));
        }
        if (!links.backing || json_object_get(node, "backing"))
                return 0;
        if (!links.backing_format)
                return error_set(err, -EINVAL,
                                 "%s does not say which format its backing file %s has, and formats are not "
                                 "guessed: write it with qemu-img rebase -u -F FORMAT -b %s %s",
                                 header, links.backing, links.backing, header);
        json_t *backing = NULL;
        struct link link = { path, header, links.backing, links.backing_format, false };
        r = link_check(&h->links, &link, err);
        if (r < 0)
                return r;
        r = backing_build(h, links.backing, links.backing_format, depth, &backing, err);
        if (r < 0)
                return r;
        json_put(node, "backing", backing);
        return 0;
}

/* A copy is never made anew, but its template may have another format by now: the distribution's UEFI
 * variables, say. A guest writes into its copy, so what that begins with is never believed, only compared. */
static int copy_check(const struct handover *h, const char *image, const char *format, struct error *err) {
        const char *template = template_of(h, image);
        bool qcow2 = str_eq(format, "qcow2");

        if (!template || access(image, F_OK) < 0 || (!qcow2 && !str_eq(format, "raw")) ||
            image_is_qcow2(image) == qcow2)
                return 0;
        return error_set(
                err, -EINVAL,
                "%s, the VM's own copy of %s, is %s qcow2 image, and that is %s by now: convert it with "
                "qemu-img convert -O %s, or remove it, and the next start makes it anew (without what the "
                "guest has written there)",
                image, template, qcow2 ? "no" : "a", qcow2 ? "one" : "none", format);
}

/* What is behind an image of that format: a qcow2's other files are handed over with it; other formats have
 * to do without. */
static int image_build(struct handover *h, const char *image, const char *format, json_t *node,
                       struct error *err) {
        int r = copy_check(h, image, format, err);

        h->image = arena_strdup(h->p->arena, image);
        if (r < 0)
                return r;
        if (str_eq(format, "qcow2"))
                return chain_build(h, image, 0, node, err);
        return str_eq(format, "vmdk") ? image_vmdk_check(image, err) : 0;
}

/* -- -blockdev as JSON ------------------------------------------------------------------------- */

static const char *node_path(struct handover *h, const json_t *file) {
        if (json_is_string(file))
                return json_get_str(h->nodes, json_string_value(file), NULL);
        /* Through filters: throttle, copy-on-read, … */
        const char *filename = json_get_str(file, "filename", NULL);
        return filename || !json_is_object(file) ? filename : node_path(h, json_object_get(file, "file"));
}

/* As the node itself says, else as the one that it is written in does (QEMU's bdrv_inherited_options). */
static enum access node_access(const json_t *node, enum access outer) {
        bool read_only = json_get_bool(node, "read-only", outer == READ);

        return read_only ? READ : json_get_bool(node, "auto-read-only", outer == AUTO) ? AUTO : WRITE;
}

static int node_file(struct handover *h, json_t *node, enum access access, struct error *err) {
        const char *filename = json_get_str(node, "filename", NULL);
        const char *name = json_get_str(node, "node-name", NULL);
        _cleanup_free_ char *fdset = NULL;

        if (!is_image_path(filename))
                return 0;
        if (name)
                json_put_str(h->nodes, name, filename);
        int r = fdset_add(h, filename, access, &fdset, err);
        if (r >= 0)
                json_put_str(node, "filename", fdset);
        return r;
}

static int blockdev_object(struct handover *h, json_t *node, enum access outer, struct error *err) {
        const char *of = node_path(h, json_object_get(node, "file")), *key;
        _cleanup_free_ char *image = is_image_path(of) ? xstrdup(of) : NULL;
        enum access access = node_access(node, outer);
        json_t *child;
        void *next;
        int r = node_file(h, node, access, err);

        json_object_foreach_safe (node, next, key, child) {
                if (r >= 0 && json_is_object(child))
                        r = blockdev_object(h, child, str_eq(key, "backing") ? READ : access, err);
        }
        return r < 0 || !image ? r : image_build(h, image, json_get_str(node, "driver", NULL), node, err);
}

/* -- key=value: -drive, and -blockdev as a person writes it ------------------------------------ */

static void flatten(json_t *flat, const char *prefix, const json_t *node) {
        const char *key;
        json_t *value;

        json_object_foreach ((json_t *) node, key, value) {
                _cleanup_free_ char *full = xasprintf("%s.%s", prefix, key);

                if (json_is_object(value))
                        flatten(flat, full, value);
                else if (json_is_boolean(value))
                        json_put_str(flat, full, json_is_true(value) ? "on" : "off");
                else
                        json_put_str(flat, full, json_string_value(value));
        }
}

static bool flat_on(const json_t *flat, const char *key) {
        const char *v = json_get_str(flat, key, "off");

        return str_eq(v, "on") || str_eq(v, "true") || json_is_true(json_object_get(flat, key));
}

static int flat_chain(struct handover *h, json_t *flat, const char *image, const char *format, bool write,
                      struct error *err) {
        _cleanup_json_ json_t *node = json_pack("{s:b}", "read-only", !write);

        if (json_object_get(flat, "backing") || json_object_get(flat, "backing.driver"))
                return 0;
        int r = image_build(h, image, format, node, err);
        if (r < 0)
                return r;
        const char *key;
        json_t *value;
        json_object_foreach (node, key, value)
                flatten(flat, key, value);
        return 0;
}

char *handover_keyval_text(const json_t *flat) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        const char *key;
        json_t *value;

        json_object_foreach ((json_t *) flat, key, value) {
                _cleanup_free_ char *escaped = argv_escape(json_is_string(value) ? json_string_value(value) :
                                                           json_is_false(value)  ? "off" :
                                                                                   "on");
                strbuf_addf(&b, "%s%s=%s", b.len ? "," : "", key, escaped);
        }
        return strbuf_take(&b);
}

/* A disk of the definition that is only read, whatever the script says: a CD-ROM on a read-only file system.
 */
static bool only_read(const struct plan *p, const char *path) {
        for (size_t i = 0; i < p->n_disks; i++)
                if (p->disks[i].read_only && str_eq(p->disks[i].path, path))
                        return true;
        return false;
}

static enum access flat_access(const struct handover *h, bool write, const json_t *flat, const char *path) {
        if (!write || (h->drive && only_read(h->p, path)))
                return READ;
        return h->drive || flat_on(flat, "auto-read-only") ? AUTO : WRITE;
}

/* key holds a path in flat: hands it over. *ret_image (owned): the path, if the image may have a chain. */
static int flat_file(struct handover *h, json_t *flat, const char *key, bool write, char **ret_image,
                     struct error *err) {
        const char *value = json_get_str(flat, key, NULL);
        _cleanup_free_ char *path = is_image_path(value) ? xstrdup(value) : NULL, *fdset = NULL;

        if (!path)
                return 0;
        int r = fdset_add(h, path, flat_access(h, write, flat, path), &fdset, err);
        if (r < 0)
                return r;
        /* QEMU tells a device from a file by the path, which a set does not have. */
        if (str_eq(key, "file") && h->drive && is_block_device(path)) {
                json_object_del(flat, key);
                json_put_str(flat, "file.driver", "host_device");
                key = "file.filename";
        }
        json_put_str(flat, key, fdset);
        *ret_image = TAKE_PTR(path);
        return 0;
}

static int keyval_rewrite(struct handover *h, const char *text, char **ret, struct error *err) {
        static const char *const file_keys[] = { "file", "filename", "file.filename", "file.file.filename" };
        _cleanup_json_ json_t *flat = NULL;
        int r = argv_parse_keyval(text, NULL, &flat, err);

        if (r < 0)
                return r;
        const char *named = json_get_str(flat, "format", json_get_str(flat, "driver", NULL));
        _cleanup_free_ char *format = xstrdup(named ? named : "");
        bool write = !flat_on(flat, "readonly") && !flat_on(flat, "read-only") &&
                     !str_eq(json_get_str(flat, "media", NULL), "cdrom");
        const char *reference = h->drive ? NULL : node_path(h, json_object_get(flat, "file"));
        _cleanup_free_ char *image = reference ? xstrdup(reference) : NULL;

        for (size_t i = 0; i < ARRAY_SIZE(file_keys); i++) {
                _cleanup_free_ char *found = NULL;

                r = flat_file(h, flat, file_keys[i], write, &found, err);
                if (r < 0)
                        return r;
                if (!found)
                        continue;
                const char *name = json_get_str(flat, "node-name", NULL);
                if (name && !h->drive)
                        json_put_str(h->nodes, name, found);
                free(image);
                image = TAKE_PTR(found);
        }
        bool written = image && flat_access(h, write, flat, image) != READ;
        r = image ? flat_chain(h, flat, image, format, written, err) : 0;
        if (r < 0)
                return r;
        *ret = handover_keyval_text(flat);
        return 0;
}

/* Which disk of the definition has the image that was looked at last? Its number from 1; 0: none. */
static size_t disk_of_error(const struct handover *h) {
        for (size_t i = 0; h->image && i < h->p->n_disks; i++)
                if (str_eq(h->p->disks[i].path, h->image))
                        return i + 1;
        return 0;
}

static int block_rewrite(struct handover *h, char **arg, struct error *err) {
        _cleanup_json_ json_t *node = NULL;
        char *text = NULL;
        int r;

        h->image = NULL;
        if (**arg == '{') {
                r = json_parse(*arg, strlen(*arg), &node, err);
                if (r >= 0)
                        r = blockdev_object(h, node, WRITE, err);
                if (r >= 0)
                        text = json_text(node);
        } else
                r = keyval_rewrite(h, *arg, &text, err);
        if (r < 0) {
                h->p->bad_disk = disk_of_error(h);
                return h->p->bad_disk ? r : error_prefix(err, "the argument %s", *arg);
        }
        free(*arg);
        *arg = text;
        return 0;
}

/* -- the rest ----------------------------------------------------------------------------------- */

static bool takes_no_path(const char *option) {
        return str_eq(option, "-append") || str_eq(option, "-name") || str_eq(option, "-add-fd");
}

static bool is_block_option(const char *option) {
        return str_eq(option, "-drive") || str_eq(option, "-blockdev");
}

typedef void (*path_fn)(struct plan *p, const char *path);

static void json_paths(struct plan *p, const json_t *value, path_fn fn) {
        const char *key;
        json_t *child;
        size_t i;

        if (json_is_string(value) && json_string_value(value)[0] == '/')
                fn(p, json_string_value(value));
        json_object_foreach ((json_t *) value, key, child)
                json_paths(p, child, fn);
        json_array_foreach (value, i, child)
                json_paths(p, child, fn);
}

static void arg_paths(struct plan *p, const char *arg, path_fn fn) {
        _cleanup_json_ json_t *value = NULL;

        if (*arg == '/')
                fn(p, arg);
        else if (*arg == '{' && json_parse(arg, strlen(arg), &value, NULL) >= 0)
                json_paths(p, value, fn);
        else if (*arg != '-' && *arg != '{' && strchr(arg, '=') &&
                 argv_parse_keyval(arg, NULL, &value, NULL) >= 0)
                json_paths(p, value, fn);
}

/* items[0] is the binary. */
static void all_paths(struct plan *p, const struct argv *args, path_fn fn) {
        for (size_t i = 1; i < args->n; i++)
                if (!takes_no_path(args->items[i - 1]))
                        arg_paths(p, args->items[i], fn);
}

static void note_reach(struct plan *p, const char *path) {
        struct stat st;

        if (str_starts(path, "/proc/self/fd/") || str_starts(path, "/dev/fdset/") || stat(path, &st) < 0)
                return;
        if (str_starts(path, "/dev/") && S_ISCHR(st.st_mode))
                return;
        p->reach = arena_grow(p->arena, p->reach, p->n_reach, p->n_reach + 1, sizeof(*p->reach));
        p->reach[p->n_reach++] = arena_strdup(p->arena, path);
}

static void note_node(struct plan *p, const char *path) {
        struct stat st;

        if (!str_starts(path, "/dev/") || stat(path, &st) < 0 || !S_ISCHR(st.st_mode))
                return;
        p->allows = arena_grow(p->arena, p->allows, p->n_allows, p->n_allows + 1, sizeof(*p->allows));
        p->allows[p->n_allows++] = (struct script_allow){ arena_strdup(p->arena, path), true };
}

void handover_nodes(struct plan *p, const struct argv *args) {
        all_paths(p, args, note_node);
        if (p->kvm)
                note_node(p, "/dev/kvm");
}

/* folder/… in arg becomes /proc/self/fd/N/…, as often as it is there. */
static void folder_replace(struct handover *h, char **arg, const char *folder, const char *instance_dir,
                           int *fd) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        const char *rest = *arg, *at;

        while ((at = strstr(rest, folder))) {
                bool begins = at == *arg || strchr("=\":", at[-1]);

                if (begins && *fd < 0)
                        *fd = file_add(h, instance_dir, 0, O_RDONLY | O_DIRECTORY);
                if (begins && *fd < 0)
                        return;
                strbuf_addn(&b, rest, (size_t) (at - rest));
                if (begins)
                        strbuf_addf(&b, "/proc/self/fd/%d/", *fd);
                else
                        strbuf_add(&b, folder);
                rest = at + strlen(folder);
        }
        if (rest == *arg)
                return;
        strbuf_add(&b, rest);
        free(*arg);
        *arg = strbuf_take(&b);
}

/* Paths in the instance folder: through its descriptor QEMU needs no way through the folders above. */
static void instance_rewrite(struct handover *h, const char *instance_dir) {
        _cleanup_free_ char *folder = xasprintf("%s/", instance_dir), *escaped = argv_escape(folder);
        int fd = -1;

        for (size_t i = 1; i < h->args->n; i++) {
                if (takes_no_path(h->args->items[i - 1]))
                        continue;
                folder_replace(h, &h->args->items[i], folder, instance_dir, &fd);
                if (!str_eq(folder, escaped))
                        folder_replace(h, &h->args->items[i], escaped, instance_dir, &fd);
        }
}

int handover(struct plan *p, struct argv *args, const char *instance_dir, const struct plan_request *req,
             struct error *err) {
        _cleanup_json_ json_t *nodes = json_object();
        struct handover h = { .p = p,
                              .args = args,
                              .instance_dir = instance_dir,
                              .nodes = nodes,
                              .links = { .p = p, .req = req },
                              .next_fd = PLAN_FD_FILES + (int) p->n_files,
                              .next_set = 1 };

        for (size_t i = 1; i < args->n; i++) {
                if (!is_block_option(args->items[i - 1]))
                        continue;
                h.drive = str_eq(args->items[i - 1], "-drive");
                int r = block_rewrite(&h, &args->items[i], err);
                if (r < 0)
                        return r;
        }
        instance_rewrite(&h, instance_dir);
        for (size_t i = 0; i < p->n_files; i++)
                if (p->files[i].set) {
                        argv_add(args, "-add-fd");
                        argv_addf(args, "fd=%d,set=%d", p->files[i].fd, p->files[i].set);
                }
        all_paths(p, args, note_reach);
        return 0;
}

void handover_uses(struct plan *p, const char *instance_dir) {
        for (size_t i = 0; i < p->n_files; i++) {
                const struct plan_file *f = &p->files[i];
                bool known = f->set == 0 || plan_below(instance_dir, f->path);

                for (size_t k = 0; k < p->n_disks && !known; k++)
                        known = str_eq(p->disks[k].path, f->path);
                if (known)
                        continue;
                p->disks = arena_grow(p->arena, p->disks, p->n_disks, p->n_disks + 1, sizeof(*p->disks));
                p->disks[p->n_disks++] =
                        (struct complete_use){ p->name, f->path, (f->flags & O_ACCMODE) == O_RDONLY };
        }
}

/* The path behind a name that begins with one of these and a number; *ret_end: behind the number. */
static const char *path_of(const struct plan *p, const char *at, const char **ret_end) {
        static const char set_name[] = "/dev/fdset/", fd_name[] = "/proc/self/fd/";
        bool set = str_starts(at, set_name);

        if (!set && !str_starts(at, fd_name))
                return NULL;
        char *end;
        long number = strtol(at + strlen(set ? set_name : fd_name), &end, 10);
        *ret_end = end;
        for (size_t i = 0; i < p->n_files; i++)
                if (set ? p->files[i].set == number : p->files[i].set == 0 && p->files[i].fd == number)
                        return p->files[i].path;
        return NULL;
}

char *handover_readable(const struct plan *p, const char *text) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

        while (*text) {
                const char *end, *path = *text == '/' ? path_of(p, text, &end) : NULL;

                if (path) {
                        strbuf_add(&b, path);
                        text = end;
                } else
                        strbuf_addn(&b, text++, 1);
        }
        return b.len ? strbuf_take(&b) : xstrdup("");
}
