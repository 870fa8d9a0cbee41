#include "host/host.h"

#include "base/file.h"
#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

struct host {
        int fd;     /* the root */
        char *root; /* its path without links; owned */
        bool captured;
};

enum { READ_MAX = 4 * 1024 * 1024, NAMES_MAX = 65536 };

int host_open(const char *root, struct host **ret, struct error *err) {
        if (!root)
                root = getenv("VORE_HOST_ROOT");
        if (str_empty(root))
                root = "/";

        _cleanup_close_ int fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return error_errno(err, errno, "cannot open the host's root %s", root);
        char *path = realpath(root, NULL);
        if (!path)
                return error_errno(err, errno, "cannot open the host's root %s", root);
        struct host *h = xcalloc(1, sizeof(*h));
        *h = (struct host){ .fd = TAKE_FD(fd), .root = path, .captured = !str_eq(path, "/") };
        *ret = h;
        return 0;
}

void host_free(struct host *h) {
        if (!h)
                return;
        cleanup_closep(&h->fd);
        free(h->root);
        free(h);
}

bool host_captured(const struct host *h) {
        return h->captured;
}

int host_captured_caps(const struct host *h, char **ret, struct error *err) {
        if (!h->captured)
                return error_set(err, -ENOENT, "this is no captured host");
        int r = host_read(h, "/vore/qemu-caps", ret);
        if (r < 0)
                return error_errno(err, r, "the captured host %s has no vore/qemu-caps", h->root);
        return 0;
}

static int open_in_root(int root, const char *path, int flags) {
        struct open_how how = { .flags = (unsigned) (flags | O_CLOEXEC), .resolve = RESOLVE_IN_ROOT };

        /* EAGAIN: something was renamed meanwhile and the kernel cannot tell that ".." stayed inside. */
        for (int tries = 0;; tries++) {
                long fd = syscall(SYS_openat2, root, path, &how, sizeof(how));

                if (fd >= 0)
                        return (int) fd;
                if (errno != EAGAIN || tries == 16)
                        return -errno;
        }
}

