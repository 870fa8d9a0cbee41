/* What must be undone: one append-only file per machine in the run-time folder. An entry is written before
 * its effect and struck after its undo, so that whoever comes after a kill -9 knows everything that may have
 * to be undone, and nothing twice for good. The first line names the boot: another boot's journal is
 * discarded, as the effects it names ended with that boot.
 *
 * One JSON object a line: {"boot": ID}, {"add": N, "kind": K, "args": {…}}, {"strike": N}. A last line
 * without its newline was cut off by a crash: its effect never happened, it is ignored. Limits: 1 MiB of open
 * entries, 4096 of them, 64 KiB for one; what is struck does not count, as a full file is written anew
 * without it. */
#pragma once

#include "base/error.h"
#include "base/json.h"

struct journal;

/* Opens <dir>/<name>, making it if it is not there; reads what is open. */
int journal_open(const char *dir, const char *name, struct journal **ret, struct error *err);
/* args is stolen. The entry is in the file when this returns (a run-time folder is memory: no fsync). -EFBIG,
 * -ENOSPC: past a limit; nothing was written. */
int journal_add(struct journal *j, const char *kind, json_t *args, uint64_t *ret_id, struct error *err);
/* An id that is not open is fine. The last strike empties the file. */
int journal_strike(struct journal *j, uint64_t id, struct error *err);
size_t journal_count(const struct journal *j);

/* Calls fn for every open entry, newest first; fn may strike it. Stops at and returns what fn returns if
 * negative. */
typedef int (*journal_fn)(uint64_t id, const char *kind, const json_t *args, void *data);
int journal_open_entries(struct journal *j, journal_fn fn, void *data, struct error *err);

/* Keeps the file. NULL is fine. */
void journal_close(struct journal *j);
