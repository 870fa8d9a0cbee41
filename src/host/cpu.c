#include "host/host.h"

#include "base/str.h"

#include <ctype.h>
#include <errno.h>

enum { CPU_MAX = 8192 };

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
static void count_processors(const char *cpuinfo, int **ret, size_t *ret_n) {
        _cleanup_free_ int *list = xcalloc(CPU_MAX, sizeof(int));
        size_t n = 0;

        for (const char *line = cpuinfo; line && *line && n < CPU_MAX; line = strchr(line, '\n')) {
                line += *line == '\n';
                if (str_starts(line, "processor")) {
                        list[n] = (int) n;
                        n++;
                }
        }
        *ret = TAKE_PTR(list);
        *ret_n = n;
}

int host_cpus(const struct host *h, struct host_cpus *ret, struct error *err) {
        _cleanup_free_ char *text = NULL, *online = NULL;
        _cleanup_free_ int *ids = NULL;
        size_t n = 0;

        int r = host_read(h, "/proc/cpuinfo", &text);
        if (r < 0 && r != -EFBIG)
                return error_errno(err, r, "cannot read /proc/cpuinfo");
        if (!text)
                text = xstrdup("");
        if (host_read_line(h, "/sys/devices/system/cpu/online", &online) < 0 ||
            host_cpu_list(online, &ids, &n) < 0)
                count_processors(text, &ids, &n);
        if (n == 0)
                return error_set(err, -EBADMSG, "neither sysfs nor /proc/cpuinfo names a CPU");

        struct host_cpus cpus = { .items = xcalloc(n, sizeof(struct host_cpu)), .n = n };
        for (size_t i = 0; i < n; i++)
                cpus.items[i] = (struct host_cpu){
                        .id = ids[i],
                        .package = topology_int(h, ids[i], "physical_package_id"),
                        .die = topology_int(h, ids[i], "die_id"),
                        .core = topology_int(h, ids[i], "core_id"),
                };
        cpus.vendor = cpuinfo_get(text, "vendor_id");
        cpus.model = cpuinfo_get(text, "model name");
        _cleanup_free_ char *flags = cpuinfo_get(text, "flags");
        cpus.flags = flags ? xasprintf(" %s ", flags) : xstrdup("");
        *ret = cpus;
        return 0;
}

bool host_cpus_flag(const struct host_cpus *cpus, const char *flag) {
        _cleanup_free_ char *word = xasprintf(" %s ", flag);

        return strstr(cpus->flags, word);
}

void host_cpus_done(struct host_cpus *cpus) {
        free(cpus->items);
        free(cpus->vendor);
        free(cpus->model);
        free(cpus->flags);
        *cpus = (struct host_cpus){ 0 };
}
