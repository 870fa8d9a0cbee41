/* A definition: what a TOML file says of one VM, as a tree of structs, one per section.
 *
 * def_parse() fills in what the file says (and the defaults of the table of keys); complete/ adds what
 * the host knows. Every value's origin is known: file (with its place), default or host. All memory
 * belongs to the arena. Strings that are not set are NULL here and "" in Lua and JSON.
 *
 * THE table of keys is def/keys.c; these structs only give its rows a place to write to. */
#pragma once

#include "schema/diag.h"
#include "schema/schema.h"

#include <stdbool.h>

struct def_machine {
        struct section head;
        const char *name;
        uint64_t memory; /* bytes */
        struct strings features;
        bool auto_start;
        const char *arch;    /* "x86_64" */
        const char *chipset; /* "q35" */
        int kvm;             /* enum tristate; completed: TRI_TRUE or TRI_FALSE */
        const char *uuid;
        const char *rtc; /* "utc" or "localtime" */
        int64_t hotplug_ports;
};

struct def_cpu {
        struct section head;
        int64_t amount, threads, cores, dies, sockets; /* 0: not given; completed: all > 0 */
        const char *model;
        struct strings flags;
        int hyperv; /* enum tristate */
        bool hidden;
        const char *vendor_id;
        struct strings pin;
        const char *emulator_pin;
        bool isolate;
        const char *governor, *scheduler;
};

struct def_disk {
        struct section head;
        const char *preset, *path, *disk_type, *serial;
        bool read_only;
        int64_t boot_index; /* -1: not given */
        bool cdrom;         /* added by --cdrom; no key of the file */
        bool block;         /* completed, no key of the file: it is a block device, wherever its path is */
};

struct def_vfio {
        struct section head;
        bool reserve, graphics, multifunction, group, force;
        int64_t vendor, device; /* -1: not given */
        int64_t index;
        const char *address; /* "0000:0b:00.3" */
        int x_vga;           /* enum tristate */
        const char *rebind, *reset_method, *rom;
        int rom_bar; /* enum tristate */

        /* Completed; no keys of the file. Completion also gives vendor, device, index and address (always),
         * multifunction (the property of the guest's device), x_vga (TRI_TRUE or TRI_FALSE) and rebind. */
        bool along;          /* added by `group` of another one, at the end */
        bool attached;       /* added by `vore attach` while the machine runs */
        bool held;           /* the machine has it already; only where others are to be attached */
        int64_t class;       /* 24 bits of the PCI class; -1 before */
        int64_t iommu_group; /* -1: none, or before */
        int64_t guest_slot, guest_function; /* functions of one host slot share a slot; slots count from 0 */
        uint64_t bars, bars_64;             /* bytes of its memory BARs, and of the 64-bit ones among them */
};

struct def_uefi {
        struct section head;
        bool enabled, secure_boot;
        const char *firmware;                 /* name of [uefi.NAME] in vored.toml */
        const char *boot_code, *template_;    /* completed; no keys of the file */
        const char *format, *template_format; /* completed: each "raw" or "qcow2" */
};

/* [pulse], [jack] and [pipewire]: each has the keys that it needs. */
struct def_audio {
        struct section head;
        bool enabled, required;
        const char *user;
        const char *socket_path;                          /* completed for all, a key of [pulse] only */
        const char *server, *client_name, *connect_ports; /* [jack] */
        int64_t latency;                                  /* microseconds; 0: not given */

        /* Completed; no keys of the file. */
        int64_t user_uid; /* -1 before */
        bool silent;      /* no server answers: the card is there and nobody hears it */
};

struct def_scream {
        struct section head;
        bool enabled;
        const char *mem_path; /* completed */
        uint64_t buffer_size; /* a power of two */
};

struct def_spice {
        struct section head;
        bool enabled;
        const char *socket_path;

        /* Completed; no keys of the file: what the guest has for a person in front of it. Without SPICE they
         * are unset and 0, but for what Looking Glass wants. */
        const char *display;            /* QEMU's display adapter; "none": not any */
        const char *keyboard, *pointer; /* beside those of the board (PS/2); "none": only those */
        bool agent, audio;              /* the agent's channel; a sound card whose sound goes to the client */
        int64_t usb_redirection;        /* channels for USB devices of the client */
};

struct def_looking_glass {
        struct section head;
        bool enabled;
        int64_t width, height, bit_depth;
        uint64_t buffer_size; /* 0: not given; completed: a power of two */
        const char *mem_path; /* completed */
        bool kvmfr;           /* completed, no key of the file: mem_path is a device of that module */
};

struct def_tpm {
        struct section head;
        bool enabled;
};

struct def_hugepages {
        struct section head;
        bool enabled, required;
        const char *size;
};

struct def_usb {
        struct section head;
        int64_t vendor, product, index; /* vendor, product: -1: not given */
        const char *port, *serial;
        bool required;
};

struct def_network {
        struct section head;
        const char *type, *bridge, *interface, *mac, *model;
        struct strings forward;
};

struct def_input {
        struct section head;
        const char *path, *name, *grab_toggle;
};

