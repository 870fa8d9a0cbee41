/* devices: a tree by IOMMU group. */
#include "base/str.h"
#include "vore/daemon.h"
#include "vore/output.h"

#include <inttypes.h>

static void ids(const json_t *device, char ret[static 16]) {
        snprintf(ret, 16, "%04x:%04x", (unsigned) json_get_int(device, "vendor", 0) & 0xffff,
                 (unsigned) json_get_int(device, "device", 0) & 0xffff);
}

/* Without an IOMMU: -1. */
static int64_t group_of(const json_t *device) {
        return json_get_int(device, "iommu_group", -1);
}

static char *joined(const json_t *array, const char *key, const char *between) {
        struct strbuf b = STRBUF_INIT;
        json_t *item;
        size_t i;

        json_array_foreach (array, i, item) {
                const char *text = key ? json_get_str(item, key, "") : json_string_value(item);

                strbuf_addf(&b, "%s%s", i ? between : "", text ? text : "");
        }
        return strbuf_take(&b);
}

/* -- tab-separated -------------------------------------------------------------------------------- */

static void add_row(struct table *t, const json_t *device) {
        _cleanup_free_ char *methods = joined(json_object_get(device, "reset_methods"), NULL, " ");
        _cleanup_free_ char *holders = joined(json_object_get(device, "holders"), "sentence", "; ");
        char id[16], group[32] = "";

        ids(device, id);
        if (group_of(device) >= 0)
                snprintf(group, sizeof(group), "%" PRId64, group_of(device));
        table_add(t, json_get_str(device, "address", NULL), COLOR_NONE);
        table_add(t, id, COLOR_NONE);
        table_add(t, json_get_str(device, "class_name", NULL), COLOR_NONE);
        table_add(t, json_get_str(device, "name", NULL), COLOR_NONE);
        table_add(t, json_get_str(device, "driver", NULL), COLOR_NONE);
        table_add(t, group, COLOR_NONE);
        table_add(t, methods, COLOR_NONE);
        table_add(t, json_get_bool(device, "boot_vga", false) ? "yes" : "no", COLOR_NONE);
        table_add(t, json_get_str(device, "power_state", NULL), COLOR_NONE);
        table_add(t, holders, COLOR_NONE);
        table_add(t, json_get_str(device, "verdict", NULL), COLOR_NONE);
        table_add(t, json_get_str(device, "used_by", NULL), COLOR_NONE);
}

static void print_rows(const json_t *devices) {
        static const char *const titles[] = { "ADDRESS", "ID",      "CLASS", "NAME",  "DRIVER",
                                              "GROUP",   "RESET",   "BOOT",  "POWER", "HOLDERS",
                                              "VERDICT", "USED BY", NULL };
        _cleanup_table_ struct table t;
        const json_t *device;
        size_t i;

        table_init(&t, titles, 0);
        json_array_foreach (devices, i, device) {
                add_row(&t, device);
        }
        table_print(&t, stdout, false, false);
}

/* -- tree ------------------------------------------------------------------------------------------ */

struct tree {
        struct strbuf out;
        bool color;
};

static void add_text(struct tree *t, const char *text, enum output_color color) {
        strbuf_add(&t->out, t->color ? output_color_begin(color) : "");
        output_escape(&t->out, text, NULL);
        strbuf_add(&t->out, t->color ? output_color_end(color) : "");
}

static enum output_color verdict_color(const char *verdict) {
        return str_eq(verdict, "ready")      ? COLOR_GREEN :
               str_starts(verdict, "needs ") ? COLOR_YELLOW :
               str_starts(verdict, "host ")  ? COLOR_RED :
               str_starts(verdict, "stuck")  ? COLOR_RED :
                                               COLOR_DIM;
}

static void add_fact(struct tree *t, const char *what, const char *text) {
        if (str_empty(text))
                return;
        strbuf_addf(&t->out, ", %s", what);
        output_escape(&t->out, text, NULL);
}

