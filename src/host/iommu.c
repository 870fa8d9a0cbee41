#include "host/iommu.h"

#include "base/str.h"
#include "host/pci.h"

#include <errno.h>
#include <limits.h>
#include <sys/utsname.h>

#define GROUPS "/sys/kernel/iommu_groups"

static int member_compare(const void *a, const void *b) {
        return host_pci_compare(*(const char *const *) a, *(const char *const *) b);
}

int host_iommu_group(const struct host *h, int number, struct arena *arena, struct host_iommu_group *ret) {
        _cleanup_free_ char *path = xasprintf(GROUPS "/%d/devices", number);
        _cleanup_host_names_ struct host_names names = { 0 };
        struct host_iommu_group group = { .number = number };
        int r = host_names(h, path, &names);

        if (r < 0)
                return r;
        group.members = arena_new0(arena, const char *, names.n + 1);
        for (size_t i = 0; i < names.n; i++) /* a group may hold platform devices too */
                if (host_pci_is_address(names.items[i]))
                        group.members[group.n_members++] = arena_strdup(arena, names.items[i]);
        qsort(group.members, group.n_members, sizeof(*group.members), member_compare);
        *ret = group;
        return 0;
}

static int group_compare(const void *a, const void *b) {
        return ((const struct host_iommu_group *) a)->number - ((const struct host_iommu_group *) b)->number;
}

int host_iommu_groups(const struct host *h, struct arena *arena, struct host_iommu_group **ret, size_t *ret_n,
                      struct error *err) {
        _cleanup_host_names_ struct host_names names = { 0 };
        int r = host_names(h, GROUPS, &names);
        size_t n = 0;

        if (r < 0 && r != -ENOENT)
                return error_errno(err, r, "cannot read " GROUPS);
        struct host_iommu_group *groups = arena_new0(arena, struct host_iommu_group, names.n + 1);
        for (size_t i = 0; i < names.n; i++) {
                long long number;

                if (str_to_int(names.items[i], 0, INT_MAX, &number) == 0 &&
                    host_iommu_group(h, (int) number, arena, &groups[n]) == 0)
                        n++;
        }
        qsort(groups, n, sizeof(*groups), group_compare);
        *ret = groups;
        *ret_n = n;
        return 0;
}

static bool there(const struct host *h, const char *path) {
        struct host_node node;

        return host_node(h, path, &node) == 0;
}

/* The parameter as a whole word, such as "iommu=off"; of a list of values ("iommu=on,sm_on") each. */
static bool parameter(const struct host *h, const char *name, const char *value) {
        _cleanup_free_ char *line = NULL;
        char *rest = NULL, *inner = NULL;
        size_t n = strlen(name);

        if (host_read_line(h, "/proc/cmdline", &line) < 0)
                return false;
        for (char *word = strtok_r(line, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
                if (!str_starts(word, name) || word[n] != '=')
                        continue;
                for (char *v = strtok_r(word + n + 1, ",", &inner); v; v = strtok_r(NULL, ",", &inner))
                        if (str_eq(v, value))
                                return true;
        }
        return false;
}

/* Intel's IOMMU is off unless asked for in many kernels, AMD's is on. The ACPI tables are there when the
 * firmware has switched it on. */
static const char *hint_intel(const struct host *h) {
        if (parameter(h, "intel_iommu", "off"))
                return "take intel_iommu=off out of the kernel's parameters, and put intel_iommu=on there";
        if (parameter(h, "intel_iommu", "on"))
                return "the kernel is told intel_iommu=on: turn on VT-d in the machine's firmware setup";
        if (there(h, "/sys/firmware/acpi/tables/DMAR"))
                return "add intel_iommu=on to the kernel's parameters";
        return "turn on VT-d in the machine's firmware setup, and add intel_iommu=on to the kernel's "
               "parameters";
}

static const char *hint_amd(const struct host *h) {
        if (parameter(h, "amd_iommu", "off"))
                return "take amd_iommu=off out of the kernel's parameters";
        return "turn on IOMMU (AMD-Vi; often under AMD CBS, NBIO) in the machine's firmware setup";
}

static const char *hint_for(const struct host *h) {
        _cleanup_host_cpu_kind_ struct host_cpu_kind cpu = { 0 };

        if (parameter(h, "iommu", "off"))
                return "take iommu=off out of the kernel's parameters";
        if (host_cpu_kind(h, &cpu, NULL) < 0)
                return NULL;
        if (host_cpu_flag(&cpu, "hypervisor"))
                return "this host is a virtual machine itself: it needs a virtual IOMMU from outside";
        if (str_eq(cpu.vendor, "GenuineIntel"))
                return hint_intel(h);
        return str_eq(cpu.vendor, "AuthenticAMD") ? hint_amd(h) : NULL;
}

bool host_iommu(const struct host *h, struct arena *arena, const char **ret_why, const char **ret_hint) {
        _cleanup_host_names_ struct host_names names = { 0 };

        if (host_names(h, GROUPS, &names) == 0 && names.n > 0)
                return true;
        *ret_why = "this host has no IOMMU groups: its IOMMU is off or missing";
        *ret_hint = hint_for(h);
        return false;
}

static bool file_names(const struct host *h, const char *release, const char *file) {
        _cleanup_free_ char *path = xasprintf("/lib/modules/%s/%s", release, file), *text = NULL;

        return host_read(h, path, &text) == 0 &&
               (strstr(text, "/vfio-pci.ko") || strstr(text, "/vfio_pci.ko"));
}

bool host_iommu_vfio(const struct host *h, struct arena *arena, const char **ret_why, const char **ret_hint) {
        struct utsname u;

        if (there(h, "/sys/bus/pci/drivers/vfio-pci") || host_captured(h) || uname(&u) < 0 ||
            file_names(h, u.release, "modules.dep") || file_names(h, u.release, "modules.builtin"))
                return true;
        *ret_why = arena_printf(arena, "the running kernel %s has no vfio-pci", u.release);
        *ret_hint = there(h, "/lib/modules") ?
                            "reboot if the kernel was updated since the start, else install the "
                            "kernel's modules (CONFIG_VFIO_PCI)" :
                            NULL;
        return false;
}
