/* One device: looked at, remembered, bound and put to sleep; or given back and forgotten. */
#include "vored/reserve.h"

#include "base/log.h"
#include "base/str.h"
#include "host/need.h"
#include "vfio/kept.h"
#include "vfio/stuck.h"

#include <errno.h>
#include <stdarg.h>

enum { LOOK_DEADLINE_MS = 10 * 1000 };

static const char *runtime_dir(const struct reserve_row *row) {
        return row->m->settings->vore.runtime_dir;
}

static void row_fail(struct reserve_row *row, const char *fmt, ...) _printf_(2, 3);
static void row_fail(struct reserve_row *row, const char *fmt, ...) {
        char *text;
        va_list ap;

        va_start(ap, fmt);
        if (vasprintf(&text, fmt, ap) < 0)
                log_oom();
        va_end(ap);
        free(row->reason);
        row->reason = text;
        row->failed = row->task;
}

/* Workers' sentences begin with the address, as does whoever shows a reason: "0000:0b:00.0 is in use" becomes
 * "it is in use". */
static void row_fail_sentence(struct reserve_row *row, const char *text) {
        static const char *const verbs[] = { "is ", "has ", "was ", "does ", "goes ", "left " };
        size_t n = strlen(row->address);
        bool it = false;

        if (strncmp(text, row->address, n) == 0 && (text[n] == ':' || text[n] == ' '))
                text += n + (text[n] == ':');
        text += strspn(text, " ");
        for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
                it = it || str_starts(text, verbs[i]);
        row_fail(row, "%s%s", it ? "it " : "", text);
}

static void row_fail_error(struct reserve_row *row, const struct error *err) {
        row_fail_sentence(row, error_text(err));
}

static void finish(struct reserve_row *row) {
        vfio_job_free(row->job);
        row->job = NULL;
        row->remembered = row->again = false;
        reserve_job_done(row);
}

static int job_start(struct reserve_row *row, const char *name, const struct vfio_original *original,
                     const struct vfio_claim *claim, work_fn fn, work_done_fn done, struct error *err) {
        unsigned deadline_ms = (unsigned) row->m->settings->vfio.timeout * 1000;

        vfio_job_free(row->job);
        row->job = vfio_job_new(NULL, original, claim);
        return work_start(row->m->loop, name, deadline_ms, fn, row->job, done, row, &row->work, err);
}

/* A worker that came to no end: the device is not touched again if it is stuck for good. Without a job it was
 * looked at. */
static bool row_stuck(struct reserve_row *row, const struct error *err, pid_t stuck) {
        _cleanup_error_ struct error failed = ERROR_INIT;
        _cleanup_free_ char *sentence = NULL;

        if (err->code != -ETIME) {
                row_fail_error(row, err);
                return false;
        }
        sentence = row->job ? vfio_job_stuck(row->job) : vfio_look_stuck(row->address);
        if (stuck && vfio_stuck_add(runtime_dir(row), row->address, sentence, &failed) < 0)
                log_warning("%s: %s", row->address, error_text(&failed));
        row_fail_sentence(row, sentence);
        return stuck > 0;
}

static void forget(struct reserve_row *row) {
        _cleanup_error_ struct error err = ERROR_INIT;

        if (vfio_kept_drop(runtime_dir(row), row->address, &err) < 0)
                log_warning("%s: %s", row->address, error_text(&err));
}

static bool give_back_start(struct reserve_row *row, work_done_fn done, struct error *err) {
        struct vfio_original before;

        return vfio_kept_find(runtime_dir(row), row->address, &before, NULL) &&
               job_start(row, "a device's way back", &before, NULL, vfio_restore_work, done, err) >= 0;
}

/* A driver that took longer than the deadline may be there by now; only what is missing is done then. */
static bool give_back_again(struct reserve_row *row, const struct error *err, pid_t stuck,
                            work_done_fn done) {
        if (row->again || err->code != -ETIME || stuck)
                return false;
        row->again = true;
        return give_back_start(row, done, NULL);
}

