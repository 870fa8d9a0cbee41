#include "script/state.h"

#include <errno.h>
#include <lauxlib.h>
#include <string.h>

#include "base/str.h"
#include "script/value.h"

#define VM_CLASS "vore.vm"

enum { VM_COUNTERS = 1, VM_DEVICES = 2, VM_VALUES = 2 }; /* user values: tables */

static int check_room(struct state *s, size_t len) {
        if (len > STATE_ARG_MAX)
                return error_set(&s->error, -E2BIG, "an argument is longer than %d KiB",
                                 STATE_ARG_MAX / 1024);
        if (s->result->argv.n + 2 > STATE_ARGS_MAX)
                return error_set(&s->error, -E2BIG, "more than %d arguments", STATE_ARGS_MAX);
        s->args_bytes += len + 1;
        if (s->args_bytes > STATE_ARGS_BYTES_MAX)
                return error_set(&s->error, -E2BIG, "the arguments are longer than %d KiB in all",
                                 STATE_ARGS_BYTES_MAX / 1024);
        return 0;
}

/* vm is at index 1. */
static void remember_device(lua_State *L, const json_t *device) {
        const char *driver = json_get_str(device, "driver", NULL), *id = json_get_str(device, "id", NULL);

        if (!driver || !id)
                return;
        lua_getiuservalue(L, 1, VM_DEVICES);
        lua_pushstring(L, id);
        lua_setfield(L, -2, driver);
        lua_pop(L, 1);
}

/* A raw value of -device: JSON becomes key=value too, as QEMU creates all devices of the one form before all
 * of the other, whatever their order. *ret: the device, for its id; NULL if it is not understood: QEMU will
 * say what is wrong with it. */
static int add_raw_device(struct state *s, const char *text, size_t len, json_t **ret) {
        _cleanup_json_ json_t *device = NULL;
        int r;

        s->device_next = false;
        if (text[strspn(text, " \t\n")] == '{') {
                r = json_parse(text, len, &device, &s->error);
                if (r >= 0)
                        r = argv_add_device(&s->result->argv, device, &s->error);
                if (r < 0)
                        return r;
        } else {
                argv_add(&s->result->argv, "-device");
                argv_add(&s->result->argv, text);
                (void) argv_parse_keyval(text, "driver", &device, NULL);
        }
        *ret = TAKE_PTR(device);
        return 0;
}

static int add_text(lua_State *L, const char *text, size_t len) {
        struct state *s = state_of(L);
        _cleanup_json_ json_t *device = NULL;
        int r = state_check_text(s, text, len);

        if (r >= 0)
                r = check_room(s, len);
        if (r < 0)
                return r;
        if (s->device_next) {
                r = add_raw_device(s, text, len, &device);
                if (r >= 0)
                        remember_device(L, device);
                return r;
        }
        if (str_eq(text, "-device") || str_eq(text, "--device"))
                s->device_next = true;
        else
                argv_add(&s->result->argv, text);
        return 0;
}

void vm_finish(struct state *s) {
        if (s->device_next)
                argv_add(&s->result->argv, "-device");
        s->device_next = false;
}

static int add_item(lua_State *L, int index) {
        lua_Number number = lua_tonumber(L, index);
        const char *text;
        char buf[64];
        size_t len;

        if (lua_type(L, index) == LUA_TSTRING) {
                text = lua_tolstring(L, index, &len);
                return add_text(L, text, len);
        }
        if (lua_type(L, index) != LUA_TNUMBER)
                return error_set(&state_of(L)->error, -EINVAL,
                                 "argument %d of vm:arg is a %s: it takes strings and numbers", index - 1,
                                 luaL_typename(L, index));
        if (lua_isinteger(L, index))
                (void) snprintf(buf, sizeof(buf), "%lld", (long long) lua_tointeger(L, index));
        else if (number > -1e15 && number < 1e15 && number == (lua_Number) (long long) number)
                (void) snprintf(buf, sizeof(buf), "%lld", (long long) number); /* 4096 / 2 is 2048.0 */
        else
                (void) snprintf(buf, sizeof(buf), "%.14g", number);
        return add_text(L, buf, strlen(buf));
}

static int l_arg(lua_State *L) {
        int n = lua_gettop(L);

        (void) luaL_checkudata(L, 1, VM_CLASS);
        for (int i = 2; i <= n; i++)
                if (add_item(L, i) < 0)
                        return state_raise(L);
        lua_settop(L, 1);
        return 1;
}

static int require_string(struct state *s, const json_t *table, const char *method, const char *key) {
        const char *value = json_get_str(table, key, NULL);

        if (str_empty(value))
                return error_set(&s->error, -EINVAL, "vm:%s needs %s[\"%s\"], a string", method, method, key);
        return 0;
}

