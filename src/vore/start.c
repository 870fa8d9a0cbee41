/* boot, prepare, start; kill, pause, resume, reset. */
#include "base/str.h"
#include "vore/daemon.h"
#include "vore/errors.h"
#include "vore/input.h"
#include "vore/output.h"
#include "vore/progress.h"

static void print_started(const json_t *reply, const char *name) {
        const json_t *seconds = json_object_get(reply, "seconds");
        int64_t pid = json_get_int(reply, "pid", 0);
        char span[32];

        printf("%s is %s", name, json_get_str(reply, "state", "running"));
        if (pid > 0)
                printf(" (pid %lld", (long long) pid);
        if (json_is_number(seconds))
                printf("%s%s", pid > 0 ? ", " : " (", output_span(json_number_value(seconds), span));
        puts(pid > 0 || json_is_number(seconds) ? ")" : "");
}

/* known: faults that were printed before. */
static int start(struct cli *c, const char *method, const char *name, const json_t *known) {
        _cleanup_progress_ struct progress progress = { .cli = c, .name = name };
        _cleanup_json_ json_t *params = daemon_params(name), *reply = NULL, *news = NULL;
        const char *note;
        int r = input_cdroms(c, params);

        if (args_has(c->args, OPTION_DISPLAY))
                json_put_bool(params, "display", true);
        c->progress = &progress;
        if (r == EXIT_DONE)
                r = daemon_call_more(c, method, TAKE_PTR(params), progress_wanted(c), &progress, &reply);
        c->progress = NULL;
        if (r != EXIT_DONE)
                return r;
        news = faults_without(json_object_get(reply, "faults"), known);
        faults_print(c, news);
        note = json_get_str(reply, "note", NULL);
        if (note)
                cli_note(c, "%s: %s", name, note);
        if (args_has(c->args, OPTION_JSON))
                return progress_print_json(c, reply, name, false);
        print_started(reply, name);
        return EXIT_DONE;
}

int verb_start(struct cli *c) {
        _cleanup_free_ char *name = NULL;
        int r = daemon_name(c, 0, &name);

        return r == EXIT_DONE ?
                       start(c, str_eq(c->args->verb->name, "prepare") ? "Prepare" : "Start", name, NULL) :
                       r;
}

int verb_boot(struct cli *c) {
        _cleanup_input_ struct input in = INPUT_INIT;
        _cleanup_json_ json_t *params = json_object(), *media = json_object(), *reply = NULL;
        int r = input_read(c, c->args->arg[0], &in);

        if (r == EXIT_DONE)
                r = input_params(c, &in, params);
        /* They count for the start alone; but what is wrong with them is said before anything is loaded. */
        if (r == EXIT_DONE)
                r = input_cdroms(c, media);
        if (args_has(c->args, OPTION_SAVE))
                json_put_bool(params, "save", true);
        if (r == EXIT_DONE)
                r = daemon_call(c, "Load", TAKE_PTR(params), &reply);
        if (r != EXIT_DONE)
                return r;
        faults_print(c, json_object_get(reply, "faults"));
        return start(c, "Start", json_get_str(reply, "name", "?"), json_object_get(reply, "faults"));
}

/* One row per verb that only says a name and hears a state. */
static const struct {
        const char *verb, *method, *done; /* done: instead of the state; NULL: the state */
} rows[] = {
        { "kill", "Kill", NULL },
        { "pause", "Pause", NULL },
        { "resume", "Resume", NULL },
        { "reset", "Reset", "reset" },
};

int verb_power(struct cli *c) {
        _cleanup_free_ char *name = NULL;
        _cleanup_json_ json_t *reply = NULL;
        const char *note;
        size_t i = 0;
        int r = daemon_name(c, 0, &name);

        while (!str_eq(rows[i].verb, c->args->verb->name))
                i++;
        if (r == EXIT_DONE)
                r = daemon_call(c, rows[i].method, daemon_params(name), &reply);
        if (r != EXIT_DONE)
                return r;
        note = json_get_str(reply, "note", NULL);
        if (note)
                cli_note(c, "%s: %s", name, note);
        if (args_has(c->args, OPTION_JSON)) {
                json_t *out = daemon_params(name);

                json_put_str(out, "state", json_get_str(reply, "state", NULL));
                return cli_print_json(c, out);
        }
        printf("%s is %s\n", name, rows[i].done ? rows[i].done : json_get_str(reply, "state", "?"));
        return EXIT_DONE;
}