struct def {
        struct arena *arena;   /* borrowed */
        const char *file;      /* as messages name it */
        const char *directory; /* relative paths count from here; absolute */
        struct def_machine machine;
        struct def_cpu cpu;
        struct def_uefi uefi;
        struct def_audio pulse, jack, pipewire;
        struct def_scream scream;
        struct def_spice spice;
        struct def_looking_glass looking_glass;
        struct def_tpm tpm;
        struct def_hugepages hugepages;
        struct def_disk *disk;
        struct def_vfio *vfio;
        struct def_usb *usb;
        struct def_network *network;
        struct def_input *input;
        size_t n_disk, n_vfio, n_usb, n_network, n_input;
};

enum def_flags {
        DEF_SAVE = 1 << 0, /* it is to be saved: relative paths are errors */
        DEF_ALL = 1 << 1,  /* sections and keys that are not supported yet are no errors: for the tests of
                            * those to  come */
};

enum { DEF_SIZE_MAX = 64 * 1024, DEF_DEPTH_MAX = 16 };

/* Parses text (len bytes; it need not end in NUL) and checks everything that can be checked without a
 * host. Faults go to diags. Always gives a def in *ret, as far as it could be read (name may be NULL
 * after errors); returns 0, or -EINVAL if there is at least one error in diags. directory is absolute. */
int def_parse(struct arena *arena, const char *text, size_t len, const char *directory, unsigned flags,
              struct def **ret, struct diags *diags);

/* Just machine.name, memory (bytes), vCPUs, auto-start and whether devices are reserved of a text, for lists:
 * cheaper for the eye, the same parser. -EINVAL with one sentence, the first fault with its place, when it
 * does not parse. */
struct def_summary {
        char name[65];
        uint64_t memory;
        int64_t vcpus;
        bool auto_start, reserves;
};
void def_summary(const struct def *def, struct def_summary *ret);
int def_summarize(const char *text, size_t len, const char *directory, struct def_summary *ret,
                  struct error *err);
/* The same of a definition that was saved under a name: it must be that one's, and its paths absolute. */
int def_summarize_saved(const char *text, size_t len, const char *name, struct def_summary *ret,
                        struct error *err);

/* Appends a device that def->vfio[of].group takes along: what is said there of force, reserve and rebind
 * counts for it too. Its place in the file is that of `group`. */
struct def_vfio *def_add_vfio(struct def *def, size_t of);

/* Appends a device that is attached while the machine runs. It has no place in the file; the origin of its
 * address is "attached". */
struct def_vfio *def_add_attached(struct def *def, const char *address);

/* "0b:00.3" or "0000:0b:00.3" -> the full form in small letters, in the arena; NULL if it is none. A domain
 * has four to eight digits: those of controllers behind Intel's VMD and of virtual machines are beyond 16
 * bits. */
const char *def_pci_address(struct arena *arena, const char *s);

/* [A-Za-z0-9][A-Za-z0-9._-]{0,63} */
bool def_name_valid(const char *name);

/* Appends a disk as --cdrom gives it: preset iso, raw unless the name says otherwise, read-only,
 * cdrom = true. path is absolute. */
struct def_disk *def_add_cdrom(struct def *def, const char *path);
/* Appends a network card with the table's defaults, its path "network[N]", no place in the file: for the
 * card that a definition without [[network]] gets. complete/ fills in type and model. */
struct def_network *def_add_network(struct def *def);

/* "raw", "qcow2", … as the path says it by itself; NULL if it does not. */
const char *def_disk_type_by_name(const char *path);
/* As it is written, or, where nothing is, as its preset has it: a CD is only read. */
bool def_disk_read_only(const struct def_disk *disk);

/* The sections as Lua sees them: `disk` is "disks", names in snake_case, every key there, unset strings
 * "". DEF_JSON_LUA: memory in MiB (as scripts expect); else all sizes in bytes. DEF_JSON_ORIGIN: each value
 * is {value, origin: "file"|"default"|"host"|"attached", where: text or null}. name, memory, … of [machine]
 * stand at the top level for Lua (instance.name); for show they stand under "machine" as well. */
enum def_json_flags { DEF_JSON_LUA = 1 << 0, DEF_JSON_ORIGIN = 1 << 1 };
json_t *def_to_json(const struct def *def, unsigned flags);

/* THE table of keys. */
extern const struct schema def_schema;

/* Origins, by field: DEF_MARK(&def->machine, memory, ORIGIN_HOST, "proc/meminfo"). */
#define DEF_MARK(s, field, kind, where)                                                                      \
        section_mark(&(s)->head, offsetof(__typeof__(*(s)), field), (kind), (where))
/* Was it written in the file (or through features)? */
#define DEF_GIVEN(s, field) section_given(&(s)->head, offsetof(__typeof__(*(s)), field))
/* Was it written, and told to be faulty? */
#define DEF_FAULTY(s, field) section_faulty(&(s)->head, offsetof(__typeof__(*(s)), field))
/* The place of the value in the file, else of its section, else none. */
#define DEF_LOC(s, field) section_loc(&(s)->head, offsetof(__typeof__(*(s)), field))
