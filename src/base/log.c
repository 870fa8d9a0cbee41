#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static enum log_level max_level = LOG_LEVEL_INFO;

static const struct {
        const char *name;
        const char *prefix; /* sd-daemon(3), SD_ERR … SD_DEBUG */
} levels[] = {
        [LOG_LEVEL_ERROR] = { "error", "<3>" },
        [LOG_LEVEL_WARNING] = { "warning", "<4>" },
        [LOG_LEVEL_INFO] = { "info", "<6>" },
        [LOG_LEVEL_DEBUG] = { "debug", "<7>" },
};

void log_set_level(enum log_level level) {
        max_level = level;
}

int log_level_parse(const char *text, enum log_level *ret) {
        for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
                if (strcmp(text, levels[i].name) == 0) {
                        *ret = (enum log_level) i;
                        return 0;
                }
        return -EINVAL;
}

static void prefix_print(char *buf, size_t size, enum log_level level) {
        struct timespec now;
        struct tm tm;
        size_t n;

        if (getenv("JOURNAL_STREAM")) {
                snprintf(buf, size, "%s", levels[level].prefix);
                return;
        }
        clock_gettime(CLOCK_REALTIME, &now);
        localtime_r(&now.tv_sec, &tm);
        n = strftime(buf, size, "%Y-%m-%d %H:%M:%S", &tm);
        snprintf(buf + n, size - n, ".%03ld %s: ", now.tv_nsec / 1000000, levels[level].name);
}

void log_write(enum log_level level, const char *fmt, ...) {
        char prefix[64];
        _cleanup_free_ char *text = NULL;
        int saved = errno;
        va_list ap;

        if (level > max_level)
                return;
        prefix_print(prefix, sizeof(prefix), level);
        va_start(ap, fmt);
        if (vasprintf(&text, fmt, ap) < 0)
                text = NULL;
        va_end(ap);
        /* One write per line, so that lines of several processes never mix. */
        dprintf(STDERR_FILENO, "%s%s\n", prefix, text ? text : fmt);
        errno = saved;
}

void log_oom(void) {
        static const char text[] = "out of memory\n";

        (void) !write(STDERR_FILENO, text, sizeof(text) - 1);
        abort();
}
