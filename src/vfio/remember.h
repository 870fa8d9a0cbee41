/* One small JSON object in a file of the run-time folder that holds for this boot: {"boot": ID, "devices":
 * {…}}. A file of another boot counts as empty. */
#pragma once

#include "base/error.h"
#include "base/json.h"

/* *ret: the object under "devices" (new reference), empty if there is no file. what: what the file is, for
 * the error of one that cannot be understood ("the list of stuck devices"): -EBADMSG, and the sentence names
 * it. */
int remember_read(const char *dir, const char *name, const char *what, json_t **ret, struct error *err);
/* Atomically; devices is stolen. */
int remember_write(const char *dir, const char *name, json_t *devices, struct error *err);
