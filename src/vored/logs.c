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
        bool aside; /* the file was put aside, and another one is there */
        struct reader *next;
};

static struct reader *reader_new(struct manager *m, struct rpc_call *call, char *path) {
        struct reader *r = xcalloc(1, sizeof(*r));

        *r = (struct reader){ .call = call, .manager = m, .path = path, .fd = -1, .next = m->readers };
        m->readers = r;
        return r;
}

static void reader_free(struct reader *r) {
        struct reader **at = &r->manager->readers;

        while (*at != r)
                at = &(*at)->next;
        *at = r->next;
        cleanup_closep(&r->fd);
        free(r->path);
        free(r);
}

static json_t *part_json(const char *path, const char *data, size_t len) {
        _cleanup_free_ char *text = xcalloc(1, len + 1);

        for (size_t i = 0; i < len; i++)
                text[i] = data[i] ? data[i] : '?';
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

static void open_again(struct reader *r) {
        cleanup_closep(&r->fd);
        r->fd = open(r->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        r->at = 0;
        r->aside = false;
}

/* As much as leaves at once. At the end of the file the call is answered, or waits for what comes. */
static void read_on(struct reader *r) {
        _cleanup_free_ char *buffer = xcalloc(1, PART_MAX);
        struct stat st;
        ssize_t n = 1;

        /* Somebody else emptied it. */
        if (r->fd >= 0 && fstat(r->fd, &st) == 0 && st.st_size < r->at)
                r->at = 0;
        while (rpc_unsent(r->call) == 0) {
                n = r->fd >= 0 ? pread(r->fd, buffer, PART_MAX, r->at) : 0;
                if (n <= 0 && r->aside) {
                        open_again(r);
                        continue;
                }
                if (n <= 0)
                        break;
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

static bool reads(const struct reader *r, const char *name) {
        return str_eq(name, strrchr(r->path, '/') + 1);
}

/* Is what it reads not the file of that name any more? */
static bool put_aside(const struct reader *r) {
        struct stat now, own;

        return r->fd < 0 || fstat(r->fd, &own) < 0 || stat(r->path, &now) < 0 || now.st_dev != own.st_dev ||
               now.st_ino != own.st_ino;
}

/* Of a log that is cut its last part stays, behind a note: whoever reads it goes on with what was not sent.
 */
static void cut(struct manager *m, struct vm *vm, const char *name) {
        _cleanup_free_ char *path = vm_log_path(vm);
        struct stat before, after;
        bool known = m->readers && stat(path, &before) == 0;

        vm_log_cut(vm);
        if (!known || stat(path, &after) < 0 || after.st_size >= before.st_size)
                return;
        for (struct reader *r = m->readers; r; r = r->next)
                if (!r->aside && reads(r, name))
                        r->at = MAX(0, after.st_size - MAX(0, before.st_size - r->at));
}

/* One watch on the folder for all machines and all who read: adding and removing one for each costs
 * milliseconds; and libsystemd (252) turns without end when the kernel tells of a folder what one source
 * asked for that is gone, while another one is there. */
static int logs_changed(sd_event_source *source, const struct inotify_event *event, void *data) {
        size_t n = event->len ? strlen(event->name) : 0;
        _cleanup_free_ char *name =
                n > 4 && str_ends(event->name, ".log") ? strndup(event->name, n - 4) : NULL;
        struct manager *m = data;
        struct machine *machine = name ? machine_find(m, name) : NULL;

        if (machine && machine->vm)
                cut(m, machine->vm, event->name);
        for (struct reader *r = name ? m->readers : NULL; r; r = r->next)
                if (r->follow && reads(r, event->name)) {
                        /* A new start has put the file aside and made another. */
                        r->aside = r->aside || (event->mask & (IN_CREATE | IN_MOVED_TO) && put_aside(r));
                        read_on(r);
                }
        return 0;
}

int logs_watch(struct manager *m, struct error *err) {
        int r = sd_event_add_inotify(m->loop, NULL, m->settings->log_dir, IN_MODIFY | IN_CREATE | IN_MOVED_TO,
                                     logs_changed, m);

        return r < 0 ? error_errno(err, r, "cannot watch the logs in %s", m->settings->log_dir) : 0;
}

void logs_free(struct manager *m) {
        while (m->readers) {
                struct rpc_call *call = m->readers->call;

                rpc_on_gone(call, NULL, NULL);
                rpc_on_drained(call, NULL, NULL);
                reader_free(m->readers);
                rpc_reply_close(call, NULL);
        }
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
        struct reader *r = reader_new(manager, call, vm_log_path(vm));
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
        if (k < 0) {
                method_fail(call, &err);
                reader_free(r);
                return;
        }
        rpc_on_drained(call, reader_drained, r);
        if (rpc_on_gone(call, reader_gone, r))
                read_on(r);
}
