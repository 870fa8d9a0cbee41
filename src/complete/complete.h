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

/* A PCI device that another running VM of ours has. */
struct complete_device {
        const char *vm;
        const char *address; /* "0000:0b:00.0" */
        int iommu_group;     /* -1: not known */
};

struct complete_request {
        const struct host *host;
        const struct settings *settings;
        const struct complete_use *uses; /* disks of other running VMs */
        size_t n_uses;
        const struct complete_device *device_uses; /* PCI devices of other running VMs */
        size_t n_device_uses;
        uint64_t memory_used; /* bytes that other running VMs were given, for the over-commitment warning */
        bool display;         /* --display */
        const char *qemu_binary; /* resolved; NULL if none */
};

/* Completes def in place: arch, kvm, uuid, rtc, cpu topology and model, hyperv, memory checks, disks
 * (exist, type, mounted, in use), host devices (which, free, whole groups, their places in the guest),
 * firmware, spice socket path, sound servers, network, display and input devices, shared memory. Always fills
 * in as much as it can. */
void complete(struct def *def, const struct complete_request *req, struct diags *diags);

/* Only the devices with `reserve`, as complete() chooses them, with those that their `group` takes along:
 * what is wrong with them goes to diags, and those that cannot be had keep the class -1. That a group is not
 * viable, or another VM has a device, is no reason against it. */
void complete_reserved(struct def *def, const struct complete_request *req, struct diags *diags);

/* In session mode: a warning at each `reserve`, which does nothing there. */
void complete_warn_reserve(const struct def *def, struct diags *diags);

/* Bytes that QEMU must be allowed to lock (RLIMIT_MEMLOCK) for a completed definition with devices: VFIO pins
 * the guest's memory, what is shared with it, and maps the BARs; 1 GiB more is for QEMU and the firmware. 0
 * without devices. */
uint64_t complete_memlock(const struct def *def);

/* The firmware "default": [uefi.default] of vored.toml, else the first fitting descriptor of this host; for
 * scripts' global.uefi.default. arch and chipset NULL: the host's and q35. -ENOENT: none. */
int complete_default_firmware(const struct host *host, const struct settings *settings, const char *arch,
                              const char *chipset, struct arena *arena, const char **ret_boot_code,
                              const char **ret_template, struct error *err);

/* The UUID of a VM: version 5 of RFC 9562 (SHA-1 over a namespace of vore's own, then "MACHINE-ID:NAME"), so
 * that it stays the same on one host and differs between hosts. machine_id may be "". */
void complete_uuid(const char *machine_id, const char *name, char ret[static 37]);
