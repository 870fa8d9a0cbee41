/* A device to vfio-pci and back against the model of the kernel, with a fault at every single operation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/str.h"
#include "sysfs-model.h"
#include "vfio/bind.h"
#include "vfio/job.h"
#include "work/work.h"

#include <errno.h>

static const int codes[] = { -EIO, -EBUSY, -ENODEV };

/* --- how a device may begin --- */

static void begin_plain(struct model *m) {
}

static void begin_without(struct model *m) {
        m->devices[0].driver = NULL;
        strcpy(m->devices[0].power, "on");
}

static void begin_never(struct model *m) {
        begin_without(m);
        strcpy(m->devices[0].override, "none");
}

/* Loading vfio-pci takes it at once. */
static void begin_waiting(struct model *m) {
        begin_without(m);
        strcpy(m->devices[0].override, "vfio-pci");
}

static void begin_override(struct model *m) {
        strcpy(m->devices[0].override, "nouveau");
}

/* Meant for vfio-pci at the next boot. */
static void begin_override_later(struct model *m) {
        strcpy(m->devices[0].override, "vfio-pci");
}

static void begin_second_choice(struct model *m) {
        m->devices[0].driver = model_driver(m, "other");
        strcpy(m->devices[0].power, "on");
}

static void begin_by_override_only(struct model *m) {
        m->devices[0].driver = model_driver(m, "nvme");
        strcpy(m->devices[0].override, "nvme");
}

static void begin_reserved(struct model *m) {
        model_driver(m, "vfio-pci")->loaded = true;
        m->devices[0].driver = model_driver(m, "vfio-pci");
        strcpy(m->devices[0].override, "vfio-pci");
}

static void begin_by_ids(struct model *m) {
        begin_reserved(m);
        m->devices[0].override[0] = '\0';
}

static void begin_settings(struct model *m) {
        m->devices[0].d3cold = 0;
        strcpy(m->devices[0].reset, "bus");
        strcpy(m->devices[0].power, "on");
}

static void begin_no_resets_left(struct model *m) {
        m->devices[0].reset[0] = '\0';
}

static void begin_no_files(struct model *m) {
        m->devices[0].d3cold = -1;
        m->devices[0].resets = false;
}

static const struct beginning {
        const char *name;
        void (*begin)(struct model *m);
        const char *reset_method;
        bool idle;
} beginnings[] = {
        { "plain", begin_plain },
        { "plain, its reset chosen", begin_plain, "bus" },
        { "idle", begin_plain, .idle = true },
        { "no driver", begin_without },
        { "no driver by override", begin_never },
        { "no driver, waiting for vfio-pci", begin_waiting },
        { "an override of its own", begin_override },
        { "an override that waits", begin_override_later, "default" },
        { "not the first choice", begin_second_choice },
        { "by override only", begin_by_override_only },
        { "reserved", begin_reserved, "bus" },
        { "reserved by ids", begin_by_ids },
        { "settings of its own", begin_settings, "flr" },
        { "resets switched off", begin_no_resets_left },
        { "few files", begin_no_files },
};

struct world {
        struct model m;
        struct vfio_sys sys;
        struct vfio_original original;
        struct vfio_claim claim;
        char *before; /* owned */
};

/* Everything counts from operation 0 after this. */
static void world_init(struct world *w, const struct beginning *b) {
        model_init(&w->m);
        w->sys = model_sys(&w->m);
        b->begin(&w->m);
        w->before = model_text(&w->m);
        w->claim = (struct vfio_claim){ .idle = b->idle, .has_reset_method = b->reset_method };
        snprintf(w->claim.reset_method, sizeof(w->claim.reset_method), "%s",
                 b->reset_method ? b->reset_method : "");
        assert_int_equal(vfio_original_read(&w->sys, MODEL_CARD, &w->original, NULL), 0);
        w->m.op = 0;
        w->m.writes = 0;
}

static void world_done(struct world *w) {
        free(w->before);
}
#define _cleanup_world_ _cleanup_(world_done)

static int bind(struct world *w, struct error *err) {
        return vfio_bind(&w->sys, &w->original, &w->claim, NULL, err);
}

