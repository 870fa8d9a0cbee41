/* The walk from a definition's text to a command line: parse, complete, script, finish. Pure: it reads the
 * host and changes nothing. It may run a user's Lua, so it is only called inside a worker (work/); its result
 * crosses the pipe as JSON. */
#pragma once

#include "complete/complete.h"
#include "qemu/argv.h"
#include "script/script.h"
#include "settings/settings.h"

/* A device that came, or is to come, while the machine runs. */
struct plan_attached {
        const char *address; /* "0000:0b:00.3" */
        bool wanted;         /* PLAN_ATTACH: it is to come; the others are there */
        bool force, group;   /* of a wanted one: as the keys of [[vfio]] */
};

struct plan_request {
        const char *text; /* of the definition */
        size_t len;
        const char *file;          /* how messages name it */
        const char *directory;     /* relative paths count from here */
        unsigned def_flags;        /* enum def_flags */
        const char *const *cdroms; /* absolute paths */
        size_t n_cdroms;
        bool display;
        const struct settings *settings;
        const struct complete_use *uses;
        size_t n_uses;
        const struct complete_device *device_uses; /* PCI devices of other running VMs */
        size_t n_device_uses;
        uint64_t memory_used;
        /* PLAN_SHOW: devices beside those of the definition. PLAN_ATTACH: all that the machine has, instead
         * of what the definition selects, and those that it is to get. */
        const struct plan_attached *attached;
        size_t n_attached;
        enum {
                PLAN_CHECK,  /* parse, complete, script: what is wrong? */
                PLAN_SHOW,   /* parse and complete: the completed definition */
                PLAN_ARGV,   /* everything */
                PLAN_ATTACH, /* parse and complete: faults, devices, memlock and allows are of the wanted
                                devices */
        } goal;
        uid_t uid; /* the number the VM runs under; (uid_t) -1: as the daemon itself. Decides what is handed
                    * over as a descriptor in the exact form */
};

/* A file that vored opens for QEMU: an image that QEMU knows as /dev/fdset/SET, or (set 0) the instance
 * folder or a sound server's socket, which QEMU knows as /proc/self/fd/FD. */
struct plan_file {
        char *path;
        int fd;    /* number in QEMU */
        int set;   /* number of the fdset; 0: none */
        int flags; /* for open(2): O_RDWR or O_RDONLY, O_EXCL for block devices, O_DIRECTORY, O_PATH for
                      sockets */
        uid_t as;  /* of sockets: opened with this user's rights, and only if it is this user's */
};

/* PulseAudio's cookie, of which QEMU gets a copy. */
enum { PLAN_COOKIE_PLACES = 2 };
struct plan_cookie {
        int fd;                           /* number in QEMU; 0: none is needed */
        uid_t as;                         /* whose it is */
        char *places[PLAN_COOKIE_PLACES]; /* the first that is there */
};

/* A PCI device that is claimed for the VM, in the order of the definition; those that `group` takes along
 * last. */
struct plan_device {
        char *address;           /* "0000:0b:00.0" */
        uint16_t vendor, device; /* what must be there when it is claimed */
        int iommu_group;         /* its node is /dev/vfio/N; -1: none (that was a fault) */
        char *reset_method;      /* as the definition says it; NULL: the kernel's choice */
        bool keep;               /* stays with vfio-pci afterwards; else the host's driver gets it back */
        bool force;              /* take it although the host seems to need it, or somebody has it open */
        bool reserve;            /* `reserve` of the definition */
        bool along;              /* taken along by `group` of another one */
        int guest_slot, guest_function; /* its place in the guest: slots count from 0 */
        bool multifunction;
};

/* A file whose memory guest and host share, to be there before QEMU. */
struct plan_memory {
        char *path;
        uint64_t size; /* bytes, a power of two */
        bool own;      /* in the VM's shared memory folder: made anew at each start */
        bool make; /* it is made, and removed at the end: an own one, and one that is not there. Else it is a
                    * file of the user's, which is left as it is */
};

