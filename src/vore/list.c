/* list, disk presets: tables. */
#include "base/size.h"
#include "base/str.h"
#include "vore/daemon.h"
#include "vore/output.h"
#include "vore/pick.h"

#include <inttypes.h>

static void add_number(struct table *t, const json_t *machine, const char *key) {
        const json_t *value = json_object_get(machine, key);
        char text[32] = "";

        if (json_is_integer(value))
                snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        table_add(t, text, COLOR_NONE);
}

static void add_machine(struct table *t, const json_t *machine) {
        const char *state = json_get_str(machine, "state", "");
        int64_t memory = json_get_int(machine, "memory", -1);
        char size[32];

        table_add(t, json_get_str(machine, "name", ""), COLOR_NONE);
        table_add(t, state, state_color(state));
        add_number(t, machine, "pid");
        table_add(t, memory < 0 ? NULL : size_print((uint64_t) memory, size), COLOR_NONE);
        add_number(t, machine, "vcpus");
        table_add(t, json_get_bool(machine, "auto_start", false) ? "yes" : "no", COLOR_NONE);
        table_add(t, json_get_bool(machine, "saved", false) ? "yes" : "no", COLOR_NONE);
        table_add(t, json_get_str(machine, "reason", NULL), COLOR_NONE);
}

struct listing {
        struct table table;
        json_t *machines; /* with --json: all of them */
};

/* One part of the list; the parts that came before need not be kept. */
static int add_machines(const json_t *reply, void *data) {
        struct listing *l = data;
        json_t *machines = json_object_get(reply, "machines");
        const json_t *machine;
        size_t i;

        if (l->machines) {
                (void) json_array_extend(l->machines, machines);
                return 0;
        }
        json_array_foreach (machines, i, machine) {
                add_machine(&l->table, machine);
        }
        return 0;
}

static void print_notes(struct cli *c, const json_t *notes) {
        const json_t *note;
        size_t i;

        json_array_foreach (notes, i, note) {
                if (json_is_string(note))
                        cli_note(c, "%s", json_string_value(note));
        }
}

int verb_list(struct cli *c) {
        static const char *const titles[] = { "NAME",       "STATE", "PID",    "MEMORY", "VCPUS",
                                              "AUTO-START", "SAVED", "REASON", NULL };
        struct listing l = { .machines = args_has(c->args, OPTION_JSON) ? json_array() : NULL };
        _cleanup_json_ json_t *reply = NULL;
        int r;

        table_init(&l.table, titles, 1 << 2 | 1 << 3 | 1 << 4);
        r = daemon_call_more(c, "List", NULL, add_machines, &l, &reply);
        if (r == EXIT_DONE) {
                (void) add_machines(reply, &l);
                print_notes(c, json_object_get(reply, "notes"));
                if (l.machines)
                        r = cli_print_json(c, TAKE_PTR(l.machines));
                else
                        table_print(&l.table, stdout, c->terminal, c->color);
                if (l.table.n == 0 && c->terminal && !args_has(c->args, OPTION_JSON))
                        cli_note(c, "there are no VMs; load one with: vore load FILE");
        }
        json_decref(l.machines);
        table_done(&l.table);
        return r;
}

int verb_disk_presets(struct cli *c) {
        static const char *const titles[] = { "NAME", "DESCRIPTION", NULL };
        _cleanup_json_ json_t *reply = NULL;
        const json_t *preset;
        struct table t;
        size_t i;
        int r = daemon_call(c, "DiskPresets", NULL, &reply);

        if (r != EXIT_DONE)
                return r;
        if (args_has(c->args, OPTION_JSON))
                return cli_print_json(c, json_incref(json_object_get(reply, "presets")));
        table_init(&t, titles, 0);
        json_array_foreach (json_object_get(reply, "presets"), i, preset) {
                table_add(&t, json_get_str(preset, "name", ""), COLOR_NONE);
                table_add(&t, json_get_str(preset, "description", ""), COLOR_NONE);
        }
        table_print(&t, stdout, c->terminal, c->color);
        table_done(&t);
        return EXIT_DONE;
}
