#include "host/host.h"

#include "base/str.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

/* What uname says where QEMU has another name. */
static const struct {
        const char *machine, *arch;
} arch_names[] = {
        { "i486", "i386" },     { "i586", "i386" },   { "i686", "i386" },     { "amd64", "x86_64" },
        { "arm64", "aarch64" }, { "armv6l", "arm" },  { "armv7l", "arm" },    { "armv8l", "arm" },
        { "ppc64le", "ppc64" }, { "parisc", "hppa" }, { "parisc64", "hppa" },
};

int host_arch(const struct host *h, char **ret) {
        _cleanup_free_ char *machine = NULL;
        struct utsname u;

        if (host_captured(h)) {
                int r = host_read_line(h, "/vore/machine", &machine);
                if (r < 0)
                        return r;
        } else if (uname(&u) < 0)
                return -errno;
        else
                machine = xstrdup(u.machine);

        for (size_t i = 0; i < ARRAY_SIZE(arch_names); i++)
                if (str_eq(machine, arch_names[i].machine)) {
                        *ret = xstrdup(arch_names[i].arch);
                        return 0;
                }
        *ret = TAKE_PTR(machine);
        return 0;
}

int host_machine_id(const struct host *h, char ret[static 33]) {
        static const char *const places[] = { "/etc/machine-id", "/var/lib/dbus/machine-id" };

        for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
                _cleanup_free_ char *line = NULL;

                if (host_read_line(h, places[i], &line) < 0)
                        continue;
                if (strlen(line) != 32 || line[strspn(line, "0123456789abcdefABCDEF")])
                        continue;
                for (size_t j = 0; j <= 32; j++)
                        ret[j] = (char) tolower((unsigned char) line[j]);
                return 0;
        }
        return -ENOENT;
}

/* "MemTotal:       16384 kB" in bytes. */
static int meminfo_get(const char *text, const char *name, uint64_t *ret) {
        size_t n = strlen(name);

        for (const char *line = text; line && *line; line = strchr(line, '\n')) {
                unsigned long long kib;

                line += *line == '\n';
                if (strncmp(line, name, n) != 0 || line[n] != ':')
                        continue;
                if (sscanf(line + n + 1, " %llu", &kib) != 1 || kib > UINT64_MAX / 1024)
                        return -EBADMSG;
                *ret = kib * 1024;
                return 0;
        }
        return -ENOENT;
}

static int hugepages_compare(const void *a, const void *b) {
        const struct host_hugepages *x = a, *y = b;

        return x->size < y->size ? -1 : x->size > y->size;
}

static void read_hugepages(const struct host *h, struct host_memory *m) {
        static const char folder[] = "/sys/kernel/mm/hugepages";
        _cleanup_host_names_ struct host_names names = { 0 };

        if (host_names(h, folder, &names) < 0)
                return;
        for (size_t i = 0; i < names.n && m->n_hugepages < HOST_HUGEPAGES_MAX; i++) {
                _cleanup_free_ char *total_path = xasprintf("%s/%s/nr_hugepages", folder, names.items[i]);
                _cleanup_free_ char *free_path = xasprintf("%s/%s/free_hugepages", folder, names.items[i]);
                unsigned long long kib;
                long long total = 0, unused = 0;

                if (sscanf(names.items[i], "hugepages-%llukB", &kib) != 1 || kib == 0 ||
                    kib > INT64_MAX / 1024)
                        continue;
                if (host_read_int(h, total_path, &total) < 0 || host_read_int(h, free_path, &unused) < 0)
                        continue;
                m->hugepages[m->n_hugepages++] = (struct host_hugepages){
                        .size = kib * 1024,
                        .total = (uint64_t) MAX(total, 0),
                        .free = (uint64_t) MAX(unused, 0),
                };
        }
        qsort(m->hugepages, m->n_hugepages, sizeof(m->hugepages[0]), hugepages_compare);
}

int host_memory(const struct host *h, struct host_memory *ret, struct error *err) {
        struct host_memory m = { .page_size = (uint64_t) sysconf(_SC_PAGESIZE) };
        _cleanup_free_ char *text = NULL;

        int r = host_read(h, "/proc/meminfo", &text);
        if (r < 0)
                return error_errno(err, r, "cannot read /proc/meminfo");
        r = meminfo_get(text, "MemTotal", &m.total);
        if (r < 0)
                return error_set(err, r, "/proc/meminfo has no MemTotal");
        if (meminfo_get(text, "MemAvailable", &m.available) < 0)
                m.available = m.total;
        read_hugepages(h, &m);
        *ret = m;
        return 0;
}

static bool executable(const struct host *h, const char *path) {
        struct host_node node;

        return host_node(h, path, &node) == 0 && node.type == 'f' && (node.mode & 0111);
}

int host_program(const struct host *h, const char *name, char **ret) {
        const char *folders = host_captured(h) ? NULL : getenv("PATH");

        if (strchr(name, '/')) {
                if (!executable(h, name))
                        return -ENOENT;
                *ret = xstrdup(name);
                return 0;
        }
        if (str_empty(folders))
                folders = "/usr/local/bin:/usr/bin:/bin";
        while (*folders) {
                size_t n = strcspn(folders, ":");
                _cleanup_free_ char *path = xasprintf("%.*s/%s", (int) n, folders, name);

                /* Relative folders of $PATH depend on where somebody stands: not for a daemon. */
                if (*path == '/' && n > 0 && executable(h, path)) {
                        *ret = TAKE_PTR(path);
                        return 0;
                }
                folders += n + (folders[n] == ':');
        }
        return -ENOENT;
}

int host_qemu(const struct host *h, const char *binary, const char *arch, char **ret, struct error *err) {
        _cleanup_free_ char *name = str_empty(binary) ? xasprintf("qemu-system-%s", arch) : xstrdup(binary);
        int r = host_program(h, name, ret);

        if (r < 0 && strchr(name, '/'))
                return error_set(err, r, "%s is not there or not executable", name);
        if (r < 0)
                return error_set(err, r, "%s is not in PATH", name);
        return 0;
}
