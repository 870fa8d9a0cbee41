/* What a QEMU binary can do: asked once per binary (FACTS 1.3), kept in a small text file, searched
 * without being parsed into memory. The file is a snapshot of exactly what scripts can ask for. */
#pragma once

#include "base/error.h"

#include <stdbool.h>

struct caps {
        char *text;    /* owned: the file's text, one fact a line */
        size_t len;
        char *version; /* owned: "7.2.22" */
};

/* Asks binary, blocking: forks it with -M none and talks QMP. Runs in a worker, never in the daemon itself.
 * Gives the text of the cache file. deadline_ms bounds it; the error quotes QEMU's last words. */
int caps_probe(const char *binary, int deadline_ms, char **ret_text, struct error *err);

/* The first line identifies the binary: path, size, mtime, ctime, of itself and of its module folder. */
int caps_identity(const char *binary, char **ret, struct error *err);
/* Looks into cache_dir; -ENOENT if there is nothing for this binary as it is now. */
int caps_load(const char *cache_dir, const char *binary, struct caps *ret, struct error *err);
int caps_store(const char *cache_dir, const char *binary, const char *text, struct error *err);
/* From text (a captured host's file). */
int caps_parse(const char *text, struct caps *ret, struct error *err);
void caps_done(struct caps *c);

bool caps_has_device(const struct caps *c, const char *type);
bool caps_has_property(const struct caps *c, const char *type, const char *name);
/* Kinds: "option" (run-with, spice …), "option-param" as "run-with.user", "object" (iommufd),
 * "audiodev", "netdev", "machine" (q35), "command". */
bool caps_has(const struct caps *c, const char *kind, const char *name);
