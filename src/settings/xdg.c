#include "settings/internal.h"

#include "base/str.h"

#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *home(struct arena *arena) {
        const char *env = getenv("HOME");
        const struct passwd *pw;

        if (env && *env == '/')
                return arena_strdup(arena, env);
        pw = getpwuid(geteuid());
        return pw && pw->pw_dir && *pw->pw_dir == '/' ? arena_strdup(arena, pw->pw_dir) : "/";
}

static const char *xdg(struct arena *arena, const char *variable, const char *fallback) {
        const char *env = getenv(variable);

        return env && *env == '/' ? arena_strdup(arena, env) :
                                    arena_printf(arena, "%s/%s", home(arena), fallback);
}

const char *xdg_config_home(struct arena *arena) {
        return xdg(arena, "XDG_CONFIG_HOME", ".config");
}

const char *xdg_state_home(struct arena *arena) {
        return xdg(arena, "XDG_STATE_HOME", ".local/state");
}

const char *xdg_cache_home(struct arena *arena) {
        return xdg(arena, "XDG_CACHE_HOME", ".cache");
}

const char *xdg_runtime_dir(struct arena *arena) {
        const char *env = getenv("XDG_RUNTIME_DIR"), *path;
        struct stat st;

        if (env && *env == '/')
                return arena_strdup(arena, env);
        path = arena_printf(arena, "/run/user/%u", (unsigned) geteuid());
        if (stat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid())
                return path;
        return arena_printf(arena, "/tmp/vore-%u", (unsigned) geteuid());
}
