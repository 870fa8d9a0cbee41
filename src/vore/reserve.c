/* reserve, release: the devices that are kept on vfio-pci. */
#include "base/str.h"
#include "vore/daemon.h"
#include "vore/output.h"

static enum output_color color_of(const char *state) {
        return str_eq(state, "reserved")     ? COLOR_GREEN :
               str_eq(state, "in use")       ? COLOR_CYAN :
               str_eq(state, "not reserved") ? COLOR_RED :
                                               COLOR_DIM;
}

static void add_row(struct table *t, const json_t *device) {
        const json_t *vms = json_object_get(device, "vms"), *vm;
        const char *state = json_get_str(device, "state", "");
        _cleanup_strbuf_ struct strbuf names = STRBUF_INIT;
        size_t i;

        json_array_foreach (vms, i, vm) {
                strbuf_addf(&names, "%s%s", i ? "," : "", json_string_value(vm));
        }
        table_add(t, json_get_str(device, "address", NULL), COLOR_NONE);
        table_add(t, state, color_of(state));
        table_add(t, names.data, COLOR_NONE);
        table_add(t, json_get_str(device, "reason", NULL), COLOR_NONE);
}

static void print_devices(struct cli *c, const json_t *devices) {
        static const char *const titles[] = { "ADDRESS", "STATE", "VMS", "REASON", NULL };
        _cleanup_table_ struct table t;
        const json_t *device;
        size_t i;

        table_init(&t, titles, 0);
        json_array_foreach (devices, i, device) {
                add_row(&t, device);
        }
        table_print(&t, stdout, c->terminal, c->color);
        if (t.n == 0 && c->terminal)
                cli_note(c, "nothing is reserved: write reserve = true into a [[vfio]] of a definition that "
                            "is saved, "
                            "or name a device: vore reserve ADDR");
}

/* -- what claims them at boot ------------------------------------------------------------------------- */

static int say_rules(struct cli *c, json_t *reply, const char *kind, bool remove) {
        _cleanup_json_ json_t *own = reply;
        const char *text = json_get_str(own, "text", NULL), *ran = json_get_str(own, "ran", NULL);
        const json_t *files = json_object_get(own, "files"), *file;
        size_t i;

        if (args_has(c->args, OPTION_JSON))
                return cli_print_json(c, TAKE_PTR(own));
        if (text)
                fputs(text, stdout);
        json_array_foreach (files, i, file) {
                printf("%s %s\n", remove ? "removed" : "wrote", json_string_value(file));
        }
        if (ran)
                printf("ran %s\n", ran);
        else if (!text && json_array_size(files) == 0)
                cli_note(c, remove ? "nothing of %s is installed" : "what is installed for %s is up to date",
                         kind);
        return cli_flush(EXIT_DONE);
}

static int boot_rules(struct cli *c, const char *action, const char *kind) {
        _cleanup_json_ json_t *params = json_object();
        json_t *reply = NULL;

        if (c->args->arg[0])
                return cli_fail("reserve: --%s is about all reserved devices: leave out %s", action,
                                c->args->arg[0]);
        json_put_str(params, "action", action);
        json_put_str(params, "kind", kind);
        if (str_eq(kind, "initramfs-tools") && !str_eq(action, "emit"))
                cli_note(
                        c,
                        "if there is anything to change, update-initramfs runs, which may take some minutes");
        int r = daemon_call(c, "BootRules", TAKE_PTR(params), &reply);
        return r == EXIT_DONE ? say_rules(c, reply, kind, str_eq(action, "remove")) : r;
}

static int rules_asked(struct cli *c, bool *ret) {
        static const struct {
                enum option_id id;
                const char *action;
        } rows[] = { { OPTION_EMIT, "emit" }, { OPTION_INSTALL, "install" }, { OPTION_REMOVE, "remove" } };
        size_t n = 0, which = 0;

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
                if (args_has(c->args, rows[i].id)) {
                        which = i;
                        n++;
                }
        *ret = n > 0;
        if (n > 1) {
                cli_fail("reserve: only one of --emit, --install and --remove");
                return EXIT_USAGE;
        }
        return n ? boot_rules(c, rows[which].action, c->args->value[rows[which].id]) : EXIT_DONE;
}

/* -- now ------------------------------------------------------------------------------------------------ */

int verb_reserve(struct cli *c) {
        bool release = str_eq(c->args->verb->name, "release");
        _cleanup_json_ json_t *reply = NULL, *params = json_object();
        const json_t *notes, *note;
        bool rules = false;
        size_t i;
        int r = rules_asked(c, &rules);

        if (rules)
                return r;
        if (c->args->arg[0])
                json_put_str(params, "address", c->args->arg[0]);
        r = daemon_call(c, release ? "Release" : "Reserve", TAKE_PTR(params), &reply);
        if (r != EXIT_DONE)
                return r;
        notes = json_object_get(reply, "notes");
        if (args_has(c->args, OPTION_JSON))
                r = cli_print_json(c, json_incref(json_object_get(reply, "devices")));
        else
                print_devices(c, json_object_get(reply, "devices"));
        json_array_foreach (json_object_get(reply, "rules"), i, note) {
                cli_note(c, "%s", json_string_value(note));
        }
        json_array_foreach (notes, i, note) {
                cli_fail("%s", json_string_value(note));
        }
        return cli_flush(r == EXIT_DONE && json_array_size(notes) ? EXIT_FAILED : r);
}
