/* The inside of a machine, for the files of vm/ only. */
#pragma once

#include "journal/journal.h"
#include "qemu/process.h"
#include "qemu/qmp.h"
#include "vm/vm.h"
#include "work/work.h"

struct console;
struct vm_devices;

/* One row of a table of steps. run: 0 done, 1 goes on later (step_finish()), negative: failed. */
struct step {
        const char *name;
        int (*run)(struct vm *vm, struct error *err);
};

struct step_table {
        const char *name; /* "start" */
        const struct step *steps;
        size_t n;
        void (*complete)(struct vm *vm); /* all are done; NULL: nothing more to do */
        void (*failed)(struct vm *vm,
                       const char *reason); /* one failed: ends the operation, or undoes its steps */
};

/* The operation under way. */
struct operation {
        const struct step_table *table; /* NULL: none */
        const char *name;               /* "start", "stop", … */
        struct vm_watch watch;
        uint64_t began_us, step_began_us;
        size_t step, last; /* the step that runs; the first that does not belong to it */
        json_t *steps;     /* owned: {name, seconds} of those that are done */
        json_t *faults;    /* owned */
        bool invalid;      /* the faults are why it fails */
        bool advancing;
        char *failure;    /* owned: why it fails although steps go on, which undo it; NULL: it does not */
        unsigned unit;    /* attach, detach: of which devices; 0: of none */
        json_t *devices;  /* owned: their addresses, for the answer; NULL before they are known */
        char address[24]; /* attach: the device that was asked for */
        bool force, group;
        uint64_t timeout_us, deadline_us; /* detach: the guest's time to let go; 0: it was not asked yet */
        bool timed_out;
        size_t waiting; /* replies that are still to come before the step is done */
};

/* A host device that came while the machine ran. Those that came together go together: they are a unit, and
 * so is their part of the journal. */
struct vm_attached {
        char address[24]; /* "0000:0b:00.3" */
        int iommu_group;
        unsigned unit; /* > 0 */
        bool complete; /* its attach was done; else it is under way, or was cut off */
        bool there;    /* QEMU has it. Not recorded: the next daemon asks */
        char port[32]; /* id of the root port in the guest */
        int function; /* there; the function 0 of a port comes last, and takes all others with it when it goes
                       */
        bool multifunction;
};
enum { ATTACHED_MAX = 64 };

/* Whoever waits for the end of a machine besides the operation. */
struct vm_waiter {
        struct vm *vm;
        struct vm_watch watch;
        uint64_t since_us;
        sd_event_source *timer; /* a stop's time; NULL: it waits for the end itself */
        bool stop;              /* to whom an end in `failed` is an error */
        struct vm_waiter *next;
};
enum { WAITERS_MAX = 256 };

struct vm {
        struct vm_env *env;
        char *name;
        struct vm_definition definition; /* all owned */
        struct def_summary summary;
        bool saved;
        bool recorded; /* the run-time folder has its definition */

        enum vm_state state;
        char *reason; /* owned; of failed */
        struct operation op;

        /* of the start under way, or of the machine that runs */
        struct vm_start_options options; /* owned */
        struct plan *plan;               /* owned; NULL after adoption */
        struct work *work;
        uid_t uid; /* QEMU's; (uid_t) -1: the daemon's own */
        struct process process;
        int qmp_fd, qmp_user_fd, console_fd; /* listening, until QEMU has them */
        struct qmp *qmp;
        bool qmp_ready;
        bool vcpus_asked;   /* the answer is on its way */
        struct qmp *people; /* the second monitor, while somebody's commands wait for it */
        bool people_ready;
        size_t n_people;
        unsigned qmp_losses;
        unsigned drained; /* QEMU is gone; its monitor had so many more turns of the loop */
        sd_event_source *pidfd_source, *report_source, *timer;
        sd_event_source *detach_timer;    /* the guest's time to let go, beside `timer` */
        sd_event_source *reconnect_timer; /* the monitor was lost */
        sd_bus_slot *scope_slot;
        uint64_t log_offset;          /* where this start's part of the log begins */
        json_t *disks;                /* owned: the plan's, kept over adoption */
        json_t *addresses;            /* owned: of its host devices since its start */
        struct vm_attached *attached; /* owned: of those that came later */
        size_t n_attached;
        bool attached_known; /* this daemon has heard from QEMU which of them are there */
        bool has_console;
        bool ran;           /* it got to its first instruction */
        bool paused;        /* QEMU says so, also while the state says something else */
        char *undo_note;    /* owned: what could not be given back, for whoever waits for the end */
        uint64_t undo_last; /* the entry that undo_add() wrote last */
        size_t next_memory; /* of the plan's shared memory, while it is made */

