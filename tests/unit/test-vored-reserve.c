/* Reservations over the model of the kernel: what each request does with devices, with what others do to them
 * meanwhile, and what is remembered of them. */
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
#include "vored/reserve.h"
#include "work-model.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* -- what the rest of the daemon would do ---------------------------------------------------------------- */

json_t *boot_rules_notes(const struct manager *m) {
        return json_array();
}

void method_fail(struct rpc_call *call, const struct error *err) {
}

/* -- a daemon -------------------------------------------------------------------------------------------- */

struct world {
        struct work_model w;
        char folder[32];
        struct settings settings;
        struct manager m;
        char *before; /* owned: all devices as they were */
        int done;     /* requests that are over */
        char *told;   /* owned: the reasons that the last one knew of */
};

static int setup(void **state) {
        struct world *x = xcalloc(1, sizeof(*x));

        log_set_level(LOG_LEVEL_ERROR);
        strcpy(x->folder, "/tmp/vore-reserve-XXXXXX");
        assert_non_null(mkdtemp(x->folder));
        work_model_init(&x->w);
        x->w.root = x->folder;
        x->settings = (struct settings){ .system = true,
                                         .log_dir = x->folder,
                                         .vore = { .state_dir = x->folder, .runtime_dir = x->folder },
                                         .vfio = { .timeout = 10 } };
        x->m.settings = x->m.env.settings = &x->settings;
        assert_true(sd_event_new(&x->m.loop) >= 0);
        reserve_init(&x->m);
        x->before = model_text(&x->w.m);
        *state = x;
        return 0;
}

static int teardown(void **state) {
        struct world *x = *state;

        reserve_free(&x->m);
        machines_free(&x->m);
        work_model_done(&x->w);
        sd_event_unref(x->m.loop);
        assert_int_equal(file_remove_tree(AT_FDCWD, x->folder, NULL), 0);
        free(x->before);
        free(x->told);
        free(x);
        return 0;
}

static struct vm *machine(struct world *x, const char *name) {
        struct def_summary summary = { .reserves = true };

        snprintf(summary.name, sizeof(summary.name), "%s", name);
        return machine_add(&x->m, name, vm_new(&x->m.env, &summary), NULL)->vm;
}

/* From now on, or not any more: it is prepared and has the device. */
static void uses(struct vm *vm, const char *address) {
        json_decref(vm->addresses);
        vm->addresses = address ? json_pack("[{s:s, s:i}]", "address", address, "group", 8) : NULL;
        vm->state = address ? VM_PREPARED : VM_STOPPED;
}

/* The saved definitions: "vm" reserves the device; address NULL: there are none. */
static void define(struct world *x, const char *address) {
        const struct model_device *d = address ? model_device(&x->w.m, address) : NULL;

        json_decref(x->w.reserved);
        x->w.reserved =
                d ? json_pack("[{s:s, s:[{s:s, s:i, s:i}], s:[]}]", "name", "vm", "devices", "address",
                              address, "vendor", d->vendor, "device", d->device, "problems") :
                    json_array();
}

static void over(struct manager *m, void *data) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        struct world *x = data;

        for (size_t i = 0; i < m->reserve->n_rows; i++)
                if (m->reserve->rows[i]->reason)
                        strbuf_addf(&b, "%s\n", m->reserve->rows[i]->reason);
        free(x->told);
        x->told = strbuf_take(&b);
        x->done++;
}

static void ask(struct world *x, enum reserve_kind kind, const char *name) {
        reserve_request(&x->m, kind, name, over, x);
}

static void run(struct world *x) {
        work_model_run(&x->w, x->m.loop);
        assert_null(x->m.reserve->queue);
}

static void request(struct world *x, enum reserve_kind kind, const char *name) {
        ask(x, kind, name);
        run(x);
}

static const char *reason_of(struct world *x, const char *address) {
        const struct reserve_row *row = reserve_find(&x->m, address);

        return row && row->reason ? row->reason : "none";
}

static void assert_driver(struct world *x, const char *address, const char *driver) {
        const struct model_device *d = model_device(&x->w.m, address);

        if (!str_eq(d->driver ? d->driver->name : "", driver))
                fail_msg("%s is with \"%s\": %s", address, d->driver ? d->driver->name : "",
                         reason_of(x, address));
}