/* The second line: what becomes of it, and what that depends on. */
static void add_state(struct tree *t, const json_t *device) {
        _cleanup_free_ char *methods = joined(json_object_get(device, "reset_methods"), NULL, " ");
        const char *verdict = json_get_str(device, "verdict", ""),
                   *driver = json_get_str(device, "driver", NULL),
                   *reservation = json_get_str(device, "reservation", NULL);
        _cleanup_free_ char *by = joined(json_object_get(device, "reserved_by"), NULL, ", ");

        add_text(t, verdict, verdict_color(verdict));
        add_fact(t, driver ? "driver " : "", driver ? driver : "no driver");
        add_fact(t, *methods ? "reset " : "", *methods ? methods : "no reset");
        add_fact(t, "", json_get_str(device, "power_state", NULL));
        add_fact(t, "", json_get_bool(device, "boot_vga", false) ? "boot VGA" : NULL);
        add_fact(t, "used by ", json_get_str(device, "used_by", NULL));
        add_fact(t, "", str_eq(reservation, "in use") ? NULL : reservation);
        add_fact(t, "for ", by);
        strbuf_add(&t->out, "\n");
}

static void add_device(struct tree *t, const json_t *device, bool last) {
        const json_t *holders = json_object_get(device, "holders"), *holder;
        const char *margin = last ? "      " : "\u2502     ", *name = json_get_str(device, "name", NULL);
        char id[16];
        size_t i;

        ids(device, id);
        strbuf_add(&t->out, last ? "\u2514\u2500 " : "\u251c\u2500 ");
        add_text(t, json_get_str(device, "address", ""), COLOR_BOLD);
        strbuf_addf(&t->out, " %s ", id);
        add_text(t, json_get_str(device, "class_name", ""), COLOR_NONE);
        if (name) {
                strbuf_add(&t->out, ": ");
                add_text(t, name, COLOR_NONE);
        }
        strbuf_addf(&t->out, "\n%s", margin);
        add_state(t, device);
        json_array_foreach (holders, i, holder) {
                const char *sentence = json_get_str(holder, "sentence", "");

                if (strstr(json_get_str(device, "verdict", ""), sentence))
                        continue; /* it was said */
                strbuf_add(&t->out, margin);
                add_text(t, sentence, COLOR_YELLOW);
                strbuf_add(&t->out, "\n");
        }
}

static void add_group(struct tree *t, const json_t *devices, int64_t group) {
        const json_t *device;
        size_t i, left = 0;

        json_array_foreach (devices, i, device) {
                left += group_of(device) == group;
        }
        if (group < 0)
                strbuf_add(&t->out, "no IOMMU group\n");
        else
                strbuf_addf(&t->out, "IOMMU group %" PRId64 "\n", group);
        json_array_foreach (devices, i, device) {
                if (group_of(device) == group)
                        add_device(t, device, --left == 0);
        }
}

/* The lowest group above that one; -1 (none) comes last, then false. */
static bool next_group(const json_t *devices, int64_t *group) {
        int64_t best = INT64_MAX;
        bool without = false;
        const json_t *device;
        size_t i;

        json_array_foreach (devices, i, device) {
                int64_t g = group_of(device);

                without = without || g < 0;
                if (g > *group && g < best)
                        best = g;
        }
        *group = best < INT64_MAX ? best : -1;
        return best < INT64_MAX || without;
}

static void print_tree(const json_t *devices, bool color) {
        struct tree t = { .color = color };
        int64_t group = -1;

        while (next_group(devices, &group)) {
                add_group(&t, devices, group);
                if (group < 0)
                        break;
        }
        if (t.out.len)
                fwrite(t.out.data, 1, t.out.len, stdout);
        strbuf_done(&t.out);
}

/* What the daemon adds for the tree is not for programs: they have class and driver. */
static json_t *for_programs(json_t *devices) {
        json_t *device;
        size_t i;

        json_array_foreach (devices, i, device) {
                json_object_del(device, "class_name");
                json_object_del(device, "power_state");
                json_object_del(device, "reserved_by");
                json_object_del(device, "reservation");
        }
        return json_incref(devices);
}

int verb_devices(struct cli *c) {
        _cleanup_json_ json_t *reply = NULL;
        const json_t *note;
        json_t *devices;
        size_t i;

        if (args_has(c->args, OPTION_USB))
                return cli_fail("devices: --usb is not supported by this version");
        int r = daemon_call(c, "Devices", NULL, &reply);
        if (r != EXIT_DONE)
                return r;
        devices = json_object_get(reply, "devices");
        json_array_foreach (json_object_get(reply, "notes"), i, note) {
                if (json_is_string(note))
                        cli_note(c, "%s", json_string_value(note));
        }
        if (args_has(c->args, OPTION_JSON))
                return cli_print_json(c, for_programs(devices));
        if (c->terminal)
                print_tree(devices, c->color);
        else
                print_rows(devices);
        return cli_flush(EXIT_DONE);
}
