/* Workers without processes, over the model of the kernel: what a test links instead of work/ and what looks
 * at the real sysfs (meson.build has the --wrap options). A worker's function runs when it is started; its
 * done is called by work_model_run(), so that a test can change things in between. */
#pragma once

#include "sysfs-model.h"

#include "base/json.h"
#include "base/str.h"

#include <systemd/sd-event.h>

struct work_model {
        struct model m;
        struct vfio_sys sys;
        const char *root; /* of a host for vfio_look_work's holders */
        json_t *reserved; /* owned: what plan_reserved_work() finds */
        /* Called before a worker's function with its name; NULL: nothing to do. */
        void (*before)(struct work_model *w, const char *name);
        /* A worker whose name has this does its work and is told to have come to no end; late times. */
        const char *late_name;
        int late;
        pid_t stuck;             /* that it did not even die */
        const char *refuse_name; /* a worker whose name has this cannot be started */
        struct strbuf names;     /* "NAME;" of all that were started */
};

/* There is one; it is the one of the test that runs. */
extern struct work_model *work_model;

void work_model_init(struct work_model *w);
void work_model_done(struct work_model *w);
/* Until neither the loop nor any worker has anything to do. */
void work_model_run(struct work_model *w, sd_event *loop);
