#include "vore/pick.h"

#include <errno.h>

enum { IDLE = 1 << 0, RUNS = 1 << 1, HELD = 1 << 2 };

static const struct {
        const char *name;
        unsigned is;
        enum output_color color;
} states[] = {
        { "loaded", IDLE, COLOR_NONE },   { "prepared", IDLE | HELD, COLOR_CYAN },
        { "starting", RUNS, COLOR_CYAN }, { "running", RUNS, COLOR_GREEN },
        { "paused", RUNS, COLOR_YELLOW }, { "stopping", RUNS, COLOR_CYAN },
        { "stopped", IDLE, COLOR_NONE },  { "failed", IDLE, COLOR_RED },
        { "broken", 0, COLOR_RED },
};

static unsigned state_is(const char *state) {
        for (size_t i = 0; i < ARRAY_SIZE(states); i++)
                if (str_eq(states[i].name, state))
                        return states[i].is;
        return 0;
}

bool state_runs(const char *state) {
        return state_is(state) & RUNS;
}

bool state_holds(const char *state) {
        return state_is(state) & (RUNS | HELD);
}

enum output_color state_color(const char *state) {
        for (size_t i = 0; i < ARRAY_SIZE(states); i++)
                if (str_eq(states[i].name, state))
                        return states[i].color;
        return COLOR_NONE;
}

static size_t find_fitting(const json_t *machines, unsigned mask, const char **ret) {
        const json_t *machine;
        size_t i, n = 0;

        json_array_foreach (machines, i, machine) {
                const char *name = json_get_str(machine, "name", NULL);

                if (name && (!mask || (state_is(json_get_str(machine, "state", "")) & mask))) {
                        *ret = name;
                        n++;
                }
        }
        return n;
}

static void list_states(struct strbuf *b, const json_t *machines, unsigned mask) {
        const json_t *machine;
        size_t i, width = 0;

        json_array_foreach (machines, i, machine) {
                width = MAX(width, output_width(json_get_str(machine, "name", "")));
        }
        json_array_foreach (machines, i, machine) {
                const char *state = json_get_str(machine, "state", "");
                _cleanup_free_ char *name = output_escaped(json_get_str(machine, "name", ""));

                if (mask && !(state_is(state) & mask))
                        continue;
                strbuf_addf(b, "\n  %s", name);
                for (size_t n = output_width(name); n < width; n++)
                        strbuf_add(b, " ");
                strbuf_addf(b, "  %s", state);
        }
}

int pick_name(const json_t *machines, enum need need, const char *verb, char **ret, char **ret_text) {
        unsigned mask = need == NEED_IDLE ? IDLE : need == NEED_RUNNING || need == NEED_HELD ? RUNS : 0;
        const char *what = mask == IDLE ? "no VM is waiting to be started" : "no VM is running";
        struct strbuf b = STRBUF_INIT;
        const char *name = NULL;
        size_t n = find_fitting(machines, mask, &name);

        if (n == 0 && need == NEED_HELD) {
                what = "no VM is running or prepared";
                n = find_fitting(machines, mask = HELD, &name);
        }
        if (n == 1) {
                *ret = xstrdup(name);
                return 0;
        }
        if (n > 1) {
                strbuf_addf(&b, "several VMs fit; say which: vore %s NAME", verb);
                list_states(&b, machines, mask);
        } else if (json_array_size(machines) == 0) {
                strbuf_add(&b, "there are no VMs; load one with: vore load FILE");
        } else {
                strbuf_addf(&b, "%s; there are:", what);
                list_states(&b, machines, 0);
        }
        *ret_text = strbuf_take(&b);
        return n > 1 ? -EEXIST : -ENOENT;
}
