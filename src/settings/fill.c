#include "settings/internal.h"

#include "base/log.h"
#include "base/str.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

int settings_absolute(struct arena *arena, const char *path, const char **ret, struct error *err) {
        _cleanup_free_ char *cwd = NULL;

        if (*path == '/') {
                *ret = arena_strdup(arena, path);
                return 0;
        }
        cwd = getcwd(NULL, 0);
        if (!cwd)
                return error_errno(err, -errno, "the current folder has no name, so \"%s\" has none", path);
        *ret = arena_printf(arena, "%s/%s", str_eq(cwd, "/") ? "" : cwd, path);
        return 0;
}

static int fill_options(struct arena *arena, struct settings_vore *v, const struct settings_options *o,
                        struct error *err) {
        const struct {
                const char *name, *value;
                size_t offset;
        } paths[] = {
                { "--state-dir", o->state_dir, offsetof(struct settings_vore, state_dir) },
                { "--runtime-dir", o->runtime_dir, offsetof(struct settings_vore, runtime_dir) },
                { "--socket", o->socket, offsetof(struct settings_vore, socket) },
        };
        enum log_level level;

        for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
                if (!paths[i].value)
                        continue;
                if (!*paths[i].value)
                        return error_set(err, -EINVAL, "%s: must not be empty", paths[i].name);
                int r = settings_absolute(arena, paths[i].value,
                                          (const char **) ((char *) v + paths[i].offset), err);
                if (r < 0)
                        return r;
                section_mark(&v->head, paths[i].offset, ORIGIN_HOST, paths[i].name);
        }
        if (o->runtime_dir && !o->socket) /* also beside a socket of the file: options beat it */
                v->socket = NULL;
        if (!o->log_level)
                return 0;
        if (log_level_parse(o->log_level, &level) < 0)
                return error_set(err, -EINVAL,
                                 "--log-level: must be error, warning, info or debug, not \"%s\"",
                                 o->log_level);
        v->log_level = arena_strdup(arena, o->log_level);
        section_mark(&v->head, offsetof(struct settings_vore, log_level), ORIGIN_HOST, "--log-level");
        return 0;
}

/* A folder in /tmp that somebody else made would hand them our sockets. */
static int check_tmp(const char *path, struct error *err) {
        struct stat st;

        if (!str_starts(path, "/tmp/vore-") || lstat(path, &st) < 0)
                return 0;
        if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid())
                return error_set(err, -EPERM, "%s was made by somebody else (uid %u): set XDG_RUNTIME_DIR",
                                 path, (unsigned) st.st_uid);
        if (st.st_mode & 077)
                return error_set(err, -EPERM, "%s can be used by others (mode %03o): chmod 700 it", path,
                                 (unsigned) st.st_mode & 0777);
        return 0;
}

int settings_fill(struct arena *arena, struct settings *s, const struct settings_options *o,
                  struct error *err) {
        struct settings_vore *v = &s->vore;
        int r = fill_options(arena, v, o, err);

        if (r < 0)
                return r;
        if (v->state_dir)
                s->log_dir = arena_printf(arena, "%s/log", v->state_dir);
        else {
                v->state_dir =
                        s->system ? "/var/lib/vore" : arena_printf(arena, "%s/vore", xdg_state_home(arena));
                s->log_dir = s->system ? "/var/log/vore" : arena_printf(arena, "%s/log", v->state_dir);
        }
        if (!v->runtime_dir && s->system)
                v->runtime_dir = "/run/vore";
        else if (!v->runtime_dir) {
                const char *base = xdg_runtime_dir(arena);

                r = check_tmp(base, err);
                if (r < 0)
                        return r;
                v->runtime_dir = arena_printf(arena, "%s/vore", base);
        }
        if (!v->socket)
                v->socket = arena_printf(arena, "%s/vored.sock", v->runtime_dir);
        s->shm_dir =
                s->system ? "/dev/shm/vore" : arena_printf(arena, "/dev/shm/vore-%u", (unsigned) geteuid());
        s->cache_dir = s->system ? arena_printf(arena, "%s/cache", v->state_dir) :
                                   arena_printf(arena, "%s/vore", xdg_cache_home(arena));
        return 0;
}
