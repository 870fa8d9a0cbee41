#include "work-model.h"

#include "base/str.h"
#include "plan/reserved.h"
#include "vfio/job.h"
#include "work/work.h"

#include <errno.h>

struct work_model *work_model;

struct work {
        work_done_fn done;
        void *data;
        json_t *result;
        struct error err;
        pid_t stuck;
        struct work *next;
};

static struct work *queue;

static int run(work_fn fn, void *arg, json_t **ret, struct error *err) {
        if (fn == plan_reserved_work) {
                *ret = json_deep_copy(work_model->reserved);
                return 0;
        }
        if (fn == vfio_look_work) {
                struct vfio_look_job job = *(struct vfio_look_job *) arg;

                job.sys = &work_model->sys;
                job.root = work_model->root;
                return fn(&job, -1, ret, err);
        }
        return fn(arg, -1, ret, err);
}

static bool is_late(struct work_model *w, const char *name) {
        return w->late_name && strstr(name, w->late_name) && w->late > 0 && w->late--;
}

int __wrap_work_start(sd_event *loop, const char *name, unsigned deadline_ms, work_fn fn, void *arg,
                      work_done_fn done, void *data, struct work **ret, struct error *err);
int __wrap_work_start(sd_event *loop, const char *name, unsigned deadline_ms, work_fn fn, void *arg,
                      work_done_fn done, void *data, struct work **ret, struct error *err) {
        struct work *work, **last = &queue;

        if (work_model->refuse_name && strstr(name, work_model->refuse_name))
                return error_set(err, -EAGAIN, "%s: no worker", name);
        work = xcalloc(1, sizeof(*work));
        *work = (struct work){ .done = done, .data = data, .err = ERROR_INIT };
        strbuf_addf(&work_model->names, "%s;", name);
        if (work_model->before)
                work_model->before(work_model, name);
        if (run(fn, arg, &work->result, &work->err) >= 0 && !work->result)
                work->result = json_null();
        if (is_late(work_model, name)) {
                json_decref(TAKE_PTR(work->result));
                error_set(&work->err, -ETIME, "%s did not end", name);
                work->stuck = work_model->stuck;
        }
        while (*last)
                last = &(*last)->next;
        *last = work;
        *ret = work;
        return 0;
}

static void unlink_work(struct work *work) {
        struct work **p = &queue;

        while (*p && *p != work)
                p = &(*p)->next;
        if (*p)
                *p = work->next;
}

static void free_work(struct work *work) {
        json_decref(work->result);
        error_done(&work->err);
        free(work);
}

void __wrap_work_cancel(struct work *work);
void __wrap_work_cancel(struct work *work) {
        if (!work)
                return;
        unlink_work(work);
        free_work(work);
}

struct vfio_job *__real_vfio_job_new(const struct vfio_sys *sys, const struct vfio_original *original,
                                     const struct vfio_claim *claim);
struct vfio_job *__wrap_vfio_job_new(const struct vfio_sys *sys, const struct vfio_original *original,
                                     const struct vfio_claim *claim);
struct vfio_job *__wrap_vfio_job_new(const struct vfio_sys *sys, const struct vfio_original *original,
                                     const struct vfio_claim *claim) {
        return __real_vfio_job_new(&work_model->sys, original, claim);
}

void work_model_init(struct work_model *w) {
        *w = (struct work_model){ .reserved = json_array() };
        model_init(&w->m);
        w->sys = model_sys(&w->m);
        work_model = w;
}

void work_model_done(struct work_model *w) {
        while (queue)
                __wrap_work_cancel(queue);
        json_decref(w->reserved);
        strbuf_done(&w->names);
        work_model = NULL;
}

static bool finish_first(void) {
        struct work *work = queue;

        if (!work)
                return false;
        queue = work->next;
        work->done(work->result, work->result ? NULL : &work->err, work->stuck, work->data);
        free_work(work);
        return true;
}

void work_model_run(struct work_model *w, sd_event *loop) {
        while (sd_event_run(loop, 0) > 0 || finish_first())
                ;
}