static int restore(struct world *w, struct error *err) {
        return vfio_restore(&w->sys, &w->original, NULL, err);
}

static void no_faults(struct world *w) {
        for (size_t i = 0; i < ARRAY_SIZE(w->m.faults); i++)
                w->m.faults[i].at = -1;
        w->m.vanish_at = -1;
        w->m.dead_from = -1;
        w->m.op = 0;
}

static bool as_before(const struct world *w) {
        _cleanup_free_ char *now = model_text(&w->m);

        return str_eq(now, w->before);
}

static void assert_as_before(const struct world *w, const char *where, int n) {
        _cleanup_free_ char *now = model_text(&w->m);

        if (!str_eq(now, w->before))
                fail_msg("%s, fault at %d:\n%sis not\n%s", where, n, now, w->before);
}

static void assert_bound(const struct world *w, const struct beginning *b) {
        const struct model_device *d = &w->m.devices[0];

        assert_true(w->m.has_backend);
        assert_string_equal(d->driver->name, "vfio-pci");
        assert_string_equal(d->power, b->idle ? "auto" : "on");
        assert_true(d->d3cold <= 0);
        if (b->reset_method)
                assert_string_equal(d->reset,
                                    str_eq(b->reset_method, "default") ? d->all_resets : b->reset_method);
        assert_false(w->m.uses_new_id);
        assert_false(w->m.left_asleep);
}

static void test_there_and_back(void **state) {
        for (size_t i = 0; i < ARRAY_SIZE(beginnings); i++) {
                _cleanup_error_ struct error err = ERROR_INIT;
                struct world w _cleanup_world_;

                world_init(&w, &beginnings[i]);
                if (bind(&w, &err) < 0)
                        fail_msg("%s: %s", beginnings[i].name, error_text(&err));
                assert_bound(&w, &beginnings[i]);
                if (restore(&w, &err) < 0)
                        fail_msg("%s: %s", beginnings[i].name, error_text(&err));
                assert_as_before(&w, beginnings[i].name, -1);
                /* Where things are right nothing is written. */
                w.m.writes = 0;
                assert_int_equal(restore(&w, NULL), 0);
                assert_int_equal(w.m.writes, 0);
        }
}

/* --- faults while it is taken --- */

static bool run_bind_fault(const struct beginning *b, int at, int code, bool after) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct world w _cleanup_world_;

        world_init(&w, b);
        w.m.faults[0] = (struct model_fault){ at, code, after };
        int r = bind(&w, &err);
        bool hit = w.m.op > at;
        if (r < 0) {
                assert_non_null(strstr(error_text(&err), MODEL_CARD));
                assert_null(strstr(error_text(&err), "put back"));
                assert_as_before(&w, b->name, at);
                return hit;
        }
        /* A fault that does not matter. */
        no_faults(&w);
        assert_bound(&w, b);
        assert_int_equal(restore(&w, NULL), 0);
        assert_as_before(&w, b->name, at);
        return hit;
}

static void test_bind_faults(void **state) {
        for (size_t i = 0; i < ARRAY_SIZE(beginnings); i++)
                for (size_t c = 0; c < ARRAY_SIZE(codes); c++)
                        for (int after = 0; after < 2; after++) {
                                int n = 0;

                                while (run_bind_fault(&beginnings[i], n, codes[c], after))
                                        n++;
                                assert_true(n > 10);
                        }
}

/* The second fault is in the undo of the first, or later in the bind. */
static bool run_bind_two(const struct beginning *b, int first, int second, bool after, int *told) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct world w _cleanup_world_;

        world_init(&w, b);
        w.m.faults[0] = (struct model_fault){ first, -EIO, after };
        w.m.faults[1] = (struct model_fault){ second, -EBUSY, !after };
        int r = bind(&w, &err);
        bool hit = w.m.op > second;
        if (r < 0 && !as_before(&w)) {
                if (!strstr(error_text(&err), "it could not be put back: "))
                        fail_msg("%s, faults at %d and %d: %s", b->name, first, second, error_text(&err));
                ++*told;
        }
        no_faults(&w);
        assert_int_equal(restore(&w, NULL), 0);
        assert_as_before(&w, b->name, second);
        return hit;
}

