#include "script/state.h"

#include <errno.h>
#include <lauxlib.h>
#include <string.h>

#include "base/str.h"
#include "script/value.h"

/* In the registry: the build function; presets by name as {fn, description}; their names in order. */
static const char build_key = 'b', presets_key = 'p', names_key = 'n';

static int l_set_build_command(lua_State *L) {
        luaL_checktype(L, 2, LUA_TFUNCTION);
        lua_settop(L, 2);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &build_key);
        return 0;
}

void vore_push_build_command(lua_State *L) {
        if (lua_rawgetp(L, LUA_REGISTRYINDEX, &build_key) == LUA_TFUNCTION)
                return;
        lua_pushfstring(L, "%s:1: there is no build function: the script never calls vore:set_build_command",
                        state_of(L)->req->path);
        lua_error(L);
}

void vore_check_returned(lua_State *L, int vm, int fn, const char *what) {
        const char *got = lua_isnil(L, -1) ? "nothing" : luaL_typename(L, -1);
        lua_Debug ar;

        if (lua_rawequal(L, -1, vm))
                return;
        lua_pushvalue(L, fn);
        lua_getinfo(L, ">S", &ar);
        lua_pushfstring(L, "%s:%d: %s returned %s%s: it must end with `return vm`",
                        ar.source[0] == '@' ? ar.source + 1 : ar.short_src, ar.linedefined, what,
                        lua_isuserdata(L, -1) ? "another " : "", got);
        lua_error(L);
}

/* register_disk_preset(name, [description,] fn) */
static int l_register_disk_preset(lua_State *L) {
        (void) luaL_checkstring(L, 2);
        if (lua_isfunction(L, 3)) {
                lua_pushliteral(L, "");
                lua_insert(L, 3);
        }
        (void) luaL_checkstring(L, 3);
        luaL_checktype(L, 4, LUA_TFUNCTION);
        lua_settop(L, 4);
        (void) luaL_argcheck(L, lua_rawlen(L, 2) > 0, 2, "a preset needs a name");

        lua_rawgetp(L, LUA_REGISTRYINDEX, &presets_key);
        lua_pushvalue(L, 2);
        if (lua_rawget(L, 5) == LUA_TNIL) {
                lua_rawgetp(L, LUA_REGISTRYINDEX, &names_key);
                lua_pushvalue(L, 2);
                lua_rawseti(L, -2, (lua_Integer) lua_rawlen(L, -2) + 1);
        }
        lua_pushvalue(L, 2);
        lua_createtable(L, 2, 0);
        lua_pushvalue(L, 4);
        lua_rawseti(L, -2, 1);
        lua_pushvalue(L, 3);
        lua_rawseti(L, -2, 2);
        lua_rawset(L, 5);
        return 0;
}

json_t *vore_presets(lua_State *L) {
        json_t *array = json_array();
        lua_Integer n;

        lua_rawgetp(L, LUA_REGISTRYINDEX, &presets_key);
        lua_rawgetp(L, LUA_REGISTRYINDEX, &names_key);
        n = (lua_Integer) lua_rawlen(L, -1);
        for (lua_Integer i = 1; i <= n; i++) {
                json_t *preset = json_object();

                lua_rawgeti(L, -1, i);
                json_put_str(preset, "name", lua_tostring(L, -1));
                lua_rawget(L, -3);
                lua_rawgeti(L, -1, 2);
                json_put_str(preset, "description", lua_tostring(L, -1));
                lua_pop(L, 2);
                json_push(array, preset);
        }
        lua_pop(L, 2);
        return array;
}

/* Pushes "hdd, ide, nvme". */
static void push_names(lua_State *L) {
        luaL_Buffer b;
        lua_Integer n;

        lua_rawgetp(L, LUA_REGISTRYINDEX, &names_key);
        n = (lua_Integer) lua_rawlen(L, -1);
        luaL_buffinit(L, &b);
        for (lua_Integer i = 1; i <= n; i++) {
                if (i > 1)
                        luaL_addstring(&b, ", ");
                lua_rawgetp(L, LUA_REGISTRYINDEX, &names_key);
                lua_rawgeti(L, -1, i);
                lua_remove(L, -2);
                luaL_addvalue(&b);
        }
        luaL_pushresult(&b);
        lua_remove(L, -2);
}

