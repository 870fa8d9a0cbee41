/* The log: lines on stderr, with a priority prefix where the journal reads them (sd-daemon(3)) and a
 * time everywhere else. Rooms below vm/ log at debug only; what fails is returned as an error. */
#pragma once

#include "base/macros.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Default: LOG_LEVEL_INFO. */
void log_set_level(enum log_level level);
/* "error", "warning", "info", "debug"; -EINVAL for anything else. */
int log_level_parse(const char *text, enum log_level *ret);

void log_write(enum log_level level, const char *fmt, ...) _printf_(2, 3);
#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

/* Says "out of memory" and aborts. */
_noreturn_ void log_oom(void);