static void test_bind_two_faults(void **state) {
        int told = 0;

        for (size_t i = 0; i < ARRAY_SIZE(beginnings); i++)
                for (int first = 0; first < 40; first++)
                        for (int after = 0; after < 2; after++)
                                for (int second = first + 1;
                                     run_bind_two(&beginnings[i], first, second, after, &told);)
                                        second++;
        assert_true(told > 100);
}

/* --- faults while it is given back --- */

static bool run_restore_fault(const struct beginning *b, const struct model_fault *one,
                              const struct model_fault *two) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct world w _cleanup_world_;

        world_init(&w, b);
        assert_int_equal(bind(&w, NULL), 0);
        no_faults(&w);
        w.m.faults[0] = *one;
        if (two)
                w.m.faults[1] = *two;
        int r = restore(&w, &err);
        bool hit = w.m.op > (two ? two->at : one->at);
        if (r == 0)
                assert_as_before(&w, b->name, one->at);
        else
                assert_true(str_starts(error_text(&err), MODEL_CARD ": "));
        no_faults(&w);
        assert_int_equal(restore(&w, NULL), 0);
        assert_as_before(&w, b->name, one->at);
        return hit;
}

static void test_restore_faults(void **state) {
        for (size_t i = 0; i < ARRAY_SIZE(beginnings); i++)
                for (size_t c = 0; c < ARRAY_SIZE(codes); c++)
                        for (int after = 0; after < 2; after++) {
                                struct model_fault one = { 0, codes[c], after };

                                while (run_restore_fault(&beginnings[i], &one, NULL))
                                        one.at++;
                                assert_true(one.at > 8);
                        }
}

static void test_restore_two_faults(void **state) {
        for (size_t i = 0; i < ARRAY_SIZE(beginnings); i++)
                for (int first = 0; first < 30; first++)
                        for (int after = 0; after < 2; after++) {
                                struct model_fault one = { first, -EIO, after },
                                                   two = { first + 1, -EBUSY, !after };

                                while (run_restore_fault(&beginnings[i], &one, &two))
                                        two.at++;
                        }
}

/* --- cut off anywhere, and restored by whoever comes after --- */

static bool run_cut(const struct beginning *b, int bind_at, int restore_at) {
        struct world w _cleanup_world_;

        world_init(&w, b);
        w.m.dead_from = bind_at;
        (void) bind(&w, NULL);
        bool hit = bind_at >= 0 && w.m.op > bind_at;
        if (restore_at >= 0) {
                no_faults(&w);
                w.m.dead_from = restore_at;
                (void) restore(&w, NULL);
                hit = w.m.op > restore_at;
        }
        no_faults(&w);
        assert_int_equal(restore(&w, NULL), 0);
        assert_as_before(&w, b->name, bind_at);
        return hit;
}

static void test_cut_off(void **state) {
        for (size_t i = 0; i < ARRAY_SIZE(beginnings); i++) {
                int n = 0, m = 0;

                while (run_cut(&beginnings[i], n, -1))
                        n++;
                while (run_cut(&beginnings[i], -1, m))
                        m++;
                for (int at = 0; at < n; at++)
                        for (int back = 0; run_cut(&beginnings[i], at, back);)
                                back++;
        }
}

/* --- it vanishes --- */

static void test_vanish(void **state) {
        for (size_t i = 0; i < ARRAY_SIZE(beginnings); i++)
                for (int at = 0;; at++) {
                        _cleanup_error_ struct error err = ERROR_INIT;
                        struct world w _cleanup_world_;

                        world_init(&w, &beginnings[i]);
                        w.m.vanish_at = at;
                        int r = bind(&w, &err);
                        assert_true(w.m.devices[0].there == (r == 0));
                        if (r == 0)
                                break;
                        assert_string_equal(error_text(&err),
                                            MODEL_CARD ": there is no such device any more");
                        assert_int_equal(r, -ENODEV);
                        assert_int_equal(restore(&w, NULL), 0);
                }
}

