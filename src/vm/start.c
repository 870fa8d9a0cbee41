/* The start, row by row. What a row does is undone by the journal's entries (undo.c), newest first. */
#include "vm/machine.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* QEMU may fill gigabytes of memory before it speaks; a person can cancel earlier. */
enum {
        CONNECT_TIMEOUT_US = 300 * 1000 * 1000,
        COPY_DEADLINE_MS = 60 * 1000,
        EXIT_WAIT_US = 2 * 1000 * 1000,
        ANSWER_TIMEOUT_MS = 30 * 1000
};

/* -- plan: what is to be done, in a worker ------------------------------------------------------- */

static const char *first_error(const json_t *faults) {
        size_t i;
        json_t *f;

        json_array_foreach (faults, i, f)
                if (str_eq(json_get_str(f, "severity", NULL), "error"))
                        return json_get_str(f, "message", "?");
        return "unknown";
}

/* What a prepared machine has already it has until its end, whatever is planned now. */
static void addresses_take(struct vm *vm, const struct plan *plan) {
        _cleanup_json_ json_t *before = TAKE_PTR(vm->addresses);
        json_t *item;
        size_t i;

        vm->addresses = json_array();
        for (i = 0; i < plan->n_devices; i++)
                json_push(vm->addresses, json_pack("{s:s, s:i}", "address", plan->devices[i].address, "group",
                                                   plan->devices[i].iommu_group));
        json_array_foreach (before, i, item) {
                if (!vm_has_device(vm, json_get_str(item, "address", "")))
                        json_push(vm->addresses, json_incref(item));
        }
}

static void plan_take(struct vm *vm, struct plan *plan) {
        json_decref(vm->op.faults);
        vm->op.faults = json_incref(plan->faults);
        plan_free(vm->plan);
        vm->plan = plan;
        vm->has_console = plan->console;
        json_decref(vm->disks);
        vm->disks = json_array();
        for (size_t i = 0; i < plan->n_disks; i++)
                json_push(vm->disks, json_pack("{s:o, s:b}", "path", json_string_lossy(plan->disks[i].path),
                                               "read_only", plan->disks[i].read_only));
        addresses_take(vm, plan);
        /* From here on others are told that these devices are taken, also after a restart of vored. */
        if (plan->n_devices)
                record_update(vm);
}

static void plan_known(const json_t *result, const struct error *err, pid_t stuck, void *data) {
        struct vm *vm = data;
        _cleanup_error_ struct error failed = ERROR_INIT;
        struct plan *plan = NULL;

        vm->work = NULL;
        if (!result) {
                step_finish(vm, err);
                return;
        }
        if (plan_from_json(result, &plan, &failed) < 0) {
                step_finish(vm, &failed);
                return;
        }
        plan_take(vm, plan);
        if (!plan->ok) {
                vm->op.invalid = true;
                error_set(&failed, -EINVAL, "%s", first_error(plan->faults));
        }
        step_finish(vm, plan->ok ? NULL : &failed);
}

static int plan_ask(struct vm *vm, struct error *err) {
        struct plan_request req;

        vm_plan_request(vm, &req);
        req.goal = PLAN_ARGV;
        int r = work_start(vm->env->loop, "the plan", PLAN_DEADLINE_MS, plan_work, &req, plan_known, vm,
                           &vm->work, err);
        vm_plan_request_done(&req);
        return r < 0 ? r : 1;
}

static void probed(const json_t *result, const struct error *err, pid_t stuck, void *data) {
        struct vm *vm = data;
        _cleanup_error_ struct error failed = ERROR_INIT;

        vm->work = NULL;
        if (!result || plan_ask(vm, &failed) < 0)
                step_finish(vm, result ? &failed : err);
}

static int plan_begin(struct vm *vm, struct error *err) {
        if (vm->env->captured)
                return error_set(err, -EOPNOTSUPP,
                                 "VORE_HOST_ROOT is set: a captured host starts no machine");
        if (!plan_probe_needed(vm->env->settings))
                return plan_ask(vm, err);
        int r = work_start(vm->env->loop, "the question what QEMU can do", PLAN_PROBE_DEADLINE_MS,
                           plan_probe_work, (void *) vm->env->settings, probed, vm, &vm->work, err);
        return r < 0 ? r : 1;
}

/* The log's files are put in order while the worker thinks. */
static int step_plan(struct vm *vm, struct error *err) {
        int r = plan_begin(vm, err), l = vm_log_start(vm, r < 0 ? NULL : err);

        vm_log_note(vm, "%s", vm->op.name);
        return r < 0 || l >= 0 ? r : l;
}