int host_fd(const struct host *h, const char *path, int flags) {
        if (h->captured)
                return open_in_root(h->fd, path, flags);
        int fd = open(path, flags | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

int host_read(const struct host *h, const char *path, char **ret) {
        _cleanup_close_ int fd = host_fd(h, path, O_RDONLY | O_NOCTTY | O_NONBLOCK);

        return fd < 0 ? fd : file_read_fd(fd, READ_MAX, ret, NULL, NULL);
}

int host_read_line(const struct host *h, const char *path, char **ret) {
        _cleanup_close_ int fd = host_fd(h, path, O_RDONLY | O_NOCTTY | O_NONBLOCK);
        _cleanup_free_ char *text = NULL;

        if (fd < 0)
                return fd;
        int r = file_read_fd(fd, 4095, &text, NULL, NULL);
        if (r < 0)
                return r;
        text[strcspn(text, "\n")] = '\0';
        *ret = TAKE_PTR(text);
        return 0;
}

int host_read_int(const struct host *h, const char *path, long long *ret) {
        _cleanup_free_ char *line = NULL;
        int r = host_read_line(h, path, &line);

        return r < 0 ? r : str_to_int(line, LLONG_MIN, LLONG_MAX, ret);
}

int host_readlink(const struct host *h, const char *path, char **ret) {
        _cleanup_close_ int fd = host_fd(h, path, O_PATH | O_NOFOLLOW);
        char target[PATH_MAX];

        if (fd < 0)
                return fd;
        ssize_t n = readlinkat(fd, "", target, sizeof(target) - 1);
        if (n < 0)
                return errno == ENOENT ? -EINVAL : -errno; /* an empty path names fd: it is no link */
        target[n] = '\0';
        *ret = xstrdup(target);
        return 0;
}

int host_realpath(const struct host *h, const char *path, char **ret) {
        _cleanup_close_ int fd = host_fd(h, path, O_PATH);
        char target[PATH_MAX], link[64];

        if (fd < 0)
                return fd;
        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        ssize_t n = readlink(link, target, sizeof(target) - 1);
        if (n < 0)
                return -errno;
        target[n] = '\0';
        size_t root = h->captured ? strlen(h->root) : 0;
        if (strncmp(target, h->root, root) != 0)
                return -EXDEV;
        *ret = xstrdup(target[root] ? target + root : "/");
        return 0;
}

static int name_compare(const void *a, const void *b) {
        return strcmp(*(char *const *) a, *(char *const *) b);
}

int host_names(const struct host *h, const char *path, struct host_names *ret) {
        struct host_names names = { 0 };
        struct dirent *e;
        int fd = host_fd(h, path, O_RDONLY | O_DIRECTORY);

        if (fd < 0)
                return fd;
        DIR *dir = fdopendir(fd);
        if (!dir) {
                int r = -errno;
                close(fd);
                return r;
        }
        while (names.n < NAMES_MAX && (e = readdir(dir))) {
                if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
                        continue;
                if (names.n % 64 == 0)
                        names.items = xrealloc(names.items, names.n + 64, sizeof(char *));
                names.items[names.n++] = xstrdup(e->d_name);
        }
        closedir(dir);
        if (names.n > 0)
                qsort(names.items, names.n, sizeof(char *), name_compare);
        *ret = names;
        return 0;
}

void host_names_done(struct host_names *names) {
        for (size_t i = 0; i < names->n; i++)
                free(names->items[i]);
        free(names->items);
        *names = (struct host_names){ 0 };
}

static char node_type(mode_t mode) {
        return S_ISDIR(mode)  ? 'd' :
               S_ISBLK(mode)  ? 'b' :
               S_ISCHR(mode)  ? 'c' :
               S_ISSOCK(mode) ? 's' :
               S_ISFIFO(mode) ? 'p' :
                                'f';
}

/* The fields of a line of vore/nodes, if it is about path (with spaces written \040). */
static bool node_line(const char *line, const char *path, struct host_node *node) {
        unsigned mode, uid, gid, major_nr, minor_nr;
        char type, access[3];
        size_t n = strlen(path);

        if (strncmp(line, path, n) != 0 || line[n] != ' ')
                return false;
        if (sscanf(line + n, " %c %o %u %u %u:%u %2s", &type, &mode, &uid, &gid, &major_nr, &minor_nr,
                   access) != 7 ||
            !strchr("bcsp", type))
                return false;
        node->type = type;
        node->mode = mode & 07777;
        node->uid = uid;
        node->gid = gid;
        node->rdev = makedev(major_nr, minor_nr);
        node->readable = strchr(access, 'r');
        node->writable = strchr(access, 'w');
        return true;
}

static char *escape_spaces(const char *path) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

        for (; *path; path++)
                if (*path == ' ')
                        strbuf_add(&b, "\\040");
                else
                        strbuf_addn(&b, path, 1);
        return strbuf_take(&b);
}

static void node_from_list(const struct host *h, const char *path, struct host_node *node) {
        _cleanup_free_ char *text = NULL, *real = NULL, *escaped = NULL;

        if (host_realpath(h, path, &real) < 0 || host_read(h, "/vore/nodes", &text) < 0)
                return;
        escaped = escape_spaces(real);
        for (const char *line = text; line && *line;) {
                if (node_line(line, escaped, node))
                        return;
                line = strchr(line, '\n');
                if (line)
                        line++;
        }
}

int host_node(const struct host *h, const char *path, struct host_node *ret) {
        _cleanup_close_ int fd = host_fd(h, path, O_PATH);
        struct stat st;
        char link[64];

        if (fd < 0)
                return fd;
        if (fstat(fd, &st) < 0)
                return -errno;
        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        struct host_node node = {
                .type = node_type(st.st_mode),
                .mode = st.st_mode & 07777,
                .uid = st.st_uid,
                .gid = st.st_gid,
                .rdev = st.st_rdev,
                .dev = st.st_dev,
                .ino = st.st_ino,
                .size = S_ISREG(st.st_mode) ? (uint64_t) st.st_size : 0,
                .readable = faccessat(AT_FDCWD, link, R_OK, AT_EACCESS) == 0,
                .writable = faccessat(AT_FDCWD, link, W_OK, AT_EACCESS) == 0,
        };
        if (h->captured && node.type == 'f') {
                /* Whoever replays the tree is not who captured it. */
                node.readable = node.mode & 0444;
                node.writable = node.mode & 0222;
                node_from_list(h, path, &node);
        }
        *ret = node;
        return 0;
}