/* One that somebody gave to another driver is not kept any more. */
static void give_back_failed(struct reserve_row *row, const struct error *err, pid_t stuck) {
        (void) row_stuck(row, err, stuck);
        if (err->code == -EEXIST)
                forget(row);
}

/* -- to vfio-pci ----------------------------------------------------------------------------------------- */

static void put_back(const json_t *result, const struct error *err, pid_t stuck, void *data) {
        struct reserve_row *row = data;

        row->work = NULL;
        if (result)
                forget(row);
        else if (give_back_again(row, err, stuck, put_back))
                return;
        else {
                _cleanup_free_ char *why = TAKE_PTR(row->reason), *undo = NULL;

                give_back_failed(row, err, stuck);
                undo = TAKE_PTR(row->reason);
                row_fail(row, "%s; and it could not be put back: %s", why, undo);
        }
        finish(row);
}

static void bound(const json_t *result, const struct error *err, pid_t stuck, void *data) {
        struct reserve_row *row = data;

        row->work = NULL;
        vm_test_kill("reserve", "bind", "after");
        if (result) {
                log_info("%s is reserved", row->address);
                finish(row);
                return;
        }
        bool hangs = row_stuck(row, err, stuck);
        if (hangs || !row->remembered)
                ; /* nobody can do anything about it; or it was kept before, and is still */
        else if (err->code == -ESTALE) {
                forget(row); /* nothing was done */
                row->again = !row->again;
                if (row->again) {
                        reserve_job_claim(row);
                        return;
                }
        } else {
                row->again = false;
                if (give_back_start(row, put_back, NULL))
                        return;
        }
        finish(row);
}

static bool all_wanted(const struct reserve_row *row) {
        return row->m->reserve->queue->kind == RESERVE_ALL;
}

/* Only what is with the host now says how it was; the driver of one that is with vfio-pci is known, or
 * nobody's. One that is known and with the driver that it had was cut off on its way there or back: the rest
 * of it may be changed already. What somebody claimed by hand is given back by hand, whoever else wants it.
 */
static int remember(struct reserve_row *row, const struct vfio_original *found, struct error *err) {
        _cleanup_free_ char *why = NULL;
        struct vfio_original before, kept;
        bool known = vfio_kept_find(runtime_dir(row), row->address, &kept, &why) &&
                     vfio_original_same(&kept, found);
        bool hand = row->by_hand || (known && str_eq(why, VFIO_KEPT_HAND));

        vfio_original_before(found, &before);
        /* At vored's start others load drivers still: that it has none yet says nothing. */
        if (!known && all_wanted(row) && !found->driver[0] && !found->override[0])
                before.probe = true;
        if (known && (before.probe || strstr(found->driver, "vfio") || !found->driver[0] ||
                      str_eq(found->driver, kept.driver)))
                before = kept;
        row->remembered = !known;
        return vfio_kept_put(runtime_dir(row), &before, hand ? VFIO_KEPT_HAND : VFIO_KEPT_RESERVE, err);
}

static int check_found(const struct reserve_row *row, const struct vfio_device *d, struct error *err) {
        const struct vfio_original *o = &d->original;

        if (!d->present)
                return error_set(err, -ENODEV, "there is no such device");
        if ((row->vendor || row->device) && (o->vendor != row->vendor || o->device != row->device))
                return error_set(err, -ESTALE, "it is %04x:%04x now, not %04x:%04x", o->vendor, o->device,
                                 row->vendor, row->device);
        if (d->bridge)
                return error_set(err, -EINVAL,
                                 "it is a bridge, which no guest can have: what is behind it can be "
                                 "reserved");
        if (d->iommu_group < 0)
                return error_set(err, -EOPNOTSUPP, "it has no IOMMU group: the IOMMU is off or missing");
        return 0;
}

