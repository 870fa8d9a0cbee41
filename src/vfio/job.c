#include "vfio/job.h"

#include "base/log.h"
#include "base/str.h"
#include "host/need.h"
#include "vfio/holders.h"

#include <errno.h>
#include <sys/mman.h>

struct vfio_job {
        const struct vfio_sys *sys;
        struct vfio_original original;
        struct vfio_claim claim;
        struct vfio_progress progress; /* written by the worker */
};

struct vfio_look_at {
        char address[VFIO_ADDRESS_MAX]; /* written by the worker */
};

static void *shared_new(size_t size) {
        void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

        if (p == MAP_FAILED)
                log_oom();
        return p;
}

/* A worker has none of the daemon's descriptors: what is real is opened there. */
struct opened {
        struct vfio_sys own;
        const struct vfio_sys *sys;
};

static int sys_use(const struct vfio_sys *given, struct opened *ret, struct error *err) {
        *ret = (struct opened){ .sys = given };
        if (given)
                return 0;
        ret->sys = &ret->own;
        return vfio_sys_open(NULL, &ret->own, err);
}

static void opened_done(struct opened *o) {
        if (o->own.data)
                vfio_sys_close(&o->own);
}

struct vfio_look_at *vfio_look_at_new(void) {
        return shared_new(sizeof(struct vfio_look_at));
}

void vfio_look_at_free(struct vfio_look_at *at) {
        if (at)
                (void) munmap(at, sizeof(*at));
}

const char *vfio_look_at_address(const struct vfio_look_at *at) {
        return at->address;
}

static void looks_at(const struct vfio_look_job *job, size_t i) {
        if (job->at)
                snprintf(job->at->address, sizeof(job->at->address), "%s", job->addresses[i]);
}

static int look_all(const struct vfio_look_job *job, const struct vfio_sys *sys, struct vfio_device *ret,
                    struct error *err) {
        int r = 0;

        for (size_t i = 0; r >= 0 && i < job->n; i++) {
                looks_at(job, i);
                r = vfio_look(sys, job->addresses[i], &ret[i], err);
        }
        return r;
}

static bool may_be_held(const struct vfio_look_job *job, size_t i, const struct vfio_device *device) {
        return job->force[i] || (job->vfio_may_be_held && host_pci_vfio_driver(device->original.driver));
}

static int refuse_held(const struct vfio_look_job *job, const struct vfio_device *devices,
                       struct error *err) {
        _cleanup_arena_ struct arena *arena = arena_new();
        _cleanup_host_ struct host *h = NULL;
        int r = host_open(job->root, &h, err);

        for (size_t i = 0; r >= 0 && i < job->n; i++) {
                struct vfio_holder *holders;
                size_t n;

                if (may_be_held(job, i, &devices[i]))
                        continue;
                looks_at(job, i);
                r = vfio_holders(h, job->addresses[i], arena, &holders, &n, err);
                if (r >= 0)
                        r = vfio_holders_refuse(job->addresses[i], holders, n, err);
                else if (r == -ENOENT) /* not there: that is said already */
                        r = 0;
        }
        return r;
}

int vfio_look_work(void *arg, int report_fd, json_t **ret, struct error *err) {
        const struct vfio_look_job *job = arg;
        _cleanup_(opened_done) struct opened o = { 0 };
        _cleanup_free_ struct vfio_device *devices = xcalloc(job->n + 1, sizeof(*devices));
        int r = sys_use(job->sys, &o, err);

        if (r >= 0)
                r = look_all(job, o.sys, devices, err);
        if (r >= 0 && job->force)
                r = refuse_held(job, devices, err);
        if (r < 0)
                return r;
        *ret = json_array();
        for (size_t i = 0; i < job->n; i++)
                json_push(*ret, vfio_device_to_json(&devices[i]));
        return 0;
}

struct vfio_job *vfio_job_new(const struct vfio_sys *sys, const struct vfio_original *original,
                              const struct vfio_claim *claim) {
        struct vfio_job *job = shared_new(sizeof(*job));

        *job = (struct vfio_job){ .sys = sys, .original = *original };
        if (claim)
                job->claim = *claim;
        return job;
}

void vfio_job_free(struct vfio_job *job) {
        if (job)
                (void) munmap(job, sizeof(*job));
}

int vfio_bind_work(void *arg, int report_fd, json_t **ret, struct error *err) {
        struct vfio_job *job = arg;
        _cleanup_(opened_done) struct opened o = { 0 };
        int r = sys_use(job->sys, &o, err);

        if (r >= 0)
                r = vfio_bind(o.sys, &job->original, &job->claim, &job->progress, err);
        if (r >= 0)
                *ret = json_null();
        return r;
}

int vfio_restore_work(void *arg, int report_fd, json_t **ret, struct error *err) {
        struct vfio_job *job = arg;
        _cleanup_(opened_done) struct opened o = { 0 };
        int r = sys_use(job->sys, &o, err);

        if (r >= 0)
                r = vfio_restore(o.sys, &job->original, &job->progress, err);
        if (r >= 0)
                *ret = json_null();
        return r;
}

const char *vfio_job_address(const struct vfio_job *job) {
        return job->original.address;
}

char *vfio_job_stuck(const struct vfio_job *job) {
        /* Whoever writes it may be at it still. */
        int n = (int) strnlen(job->progress.doing, sizeof(job->progress.doing));

        return xasprintf("%s is stuck%s%.*s", job->original.address, n ? " " : "", n, job->progress.doing);
}

char *vfio_look_stuck(const char *address) {
        return xasprintf("%s is stuck being looked at", address);
}