static void assert_before(const struct world *x) {
        _cleanup_free_ char *now = model_text(&x->w.m);

        if (!str_eq(now, x->before))
                fail_msg("%sis not\n%s", now, x->before);
}

/* why NULL: it is not kept. */
static void assert_kept(const struct world *x, const char *address, const char *why) {
        _cleanup_free_ char *now = NULL;

        (void) vfio_kept_find(x->folder, address, NULL, &now);
        if (!str_eq(now, why))
                fail_msg("%s is kept for \"%s\", not for \"%s\"", address, now ? now : "nobody",
                         why ? why : "nobody");
}

/* -- there and back -------------------------------------------------------------------------------------- */

static void test_reserved_and_forgotten(void **state) {
        struct world *x = *state;

        define(x, MODEL_DRIVE);
        request(x, RESERVE_ONE, "vm");
        assert_driver(x, MODEL_DRIVE, "vfio-pci");
        assert_kept(x, MODEL_DRIVE, VFIO_KEPT_RESERVE);
        define(x, NULL);
        request(x, RESERVE_ONE, "vm");
        assert_before(x);
        assert_kept(x, MODEL_DRIVE, NULL);
        assert_int_equal(x->done, 2);
}

static void test_slow_driver(void **state) {
        struct world *x = *state;

        request(x, RESERVE_BY_HAND, MODEL_DRIVE);
        x->w.late_name = "way back";
        x->w.late = 1;
        request(x, RELEASE_BY_HAND, MODEL_DRIVE);
        assert_before(x);
        assert_kept(x, MODEL_DRIVE, NULL);
        request(x, RESERVE_BY_HAND, MODEL_DRIVE);
        x->w.late = 2;
        request(x, RELEASE_BY_HAND, MODEL_DRIVE);
        assert_non_null(strstr(reason_of(x, MODEL_DRIVE), "is stuck"));
        assert_kept(x, MODEL_DRIVE, VFIO_KEPT_HAND);
        request(x, RELEASE_BY_HAND, MODEL_DRIVE);
        assert_kept(x, MODEL_DRIVE, NULL);
}

/* A claim that fails is undone, also by a driver that is slow. */
static void test_refused(void **state) {
        struct world *x = *state;

        model_driver(&x->w.m, "vfio-pci")->probe_error = -EPERM;
        for (x->w.late_name = "reservation"; x->w.late_name;
             x->w.late_name = str_eq(x->w.late_name, "reservation") ? "way back" : NULL) {
                x->w.late = 1;
                define(x, MODEL_DRIVE);
                request(x, RESERVE_ONE, "vm");
                assert_string_not_equal(reason_of(x, MODEL_DRIVE), "none");
                assert_before(x);
                assert_kept(x, MODEL_DRIVE, NULL);
        }
}

static void test_third_driver(void **state) {
        struct world *x = *state;

        request(x, RESERVE_BY_HAND, MODEL_DRIVE);
        model_device(&x->w.m, MODEL_DRIVE)->driver = model_driver(&x->w.m, "other");
        define(x, MODEL_DRIVE); /* its row stays */
        request(x, RESERVE_LOOK, NULL);
        request(x, RELEASE_BY_HAND, MODEL_DRIVE);
        assert_non_null(strstr(reason_of(x, MODEL_DRIVE), "somebody gave it to the driver other"));
        assert_kept(x, MODEL_DRIVE, NULL);
}

/* Whatever definitions come and go. */
static void test_by_hand_stays(void **state) {
        struct world *x = *state;

        request(x, RESERVE_BY_HAND, MODEL_DRIVE);
        define(x, MODEL_DRIVE);
        request(x, RESERVE_ONE, "vm");
        assert_kept(x, MODEL_DRIVE, VFIO_KEPT_HAND);
        define(x, NULL);
        request(x, RESERVE_ONE, "vm");
        assert_driver(x, MODEL_DRIVE, "vfio-pci");
        request(x, RELEASE_BY_HAND, NULL);
        assert_before(x);
        define(x, MODEL_DRIVE);
        request(x, RESERVE_ALL, NULL);
        assert_kept(x, MODEL_DRIVE, VFIO_KEPT_RESERVE);
        request(x, RESERVE_BY_HAND, MODEL_DRIVE);
        assert_kept(x, MODEL_DRIVE, VFIO_KEPT_HAND);
        request(x, RESERVE_ALL, NULL);
        assert_kept(x, MODEL_DRIVE, VFIO_KEPT_HAND);
}

