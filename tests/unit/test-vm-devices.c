/* What a machine's claim and end do with devices, over the model of the kernel: each goes back to what it
 * was, however often it was claimed and whatever stands in the way, and what cannot go back is remembered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/log.h"
#include "base/str.h"
#include "vfio/bind.h"
#include "vfio/kept.h"
#include "vfio/stuck.h"
#include "vm/machine.h"
#include "work-model.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct world {
        struct work_model w;
        char folder[32];
        struct settings settings;
        struct vm_env env;
        struct vm *vm;
        char *before;  /* owned: all devices as they were */
        char *failure; /* owned: of the last claim */
        struct strbuf warnings;
};

static const struct plan_device card = {
        .address = (char *) MODEL_CARD, .vendor = 0x10de, .device = 0x1b80, .iommu_group = 7
};
static const struct plan_device drive = {
        .address = (char *) MODEL_DRIVE, .vendor = 0x144d, .device = 0xa808, .iommu_group = 8
};

static void on_event(struct vm *vm, const char *event, json_t *data, void *world) {
        if (str_eq(event, "warning"))
                strbuf_addf(&((struct world *) world)->warnings, "%s\n", json_get_str(data, "message", ""));
        json_decref(data);
}

static int setup(void **state) {
        struct world *x = xcalloc(1, sizeof(*x));
        static const struct def_summary summary = { .name = "vm" };

        log_set_level(LOG_LEVEL_ERROR);
        strcpy(x->folder, "/tmp/vore-devices-XXXXXX");
        assert_non_null(mkdtemp(x->folder));
        work_model_init(&x->w);
        x->w.root = x->folder;
        x->settings = (struct settings){ .system = true,
                                         .log_dir = x->folder,
                                         .vore = { .state_dir = x->folder, .runtime_dir = x->folder },
                                         .vfio = { .timeout = 10 } };
        x->env = (struct vm_env){ .settings = &x->settings, .event = on_event, .data = x };
        assert_true(sd_event_new(&x->env.loop) >= 0);
        _cleanup_free_ char *dir = xasprintf("%s/vm/vm", x->folder);
        assert_int_equal(file_mkdirs(dir, 0700, NULL), 0);
        x->vm = vm_new(&x->env, &summary);
        x->vm->recorded = true;
        x->before = model_text(&x->w.m);
        *state = x;
        return 0;
}

static int teardown(void **state) {
        struct world *x = *state;

        vm_free(x->vm);
        work_model_done(&x->w);
        sd_event_unref(x->env.loop);
        assert_int_equal(file_remove_tree(AT_FDCWD, x->folder, NULL), 0);
        strbuf_done(&x->warnings);
        free(x->before);
        free(x->failure);
        free(x);
        return 0;
}

/* -- what a machine does with its devices ---------------------------------------------------------------- */

static const struct step steps[] = { { "claim", devices_claim } };

static void claim_complete(struct vm *vm) {
}

static void claim_failed(struct vm *vm, const char *reason) {
        struct world *x = vm->env->data;

        free(x->failure);
        x->failure = xstrdup(reason);
        operation_end(vm, VM_ERROR, reason, NULL);
        vm_end(vm, VM_FAILED, reason);
}

static const struct step_table claim_table = { "start", steps, 1, claim_complete, claim_failed };

/* The step of a prepare or a start. */
static void claim(struct world *x, const struct plan_device *devices, size_t n) {
        struct arena *arena = arena_new();
        struct plan *plan = xcalloc(1, sizeof(*plan));

        *plan = (struct plan){ .arena = arena,
                               .devices = arena_new0(arena, struct plan_device, n + 1),
                               .n_devices = n };
        memcpy(plan->devices, devices, n * sizeof(*devices));
        plan_free(x->vm->plan);
        x->vm->plan = plan;
        x->vm->state = VM_STARTING;
        free(TAKE_PTR(x->failure));
        assert_true(operation_begin(x->vm, &claim_table, 0, 1, "start", NULL));
        step_advance(x->vm);
        work_model_run(&x->w, x->env.loop);
}

static void claimed(struct world *x, const struct plan_device *devices, size_t n) {
        claim(x, devices, n);
        if (x->failure)
                fail_msg("%s", x->failure);
        for (size_t i = 0; i < n; i++)
                assert_string_equal(model_device(&x->w.m, devices[i].address)->driver->name, "vfio-pci");
}

