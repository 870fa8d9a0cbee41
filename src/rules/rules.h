/* What claims devices for vfio-pci while the host boots, before any other driver sees them: the text of the
 * files, and the files themselves.
 *
 * Each device is claimed by its driver_override, and only while its address, vendor and device all are as
 * listed, it has no driver yet, an IOMMU group, and vfio-pci can be had: an equal card stays with the host,
 * one that moved or was exchanged is not touched, and what cannot be claimed boots as always. Nothing is
 * written for all cards of a kind (vfio-pci.ids=, new_id).
 *
 * Every file of ours has a line "# vore: HASH FOLDER…": a hash of its other lines, and the folders that were
 * made for it. A file without that line is somebody else's, one with another hash was changed by hand:
 * neither is written over or removed.
 *
 * Facts: systemd-udevd writes ATTR{} while it reads the rules and runs RUN{builtin} behind all of them
 * (udev(7); 80-drivers.rules loads drivers by RUN{builtin}); it sorts the tests of one line, so that what
 * depends on an IMPORT needs a line of its own. mkinitramfs orders the scripts without prerequisites by name
 * (tsort(1) prints its unconstrained input in order), and udev's script in init-top is named "udev";
 * mkinitramfs copies local udev rules into the initramfs, where ours does nothing as long as vfio-pci is not
 * there. */
#pragma once

#include "base/error.h"
#include "base/json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum rules_kind { RULES_UDEV, RULES_INITRAMFS_TOOLS, RULES_DRACUT, RULES_KIND_COUNT };

struct rules_device {
        const char *address; /* "0000:0b:00.0" */
        uint16_t vendor, device;
        const char *vms; /* for whom: "win10, games" */
};

/* -EINVAL with the kinds there are. */
int rules_kind_find(const char *name, enum rules_kind *ret, struct error *err);
const char *rules_kind_name(enum rules_kind kind);
/* Can it be installed by us, or is it only printed? */
bool rules_kind_installs(enum rules_kind kind);

/* All files of a kind as a text for people: each below a line with its path and mode, and what to do with
 * them. Owned by the caller. */
char *rules_emit(enum rules_kind kind, const struct rules_device *devices, size_t n);

/* Where things are; NULL everywhere: this machine. */
struct rules_place {
        const char *
                root; /* the files' paths count from there; NULL: "/", and the programs of the kind are run */
        const char *state_dir; /* has a note of what the last initramfs was made with; NULL: none */
        const char *programs;  /* with root: the folder of the programs to run; NULL: none are run */
};

enum rules_state {
        RULES_ABSENT,
        RULES_CURRENT,
        RULES_OUTDATED, /* other devices, another version of vore, a file missing, or an initramfs without it
                         */
        RULES_FOREIGN,  /* one of its paths has a file that is not ours, or that was changed by hand */
};
/* Reads a few small files. devices may be none: then whatever is there is out of date. */
enum rules_state rules_look(const struct rules_place *place, enum rules_kind kind,
                            const struct rules_device *devices, size_t n);

struct rules_job {
        struct rules_place place;
        enum rules_kind kind;
        const struct rules_device *devices;
        size_t n;
        bool remove;
};
/* A work_fn; arg is a struct rules_job. Installs or removes. Result: {files: [paths that were written or
 * removed], ran: the command that was run, or null}; no files: all was as it should be. On failure all is as
 * it was before, but for a removal whose command failed: its files are gone, and the next try runs the
 * command again. */
int rules_work(void *job, int report_fd, json_t **ret, struct error *err);
enum { RULES_DEADLINE_MS = 10 * 60 * 1000 }; /* an initramfs for every kernel takes its time */
