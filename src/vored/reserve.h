/* The devices that saved definitions reserve: bound to vfio-pci at the daemon's start and when a definition
 * is saved, given back when nobody wants them any more. Requests are done one after another; within one all
 * devices at the same time, each by workers of its own, so that one that hangs keeps no other waiting. What
 * is kept is the file of vfio/kept.h; the rows here say for whom, and what went wrong. */
#pragma once

#include "vored/manager.h"

#include "vfio/device.h"
#include "vfio/job.h"
#include "work/work.h"

/* What a request does with one device. */
enum reserve_task { TASK_NONE, TASK_CLAIM, TASK_GIVE_BACK };

struct reserve_row {
        struct manager *m;
        char address[VFIO_ADDRESS_MAX];
        uint16_t vendor, device; /* as the definitions want it; 0: by hand, any */
        json_t *vms;             /* owned: names of the saved definitions that reserve it; empty: none */
        bool force;
        char *reason;  /* owned: why it is not reserved, or not given back; NULL */
        bool by_hand;  /* the claim under way: somebody typed it */
        bool refused;  /* reason is only for whoever asked */
        bool put_back; /* released by hand: reason is no warning */

        enum reserve_task task;   /* TASK_NONE: no job is under way */
        enum reserve_task failed; /* what reason is about */
        struct work *work;
        struct vfio_job *job;
        bool remembered; /* by the job under way, which must forget it again if it fails */
        bool again; /* once more: the host changed it between look and bind, as it still loads drivers; or
                     * it did not come back before the deadline */
};

/* What a request was for; done() answers it. rows are those that it dealt with until the loop goes on. */
typedef void (*reserve_done_fn)(struct manager *m, void *data);

struct reserve_request {
        enum reserve_kind {
                RESERVE_ALL,      /* look at the saved definitions; claim all, give back what nobody wants */
                RESERVE_ONE,      /* the same, but claim only what the definition `name` reserves */
                RESERVE_UNWANTED, /* look at them; claim nothing, give back what nobody wants */
                RESERVE_LOOK,     /* only look at the saved definitions */
                RESERVE_BY_HAND,  /* the device `name` */
                RELEASE_BY_HAND,  /* the device `name`; NULL: all that are kept */
        } kind;
        char *name; /* owned */
        reserve_done_fn done;
        void *data;
        struct reserve_request *next;
};

struct reserve {
        struct reserve_row **rows; /* owned; by address */
        size_t n_rows;
        json_t *problems; /* owned: {NAME: [sentence]}: what the definitions want and is not there */
        json_t *unknown;  /* owned: {NAME: sentence}: files of which nobody knows what they want */
        char *unread;     /* owned: why the last look at the definitions failed; NULL: it did not */
        bool ending;      /* the daemon ends */
        struct reserve_request *queue; /* owned; the first is under way */
        struct work *work;             /* the look at the definitions */
        size_t pending;                /* jobs under way */
};

void reserve_init(struct manager *m);
void reserve_free(struct manager *m);

/* Queues a request; done (may be NULL) is called when it is over, never before this returns; with data also
 * when the daemon ends. name is copied. */
void reserve_request(struct manager *m, enum reserve_kind kind, const char *name, reserve_done_fn done,
                     void *data);
/* Is there anything to look after: a definition that reserves, or a device that is kept? Without it no worker
 * runs. */
bool reserve_needed(const struct manager *m);
/* A machine is done with its devices: those that only a definition wanted which was forgotten meanwhile, or
 * was never saved, go back. */
void reserve_machine_ended(struct manager *m, const struct vm *vm);
/* For auto-start: what it reserves is not known yet, or a device of it is on its way. */
bool reserve_waits(const struct manager *m, const char *name);
/* A machine that runs on gave devices back: the same for those. */
void reserve_devices_detached(struct manager *m);
/* The hook of struct vm_env. */
bool reserve_busy(const char *address, void *manager);

struct reserve_row *reserve_find(const struct manager *m, const char *address);
/* Who has it: a machine that runs, or NULL. */
const char *reserve_user(const struct manager *m, const char *address);

/* [{address, vendor, device, name, vms, state, reason}]; address NULL: all that are wanted or kept. */
json_t *reserve_to_json(const struct manager *m, const char *address);
/* Sentences about what is not as the definitions want it; name NULL: of all of them. */
json_t *reserve_notes(const struct manager *m, const char *name);

/* Can this daemon bind devices at all? If not, the call is answered. */
bool reserve_possible(struct manager *m, struct rpc_call *call);
/* boot-rules.c: what of the installed rules is out of date: sentences. */
json_t *boot_rules_notes(const struct manager *m);

/* -- for reserve.c and reserve-job.c --------------------------------------------------------------------- */

/* Begins; what is over at once, too, comes to reserve_job_done(). */
void reserve_job_claim(struct reserve_row *row);
void reserve_job_give_back(struct reserve_row *row);
void reserve_job_done(struct reserve_row *row);
/* Names of the points where a test build can be told to end. */
void reserve_steps(void (*fn)(const char *table, const char *step, void *data), void *data);