/* add_disk(vm, instance, index, disk) */
static int l_add_disk(lua_State *L) {
        const char *name;

        luaL_checktype(L, 5, LUA_TTABLE);
        lua_settop(L, 5);
        if (lua_getfield(L, 5, "preset") != LUA_TSTRING)
                return luaL_error(L, "disk %s has no preset", luaL_tolstring(L, 4, NULL));
        name = lua_tostring(L, 6);
        lua_rawgetp(L, LUA_REGISTRYINDEX, &presets_key);
        lua_pushvalue(L, 6);
        if (lua_rawget(L, 7) != LUA_TTABLE) {
                if (state_of(L)->req->ret_bad_preset)
                        *state_of(L)->req->ret_bad_preset = true;
                push_names(L);
                return luaL_error(L, "no disk preset is named '%s': there are %s", name, lua_tostring(L, -1));
        }
        lua_rawgeti(L, 8, 1); /* 9: the function */
        lua_pushvalue(L, 9);
        for (int i = 2; i <= 5; i++)
                lua_pushvalue(L, i);
        lua_call(L, 4, 1);
        lua_pushfstring(L, "disk preset '%s'", name);
        lua_insert(L, -2);
        vore_check_returned(L, 2, 9, lua_tostring(L, -2));
        return 1;
}

