/* Files of the arguments that QEMU cannot open under its own uid: images of -drive and -blockdev with
 * their whole backing chain become /dev/fdset/N; paths in the instance folder go through that folder's
 * descriptor; the rest is noted for the check whether QEMU's uid reaches it. */
#pragma once

#include "plan/plan.h"

/* Rewrites args in place and fills p->files, p->reach and p->allows (device nodes). Adds "-add-fd"
 * arguments. Only for a VM with a uid of its own. An error that is about one of p->disks sets p->bad_disk. */
int handover(struct plan *p, struct argv *args, const char *instance_dir, const struct plan_request *req,
             struct error *err);
/* The device nodes that the arguments name, to p->allows; for every VM. */
void handover_nodes(struct plan *p, const struct argv *args);
/* "key=value,…" of an object without nested ones, as argv_parse_keyval() gives it. Owned by the caller. */
char *handover_keyval_text(const json_t *flat);
/* After handover(): what else it opens for QEMU (a chain's images, a script's own), to p->disks; not the VM's
 * own copies. */
void handover_uses(struct plan *p, const char *instance_dir);
/* QEMU's words with the paths that /dev/fdset/N and /proc/self/fd/N stand for. Owned by the caller. */
char *handover_readable(const struct plan *p, const char *text);
