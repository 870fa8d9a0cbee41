#include "script/value.h"

#include <errno.h>
#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

struct walk {
        lua_State *L;
        struct error *err;
        unsigned nodes;
        unsigned depth;
        size_t bytes;   /* of strings and keys: the same one may stand in a table a thousand times */
        char path[256]; /* "file.cache": cut if too long */
};

static int walk_value(struct walk *w, int index, json_t **ret);

static int fail(struct walk *w, const char *what) {
        return error_set(w->err, -EINVAL, "%s%s%s", w->path, *w->path ? ": " : "", what);
}

/* Returns the length to cut the path back to. */
static size_t path_enter(struct walk *w, const char *key, long long index) {
        size_t len = strlen(w->path);

        if (key)
                (void) snprintf(w->path + len, sizeof(w->path) - len, "%s%s", len > 0 ? "." : "", key);
        else
                (void) snprintf(w->path + len, sizeof(w->path) - len, "[%lld]", index);
        return len;
}

static const char *const first_keys[] = { "driver", "qom-type", "type", "id", "node-name" };

static size_t key_rank(const char *key) {
        size_t i;

        for (i = 0; i < ARRAY_SIZE(first_keys); i++)
                if (str_eq(key, first_keys[i]))
                        break;
        return i;
}

static int key_compare(const void *a, const void *b) {
        const char *x = *(const char *const *) a, *y = *(const char *const *) b;
        size_t rank_x = key_rank(x), rank_y = key_rank(y);

        return rank_x != rank_y ? (rank_x < rank_y ? -1 : 1) : strcmp(x, y);
}

/* Lua's order of keys changes from run to run. */
static json_t *sorted(json_t *object) {
        size_t n = json_object_size(object), i = 0;
        _cleanup_free_ const char **keys = xcalloc(n + 1, sizeof(*keys));
        json_t *ret = json_object(), *value;
        const char *key;

        json_object_foreach (object, key, value)
                keys[i++] = key;
        qsort(keys, n, sizeof(*keys), key_compare);
        for (i = 0; i < n; i++)
                json_put(ret, keys[i], json_incref(json_object_get(object, keys[i])));
        return ret;
}

/* The length if the keys are exactly 1..n with n > 0, else 0. */
static lua_Integer array_length(lua_State *L, int index) {
        lua_Integer n = (lua_Integer) lua_rawlen(L, index), seen = 0;

        if (n == 0)
                return 0;
        lua_pushnil(L);
        while (lua_next(L, index)) {
                lua_pop(L, 1);
                if (!lua_isinteger(L, -1) || lua_tointeger(L, -1) < 1 || lua_tointeger(L, -1) > n) {
                        lua_pop(L, 1);
                        return 0;
                }
                seen++;
        }
        return seen == n ? n : 0;
}

static int walk_array(struct walk *w, int index, lua_Integer n, json_t **ret) {
        _cleanup_json_ json_t *array = json_array();
        int r;

        for (lua_Integer i = 1; i <= n; i++) {
                json_t *item = NULL;

                size_t len = path_enter(w, NULL, i);
                lua_rawgeti(w->L, index, i);
                r = walk_value(w, lua_gettop(w->L), &item);
                lua_pop(w->L, 1);
                if (r < 0)
                        return r;
                w->path[len] = '\0';
                json_push(array, item);
        }
        *ret = TAKE_PTR(array);
        return 0;
}

static int walk_member(struct walk *w, json_t *object) {
        const char *key;
        json_t *item = NULL;
        size_t len;
        int r;

        if (lua_type(w->L, -2) != LUA_TSTRING)
                return fail(w, "a table has list items beside named values, or holes");
        key = lua_tolstring(w->L, -2, &len);
        if (strlen(key) != len)
                return fail(w, "a key holds a NUL byte");
        if ((w->bytes += len) > VALUE_BYTES_MAX)
                return fail(w, "too much text");
        len = path_enter(w, key, 0);
        r = walk_value(w, lua_gettop(w->L), &item);
        if (r < 0)
                return r;
        w->path[len] = '\0';
        if (json_object_set_new(object, key, item) < 0)
                return fail(w, "a key is not valid UTF-8");
        return 0;
}

