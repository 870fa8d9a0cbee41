#include "plan/links.h"

#include "base/file.h"
#include "base/str.h"
#include "host/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* -- disks of other machines --------------------------------------------------------------------------- */

static void other_add(struct links *l, const char *vm, const char *path, bool read_only) {
        struct arena *arena = l->p->arena;

        l->others = arena_grow(arena, l->others, l->n_others, l->n_others + 1, sizeof(*l->others));
        l->others[l->n_others++] =
                (struct complete_use){ arena_strdup(arena, vm), arena_strdup(arena, path), read_only };
}

/* What it says of disks counts, whatever else is wrong with it. */
static void definition_add(struct links *l, int folder, const char *file, const char *directory,
                           const char *name) {
        _cleanup_arena_ struct arena *arena = arena_new();
        _cleanup_free_ char *text = NULL;
        struct def *def = NULL;
        struct diags diags;
        size_t len;

        diags_init(&diags, arena, file);
        if (file_read(folder, file, DEF_SIZE_MAX, &text, &len, NULL) < 0)
                return;
        (void) def_parse(arena, text, len, directory, 0, &def, &diags);
        for (size_t i = 0; def && i < def->n_disk; i++)
                if (!str_empty(def->disk[i].path))
                        other_add(l, name, def->disk[i].path, def_disk_read_only(&def->disk[i]));
}

static void saved_read(struct links *l, const char *path) {
        static const char end[] = ".toml";
        DIR *dir = opendir(path);
        struct dirent *e;

        while (dir && (e = readdir(dir))) {
                if (!str_ends(e->d_name, end))
                        continue;
                _cleanup_free_ char *name = strndup(e->d_name, strlen(e->d_name) - strlen(end));
                if (def_name_valid(name) && !str_eq(name, l->p->name))
                        definition_add(l, dirfd(dir), e->d_name, "/", name);
        }
        if (dir)
                closedir(dir);
}

/* What is loaded, in <runtime>/vm/NAME/: its text, and in its record the folder from which its paths count.
 */
static void loaded_read(struct links *l, const char *path) {
        enum { RECORD_MAX = 1024 * 1024 };
        DIR *dir = opendir(path);
        struct dirent *e;

        while (dir && (e = readdir(dir))) {
                if (!def_name_valid(e->d_name) || str_eq(e->d_name, l->p->name))
                        continue;
                _cleanup_free_ char *record = xasprintf("%s/state.json", e->d_name), *text = NULL,
                                    *file = xasprintf("%s/definition.toml", e->d_name);
                _cleanup_json_ json_t *j = NULL;

                if (file_read(dirfd(dir), record, RECORD_MAX, &text, NULL, NULL) >= 0 &&
                    json_parse(text, strlen(text), &j, NULL) >= 0)
                        definition_add(l, dirfd(dir), file, json_get_str(j, "directory", "/"), e->d_name);
        }
        if (dir)
                closedir(dir);
}

/* Only now: hardly any image names others. */
static void others_read(struct links *l) {
        const struct settings *s = l->req->settings;
        _cleanup_free_ char *saved = s ? xasprintf("%s/definitions", s->vore.state_dir) : NULL,
                            *loaded = s ? xasprintf("%s/vm", s->vore.runtime_dir) : NULL;

        if (l->known)
                return;
        l->known = true;
        for (size_t i = 0; i < l->req->n_uses; i++)
                if (!str_eq(l->req->uses[i].vm, l->p->name))
                        other_add(l, l->req->uses[i].vm, l->req->uses[i].path, l->req->uses[i].read_only);
        if (s) {
                saved_read(l, saved);
                loaded_read(l, loaded);
        }
}

/* Whose disk is it that must not be opened so? */
static const struct complete_use *owner_of(const struct complete_use *uses, size_t n, const struct stat *file,
                                           bool write) {
        struct stat st;

        for (size_t i = 0; i < n; i++)
                if ((write || !uses[i].read_only) && !str_empty(uses[i].path) &&
                    stat(uses[i].path, &st) == 0 && st.st_dev == file->st_dev && st.st_ino == file->st_ino)
                        return &uses[i];
        return NULL;
}

/* -- the rule ------------------------------------------------------------------------------------------ */

static bool same_folder(const char *a, const char *b) {
        const char *end = strrchr(a, '/');
        size_t n = end ? (size_t) (end - a) + 1 : 0;

        return strncmp(a, b, n) == 0 && !strchr(b + n, '/');
}

static int refuse(const struct link *link, const char *what, const char *hint, struct error *err) {
        return error_set(err, -EACCES,
                         "the header of %s names %s, which is %s: vore does not open it for the VM (%s)",
                         link->header, link->path, what, hint);
}

int link_check(struct links *l, const struct link *link, struct error *err) {
        static const char rebase[] = "qemu-img rebase names another",
                          alone[] = "each image needs a data file of its own";
        /* A copy becomes the VM's own, and nobody but its QEMU has files of that number. */
        bool copy = !str_eq(link->image, link->header), beside = same_folder(link->image, link->path);
        const struct complete_use *use;
        struct stat own, other;

        if (stat(link->header, &own) < 0 || stat(link->path, &other) < 0)
                return error_errno(err, errno, "%s, which the image %s needs", link->path, link->header);
        /* Any other name of QEMU's block drivers is that of a filter or a protocol. */
        if (link->format && !host_disk_is_format(link->format))
                return error_set(
                        err, -EOPNOTSUPP,
                        "the header of %s says that %s is \"%.32s\", which is no format of an image: vore "
                        "does not open it for the VM",
                        link->header, link->path, link->format);
        if (S_ISBLK(other.st_mode))
                return refuse(link, "a device", "only a script's own -blockdev may name one as backing", err);
        if (!S_ISREG(other.st_mode))
                return refuse(link, "no disk", rebase, err);
        if ((copy || own.st_uid != other.st_uid) && !(other.st_mode & S_IROTH))
                return refuse(link, "somebody else's", "chown makes it fit, or a name that fits", err);
        if (link->write && !beside)
                return refuse(link, "in another folder", "mv makes it fit", err);
        if (str_eq(link->format, "raw") && !beside && other.st_size % 512 != 0)
                return refuse(link, "no disk", rebase, err);
        use = owner_of(l->p->disks, l->p->n_disks, &other, link->write);
        if (use)
                return refuse(link, "another disk of this machine, too",
                              link->write ? alone :
                                            "with read-only = true for that one it can be a backing file",
                              err);
        others_read(l);
        use = owner_of(l->others, l->n_others, &other, link->write);
        if (use) {
                _cleanup_free_ char *what = xasprintf("a disk of the machine %s", use->vm);
                return refuse(link, what,
                              link->write ? alone : "with read-only = true there it can be a backing file",
                              err);
        }
        return 0;
}