/* A file that cannot be read may be the one that wants it. */
static void test_unknown(void **state) {
        _cleanup_json_ json_t *notes = NULL;
        struct world *x = *state;

        define(x, MODEL_DRIVE);
        request(x, RESERVE_ALL, NULL);
        define(x, NULL);
        json_push(x->w.reserved, json_pack("{s:s, s:s, s:[], s:[]}", "name", "vm", "unknown", "it is no TOML",
                                           "devices", "problems"));
        request(x, RESERVE_ALL, NULL);
        assert_driver(x, MODEL_DRIVE, "vfio-pci");
        notes = reserve_notes(&x->m, NULL);
        assert_int_equal(json_array_size(notes), 1);
        assert_non_null(
                strstr(json_string_value(json_array_get(notes, 0)),
                       "vm: what it reserves is not known (it is no TOML), so nothing is given back"));
        assert_true(reserve_needed(&x->m));
        define(x, NULL);
        request(x, RESERVE_ONE, "vm");
        assert_before(x);
}

static void without_driver(struct world *x, const char *address) {
        model_device(&x->w.m, address)->driver = NULL;
        strcpy(model_device(&x->w.m, address)->power, "on");
}

/* Claimed at boot before its driver was there: the kernel chooses one when it goes back. By hand it is just
 * as it was. */
static void test_before_its_driver(void **state) {
        struct world *x = *state;

        without_driver(x, MODEL_DRIVE);
        define(x, MODEL_DRIVE);
        request(x, RESERVE_ALL, NULL);
        assert_driver(x, MODEL_DRIVE, "vfio-pci");
        request(x, RESERVE_ALL, NULL);
        define(x, NULL);
        request(x, RESERVE_ONE, "vm");
        assert_before(x);
        without_driver(x, MODEL_DRIVE);
        request(x, RESERVE_BY_HAND, MODEL_DRIVE);
        request(x, RELEASE_BY_HAND, MODEL_DRIVE);
        assert_driver(x, MODEL_DRIVE, "");
}

/* -- who has it ------------------------------------------------------------------------------------------ */

#define CARD_FOLDER "/sys/devices/pci0000:00/" MODEL_CARD

static void put(const struct world *x, const char *path, const char *text) {
        _cleanup_free_ char *full = xasprintf("%s%s", x->folder, path), *folder = xstrdup(full);

        *strrchr(folder, '/') = '\0';
        assert_int_equal(file_mkdirs(folder, 0755, NULL), 0);
        assert_int_equal(file_write_atomic(AT_FDCWD, full, text, strlen(text), 0644, false, NULL), 0);
}

static void put_link(const struct world *x, const char *path, const char *target) {
        _cleanup_free_ char *full = xasprintf("%s%s", x->folder, path), *folder = xstrdup(full);

        *strrchr(folder, '/') = '\0';
        assert_int_equal(file_mkdirs(folder, 0755, NULL), 0);
        assert_int_equal(symlink(target, full), 0);
}

/* The card as the host sees it. */
static void put_card(const struct world *x) {
        put(x, CARD_FOLDER "/vendor", "0x10de\n");
        put(x, CARD_FOLDER "/device", "0x1b80\n");
        put(x, CARD_FOLDER "/class", "0x030000\n");
        put_link(x, "/sys/bus/pci/devices/" MODEL_CARD, "../../../devices/pci0000:00/" MODEL_CARD);
}

static void put_xorg(const struct world *x) {
        put(x, CARD_FOLDER "/drm/card1/dev", "226:1\n");
        put(x, "/dev/card1", "");
        put(x, "/vore/nodes", "/dev/card1 c 0660 0 0 226:1 rw\n");
        put(x, "/proc/812/comm", "Xorg\n");
        put_link(x, "/proc/812/fd/3", "/dev/card1");
}

