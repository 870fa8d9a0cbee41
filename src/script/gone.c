#include "script/gone.h"

#include <string.h>

#include "base/str.h"

/* One row per option. since: the first version without it, as major * 100 + minor (7.2 is the oldest that
 * vore knows). with: what is written instead, "%s" standing for the value without strip; NULL: nothing, and
 * note says why. Sources: "Removed features" of QEMU's documentation. */
static const struct gone {
        const char *option;
        bool value;
        unsigned since;
        const char *with, *argument;
        const char *strip;
        const char *note;
} gone[] = {
        { "-no-hpet", .since = 900, .with = "-machine", .argument = "hpet=off" },
        { "-no-acpi", .since = 900, .with = "-machine", .argument = "acpi=off" },
        { "-watchdog", .value = true, .since = 702, .with = "-device", .argument = "%s" },
        { "-realtime", .value = true, .since = 702, .with = "-overcommit", .argument = "mem-lock=%s",
          .strip = "mlock=" },
        { "-no-kvm-pit-reinjection", .since = 702, .with = "-global",
          .argument = "kvm-pit.lost_tick_policy=discard" },
        { "-tdf", .since = 702, .note = "QEMU has ignored it for years" },
        { "-runas", .value = true, .note = "vored starts QEMU as the VM's own user" },
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

/* What is written instead of the value. Owned by the caller. */
static char *new_argument(const struct gone *g, const char *value) {
        const char *place = strstr(g->argument, "%s");

        if (!place)
                return xstrdup(g->argument);
        if (g->strip && str_starts(value, g->strip))
                value += strlen(g->strip);
        return xasprintf("%.*s%s", (int) (place - g->argument), g->argument, value);
}

static void warn(struct script_result *r, const struct gone *g, const char *argument) {
        r->warnings = xrealloc(r->warnings, r->n_warnings + 1, sizeof(*r->warnings));
        if (g->note)
                r->warnings[r->n_warnings++] = xasprintf("%s is left out: %s", g->option, g->note);
        else
                r->warnings[r->n_warnings++] = xasprintf("%s is gone from this QEMU: written as %s %s",
                                                         g->option, g->with, argument);
}

static void rewrite_one(struct script_result *r, const struct gone *g, const char *value, bool *warned) {
        _cleanup_free_ char *argument = g->with ? new_argument(g, value) : NULL;

        if (argument) {
                argv_add(&r->argv, g->with);
                argv_add(&r->argv, argument);
        }
        if (!*warned)
                warn(r, g, argument);
        *warned = true;
}

void gone_rewrite(struct script_result *r, const char *version) {
        unsigned number = version_number(version);
        struct argv old = r->argv;
        bool warned[ARRAY_SIZE(gone)] = { 0 };

        r->argv = ARGV_INIT;
        for (size_t i = 0; i < old.n; i++) {
                const struct gone *g = gone_find(old.items[i], number);

                if (!g)
                        argv_add(&r->argv, old.items[i]);
                else if (g->value && i + 1 < old.n)
                        rewrite_one(r, g, old.items[++i], &warned[g - gone]);
                else
                        rewrite_one(r, g, "", &warned[g - gone]);
        }
        argv_done(&old);
}
