/* This room's work for workers (work/work.h): one device and one direction each, so that what hangs has a
 * name.
 *
 * What the caller does, for the devices of one machine: vfio_look_work for all of them; then, in order, for
 * each: journal its original, and only then vfio_bind_work. No device is used before all are bound. Back: in
 * the opposite order vfio_restore_work with what the journal says, and strike the entry. After a failed or
 * cut-off bind the entry is restored all the same: it finds out itself what is to be done. Only after -ESTALE
 * it is struck without, as nothing was done. */
#pragma once

#include "vfio/bind.h"

/* Which device a look is at, in memory shared with its worker. */
struct vfio_look_at;
struct vfio_look_at *vfio_look_at_new(void);
void vfio_look_at_free(struct vfio_look_at *at); /* also while the worker has it; NULL is fine */
/* Borrowed; "": at none. */
const char *vfio_look_at_address(const struct vfio_look_at *at);

struct vfio_look_job {
        const struct vfio_sys *sys; /* NULL: this machine */
        const char *const *addresses;
        const bool
                *force; /* for each: take it although somebody holds it; NULL: holders are not looked for */
        size_t n;
        bool vfio_may_be_held;   /* as with force, but only for those that are with a VFIO driver now */
        const char *root;        /* where holders are looked for; NULL: this machine */
        struct vfio_look_at *at; /* NULL: nobody asks */
};
/* A work_fn; arg is a struct vfio_look_job. Result: an array of vfio_device_to_json() in the order asked.
 * With force given, a device that is held (vfio/holders.h) is -EBUSY with a sentence that names the holders.
 */
int vfio_look_work(void *arg, int report_fd, json_t **ret, struct error *err);

/* One device; lives in memory shared with its worker, which tells there what it is doing. */
struct vfio_job;

/* sys NULL: this machine; else borrowed. claim NULL: for a restore, or a bind without wishes. */
struct vfio_job *vfio_job_new(const struct vfio_sys *sys, const struct vfio_original *original,
                              const struct vfio_claim *claim);
/* Also while a worker that did not die still has it. NULL is fine. */
void vfio_job_free(struct vfio_job *job);

/* work_fn; arg is a struct vfio_job. Result: null. */
int vfio_bind_work(void *job, int report_fd, json_t **ret, struct error *err);
int vfio_restore_work(void *job, int report_fd, json_t **ret, struct error *err);

const char *vfio_job_address(const struct vfio_job *job); /* borrowed */

/* After a deadline, with the worker gone or not: "0000:0b:00.0 is stuck leaving nvidia". Owned by the caller.
 */
char *vfio_job_stuck(const struct vfio_job *job);
/* The same of a look: "0000:0b:00.0 is stuck being looked at". */
char *vfio_look_stuck(const char *address);
