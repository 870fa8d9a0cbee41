/* One machine: its definition, its state, the one operation that is under way, its QEMU.
 *
 * Everything happens on the daemon's event loop and never waits. An operation answers through its watch:
 * step() when a step begins and ends, done() exactly once. The state table is vm/state.c, the steps with
 * their undo are the rows of vm/start.c, vm/stop.c and vm/undo.c. */
#pragma once

#include "base/error.h"
#include "base/json.h"
#include "complete/complete.h"
#include "def/def.h"
#include "plan/plan.h"
#include "settings/settings.h"

#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

enum vm_state {
        VM_LOADED,
        VM_PREPARED,
        VM_STARTING,
        VM_RUNNING,
        VM_PAUSED,
        VM_STOPPING,
        VM_STOPPED,
        VM_FAILED,
        VM_STATE_COUNT
};

struct vm;

/* A device node that a machine's user may open, and what was before (struct acl_before). */
struct vm_access {
        const char *path;
        uid_t uid;
        int user, mask;
};

/* What other machines that run have. The arrays are freed by vm_uses_done(), their strings are borrowed until
 * the loop goes on. */
struct vm_uses {
        struct complete_use *disks;
        size_t n_disks;
        struct complete_device *devices;
        size_t n_devices;
        struct vm_access *accesses;
        size_t n_accesses;
        uint64_t memory; /* bytes */
};
void vm_uses_done(struct vm_uses *uses);
#define _cleanup_uses_ _cleanup_(vm_uses_done)

/* What the machines share; owned by the daemon and outliving them. */
struct vm_env {
        sd_event *loop;
        const struct settings *settings;
        sd_bus *bus;      /* systemd's, for scopes; NULL: none */
        gid_t group;      /* of sockets, instance folders and logs; (gid_t) -1: leave */
        uid_t user;       /* [qemu] user; (uid_t) -1: a number per VM, or the daemon's own user */
        gid_t user_group; /* its group */
        bool separate;    /* a number per VM (system mode without [qemu] user) */
        bool captured;    /* VORE_HOST_ROOT: nothing can be started */
        bool serving;     /* clients are answered: what ends now did not end before */

        /* Something happened; data is stolen. */
        void (*event)(struct vm *vm, const char *event, json_t *event_data, void *data);
        void (*uses)(const struct vm *vm, struct vm_uses *ret, void *data);
        /* Is somebody else of this daemon about to bind the device or to give it back? Then a start waits
         * with its claim for vm_devices_changed(). */
        bool (*device_busy)(const char *address, void *data);
        /* A machine without operation and process: an operation just ended. */
        void (*idle)(struct vm *vm, void *data);
        void *data;
};

/* How an operation ended. */
enum vm_outcome {
        VM_DONE,
        VM_WRONG_STATE, /* refused: another operation, or a state it does not go with */
        VM_INVALID,     /* the definition has faults */
        VM_START_FAILED,
        VM_STOP_TIMEOUT,   /* the guest ignored the power button and runs on */
        VM_DETACH_TIMEOUT, /* the guest did not let go of a device */
        VM_ERROR
};

struct vm_result {
        enum vm_outcome outcome;
        const char *message;   /* for everything but VM_DONE */
        const char *note;      /* for VM_DONE: why there was nothing to do; NULL */
        const json_t *faults;  /* NULL or an array */
        const json_t *steps;   /* array of {name, seconds} */
        const json_t *devices; /* attach, detach: array of addresses; else NULL */
        double seconds;
};

struct vm_watch {
        void (*step)(struct vm *vm, const char *step, double seconds /* < 0: it begins */, void *data);
        void (*done)(struct vm *vm, const struct vm_result *result, void *data);
        void *data;
};

/* -- a machine and its definition -------------------------------------------------------------- */

struct vm_definition {
        const char *text;
        size_t len;
        const char *file, *directory;
        const char *const *cdroms;
        size_t n_cdroms;
};

/* A machine in state loaded. */
struct vm *vm_new(struct vm_env *env, const struct def_summary *summary);
/* Replaces the definition; only while nothing runs (-EBUSY). Copies everything. The copy in the run-time
 * folder, which outlives the daemon, is written unless the definition is saved. */
int vm_define(struct vm *vm, const struct vm_definition *d, const struct def_summary *summary,
              struct error *err);
void vm_set_saved(struct vm *vm, bool saved);
/* Writes the copy in the run-time folder, for one that is not saved any more. */
int vm_note(struct vm *vm, struct error *err);
/* Releases the memory; a QEMU that runs is left alone (the daemon ends). */
void vm_free(struct vm *vm);
/* Forgets what the run-time folder has of it; only while nothing runs. */
int vm_discard(struct vm *vm, struct error *err);