/* -- files: the instance folder and the VM's own copies ------------------------------------------ */

static void copied(const json_t *result, const struct error *err, pid_t stuck, void *data) {
        struct vm *vm = data;

        vm->work = NULL;
        step_finish(vm, result ? NULL : err);
}

static int step_files(struct vm *vm, struct error *err) {
        int r = vm_folder(vm->env, vm->name, &vm->uid, err);

        if (r < 0 || vm->plan->n_copies == 0)
                return r;
        r = work_start(vm->env->loop, "copying the VM's own files", COPY_DEADLINE_MS, folder_copy_work, vm,
                       copied, vm, &vm->work, err);
        return r < 0 ? r : 1;
}

/* -- sockets: QEMU gets them listening, so that there is nothing to wait for ---------------------- */

static int undo_file_add(struct vm *vm, const char *path, struct error *err) {
        return undo_add(vm, "file", json_pack("{s:o}", "path", json_string_lossy(path)), err);
}

static int socket_listen(struct vm *vm, const char *name, int *ret_fd, struct error *err) {
        _cleanup_free_ char *dir = plan_runtime_dir(vm->env->settings, vm->name);
        _cleanup_free_ char *path = xasprintf("%s/%s", dir, name);
        struct sockaddr_un addr = { .sun_family = AF_UNIX };
        int r = undo_file_add(vm, path, err);

        if (r < 0)
                return r;
        _cleanup_close_ int folder = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (folder < 0 || fd < 0)
                return error_errno(err, errno, "cannot make the socket %s", path);
        /* The folder is ours alone (0700); a socket there is a start's that was cut off. */
        (void) unlinkat(folder, name, 0);
        snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/%s", folder, name);
        if (bind(fd, (struct sockaddr *) &addr, sizeof(addr)) < 0 || listen(fd, 8) < 0)
                return error_errno(err, errno, "cannot listen at %s", path);
        *ret_fd = TAKE_FD(fd);
        return 0;
}

/* The link that the user wants to QEMU's own SPICE socket. A link of ours that a crash left is replaced. */
static int spice_link(struct vm *vm, const char *own, struct error *err) {
        const char *link = vm->plan->spice_link;
        char now[4096];

        if (!link)
                return 0;
        int r = undo_add(
                vm, "link",
                json_pack("{s:o, s:o}", "path", json_string_lossy(link), "target", json_string_lossy(own)),
                err);
        if (r < 0)
                return r;
        ssize_t n = readlink(link, now, sizeof(now) - 1);
        if (n >= 0) {
                now[n] = '\0';
                if (str_eq(now, own))
                        return 0;
        }
        if (symlink(own, link) < 0)
                return error_errno(err, errno,
                                   "cannot make spice.socket-path %s, a link to the VM's SPICE socket", link);
        return 0;
}

static int step_sockets(struct vm *vm, struct error *err) {
        _cleanup_free_ char *dir = plan_instance_dir(vm->env->settings, vm->name);
        _cleanup_free_ char *spice = xasprintf("%s/spice.sock", dir);
        int r = socket_listen(vm, "qmp.sock", &vm->qmp_fd, err);

        if (r >= 0)
                r = socket_listen(vm, "qmp-user.sock", &vm->qmp_user_fd, err);
        if (r >= 0)
                r = socket_listen(vm, "console.sock", &vm->console_fd, err);
        if (r >= 0)
                r = undo_file_add(vm, spice, err);
        return r < 0 ? r : spice_link(vm, spice, err);
}

/* -- access: device nodes and the sockets of sound servers, by ACL -------------------------------- */

int access_grant(struct vm *vm, struct error *err) {
        const struct plan *p = vm->plan;
        int r = 0;

        if (vm->uid == (uid_t) -1)
                return 0;
        for (size_t i = 0; r >= 0 && i < p->n_allows; i++)
                r = access_give(vm, p->allows[i].path, p->allows[i].write, err);
        for (size_t i = 0; r >= 0 && i < p->n_sockets; i++)
                r = access_give_socket(vm, p->sockets[i], err);
        /* Not of a user who may have more than this VM there. */
        if (r >= 0 && p->jack && vm->env->separate)
                r = undo_add(vm, "jack", json_pack("{s:I}", "uid", (json_int_t) vm->uid), err);
        return MIN(r, 0);
}

/* -- spawn: a child that waits, recorded before it may go on ------------------------------------- */

