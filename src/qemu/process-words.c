#include "base/str.h"
#include "qemu/process.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TAIL_MAX = 8192, WORDS_MAX = 400 };

/* "2026-11-22T18:00:00.000000Z ", which QEMU's -msg timestamp=on puts before its lines. */
static char *skip_time(char *line) {
        static const char form[] = "dddd-dd-ddTdd:dd:dd";
        char *p = line;

        for (const char *f = form; *f; f++, p++)
                if (*f == 'd' ? !isdigit((unsigned char) *p) : *f != *p)
                        return line;
        p += strspn(p, ".0123456789");
        return p[0] == 'Z' && p[1] == ' ' ? p + 2 : line;
}

/* "qemu-system-x86_64: ", "qemu: " */
static char *skip_program(char *line) {
        char *colon = strstr(line, ": ");

        if (!str_starts(line, "qemu") || !colon || strcspn(line, " ") < (size_t) (colon - line))
                return line;
        return colon + 2;
}

static bool tail(int fd, uint64_t offset, char buf[static TAIL_MAX + 1], bool *cut) {
        struct stat st;

        if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t) st.st_size <= offset)
                return false;
        *cut = (uint64_t) st.st_size - offset > TAIL_MAX;
        if (*cut)
                offset = (uint64_t) st.st_size - TAIL_MAX;
        ssize_t n = pread(fd, buf, TAIL_MAX, (off_t) offset);
        if (n <= 0)
                return false;
        for (ssize_t i = 0; i < n; i++)
                if (buf[i] != '\n' && ((unsigned char) buf[i] < 0x20 || buf[i] == 0x7f))
                        buf[i] = ' ';
        buf[n] = '\0';
        return true;
}

static char *clean_line(char *line) {
        line = skip_program(skip_time(line));
        line += strspn(line, " ");
        for (size_t n = strlen(line); n > 0 && line[n - 1] == ' '; n--)
                line[n - 1] = '\0';
        return line;
}

/* Where a text that is too long may begin: not inside a UTF-8 sequence. */
static const char *last_part(const char *line, size_t max) {
        size_t n = strlen(line);
        const char *p = n > max ? line + n - max : line;

        while (((unsigned char) *p & 0xc0) == 0x80)
                p++;
        return p;
}

/* Collects from the last line backward, as long as there is room. */
static char *collect(char **lines, size_t n, bool warnings) {
        char *words = NULL;

        while (n-- > 0) {
                const char *line = lines[n];
                size_t used = words ? strlen(words) + 2 : 0;

                if (!*line || str_starts(line, "warning: ") != warnings)
                        continue;
                if (words && used + strlen(line) > WORDS_MAX)
                        break;
                char *joined = xasprintf("%s%s%s", last_part(line, WORDS_MAX), words ? "; " : "",
                                         words ? words : "");
                free(words);
                words = joined;
        }
        return words;
}

char *process_last_words_fd(int fd, uint64_t offset) {
        char buf[TAIL_MAX + 1], *lines[TAIL_MAX / 2 + 1], *save = NULL;
        size_t n = 0;
        bool cut;

        if (!tail(fd, offset, buf, &cut))
                return NULL;
        for (char *line = strtok_r(buf, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
                /* The first line of a part in the middle is a piece. */
                if (cut) {
                        cut = false;
                        continue;
                }
                char *clean = clean_line(line);
                if (!str_starts(clean, "vored: "))
                        lines[n++] = clean;
        }
        char *words = collect(lines, n, false);
        return words ? words : collect(lines, n, true);
}

char *process_last_words(const char *log_path, uint64_t offset) {
        _cleanup_close_ int fd = open(log_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

        return fd < 0 ? NULL : process_last_words_fd(fd, offset);
}
