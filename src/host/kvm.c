#include "host/host.h"

#include "base/str.h"

#include <errno.h>
#include <fcntl.h>

struct verdict {
        struct arena *arena;
        const char *why, *hint;
};

static bool is_x86(const char *arch) {
        return str_eq(arch, "x86_64") || str_eq(arch, "i386");
}

/* KVM runs the host's own architecture, and 32-bit x86 on 64-bit x86. */
static bool arch_fits(const struct host *h, const char *arch, struct verdict *v) {
        _cleanup_free_ char *own = NULL;

        if (host_arch(h, &own) < 0 || str_eq(own, arch) || (is_x86(own) && str_eq(arch, "i386")))
                return true;
        v->why = arena_printf(v->arena, "this host is %s and cannot run %s guests by KVM", own, arch);
        return false;
}

/* LAB: machines whose /dev/kvm opens although the CPU shows no virtualization let guests hang. */
static bool cpu_fits(const struct host *h, const char *arch, struct verdict *v) {
        _cleanup_host_cpu_kind_ struct host_cpu_kind cpu = { 0 };

        if (!is_x86(arch))
                return true;
        if (host_cpu_kind(h, &cpu, NULL) == 0 && (host_cpu_flag(&cpu, "vmx") || host_cpu_flag(&cpu, "svm")))
                return true;
        v->why = "this host's CPU shows neither vmx nor svm";
        v->hint = host_cpu_flag(&cpu, "hypervisor") ?
                          "this host is a virtual machine itself: turn on nested virtualization outside" :
                          "turn on VT-x (Intel) or SVM (AMD) in the machine's firmware setup";
        return false;
}

static const char *module_of(const struct host *h) {
        _cleanup_host_cpu_kind_ struct host_cpu_kind cpu = { 0 };

        if (host_cpu_kind(h, &cpu, NULL) < 0)
                return "kvm";
        return host_cpu_flag(&cpu, "svm") ? "kvm_amd" : host_cpu_flag(&cpu, "vmx") ? "kvm_intel" : "kvm";
}

static int try_open(const struct host *h) {
        if (host_captured(h)) {
                struct host_node node;
                int r = host_node(h, "/dev/kvm", &node);

                return r < 0 ? r : node.type != 'c' ? -ENODEV : node.readable && node.writable ? 0 : -EACCES;
        }
        _cleanup_close_ int fd = host_fd(h, "/dev/kvm", O_RDWR);
        return fd < 0 ? fd : 0;
}

static bool node_opens(const struct host *h, struct verdict *v) {
        int r = try_open(h);

        if (r == 0)
                return true;
        if (r == -ENOENT) {
                v->why = "/dev/kvm does not exist";
                v->hint = arena_printf(v->arena, "load the kernel module: modprobe %s", module_of(h));
        } else if (r == -EACCES || r == -EPERM) {
                v->why = "/dev/kvm may not be opened by this user";
                v->hint = "join the group that owns it (ls -l /dev/kvm; usually: usermod -aG kvm USER), and "
                          "log in "
                          "again";
        } else
                v->why = arena_printf(v->arena, "/dev/kvm cannot be opened: %s", strerror(-r));
        return false;
}

bool host_kvm(const struct host *h, const char *arch, struct arena *arena, const char **ret_why,
              const char **ret_hint) {
        struct verdict v = { .arena = arena };
        bool usable = arch_fits(h, arch, &v) && cpu_fits(h, arch, &v) && node_opens(h, &v);

        *ret_why = v.why;
        *ret_hint = v.hint;
        return usable;
}