/* It ran (or was only prepared), and ends. */
static void ends(struct world *x, bool ran) {
        x->vm->ran = ran;
        x->vm->state = VM_RUNNING;
        vm_end(x->vm, VM_STOPPED, NULL);
        work_model_run(&x->w, x->env.loop);
        assert_int_equal(vm_state(x->vm), VM_STOPPED);
}

/* As a reservation leaves it; its kept entry is written too, if there is a why. */
static void reserve(struct world *x, const char *address, const char *why) {
        struct vfio_claim idle = { .idle = true };
        struct vfio_original found;

        assert_int_equal(vfio_original_read(&x->w.sys, address, &found, NULL), 0);
        if (why)
                assert_int_equal(vfio_kept_put(x->folder, &found, why, NULL), 0);
        assert_int_equal(vfio_bind(&x->w.sys, &found, &idle, NULL, NULL), 0);
}

static void assert_before(const struct world *x) {
        _cleanup_free_ char *now = model_text(&x->w.m);

        if (!str_eq(now, x->before))
                fail_msg("%sis not\n%s", now, x->before);
}

static bool kept(const struct world *x, const char *address, struct vfio_original *ret) {
        return vfio_kept_find(x->folder, address, ret, NULL) > 0;
}

static void assert_kept(const struct world *x, const char *address, const char *why, const char *driver) {
        _cleanup_free_ char *now = NULL;
        struct vfio_original original;

        assert_int_equal(vfio_kept_find(x->folder, address, &original, &now), 1);
        assert_string_equal(now, why);
        assert_string_equal(original.driver, driver);
        assert_false(original.probe);
}

/* What shares the card's group does not stand in its way. */
static void without_sound(struct world *x) {
        model_device(&x->w.m, MODEL_SOUND)->driver = NULL;
        strcpy(model_device(&x->w.m, MODEL_SOUND)->power, "on");
        free(x->before);
        x->before = model_text(&x->w.m);
}

/* -- prepared, then started ------------------------------------------------------------------------------ */

static void test_prepared_then_started(void **state) {
        struct world *x = *state;
        const struct plan_device both[] = { card, drive };

        without_sound(x);
        claimed(x, both, 2);
        claimed(x, both, 2);
        assert_int_equal(journal_count(x->vm->journal), 2);
        ends(x, true);
        assert_before(x);
        assert_null(x->warnings.data);
        assert_false(kept(x, MODEL_CARD, NULL));
}

/* Reserved, but rebind = "stop" is written. */
static void test_prepared_stop_of_reserved(void **state) {
        struct world *x = *state;
        struct plan_device device = drive;

        device.reserve = true;
        reserve(x, MODEL_DRIVE, VFIO_KEPT_RESERVE);
        claimed(x, &device, 1);
        claimed(x, &device, 1);
        ends(x, true);
        assert_before(x);
        assert_null(x->warnings.data);
        assert_false(kept(x, MODEL_DRIVE, NULL));
}

static void test_prepared_never(void **state) {
        struct world *x = *state;
        struct plan_device device = drive;

        device.keep = true;
        claimed(x, &device, 1);
        claimed(x, &device, 1);
        ends(x, true);
        assert_string_equal(model_device(&x->w.m, MODEL_DRIVE)->driver->name, "vfio-pci");
        assert_kept(x, MODEL_DRIVE, VFIO_KEPT_NEVER, "nvme");
}

/* What it was cannot be kept, so it does not stay. */
static void test_kept_in_vain(void **state) {
        struct world *x = *state;
        struct plan_device device = drive;
        _cleanup_free_ char *file = xasprintf("%s/kept-devices", x->folder);

        device.keep = true;
        claimed(x, &device, 1);
        (void) unlink(file);
        assert_int_equal(mkdir(file, 0700), 0);
        ends(x, true);
        assert_before(x);
        assert_non_null(strstr(x->warnings.data, MODEL_DRIVE " does not stay with vfio-pci"));
}

/* Somebody is at it each time between look and bind. */
static void meddle(struct work_model *w, const char *name) {
        static int n;
        struct model_device *d = model_device(&w->m, MODEL_DRIVE);

        if (strstr(name, "way to vfio-pci"))
                snprintf(d->override, sizeof(d->override), "other%d", n++);
}

/* What the prepare noted outlives a start that finds the device changed. */
static void test_prepared_then_changed(void **state) {
        struct world *x = *state;

        claimed(x, &drive, 1);
        x->w.before = meddle;
        claim(x, &drive, 1);
        assert_non_null(strstr(x->failure, "has changed meanwhile"));
        assert_before(x);
}