static void test_vanish_on_the_way_back(void **state) {
        for (size_t i = 0; i < ARRAY_SIZE(beginnings); i++)
                for (int at = 0;; at++) {
                        struct world w _cleanup_world_;

                        world_init(&w, &beginnings[i]);
                        assert_int_equal(bind(&w, NULL), 0);
                        no_faults(&w);
                        w.m.vanish_at = at;
                        assert_int_equal(restore(&w, NULL), 0);
                        if (w.m.devices[0].there)
                                break;
                }
}

/* --- single stories --- */

static void assert_refused(struct world *w, int code, const char *text) {
        _cleanup_error_ struct error err = ERROR_INIT;

        assert_int_equal(bind(w, &err), code);
        assert_string_equal(error_text(&err), text);
}

static void test_changed_meanwhile(void **state) {
        struct world w _cleanup_world_;

        world_init(&w, &beginnings[0]);
        w.m.devices[0].driver = NULL;
        assert_refused(&w, -ESTALE,
                       MODEL_CARD ": has changed meanwhile: its driver is none now, no longer nouveau");
        strcpy(w.m.devices[0].override, "vfio-pci");
        w.m.devices[0].driver = model_driver(&w.m, "nouveau");
        assert_refused(&w, -ESTALE,
                       MODEL_CARD ": has changed meanwhile: its driver_override is \"vfio-pci\" now, "
                                  "no longer \"\"");
        w.m.devices[0].device = 0x1b81;
        assert_refused(&w, -ESTALE, MODEL_CARD ": is 10de:1b81 now, no longer 10de:1b80");
        assert_int_equal(restore(&w, NULL), 0);
        assert_int_equal(w.m.writes, 0);
}

static void test_refusals(void **state) {
        struct world w _cleanup_world_;

        world_init(&w, &beginnings[0]);
        w.m.devices[0].group = -1;
        assert_refused(&w, -EINVAL,
                       MODEL_CARD ": vfio-pci does not take it (the kernel's log may say why): "
                                  "Invalid argument");
        assert_as_before(&w, "no group", -1);
        w.m.devices[0].group = 7;
        model_driver(&w.m, "vfio-pci")->probe_error = -EPERM;
        assert_refused(&w, -EPERM,
                       MODEL_CARD ": vfio-pci does not take it (the kernel's log may say why): "
                                  "Operation not permitted");
        assert_as_before(&w, "refused", -1);
        w.claim = (struct vfio_claim){ .has_reset_method = true, .reset_method = "pm" };
        assert_refused(&w, -EINVAL, MODEL_CARD ": cannot be reset by \"pm\": it has \"flr bus\"");
        w.m.devices[0].dead = true;
        assert_refused(&w, -EIO,
                       MODEL_CARD
                       ": does not answer any more (its configuration space reads as ones): only a "
                       "restart of the host, often with its power off, brings it back");
        assert_as_before(&w, "dead", -1);
        model_driver(&w.m, "vfio-pci")->loaded = false;
        strcpy(model_driver(&w.m, "vfio-pci")->module, "elsewhere");
        w.m.writes = 0;
        assert_refused(&w, -ENOENT,
                       MODEL_CARD ": cannot load the kernel module vfio_pci: No such file or directory");
        assert_as_before(&w, "no module", -1);
}

static void test_bridge(void **state) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct vfio_original bridge;
        struct world w _cleanup_world_;

        world_init(&w, &beginnings[0]);
        assert_int_equal(vfio_original_read(&w.sys, MODEL_BRIDGE, &bridge, NULL), 0);
        assert_int_equal(vfio_bind(&w.sys, &bridge, &w.claim, NULL, &err), -EINVAL);
        assert_string_equal(error_text(&err), MODEL_BRIDGE ": is a bridge, which no guest can have");
        assert_int_equal(w.m.writes, 0);
}

static void test_regrabbed(void **state) {
        struct world w _cleanup_world_;

        world_init(&w, &beginnings[0]);
        model_driver(&w.m, "nouveau")->regrabs = true;
        assert_refused(&w, -EBUSY, MODEL_CARD ": left the driver nouveau, but is with nouveau again");
        assert_as_before(&w, "regrabbed", -1);
}

