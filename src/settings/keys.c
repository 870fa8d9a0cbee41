/* The table of vored.toml's keys. */
#include "settings/internal.h"

#include "base/macros.h"

#define ROW(key, kind, field, ...)                                                                           \
        { .name = key, .type = kind, .offset = offsetof(struct S, field), __VA_ARGS__ }

#define S settings_vore
static const struct schema_row vore[] = {
        ROW("group", ROW_STRING, group, .text = "vore",
            .doc = "The group whose members may use the socket, SPICE sockets and shared memory files."),
        ROW("state-dir", ROW_PATH, state_dir, .words = "/var/lib/vore; in session mode $XDG_STATE_HOME/vore",
            .doc = "The folder of saved definitions and of what belongs to each VM. It implies logs in its "
                   "folder log."),
        ROW("runtime-dir", ROW_PATH, runtime_dir, .words = "/run/vore; in session mode $XDG_RUNTIME_DIR/vore",
            .doc = "The folder of what lasts until the host's end. It implies the socket vored.sock in it."),
        ROW("socket", ROW_PATH, socket, .words = "vored.sock in runtime-dir",
            .doc = "The socket on which the daemon listens; at most 107 bytes."),
        ROW("log-level", ROW_STRING, log_level, .allowed = "error|warning|info|debug", .text = "info",
            .doc = "How much the daemon says."),
};
#undef S

#define S settings_qemu
static const struct schema_row qemu[] = {
        ROW("script", ROW_PATH, script, .words = "the installed qemu.lua",
            .doc = "The Lua script that builds QEMU's command line; relative to this file."),
        ROW("binary", ROW_STRING, binary, .words = "qemu-system-ARCH from PATH",
            .doc = "QEMU's binary: a name in PATH, or a path, relative to this file."),
        ROW("uids", ROW_STRING, uids, .text = "70000-70999",
            .doc = "In system mode: the numbers of users under which VMs run, each under one of its own. No "
                   "user of the host may have one of them."),
        ROW("user", ROW_STRING, user, .words = "none",
            .doc = "Run all VMs under this user instead, by name or # and a number; that gives up their "
                   "separation. \"root\" is possible."),
        ROW("sandbox", ROW_BOOL, sandbox, .number = 1,
            .doc = "Keep QEMU from system calls that it does not need."),
};
#undef S

#define S settings_vfio
static const struct schema_row vfio[] = {
        ROW("timeout", ROW_INT, timeout, .min = 1, .max = 3600, .number = 10,
            .doc = "Seconds until binding or unbinding a device counts as stuck."),
};
#undef S

#define S settings_uefi
static const struct schema_row uefi[] = {
        ROW("boot-code", ROW_PATH, boot_code, .flags = ROW_REQUIRED, .doc = "The firmware's code."),
        ROW("template", ROW_PATH, template_, .flags = ROW_REQUIRED,
            .doc = "The firmware's variables, of which each VM gets a copy."),
};
#undef S

#define SECTION(key, field, type, table, ...)                                                                \
        {                                                                                                    \
                .name = key, .offset = offsetof(struct settings, field), .size = sizeof(struct type),        \
                .rows = table, .n_rows = ARRAY_SIZE(table), __VA_ARGS__                                      \
        }

static const struct schema_section sections[] = {
        SECTION("vore", vore, settings_vore, vore, .doc = "The daemon itself. Its options beat these keys."),
        SECTION("qemu", qemu, settings_qemu, qemu, .doc = "How QEMU is run."),
        SECTION("vfio", vfio, settings_vfio, vfio, .doc = "Passing devices through."),
        SECTION("uefi", uefi, settings_uefi, uefi, .flags = SECTION_NAMED,
                .count_offset = offsetof(struct settings, n_uefi),
                .name_offset = offsetof(struct settings_uefi, name),
                .doc = "Firmware that definitions choose by NAME. Without [uefi.default] it is found through "
                       "QEMU's firmware descriptors."),
};

const struct schema settings_schema = {
        .file = "vored.toml",
        .sections = sections,
        .n_sections = ARRAY_SIZE(sections),
};
