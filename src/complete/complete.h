/* def + host -> completed def: one small filler per section. Reads the host, changes nothing. What is
 * wrong with the definition on this host goes to diags with the place of the key that asked for it. */
#pragma once

#include "def/def.h"
#include "host/host.h"
#include "settings/settings.h"

/* A disk or VM that another VM of ours has, as the daemon knows. */
struct complete_use {
        const char *vm;   /* who */
        const char *path; /* disk path, absolute */
        bool read_only;
};

struct complete_request {
        const struct host *host;
        const struct settings *settings;
        const struct complete_use *uses; /* disks of other running VMs */
        size_t n_uses;
        uint64_t memory_used;    /* bytes that other running VMs were given, for the over-commitment warning */
        bool display;            /* --display */
        const char *qemu_binary; /* resolved; NULL if none */
};

/* Completes def in place: arch, kvm, uuid, rtc, cpu topology and model, hyperv, memory checks, disks
 * (exist, type, mounted, in use), firmware, spice socket path, network. Always fills in as much as it can. */
void complete(struct def *def, const struct complete_request *req, struct diags *diags);