const char *vm_name(const struct vm *vm);
enum vm_state vm_state(const struct vm *vm);
const char *vm_state_name(enum vm_state state);
const char *vm_reason(const struct vm *vm); /* NULL unless failed */
pid_t vm_pid(const struct vm *vm);          /* -1: none */
bool vm_saved(const struct vm *vm);
bool vm_auto_start(const struct vm *vm);
bool vm_reserves(const struct vm *vm); /* its definition reserves devices */
/* It has the device, from its start or attached, or is still giving it back. */
bool vm_has_device(const struct vm *vm, const char *address);
/* A device that was busy (struct vm_env) is not any more. */
void vm_devices_changed(struct vm *vm);
uint64_t vm_memory(const struct vm *vm);
/* A QEMU is there, or is about to be. */
bool vm_active(const struct vm *vm);
/* The operation under way and its age in seconds; NULL: none. */
const char *vm_operation(const struct vm *vm, double *ret_age);
const struct vm_definition *vm_definition(const struct vm *vm);
/* Adds what this machine has to ret. */
void vm_add_uses(const struct vm *vm, struct vm_uses *ret);
/* The element of `list`. */
json_t *vm_to_json(const struct vm *vm);
/* Under which uid QEMU opens files, as far as one can know before a start; (uid_t) -1: the daemon's own. */
uid_t vm_plan_uid(const struct vm_env *env);
/* The request for a worker: everything filled in but goal. Freed by vm_request_done after the fork. */
void vm_plan_request(struct vm *vm, struct plan_request *ret);
void vm_plan_request_done(struct plan_request *req);
/* Lends uses to req. */
void vm_uses_request(const struct vm_uses *uses, struct plan_request *req);

/* -- operations: each answers through watch, at once or later ------------------------------------ */

struct vm_start_options {
        const char *const *cdroms; /* for this one start */
        size_t n_cdroms;
        bool display;
        bool prepare_only;
};

void vm_start(struct vm *vm, const struct vm_start_options *o, const struct vm_watch *watch);
/* timeout_us: then it runs on (VM_STOP_TIMEOUT), or with force is ended. Joins a stop that is under way; with
 * force it also waits for any other operation, within timeout_us. */
void vm_stop(struct vm *vm, uint64_t timeout_us, bool force, const struct vm_watch *watch);
void vm_kill(struct vm *vm, const struct vm_watch *watch);
void vm_pause(struct vm *vm, const struct vm_watch *watch);
void vm_resume(struct vm *vm, const struct vm_watch *watch);
void vm_reset(struct vm *vm, const struct vm_watch *watch);

struct vm_attach_options {
        bool force, group; /* as the keys of [[vfio]] */
};

/* A host device comes while the machine runs, with the functions that have to come along; address as
 * def_pci_address() gives it. */
void vm_attach(struct vm *vm, const char *address, const struct vm_attach_options *o,
               const struct vm_watch *watch);
/* And goes, with those that came with it. timeout_us: the guest's time to let go (VM_DETACH_TIMEOUT): the
 * device then stays with it. Should it let go later, the device is given back all the same. */
void vm_detach(struct vm *vm, const char *address, uint64_t timeout_us, const struct vm_watch *watch);
/* Lends req the devices that were attached, for PLAN_SHOW. Freed by vm_request_attached_done(). */
void vm_request_attached(const struct vm *vm, struct plan_request *req);
void vm_request_attached_done(struct plan_request *req);

/* A person's QMP command over the second monitor. reply (borrowed) is QEMU's whole message, or NULL and err.
 */
typedef void (*vm_qmp_fn)(const json_t *reply, const struct error *err, void *data);
void vm_qmp(struct vm *vm, const char *command, vm_qmp_fn fn, void *data);

/* The serial console: fd is owned from now on; history goes out first. Returns whether it may write. */
bool vm_console_attach(struct vm *vm, int fd, bool write, const char *early, size_t early_len);
bool vm_console_writer_free(const struct vm *vm);

char *vm_log_path(const struct vm *vm);
/* Its log has grown: past 8 MiB it is cut. */
void vm_log_cut(struct vm *vm);

/* Makes the instance folder of NAME, as a start does; *ret is the number that it belongs to, (uid_t) -1: the
 * daemon's own user. */
int vm_folder(const struct vm_env *env, const char *name, uid_t *ret, struct error *err);
/* Makes the copies that the plan asks for, as uid, for a command line that is run by hand. Blocks and gives
 * up the process's rights: only in a worker, as its last act. */
int vm_copies(const struct vm_env *env, const struct plan *plan, uid_t uid, struct error *err);
/* Makes the folder in which a QEMU that is run by hand makes the files of shared memory, anew: what is there,
 * maybe of another size, goes. Not for a machine that runs. */
int vm_memory_by_hand(const struct vm_env *env, const struct plan *plan, struct error *err);

/* -- after the daemon's own end ------------------------------------------------------------------ */

/* Reads the run-time folder of NAME, if there is one of this boot: a machine with its definition, state and,
 * if QEMU is there, a connection to it being made. -ENOENT: nothing there. done() is called once, maybe at
 * once, when its state is known. */
int vm_adopt(struct vm_env *env, const char *name, void (*done)(struct vm *vm, void *data), void *data,
             struct vm **ret, struct error *err);

/* In test builds, ends the daemon by SIGKILL if VORE_TEST_KILL names this point. */
void vm_test_kill(const char *table, const char *step, const char *when);

/* The names of all steps at which a test build can be told to end (VORE_TEST_KILL), "TABLE:STEP". Calls fn
 * for each. */
void vm_steps(void (*fn)(const char *table, const char *step, void *data), void *data);