/* -- a host that loads drivers still --------------------------------------------------------------------- */

/* The drive's comes while the card is bound, and something is at it even then, n times. */
static int changes;

static void load_late(struct work_model *w, const char *name) {
        struct model_device *d = model_device(&w->m, MODEL_DRIVE);

        if (!strstr(name, "way to vfio-pci") || changes == 0 || !model_device(&w->m, MODEL_CARD)->driver ||
            d->override[0] || !str_eq(model_device(&w->m, MODEL_CARD)->driver->name, "vfio-pci"))
                return;
        d->driver = --changes % 2 ? NULL : model_driver(&w->m, "nvme");
}

static void test_driver_comes_late(void **state) {
        const struct plan_device both[] = { card, drive };
        struct world *x = *state;

        without_sound(x);
        model_device(&x->w.m, MODEL_DRIVE)->driver = NULL;
        changes = 1;
        x->w.before = load_late;
        claimed(x, both, 2);
        assert_int_equal(journal_count(x->vm->journal), 2);
        ends(x, true);
        assert_before(x);
}

/* Not for ever. */
static void test_driver_comes_and_goes(void **state) {
        const struct plan_device both[] = { card, drive };
        struct world *x = *state;

        without_sound(x);
        changes = 2;
        x->w.before = load_late;
        claim(x, both, 2);
        assert_non_null(strstr(x->failure, "has changed meanwhile"));
        assert_before(x);
}

/* -- what cannot go back --------------------------------------------------------------------------------- */

/* The worker of the first way back is killed at this operation. */
static int killed_at;

static void kill_first(struct work_model *w, const char *name) {
        if (!strstr(name, "way back"))
                return;
        w->m.op = 0;
        w->m.dead_from = w->late ? killed_at : -1;
}

static void test_slow_driver(void **state) {
        struct world *x = *state;

        for (killed_at = 0; killed_at < 40; killed_at++) {
                claimed(x, &drive, 1);
                x->w.before = kill_first;
                x->w.late_name = "way back";
                x->w.late = 1;
                ends(x, true);
                x->w.before = NULL;
                assert_before(x);
                assert_null(x->warnings.data);
                assert_false(kept(x, MODEL_DRIVE, NULL));
        }
}

static void assert_left(struct world *x, const char *words) {
        assert_non_null(strstr(x->warnings.data, words));
        assert_non_null(strstr(x->warnings.data, "vore release " MODEL_DRIVE));
        assert_kept(x, MODEL_DRIVE, VFIO_KEPT_LEFT, "nvme");
        strbuf_done(&x->warnings);
        x->warnings = STRBUF_INIT;
}

/* And the machine's next end tries it again. */
static void test_too_slow_driver(void **state) {
        struct world *x = *state;

        claimed(x, &drive, 1);
        killed_at = 0;
        x->w.before = kill_first;
        x->w.late_name = "way back";
        x->w.late = 2;
        ends(x, true);
        assert_left(x, MODEL_DRIVE " is stuck");
        x->w.before = NULL;
        x->w.m.dead_from = -1;
        claimed(x, &drive, 1);
        ends(x, false);
        assert_before(x);
        assert_false(kept(x, MODEL_DRIVE, NULL));
}

static void test_driver_that_refuses(void **state) {
        struct world *x = *state;
        struct vfio_original original;

        claimed(x, &drive, 1);
        model_driver(&x->w.m, "nvme")->probe_error = -EIO;
        ends(x, true);
        assert_left(x, "nvme does not take it back");
        model_driver(&x->w.m, "nvme")->probe_error = 0;
        assert_true(kept(x, MODEL_DRIVE, &original));
        assert_int_equal(vfio_restore(&x->w.sys, &original, NULL, NULL), 0);
        assert_before(x);
}

static void test_somebody_uses_it(void **state) {
        struct world *x = *state;

        claimed(x, &drive, 1);
        model_device(&x->w.m, MODEL_DRIVE)->open_by = "qemu (pid 7) has /dev/vfio/8 open";
        ends(x, true);
        assert_left(x, "qemu (pid 7)");
        assert_string_equal(model_device(&x->w.m, MODEL_DRIVE)->driver->name, "vfio-pci");
}

static void test_worker_that_does_not_begin(void **state) {
        struct world *x = *state;

        claimed(x, &drive, 1);
        x->w.refuse_name = "way back";
        ends(x, true);
        assert_left(x, "no worker");
}