        /* the end that is under way or expected */
        bool ending; /* QEMU was told to go: what follows is ending_state */
        bool killed; /* by SIGKILL, and `timer` tells that it was in vain; NULL: it has told */
        enum vm_state ending_state;
        char *ending_reason; /* owned */
        bool unwinding;
        uint64_t undo_id;          /* the entry whose undo goes on */
        const char *undo_kind;     /* NULL: none does */
        unsigned undo_unit;        /* only its entries are undone; 0: all */
        uint64_t stop_deadline_us; /* CLOCK_MONOTONIC */
        uint64_t boot_us,
                pressed_us; /* the guest began to boot; its power button was pressed; 0: not by this vored */
        bool stop_force;
        uint64_t next_stop_us; /* the deadline of a stop with force that waits for the operation; 0: none */

        struct vm_waiter *waiters; /* owned, in the order of their coming */
        size_t n_waiters;

        struct journal *journal; /* open while something is to be undone */
        struct vm_devices *devices;
        bool claim_waits;    /* for vm_devices_changed() */
        struct ports *ports; /* owned; while an attach looks for free ones */
        struct console *console;
        void (*adopted)(struct vm *vm, void *data);
        void *adopted_data;
};

/* state.c */
void vm_set_state(struct vm *vm, enum vm_state state, const char *reason);
void vm_event(struct vm *vm, const char *event, json_t *data);
void vm_warn(struct vm *vm, const char *fmt, ...) _printf_(2, 3);

/* record.c: state.json and definition.toml in the run-time folder */
int record_write(struct vm *vm, struct error *err);
/* Without a way to fail: a full disk is a warning. */
void record_update(struct vm *vm);
int record_write_definition(struct vm *vm, struct error *err);
int record_read(struct vm_env *env, const char *name, struct vm **ret, pid_t *ret_pid,
                uint64_t *ret_start_time, struct error *err);
char *vm_runtime_path(const struct vm *vm, const char *file);

/* step.c */
bool operation_begin(struct vm *vm, const struct step_table *table, size_t first, size_t last,
                     const char *name, const struct vm_watch *watch);
void step_advance(struct vm *vm);
/* The step that went on later is done, or failed with err. */
void step_finish(struct vm *vm, const struct error *err);
/* Counts the running step as done without going on. */
void step_mark_done(struct vm *vm);
/* Ends the operation. message NULL: done. */
void operation_end(struct vm *vm, enum vm_outcome outcome, const char *message, const char *note);
/* In test builds, VORE_TEST_KILL=table:step:before|after ends the daemon here by SIGKILL. */
void test_kill(const char *table, const char *step, const char *when);
void watch_refuse(struct vm *vm, const struct vm_watch *watch, enum vm_outcome outcome, const char *fmt, ...)
        _printf_(4, 5);
void watch_note(struct vm *vm, const struct vm_watch *watch, const char *note);

/* start.c */
extern const struct step_table start_table;
enum {
        START_STEP_PLAN,
        START_STEP_FILES,
        START_STEP_CLAIM,
        START_STEP_SOCKETS,
        START_STEP_MEMORY,
        START_STEP_ACCESS,
        START_STEP_SPAWN,
        START_STEP_EXEC,
        START_STEP_CONNECT,
        START_STEP_VCPUS,
        START_STEP_RUN,
        START_STEP_COUNT
};
/* How many of them prepare() takes. */
enum { START_STEPS_PREPARE = START_STEP_SOCKETS };

/* stop.c */
extern const struct step_table stop_table;
void stop_begin(struct vm *vm, uint64_t deadline_us, bool force, const struct vm_watch *watch);
/* A stop is under way: both are one from now on, and each has its answer in its own time. */
void stop_join(struct vm *vm, uint64_t deadline_us, bool force, const struct vm_watch *watch);
/* Another operation is under way: a stop with force begins after it, or ends QEMU when its time is over. */
void stop_queue(struct vm *vm, uint64_t deadline_us, const struct vm_watch *watch);
/* An operation has ended. True: a stop that waited for that begins. */
bool stop_next(struct vm *vm);
/* From the beginning of a stop, also of an adopted one. */
int stop_arm(struct vm *vm, struct error *err);
enum { STOP_STEP_POWERDOWN, STOP_STEP_WAIT, STOP_STEP_EXIT, STOP_STEP_COUNT };

