#include "vore/progress.h"

#include "base/str.h"
#include "vore/output.h"

static void step_begins(struct progress *p, const char *step) {
        if (!p->cli->err_terminal)
                return;
        progress_done(p);
        fprintf(stderr, "%s: %s ...", p->name, step);
        p->open = xstrdup(step);
}

static void step_ends(struct progress *p, const char *step, double seconds) {
        char span[32];

        output_span(seconds, span);
        if (p->open && str_eq(p->open, step)) {
                fprintf(stderr, " %s\n", span);
                free(TAKE_PTR(p->open));
                return;
        }
        progress_done(p);
        fprintf(stderr, "%s: %s ... %s\n", p->name, step, span);
}

static int progress_reply(const json_t *params, void *data) {
        struct progress *p = data;
        const json_t *step = json_object_get(params, "step"), *seconds = json_object_get(step, "seconds");
        _cleanup_free_ char *name = output_escaped(json_get_str(step, "name", NULL));

        if (!name)
                return 0;
        if (json_is_number(seconds))
                step_ends(p, name, json_number_value(seconds));
        else
                step_begins(p, name);
        return 0;
}

rpc_reply_fn progress_wanted(const struct cli *c) {
        return args_has(c->args, OPTION_QUIET) || args_has(c->args, OPTION_JSON) ? NULL : progress_reply;
}

void progress_done(struct progress *p) {
        if (p->open)
                fputs("\n", stderr);
        free(TAKE_PTR(p->open));
}

int progress_print_json(struct cli *c, const json_t *reply, const char *name, bool devices) {
        static const struct {
                const char *key;
                bool array;
        } members[] = { { "state" }, { "pid" }, { "seconds" }, { "steps", true }, { "devices", true } };
        json_t *out = json_object();

        json_put_str(out, "name", name);
        for (size_t i = 0; i < ARRAY_SIZE(members) - !devices; i++) {
                json_t *value = json_object_get(reply, members[i].key);

                json_put(out, members[i].key,
                         members[i].array && !json_is_array(value) ? json_array() : json_incref(value));
        }
        return cli_print_json(c, out);
}
