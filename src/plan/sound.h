/* Sound servers that are another user's. QEMU reaches such a server without a way through that user's
 * folders: the child opens its socket as a mere place (O_PATH), with the rights of the socket's owner, and
 * QEMU connects to /proc/self/fd/N. PulseAudio also wants its user's cookie: a copy in memory, which only
 * QEMU's number may read and which is gone with QEMU. JACK wants a group, and its clients' threads. */
#pragma once

#include "plan/plan.h"

/* The sockets that -audiodev names become descriptors (p->files) in args; for a VM with a uid of its own,
 * before handover(). */
int sound_handover(struct plan *p, struct argv *args, struct error *err);
/* After handover(): fills in p->environ, p->cookie, p->group and, where a socket's mode keeps uid out,
 * p->sockets. uid as in plan_request. */
void sound_note(struct plan *p, const struct def *def, const struct host *host, uid_t uid);
/* Do the arguments have a client of JACK? It sets the scheduling of its threads. */
bool sound_jack(const struct argv *args);
/* Is QEMU's module for each enabled way there? caps NULL: not known. */
void sound_check(const struct def *def, const struct caps *caps, struct diags *diags);
