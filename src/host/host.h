/* Facts of this machine, read-only, all under one root directory descriptor, so that a captured tree
 * (VORE_HOST_ROOT) can be replayed on any machine: symlinks are resolved inside it, never outside. */
#pragma once

#include "base/arena.h"
#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct host; /* holds the root descriptor and remembers nothing else */

/* root NULL: VORE_HOST_ROOT, else "/". */
int host_open(const char *root, struct host **ret, struct error *err);
void host_free(struct host *h);
/* A captured tree: no VM can be started. */
bool host_captured(const struct host *h);
/* The captured tree's QEMU capabilities (caps text), or -ENOENT on a real host. Owned by the caller. */
int host_captured_caps(const struct host *h, char **ret, struct error *err);

/* The other facts follow, one group per file: memory, cpu, kvm, firmware, disks, mounts, users, devices. */
