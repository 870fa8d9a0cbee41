/* Devices that are kept on vfio-pci: what is remembered, how they sleep, and that giving them back is exact,
 * with a fault or a death at every single operation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/str.h"
#include "sysfs-model.h"
#include "vfio/bind.h"
#include "vfio/kept.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

static const struct vfio_claim idle = { .idle = true };

static void begin_host(struct model *m) {
}

static void begin_unbound(struct model *m) {
        m->devices[0].driver = NULL;
        strcpy(m->devices[0].power, "on");
}

static void begin_second_choice(struct model *m) {
        m->devices[0].driver = model_driver(m, "other");
        strcpy(m->devices[0].power, "on");
}

/* vfio-pci.ids=: nobody's override. */
static void begin_by_ids(struct model *m) {
        model_driver(m, "vfio-pci")->loaded = true;
        m->devices[0].driver = model_driver(m, "vfio-pci");
}

static const struct {
        const char *name;
        void (*begin)(struct model *m);
} beginnings[] = {
        { "with the host", begin_host },
        { "unbound", begin_unbound },
        { "second choice", begin_second_choice },
        { "by ids", begin_by_ids },
};

/* A rule of the boot had it first: it is with vfio-pci, or waits for it without a driver. */
static void begin_claimed(struct model *m, bool bound) {
        struct model_device *d = &m->devices[0];

        strcpy(d->override, "vfio-pci");
        d->driver = bound ? model_driver(m, "vfio-pci") : NULL;
        model_driver(m, "vfio-pci")->loaded = bound;
        strcpy(d->power, bound ? "auto" : "on");
}

struct world {
        struct model m;
        struct vfio_sys sys;
        struct vfio_original found, before;
        char *text; /* owned */
};

static void world_done(struct world *w) {
        free(w->text);
}
#define _cleanup_world_ _cleanup_(world_done)

static void no_faults(struct world *w) {
        w->m.faults[0].at = -1;
        w->m.dead_from = -1;
        w->m.op = 0;
}

static void world_init(struct world *w, void (*begin)(struct model *m)) {
        model_init(&w->m);
        w->sys = model_sys(&w->m);
        begin(&w->m);
        w->text = model_text(&w->m);
        assert_int_equal(vfio_original_read(&w->sys, MODEL_CARD, &w->found, NULL), 0);
        vfio_original_before(&w->found, &w->before);
        no_faults(w);
}

static void assert_back(const struct world *w, const char *where, int n) {
        _cleanup_free_ char *now = model_text(&w->m);

        if (!str_eq(now, w->text))
                fail_msg("%s, fault at %d:\n%sis not\n%s", where, n, now, w->text);
}

static void assert_idle(const struct world *w) {
        const struct model_device *d = &w->m.devices[0];

        assert_string_equal(d->driver->name, "vfio-pci");
        assert_string_equal(d->power, "auto");
        assert_true(d->d3cold <= 0);
}

static void test_there_and_back(void **state) {
        for (size_t i = 0; i < ARRAY_SIZE(beginnings); i++) {
                struct world w _cleanup_world_;

                world_init(&w, beginnings[i].begin);
                assert_false(w.before.probe);
                assert_int_equal(vfio_bind(&w.sys, &w.found, &idle, NULL, NULL), 0);
                assert_idle(&w);
                assert_int_equal(vfio_restore(&w.sys, &w.before, NULL, NULL), 0);
                assert_back(&w, beginnings[i].name, -1);
        }
}

/* However far a claim or a return came: what was remembered is enough. */
static bool run_cut_off(size_t i, int at, bool death, bool returning) {
        struct world w _cleanup_world_;

        world_init(&w, beginnings[i].begin);
        if (returning)
                assert_int_equal(vfio_bind(&w.sys, &w.found, &idle, NULL, NULL), 0);
        w.m.op = 0;
        if (death)
                w.m.dead_from = at;
        else
                w.m.faults[0] = (struct model_fault){ at, -EIO, at % 2 };
        if (returning)
                (void) vfio_restore(&w.sys, &w.before, NULL, NULL);
        else
                (void) vfio_bind(&w.sys, &w.found, &idle, NULL, NULL);
        bool hit = w.m.op > at;
        no_faults(&w);
        assert_int_equal(vfio_restore(&w.sys, &w.before, NULL, NULL), 0);
        assert_back(&w, beginnings[i].name, at);
        return hit;
}

