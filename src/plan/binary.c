#include "plan/binary.h"

#include "base/str.h"

#include <strings.h>

enum { NAMES_MAX = 512 };

struct names {
        const char *items[NAMES_MAX]; /* in the arena */
        size_t n;
};

/* The names of the facts "KIND NAME…", without what ends them. */
static void names_read(struct names *names, const struct caps *caps, const char *kind, const char *end,
                       struct arena *arena) {
        _cleanup_free_ char *start = xasprintf("\n%s ", kind);

        for (const char *at = caps->text; names->n < NAMES_MAX && (at = strstr(at, start));) {
                at += strlen(start);
                size_t n = strcspn(at, " \n"), cut = strlen(end);

                if (n > cut && strncmp(at + n - cut, end, cut) == 0)
                        names->items[names->n++] = arena_strndup(arena, at, n - cut);
        }
}

/* An error was found in this value already. */
static bool told(const struct diags *diags, const char *key) {
        for (size_t i = 0; i < diags->n; i++)
                if (diags->items[i].severity == DIAG_ERROR && str_eq(diags->items[i].key, key))
                        return true;
        return false;
}

/* The name that was meant; QEMU's names are case-sensitive. */
static const char *nearest(const char *wanted, const struct names *names) {
        for (size_t i = 0; i < names->n; i++)
                if (strcasecmp(wanted, names->items[i]) == 0)
                        return names->items[i];
        return schema_nearest(wanted, names->items, names->n);
}

/* -- machine type ------------------------------------------------------------------------------------- */

/* A version that is not there is mostly one of a newer QEMU. */
static const char *newest(const struct names *names, const char *wanted) {
        const char *dash = strrchr(wanted, '-'), *found = NULL;
        size_t family = dash ? (size_t) (dash - wanted) + 1 : 0;

        for (size_t i = 0; family && i < names->n; i++)
                if (strncmp(names->items[i], wanted, family) == 0 &&
                    (!found || strverscmp(names->items[i], found) > 0))
                        found = names->items[i];
        return found;
}

static void check_machine(const struct def *def, const struct caps *caps, struct diags *diags) {
        const struct def_machine *m = &def->machine;
        struct names names = { 0 };

        if (str_empty(m->chipset) || told(diags, "machine.chipset") || caps_has(caps, "machine", m->chipset))
                return;
        names_read(&names, caps, "machine", "", diags->arena);
        const char *last = newest(&names, m->chipset);
        const char *near = nearest(m->chipset, &names);
        diag_error(diags, DEF_LOC(m, chipset), "machine.chipset",
                   last ? arena_printf(diags->arena, "its newest is %s", last) :
                   near ? arena_printf(diags->arena, "did you mean %s?", near) :
                          NULL,
                   "this QEMU (%s) has no machine type \"%.64s\"", caps->version, m->chipset);
}

static void check_amount(const struct def *def, const struct caps *caps, struct diags *diags) {
        const struct def_machine *m = &def->machine;
        unsigned max = str_empty(m->chipset) ? 0 : caps_cpus_max(caps, m->chipset);

        if (max && def->cpu.amount > max && !told(diags, "cpu.amount"))
                diag_error(diags, DEF_LOC(&def->cpu, amount), "cpu.amount", NULL,
                           "%u vCPUs are more than the machine type \"%.64s\" of this QEMU (%s) can have: at "
                           "most %u",
                           (unsigned) def->cpu.amount, m->chipset, caps->version, max);
}

/* -- CPU model ---------------------------------------------------------------------------------------- */

static void check_model(const struct def *def, const struct caps *caps, struct diags *diags) {
        const struct def_cpu *c = &def->cpu;
        const char *arch = def->machine.arch;
        struct names names = { 0 };

        if (!DEF_GIVEN(c, model) || str_empty(c->model) || told(diags, "cpu.model") ||
            !(str_eq(arch, "x86_64") || str_eq(arch, "i386")))
                return;
        /* QEMU's name of the type (X86_CPU_TYPE_SUFFIX of its target/i386/cpu-qom.h). */
        _cleanup_free_ char *end = xasprintf("-%s-cpu", arch), *type = xasprintf("%s%s", c->model, end);

        if (caps_has_device(caps, type))
                return;
        names_read(&names, caps, "device", end, diags->arena);
        const char *near = nearest(c->model, &names);
        diag_error(diags, DEF_LOC(c, model), "cpu.model",
                   near ? arena_printf(diags->arena, "did you mean \"%s\"?", near) : NULL,
                   "this QEMU (%s) has no CPU model \"%.64s\"", caps->version, c->model);
}

void binary_check(const struct def *def, const struct caps *caps, struct diags *diags) {
        if (!caps || told(diags, "machine.arch"))
                return;
        check_machine(def, caps, diags);
        check_amount(def, caps, diags);
        check_model(def, caps, diags);
}
