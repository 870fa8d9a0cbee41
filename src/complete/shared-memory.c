/* The files behind memory that guest and host share. By default they are in the VM's own folder in /dev/shm,
 * and are made for each start. A path of the user's may be a file, one that is not there yet, or a device of
 * kvmfr. */
#include "complete/fill.h"

#include "base/size.h"
#include "host/kvmfr.h"

#include <errno.h>
#include <inttypes.h>

static const char *own_path(struct fill *f, const char *file) {
        const struct settings *s = f->req->settings;
        const char *name = f->def->machine.name;

        if (!s || str_empty(s->shm_dir) || str_empty(name))
                return NULL;
        return arena_printf(f->arena, "%s/%s/%s", s->shm_dir, name, file);
}

static const char *size_text(struct fill *f, uint64_t bytes) {
        char text[32];

        return arena_strdup(f->arena, size_print(bytes, text));
}

/* -- kvmfr -------------------------------------------------------------------------------------------- */

static bool is_kvmfr_name(const char *path) {
        return str_starts(path, "/dev/kvmfr");
}

static const char *load_module(struct fill *f, uint64_t bytes) {
        return arena_printf(f->arena, "modprobe kvmfr static_size_mb=%" PRIu64,
                            MAX(bytes >> 20, UINT64_C(1)));
}

/* The memory of the device is as large as it is: what the guest sees is all of it, unless the file says
 * otherwise. */
static void fill_kvmfr(struct fill *f) {
        struct def_looking_glass *lg = &f->def->looking_glass;
        uint64_t size;

        lg->kvmfr = true;
        DEF_MARK(lg, kvmfr, ORIGIN_HOST, lg->mem_path);
        if (host_kvmfr_size(f->req->host, lg->mem_path, &size) < 0)
                return; /* not for this user to know */
        if (size < lg->buffer_size) {
                FILL_ERROR(f, lg, mem_path, "mem-path",
                           arena_printf(f->arena, "rmmod kvmfr; %s", load_module(f, lg->buffer_size)),
                           "%s has %s, but %s are needed", lg->mem_path, size_text(f, size),
                           size_text(f, lg->buffer_size));
                return;
        }
        if (DEF_GIVEN(lg, buffer_size))
                return;
        if (size != size_pow2_ceil(size)) {
                FILL_ERROR(f, lg, mem_path, "mem-path",
                           arena_printf(f->arena, "rmmod kvmfr; %s", load_module(f, lg->buffer_size)),
                           "%s has %s, which is no power of two", lg->mem_path, size_text(f, size));
                return;
        }
        lg->buffer_size = size;
        DEF_MARK(lg, buffer_size, ORIGIN_HOST, lg->mem_path);
}

/* -- a path that the file names ------------------------------------------------------------------------ */

/* What a section wants, without its type. */
struct wish {
        struct fill *f;
        const struct section *head;
        size_t path_offset;
        const char *path;
        uint64_t size;
        bool kvmfr; /* a device of kvmfr will do */
};

static void complain(const struct wish *w, const char *hint, const char *fmt, ...) _printf_(3, 4);
static void complain(const struct wish *w, const char *hint, const char *fmt, ...) {
        _cleanup_free_ char *text = NULL;
        va_list ap;

        va_start(ap, fmt);
        int n = vasprintf(&text, fmt, ap);
        va_end(ap);
        if (n < 0)
                return;
        diag_error(w->f->diags, section_loc(w->head, w->path_offset),
                   section_key(w->f->arena, w->head, "mem-path"), hint, "%s", text);
}

static void check_absent(const struct wish *w) {
        const char *folder = arena_strndup(w->f->arena, w->path, (size_t) (strrchr(w->path, '/') - w->path));
        struct host_node node;

        if (w->kvmfr && is_kvmfr_name(w->path))
                complain(w, load_module(w->f, w->size), "there is no %s: the module kvmfr is not loaded",
                         w->path);
        else if (*folder && (host_node(w->f->req->host, folder, &node) < 0 || node.type != 'd'))
                complain(w, NULL, "there is no folder %s to make it in", folder);
}

static const char *kind_of(const struct host_node *node) {
        static const struct {
                char type;
                const char *name;
        } kinds[] = {
                { 'd', "a folder" }, { 'b', "a block device" }, { 'c', "a character device" },
                { 's', "a socket" }, { 'p', "a pipe" },         { 'f', "a regular file" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
                if (kinds[i].type == node->type)
                        return kinds[i].name;
        return "something else";
}

static void check_file(const struct wish *w, const struct host_node *node) {
        const struct settings *s = w->f->req->settings;

        if (node->size < w->size)
                complain(w, "name a file that is not there: it is made with the right size at each start",
                         "%s has %" PRIu64 " bytes, but %" PRIu64 " are needed", w->path, node->size,
                         w->size);
        else if (s && !s->system && (!node->readable || !node->writable))
                complain(w, NULL, "%s may not be read and written by this user", w->path);
}

/* Is it a device of kvmfr? */
static bool check_path(const struct wish *w) {
        struct host_node node;
        int r = host_node(w->f->req->host, w->path, &node);

        if (r == -ENOENT)
                check_absent(w);
        else if (r < 0)
                complain(w, NULL, "%s cannot be looked at: %s", w->path, strerror(-r));
        else if (w->kvmfr && host_is_kvmfr(w->f->req->host, &node))
                return true;
        else if (w->kvmfr && is_kvmfr_name(w->path))
                complain(w,
                         arena_printf(w->f->arena, "%s%s", node.type == 'f' ? "remove it, then: " : "",
                                      load_module(w->f, w->size)),
                         "%s is %s, not a device of the module kvmfr%s", w->path, kind_of(&node),
                         node.type == 'f' ? " (QEMU makes such a file when the module is not loaded)" : "");
        else if (node.type != 'f')
                complain(w, NULL, "%s is %s, not a file%s", w->path, kind_of(&node),
                         w->kvmfr ? ", nor a device of the module kvmfr" : "");
        else
                check_file(w, &node);
        return false;
}

static void fill_looking_glass(struct fill *f) {
        struct def_looking_glass *lg = &f->def->looking_glass;
        const char *own = own_path(f, "looking-glass");

        if (str_empty(lg->mem_path)) {
                lg->mem_path = own;
                DEF_MARK(lg, mem_path, ORIGIN_DEFAULT, "the VM's shared memory folder");
        } else if (!str_eq(lg->mem_path, own)) {
                const struct wish wish = { f,
                                           &lg->head,
                                           offsetof(struct def_looking_glass, mem_path),
                                           lg->mem_path,
                                           lg->buffer_size,
                                           true };
                if (check_path(&wish))
                        fill_kvmfr(f);
        }
}

static void fill_scream(struct fill *f) {
        struct def_scream *s = &f->def->scream;
        const char *own = own_path(f, "scream");

        if (str_empty(s->mem_path)) {
                s->mem_path = own;
                DEF_MARK(s, mem_path, ORIGIN_DEFAULT, "the VM's shared memory folder");
        } else if (!str_eq(s->mem_path, own)) {
                const struct wish wish = { f,           &s->head,       offsetof(struct def_scream, mem_path),
                                           s->mem_path, s->buffer_size, false };
                (void) check_path(&wish);
        }
}

void fill_shared_memory(struct fill *f) {
        if (f->def->looking_glass.enabled)
                fill_looking_glass(f);
        if (f->def->scream.enabled)
                fill_scream(f);
}