static void test_cut_off_anywhere(void **state) {
        for (size_t i = 0; i < ARRAY_SIZE(beginnings); i++)
                for (int kind = 0; kind < 4; kind++) {
                        int n = 0;

                        while (run_cut_off(i, n, kind & 1, kind & 2))
                                n++;
                        assert_true(n > 5);
                }
}

/* A guest is done with it: it stays, asleep, also if that is cut off and done again. */
static bool run_idle_again(size_t i, int at) {
        struct vfio_original asleep;
        struct world w _cleanup_world_;

        world_init(&w, beginnings[i].begin);
        vfio_original_idle(&w.before, &asleep);
        assert_int_equal(vfio_bind(&w.sys, &w.found, &(struct vfio_claim){ 0 }, NULL, NULL), 0);
        assert_string_equal(w.m.devices[0].power, "on");
        w.m.op = 0;
        w.m.dead_from = at;
        (void) vfio_restore(&w.sys, &asleep, NULL, NULL);
        bool hit = w.m.op > at;
        no_faults(&w);
        assert_int_equal(vfio_restore(&w.sys, &asleep, NULL, NULL), 0);
        assert_idle(&w);
        assert_int_equal(vfio_restore(&w.sys, &w.before, NULL, NULL), 0);
        assert_back(&w, beginnings[i].name, at);
        return hit;
}

static void test_idle_after_a_guest(void **state) {
        for (size_t i = 0; i < ARRAY_SIZE(beginnings); i++)
                for (int n = 0; run_idle_again(i, n); n++)
                        ;
}

static void begin_bound_at_boot(struct model *m) {
        begin_claimed(m, true);
}

static void begin_waits_since_boot(struct model *m) {
        begin_claimed(m, false);
}

static void begin_meant_for_later(struct model *m) {
        strcpy(m->devices[0].override, "vfio-pci");
}

/* Nobody saw its driver: the kernel chooses. */
static bool run_from_boot(bool bound, int at) {
        struct world w _cleanup_world_;

        world_init(&w, bound ? begin_bound_at_boot : begin_waits_since_boot);
        assert_true(w.before.probe);
        assert_int_equal(vfio_bind(&w.sys, &w.found, &idle, NULL, NULL), 0);
        assert_idle(&w);
        w.m.op = 0;
        w.m.faults[0] = (struct model_fault){ at, -EIO, at % 2 };
        (void) vfio_restore(&w.sys, &w.before, NULL, NULL);
        bool hit = at >= 0 && w.m.op > at;
        no_faults(&w);
        assert_int_equal(vfio_restore(&w.sys, &w.before, NULL, NULL), 0);
        assert_string_equal(w.m.devices[0].driver->name, "nouveau");
        assert_string_equal(w.m.devices[0].override, "");
        assert_int_equal(w.m.devices[0].d3cold, 1);
        w.m.writes = 0;
        assert_int_equal(vfio_restore(&w.sys, &w.before, NULL, NULL), 0);
        assert_int_equal(w.m.writes, 0);
        return hit;
}

static void test_claimed_at_boot(void **state) {
        for (int bound = 0; bound < 2; bound++) {
                (void) run_from_boot(bound, -1);
                for (int n = 0; run_from_boot(bound, n); n++)
                        ;
        }
        struct world w _cleanup_world_;
        world_init(&w, begin_meant_for_later);
        assert_false(w.before.probe);
}

/* Given back by the kernel's choice while somebody has it open: not touched. */
static void test_in_use(void **state) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct world w _cleanup_world_;

        world_init(&w, begin_bound_at_boot);
        w.m.devices[0].open_by = "qemu (pid 55) has /dev/vfio/7 open";
        w.m.writes = 0;
        assert_int_equal(vfio_restore(&w.sys, &w.before, NULL, &err), -EBUSY);
        assert_non_null(strstr(error_text(&err), "qemu (pid 55)"));
        assert_int_equal(w.m.writes, 0);
}

/* -- the file -------------------------------------------------------------------------------------------- */

static int setup(void **state) {
        char *dir = xstrdup("/tmp/vore-kept-XXXXXX");

        assert_non_null(mkdtemp(dir));
        *state = dir;
        return 0;
}

