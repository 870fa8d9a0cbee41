/* What belongs to one run of a script. Every C function that Lua calls finds it in the extra space of its
 * lua_State. An error that a Lua function has to raise is put here first (its text then belongs to the
 * state), so that nothing is lost when lua_error() jumps. */
#pragma once

#include <lua.h>
#include <signal.h>
#include <stdbool.h>

#include "base/str.h"
#include "script/script.h"

enum {
        STATE_ARGS_MAX = 4096,
        STATE_ARG_MAX = 64 * 1024,          /* bytes of one argument */
        STATE_ARGS_BYTES_MAX = 1024 * 1024, /* of all: the kernel takes 2 MiB, with the environment */
        STATE_NOTES_MAX = 64,               /* warnings, copies, allows: each */
        STATE_NOTE_MAX = 1024,              /* bytes of one warning */
};

struct state {
        const struct script_request *req;
        int report_fd;
        lua_State *lua;               /* the main thread */
        lua_State *volatile current;  /* the coroutine that runs, or the main thread */
        struct script_result *result; /* borrowed: being filled in */
        size_t args_bytes;
        bool device_next;      /* vm:arg got "-device": its value comes next */
        struct error error;    /* what a wrapper is about to raise */
        char *scratch;         /* owned: text on its way to Lua */
        struct strbuf warning; /* owned: the pieces so far; no data: none */
        size_t memory_used, memory_max;
        size_t refused;          /* size that was refused last, without a success since */
        char refused_text[1024]; /* "file:12: needs more than 256 MiB of memory" */
        volatile sig_atomic_t expired;
        char expired_text[64]; /* "ran longer than 5 s" */
        char memory_text[64];
};

static inline struct state *state_of(lua_State *L) {
        return *(struct state **) lua_getextraspace(L);
}

/* Raises s->error with the position of the Lua function that called. */
int state_raise(lua_State *L);
/* What a C string can hold, and JSON; else -EINVAL, with s->error. */
int state_check_text(struct state *s, const char *text, size_t len);
/* Adds a warning; past STATE_NOTES_MAX it is dropped. */
void state_warn(struct state *s, const char *text);

/* limits.c */
void *limits_alloc(void *state, void *ptr, size_t old_size, size_t new_size);
/* From now on the deadline counts; it ends the process after a report that names file and line. */
void limits_arm(struct state *s);
void limits_disarm(void);

/* sandbox.c: opens the libraries that scripts have, and puts refusals in place of what they have not. */
void sandbox_open(lua_State *L);

/* vm.c */
void vm_open(lua_State *L);       /* makes the class */
void script_vm_new(lua_State *L); /* pushes a vm object */
void vm_finish(struct state *s);  /* writes down an argument that still waits */

/* vore.c: the globals vore, qemu, global, tojson, print. */
void vore_open(lua_State *L);
/* Pushes the build function, or raises. */
void vore_push_build_command(lua_State *L);
/* Raises unless the value on top is the vm at index vm; what names the function at index fn: "the build
 * function". */
void vore_check_returned(lua_State *L, int vm, int fn, const char *what);
/* array of {name, description} in the order of their first registration. */
json_t *vore_presets(lua_State *L);