/* It is with the host: nothing is left to be given back. */
static void test_third_driver(void **state) {
        struct world *x = *state;

        claimed(x, &drive, 1);
        model_device(&x->w.m, MODEL_DRIVE)->driver = model_driver(&x->w.m, "other");
        ends(x, true);
        assert_non_null(strstr(x->warnings.data, "somebody gave it to the driver other"));
        assert_null(strstr(x->warnings.data, "vore release"));
        assert_false(kept(x, MODEL_DRIVE, NULL));
}

/* Nobody touches it until the host restarts, which forgives all. */
static void test_stuck(void **state) {
        struct world *x = *state;

        claimed(x, &drive, 1);
        x->w.late_name = "way back";
        x->w.late = 1;
        x->w.stuck = 7;
        ends(x, true);
        assert_true(vfio_stuck_known(x->folder, MODEL_DRIVE));
        assert_false(kept(x, MODEL_DRIVE, NULL));
}

/* A look at the second of them. The next start does not look at it. */
static void test_stuck_look(void **state) {
        const struct plan_device both[] = { card, drive };
        struct world *x = *state;

        without_sound(x);
        x->w.late_name = "a look";
        x->w.late = 1;
        x->w.stuck = 7;
        claim(x, both, 2);
        assert_string_equal(x->failure, MODEL_DRIVE " is stuck being looked at");
        assert_true(vfio_stuck_known(x->folder, MODEL_DRIVE));
        assert_false(vfio_stuck_known(x->folder, MODEL_CARD));
        strbuf_done(&x->w.names);
        x->w.names = STRBUF_INIT;
        claim(x, both, 2);
        assert_non_null(strstr(x->failure, "restart of the host"));
        assert_null(x->w.names.data);
}

/* -- what stays ------------------------------------------------------------------------------------------ */

/* It ran, stays, and is kept for `reserve` or for rebind = "never", with what was known of it before. */
static void assert_stays(struct world *x, bool reserved, const char *known, const char *why) {
        struct plan_device device = drive;

        device.keep = true;
        device.reserve = reserved;
        if (known)
                reserve(x, MODEL_DRIVE, known);
        claimed(x, &device, 1);
        ends(x, true);
        assert_string_equal(model_device(&x->w.m, MODEL_DRIVE)->driver->name, "vfio-pci");
        assert_string_equal(model_device(&x->w.m, MODEL_DRIVE)->power, "auto");
        assert_kept(x, MODEL_DRIVE, why, "nvme");
        struct vfio_original original;
        assert_true(kept(x, MODEL_DRIVE, &original));
        assert_int_equal(vfio_restore(&x->w.sys, &original, NULL, NULL), 0);
        assert_int_equal(vfio_kept_drop(x->folder, MODEL_DRIVE, NULL), 0);
        assert_before(x);
}

static void test_stays(void **state) {
        struct world *x = *state;

        assert_stays(x, true, NULL, VFIO_KEPT_RESERVE);
        assert_stays(x, true, VFIO_KEPT_RESERVE, VFIO_KEPT_RESERVE);
        assert_stays(x, true, VFIO_KEPT_NEVER, VFIO_KEPT_RESERVE);
        assert_stays(x, true, VFIO_KEPT_LEFT, VFIO_KEPT_RESERVE);
        assert_stays(x, true, VFIO_KEPT_HAND, VFIO_KEPT_HAND);
        assert_stays(x, false, NULL, VFIO_KEPT_NEVER);
        assert_stays(x, false, VFIO_KEPT_LEFT, VFIO_KEPT_NEVER);
        assert_stays(x, false, VFIO_KEPT_RESERVE, VFIO_KEPT_RESERVE);
}

int main(void) {
        const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
                TEST(test_prepared_then_started),
                TEST(test_prepared_stop_of_reserved),
                TEST(test_prepared_never),
                TEST(test_kept_in_vain),
                TEST(test_prepared_then_changed),
                TEST(test_driver_comes_late),
                TEST(test_driver_comes_and_goes),
                TEST(test_slow_driver),
                TEST(test_too_slow_driver),
                TEST(test_driver_that_refuses),
                TEST(test_somebody_uses_it),
                TEST(test_worker_that_does_not_begin),
                TEST(test_third_driver),
                TEST(test_stuck),
                TEST(test_stuck_look),
                TEST(test_stays),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
