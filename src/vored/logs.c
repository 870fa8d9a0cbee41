/* Logs: a machine's log file, and what is added to it. */
#include "vored/manager.h"

#include "base/file.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

/* The log is cut at 8 MiB; a reader that is behind gets the rest in parts. */
enum { TEXT_MAX = 9 * 1024 * 1024, PART_MAX = 256 * 1024, UNSENT_MAX = 1024 * 1024 };

struct follower {
        struct rpc_call *call;
        char *path;
        int fd;
        off_t at;
        sd_event *loop;
        sd_event_source *source;
};

static json_t *part_json(const char *path, const char *data, size_t len) {
        _cleanup_free_ char *text = strndup(data, len);

        return json_pack("{s:o, s:o}", "path", json_string_lossy(path), "text", json_string_lossy(text));
}

static void follower_free(struct follower *f) {
        sd_event_source_disable_unref(f->source);
        if (f->fd >= 0)
                close(f->fd);
        free(f->path);
        free(f);
}

static void follower_gone(struct rpc_call *call, void *data) {
        follower_free(data);
        rpc_reply(call, NULL);
}

static void send_new(struct follower *f) {
        _cleanup_free_ char *buffer = xcalloc(1, PART_MAX);
        struct stat st;
        ssize_t n;

        if (f->fd >= 0 && fstat(f->fd, &st) == 0 && st.st_size < f->at)
                f->at = 0;
        while (f->fd >= 0 && rpc_unsent(f->call) < UNSENT_MAX &&
               (n = pread(f->fd, buffer, PART_MAX, f->at)) > 0) {
                f->at += n;
                (void) rpc_reply_more(f->call, part_json(f->path, buffer, (size_t) n));
        }
}

static int follow(struct follower *f);

static int log_changed(sd_event_source *source, const struct inotify_event *event, void *data) {
        struct follower *f = data;

        send_new(f);
        /* A new start has put the file aside and made another. */
        if (event->mask & IN_MOVE_SELF) {
                close(f->fd);
                f->fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
                f->at = 0;
                sd_event_source_disable_unref(TAKE_PTR(f->source));
                (void) follow(f);
                send_new(f);
        }
        return 0;
}

static int follow(struct follower *f) {
        return sd_event_add_inotify(f->loop, &f->source, f->path, IN_MODIFY | IN_MOVE_SELF, log_changed, f);
}

/* One watch on the folder for all machines: adding and removing one per machine costs milliseconds each. */
static int logs_changed(sd_event_source *source, const struct inotify_event *event, void *data) {
        size_t n = event->len ? strlen(event->name) : 0;
        _cleanup_free_ char *name =
                n > 4 && str_ends(event->name, ".log") ? strndup(event->name, n - 4) : NULL;
        struct machine *machine = name ? machine_find(data, name) : NULL;

        if (machine && machine->vm)
                vm_log_cut(machine->vm);
        return 0;
}

int logs_watch(struct manager *m, struct error *err) {
        int r = sd_event_add_inotify(m->loop, NULL, m->settings->log_dir, IN_MODIFY, logs_changed, m);

        return r < 0 ? error_errno(err, r, "cannot watch the logs in %s", m->settings->log_dir) : 0;
}

void method_logs(struct rpc_call *call, const json_t *params, void *manager) {
        struct manager *m = manager;
        struct vm *vm = method_vm(m, call, params);
        _cleanup_free_ char *path = NULL, *text = NULL;
        _cleanup_error_ struct error err = ERROR_INIT;
        size_t len = 0;

        if (!vm)
                return;
        path = vm_log_path(vm);
        int r = file_read(AT_FDCWD, path, TEXT_MAX, &text, &len, &err);
        if (r < 0 && r != -ENOENT) {
                method_fail(call, &err);
                return;
        }
        if (!json_get_bool(params, "follow", false) || !rpc_wants_more(call)) {
                rpc_reply(call, part_json(path, text ? text : "", len));
                return;
        }
        struct follower *f = xcalloc(1, sizeof(*f));
        *f = (struct follower){ .call = call, .path = TAKE_PTR(path), .at = (off_t) len, .loop = m->loop };
        f->fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        r = f->fd < 0 ? -errno : follow(f);
        if (r < 0) {
                error_errno(&err, r, "cannot follow %s", f->path);
                method_fail(call, &err);
                follower_free(f);
                return;
        }
        (void) rpc_reply_more(call, part_json(f->path, text ? text : "", len));
        /* What came between the reading and the watching. */
        send_new(f);
        rpc_on_gone(call, follower_gone, f);
}
