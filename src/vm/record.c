/* What outlives the daemon: <runtime>/vm/NAME/state.json and definition.toml. */
#include "vm/machine.h"

#include "base/file.h"
#include "base/log.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RECORD_MAX = 1024 * 1024 };

char *vm_runtime_path(const struct vm *vm, const char *file) {
        return xasprintf("%s/vm/%s/%s", vm->env->settings->vore.runtime_dir, vm->name, file);
}

static char *boot_id(void) {
        char *id = NULL;

        return file_read_line(AT_FDCWD, "/proc/sys/kernel/random/boot_id", &id) < 0 ? xstrdup("") : id;
}

static json_t *paths_to_json(const char *const *paths, size_t n) {
        json_t *array = json_array();

        for (size_t i = 0; i < n; i++)
                json_push_str(array, paths[i]);
        return array;
}

static json_t *record_json(const struct vm *vm) {
        json_t *j = json_object();
        _cleanup_free_ char *id = boot_id();

        json_put_str(j, "boot_id", id);
        json_put_str(j, "name", vm->name);
        json_put_str(j, "state", vm_state_name(vm->state));
        json_put_str(j, "reason", vm->reason);
        json_put_str(j, "file", vm->definition.file);
        json_put_str(j, "directory", vm->definition.directory);
        json_put(j, "cdroms", paths_to_json(vm->definition.cdroms, vm->definition.n_cdroms));
        json_put(j, "start_cdroms", paths_to_json(vm->options.cdroms, vm->options.n_cdroms));
        json_put_bool(j, "display", vm->options.display);
        json_put_int(j, "pid", vm->process.pid);
        json_put_int(j, "start_time", (int64_t) vm->process.start_time);
        json_put_int(j, "uid", vm->uid == (uid_t) -1 ? -1 : (int64_t) vm->uid);
        json_put_int(j, "log_offset", (int64_t) vm->log_offset);
        json_put(j, "disks", vm->disks ? json_incref(vm->disks) : json_array());
        json_put(j, "devices", vm->addresses ? json_incref(vm->addresses) : json_array());
        json_put(j, "attached", attached_to_json(vm));
        json_put_bool(j, "console", vm->has_console);
        json_put_bool(j, "ran", vm->ran);
        json_put_bool(j, "paused", vm->paused);
        json_put_bool(j, "ending", vm->ending);
        json_put_str(j, "ending_state", vm_state_name(vm->ending_state));
        json_put_str(j, "ending_reason", vm->ending_reason);
        json_put_int(j, "stop_deadline_us", (int64_t) vm->stop_deadline_us);
        json_put_bool(j, "stop_force", vm->stop_force);
        return j;
}

static int runtime_folder(const struct vm *vm, struct error *err) {
        _cleanup_free_ char *dir = plan_runtime_dir(vm->env->settings, vm->name);

        return file_mkdirs(dir, 0700, err);
}

int record_write(struct vm *vm, struct error *err) {
        _cleanup_json_ json_t *j = record_json(vm);
        _cleanup_free_ char *text = json_text_pretty(j), *path = vm_runtime_path(vm, "state.json");
        int r = vm->recorded ? file_write_atomic(AT_FDCWD, path, text, strlen(text), 0600, false, err) :
                               -ENOENT;

        if (r == -ENOENT) {
                r = runtime_folder(vm, err);
                if (r >= 0)
                        r = file_write_atomic(AT_FDCWD, path, text, strlen(text), 0600, false, err);
        }
        return r;
}

void record_update(struct vm *vm) {
        _cleanup_error_ struct error err = ERROR_INIT;

        if (vm->recorded && record_write(vm, &err) < 0)
                log_warning("%s: its state cannot be noted for a restart of vored: %s", vm->name,
                            error_text(&err));
}

int record_write_definition(struct vm *vm, struct error *err) {
        _cleanup_free_ char *path = vm_runtime_path(vm, "definition.toml");
        int r = runtime_folder(vm, err);

        if (r >= 0)
                r = file_write_atomic(AT_FDCWD, path, vm->definition.text, vm->definition.len, 0600, false,
                                      err);
        if (r >= 0)
                r = record_write(vm, err);
        if (r >= 0)
                vm->recorded = true;
        return r;
}

/* -- reading ------------------------------------------------------------------------------------ */

static enum vm_state state_parse(const char *name) {
        for (int i = 0; i < VM_STATE_COUNT; i++)
                if (str_eq(name, vm_state_name((enum vm_state) i)))
                        return (enum vm_state) i;
        return VM_LOADED;
}