static int walk_object(struct walk *w, int index, json_t **ret) {
        _cleanup_json_ json_t *object = json_object();
        int r;

        lua_pushnil(w->L);
        while (lua_next(w->L, index)) {
                r = walk_member(w, object);
                lua_pop(w->L, 1);
                if (r < 0) {
                        lua_pop(w->L, 1);
                        return r;
                }
        }
        *ret = sorted(object);
        return 0;
}

static int walk_table(struct walk *w, int index, json_t **ret) {
        lua_Integer n;
        int r;

        if (w->depth >= VALUE_DEPTH_MAX || !lua_checkstack(w->L, 8))
                return fail(w, "tables are nested too deep");
        w->depth++;
        n = array_length(w->L, index);
        r = n > 0 ? walk_array(w, index, n, ret) : walk_object(w, index, ret);
        w->depth--;
        return r;
}

static int walk_number(struct walk *w, int index, json_t **ret) {
        lua_Number number = lua_tonumber(w->L, index);

        if (lua_isinteger(w->L, index))
                *ret = json_integer(lua_tointeger(w->L, index));
        else if (!isfinite(number))
                return fail(w, isnan(number) ? "nan cannot be written" : "inf cannot be written");
        else if (number == floor(number) && fabs(number) <= 9007199254740992.0)
                *ret = json_integer((json_int_t) number);
        else
                *ret = json_real(number);
        return 0;
}

static const char *type_fault(int type) {
        switch (type) {
        case LUA_TFUNCTION:
                return "a function cannot be written";
        case LUA_TTHREAD:
                return "a coroutine cannot be written";
        default:
                return "a userdata cannot be written";
        }
}

static int walk_value(struct walk *w, int index, json_t **ret) {
        const char *text;
        size_t len;

        if (++w->nodes > VALUE_NODES_MAX)
                return fail(w, "too many values");
        switch (lua_type(w->L, index)) {
        case LUA_TNIL:
                *ret = json_null();
                return 0;
        case LUA_TBOOLEAN:
                *ret = json_boolean(lua_toboolean(w->L, index));
                return 0;
        case LUA_TNUMBER:
                return walk_number(w, index, ret);
        case LUA_TSTRING:
                text = lua_tolstring(w->L, index, &len);
                if ((w->bytes += len) > VALUE_BYTES_MAX)
                        return fail(w, "too much text");
                *ret = json_stringn(text, len);
                return *ret ? 0 : fail(w, "a string is not valid UTF-8");
        case LUA_TTABLE:
                return walk_table(w, index, ret);
        default:
                return fail(w, type_fault(lua_type(w->L, index)));
        }
}

int value_to_json(lua_State *L, int index, json_t **ret, struct error *err) {
        struct walk w = { .L = L, .err = err };

        return walk_value(&w, lua_absindex(L, index), ret);
}

void value_push(lua_State *L, const json_t *j) {
        const char *key;
        json_t *value;
        size_t i;

        luaL_checkstack(L, 8, NULL);
        switch (json_typeof(j)) {
        case JSON_OBJECT:
                lua_createtable(L, 0, (int) json_object_size(j));
                json_object_foreach ((json_t *) j, key, value) {
                        value_push(L, value);
                        lua_setfield(L, -2, key);
                }
                return;
        case JSON_ARRAY:
                lua_createtable(L, (int) json_array_size(j), 0);
                json_array_foreach (j, i, value) {
                        value_push(L, value);
                        lua_rawseti(L, -2, (lua_Integer) i + 1);
                }
                return;
        case JSON_STRING:
                lua_pushlstring(L, json_string_value(j), json_string_length(j));
                return;
        case JSON_INTEGER:
                lua_pushinteger(L, json_integer_value(j));
                return;
        case JSON_REAL:
                lua_pushnumber(L, json_real_value(j));
                return;
        case JSON_TRUE:
        case JSON_FALSE:
                lua_pushboolean(L, json_is_true(j));
                return;
        case JSON_NULL:
                lua_pushnil(L);
        }
}
