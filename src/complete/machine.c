#include "complete/fill.h"

#include <fnmatch.h>

/* Machine types per architecture: what the name must look like, and what stands for "not given". The version
 * behind it is QEMU's business. */
static const struct {
        const char *arch;
        const char *fallback;
        const char *globs[5];
        const char *package; /* Debian's */
} arches[] = {
        { "x86_64", "q35", { "q35", "pc", "pc-q35-*", "pc-i440fx-*" }, "qemu-system-x86" },
        { "i386", "q35", { "q35", "pc", "pc-q35-*", "pc-i440fx-*" }, "qemu-system-x86" },
        { "aarch64", "virt", { "virt", "virt-*" }, "qemu-system-arm" },
        { "arm", "virt", { "virt", "virt-*" }, "qemu-system-arm" },
        { "riscv64", "virt", { "virt", "virt-*" }, "qemu-system-misc" },
        { "ppc64", "pseries", { "pseries", "pseries-*", "powernv*" }, "qemu-system-ppc" },
        { "s390x", "s390-ccw-virtio", { "s390-ccw-virtio", "s390-ccw-virtio-*" }, "qemu-system-misc" },
};

static size_t find_arch(const char *arch) {
        size_t i = 0;

        while (i < ARRAY_SIZE(arches) && !str_eq(arches[i].arch, arch))
                i++;
        return i;
}

static void fill_arch(struct fill *f) {
        struct def_machine *m = &f->def->machine;
        _cleanup_free_ char *own = NULL;

        if (!str_empty(m->arch))
                return;
        if (host_arch(f->req->host, &own) < 0) {
                FILL_ERROR(f, m, arch, "arch", "write arch = \"x86_64\" under [machine]",
                           "this host does not say what architecture it has");
                own = xstrdup("x86_64");
        }
        m->arch = arena_strdup(f->arena, own);
        DEF_MARK(m, arch, ORIGIN_HOST, "uname");
}

static void fill_chipset(struct fill *f) {
        struct def_machine *m = &f->def->machine;
        size_t i = find_arch(m->arch);

        if (i == ARRAY_SIZE(arches))
                return; /* QEMU may know it; the binary's absence is told otherwise */
        if (!DEF_GIVEN(m, chipset) || str_empty(m->chipset)) {
                m->chipset = arches[i].fallback;
                DEF_MARK(m, chipset, ORIGIN_DEFAULT, NULL);
                return;
        }
        for (size_t k = 0; arches[i].globs[k]; k++)
                if (fnmatch(arches[i].globs[k], m->chipset, 0) == 0)
                        return;
        _cleanup_strbuf_ struct strbuf known = STRBUF_INIT;
        for (size_t k = 0; arches[i].globs[k]; k++)
                strbuf_addf(&known, "%s%s", k ? ", " : "", arches[i].globs[k]);
        FILL_ERROR(f, m, chipset, "chipset", NULL, "\"%s\" is no machine type for %s: allowed are %s",
                   m->chipset, m->arch, known.data);
}

/* What was chosen for the host's own architecture does not run another one. */
static bool qemu_chosen(struct fill *f) {
        const struct settings *s = f->req->settings;
        _cleanup_free_ char *own = NULL;

        if (!f->req->qemu_binary)
                return false;
        return (s && s->qemu.binary) || host_arch(f->req->host, &own) < 0 ||
               str_eq(own, f->def->machine.arch);
}

static void check_qemu(struct fill *f) {
        struct def_machine *m = &f->def->machine;
        const struct settings *s = f->req->settings;
        const char *binary = s ? s->qemu.binary : NULL, *hint = "correct binary under [qemu] in vored.toml";
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_free_ char *found = NULL;
        size_t i = find_arch(m->arch);

        if (qemu_chosen(f) || host_qemu(f->req->host, binary, m->arch, &found, &err) == 0)
                return;
        if (!binary)
                hint = arena_printf(
                        f->arena,
                        "install QEMU (Debian's package is %s), or set binary under [qemu] in vored.toml",
                        i < ARRAY_SIZE(arches) ? arches[i].package : "qemu-system");
        FILL_ERROR(f, m, arch, "arch", hint, "no QEMU for %s on this host: %s", m->arch, error_text(&err));
}

static void fill_uuid(struct fill *f) {
        struct def_machine *m = &f->def->machine;
        char id[33] = "", uuid[37];

        if (!str_empty(m->uuid) || str_empty(m->name))
                return;
        bool known = host_machine_id(f->req->host, id) == 0;
        complete_uuid(id, m->name, uuid);
        m->uuid = arena_strdup(f->arena, uuid);
        DEF_MARK(m, uuid, ORIGIN_HOST,
                 known ? "/etc/machine-id and the name" : "the name (no /etc/machine-id)");
}

void fill_machine(struct fill *f) {
        fill_arch(f);
        fill_chipset(f);
        check_qemu(f);
        fill_uuid(f);
}

void fill_kvm(struct fill *f) {
        struct def_machine *m = &f->def->machine;
        bool usable = host_kvm(f->req->host, m->arch, f->arena, &f->kvm_why, &f->kvm_hint);

        if (m->kvm == TRI_FALSE)
                return;
        if (m->kvm == TRI_TRUE) {
                if (!usable)
                        FILL_ERROR(f, m, kvm, "kvm",
                                   f->kvm_hint ? f->kvm_hint :
                                                 "write kvm = \"auto\" to go on without it, much slower",
                                   "KVM is not usable: %s", f->kvm_why);
                return;
        }
        m->kvm = usable ? TRI_TRUE : TRI_FALSE;
        DEF_MARK(m, kvm, ORIGIN_HOST, usable ? "/dev/kvm" : f->kvm_why);
        if (usable)
                return;
        if (f->def->n_vfio > 0)
                FILL_ERROR(f, m, kvm, "kvm",
                           f->kvm_hint ? f->kvm_hint :
                                         "write kvm = false to pass devices to an emulated machine",
                           "passing devices needs KVM, which is not usable: %s", f->kvm_why);
        else
                FILL_WARNING(f, m, kvm, "kvm",
                             f->kvm_hint ? f->kvm_hint : "write kvm = false to say that it is meant so",
                             "KVM is not usable: %s; the CPU will be emulated (TCG), which is much slower",
                             f->kvm_why);
}

void fill_clock(struct fill *f) {
        struct def_machine *m = &f->def->machine;
        bool windows = f->def->cpu.hyperv == TRI_TRUE || f->asks_hyperv;

        if (!str_empty(m->rtc))
                return;
        m->rtc = windows ? "localtime" : "utc";
        DEF_MARK(m, rtc, ORIGIN_DEFAULT, windows ? "cpu.hyperv" : NULL);
}

static const char *gib(struct arena *arena, uint64_t bytes) {
        return arena_printf(arena, "%.1f GiB", (double) bytes / (1024.0 * 1024 * 1024));
}

void fill_memory(struct fill *f) {
        struct def_machine *m = &f->def->machine;
        struct host_memory host;
        uint64_t used = f->req->memory_used;

        if (host_memory(f->req->host, &host, NULL) < 0)
                return;
        if (m->memory > host.total)
                FILL_WARNING(f, m, memory, "memory", NULL, "%s is more than this host has (%s)",
                             gib(f->arena, m->memory), gib(f->arena, host.total));
        else if (used > host.total - m->memory)
                FILL_WARNING(f, m, memory, "memory", NULL,
                             "%s, beside the %s that running machines have, is more than this host has (%s)",
                             gib(f->arena, m->memory), gib(f->arena, used), gib(f->arena, host.total));
}
