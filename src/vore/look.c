/* logs, events, qmp, x qemucmd, daemon version: look inside. */
#include "base/clock.h"
#include "base/str.h"
#include "vore/daemon.h"
#include "vore/errors.h"
#include "vore/input.h"
#include "vore/output.h"

#include <time.h>

struct follow {
        struct cli *cli;
        const char *name;
        bool whole;         /* with --json: one document in the end */
        struct strbuf line; /* with --json: all, or what has come of a line that is not complete */
};

/* QEMU and vored begin their lines with "2026-11-27T19:08:36.051234Z "; others have none. */
static double line_time(const char *line) {
        struct tm tm = { 0 };
        const char *rest = strptime(line, "%Y-%m-%dT%H:%M:%S", &tm);
        char *end = NULL;
        double fraction = rest && *rest == '.' ? strtod(rest, &end) : 0;

        if (!rest || *(end ? end : rest) != 'Z')
                return (double) clock_realtime_us() / 1e6;
        return (double) timegm(&tm) + fraction;
}

static void log_line_json(struct follow *f, char *line) {
        _cleanup_json_ json_t *out = json_object();
        json_t *data = json_object();

        json_put(out, "time", json_real(line_time(line)));
        json_put_str(out, "vm", f->name);
        json_put_str(out, "event", "log");
        json_put_str(data, "line", line);
        json_put(out, "data", data);
        cli_print_json_line(out);
}

static int log_text_json(struct follow *f, const char *text) {
        char *line, *newline;

        strbuf_add(&f->line, text);
        for (line = f->line.data; (newline = strchr(line, '\n')); line = newline + 1) {
                *newline = '\0';
                log_line_json(f, line);
        }
        struct strbuf rest = STRBUF_INIT;
        strbuf_add(&rest, line);
        strbuf_done(&f->line);
        f->line = rest;
        return cli_flush(EXIT_DONE);
}

static int log_text(struct follow *f, const char *text) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

        if (!*text)
                return EXIT_DONE;
        if (f->cli->terminal) {
                output_escape(&b, text, "\n\t");
                text = b.data;
        }
        fputs(text, stdout);
        return cli_flush(EXIT_DONE);
}

static int follow_reply(const json_t *params, void *data) {
        struct follow *f = data;
        const char *text = json_get_str(params, "text", "");

        if (f->whole) {
                strbuf_add(&f->line, text);
                return EXIT_DONE;
        }
        return args_has(f->cli->args, OPTION_JSON) ? log_text_json(f, text) : log_text(f, text);
}

int verb_logs(struct cli *c) {
        bool follow = args_has(c->args, OPTION_FOLLOW);
        _cleanup_free_ char *name = NULL;
        _cleanup_json_ json_t *reply = NULL;
        struct follow f = { .cli = c };
        json_t *params;
        int r = daemon_name(c, 0, &name);

        if (r != EXIT_DONE)
                return r;
        f.name = name;
        f.whole = args_has(c->args, OPTION_JSON) && !follow;
        params = daemon_params(name);
        if (follow)
                json_put_bool(params, "follow", true);
        r = daemon_call_more(c, "Logs", params, follow_reply, &f, &reply);
        if (r == EXIT_DONE)
                r = follow_reply(reply, &f);
        if (r == EXIT_DONE && f.whole) {
                json_put_str(reply, "text", f.line.data ? f.line.data : "");
                json_put_str(reply, "name", name);
                r = cli_print_json(c, TAKE_PTR(reply));
        } else if (!f.whole && f.line.len)
                log_line_json(&f, f.line.data);
        strbuf_done(&f.line);
        return r;
}

/* "state=running reason=…": data of an event in short. */
static void add_data(struct strbuf *b, const json_t *data) {
        const json_t *value;
        const char *key;

        json_object_foreach ((json_t *) data, key, value) {
                _cleanup_free_ char *text =
                        json_is_string(value) ? xstrdup(json_string_value(value)) : json_text(value);

                if (json_is_null(value))
                        continue;
                strbuf_addf(b, "%s", b->len ? " " : "");
                output_escape(b, key, NULL);
                strbuf_add(b, "=");
                output_escape(b, text, NULL);
        }
}

static void print_event_line(const struct cli *c, const json_t *event, const char *vm, const json_t *data) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        _cleanup_free_ char *name = output_escaped(vm),
                            *what = output_escaped(json_get_str(event, "event", "?"));
        double when = json_number_value(json_object_get(event, "time"));
        time_t seconds = (time_t) when;
        struct tm tm;
        char clock[64];

        localtime_r(&seconds, &tm);
        strftime(clock, sizeof(clock), c->terminal ? "%H:%M:%S" : "%Y-%m-%dT%H:%M:%S", &tm);
        add_data(&b, data);
        printf(c->terminal ? "%s.%03d  %-16s %-10s %s\n" : "%s.%03d\t%s\t%s\t%s\n", clock,
               (int) ((when - (double) seconds) * 1000), name ? name : "-", what, b.data ? b.data : "");
}

