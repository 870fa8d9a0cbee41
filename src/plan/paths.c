#include "plan/plan.h"

#include "base/str.h"

#include <unistd.h>

char *plan_instance_dir(const struct settings *s, const char *name) {
        return xasprintf("%s/instance/%s", s->vore.state_dir, name);
}

char *plan_runtime_dir(const struct settings *s, const char *name) {
        return xasprintf("%s/vm/%s", s->vore.runtime_dir, name);
}

char *plan_shm_dir(const struct settings *s, const char *name) {
        return xasprintf("%s/%s", s->shm_dir, name);
}

/* Run from a build folder, a program uses the tree's own lua/: what was built together runs together. */
static const char *lua_dir(void) {
        static char dir[4096];
        char exe[2048];

        if (dir[0])
                return dir;
        ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
        if (n > 0 && str_starts(exe, VORE_BUILD_DIR "/") && access(VORE_SOURCE_LUA "/qemu.lua", R_OK) == 0)
                snprintf(dir, sizeof(dir), "%s", VORE_SOURCE_LUA);
        else
                snprintf(dir, sizeof(dir), "%s", VORE_LUA_DIR);
        return dir;
}

const char *plan_default_script(void) {
        static char path[4200];

        snprintf(path, sizeof(path), "%s/qemu.lua", lua_dir());
        return path;
}

const char *plan_library_dir(void) {
        return lua_dir();
}

const char *plan_below(const char *folder, const char *path) {
        size_t n = strlen(folder);

        return strncmp(path, folder, n) == 0 && path[n] == '/' ? path + n + 1 : NULL;
}
