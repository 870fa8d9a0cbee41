#include "settings/settings.h"

#include "base/file.h"
#include "base/str.h"
#include "def/def.h"
#include "def/toml.h"
#include "settings/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* The path of vored.toml: absolute, whether it exists or not. */
static int config_path(struct arena *arena, const struct settings_options *o, bool system, const char **ret,
                       struct error *err) {
        if (o->config)
                return settings_absolute(arena, o->config, ret, err);
        *ret = system ? "/etc/vore/vored.toml" :
                        arena_printf(arena, "%s/vore/vored.toml", xdg_config_home(arena));
        return 0;
}

static const char *directory_of(struct arena *arena, const char *path) {
        const char *slash = strrchr(path, '/');

        return slash == path ? "/" : arena_strndup(arena, path, (size_t) (slash - path));
}

/* The text, or NULL where a missing file means defaults. */
static int config_read(const char *path, bool named, char **ret, size_t *ret_len, struct error *err) {
        int r = file_read(AT_FDCWD, path, DEF_SIZE_MAX, ret, ret_len, err);

        if ((r != -ENOENT && r != -ENOTDIR) || named)
                return r;
        error_done(err);
        *ret = NULL;
        return 0;
}

int settings_load(struct arena *arena, const struct settings_options *options, struct settings **ret,
                  struct diags *diags, struct error *err) {
        static const struct settings_options none;
        const struct settings_options *o = options ? options : &none;
        struct settings *s = arena_new0(arena, struct settings, 1);
        _cleanup_free_ char *text = NULL;
        struct node *root = NULL;
        const char *path = NULL;
        size_t len = 0;
        int r;

        s->system = geteuid() == 0;
        r = config_path(arena, o, s->system, &path, err);
        if (r < 0)
                return r;
        r = config_read(path, o->config != NULL, &text, &len, err);
        if (r < 0)
                return r;
        diags->file = arena_strdup(diags->arena, path);
        if (text) {
                s->file = path;
                if (toml_parse(arena, text, len, &root, diags) < 0)
                        return error_set(err, -EINVAL, "%s: is not valid", path);
        }

        const struct schema_input in = { .arena = arena,
                                         .diags = diags,
                                         .directory = directory_of(arena, path) };

        schema_read(&settings_schema, root, s, &in);
        r = settings_fill(arena, s, o, err);
        if (r < 0)
                return r;
        settings_rules(s, in.directory, diags);
        diags_sort(diags);
        if (diags->errors)
                return error_set(err, -EINVAL, "%s: is not valid", path);
        *ret = s;
        return 0;
}

const struct settings_uefi *settings_uefi_find(const struct settings *s, const char *name) {
        for (size_t i = 0; i < s->n_uefi; i++)
                if (str_eq(s->uefi[i].name, name))
                        return &s->uefi[i];
        return NULL;
}

json_t *settings_to_json(const struct settings *s) {
        json_t *all = json_object();

        for (size_t i = 0; i < settings_schema.n_sections; i++) {
                const struct schema_section *section = &settings_schema.sections[i];

                json_put(all, section->name, schema_to_json(section, s, s->file, SCHEMA_JSON_LUA));
        }
        return all;
}
