#include "def/def.h"

#include "base/str.h"
#include "def/internal.h"
#include "def/toml.h"

#include <ctype.h>
#include <errno.h>

int def_parse(struct arena *arena, const char *text, size_t len, const char *directory, unsigned flags,
              struct def **ret, struct diags *diags) {
        struct def *def = arena_new0(arena, struct def, 1);
        const struct schema_input in = {
                .arena = arena,
                .diags = diags,
                .directory = arena_strdup(arena, directory),
                .absolute = flags & DEF_SAVE,
        };
        struct node *root = NULL;

        def->arena = arena;
        def->file = diags->file;
        def->directory = in.directory;
        (void) toml_parse(arena, text, len, &root, diags);
        schema_read(&def_schema, root, def, &in);
        if (root) {
                def_features(def, root, diags);
                def_rules(def, diags);
                if (!(flags & DEF_ALL))
                        schema_check_supported(&def_schema, def, diags);
        }
        diags_sort(diags);
        *ret = def;
        return diags->errors ? -EINVAL : 0;
}

static int first_error(const struct diags *diags, struct error *err) {
        for (size_t i = 0; i < diags->n; i++) {
                const struct diag *d = &diags->items[i];

                if (d->severity == DIAG_ERROR)
                        return error_set(err, -EINVAL, "line %u, column %u: %s%s%s", d->loc.line,
                                         d->loc.column, d->key, *d->key ? ": " : "", d->message);
        }
        return error_set(err, -EINVAL, "it has errors");
}

void def_summary(const struct def *def, struct def_summary *ret) {
        *ret = (struct def_summary){
                .memory = def->machine.memory,
                .vcpus = def->cpu.amount,
                .auto_start = def->machine.auto_start,
        };
        snprintf(ret->name, sizeof(ret->name), "%s", def->machine.name);
        for (size_t i = 0; i < def->n_vfio; i++)
                ret->reserves = ret->reserves || def->vfio[i].reserve;
}

static int summarize(const char *text, size_t len, const char *directory, unsigned flags,
                     struct def_summary *ret, struct error *err) {
        _cleanup_arena_ struct arena *arena = arena_new();
        struct def *def;
        struct diags diags;

        diags_init(&diags, arena, NULL);
        if (def_parse(arena, text, len, directory, flags, &def, &diags) < 0)
                return first_error(&diags, err);
        def_summary(def, ret);
        return 0;
}

int def_summarize(const char *text, size_t len, const char *directory, struct def_summary *ret,
                  struct error *err) {
        return summarize(text, len, directory, 0, ret, err);
}

int def_summarize_saved(const char *text, size_t len, const char *name, struct def_summary *ret,
                        struct error *err) {
        int r = summarize(text, len, "/", DEF_SAVE, ret, err);

        if (r >= 0 && !str_eq(ret->name, name))
                r = error_set(err, -EINVAL, "it is named %s.toml but describes %s", name, ret->name);
        return r;
}

bool def_name_valid(const char *name) {
        size_t n = strlen(name);

        if (n < 1 || n > 64 || !isalnum((unsigned char) name[0]) || (unsigned char) name[0] > 127)
                return false;
        return name[strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")] ==
               '\0';
}

struct def_network *def_add_network(struct def *def) {
        struct arena *arena = def->arena;
        struct def_network *network;

        def->network =
                arena_grow(arena, def->network, def->n_network, def->n_network + 1, sizeof(*def->network));
        network = &def->network[def->n_network];
        schema_defaults(schema_section_find(&def_schema, "network"), network,
                        arena_printf(arena, "network[%zu]", def->n_network), arena);
        def->n_network++;
        return network;
}

struct def_vfio *def_add_vfio(struct def *def, size_t of) {
        struct arena *arena = def->arena;
        struct def_vfio *v, *parent;

        def->vfio = arena_grow(arena, def->vfio, def->n_vfio, def->n_vfio + 1, sizeof(*def->vfio));
        v = &def->vfio[def->n_vfio];
        parent = &def->vfio[of];
        schema_defaults(schema_section_find(&def_schema, "vfio"), v,
                        arena_printf(arena, "vfio[%zu]", def->n_vfio), arena);
        def->n_vfio++;
        v->head.loc = DEF_LOC(parent, group);
        v->along = true;
        v->force = parent->force;
        v->reserve = parent->reserve;
        v->rebind = parent->rebind;
        for (size_t i = 0; i < v->head.schema->n_rows; i++)
                v->head.origins[i].where = arena_printf(arena, "group of %s", parent->head.path);
        return v;
}

struct def_vfio *def_add_attached(struct def *def, const char *address) {
        struct arena *arena = def->arena;
        struct def_vfio *v;

        def->vfio = arena_grow(arena, def->vfio, def->n_vfio, def->n_vfio + 1, sizeof(*def->vfio));
        v = &def->vfio[def->n_vfio];
        schema_defaults(schema_section_find(&def_schema, "vfio"), v,
                        arena_printf(arena, "vfio[%zu]", def->n_vfio), arena);
        def->n_vfio++;
        v->address = arena_strdup(arena, address);
        v->attached = true;
        section_mark_attached(&v->head, offsetof(struct def_vfio, address));
        return v;
}

bool def_disk_read_only(const struct def_disk *disk) {
        return disk->read_only || (str_eq(disk->preset, "iso") && !DEF_GIVEN(disk, read_only));
}

struct def_disk *def_add_cdrom(struct def *def, const char *path) {
        struct arena *arena = def->arena;
        const char *type = def_disk_type_by_name(path);
        struct def_disk *disk;

        def->disk = arena_grow(arena, def->disk, def->n_disk, def->n_disk + 1, sizeof(*def->disk));
        disk = &def->disk[def->n_disk];
        schema_defaults(schema_section_find(&def_schema, "disk"), disk,
                        arena_printf(arena, "disk[%zu]", def->n_disk), arena);
        def->n_disk++;
        disk->preset = "iso";
        disk->path = arena_strdup(arena, path);
        disk->disk_type = type ? type : "raw";
        disk->read_only = true;
        disk->cdrom = true;
        for (size_t i = 0; i < disk->head.schema->n_rows; i++)
                disk->head.origins[i].where = "--cdrom";
        return disk;
}