static void test_vfio_clings(void **state) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct world w _cleanup_world_;

        world_init(&w, &beginnings[0]);
        assert_int_equal(bind(&w, NULL), 0);
        model_driver(&w.m, "vfio-pci")->regrabs = true;
        assert_int_equal(restore(&w, &err), -EBUSY);
        assert_string_equal(error_text(&err),
                            MODEL_CARD ": left the driver vfio-pci, but is with vfio-pci again");
        assert_string_equal(w.m.devices[0].override, "");
}

static void test_driver_gone_or_sulking(void **state) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct world w _cleanup_world_;

        world_init(&w, &beginnings[0]);
        assert_int_equal(bind(&w, NULL), 0);
        model_driver(&w.m, "nouveau")->probe_error = -EIO;
        assert_int_equal(restore(&w, &err), -EIO);
        assert_string_equal(error_text(&err),
                            MODEL_CARD ": is without a driver: nouveau does not take it back: "
                                       "Input/output error");
        /* Not given to another one, and its override is as it was. */
        assert_null(w.m.devices[0].driver);
        assert_string_equal(w.m.devices[0].override, "");
        model_driver(&w.m, "nouveau")->probe_error = 0;
        model_driver(&w.m, "nouveau")->loaded = false;
        assert_int_equal(restore(&w, NULL), 0);
        assert_as_before(&w, "loaded again", -1);
}

/* Some take a device only when the kernel offers it. */
static void test_driver_wants_an_offer(void **state) {
        struct world w _cleanup_world_;

        world_init(&w, &beginnings[0]);
        assert_int_equal(bind(&w, NULL), 0);
        model_driver(&w.m, "nouveau")->bind_error = -EAGAIN;
        assert_int_equal(restore(&w, NULL), 0);
        assert_as_before(&w, "offered", -1);
}

static void test_third_driver(void **state) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct world w _cleanup_world_;

        world_init(&w, &beginnings[0]);
        assert_int_equal(bind(&w, NULL), 0);
        w.m.devices[0].driver = model_driver(&w.m, "other");
        assert_int_equal(restore(&w, &err), -EEXIST);
        assert_string_equal(error_text(&err),
                            MODEL_CARD ": somebody gave it to the driver other: it stays there");
        assert_string_equal(w.m.devices[0].driver->name, "other");
        assert_string_equal(w.m.devices[0].override, "");
}

/* What it had before is no reason to take it from there at the next chance. */
static void test_third_driver_keeps_its_override(void **state) {
        static const struct beginning reserved = { "reserved", begin_reserved };
        struct world w _cleanup_world_;

        world_init(&w, &reserved);
        assert_int_equal(bind(&w, NULL), 0);
        w.m.devices[0].driver = model_driver(&w.m, "nouveau");
        w.m.devices[0].override[0] = '\0';
        assert_int_equal(restore(&w, NULL), -EEXIST);
        assert_string_equal(w.m.devices[0].driver->name, "nouveau");
        assert_string_equal(w.m.devices[0].override, "");
}

/* Another VM has it, or a QEMU that does not end: not a single write. */
static void test_in_use(void **state) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct world w _cleanup_world_;

        world_init(&w, &beginnings[0]);
        assert_int_equal(bind(&w, NULL), 0);
        _cleanup_free_ char *bound = model_text(&w.m);
        w.m.devices[0].open_by = "qemu (pid 7) has /dev/vfio/7 open";
        w.m.writes = 0;
        assert_int_equal(restore(&w, &err), -EBUSY);
        assert_string_equal(error_text(&err),
                            MODEL_CARD ": qemu (pid 7) has /dev/vfio/7 open: it stays with vfio-pci");
        assert_int_equal(w.m.writes, 0);
        _cleanup_free_ char *now = model_text(&w.m);
        assert_string_equal(now, bound);
        w.m.devices[0].open_by = NULL;
        assert_int_equal(restore(&w, NULL), 0);
        assert_as_before(&w, "let go", -1);
        /* It stays with its driver all the same: there is nothing to refuse. */
        w.m.devices[0].open_by = "Xorg (pid 8) has /dev/dri/card0 open";
        assert_int_equal(restore(&w, NULL), 0);
}

