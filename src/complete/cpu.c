#include "complete/fill.h"

static bool is_x86(const char *arch) {
        return str_eq(arch, "x86_64") || str_eq(arch, "i386");
}

static void fill_model(struct fill *f) {
        struct def_cpu *c = &f->def->cpu;
        bool kvm = f->def->machine.kvm == TRI_TRUE;

        if (str_empty(c->model)) {
                c->model = kvm ? "host" : "max";
                DEF_MARK(c, model, ORIGIN_HOST, kvm ? "KVM" : "no KVM");
        } else if (str_eq(c->model, "host") && !kvm)
                FILL_ERROR(f, c, model, "model", "leave model out, or write model = \"max\"",
                           "\"host\" needs KVM, which this machine does not get");
}

/* Hyper-V's interfaces are KVM's: QEMU 7.2 refuses them under TCG. */
static void fill_hyperv(struct fill *f) {
        struct def_cpu *c = &f->def->cpu;
        bool possible = f->def->machine.kvm == TRI_TRUE && is_x86(f->def->machine.arch);
        bool given = c->hyperv == TRI_TRUE || c->hyperv == TRI_FALSE;

        f->asks_hyperv = c->hyperv == TRI_TRUE;
        if (given && !(f->asks_hyperv && !possible))
                return;
        if (given)
                FILL_WARNING(f, c, hyperv, "hyperv", NULL, "needs KVM on x86 and is left out");
        c->hyperv = possible ? TRI_TRUE : TRI_FALSE;
        DEF_MARK(c, hyperv, ORIGIN_HOST, possible ? "KVM" : "no KVM");
}

/* Only of what somebody asked for: the default is not theirs to answer for. */
static bool amount_asked(const struct def_cpu *c) {
        return DEF_GIVEN(c, amount) || DEF_GIVEN(c, threads) || DEF_GIVEN(c, cores) || DEF_GIVEN(c, dies) ||
               DEF_GIVEN(c, sockets);
}

static void check_amount(struct fill *f) {
        struct def_cpu *c = &f->def->cpu;
        _cleanup_free_ int *cpus = NULL;
        size_t n = 0;

        if (!amount_asked(c) || DEF_FAULTY(c, amount) ||
            host_cpus_online(f->req->host, &cpus, &n, NULL) < 0 || c->amount <= (int64_t) n)
                return;
        FILL_WARNING(f, c, amount, "amount", NULL,
                     "%lld vCPUs are more than the %zu CPUs of this host: they will wait for each other",
                     (long long) c->amount, n);
}

void fill_cpu(struct fill *f) {
        fill_model(f);
        fill_hyperv(f);
        check_amount(f);
}