static char *text_or_null(const json_t *j, const char *key) {
        const char *text = json_get_str(j, key, NULL);

        return text ? xstrdup(text) : NULL;
}

/* What a start, or a prepare, was told besides. */
static void options_apply(struct vm *vm, const json_t *j) {
        const json_t *list = json_object_get(j, "start_cdroms");
        const char **cdroms = xcalloc(json_array_size(list) + 1, sizeof(*cdroms));
        size_t n = 0;

        for (size_t i = 0; i < json_array_size(list); i++)
                if (json_is_string(json_array_get(list, i)))
                        cdroms[n++] = xstrdup(json_string_value(json_array_get(list, i)));
        vm->options = (struct vm_start_options){ .cdroms = cdroms,
                                                 .n_cdroms = n,
                                                 .display = json_get_bool(j, "display", false) };
}

static void record_apply(struct vm *vm, const json_t *j) {
        options_apply(vm, j);
        vm->state = state_parse(json_get_str(j, "state", "loaded"));
        vm->reason = text_or_null(j, "reason");
        vm->uid = (uid_t) json_get_int(j, "uid", -1);
        vm->log_offset = (uint64_t) json_get_int(j, "log_offset", 0);
        vm->disks = json_incref(json_object_get(j, "disks"));
        vm->addresses = json_incref(json_object_get(j, "devices"));
        attached_from_json(vm, json_object_get(j, "attached"));
        vm->has_console = json_get_bool(j, "console", false);
        vm->ran = json_get_bool(j, "ran", false);
        vm->paused = json_get_bool(j, "paused", vm->state == VM_PAUSED);
        vm->ending = json_get_bool(j, "ending", false);
        vm->ending_state = state_parse(json_get_str(j, "ending_state", "failed"));
        vm->ending_reason = text_or_null(j, "ending_reason");
        vm->stop_deadline_us = (uint64_t) json_get_int(j, "stop_deadline_us", 0);
        vm->stop_force = json_get_bool(j, "stop_force", false);
}

static int record_define(struct vm_env *env, const char *name, const json_t *j, const char *text, size_t len,
                         struct vm **ret, struct error *err) {
        const json_t *list = json_object_get(j, "cdroms");
        _cleanup_free_ const char **cdroms = xcalloc(json_array_size(list) + 1, sizeof(char *));
        struct def_summary summary;
        size_t n = 0;
        struct vm_definition d = { .text = text,
                                   .len = len,
                                   .file = json_get_str(j, "file", name),
                                   .directory = json_get_str(j, "directory", "/"),
                                   .cdroms = cdroms };
        int r = def_summarize(text, len, d.directory, &summary, err);

        if (r < 0)
                return r;
        if (!str_eq(summary.name, name))
                return error_set(err, -EINVAL, "the definition in the run-time folder of %s is of %s", name,
                                 summary.name);
        for (size_t i = 0; i < json_array_size(list); i++)
                if (json_is_string(json_array_get(list, i)))
                        cdroms[n++] = json_string_value(json_array_get(list, i));
        d.n_cdroms = n;
        struct vm *vm = vm_new(env, &summary);
        vm->saved = true; /* so that vm_define() leaves the folder alone */
        (void) vm_define(vm, &d, &summary, NULL);
        vm->saved = false;
        vm->recorded = true;
        *ret = vm;
        return 0;
}

int record_read(struct vm_env *env, const char *name, struct vm **ret, pid_t *ret_pid,
                uint64_t *ret_start_time, struct error *err) {
        _cleanup_free_ char *dir = plan_runtime_dir(env->settings, name), *state = NULL, *text = NULL;
        _cleanup_free_ char *id = boot_id();
        _cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        _cleanup_json_ json_t *j = NULL;
        size_t len;
        int r;

        if (fd < 0)
                return -ENOENT;
        r = file_read(fd, "state.json", RECORD_MAX, &state, NULL, err);
        if (r >= 0)
                r = json_parse(state, strlen(state), &j, err);
        if (r >= 0)
                r = file_read(fd, "definition.toml", DEF_SIZE_MAX, &text, &len, err);
        if (r < 0)
                return r;
        if (!str_eq(json_get_str(j, "boot_id", ""), id))
                return error_set(err, -ESTALE, "it is of another boot of this host");
        r = record_define(env, name, j, text, len, ret, err);
        if (r < 0)
                return r;
        record_apply(*ret, j);
        *ret_pid = (pid_t) json_get_int(j, "pid", -1);
        *ret_start_time = (uint64_t) json_get_int(j, "start_time", 0);
        return 0;
}