static int event_reply(const json_t *params, void *arg) {
        struct cli *c = arg;
        const json_t *event = json_object_get(params, "event"), *data = json_object_get(event, "data"),
                     *machine;
        size_t i;

        if (args_has(c->args, OPTION_JSON))
                return cli_print_json_line(event ? event : params);
        if (!str_eq(json_get_str(event, "event", ""), "snapshot")) {
                print_event_line(c, event, json_get_str(event, "vm", NULL), data);
                return cli_flush(EXIT_DONE);
        }
        json_array_foreach (json_object_get(data, "machines"), i, machine) {
                _cleanup_json_ json_t *state = json_object();

                json_put_str(state, "state", json_get_str(machine, "state", "?"));
                print_event_line(c, event, json_get_str(machine, "name", NULL), state);
        }
        return cli_flush(EXIT_DONE);
}

int verb_events(struct cli *c) {
        _cleanup_json_ json_t *reply = NULL;
        int r = daemon_call_more(c, "Subscribe", NULL, event_reply, c, &reply);

        if (r == EXIT_DONE && reply)
                r = event_reply(reply, c);
        /* The stream only ends with the daemon, or with a reader that fell behind. */
        return r == EXIT_DONE ? cli_fail("events: the daemon ended the stream") : r;
}

int verb_qmp(struct cli *c) {
        _cleanup_free_ char *name = NULL;
        _cleanup_json_ json_t *answer = NULL;
        json_t *params, *reply, *error;
        int r = daemon_name(c, 0, &name);

        if (r != EXIT_DONE)
                return r;
        params = daemon_params(name);
        json_put_str(params, "command", c->args->arg[1]);
        r = daemon_call(c, "Qmp", params, &answer);
        if (r != EXIT_DONE)
                return r;
        reply = json_object_get(answer, "reply");
        cli_print_json(c, json_incref(reply));
        error = json_object_get(reply, "error");
        if (!error)
                return EXIT_DONE;
        fflush(stdout);
        return cli_fail("qmp: %s: %s", json_get_str(error, "class", "error"),
                        json_get_str(error, "desc", ""));
}

/* An argument with a / or ending in .toml is a file. */
static bool names_file(const char *word) {
        return word && (str_eq(word, "-") || strchr(word, '/') || str_ends(word, ".toml"));
}

static int qemucmd_params(struct cli *c, struct input *in, json_t *params) {
        _cleanup_free_ char *name = NULL;
        int r;

        if (names_file(c->args->arg[0])) {
                r = input_read(c, c->args->arg[0], in);
                if (r == EXIT_DONE)
                        r = input_params(c, in, params);
        } else {
                r = daemon_name(c, 0, &name);
                if (r == EXIT_DONE)
                        json_put_str(params, "name", name);
        }
        return r == EXIT_DONE ? input_cdroms(c, params) : r;
}

int verb_qemucmd(struct cli *c) {
        _cleanup_input_ struct input in = INPUT_INIT;
        _cleanup_json_ json_t *params = json_object(), *reply = NULL;
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        const json_t *argument;
        size_t i;
        int r = qemucmd_params(c, &in, params);

        if (args_has(c->args, OPTION_DISPLAY))
                json_put_bool(params, "display", true);
        if (args_has(c->args, OPTION_EXACT))
                json_put_bool(params, "exact", true);
        if (r == EXIT_DONE)
                r = daemon_call(c, "QemuCommand", TAKE_PTR(params), &reply);
        if (r != EXIT_DONE)
                return r;
        if (faults_print(c, json_object_get(reply, "faults")))
                return EXIT_FAILED;
        if (args_has(c->args, OPTION_JSON))
                return cli_print_json(c, json_incref(json_object_get(reply, "arguments")));
        json_array_foreach (json_object_get(reply, "arguments"), i, argument) {
                strbuf_add(&b, i ? " " : "");
                strbuf_add_shell(&b, json_is_string(argument) ? json_string_value(argument) : "");
        }
        puts(b.data ? b.data : "");
        return EXIT_DONE;
}

int verb_version(struct cli *c) {
        _cleanup_json_ json_t *reply = NULL;
        int r = daemon_call(c, "Version", NULL, &reply);

        if (r != EXIT_DONE)
                return r;
        if (args_has(c->args, OPTION_JSON))
                return cli_print_json(c, TAKE_PTR(reply));
        printf("vored %s (%s, pid %lld, QEMU %s)\n", json_get_str(reply, "version", "?"),
               json_get_bool(reply, "system", false) ? "system" : "session",
               (long long) json_get_int(reply, "pid", 0), json_get_str(reply, "qemu", "not asked yet"));
        return EXIT_DONE;
}