struct plan {
        struct arena *arena;
        json_t *faults;     /* as diags_to_json() gives them */
        bool ok;            /* no errors among them */
        json_t *definition; /* def_to_json(0); only for PLAN_SHOW, and NULL when it did not parse */
        json_t *origins;    /* def_to_json(DEF_JSON_ORIGIN); only for PLAN_SHOW */
        char *name;
        uint64_t memory;
        int64_t vcpus;
        bool auto_start;
        struct argv plain; /* for people: by path, without -S and -no-shutdown */
        struct argv exact; /* for vored: descriptors */
        struct plan_file *files;
        size_t n_files;
        char **reach; /* other paths of the arguments that QEMU's user must reach */
        size_t n_reach;
        struct script_copy *copies; /* target: from the instance folder on */
        size_t n_copies;
        struct script_allow *allows; /* device nodes: from the arguments, from vore:allow, and VFIO's of the
                                      * devices, which are there once they are claimed */
        size_t n_allows;
        struct plan_device *devices; /* of the host, for this VM */
        size_t n_devices;
        struct plan_memory *memories;
        size_t n_memories;
        uint64_t memlock;           /* bytes of RLIMIT_MEMLOCK that QEMU needs; 0: no devices, no need */
        struct complete_use *disks; /* what this VM uses, for others' checks */
        size_t n_disks;
        size_t bad_disk; /* the number, from 1, of the one that cannot be handed over, while it is planned */
        char **environ;  /* "NAME=VALUE": more for QEMU's environment */
        size_t n_environ;
        struct plan_cookie cookie;
        gid_t group;    /* besides its own; 0: none */
        char **sockets; /* sound servers' sockets that QEMU's user may not write without an ACL */
        size_t n_sockets;
        char *spice_link; /* a symlink to make to the VM's own SPICE socket, or NULL */
        bool console;     /* the arguments use the chardev `console` */
        bool kvm;
        bool jack; /* the arguments have a client of JACK */
};

/* Descriptor numbers in QEMU that vored hands over itself; plan_file numbers follow. */
enum { PLAN_FD_QMP = 3, PLAN_FD_QMP_USER = 4, PLAN_FD_CONSOLE = 5, PLAN_FD_FILES = 6 };

/* As a work_fn: arg is a struct plan_request; the result is plan_to_json's. report_fd goes to the script.
 * Fails only for what is no fault of the definition (out of memory, a worker's trouble). A script's error is
 * a fault with the script's file and line. */
int plan_work(void *request, int report_fd, json_t **ret, struct error *err);
/* The same after plan_probe_work() where that is needed; takes up to PLAN_PROBE_DEADLINE_MS. */
int plan_check_work(void *request, int report_fd, json_t **ret, struct error *err);
int plan_from_json(const json_t *j, struct plan **ret, struct error *err);
void plan_free(struct plan *p);

/* As a work_fn: arg is a const struct settings *: array of {name, description}. Probes like
 * plan_check_work(). */
int plan_presets_work(void *settings, int report_fd, json_t **ret, struct error *err);

/* Makes sure the capability cache has the binary (probing it if not): once per binary, before plan_work. As a
 * work_fn: arg is a const struct settings *; result null. */
int plan_probe_work(void *settings, int report_fd, json_t **ret, struct error *err);
/* Is the cache good as it is? Cheap (a few stats). */
bool plan_probe_needed(const struct settings *settings);

/* The version of the QEMU binary as the cache knows it; NULL: not asked yet, or there is none. Owned by the
 * caller. */
char *plan_qemu_version(const struct settings *settings);

/* Milliseconds for work_start(): the script's 5 s, and room for slow disks around it. */
enum { PLAN_DEADLINE_MS = 8000, PLAN_PROBE_DEADLINE_MS = 60000 };

/* The folders of one VM. Owned by the caller. */
char *plan_instance_dir(const struct settings *s, const char *name); /* <state>/instance/NAME */
char *plan_runtime_dir(const struct settings *s, const char *name);  /* <runtime>/vm/NAME */
char *plan_shm_dir(const struct settings *s,
                   const char *name); /* /dev/shm/vore/NAME, /dev/shm/vore-UID/NAME */
/* The rest of a path that is in a folder; NULL: it is not. */
const char *plan_below(const char *folder, const char *path);
/* The default script and the library folder: the tree's own when run from a build folder, else the installed
 * ones. */
const char *plan_default_script(void);
const char *plan_library_dir(void);
