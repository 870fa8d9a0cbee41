/* What a QEMU binary can do: asked once per binary, kept in a small text file, searched without being parsed
 * into memory. The file is a snapshot of exactly what scripts can ask for.
 *
 * Its first line is "vore-caps 2 " and the binary's identity. Each other line is a fact: a kind, a name, and
 * the names of what belongs to it (a device's properties, an option's parameters), separated by single
 * spaces; the lines are sorted by byte. Devices that cannot be made at all, as a part of theirs is not
 * installed (a display with OpenGL without its module), are left out; CPU types are named without their
 * properties. */
#pragma once

#include "base/error.h"

#include <stdbool.h>

struct caps {
        char *text; /* owned: the file's text, one fact a line */
        size_t len;
        char *version; /* owned: "7.2.22" */
};
#define CAPS_INIT ((struct caps){ 0 })

/* Asks binary, blocking: forks it with -M none and talks QMP. Runs in a worker, never in the daemon itself.
 * Gives the text of the cache file. deadline_ms bounds it; the error quotes QEMU's last words. */
int caps_probe(const char *binary, int deadline_ms, char **ret_text, struct error *err);

/* The first line identifies the binary: path, size, mtime, ctime, of itself and of its module folder. Without
 * newline. A binary without slash is looked for in PATH; -ENOENT says that it is not there. */
int caps_identity(const char *binary, char **ret, struct error *err);
/* Looks into cache_dir; -ENOENT if there is nothing for this binary as it is now. */
int caps_load(const char *cache_dir, const char *binary, struct caps *ret, struct error *err);
/* Is there something for this binary as it is now? Cheap: only the first line is looked at. */
bool caps_known(const char *cache_dir, const char *binary);
/* Keeps text (of caps_probe) in cache_dir, which is made if need be; replaces what was there. */
int caps_store(const char *cache_dir, const char *binary, const char *text, struct error *err);
/* From text (a captured host's file). -EBADMSG if it is none. */
int caps_parse(const char *text, struct caps *ret, struct error *err);
void caps_done(struct caps *c);
#define _cleanup_caps_ _cleanup_(caps_done)

bool caps_has_device(const struct caps *c, const char *type);
bool caps_has_property(const struct caps *c, const char *type, const char *name);
/* Kinds: "option" (run-with, spice …), "option-param" as "run-with.user", "object" (iommufd),
 * "audiodev" and "display" (those that are installed), "netdev", "chardev", "blockdev" (host_device), "aio"
 * (io_uring), "tpm" (emulator), "machine" (q35), "machine-deprecated" (pc-q35-2.4), "machine-property" of
 * those with a short name ("q35.hpet"), "accel" (kvm), "accel-property" ("kvm.device"), "cpu-property" of the
 * CPU model max ("hv-vapic"), "command", "device", "property" ("nvme.serial"). An unknown kind has nothing.
 */
bool caps_has(const struct caps *c, const char *kind, const char *name);
/* The most vCPUs of a machine type (cpu-max of query-machines); 0: not known. */
unsigned caps_cpus_max(const struct caps *c, const char *machine);
