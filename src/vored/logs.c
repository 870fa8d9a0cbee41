/* Logs: a machine's log file, and what is added to it. */
#include "vored/manager.h"

#include "base/file.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

/* The log is cut at 8 MiB. It is read and sent in parts, the next one when the last one has left: neither the
 * loop nor a client that does not read has to hold a whole one. Without `more` there is only one part, the
 * last. */
enum { LAST_MAX = 256 * 1024, PART_MAX = 128 * 1024 };

struct reader {
        struct rpc_call *call;
        struct manager *manager;
        char *path;
        int fd; /* -1: there is none yet */
        off_t at;
        bool follow;
        sd_event_source *source;
};

static void reader_free(struct reader *r) {
        sd_event_source_disable_unref(r->source);
        cleanup_closep(&r->fd);
        free(r->path);
        free(r);
}

static json_t *part_json(const char *path, const char *data, size_t len) {
        _cleanup_free_ char *text = strndup(data, len);

        return json_pack("{s:o, s:o}", "path", json_string_lossy(path), "text", json_string_lossy(text));
}

/* A whole part ends with a line, so that no character is cut in two. */
static size_t part_len(const char *data, size_t n) {
        const char *newline = n == PART_MAX ? memrchr(data, '\n', n) : NULL;

        return newline ? (size_t) (newline - data) + 1 : n;
}

static void reader_end(struct reader *r) {
        struct rpc_call *call = r->call;
        json_t *last = part_json(r->path, "", 0);

        rpc_on_gone(call, NULL, NULL);
        rpc_on_drained(call, NULL, NULL);
        reader_free(r);
        rpc_reply(call, last);
}

/* As much as leaves at once. At the end of the file the call is answered, or waits for what comes. */
static void read_on(struct reader *r) {
        _cleanup_free_ char *buffer = xcalloc(1, PART_MAX);
        struct stat st;
        ssize_t n = 0;

        if (r->fd >= 0 && fstat(r->fd, &st) == 0 && st.st_size < r->at)
                r->at = 0;
        while (r->fd >= 0 && rpc_unsent(r->call) == 0 && (n = pread(r->fd, buffer, PART_MAX, r->at)) > 0) {
                size_t len = part_len(buffer, (size_t) n);

                r->at += (off_t) len;
                if (rpc_reply_more(r->call, part_json(r->path, buffer, len)) < 0)
                        return; /* its client is gone: reader_gone() comes */
        }
        if (!r->follow && n <= 0)
                reader_end(r);
}

static void reader_gone(struct rpc_call *call, void *data) {
        reader_free(data);
        rpc_reply(call, NULL);
}

static void reader_drained(struct rpc_call *call, void *data) {
        read_on(data);
}

static int watch(struct reader *r);

static void open_again(struct reader *r) {
        cleanup_closep(&r->fd);
        r->fd = open(r->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        r->at = 0;
        r->source = sd_event_source_disable_unref(r->source);
        (void) watch(r);
        read_on(r);
}

static int log_changed(sd_event_source *source, const struct inotify_event *event, void *data) {
        struct reader *r = data;

        read_on(r);
        /* A new start has put the file aside and made another. */
        if (event->mask & IN_MOVE_SELF)
                open_again(r);
        return 0;
}

static int log_appeared(sd_event_source *source, const struct inotify_event *event, void *data) {
        struct reader *r = data;

        if (event->len && str_eq(event->name, strrchr(r->path, '/') + 1))
                open_again(r);
        return 0;
}

/* The file, or the folder until it is there. */
static int watch(struct reader *r) {
        struct manager *m = r->manager;

        if (r->fd < 0)
                return sd_event_add_inotify(m->loop, &r->source, m->settings->log_dir,
                                            IN_CREATE | IN_MOVED_TO, log_appeared, r);
        return sd_event_add_inotify(m->loop, &r->source, r->path, IN_MODIFY | IN_MOVE_SELF, log_changed, r);
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

/* Its last part, from the beginning of a line on. */
static int answer_last(struct rpc_call *call, const char *path, int fd, struct error *err) {
        _cleanup_free_ char *buffer = xcalloc(1, LAST_MAX);
        struct stat st;
        ssize_t n = 0;
        off_t from = 0;

        if (fd >= 0) {
                from = fstat(fd, &st) == 0 && st.st_size > LAST_MAX ? st.st_size - LAST_MAX : 0;
                n = pread(fd, buffer, LAST_MAX, from);
        }
        if (n < 0)
                return error_errno(err, errno, "cannot read %s", path);
        const char *begin = from > 0 ? memchr(buffer, '\n', (size_t) n) : NULL;
        size_t skip = begin ? (size_t) (begin - buffer) + 1 : 0;
        rpc_reply(call, part_json(path, buffer + skip, (size_t) n - skip));
        return 0;
}

void method_logs(struct rpc_call *call, const json_t *params, void *manager) {
        struct vm *vm = method_vm(manager, call, params);
        _cleanup_error_ struct error err = ERROR_INIT;

        if (!vm)
                return;
        struct reader *r = xcalloc(1, sizeof(*r));
        *r = (struct reader){ .call = call, .manager = manager, .path = vm_log_path(vm) };
        r->follow = json_get_bool(params, "follow", false) && rpc_wants_more(call);
        r->fd = open(r->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        int k = r->fd < 0 && errno != ENOENT ? error_errno(&err, errno, "cannot read %s", r->path) : 0;
        if (k >= 0 && !rpc_wants_more(call)) {
                k = answer_last(call, r->path, r->fd, &err);
                if (k >= 0) {
                        reader_free(r);
                        return;
                }
        }
        if (k >= 0 && r->follow && (k = watch(r)) < 0)
                error_errno(&err, k, "cannot follow %s", r->path);
        if (k < 0) {
                method_fail(call, &err);
                reader_free(r);
                return;
        }
        rpc_on_drained(call, reader_drained, r);
        if (rpc_on_gone(call, reader_gone, r))
                read_on(r);
}