/* A relative path that stays inside. */
static bool target_valid(const char *target) {
        if (str_empty(target) || *target == '/' || str_ends(target, "/"))
                return false;
        for (const char *p = target; *p;) {
                size_t n = strcspn(p, "/");
                if (n == 0 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
                        return false;
                p += n;
                if (*p == '/')
                        p++;
        }
        return true;
}

/* Argument index of a method as a C string; raises. */
static const char *check_text(lua_State *L, int index, const char *method) {
        struct state *s = state_of(L);
        const char *text;
        size_t len;

        text = luaL_checklstring(L, index, &len);
        if (state_check_text(s, text, len) < 0) {
                (void) error_prefix(&s->error, "vore:%s", method);
                (void) state_raise(L);
        }
        return text;
}

static int note_copy(struct state *s, const char *target, const char *source) {
        struct script_result *r = s->result;

        if (!target_valid(target))
                return error_set(&s->error, -EINVAL,
                                 "vore:get_file: \"%s\" is no path inside the instance folder", target);
        if (str_empty(source))
                return error_set(&s->error, -EINVAL, "vore:get_file: there is no template for \"%s\"",
                                 target);
        free(s->scratch);
        s->scratch = xasprintf("%s/%s", s->req->instance_dir, target);
        for (size_t i = 0; i < r->n_copies; i++)
                if (str_eq(r->copies[i].target, s->scratch))
                        return 0;
        if (r->n_copies >= STATE_NOTES_MAX)
                return error_set(&s->error, -E2BIG, "vore:get_file: more than %d files", STATE_NOTES_MAX);
        r->copies = xrealloc(r->copies, r->n_copies + 1, sizeof(*r->copies));
        r->copies[r->n_copies++] =
                (struct script_copy){ .target = xstrdup(s->scratch), .source = xstrdup(source) };
        return 0;
}

static int l_get_file(lua_State *L) {
        const char *target = check_text(L, 2, "get_file"), *source = check_text(L, 3, "get_file");
        struct state *s = state_of(L);

        if (note_copy(s, target, source) < 0)
                return state_raise(L);
        lua_pushstring(L, s->scratch);
        return 1;
}

static int note_allow(struct state *s, const char *path, const char *mode) {
        struct script_result *r = s->result;

        if (!str_eq(mode, "r") && !str_eq(mode, "rw"))
                return error_set(&s->error, -EINVAL, "vore:allow: \"%s\" must be \"r\" or \"rw\"", mode);
        if (*path != '/')
                return error_set(&s->error, -EINVAL, "vore:allow: \"%s\" is no absolute path", path);
        if (r->n_allows >= STATE_NOTES_MAX)
                return error_set(&s->error, -E2BIG, "vore:allow: more than %d paths", STATE_NOTES_MAX);
        r->allows = xrealloc(r->allows, r->n_allows + 1, sizeof(*r->allows));
        r->allows[r->n_allows++] =
                (struct script_allow){ .path = xstrdup(path), .write = str_eq(mode, "rw") };
        return 0;
}

static int l_allow(lua_State *L) {
        const char *path = check_text(L, 2, "allow"), *mode = check_text(L, 3, "allow");

        if (note_allow(state_of(L), path, mode) < 0)
                return state_raise(L);
        return 0;
}

static int to_json(lua_State *L) {
        struct state *s = state_of(L);
        _cleanup_json_ json_t *value = NULL;
        int r;

        r = value_to_json(L, 1, &value, &s->error);
        if (r < 0)
                return error_prefix(&s->error, "tojson");
        free(s->scratch);
        s->scratch = json_text(value);
        return 0;
}

static int l_tojson(lua_State *L) {
        luaL_checkany(L, 1);
        if (to_json(L) < 0)
                return state_raise(L);
        lua_pushstring(L, state_of(L)->scratch);
        return 1;
}

static int l_has_device(lua_State *L) {
        const char *type = luaL_checkstring(L, 2);
        const struct caps *caps = state_of(L)->req->caps;

        lua_pushboolean(L, caps && caps_has_device(caps, type));
        return 1;
}

static int l_has_property(lua_State *L) {
        const char *type = luaL_checkstring(L, 2), *name = luaL_checkstring(L, 3);
        const struct caps *caps = state_of(L)->req->caps;

        lua_pushboolean(L, caps && caps_has_property(caps, type, name));
        return 1;
}

/* print("x"): a script has no output; what it prints is shown as a warning beside the position. */
static int l_print(lua_State *L) {
        int n = lua_gettop(L);
        luaL_Buffer b;

        luaL_buffinit(L, &b);
        luaL_where(L, 1);
        luaL_addvalue(&b);
        for (int i = 1; i <= n; i++) {
                if (i > 1)
                        luaL_addchar(&b, '\t');
                (void) luaL_tolstring(L, i, NULL);
                luaL_addvalue(&b);
        }
        luaL_pushresult(&b);
        state_warn(state_of(L), lua_tostring(L, -1));
        return 0;
}

static void open_qemu(lua_State *L, const struct caps *caps) {
        static const luaL_Reg functions[] = {
                { "has_device", l_has_device },
                { "has_property", l_has_property },
                { NULL, NULL },
        };

        luaL_newlib(L, functions);
        lua_pushstring(L, caps && caps->version ? caps->version : "");
        lua_setfield(L, -2, "version");
        lua_setglobal(L, "qemu");
}

void vore_open(lua_State *L) {
        static const luaL_Reg functions[] = {
                { "set_build_command", l_set_build_command },
                { "register_disk_preset", l_register_disk_preset },
                { "add_disk", l_add_disk },
                { "get_file", l_get_file },
                { "allow", l_allow },
                { NULL, NULL },
        };
        const struct script_request *req = state_of(L)->req;

        lua_newtable(L);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &presets_key);
        lua_newtable(L);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &names_key);
        luaL_newlib(L, functions);
        lua_setglobal(L, "vore");
        open_qemu(L, req->caps);
        if (req->global)
                value_push(L, req->global);
        else
                lua_newtable(L);
        lua_setglobal(L, "global");
        lua_pushcfunction(L, l_tojson);
        lua_setglobal(L, "tojson");
        lua_pushcfunction(L, l_print);
        lua_setglobal(L, "print");
}
