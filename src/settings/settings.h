/* vored's settings: vored.toml, read by the same engine as definitions, plus the options of the command
 * line, plus the defaults for system and session mode. All memory is the arena's. */
#pragma once

#include "schema/diag.h"
#include "schema/schema.h"

#include <stdbool.h>
#include <sys/types.h>

struct settings_vore {
        struct section head;
        const char *group;
        const char *state_dir, *runtime_dir, *socket, *log_level; /* as options of vored */
};

struct settings_qemu {
        struct section head;
        const char *script;          /* absolute when read; NULL: the installed default */
        const char *binary;          /* NULL: qemu-system-<arch> from PATH */
        const char *uids;            /* "70000-70999" */
        int64_t uid_first, uid_last; /* parsed from uids */
        const char *user;            /* NULL: a number per VM */
        bool sandbox;
};

struct settings_vfio {
        struct section head;
        int64_t timeout; /* seconds */
};

struct settings_uefi {
        struct section head;
        const char *name; /* "default", … */
        const char *boot_code, *template_;
};

struct settings {
        bool system;           /* system mode: root */
        const char *file;      /* vored.toml that was read; NULL: none there */
        const char *log_dir;   /* made from state_dir, or /var/log/vore */
        const char *shm_dir;   /* /dev/shm/vore or /dev/shm/vore-UID */
        const char *cache_dir; /* capability cache: <state>/cache as root, else $XDG_CACHE_HOME/vore */
        struct settings_vore vore;
        struct settings_qemu qemu;
        struct settings_vfio vfio;
        struct settings_uefi *uefi;
        size_t n_uefi;
};

struct settings_options { /* what the command line of vored said; NULL: nothing */
        const char *config, *state_dir, *runtime_dir, *socket, *log_level;
};

/* Reads the settings for this user (system mode: euid 0). A missing vored.toml means defaults; a missing
 * one that was named, or a missing script that was named, is an error. Faults of the file go to diags, whose
 * file becomes vored.toml's path, and -EINVAL; anything else to err. */
int settings_load(struct arena *arena, const struct settings_options *options, struct settings **ret,
                  struct diags *diags, struct error *err);

/* Where the client looks for a daemon, in order: the session's socket, the system's. Arena strings. */
const char *settings_session_socket(struct arena *arena);
const char *settings_system_socket(void);

/* The table of vored.toml's keys. */
extern const struct schema settings_schema;

/* NULL: there is no [uefi.NAME] of that name. */
const struct settings_uefi *settings_uefi_find(const struct settings *s, const char *name);
/* What scripts see as `global`. */
json_t *settings_to_json(const struct settings *s);
