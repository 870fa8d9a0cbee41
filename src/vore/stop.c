/* stop: the power button, for one VM or for all that run; what is prepared gives everything back. */
#include "base/str.h"
#include "vore/daemon.h"
#include "vore/errors.h"
#include "vore/fanout.h"
#include "vore/input.h"
#include "vore/output.h"
#include "vore/pick.h"
#include "vore/progress.h"

static int stop_params(const struct cli *c, const char *name, json_t **ret) {
        json_t *params = daemon_params(name);

        if (args_has(c->args, OPTION_FORCE))
                json_put_bool(params, "force", true);
        int r = input_timeout(c, params);
        if (r == EXIT_DONE)
                *ret = params;
        else
                json_decref(params);
        return r;
}

static void print_stopped(struct cli *c, const char *name, const json_t *reply) {
        const char *note = json_get_str(reply, "note", NULL);
        const json_t *seconds = json_object_get(reply, "seconds");
        char span[32];

        faults_print(c, json_object_get(reply, "faults"));
        if (note)
                cli_note(c, "%s: %s", name, note);
        printf("%s is %s", name, json_get_str(reply, "state", "stopped"));
        if (json_is_number(seconds))
                printf(" (%s)", output_span(json_number_value(seconds), span));
        puts("");
        fflush(stdout);
}

static json_t *stopped_json(const char *name, const json_t *reply) {
        static const char *const keys[] = { "state", "seconds", "steps" };
        json_t *out = daemon_params(name);

        for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
                json_put(out, keys[i], json_incref(json_object_get(reply, keys[i])));
        return out;
}

static int stop_one(struct cli *c) {
        _cleanup_free_ char *name = NULL;
        _cleanup_json_ json_t *reply = NULL, *params = NULL;
        _cleanup_progress_ struct progress progress = { .cli = c };
        int r = stop_params(c, "", &params);

        if (r == EXIT_DONE)
                r = daemon_name(c, 0, &name);
        if (r != EXIT_DONE)
                return r;
        progress.name = name;
        json_put_str(params, "name", name);
        c->progress = &progress;
        r = daemon_call_more(c, "Stop", TAKE_PTR(params), progress_wanted(c), &progress, &reply);
        c->progress = NULL;
        if (r != EXIT_DONE)
                return r;
        if (args_has(c->args, OPTION_JSON))
                return cli_print_json(c, stopped_json(name, reply));
        print_stopped(c, name, reply);
        return EXIT_DONE;
}

struct stop_all {
        struct cli *cli;
        json_t *list; /* with --json: what to print in the end */
        int code;
};

static void one_ended(const struct fanout_call *call, void *data) {
        struct stop_all *all = data;
        json_t *out;

        if (call->trouble)
                all->code = cli_fail("stop: %s: %s", call->name, call->trouble);
        else if (call->error && (all->code = EXIT_FAILED))
                errors_print(all->cli, "Stop", call->error, call->reply);
        else if (!all->list)
                print_stopped(all->cli, call->name, call->reply);
        if (!all->list)
                return;
        out = stopped_json(call->name, call->reply);
        if (call->trouble || call->error)
                json_put_str(out, "error", call->error ? call->error : call->trouble);
        json_push(all->list, out);
}

/* Those that run or are prepared, and were not asked yet. Returns how many. */
static size_t find_running(const json_t *machines, const json_t *params, json_t *asked,
                           struct fanout_call *calls) {
        const json_t *machine;
        size_t n = 0, i;

        json_array_foreach (machines, i, machine) {
                const char *name = json_get_str(machine, "name", "");

                if (!state_holds(json_get_str(machine, "state", "")) || json_object_get(asked, name))
                        continue;
                json_put_bool(asked, name, true);
                calls[n].name = name;
                calls[n].params = json_copy((json_t *) params);
                json_put_str(calls[n++].params, "name", name);
        }
        return n;
}

/* Asks all that run now; *ret_n is how many. */
static int stop_round(struct stop_all *all, const json_t *params, json_t *asked, size_t *ret_n) {
        _cleanup_json_ json_t *reply = NULL;
        _cleanup_free_ struct fanout_call *calls = NULL;
        const json_t *machines;
        int r = daemon_call(all->cli, "List", NULL, &reply);

        if (r != EXIT_DONE)
                return r;
        machines = json_object_get(reply, "machines");
        calls = xcalloc(json_array_size(machines) + 1, sizeof(*calls));
        *ret_n = find_running(machines, params, asked, calls);
        fanout_run(all->cli->socket, "Stop", calls, *ret_n, one_ended, all);
        for (size_t i = 0; i < *ret_n; i++)
                fanout_call_done(&calls[i]);
        return EXIT_DONE;
}

/* One that was starting may be followed by the next of auto-start: until none is left that was not asked. */
static int stop_all(struct cli *c) {
        _cleanup_json_ json_t *params = NULL, *asked = json_object();
        struct stop_all all = { .cli = c };
        size_t n = 0;
        int r = stop_params(c, "", &params);

        if (r != EXIT_DONE)
                return r;
        if (args_has(c->args, OPTION_JSON))
                all.list = json_array();
        do
                r = stop_round(&all, params, asked, &n);
        while (r == EXIT_DONE && n > 0);
        if (r == EXIT_DONE && !all.list && json_object_size(asked) == 0)
                cli_note(c, "no VM is running");
        if (all.list && (r == EXIT_DONE || json_array_size(all.list) > 0))
                cli_print_json(c, all.list);
        else
                json_decref(all.list);
        return r != EXIT_DONE ? r : all.code;
}

int verb_stop(struct cli *c) {
        if (!args_has(c->args, OPTION_ALL))
                return stop_one(c);
        if (c->args->arg[0]) {
                cli_fail("stop: either NAME or --all, not both");
                return EXIT_USAGE;
        }
        return stop_all(c);
}