static void close_listeners(struct vm *vm) {
        cleanup_closep(&vm->qmp_fd);
        cleanup_closep(&vm->qmp_user_fd);
        cleanup_closep(&vm->console_fd);
}

static struct process_file *files_of(const struct plan *p) {
        struct process_file *files = xcalloc(p->n_files + 1, sizeof(*files));

        for (size_t i = 0; i < p->n_files; i++)
                files[i] = (struct process_file){ .target_fd = p->files[i].fd,
                                                  .path = p->files[i].path,
                                                  .flags = p->files[i].flags,
                                                  .as = p->files[i].as };
        return files;
}

static int spawn(struct vm *vm, struct error *err) {
        const struct plan *p = vm->plan;
        _cleanup_free_ struct process_file *files = files_of(p);
        _cleanup_free_ char *log = vm_log_path(vm);
        _cleanup_free_ char *instance = plan_instance_dir(vm->env->settings, vm->name);
        const struct process_fd fds[] = { { PLAN_FD_QMP, vm->qmp_fd },
                                          { PLAN_FD_QMP_USER, vm->qmp_user_fd },
                                          { PLAN_FD_CONSOLE, vm->console_fd } };
        struct process_spec spec = { .argv = p->exact.items,
                                     .log_path = log,
                                     .files = files,
                                     .n_files = p->n_files,
                                     .fds = fds,
                                     .n_fds = ARRAY_SIZE(fds),
                                     .drop = vm->uid != (uid_t) -1,
                                     .uid = vm->uid,
                                     .gid = vm_gid(vm),
                                     .reach = (const char *const *) p->reach,
                                     .umask = vm->env->settings->system ? 0117 : 0177,
                                     .beneath = instance,
                                     .alone = vm->env->separate,
                                     .copy = { p->cookie.fd, p->cookie.as,
                                               (const char *const *) p->cookie.places, PLAN_COOKIE_PLACES },
                                     .more_gid = p->group,
                                     .more = p->environ,
                                     .memlock = p->memlock,
                                     .memlock_required = p->n_devices > 0 };

        return process_spawn(&spec, &vm->process, err);
}

static int step_spawn(struct vm *vm, struct error *err) {
        int r = spawn(vm, err);

        close_listeners(vm);
        if (r < 0)
                return r;
        r = guest_watch_process(vm, err);
        test_kill("start", "record", "before");
        if (r >= 0)
                r = record_write(vm, err);
        test_kill("start", "record", "after");
        return r < 0 ? r : scope_start(vm, err);
}

/* -- exec: the child goes on; end of file on its report pipe says that QEMU runs ------------------ */

static int report_watch(struct vm *vm, struct error *err);

static int child_reports(sd_event_source *source, int fd, uint32_t revents, void *data) {
        struct vm *vm = data;
        _cleanup_error_ struct error err = ERROR_INIT;

        /* Before its descriptor is closed: epoll would keep one that another fork holds as well. */
        vm->report_source = sd_event_source_disable_unref(vm->report_source);
        int r = process_report(&vm->process, &err);
        if (r > 0)
                return report_watch(vm, NULL);
        step_finish(vm, r < 0 ? &err : NULL);
        return 0;
}

static int report_watch(struct vm *vm, struct error *err) {
        int r = sd_event_add_io(vm->env->loop, &vm->report_source, vm->process.report_fd, EPOLLIN,
                                child_reports, vm);

        return r < 0 ? error_errno(err, r, "cannot watch QEMU's start") : 0;
}

static int step_exec(struct vm *vm, struct error *err) {
        int r = process_release(&vm->process, err);

        if (r < 0)
                return r;
        r = report_watch(vm, err);
        return r < 0 ? r : 1;
}

/* -- connect, vcpus, run: over QMP ---------------------------------------------------------------- */

static int connect_timeout(sd_event_source *source, uint64_t now, void *data) {
        struct vm *vm = data;

        vm_timer_off(vm);
        start_fail(vm, "QEMU does not answer on its monitor");
        return 0;
}

static int connect_refused(sd_event_source *source, uint64_t now, void *data) {
        struct vm *vm = data;

        vm_timer_off(vm);
        start_fail(vm, "QEMU closed its monitor");
        return 0;
}

/* Waits for the process to end, which says more than a monitor that went away. 1, or an error. */
static int qemu_ending(struct vm *vm, struct error *err) {
        int r = vm_timer(vm, clock_monotonic_us() + EXIT_WAIT_US, connect_refused, err);

        return r < 0 ? r : 1;
}

