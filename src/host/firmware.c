#include "host/firmware.h"

#include "base/json.h"
#include "base/str.h"

#include <errno.h>
#include <fnmatch.h>

/* The descriptors that count: file names in order, each with the folder that won. */
struct descriptors {
        struct arena *arena;
        const char **paths;
        size_t n;
};

static const char *base_name(const char *path) {
        return strrchr(path, '/') + 1;
}

static int path_compare(const void *a, const void *b) {
        return strcmp(base_name(*(const char *const *) a), base_name(*(const char *const *) b));
}

static void add_folder(struct descriptors *d, const struct host *h, const char *folder) {
        _cleanup_host_names_ struct host_names names = { 0 };

        if (host_names(h, folder, &names) < 0)
                return;
        for (size_t i = 0; i < names.n; i++) {
                size_t at = 0;

                if (!str_ends(names.items[i], ".json"))
                        continue;
                while (at < d->n && !str_eq(base_name(d->paths[at]), names.items[i]))
                        at++;
                if (at == d->n)
                        d->paths = arena_grow(d->arena, d->paths, d->n, d->n + 1, sizeof(char *));
                d->paths[at] = arena_printf(d->arena, "%s/%s", folder, names.items[i]);
                d->n = MAX(d->n, at + 1);
        }
}

static void list_descriptors(struct descriptors *d, const struct host *h, const char *user_config) {
        add_folder(d, h, "/usr/share/qemu/firmware");
        add_folder(d, h, "/etc/qemu/firmware");
        if (user_config)
                add_folder(d, h, arena_printf(d->arena, "%s/qemu/firmware", user_config));
        if (d->n > 0)
                qsort(d->paths, d->n, sizeof(char *), path_compare);
}

static json_t *load(const struct host *h, const char *path) {
        _cleanup_free_ char *text = NULL;
        json_t *j = NULL;

        /* Empty: it only hides. Not JSON: somebody else's fault, and no reason to find no firmware at all. */
        if (host_read(h, path, &text) < 0 || !*text || json_parse(text, strlen(text), &j, NULL) < 0)
                return NULL;
        return j;
}

static bool has_string(const json_t *array, const char *s) {
        size_t i;
        json_t *v;

        json_array_foreach (array, i, v)
                if (json_is_string(v) && str_eq(json_string_value(v), s))
                        return true;
        return false;
}

/* Descriptors name versioned machines ("pc-q35-*"), definitions mostly QEMU's short names. */
static bool machine_fits(const char *glob, const char *machine) {
        _cleanup_free_ char *x86 = xasprintf("pc-%s-0", str_eq(machine, "pc") ? "i440fx" : machine);
        _cleanup_free_ char *other = xasprintf("%s-0", machine);

        return fnmatch(glob, machine, 0) == 0 || fnmatch(glob, x86, 0) == 0 || fnmatch(glob, other, 0) == 0;
}

static bool target_fits(const json_t *descriptor, const struct host_firmware_want *want) {
        const json_t *targets = json_object_get(descriptor, "targets");
        size_t i, k;
        json_t *t, *m;

        json_array_foreach (targets, i, t) {
                if (!str_eq(json_get_str(t, "architecture", NULL), want->arch))
                        continue;
                json_array_foreach (json_object_get(t, "machines"), k, m)
                        if (json_is_string(m) && machine_fits(json_string_value(m), want->machine))
                                return true;
        }
        return false;
}

/* A flash image with variables beside it; "combined" and "stateless" modes have none. */
static bool has_variables(const json_t *descriptor) {
        const json_t *mapping = json_object_get(descriptor, "mapping");

        return has_string(json_object_get(descriptor, "interface-types"), "uefi") &&
               str_eq(json_get_str(mapping, "device", NULL), "flash") &&
               str_eq(json_get_str(mapping, "mode", "split"), "split") &&
               json_get_str(json_object_get(mapping, "executable"), "filename", NULL) &&
               json_get_str(json_object_get(mapping, "nvram-template"), "filename", NULL);
}

static bool features_fit(const json_t *descriptor, bool secure_boot) {
        const json_t *features = json_object_get(descriptor, "features");

        if (secure_boot)
                return has_string(features, "secure-boot") && has_string(features, "enrolled-keys");
        return !has_string(features, "enrolled-keys") && !has_string(features, "requires-smm");
}

static const char *file_of(const json_t *descriptor, const char *part, const char *key, const char *fallback,
                           struct arena *arena) {
        const json_t *mapping = json_object_get(descriptor, "mapping");

        return arena_strdup(arena, json_get_str(json_object_get(mapping, part), key, fallback));
}

static bool files_there(const struct host *h, const struct host_firmware *f, const char **missing) {
        const char *const files[] = { f->executable, f->nvram_template };

        for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
                struct host_node node;

                if (*files[i] == '/' && host_node(h, files[i], &node) == 0 && node.type == 'f')
                        continue;
                *missing = files[i];
                return false;
        }
        return true;
}

static bool fits(const json_t *j, const struct host_firmware_want *want, const char **nearest) {
        if (!has_variables(j) || !target_fits(j, want))
                return false;
        if (features_fit(j, want->secure_boot))
                return true;
        *nearest = want->secure_boot ? "those that are installed have no Secure Boot with enrolled keys" :
                                       "those that are installed insist on Secure Boot";
        return false;
}

int host_firmware(const struct host *h, const struct host_firmware_want *want, struct arena *arena,
                  struct host_firmware *ret, struct error *err) {
        struct descriptors d = { .arena = arena };
        const char *nearest = "no descriptor in /usr/share/qemu/firmware or /etc/qemu/firmware is for them";

        list_descriptors(&d, h, want->user_config);
        for (size_t i = 0; i < d.n; i++) {
                _cleanup_json_ json_t *j = load(h, d.paths[i]);
                const char *missing;

                if (!j || !fits(j, want, &nearest))
                        continue;
                struct host_firmware f = {
                        .descriptor = d.paths[i],
                        .executable = file_of(j, "executable", "filename", NULL, arena),
                        .format = file_of(j, "executable", "format", "raw", arena),
                        .nvram_template = file_of(j, "nvram-template", "filename", NULL, arena),
                        .nvram_format = file_of(j, "nvram-template", "format", "raw", arena),
                };
                if (files_there(h, &f, &missing)) {
                        *ret = f;
                        return 0;
                }
                nearest = arena_printf(arena, "%s names %s, which is not there", d.paths[i], missing);
        }
        return error_set(err, -ENOENT, "no UEFI firmware for %s machines of type %s: %s", want->arch,
                         want->machine, nearest);
}

int host_firmware_secure(const struct host *h, const char *executable, const char *user_config) {
        _cleanup_arena_ struct arena *arena = arena_new();
        struct descriptors d = { .arena = arena };

        list_descriptors(&d, h, user_config);
        for (size_t i = 0; i < d.n; i++) {
                _cleanup_json_ json_t *j = load(h, d.paths[i]);
                const char *file = j ? file_of(j, "executable", "filename", NULL, arena) : NULL;

                if (str_eq(file, executable) && file)
                        return has_string(json_object_get(j, "features"), "secure-boot");
        }
        return -ENOENT;
}
