#include "qemu/caps.h"

#include "base/file.h"
#include "base/log.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CAPS_FILE_MAX = 4 * 1024 * 1024 };

static const char magic[] = "vore-caps 2 ";

/* Kinds that scripts and other rooms ask for, and where their answer is. */
static const struct kind {
        const char *kind; /* as asked */
        const char *line; /* first word of the line */
        const char *item; /* second word: NULL: from the question */
        bool member;      /* the question names a member of the line, as ITEM.MEMBER unless item is set */
} kinds[] = {
        { "accel", "accel", NULL, false },
        { "accel-property", "accel", NULL, true },
        { "aio", "aio", NULL, false },
        { "audiodev", "audiodev", NULL, false },
        { "blockdev", "blockdev", NULL, false },
        { "chardev", "chardev", NULL, false },
        { "command", "command", NULL, false },
        { "cpu-property", "cpu", "max", true },
        { "device", "device", NULL, false },
        { "display", "display", NULL, false },
        { "machine", "machine", NULL, false },
        { "machine-deprecated", "machine-deprecated", NULL, false },
        { "machine-property", "machine", NULL, true },
        { "netdev", "netdev", NULL, false },
        { "object", "object", NULL, false },
        { "option", "option", NULL, false },
        { "option-param", "option", NULL, true },
        { "property", "device", NULL, true },
        { "tpm", "tpm", NULL, false },
};

static int find_binary(const char *binary, char **ret, struct error *err) {
        const char *path = getenv("PATH");

        if (strchr(binary, '/')) {
                *ret = xstrdup(binary);
                return 0;
        }
        for (const char *p = path ? path : "/usr/bin:/bin"; *p;) {
                size_t n = strcspn(p, ":");
                char *full = xasprintf("%.*s/%s", (int) n, p, binary);

                if (n > 0 && access(full, X_OK) == 0) {
                        *ret = full;
                        return 0;
                }
                free(full);
                p += n + (p[n] == ':');
        }
        return error_set(err, -ENOENT, "there is no %s in PATH", binary);
}

static void add_stat(struct strbuf *b, const struct stat *st) {
        strbuf_addf(b, " %lld %lld.%09ld %lld.%09ld", (long long) st->st_size, (long long) st->st_mtim.tv_sec,
                    st->st_mtim.tv_nsec, (long long) st->st_ctim.tv_sec, st->st_ctim.tv_nsec);
}

/* Distributions install QEMU's modules apart from it: one more package changes what the same binary can do.
 */
static void add_module_folders(struct strbuf *b, const char *real) {
        static const char *const places[] = { "lib/x86_64-linux-gnu/qemu", "lib/aarch64-linux-gnu/qemu",
                                              "lib64/qemu", "lib/qemu" };
        const char *slash = strrchr(real, '/');
        struct stat st;

        for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
                _cleanup_free_ char *folder = xasprintf("%.*s/../%s", (int) (slash - real), real, places[i]);

                if (stat(folder, &st) == 0)
                        add_stat(b, &st);
        }
}

int caps_identity(const char *binary, char **ret, struct error *err) {
        _cleanup_free_ char *path = NULL, *real = NULL;
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        struct stat st;
        int r = find_binary(binary, &path, err);

        if (r < 0)
                return r;
        real = realpath(path, NULL);
        if (!real || stat(real, &st) < 0)
                return error_errno(err, errno, "cannot use the QEMU binary %s", path);
        if (!S_ISREG(st.st_mode))
                return error_set(err, -EINVAL, "the QEMU binary %s is not a file", path);
        strbuf_addf(&b, "%s%s", magic, real);
        add_stat(&b, &st);
        add_module_folders(&b, real);
        if (strchr(b.data, '\n'))
                return error_set(err, -EINVAL, "the name of the QEMU binary %s has a line break", path);
        *ret = strbuf_take(&b);
        return 0;
}

/* One file per path, so that a replaced binary replaces its file: FNV-1a, 64 bits. */
static char *cache_path(const char *cache_dir, const char *binary) {
        uint64_t hash = 0xcbf29ce484222325u;

        for (const char *p = binary; *p; p++)
                hash = (hash ^ (unsigned char) *p) * 0x100000001b3u;
        return xasprintf("%s/qemu-%016llx.caps", cache_dir, (unsigned long long) hash);
}

int caps_store(const char *cache_dir, const char *binary, const char *text, struct error *err) {
        _cleanup_free_ char *path = cache_path(cache_dir, binary);
        int r = file_mkdirs(cache_dir, 0755, err);

        /* Not synced: what a power loss leaves of it is found out by caps_load() and made anew. */
        return r < 0 ? r : file_write_atomic(AT_FDCWD, path, text, strlen(text), 0644, false, err);
}

bool caps_known(const char *cache_dir, const char *binary) {
        _cleanup_free_ char *identity = NULL, *path = cache_path(cache_dir, binary);
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

        if (fd < 0 || caps_identity(binary, &identity, NULL) < 0)
                return false;
        size_t n = strlen(identity);
        _cleanup_free_ char *first = xcalloc(1, n + 2);
        return pread(fd, first, n + 1, 0) == (ssize_t) n + 1 && strncmp(first, identity, n) == 0 &&
               first[n] == '\n';
}

/* Where a line's key (two words) ends: space and line break sort before what names are made of. */
static bool key_end(char c) {
        return c == ' ' || c == '\n';
}

/* Compares a line with "kind name". */
static int compare_line(const char *line, const char *kind, size_t kind_len, const char *name,
                        size_t name_len) {
        int c = strncmp(line, kind, kind_len);

        if (c != 0)
                return c;
        if (line[kind_len] != ' ')
                return (unsigned char) line[kind_len] - ' ';
        line += kind_len + 1;
        c = strncmp(line, name, name_len);
        if (c != 0)
                return c;
        return key_end(line[name_len]) ? 0 : 1;
}