static int teardown(void **state) {
        assert_int_equal(file_remove_tree(AT_FDCWD, *state, NULL), 0);
        free(*state);
        return 0;
}

static void put(const char *dir, const char *text) {
        _cleanup_free_ char *path = xasprintf("%s/kept-devices", dir);

        assert_int_equal(file_write_atomic(AT_FDCWD, path, text, strlen(text), 0644, false, NULL), 0);
}

static void test_file(void **state) {
        _cleanup_free_ char *why = NULL;
        struct vfio_original got;
        struct world w _cleanup_world_;

        world_init(&w, begin_host);
        assert_int_equal(vfio_kept_find(*state, MODEL_CARD, NULL, NULL), 0);
        assert_int_equal(vfio_kept_drop(*state, MODEL_CARD, NULL), 0);
        assert_int_equal(vfio_kept_put(*state, &w.before, VFIO_KEPT_HAND, NULL), 0);
        w.before.probe = true;
        assert_int_equal(vfio_kept_put(*state, &w.before, VFIO_KEPT_RESERVE, NULL), 0);
        assert_int_equal(vfio_kept_find(*state, MODEL_CARD, &got, &why), 1);
        assert_string_equal(why, "reserve");
        assert_memory_equal(&got, &w.before, sizeof(got));
        assert_int_equal(vfio_kept_find(*state, MODEL_SOUND, &got, NULL), 0);
        assert_int_equal(vfio_kept_drop(*state, MODEL_CARD, NULL), 0);
        assert_int_equal(vfio_kept_find(*state, MODEL_CARD, NULL, NULL), 0);
}

static void test_file_of_another_boot(void **state) {
        struct world w _cleanup_world_;

        world_init(&w, begin_host);
        put(*state, "{\"boot\": \"another\", \"devices\": {\"" MODEL_CARD "\": {}}}");
        assert_int_equal(vfio_kept_find(*state, MODEL_CARD, NULL, NULL), 0);
        assert_int_equal(vfio_kept_put(*state, &w.before, VFIO_KEPT_HAND, NULL), 0);
        assert_int_equal(vfio_kept_find(*state, MODEL_CARD, NULL, NULL), 1);
}

static void test_file_broken(void **state) {
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_json_ json_t *list = NULL;
        struct world w _cleanup_world_;

        world_init(&w, begin_host);
        put(*state, "{\"boot\": ");
        assert_int_equal(vfio_kept_list(*state, &list, &err), -EBADMSG);
        assert_non_null(strstr(error_text(&err), "/kept-devices: "));
        assert_non_null(strstr(error_text(&err), "if no device is kept"));
        assert_int_equal(vfio_kept_find(*state, MODEL_CARD, NULL, NULL), 0);
        assert_int_equal(vfio_kept_put(*state, &w.before, VFIO_KEPT_HAND, NULL), 0);
        assert_int_equal(vfio_kept_find(*state, MODEL_CARD, NULL, NULL), 1);
}

static void test_file_bound(void **state) {
        struct world w _cleanup_world_;

        world_init(&w, begin_host);
        for (int i = 0; i < VFIO_KEPT_MAX; i++) {
                snprintf(w.before.address, sizeof(w.before.address), "0000:%02x:00.0", i);
                assert_int_equal(vfio_kept_put(*state, &w.before, VFIO_KEPT_HAND, NULL), 0);
        }
        assert_int_equal(vfio_kept_put(*state, &w.before, VFIO_KEPT_HAND, NULL), 0);
        assert_int_equal(vfio_kept_put(*state, &w.found, VFIO_KEPT_HAND, NULL), 0); /* it is among them */
        snprintf(w.before.address, sizeof(w.before.address), "0001:00:00.0");
        assert_int_equal(vfio_kept_put(*state, &w.before, VFIO_KEPT_HAND, NULL), -E2BIG);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_there_and_back),
                cmocka_unit_test(test_cut_off_anywhere),
                cmocka_unit_test(test_idle_after_a_guest),
                cmocka_unit_test(test_claimed_at_boot),
                cmocka_unit_test(test_in_use),
                cmocka_unit_test_setup_teardown(test_file, setup, teardown),
                cmocka_unit_test_setup_teardown(test_file_of_another_boot, setup, teardown),
                cmocka_unit_test_setup_teardown(test_file_broken, setup, teardown),
                cmocka_unit_test_setup_teardown(test_file_bound, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
