/* What the fillers share: the definition under completion and what they found out on the way. Internal. */
#pragma once

#include "complete/complete.h"

#include "base/str.h"

struct fill {
        struct def *def;
        const struct complete_request *req;
        struct diags *diags;
        struct arena *arena;
        const char *kvm_why, *kvm_hint; /* why KVM is not usable, and what to do; NULL if it is */
        bool asks_hyperv;               /* the definition says hyperv = true */
};

/* In this order: later ones read what earlier ones filled in. */
void fill_machine(struct fill *f); /* arch, chipset, QEMU, uuid */
void fill_kvm(struct fill *f);
void fill_cpu(struct fill *f); /* model, hyperv, amount against the host */
void fill_clock(struct fill *f);
void fill_memory(struct fill *f);
void fill_disks(struct fill *f);
void fill_vfio(struct fill *f); /* host devices; adds the rest of their groups */
void fill_uefi(struct fill *f);
void fill_sockets(struct fill *f); /* SPICE's path, and the length of all socket paths */
void fill_sound(struct fill *f);   /* whose sound server, where it listens, does it answer */
void fill_network(struct fill *f);
void fill_desktop(struct fill *f);       /* what SPICE and Looking Glass want from the VM */
void fill_shared_memory(struct fill *f); /* files of Looking Glass and Scream */

/* A fault at the key of a field: FILL_ERROR(f, &def->machine, kvm, "kvm", hint, "…", …). */
#define FILL_ERROR(f, s, field, key, hint, ...)                                                              \
        diag_error((f)->diags, DEF_LOC(s, field), section_key((f)->arena, &(s)->head, key), hint, __VA_ARGS__)
#define FILL_WARNING(f, s, field, key, hint, ...)                                                            \
        diag_warning((f)->diags, DEF_LOC(s, field), section_key((f)->arena, &(s)->head, key), hint,          \
                     __VA_ARGS__)