/* attached.c: the list of devices that came later */
struct vm_attached *attached_find(const struct vm *vm, const char *address);
/* The number of the next unit. */
unsigned attached_next_unit(const struct vm *vm);
struct vm_attached *attached_add(struct vm *vm, const struct vm_attached *device);
void attached_remove(struct vm *vm, unsigned unit);
/* How many of the unit QEMU has. */
size_t attached_there(const struct vm *vm, unsigned unit);
size_t attached_count(const struct vm *vm, unsigned unit);
void attached_set_complete(struct vm *vm, unsigned unit);
/* "0000:0b:00.0, 0000:0b:00.1"; owned by the caller. */
char *attached_words(const struct vm *vm, unsigned unit);
/* An array of their addresses. */
json_t *attached_addresses(const struct vm *vm, unsigned unit);
/* What QEMU calls it: "attached-0000-0b-00.3". */
enum { ATTACHED_ID_MAX = 40 };
void attached_id(const struct vm_attached *device, char ret[static ATTACHED_ID_MAX]);
json_t *attached_to_json(const struct vm *vm);
void attached_from_json(struct vm *vm, const json_t *array);
/* Those of reply, the answer to qom-list of /machine/peripheral, are there, all others are not. Before it
 * nobody knows: nothing is given back then. */
void attached_compare(struct vm *vm, const json_t *reply);
#define ATTACHED_QOM_PATH "/machine/peripheral"

/* attach.c, ports.c, detach.c */
extern const struct step_table attach_table, detach_table;
enum {
        ATTACH_STEP_PLAN,
        ATTACH_STEP_PORT,
        ATTACH_STEP_CLAIM,
        ATTACH_STEP_MEMORY,
        ATTACH_STEP_ACCESS,
        ATTACH_STEP_PLUG,
        ATTACH_STEP_COUNT
};
enum { DETACH_STEP_UNPLUG, DETACH_STEP_WAIT, DETACH_STEP_RETURN, DETACH_STEP_COUNT };
/* The step of attach that finds free root ports and makes the unit. */
int ports_find(struct vm *vm, struct error *err);
void ports_free(struct vm *vm);
/* An attach failed: what it did is undone by the steps of detach, and then it is answered. */
void detach_unwind(struct vm *vm, const char *reason);
/* QEMU says that a device is gone, or that its guest refuses to let it go. */
void detach_device_gone(struct vm *vm, const char *id);
void detach_device_refused(struct vm *vm, const char *id);
void detach_timer_off(struct vm *vm);
/* The monitor is there again after a loss, or for the first time after an adoption, and the list was
 * compared: operations go on; units that are neither the guest's nor the host's are made one of both. Calls
 * adoption_done() at last. */
void hotplug_resume(struct vm *vm);
/* The monitor is lost for good. */
void hotplug_lost(struct vm *vm, const struct error *err);
/* No operation is under way: begins one for a unit that is neither the guest's nor the host's. True: it did.
 */
bool hotplug_settle(struct vm *vm);

/* guest.c: QMP and the process */
/* Nobody waits for the second monitor any more: others may have it. */
void guest_leave_people(struct vm *vm);
/* QEMU says whether its guest runs. */
void guest_paused(struct vm *vm, bool paused);
int guest_connect(struct vm *vm, struct error *err);
/* Whoever waits for the state of an adopted machine is told. */
void adoption_done(struct vm *vm);
int guest_watch_process(struct vm *vm, struct error *err);
/* Tells QEMU to go (quit, then SIGKILL after a while); the machine then ends in state with reason. */
void guest_end(struct vm *vm, enum vm_state state, const char *reason);
/* The same by SIGKILL at once. */
void guest_end_now(struct vm *vm, enum vm_state state, const char *reason);
/* It was told so by another vored: the time that it has begins anew. */
void guest_end_adopted(struct vm *vm);
/* Why one failed that nobody watched when it ended. Owned by the caller. */
char *guest_away_reason(struct vm *vm);
/* One timer per machine; replaces the last. */
int vm_timer(struct vm *vm, uint64_t deadline_us, sd_event_time_handler_t fn, struct error *err);
void vm_timer_off(struct vm *vm);

