#include "script/gone.h"

#include <string.h>

#include "base/str.h"

/* One row per option; since: the first version without it, as major * 100 + minor. with: what is written instead,
 * "%s" standing for the value; NULL: nothing. Sources: QEMU's "Removed features". */
static const struct gone {
        const char *option;
        bool value;
        unsigned since;
        const char *with[2];
        const char *note;
} gone[] = {
        { "-no-hpet", false, 900, { "-machine", "hpet=off" }, NULL },
        { "-no-acpi", false, 900, { "-machine", "acpi=off" }, NULL },
        { "-watchdog", true, 702, { "-device", "%s" }, NULL },
        { "-runas", true, 0, { NULL }, "vored starts QEMU as the VM's own user" },
};

static unsigned version_number(const char *version) {
        unsigned major = 0, minor = 0;

        if (!version || sscanf(version, "%u.%u", &major, &minor) < 1)
                return 0;
        return major * 100 + MIN(minor, 99U);
}

static const struct gone *gone_find(const char *arg, unsigned version) {
        if (str_starts(arg, "--"))
                arg++;
        for (size_t i = 0; i < ARRAY_SIZE(gone); i++)
                if (str_eq(arg, gone[i].option) && version >= gone[i].since)
                        return &gone[i];
        return NULL;
}

static void warn(struct script_result *r, const struct gone *g, const char *text) {
        r->warnings = xrealloc(r->warnings, r->n_warnings + 1, sizeof(*r->warnings));
        if (g->note)
                r->warnings[r->n_warnings++] = xasprintf("%s is left out: %s", g->option, g->note);
        else
                r->warnings[r->n_warnings++] = xasprintf("%s is gone from this QEMU: written as %s %s", g->option,
                                                         g->with[0], text);
}

void gone_rewrite(struct script_result *r, const char *version) {
        unsigned number = version_number(version);
        struct argv old = r->argv;
        bool warned[ARRAY_SIZE(gone)] = { 0 };

        r->argv = ARGV_INIT;
        for (size_t i = 0; i < old.n; i++) {
                const struct gone *g = gone_find(old.items[i], number);
                const char *value = g && g->value && i + 1 < old.n ? old.items[++i] : "";
                const char *text;

                if (!g) {
                        argv_add(&r->argv, old.items[i]);
                        continue;
                }
                text = g->with[1] && !str_eq(g->with[1], "%s") ? g->with[1] : value;
                if (g->with[0]) {
                        argv_add(&r->argv, g->with[0]);
                        argv_add(&r->argv, text);
                }
                if (!warned[g - gone])
                        warn(r, g, text);
                warned[g - gone] = true;
        }
        argv_done(&old);
}