/* Without vored: removed and found again. */
static void host_takes_back(struct world *x, const char *address, const char *driver) {
        struct model_device *d = model_device(&x->w.m, address);

        d->driver = model_driver(&x->w.m, driver);
        d->override[0] = '\0';
}

/* That it was kept once says nothing about who has it now. */
static void test_kept_is_not_forced(void **state) {
        struct world *x = *state;

        put_card(x);
        define(x, MODEL_CARD);
        request(x, RESERVE_ALL, NULL);
        assert_driver(x, MODEL_CARD, "vfio-pci");
        put_xorg(x);
        request(x, RESERVE_ALL, NULL);
        assert_string_equal(reason_of(x, MODEL_CARD), "none");
        host_takes_back(x, MODEL_CARD, "nouveau");
        request(x, RESERVE_ALL, NULL);
        assert_driver(x, MODEL_CARD, "nouveau");
        assert_non_null(strstr(reason_of(x, MODEL_CARD), "Xorg (pid 812) has /dev/card1 open"));
        request(x, RESERVE_BY_HAND, MODEL_CARD);
        assert_driver(x, MODEL_CARD, "nouveau");
}

static void test_host_needs_it(void **state) {
        struct world *x = *state;

        put_card(x);
        request(x, RESERVE_BY_HAND, MODEL_CARD);
        assert_driver(x, MODEL_CARD, "vfio-pci");
        host_takes_back(x, MODEL_CARD, "nouveau");
        put(x, CARD_FOLDER "/boot_vga", "1\n");
        request(x, RESERVE_BY_HAND, MODEL_CARD);
        assert_driver(x, MODEL_CARD, "nouveau");
        assert_non_null(strstr(reason_of(x, MODEL_CARD), "boot display"));
}

/* What another device was at that address is not this one's driver. */
static void test_another_device_at_its_address(void **state) {
        struct world *x = *state;
        struct model_device *d = model_device(&x->w.m, MODEL_DRIVE);
        struct vfio_original original;

        request(x, RESERVE_BY_HAND, MODEL_DRIVE);
        d->device++;
        d->driver = NULL;
        d->override[0] = '\0';
        request(x, RESERVE_BY_HAND, MODEL_DRIVE);
        assert_driver(x, MODEL_DRIVE, "vfio-pci");
        assert_int_equal(vfio_kept_find(x->folder, MODEL_DRIVE, &original, NULL), 1);
        assert_int_equal(original.device, d->device);
        assert_string_equal(original.driver, "");
}

/* Nobody leaves one more worker behind. */
static void test_stuck_look(void **state) {
        struct world *x = *state;

        define(x, MODEL_DRIVE);
        x->w.late_name = "a look";
        x->w.late = 1;
        request(x, RESERVE_ALL, NULL);
        assert_false(vfio_stuck_known(x->folder, MODEL_DRIVE));
        x->w.late = 1;
        x->w.stuck = 7;
        request(x, RESERVE_ALL, NULL);
        assert_string_equal(reason_of(x, MODEL_DRIVE), "it is stuck being looked at");
        assert_true(vfio_stuck_known(x->folder, MODEL_DRIVE));
        strbuf_done(&x->w.names);
        x->w.names = STRBUF_INIT;
        request(x, RESERVE_ALL, NULL);
        assert_null(strstr(x->w.names.data, "a look"));
        assert_non_null(strstr(reason_of(x, MODEL_DRIVE), "restart of the host"));
}

/* -- while others wait ----------------------------------------------------------------------------------- */

/* A machine claims it while its release waits for its turn. */
static void test_release_waits_too_long(void **state) {
        struct world *x = *state;
        struct vm *vm = machine(x, "vm");

        request(x, RESERVE_BY_HAND, MODEL_DRIVE);
        ask(x, RESERVE_ALL, NULL);
        ask(x, RELEASE_BY_HAND, MODEL_DRIVE);
        uses(vm, MODEL_DRIVE);
        run(x);
        assert_driver(x, MODEL_DRIVE, "vfio-pci");
        assert_string_equal(x->told, "it is in use by the machine vm: vore stop vm first\n");
        assert_string_equal(reason_of(x, MODEL_DRIVE), "none");
        assert_kept(x, MODEL_DRIVE, VFIO_KEPT_HAND);
        uses(vm, NULL);
        request(x, RELEASE_BY_HAND, MODEL_DRIVE);
        assert_before(x);
}