/* end.c: QEMU is gone, or never was: undo everything, set the state, end the operation. */
void vm_end(struct vm *vm, enum vm_state state, const char *reason);
/* Everything is undone. */
void end_finish(struct vm *vm);
/* The start failed: QEMU is ended if it is there, then vm_end(). */
void start_fail(struct vm *vm, const char *reason);
#define START_CUT_OFF "the start was cut off when vored ended; all that it took was given back"
/* All of a start's steps that were wanted are done. */
void start_complete(struct vm *vm);
/* QEMU does not end: whoever waits is told, the machine stays as it is. */
void end_give_up(struct vm *vm, const char *message);
/* Answered with VM_DONE when the machine has ended (a stop with VM_ERROR, if it ended in `failed`), or past
 * deadline_us (0: none) with VM_STOP_TIMEOUT; at once with VM_WRONG_STATE when too many wait already. */
void end_wait(struct vm *vm, const struct vm_watch *watch, uint64_t deadline_us, bool stop);
/* All of them are answered so. */
void end_refuse(struct vm *vm, enum vm_outcome outcome, const char *message);

/* undo.c: the journal's kinds of entries and their undo */
int undo_add(struct vm *vm, const char *kind, json_t *args, struct error *err);
/* Takes the entry that was written last out again: its effect did not happen. */
void undo_drop(struct vm *vm);
/* Newest first; what cannot be undone is warned about. Calls end_finish() at the end, maybe later. */
void undo_all(struct vm *vm);
/* Opens the journal, so that others see what this machine has (access.c). */
int undo_open(struct vm *vm, struct error *err);
/* Only the entries of one unit. 0: done, 1: it goes on later, step_finish() follows. */
int undo_unit(struct vm *vm, unsigned unit);
/* The undo that went on later is done, or failed with err. */
void undo_continue(struct vm *vm, const struct error *err);
void undo_steps(void (*fn)(const char *table, const char *step, void *data), void *data);

/* folder.c (vm_copies() is there too) */
/* QEMU's group: its number's own, or that of [qemu] user. */
gid_t vm_gid(const struct vm *vm);
int folder_copy_work(void *vm, int report_fd, json_t **ret, struct error *err);

/* log.c */
int vm_log_start(struct vm *vm, struct error *err);
void vm_log_note(struct vm *vm, const char *fmt, ...) _printf_(2, 3);

/* console.c */
int console_start(struct vm *vm, bool fresh, struct error *err);
void console_stop(struct vm *vm);
void console_free(struct vm *vm);

/* scope.c */
int scope_start(struct vm *vm, struct error *err);

/* start.c: opens the device nodes of the plan to QEMU's number */
int access_grant(struct vm *vm, struct error *err);

/* devices.c: host devices to vfio-pci and back; both go on later */
int devices_claim(struct vm *vm, struct error *err);
int devices_give_back(struct vm *vm, const json_t *args, struct error *err);
void devices_free(struct vm *vm);

/* memory.c (vm_memory_by_hand() is there too): a step, which goes on later */
int memory_make(struct vm *vm, struct error *err);
/* Removes what a command by hand left. */
void memory_discard(struct vm *vm);

/* acl.c: one user's entry in the access list of a device node. Permissions are libacl's: r 4, w 2, x 1. */
struct acl_before {
        int user; /* what the user's own entry allowed; -1: there was none */
        int mask; /* as it was, or one of: */
};
enum {
        ACL_MASK_AS_NEEDED = -1, /* just what the entries need, no mask where there are no named ones */
        ACL_MASK_LEAVE = -2,     /* not to be touched */
};
/* -EINVAL: it is no device node. */
int acl_look(const char *path, uid_t uid, struct acl_before *ret, struct error *err);
/* Adds to what the user may do; nothing where everybody may already. */
int acl_grant(const char *path, uid_t uid, bool write, struct error *err);
/* Both for the socket of a server, to which the user then may connect. -ENOTSOCK: it is none. */
int acl_look_socket(const char *path, uid_t uid, struct acl_before *ret, struct error *err);
int acl_grant_socket(const char *path, uid_t uid, struct error *err);
/* The user's entry and the mask are again as they were. An entry that somebody has removed meanwhile stays
 * away: logind takes its user's at the end of a session. All other entries are left alone. */
int acl_restore(const char *path, uid_t uid, const struct acl_before *before, struct error *err);

/* access.c: device nodes for QEMU's user. What another machine of the same user has open stays open, and the
 * last of them puts back what was before the first. */
int access_give(struct vm *vm, const char *path, bool write, struct error *err);
int access_give_socket(struct vm *vm, const char *path, struct error *err);
int access_take_back(struct vm *vm, const json_t *args, struct error *err);
/* Adds the nodes that are open to this machine. */
void access_add_uses(const struct vm *vm, struct vm_uses *ret);