/* All that are taken first, then back in the opposite order. */
static void test_whole_group(void **state) {
        struct vfio_original card, sound;
        struct world w _cleanup_world_;

        world_init(&w, &beginnings[0]);
        assert_int_equal(vfio_original_read(&w.sys, MODEL_CARD, &card, NULL), 0);
        assert_int_equal(vfio_original_read(&w.sys, MODEL_SOUND, &sound, NULL), 0);
        assert_int_equal(vfio_bind(&w.sys, &card, &w.claim, NULL, NULL), 0);
        assert_int_equal(vfio_bind(&w.sys, &sound, &w.claim, NULL, NULL), 0);
        assert_string_equal(w.m.devices[1].driver->name, "vfio-pci");
        assert_string_equal(w.m.devices[2].driver->name, "nvme");
        assert_int_equal(vfio_restore(&w.sys, &sound, NULL, NULL), 0);
        assert_int_equal(vfio_restore(&w.sys, &card, NULL, NULL), 0);
        assert_as_before(&w, "group", -1);
}

static void test_never_returns(void **state) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct world w _cleanup_world_;
        json_t *result = NULL;

        world_init(&w, &beginnings[0]);
        model_driver(&w.m, "nouveau")->hangs = true;
        struct vfio_job *job = vfio_job_new(&w.sys, &w.original, &w.claim);
        assert_int_equal(work_run("the card", 200, vfio_bind_work, job, &result, &err), -ETIME);
        _cleanup_free_ char *stuck = vfio_job_stuck(job);
        assert_string_equal(stuck, MODEL_CARD " is stuck leaving nouveau");
        vfio_job_free(job);
}

static void test_override_never_returns(void **state) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct world w _cleanup_world_;
        json_t *result = NULL;

        world_init(&w, &beginnings[0]);
        assert_int_equal(bind(&w, NULL), 0);
        w.m.hangs_at = "/driver_override";
        struct vfio_job *job = vfio_job_new(&w.sys, &w.original, &w.claim);
        assert_int_equal(work_run("the card", 200, vfio_restore_work, job, &result, &err), -ETIME);
        _cleanup_free_ char *stuck = vfio_job_stuck(job);
        assert_string_equal(stuck, MODEL_CARD " is stuck getting its driver_override");
        vfio_job_free(job);
}

static void test_in_a_worker(void **state) {
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_json_ json_t *result = NULL;
        struct world w _cleanup_world_;

        world_init(&w, &beginnings[0]);
        w.m.faults[0] = (struct model_fault){ 0, -EIO, false };
        struct vfio_job *job = vfio_job_new(&w.sys, &w.original, NULL);
        assert_int_equal(work_run("the card", 10000, vfio_bind_work, job, &result, &err), -EIO);
        assert_true(str_starts(error_text(&err), MODEL_CARD ": cannot be looked at"));
        w.m.faults[0].at = -1;
        assert_int_equal(work_run("the card", 10000, vfio_restore_work, job, &result, &err), 0);
        assert_true(json_is_null(result));
        vfio_job_free(job);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_there_and_back),
                cmocka_unit_test(test_bind_faults),
                cmocka_unit_test(test_bind_two_faults),
                cmocka_unit_test(test_restore_faults),
                cmocka_unit_test(test_restore_two_faults),
                cmocka_unit_test(test_cut_off),
                cmocka_unit_test(test_vanish),
                cmocka_unit_test(test_vanish_on_the_way_back),
                cmocka_unit_test(test_changed_meanwhile),
                cmocka_unit_test(test_refusals),
                cmocka_unit_test(test_bridge),
                cmocka_unit_test(test_regrabbed),
                cmocka_unit_test(test_vfio_clings),
                cmocka_unit_test(test_driver_gone_or_sulking),
                cmocka_unit_test(test_driver_wants_an_offer),
                cmocka_unit_test(test_third_driver),
                cmocka_unit_test(test_third_driver_keeps_its_override),
                cmocka_unit_test(test_in_use),
                cmocka_unit_test(test_whole_group),
                cmocka_unit_test(test_never_returns),
                cmocka_unit_test(test_override_never_returns),
                cmocka_unit_test(test_in_a_worker),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