/* Was this answer lost because QEMU goes away? */
static bool closing(struct vm *vm, const struct error *err) {
        return err && err->code == -ECONNRESET && qemu_ending(vm, NULL) > 0;
}

static void vcpus_known(struct qmp *q, const json_t *reply, const struct error *err, void *data) {
        struct vm *vm = data;
        _cleanup_error_ struct error none = ERROR_INIT;

        vm->vcpus_asked = false;
        if (vm->op.table != &start_table || vm->ending)
                return;
        vm_timer_off(vm);
        if (closing(vm, err))
                return;
        if (reply && json_array_size(reply) == 0)
                error_set(&none, -EPROTO, "QEMU has no virtual CPU");
        step_finish(vm, reply ? &none : err);
}

static int vcpus_ask(struct vm *vm, struct error *err) {
        int r = qmp_execute(vm->qmp, "query-cpus-fast", NULL, 0, vcpus_known, vm, err);

        vm->vcpus_asked = r >= 0;
        return r;
}

/* The first command's reply, not the greeting, proves that the machine is built (qmp.h: ready). The question
 * of the next step goes along, which spares a trip to QEMU and back; the answer comes after ready() all the
 * same. */
static int step_connect(struct vm *vm, struct error *err) {
        _cleanup_error_ struct error warn = ERROR_INIT;

        if (console_start(vm, vm->plan != NULL, &warn) < 0)
                vm_warn(vm, "no console: %s", error_text(&warn));
        int r = guest_connect(vm, err);
        if (r < 0 && !vm->plan)
                return error_set(err, r, "%s", START_CUT_OFF);
        /* QEMU has ended already: its exit says why. */
        if (r == -ECONNREFUSED)
                return qemu_ending(vm, err);
        /* An adopted start is asked first how far it came. */
        if (r >= 0 && vm->plan)
                r = vcpus_ask(vm, err);
        if (r >= 0)
                r = vm_timer(vm, clock_monotonic_us() + CONNECT_TIMEOUT_US, connect_timeout, err);
        return r < 0 ? r : 1;
}

static int step_vcpus(struct vm *vm, struct error *err) {
        int r = vm->vcpus_asked ? 0 : vcpus_ask(vm, err);

        if (r >= 0)
                r = vm_timer(vm, clock_monotonic_us() + ANSWER_TIMEOUT_MS * UINT64_C(1000), connect_timeout,
                             err);
        return r < 0 ? r : 1;
}

static void continued(struct qmp *q, const json_t *reply, const struct error *err, void *data) {
        struct vm *vm = data;

        if (vm->op.table == &start_table && !vm->ending && !closing(vm, err))
                step_finish(vm, reply ? NULL : err);
}

static int step_run(struct vm *vm, struct error *err) {
        int r = qmp_execute(vm->qmp, "cont", NULL, ANSWER_TIMEOUT_MS, continued, vm, err);

        return r < 0 ? r : 1;
}

static const struct step steps[START_STEP_COUNT] = {
        [START_STEP_PLAN] = { "plan", step_plan },
        [START_STEP_FILES] = { "files", step_files },
        [START_STEP_CLAIM] = { "claim", devices_claim },
        [START_STEP_SOCKETS] = { "sockets", step_sockets },
        [START_STEP_MEMORY] = { "memory", memory_make },
        [START_STEP_ACCESS] = { "access", access_grant },
        [START_STEP_SPAWN] = { "spawn", step_spawn },
        [START_STEP_EXEC] = { "exec", step_exec },
        [START_STEP_CONNECT] = { "connect", step_connect },
        [START_STEP_VCPUS] = { "vcpus", step_vcpus },
        [START_STEP_RUN] = { "run", step_run },
};

const struct step_table start_table = { "start", steps, START_STEP_COUNT, start_complete, start_fail };

void start_complete(struct vm *vm) {
        if (vm->op.last != START_STEP_COUNT) {
                vm_set_state(vm, VM_PREPARED, NULL);
                return;
        }
        vm->ran = true;
        vm->boot_us = clock_monotonic_us();
        vm_set_state(vm, vm->paused ? VM_PAUSED : VM_RUNNING, NULL);
        adoption_done(vm);
        plan_free(vm->plan);
        vm->plan = NULL;
}

void start_fail(struct vm *vm, const char *reason) {
        vm_log_note(vm, "the start failed: %s", reason);
        if (vm->process.pid > 0) {
                /* Already on its way out: the first reason stays. */
                if (!vm->ending)
                        guest_end_now(vm, VM_FAILED, reason);
        } else
                vm_end(vm, VM_FAILED, reason);
}
