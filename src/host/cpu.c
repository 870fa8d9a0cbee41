#include "host/host.h"

#include "base/str.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { CPU_MAX = 8192, BLOCK_MAX = 16384 };

static int int_compare(const void *a, const void *b) {
        return *(const int *) a - *(const int *) b;
}

/* "3" or "0-7" at *p, which moves past it and a comma. */
static int next_range(const char **p, long *first, long *last) {
        char *end;

        if (!isdigit((unsigned char) **p))
                return -EINVAL;
        *first = *last = strtol(*p, &end, 10);
        if (*end == '-') {
                if (!isdigit((unsigned char) end[1]))
                        return -EINVAL;
                *last = strtol(end + 1, &end, 10);
        }
        if (*last < *first || *last >= CPU_MAX || (*end && *end != ',') || (*end == ',' && !end[1]))
                return -EINVAL;
        *p = end + (*end == ',');
        return 0;
}

int host_cpu_list(const char *text, int **ret, size_t *ret_n) {
        _cleanup_free_ bool *seen = xcalloc(CPU_MAX, sizeof(bool));
        _cleanup_free_ int *list = xcalloc(CPU_MAX, sizeof(int));
        size_t n = 0;

        while (*text) {
                long first, last;
                int r = next_range(&text, &first, &last);

                if (r < 0)
                        return r;
                for (long i = first; i <= last; i++)
                        if (!seen[i]) {
                                seen[i] = true;
                                list[n++] = (int) i;
                        }
        }
        qsort(list, n, sizeof(int), int_compare);
        *ret = TAKE_PTR(list);
        *ret_n = n;
        return 0;
}

/* The value of "NAME\t: value" in cpuinfo's first block that has it, or NULL. */
static char *cpuinfo_get(const char *text, const char *name) {
        size_t n = strlen(name);

        for (const char *line = text; line && *line; line = strchr(line, '\n')) {
                line += *line == '\n';
                if (strncmp(line, name, n) != 0)
                        continue;
                const char *p = line + n + strspn(line + n, " \t");
                if (*p != ':')
                        continue;
                p++;
                p += strspn(p, " \t");
                char *value = xstrdup(p);
                value[strcspn(value, "\n")] = '\0';
                return value;
        }
        return NULL;
}

static int topology_int(const struct host *h, int cpu, const char *name) {
        _cleanup_free_ char *path = xasprintf("/sys/devices/system/cpu/cpu%d/topology/%s", cpu, name);
        long long v;

        if (host_read_int(h, path, &v) < 0 || v < 0 || v > INT32_MAX)
                return -1;
        return (int) v;
}

/* Without sysfs: as many as cpuinfo has "processor" lines. */
static int count_processors(const struct host *h, int **ret, size_t *ret_n) {
        _cleanup_free_ int *list = xcalloc(CPU_MAX, sizeof(int));
        _cleanup_free_ char *text = NULL;
        size_t n = 0;
        int r = host_read(h, "/proc/cpuinfo", &text);

        if (r < 0)
                return r;
        for (const char *line = text; line && *line && n < CPU_MAX; line = strchr(line, '\n')) {
                line += *line == '\n';
                if (str_starts(line, "processor")) {
                        list[n] = (int) n;
                        n++;
                }
        }
        if (n == 0)
                return -EBADMSG;
        *ret = TAKE_PTR(list);
        *ret_n = n;
        return 0;
}

int host_cpus_online(const struct host *h, int **ret, size_t *ret_n, struct error *err) {
        _cleanup_free_ char *online = NULL;

        if (host_read_line(h, "/sys/devices/system/cpu/online", &online) == 0 && *online &&
            host_cpu_list(online, ret, ret_n) == 0)
                return 0;
        int r = count_processors(h, ret, ret_n);
        if (r < 0)
                return error_set(err, r, "neither sysfs nor /proc/cpuinfo names a CPU");
        return 0;
}

int host_cpus(const struct host *h, struct host_cpu **ret, size_t *ret_n, struct error *err) {
        _cleanup_free_ int *ids = NULL;
        size_t n = 0;
        int r = host_cpus_online(h, &ids, &n, err);

        if (r < 0)
                return r;
        struct host_cpu *cpus = xcalloc(n, sizeof(*cpus));
        for (size_t i = 0; i < n; i++)
                cpus[i] = (struct host_cpu){
                        .id = ids[i],
                        .package = topology_int(h, ids[i], "physical_package_id"),
                        .die = topology_int(h, ids[i], "die_id"),
                        .core = topology_int(h, ids[i], "core_id"),
                };
        *ret = cpus;
        *ret_n = n;
        return 0;
}

/* The block of the first CPU, up to its empty line. */
static int read_first_block(const struct host *h, char text[static BLOCK_MAX]) {
        _cleanup_close_ int fd = host_fd(h, "/proc/cpuinfo", O_RDONLY);
        size_t len = 0;

        if (fd < 0)
                return fd;
        for (;;) {
                ssize_t n = read(fd, text + len, BLOCK_MAX - 1 - len);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                len += (size_t) n;
                text[len] = '\0';
                char *end = strstr(text, "\n\n");
                if (end)
                        end[1] = '\0';
                if (end || n == 0 || len == BLOCK_MAX - 1)
                        return 0;
        }
}

int host_cpu_kind(const struct host *h, struct host_cpu_kind *ret, struct error *err) {
        char text[BLOCK_MAX];
        int r = read_first_block(h, text);

        if (r < 0)
                return error_errno(err, r, "cannot read /proc/cpuinfo");
        _cleanup_free_ char *flags = cpuinfo_get(text, "flags");
        *ret = (struct host_cpu_kind){
                .vendor = cpuinfo_get(text, "vendor_id"),
                .model = cpuinfo_get(text, "model name"),
                .flags = flags ? xasprintf(" %s ", flags) : xstrdup(""),
        };
        return 0;
}

bool host_cpu_flag(const struct host_cpu_kind *kind, const char *flag) {
        _cleanup_free_ char *word = xasprintf(" %s ", flag);

        return kind->flags && strstr(kind->flags, word);
}

void host_cpu_kind_done(struct host_cpu_kind *kind) {
        free(kind->vendor);
        free(kind->model);
        free(kind->flags);
        *kind = (struct host_cpu_kind){ 0 };
}