/* Binary search over the lines behind the first. NULL if there is none with this key. */
static const char *find_line(const struct caps *c, const char *kind, const char *name, size_t name_len) {
        const char *low = strchr(c->text, '\n') + 1, *high = c->text + c->len;
        size_t kind_len = strlen(kind);

        while (low < high) {
                const char *middle = low + (high - low) / 2;
                const char *before = memrchr(low, '\n', (size_t) (middle - low));
                const char *line = before ? before + 1 : low;
                int order = compare_line(line, kind, kind_len, name, name_len);

                if (order == 0)
                        return line;
                if (order > 0)
                        high = line;
                else
                        low = strchr(middle, '\n') + 1;
        }
        return NULL;
}

static bool line_has(const char *line, const char *member) {
        size_t len = strcspn(line, "\n"), n = strlen(member);
        const char *p = line + strcspn(line, " ") + 1, *end = line + len;

        p += strcspn(p, " \n");
        if (n == 0 || strchr(member, ' '))
                return false;
        while (p < end && (p = memmem(p, (size_t) (end - p), member, n))) {
                if (p[-1] == ' ' && key_end(p[n]))
                        return true;
                p += n;
        }
        return false;
}

static bool has_member(const struct caps *c, const char *kind, const char *item, size_t item_len,
                       const char *member) {
        const char *line = find_line(c, kind, item, item_len);

        return line && line_has(line, member);
}

/* A name from outside must not reach over the parts of a line. */
static bool is_name(const char *name) {
        return *name && !strpbrk(name, " \n");
}

bool caps_has_device(const struct caps *c, const char *type) {
        return is_name(type) && find_line(c, "device", type, strlen(type));
}

bool caps_has_property(const struct caps *c, const char *type, const char *name) {
        return is_name(type) && is_name(name) && has_member(c, "device", type, strlen(type), name);
}

bool caps_has(const struct caps *c, const char *kind, const char *name) {
        const struct kind *k = NULL;

        for (size_t i = 0; i < ARRAY_SIZE(kinds) && !k; i++)
                if (str_eq(kinds[i].kind, kind))
                        k = &kinds[i];
        if (!k || !is_name(name))
                return false;
        if (!k->member)
                return find_line(c, k->line, name, strlen(name));
        if (k->item)
                return has_member(c, k->line, k->item, strlen(k->item), name);
        const char *dot = strchr(name, '.');
        return dot && dot > name && has_member(c, k->line, name, (size_t) (dot - name), dot + 1);
}

unsigned caps_cpus_max(const struct caps *c, const char *machine) {
        static const char kind[] = "machine-cpus ";
        const char *line = is_name(machine) ? find_line(c, "machine-cpus", machine, strlen(machine)) : NULL;

        return line ? (unsigned) strtoul(line + strlen(kind) + strlen(machine), NULL, 10) : 0;
}

/* The search relies on order, and on no key being there twice. text ends with a line break. */
static bool lines_sorted(const char *text) {
        const char *line = strchr(text, '\n') + 1;

        while (*line) {
                const char *next = strchr(line, '\n') + 1, *a = line, *b = next;

                while (*a == *b && *a != '\n')
                        a++, b++;
                if (*line == '\n' || (*next && (unsigned char) *a >= (unsigned char) *b))
                        return false;
                line = next;
        }
        return true;
}

static const char version_word[] = "version ";

/* The version's line sorts behind all others: a file that was cut off has none. NULL then. */
static const char *last_version(const char *text, size_t len) {
        const char *line = len < 2 || text[len - 1] != '\n' ? NULL : memrchr(text, '\n', len - 1);

        return line && str_starts(line + 1, version_word) ? line + 1 + strlen(version_word) : NULL;
}

/* text is stolen. */
static struct caps caps_of(char *text, size_t len, const char *version) {
        char *copy = strndup(version, strcspn(version, "\n"));

        if (!copy)
                log_oom();
        return (struct caps){ .text = text, .len = len, .version = copy };
}

int caps_parse(const char *text, struct caps *ret, struct error *err) {
        size_t len = strlen(text);

        if (len == 0 || len > CAPS_FILE_MAX || !str_starts(text, magic) || text[len - 1] != '\n' ||
            !lines_sorted(text))
                return error_set(err, -EBADMSG, "not a file of QEMU's capabilities");
        const char *version = last_version(text, len);
        if (!version)
                return error_set(err, -EBADMSG, "a file of QEMU's capabilities without a version");
        *ret = caps_of(xstrdup(text), len, version);
        return 0;
}

/* Our own file, whole or not: its lines need not be held against each other at every start. */
int caps_load(const char *cache_dir, const char *binary, struct caps *ret, struct error *err) {
        _cleanup_free_ char *identity = NULL, *text = NULL, *path = cache_path(cache_dir, binary);
        size_t len;
        int r = caps_identity(binary, &identity, err);

        if (r < 0)
                return r;
        r = file_read(AT_FDCWD, path, CAPS_FILE_MAX, &text, &len, err);
        if (r < 0 && r != -ENOENT)
                return r;
        const char *version = r < 0 || strlen(text) != len ? NULL : last_version(text, len);
        if (!version || !str_starts(text, identity) || text[strlen(identity)] != '\n')
                return error_set(err, -ENOENT, "%s has not been asked yet what it can do", binary);
        *ret = caps_of(TAKE_PTR(text), len, version);
        return 0;
}

void caps_done(struct caps *c) {
        free(c->text);
        free(c->version);
        *c = CAPS_INIT;
}
