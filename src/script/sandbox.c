#include "script/state.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

/* One row per function that a script does not have. */
static const struct refusal {
        const char *lib, *name, *why;
} refusals[] = {
        { "os", "execute", "scripts cannot start processes" },
        { "os", "exit", "a script ends with `return`" },
        { "os", "remove", "scripts cannot change files" },
        { "os", "rename", "scripts cannot change files" },
        { "os", "tmpname", "scripts cannot change files" },
        { "os", "setlocale", "scripts run in the C locale" },
        { "io", "popen", "scripts cannot start processes" },
        { "io", "tmpfile", "scripts cannot change files" },
        { "io", "write", "scripts have no output: print() becomes a warning" },
        { "io", "output", "scripts have no output: print() becomes a warning" },
        { "io", "read", "scripts have no input: use io.open or io.lines" },
        { "io", "input", "scripts have no input: use io.open or io.lines" },
        { "package", "loadlib", "scripts cannot load C modules" },
        { "string", "dump", "scripts cannot use bytecode" },
};

static const luaL_Reg libraries[] = {
        { LUA_GNAME, luaopen_base },          { LUA_LOADLIBNAME, luaopen_package },
        { LUA_COLIBNAME, luaopen_coroutine }, { LUA_TABLIBNAME, luaopen_table },
        { LUA_IOLIBNAME, luaopen_io },        { LUA_OSLIBNAME, luaopen_os },
        { LUA_STRLIBNAME, luaopen_string },   { LUA_MATHLIBNAME, luaopen_math },
        { LUA_UTF8LIBNAME, luaopen_utf8 },
};

static int l_refuse(lua_State *L) {
        const struct refusal *r = lua_touserdata(L, lua_upvalueindex(1));

        return luaL_error(L, "%s.%s is not there: %s", r->lib, r->name, r->why);
}

/* Calls the function in upvalue 1 with the arguments as they are now. */
static int call_original(lua_State *L) {
        lua_pushvalue(L, lua_upvalueindex(1));
        lua_insert(L, 1);
        lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
        return lua_gettop(L);
}

/* Facts of the host come from the captured tree when one is replayed, as they do for the rest of the walk. */
static void replay_host(lua_State *L) {
        const char *root = getenv("VORE_HOST_ROOT"), *path = lua_tostring(L, 1);

        if (str_empty(root) || !path || (!str_starts(path, "/proc/") && !str_starts(path, "/sys/")))
                return;
        lua_pushfstring(L, "%s%s", root, path);
        lua_replace(L, 1);
}

static int l_io_open(lua_State *L) {
        const char *mode = luaL_optstring(L, 2, "r");

        replay_host(L);

        if (!str_eq(mode, "r") && !str_eq(mode, "rb"))
                return luaL_error(L, "io.open with mode \"%s\" is not there: scripts can only read files",
                                  mode);
        return call_original(L);
}

static int l_io_lines(lua_State *L) {
        if (lua_isnoneornil(L, 1))
                return luaL_error(L, "io.lines needs a file name: scripts have no input");
        replay_host(L);
        return call_original(L);
}

static int l_io_close(lua_State *L) {
        if (lua_isnoneornil(L, 1))
                return luaL_error(L, "io.close needs a file: scripts have no output");
        return call_original(L);
}

/* load(chunk, name, mode, env): mode is always "t". An absent env is not the same as nil. */
static int l_load(lua_State *L) {
        luaL_checkany(L, 1);
        if (lua_gettop(L) < 3)
                lua_settop(L, 3);
        lua_pushliteral(L, "t");
        lua_replace(L, 3);
        return call_original(L);
}

static int l_loadfile(lua_State *L) {
        (void) luaL_checkstring(L, 1);
        if (lua_gettop(L) < 2)
                lua_settop(L, 2);
        lua_pushliteral(L, "t");
        lua_replace(L, 2);
        return call_original(L);
}

static int l_dofile(lua_State *L) {
        const char *file = luaL_checkstring(L, 1);

        lua_settop(L, 1);
        if (luaL_loadfilex(L, file, "t") != LUA_OK)
                return lua_error(L);
        lua_call(L, 0, LUA_MULTRET);
        return lua_gettop(L) - 1;
}

/* coroutine.resume, which keeps track of who runs: a deadline must find the innermost line. The original does
 * not raise once its first argument is a coroutine. */
static int l_resume(lua_State *L) {
        struct state *s = state_of(L);
        lua_State *before = s->current;
        int n;

        luaL_checktype(L, 1, LUA_TTHREAD);
        s->current = lua_tothread(L, 1);
        n = call_original(L);
        s->current = before;
        return n;
}

/* What coroutine.wrap gave: upvalue 1 is resume, upvalue 2 the coroutine. */
static int l_wrapped(lua_State *L) {
        lua_pushvalue(L, lua_upvalueindex(1));
        lua_pushvalue(L, lua_upvalueindex(2));
        lua_rotate(L, 1, 2);
        lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
        if (!lua_toboolean(L, 1)) {
                lua_settop(L, 2);
                return lua_error(L);
        }
        return lua_gettop(L) - 1;
}

/* Upvalue 1 is resume. */
static int l_wrap(lua_State *L) {
        lua_State *coroutine;

        luaL_checktype(L, 1, LUA_TFUNCTION);
        coroutine = lua_newthread(L);
        lua_pushvalue(L, 1);
        lua_xmove(L, coroutine, 1);
        lua_pushvalue(L, lua_upvalueindex(1));
        lua_insert(L, -2);
        lua_pushcclosure(L, l_wrapped, 2);
        return 1;
}

