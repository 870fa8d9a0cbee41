/* attach and detach: a device of the host comes to a VM that runs, and goes. */
#include "base/str.h"
#include "vore/daemon.h"
#include "vore/errors.h"
#include "vore/input.h"
#include "vore/output.h"
#include "vore/progress.h"

/* "0000:0b:00.0, 0000:0b:00.1"; owned by the caller. */
static char *devices_text(const json_t *reply) {
        const json_t *devices = json_object_get(reply, "devices"), *item;
        struct strbuf b = STRBUF_INIT;
        size_t i;

        json_array_foreach (devices, i, item) {
                _cleanup_free_ char *one = output_escaped(json_string_value(item));

                strbuf_addf(&b, "%s%s", i ? ", " : "", one ? one : "?");
        }
        return strbuf_take(&b);
}

/* done: "attached to". */
static void print_done(const json_t *reply, const char *name, const char *done) {
        size_t n = json_array_size(json_object_get(reply, "devices"));
        const json_t *seconds = json_object_get(reply, "seconds");
        _cleanup_free_ char *devices = devices_text(reply);
        char span[32];

        if (n == 0)
                return;
        printf("%s %s %s %s", devices, n == 1 ? "is" : "are", done, name);
        if (json_is_number(seconds))
                printf(" (%s)", output_span(json_number_value(seconds), span));
        puts("");
}

/* method "Attach" or "Detach"; params is stolen and gets name and address. */
static int plug(struct cli *c, const char *method, json_t *params, const char *done) {
        _cleanup_free_ char *name = NULL;
        _cleanup_json_ json_t *own = params, *reply = NULL;
        _cleanup_progress_ struct progress progress = { .cli = c };
        const char *note;
        int r = daemon_name(c, 1, &name);

        if (r != EXIT_DONE)
                return r;
        json_put_str(own, "name", name);
        json_put_str(own, "address", c->args->arg[0]);
        progress.name = name;
        c->progress = &progress;
        r = daemon_call_more(c, method, TAKE_PTR(own), progress_wanted(c), &progress, &reply);
        c->progress = NULL;
        if (r != EXIT_DONE)
                return r;
        faults_print(c, json_object_get(reply, "faults"));
        note = json_get_str(reply, "note", NULL);
        if (note)
                cli_note(c, "%s: %s", name, note);
        if (args_has(c->args, OPTION_JSON))
                return progress_print_json(c, reply, name, true);
        print_done(reply, name, done);
        return EXIT_DONE;
}

int verb_attach(struct cli *c) {
        static const struct {
                enum option_id option;
                const char *key;
        } flags[] = { { OPTION_KEEP, "keep" }, { OPTION_FORCE_DEVICE, "force" }, { OPTION_GROUP, "group" } };
        json_t *params = json_object();

        for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
                if (args_has(c->args, flags[i].option))
                        json_put_bool(params, flags[i].key, true);
        return plug(c, "Attach", params, "attached to");
}

int verb_detach(struct cli *c) {
        json_t *params = json_object();

        if (input_timeout(c, params) != EXIT_DONE) {
                json_decref(params);
                return EXIT_USAGE;
        }
        return plug(c, "Detach", params, "detached from");
}
