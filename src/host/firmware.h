/* UEFI images by QEMU's firmware descriptors (QEMU's docs/interop/firmware.json): JSON files in
 * /usr/share/qemu/firmware, /etc/qemu/firmware and the user's qemu/firmware. A file hides one of the same
 * name in a folder before; an empty one only hides. What is left counts in the order of the names. */
#pragma once

#include "host/host.h"

struct host_firmware_want {
        const char *arch;    /* "x86_64" */
        const char *machine; /* "q35", "pc-q35-7.2" */
        bool secure_boot; /* true: must have Secure Boot with enrolled keys; false: must have neither enrolled
                           * keys nor a need for SMM, which is slow without KVM and not everywhere */
        const char *user_config; /* the user's configuration folder ("~/.config"), or NULL: system only */
};

struct host_firmware {                   /* all strings in the arena */
        const char *descriptor;          /* path of the JSON file */
        const char *executable, *format; /* format: "raw" or "qcow2" */
        const char *nvram_template, *nvram_format;
};

/* The first that fits, with variables (flash, not stateless) and both files there. -ENOENT: none, with an
 * error that says what came nearest. */
int host_firmware(const struct host *h, const struct host_firmware_want *want, struct arena *arena,
                  struct host_firmware *ret, struct error *err);

/* What a descriptor says of an executable that vored.toml names: 1 it has Secure Boot, 0 it has not, -ENOENT:
 * no descriptor names it. */
int host_firmware_secure(const struct host *h, const char *executable, const char *user_config);