/* -- machines that end ----------------------------------------------------------------------------------- */

/* As the machine's end leaves it. */
static void kept_at_end(struct world *x, struct vm *vm, const char *why) {
        static const struct vfio_claim idle = { .idle = true };
        struct vfio_original found;

        assert_int_equal(vfio_original_read(&x->w.sys, MODEL_DRIVE, &found, NULL), 0);
        assert_int_equal(vfio_bind(&x->w.sys, &found, &idle, NULL, NULL), 0);
        assert_int_equal(vfio_kept_put(x->folder, &found, why, NULL), 0);
        uses(vm, NULL);
        reserve_machine_ended(&x->m, vm);
        run(x);
}

/* Nobody saved it, or it was forgotten while it ran: no row knows the device. */
static void test_ended_and_not_wanted(void **state) {
        struct world *x = *state;
        struct vm *vm = machine(x, "vm");

        uses(vm, MODEL_DRIVE);
        kept_at_end(x, vm, VFIO_KEPT_RESERVE);
        assert_before(x);
        assert_kept(x, MODEL_DRIVE, NULL);
        kept_at_end(x, vm, VFIO_KEPT_NEVER);
        assert_driver(x, MODEL_DRIVE, "vfio-pci");
}

static void test_ended_and_wanted(void **state) {
        struct world *x = *state;
        struct vm *vm = machine(x, "vm");

        define(x, MODEL_DRIVE);
        uses(vm, MODEL_DRIVE);
        kept_at_end(x, vm, VFIO_KEPT_RESERVE);
        assert_driver(x, MODEL_DRIVE, "vfio-pci");
        assert_kept(x, MODEL_DRIVE, VFIO_KEPT_RESERVE);
        define(x, NULL);
        request(x, RESERVE_ONE, "vm");
        assert_before(x);
}

/* rebind = "stop" gave the drive to the host; the card, which only a forgotten definition wanted, goes too.
 */
static void test_end_claims_nothing(void **state) {
        struct world *x = *state;
        struct vm *vm = machine(x, "vm");

        define(x, MODEL_CARD);
        request(x, RESERVE_ALL, NULL);
        define(x, MODEL_DRIVE);
        uses(vm, NULL);
        reserve_machine_ended(&x->m, vm);
        assert_null(x->m.reserve->queue);
        request(x, RESERVE_LOOK, NULL);
        reserve_machine_ended(&x->m, vm);
        run(x);
        assert_before(x);
}

/* An adopted machine has ended meanwhile: what is asked for that must not let auto-start begin too early. */
static void test_auto_start_waits(void **state) {
        struct world *x = *state;

        (void) machine(x, "vm");
        define(x, MODEL_DRIVE);
        ask(x, RESERVE_UNWANTED, NULL);
        assert_false(reserve_waits(&x->m, "vm"));
        ask(x, RESERVE_ALL, NULL);
        assert_true(reserve_waits(&x->m, "vm"));
        run(x);
        assert_false(reserve_waits(&x->m, "vm"));
        assert_driver(x, MODEL_DRIVE, "vfio-pci");
}

/* One that was killed in the middle of a bind: the driver is still there, and the rest is changed already.
 * What it was is in the file, and stays there. */
static void test_cut_off_in_the_middle(void **state) {
        struct world *x = *state;
        struct model_device *d = model_device(&x->w.m, MODEL_DRIVE);
        struct vfio_original found;

        assert_int_equal(vfio_original_read(&x->w.sys, MODEL_DRIVE, &found, NULL), 0);
        assert_int_equal(vfio_kept_put(x->folder, &found, VFIO_KEPT_RESERVE, NULL), 0);
        strcpy(d->power, "on");
        strcpy(d->override, "vfio-pci");
        define(x, MODEL_DRIVE);
        request(x, RESERVE_ALL, NULL);
        assert_driver(x, MODEL_DRIVE, "vfio-pci");
        define(x, NULL);
        request(x, RESERVE_ALL, NULL);
        assert_before(x);
}

