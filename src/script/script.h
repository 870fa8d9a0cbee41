/* Lua in a worker: completed definition in, command line and diagnostics out.
 *
 * script_run() blocks, allocates up to 256 MiB and may never return: it is only called inside a worker
 * (work/). It sets an alarm of its own: past the deadline it reports the line that runs to report_fd and
 * exits, as it does when memory runs out. The worker's own deadline (SIGKILL) is longer. */
#pragma once

#include "base/error.h"
#include "base/json.h"
#include "qemu/argv.h"
#include "qemu/caps.h"

struct script_request {
        const char *path;         /* the user's qemu.lua, or the installed one */
        const char *library_dir;  /* holds vore/default.lua and what `require` finds besides */
        const json_t *instance;   /* def_to_json(DEF_JSON_LUA) */
        const json_t *global;     /* settings_to_json, uefi.default filled in */
        const struct caps *caps;  /* NULL: qemu.version "" and every has_ is false */
        const char *instance_dir; /* absolute: where get_file's copies live */
        int deadline_ms;          /* 5000 */
        size_t memory_max;        /* 256 MiB */
        bool *ret_bad_preset;     /* set when it fails at a disk whose preset there is not; may be NULL */
};

struct script_copy { /* get_file: copied at start, never overwritten */
        char *target, *source;
};

struct script_allow { /* vore:allow */
        char *path;
        bool write;
};

struct script_result {
        struct argv argv; /* without the binary: items are the arguments that the script made */
        struct script_copy *copies;
        size_t n_copies;
        struct script_allow *allows;
        size_t n_allows;
        char **warnings; /* e.g. "-no-hpet is gone from this QEMU: written as -machine hpet=off" */
        size_t n_warnings;
};

/* Errors carry file and line of the script. */
int script_run(const struct script_request *req, int report_fd, struct script_result *ret, struct error *err);
/* The disk presets: array of {name, description}. Runs the script without building anything. */
int script_presets(const struct script_request *req, int report_fd, json_t **ret, struct error *err);
void script_result_done(struct script_result *r);
json_t *script_result_to_json(const struct script_result *r);
int script_result_from_json(const json_t *j, struct script_result *ret, struct error *err);