/* Its driver takes its virtual functions away when it goes (SR-IOV), also those that a guest has. */
static int check_functions(const struct reserve_row *row, const struct vfio_original *found,
                           struct error *err) {
        _cleanup_uses_ struct vm_uses uses = { 0 };
        _cleanup_host_ struct host *host = NULL;

        machines_uses(NULL, &uses, row->m);
        if (uses.n_devices == 0 || host_pci_vfio_driver(found->driver))
                return 0;
        int r = host_open(NULL, &host, err);
        for (size_t i = 0; r >= 0 && i < uses.n_devices; i++)
                if (host_pci_function_of(host, uses.devices[i].address, row->address))
                        return error_set(
                                err, -EBUSY,
                                "its virtual function %s would go away, which the machine %s has: vore "
                                "stop %s first",
                                uses.devices[i].address, uses.devices[i].vm, uses.devices[i].vm);
        return r;
}

static int claim(struct reserve_row *row, const json_t *result, struct error *err) {
        static const struct vfio_claim idle = { .idle = true };
        struct vfio_device device;
        int r = vfio_device_from_json(json_array_get(result, 0), &device, err);

        if (r >= 0)
                r = check_found(row, &device, err);
        if (r >= 0)
                r = check_functions(row, &device.original, err);
        if (r >= 0)
                r = remember(row, &device.original, err);
        if (r < 0)
                return r;
        vm_test_kill("reserve", "bind", "before");
        return job_start(row, "a device's reservation", &device.original, &idle, vfio_bind_work, bound, err);
}

static void looked(const json_t *result, const struct error *err, pid_t stuck, void *data) {
        struct reserve_row *row = data;
        _cleanup_error_ struct error failed = ERROR_INIT;

        row->work = NULL;
        if (!result)
                (void) row_stuck(row, err, stuck);
        else if (claim(row, result, &failed) >= 0)
                return;
        else
                row_fail_error(row, &failed);
        finish(row);
}

void reserve_job_claim(struct reserve_row *row) {
        const char *address = row->address;
        const char *user = reserve_user(row->m, address);
        _cleanup_error_ struct error err = ERROR_INIT;
        /* Who has it open at vfio-pci is welcome to it. */
        struct vfio_look_job job = {
                .addresses = &address, .force = &row->force, .n = 1, .vfio_may_be_held = true
        };

        row->task = TASK_CLAIM;
        row->put_back = false;
        vfio_job_free(TAKE_PTR(row->job));
        free(TAKE_PTR(row->reason));
        if (user) { /* it has what it wants; how it ends decides what becomes of the device */
                finish(row);
                return;
        }
        if (vfio_stuck_check(runtime_dir(row), address, &err) >= 0 &&
            work_start(row->m->loop, "a look at a device", LOOK_DEADLINE_MS, vfio_look_work, &job, looked,
                       row, &row->work, &err) >= 0)
                return;
        row_fail_error(row, &err);
        finish(row);
}

/* -- and back -------------------------------------------------------------------------------------------- */

static void given_back(const json_t *result, const struct error *err, pid_t stuck, void *data) {
        struct reserve_row *row = data;

        row->work = NULL;
        vm_test_kill("release", "restore", "after");
        if (result) {
                forget(row);
                log_info("%s is given back", row->address);
        } else if (give_back_again(row, err, stuck, given_back))
                return;
        else
                give_back_failed(row, err, stuck);
        finish(row);
}

void reserve_job_give_back(struct reserve_row *row) {
        const char *user = reserve_user(row->m, row->address);
        _cleanup_error_ struct error err = ERROR_INIT;

        row->task = TASK_GIVE_BACK;
        free(TAKE_PTR(row->reason));
        if (user) { /* since it was asked for */
                row_fail(row, "it is in use by the machine %s: vore stop %s first", user, user);
                row->refused = true;
                finish(row);
                return;
        }
        if (!vfio_kept_find(runtime_dir(row), row->address, NULL, NULL)) {
                finish(row);
                return;
        }
        if (vfio_stuck_check(runtime_dir(row), row->address, &err) >= 0) {
                vm_test_kill("release", "restore", "before");
                if (give_back_start(row, given_back, &err))
                        return;
        }
        row_fail_error(row, &err);
        finish(row);
}

void reserve_steps(void (*fn)(const char *table, const char *step, void *data), void *data) {
        fn("reserve", "bind", data);
        fn("release", "restore", data);
}