/* One row per method that takes a table. */
static const struct table_method {
        const char *name, *option;
        const char *required[2];
} table_methods[] = {
        { "device", "-device", { "driver" } },
        { "blockdev", "-blockdev", { "driver", "node-name" } },
        { "object", "-object", { "qom-type", "id" } },
        { "netdev", "-netdev", { "type", "id" } },
        { "audiodev", "-audiodev", { "driver", "id" } },
};

static int add_table(lua_State *L, const struct table_method *m) {
        struct state *s = state_of(L);
        struct argv *argv = &s->result->argv;
        _cleanup_json_ json_t *table = NULL;
        int r;

        r = value_to_json(L, 2, &table, &s->error);
        for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(m->required) && m->required[i]; i++)
                r = require_string(s, table, m->name, m->required[i]);
        if (r >= 0)
                r = check_room(s, 0);
        if (r < 0)
                return r;
        vm_finish(s);
        if (str_eq(m->option, "-device"))
                r = argv_add_device(argv, table, &s->error);
        else
                r = argv_add_json(argv, m->option, table, &s->error);
        if (r >= 0)
                r = check_room(s, strlen(argv->items[argv->n - 1]));
        if (r >= 0 && str_eq(m->option, "-device"))
                remember_device(L, table);
        return r;
}

static int l_table(lua_State *L) {
        const struct table_method *m = lua_touserdata(L, lua_upvalueindex(1));

        (void) luaL_checkudata(L, 1, VM_CLASS);
        luaL_checktype(L, 2, LUA_TTABLE);
        if (add_table(L, m) < 0) {
                (void) error_prefix(&state_of(L)->error, "vm:%s", m->name);
                return state_raise(L);
        }
        lua_settop(L, 1);
        return 1;
}

static int l_get_device_id(lua_State *L) {
        (void) luaL_checkudata(L, 1, VM_CLASS);
        (void) luaL_checkstring(L, 2);
        lua_settop(L, 2);
        lua_getiuservalue(L, 1, VM_DEVICES);
        lua_insert(L, 2);
        lua_rawget(L, 2);
        return 1;
}

/* Leaves the next value on the stack. The first vore counts buses and counters together: so do we. */
static lua_Integer next_number(lua_State *L, int name, lua_Integer start) {
        lua_Integer value = start;

        lua_getiuservalue(L, 1, VM_COUNTERS);
        lua_pushvalue(L, name);
        if (lua_rawget(L, -2) == LUA_TNUMBER)
                value = lua_tointeger(L, -1) + 1;
        lua_pop(L, 1);
        lua_pushvalue(L, name);
        lua_pushinteger(L, value);
        lua_rawset(L, -3);
        lua_pop(L, 1);
        return value;
}

static int l_get_counter(lua_State *L) {
        lua_Integer start;

        (void) luaL_checkudata(L, 1, VM_CLASS);
        (void) luaL_checkstring(L, 2);
        start = luaL_optinteger(L, 3, 0);
        lua_pushinteger(L, next_number(L, 2, start));
        return 1;
}

static int l_get_next_bus(lua_State *L) {
        const char *port;

        (void) luaL_checkudata(L, 1, VM_CLASS);
        port = luaL_checkstring(L, 2);
        lua_pushfstring(L, "%s.%I", port, next_number(L, 2, 0));
        return 1;
}

static int l_tostring(lua_State *L) {
        lua_pushliteral(L, "vm");
        return 1;
}

void vm_open(lua_State *L) {
        static const luaL_Reg methods[] = {
                { "arg", l_arg },
                { "get_device_id", l_get_device_id },
                { "get_counter", l_get_counter },
                { "get_next_bus", l_get_next_bus },
                { NULL, NULL },
        };

        luaL_newmetatable(L, VM_CLASS);
        lua_pushcfunction(L, l_tostring);
        lua_setfield(L, -2, "__tostring");
        luaL_newlib(L, methods);
        for (size_t i = 0; i < ARRAY_SIZE(table_methods); i++) {
                lua_pushlightuserdata(L, (void *) &table_methods[i]);
                lua_pushcclosure(L, l_table, 1);
                lua_setfield(L, -2, table_methods[i].name);
        }
        lua_setfield(L, -2, "__index");
        lua_pop(L, 1);
}

void script_vm_new(lua_State *L) {
        (void) lua_newuserdatauv(L, 0, VM_VALUES);
        for (int i = 1; i <= VM_VALUES; i++) {
                lua_newtable(L);
                (void) lua_setiuservalue(L, -2, i);
        }
        luaL_setmetatable(L, VM_CLASS);
}
