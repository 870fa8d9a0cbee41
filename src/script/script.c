#include "script/state.h"

#include <ctype.h>
#include <errno.h>
#include <lauxlib.h>
#include <lualib.h>
#include <string.h>

#include "base/str.h"
#include "script/gone.h"
#include "script/value.h"

enum { MEMORY_MAX = 256 * 1024 * 1024 };

int state_raise(lua_State *L) {
        return luaL_error(L, "%s", error_text(&state_of(L)->error));
}

int state_check_text(struct state *s, const char *text, size_t len) {
        _cleanup_json_ json_t *valid = json_stringn(text, len);

        return valid && strlen(text) == len ?
                       0 :
                       error_set(&s->error, -EINVAL,
                                 "an argument that is not valid UTF-8, or with a NUL byte");
}

void state_warn(struct state *s, const char *text) {
        struct script_result *r = s->result;

        if (r->n_warnings >= STATE_NOTES_MAX)
                return;
        r->warnings = xrealloc(r->warnings, r->n_warnings + 1, sizeof(*r->warnings));
        r->warnings[r->n_warnings++] = xasprintf("%.*s", STATE_NOTE_MAX, text);
}

/* A warning comes in pieces; one that is a single piece and begins with "@" is for Lua itself (lua_setwarnf
 * in Lua's manual). */
static void on_warn(void *data, const char *text, int more) {
        struct state *s = data;
        bool control = !more && !s->warning.data && *text == '@';

        if (control)
                return;
        if (s->warning.len < STATE_NOTE_MAX)
                strbuf_addn(&s->warning, text, strnlen(text, STATE_NOTE_MAX));
        if (more)
                return;
        state_warn(s, s->warning.data);
        strbuf_done(&s->warning);
}

/* Does the text begin with "file:12: "? */
static bool has_position(const char *text) {
        for (const char *p = strchr(text, ':'); p; p = strchr(p + 1, ':')) {
                size_t digits = strspn(p + 1, "0123456789");
                if (digits > 0 && p[1 + digits] == ':')
                        return true;
                if (memchr(text, '\n', (size_t) (p - text)))
                        return false;
        }
        return false;
}

static bool push_position(lua_State *L) {
        lua_Debug ar;

        for (int level = 0; lua_getstack(L, level, &ar); level++) {
                lua_getinfo(L, "Sl", &ar);
                if (ar.currentline <= 0)
                        continue;
                lua_pushfstring(L, "%s:%d: ", ar.source[0] == '@' ? ar.source + 1 : ar.short_src,
                                ar.currentline);
                return true;
        }
        return false;
}

/* Every error becomes a string that begins with file and line. */
static int message_handler(lua_State *L) {
        const char *text = luaL_tolstring(L, 1, NULL);

        if (lua_isstring(L, 1) && has_position(text))
                return 1;
        if (!lua_isstring(L, 1) && !luaL_getmetafield(L, 1, "__tostring"))
                text = lua_pushfstring(L, "an error that is a %s", luaL_typename(L, 1));
        if (push_position(L)) {
                lua_pushstring(L, text);
                lua_concat(L, 2);
        } else
                lua_pushstring(L, text);
        return 1;
}

/* Lua shortens long file names in its messages to "...end/of/it": puts the script's whole one back. */
static char *whole_name(const struct state *s, const char *text) {
        const char *colon = strchr(text, ':');
        size_t tail = colon && str_starts(text, "...") ? (size_t) (colon - text) - 3 : 0;
        size_t len = strlen(s->req->path);

        if (tail == 0 || tail > len || strncmp(s->req->path + len - tail, text + 3, tail) != 0)
                return xstrdup(text);
        return xasprintf("%s%s", s->req->path, colon);
}

static int l_load(lua_State *L) {
        const struct state *s = state_of(L);

        sandbox_open(L);
        vm_open(L);
        vore_open(L);
        if (luaL_loadfilex(L, s->req->path, "t") != LUA_OK)
                return lua_error(L);
        lua_call(L, 0, 0);
        return 0;
}

static int l_build(lua_State *L) {
        struct state *s = state_of(L);

        (void) l_load(L);
        lua_settop(L, 0);
        script_vm_new(L);
        vore_push_build_command(L);
        lua_pushvalue(L, 2);
        value_push(L, s->req->instance);
        lua_pushvalue(L, 1);
        lua_call(L, 2, 1);
        vore_check_returned(L, 1, 2, "the build function");
        vm_finish(s);
        return 0;
}

static int describe_error(const struct state *s, int status, struct error *err) {
        const char *text = lua_tostring(s->lua, -1);
        _cleanup_free_ char *whole = NULL;

        if (status == LUA_ERRMEM) /* Lua calls no message handler for it */
                return error_set(err, -ENOMEM, "%s", s->refused_text);
        whole = whole_name(s, text ? text : "an error without text");
        if (has_position(whole))
                return error_set(err, -EINVAL, "%s", whole);
        return error_set(err, -EINVAL, "%s:1: %s", s->req->path, whole);
}

/* Runs one C function of ours in a fresh state under both limits. */
static int state_run(struct state *s, lua_CFunction fn, json_t **ret_presets, struct error *err) {
        int r = 0, status;

        s->memory_max = s->req->memory_max > 0 ? s->req->memory_max : MEMORY_MAX;
        s->lua = s->current = lua_newstate(limits_alloc, s);
        if (!s->lua)
                return error_set(err, -ENOMEM, "%s:1: cannot make a Lua state", s->req->path);
        *(struct state **) lua_getextraspace(s->lua) = s;
        lua_setwarnf(s->lua, on_warn, s);
        /* Large buffers are refused without a collection: do not let garbage pile up to twice of what is
         * used. */
        (void) lua_gc(s->lua, LUA_GCINC, 120, 0, 0);
        limits_arm(s);
        lua_pushcfunction(s->lua, message_handler);
        lua_pushcfunction(s->lua, fn);
        status = lua_pcall(s->lua, 0, 0, 1);
        if (status != LUA_OK)
                r = describe_error(s, status, err);
        else if (ret_presets)
                *ret_presets = vore_presets(s->lua);
        lua_close(s->lua);
        limits_disarm();
        error_done(&s->error);
        strbuf_done(&s->warning);
        free(s->scratch);
        return r;
}

int script_run(const struct script_request *req, int report_fd, struct script_result *ret,
               struct error *err) {
        struct script_result result = { 0 };
        struct state s = { .req = req, .report_fd = report_fd, .result = &result };
        int r;

        r = state_run(&s, l_build, NULL, err);
        if (r < 0) {
                script_result_done(&result);
                return r;
        }
        gone_rewrite(&result, req->caps ? req->caps->version : NULL);
        *ret = result;
        return 0;
}

int script_presets(const struct script_request *req, int report_fd, json_t **ret, struct error *err) {
        struct script_result result = { 0 };
        struct state s = { .req = req, .report_fd = report_fd, .result = &result };
        int r;

        r = state_run(&s, l_load, ret, err);
        script_result_done(&result);
        return r;
}