/* Its driver would take away what a guest has. */
static void test_functions_of_a_guest(void **state) {
        struct world *x = *state;
        struct vm *vm = machine(x, "guest");

        assert_int_equal(setenv("VORE_HOST_ROOT", x->folder, 1), 0);
        put_link(x, "/sys/bus/pci/devices/0000:0b:10.0/physfn", "../" MODEL_DRIVE);
        uses(vm, "0000:0b:10.0");
        define(x, MODEL_DRIVE);
        request(x, RESERVE_ALL, NULL);
        assert_non_null(strstr(
                x->told, "its virtual function 0000:0b:10.0 would go away, which the machine guest has"));
        assert_before(x);
        uses(vm, NULL);
        request(x, RESERVE_ALL, NULL);
        assert_driver(x, MODEL_DRIVE, "vfio-pci");
        assert_int_equal(unsetenv("VORE_HOST_ROOT"), 0);
}

/* Somebody forgot the definition while another machine had the device, and runs on without it. */
static void test_detached_and_not_wanted(void **state) {
        struct world *x = *state;
        struct vm *vm = machine(x, "other");

        define(x, MODEL_DRIVE);
        request(x, RESERVE_ALL, NULL);
        uses(vm, MODEL_DRIVE);
        vm->state = VM_RUNNING;
        define(x, NULL);
        request(x, RESERVE_ONE, "vm");
        assert_driver(x, MODEL_DRIVE, "vfio-pci");
        uses(vm, NULL);
        vm->state = VM_RUNNING;
        reserve_devices_detached(&x->m);
        run(x);
        assert_before(x);
}

/* Of a vored that was killed while it gave back a machine's device; meanwhile somebody broke the saved file.
 */
static void test_broken_and_given_back(void **state) {
        static const struct vfio_claim claim = { 0 };
        static const char text[] = "[machine]\nname = \"vm\"\nmemory = \"64M\"\n";
        struct world *x = *state;
        struct vfio_original found;
        struct vm *vm = machine(x, "vm");
        struct vm_definition d = { .text = text, .len = strlen(text), .file = "vm.toml", .directory = "/" };
        struct def_summary summary;

        assert_int_equal(def_summarize(d.text, d.len, d.directory, &summary, NULL), 0);
        assert_int_equal(vm_define(vm, &d, &summary, NULL), 0);
        vm->state = VM_STOPPED;
        record_update(vm);
        assert_int_equal(vfio_original_read(&x->w.sys, MODEL_DRIVE, &found, NULL), 0);
        assert_int_equal(
                undo_add(vm, "device", json_pack("{s:o}", "original", vfio_original_to_json(&found)), NULL),
                0);
        assert_int_equal(vfio_bind(&x->w.sys, &found, &claim, NULL, NULL), 0);
        machine_remove(&x->m, machine_find(&x->m, "vm"));

        machine_add(&x->m, "vm", NULL, xstrdup("it is no TOML"));
        assert_int_equal(boot_adopt(&x->m, NULL), 0);
        assert_int_equal(x->m.adoptions, 1);
        run(x);
        assert_int_equal(x->m.adoptions, 0);
        assert_before(x);
        assert_int_equal(vm_state(machine_find(&x->m, "vm")->vm), VM_STOPPED);
        assert_false(vm_saved(machine_find(&x->m, "vm")->vm));
}

int main(void) {
        const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
                TEST(test_reserved_and_forgotten),
                TEST(test_slow_driver),
                TEST(test_refused),
                TEST(test_third_driver),
                TEST(test_by_hand_stays),
                TEST(test_unknown),
                TEST(test_before_its_driver),
                TEST(test_kept_is_not_forced),
                TEST(test_host_needs_it),
                TEST(test_another_device_at_its_address),
                TEST(test_stuck_look),
                TEST(test_release_waits_too_long),
                TEST(test_ended_and_not_wanted),
                TEST(test_ended_and_wanted),
                TEST(test_end_claims_nothing),
                TEST(test_auto_start_waits),
                TEST(test_broken_and_given_back),
                TEST(test_cut_off_in_the_middle),
                TEST(test_functions_of_a_guest),
                TEST(test_detached_and_not_wanted),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
