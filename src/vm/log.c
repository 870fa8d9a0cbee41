/* <logs>/NAME.log: QEMU's own output and every start, end and error, with times. A new file each start, the
 * last three kept; cut when it grows past 8 MiB. QEMU's stderr is the file itself, opened for append. */
#include "vm/machine.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LOG_MAX = 8 * 1024 * 1024, LOG_KEEP = 1024 * 1024, LOG_FILES = 3 };

char *vm_log_path(const struct vm *vm) {
        return xasprintf("%s/%s.log", vm->env->settings->log_dir, vm->name);
}

static void log_rotate(const char *path) {
        for (int i = LOG_FILES - 1; i > 0; i--) {
                _cleanup_free_ char *to = xasprintf("%s.%d", path, i);
                _cleanup_free_ char *from = i > 1 ? xasprintf("%s.%d", path, i - 1) : xstrdup(path);

                (void) rename(from, to);
        }
}

int vm_log_start(struct vm *vm, struct error *err) {
        _cleanup_free_ char *path = vm_log_path(vm);

        log_rotate(path);
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
        if (fd < 0)
                return error_errno(err, errno, "cannot write the log %s", path);
        if (vm->env->group != (gid_t) -1)
                (void) !fchown(fd, (uid_t) -1, vm->env->group);
        vm->log_offset = 0;
        return 0;
}

void vm_log_note(struct vm *vm, const char *fmt, ...) {
        _cleanup_free_ char *path = vm_log_path(vm), *text = NULL, *line = NULL;
        char when[64];
        uint64_t now = clock_realtime_us();
        time_t seconds = (time_t) (now / 1000000);
        struct tm tm;
        va_list ap;

        _cleanup_close_ int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return;
        va_start(ap, fmt);
        if (vasprintf(&text, fmt, ap) < 0)
                log_oom();
        va_end(ap);
        gmtime_r(&seconds, &tm);
        strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
        line = xasprintf("%s.%06uZ vored: %s\n", when, (unsigned) (now % 1000000), text);
        (void) file_write_all(fd, line, strlen(line));
}

/* Keeps the end; O_APPEND lets QEMU go on behind it. */
void vm_log_cut(struct vm *vm) {
        _cleanup_free_ char *path = vm_log_path(vm), *tail = NULL;
        _cleanup_close_ int fd = open(path, O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0 || st.st_size <= LOG_MAX)
                return;
        tail = xcalloc(1, LOG_KEEP);
        ssize_t n = pread(fd, tail, LOG_KEEP, st.st_size - LOG_KEEP);
        if (ftruncate(fd, 0) < 0)
                return;
        vm->log_offset = 0;
        vm_log_note(vm, "the log grew past 8 MiB and was cut");
        if (n > 0)
                (void) file_write_all(fd, tail, (size_t) n);
}