/* A module of Lua text; upvalue 1 is package.searchpath. */
static int l_searcher(lua_State *L) {
        const char *name = luaL_checkstring(L, 1);

        lua_settop(L, 1);
        lua_getglobal(L, LUA_LOADLIBNAME);
        lua_pushvalue(L, lua_upvalueindex(1));
        lua_pushvalue(L, 1);
        if (lua_getfield(L, 2, "path") != LUA_TSTRING)
                return luaL_error(L, "package.path is no string");
        lua_call(L, 2, 2);
        if (lua_isnil(L, -2))
                return 1; /* where it looked */
        lua_pop(L, 1);
        if (luaL_loadfilex(L, lua_tostring(L, -1), "t") != LUA_OK)
                return luaL_error(L, "cannot load module '%s': %s", name, lua_tostring(L, -1));
        lua_insert(L, -2);
        return 2;
}

/* table[name] = the C function f over what was there. The table is on top. */
static void wrap(lua_State *L, const char *name, lua_CFunction f) {
        lua_getfield(L, -1, name);
        lua_pushcclosure(L, f, 1);
        lua_setfield(L, -2, name);
}

static void add_path(luaL_Buffer *b, const char *folder) {
        luaL_addstring(b, folder);
        luaL_addstring(b, "/?.lua;");
        luaL_addstring(b, folder);
        luaL_addstring(b, "/?/init.lua;");
}

/* Beside the script, the library folder, then Lua's own folders without the working directory. */
static void set_path(lua_State *L) {
        const struct script_request *req = state_of(L)->req;
        const char *slash = strrchr(req->path, '/'), *system;
        luaL_Buffer b;

        lua_getfield(L, -1, "path");
        luaL_buffinit(L, &b);
        if (slash) {
                lua_pushlstring(L, req->path, (size_t) (slash - req->path));
                luaL_addvalue(&b);
                luaL_addstring(&b, "/?.lua;");
                lua_pushlstring(L, req->path, (size_t) (slash - req->path));
                luaL_addvalue(&b);
                luaL_addstring(&b, "/?/init.lua;");
        }
        if (req->library_dir)
                add_path(&b, req->library_dir);
        luaL_addstring(&b, LUA_PATH_DEFAULT);
        luaL_pushresult(&b);
        system = luaL_gsub(L, lua_tostring(L, -1), ";./?.lua", "");
        system = luaL_gsub(L, system, ";./?/init.lua", "");
        lua_pushstring(L, system);
        lua_setfield(L, -6, "path");
        lua_pop(L, 4);
}

static void restrict_package(lua_State *L) {
        lua_getglobal(L, LUA_LOADLIBNAME);
        set_path(L);
        lua_pushliteral(L, "");
        lua_setfield(L, -2, "cpath");
        lua_getfield(L, -1, "searchers");
        lua_getfield(L, -2, "searchpath");
        lua_pushcclosure(L, l_searcher, 1);
        lua_rawseti(L, -2, 2);
        for (lua_Integer i = (lua_Integer) lua_rawlen(L, -1); i > 2; i--) {
                lua_pushnil(L);
                lua_rawseti(L, -2, i);
        }
        lua_pop(L, 2);
}

static void restrict_base(lua_State *L) {
        lua_pushglobaltable(L);
        wrap(L, "load", l_load);
        wrap(L, "loadfile", l_loadfile);
        wrap(L, "dofile", l_dofile);
        lua_getfield(L, -1, "load");
        lua_setfield(L, -2, "loadstring"); /* as Lua 5.1 called it */
        lua_pop(L, 1);
}

static void restrict_io(lua_State *L) {
        static const char *const standard[] = { "stdin", "stdout", "stderr" };

        lua_getglobal(L, LUA_IOLIBNAME);
        wrap(L, "open", l_io_open);
        wrap(L, "lines", l_io_lines);
        wrap(L, "close", l_io_close);
        for (size_t i = 0; i < ARRAY_SIZE(standard); i++) {
                lua_pushnil(L);
                lua_setfield(L, -2, standard[i]);
        }
        lua_pop(L, 1);
}

static void track_coroutines(lua_State *L) {
        lua_getglobal(L, LUA_COLIBNAME);
        wrap(L, "resume", l_resume);
        lua_getfield(L, -1, "resume");
        lua_pushcclosure(L, l_wrap, 1);
        lua_setfield(L, -2, "wrap");
        lua_pop(L, 1);
}

void sandbox_open(lua_State *L) {
        lua_pushboolean(L, 1);
        lua_setfield(L, LUA_REGISTRYINDEX, "LUA_NOENV"); /* LUA_PATH of whoever started the daemon */
        for (size_t i = 0; i < ARRAY_SIZE(libraries); i++) {
                luaL_requiref(L, libraries[i].name, libraries[i].func, 1);
                lua_pop(L, 1);
        }
        restrict_base(L);
        restrict_package(L);
        restrict_io(L);
        track_coroutines(L);
        for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
                lua_getglobal(L, refusals[i].lib);
                lua_pushlightuserdata(L, (void *) &refusals[i]);
                lua_pushcclosure(L, l_refuse, 1);
                lua_setfield(L, -2, refusals[i].name);
                lua_pop(L, 1);
        }
}
