#include "vore/errors.h"

#include "base/file.h"
#include "base/str.h"
#include "schema/diag.h"
#include "vore/output.h"
#include "vore/pick.h"

#include <errno.h>
#include <fcntl.h>

enum { SOURCE_MAX = 64 * 1024 };

/* What to type after a WrongState; NULL: nothing helps. */
static char *next_step(const struct verb *verb, const char *name, const char *state, const char *operation) {
        if (operation)
                return xasprintf("wait until it is done (vore events), or end the VM with: vore kill %s",
                                 name);
        if (str_eq(state, "broken"))
                return xasprintf("mend its file and load it again: vore load FILE --save");
        if (verb->need != NEED_RUNNING && verb->need != NEED_HELD && state_runs(state))
                return xasprintf("end it first with: vore stop %s", name);
        if (verb->need == NEED_RUNNING && str_eq(state, "paused"))
                return xasprintf("let it go on with: vore resume %s", name);
        if (verb->need == NEED_RUNNING && !state_runs(state))
                return xasprintf("start it with: vore start %s", name);
        return NULL;
}

static char *wrong_state(const struct verb *verb, const json_t *params) {
        const char *name = json_get_str(params, "name", "?"), *state = json_get_str(params, "state", "");
        const char *operation = json_get_str(params, "operation", NULL);
        const char *message = json_get_str(params, "message", "");
        _cleanup_free_ char *next = next_step(verb, name, state, operation), *found = NULL;
        char span[32];

        if (!str_empty(message))
                found = xstrdup(message);
        else if (operation)
                found = xasprintf("%s is busy with %s since %s", name, operation,
                                  output_span(json_number_value(json_object_get(params, "seconds")), span));
        else
                found = xasprintf("%s is %s", name, state);
        /* The daemon may have said it already. */
        if (!next || strstr(found, "vore "))
                return xasprintf("%s: %s", verb->name, found);
        return xasprintf("%s: %s; %s", verb->name, found, next);
}

static char *no_such_machine(const json_t *params) {
        const json_t *candidates = json_object_get(params, "candidates"), *item;
        const char *name = json_get_str(params, "name", "?"), *best = NULL;
        unsigned best_distance = MIN(4u, (unsigned) MAX(strlen(name) / 3, (size_t) 1) + 1);
        struct strbuf b = STRBUF_INIT;
        size_t i;

        json_array_foreach (candidates, i, item) {
                const char *candidate = json_is_string(item) ? json_string_value(item) : "";
                unsigned distance = str_distance(name, candidate);

                if (distance < best_distance && distance < strlen(candidate)) {
                        best = candidate;
                        best_distance = distance;
                }
        }
        strbuf_addf(&b, "no VM is named \"%s\"", name);
        if (best)
                strbuf_addf(&b, ": did you mean \"%s\"?", best);
        else if (json_array_size(candidates) == 0)
                strbuf_add(&b, "; there are none yet: vore load FILE");
        else
                strbuf_add(&b, "; there are: ");
        for (i = 0; !best && i < MIN(json_array_size(candidates), (size_t) 20); i++)
                strbuf_addf(&b, "%s%s", i ? ", " : "", json_string_value(json_array_get(candidates, i)));
        if (!best && json_array_size(candidates) >= 20)
                strbuf_add(&b, ", … (vore list)");
        return strbuf_take(&b);
}

static char *start_failed(const struct verb *verb, const json_t *params) {
        const char *name = json_get_str(params, "name", "?");

        return xasprintf("%s: %s: %s; its log: vore logs %s", verb->name, name,
                         json_get_str(params, "reason", "it failed"), name);
}

static char *stop_timeout(const json_t *params) {
        const char *name = json_get_str(params, "name", "?"), *message = json_get_str(params, "message", "");
        char span[32];

        if (str_empty(message))
                return xasprintf("%s did not power off in %s and runs on; end it with: vore kill %s", name,
                                 output_span(json_number_value(json_object_get(params, "seconds")), span),
                                 name);
        return xasprintf("%s%s%s%s%s", str_starts(message, name) ? "" : name,
                         str_starts(message, name) ? "" : ": ", message,
                         strstr(message, "vore ") ? "" : "; end it with: vore kill ",
                         strstr(message, "vore ") ? "" : name);
}

static char *other_daemon(const char *socket, const char *method, const char *error, const json_t *params) {
        if (str_eq(error, "org.varlink.service.MethodNotFound") ||
            str_eq(error, "org.varlink.service.MethodNotImplemented") ||
            str_eq(error, "org.varlink.service.InterfaceNotFound"))
                return xasprintf(
                        "the daemon at %s does not know %s: it is not of this version of vore; restart it",
                        socket, method);
        if (str_eq(error, "org.varlink.service.InvalidParameter"))
                return xasprintf("the daemon at %s refuses the parameter %s of %s", socket,
                                 json_get_str(params, "parameter", "?"), method);
        return NULL;
}

char *errors_text(const struct verb *verb, const char *socket, const char *method, const char *error,
                  const json_t *params) {
        const char *message = json_get_str(params, "message", "");
        char *text = other_daemon(socket, method, error, params);

        if (text)
                return text;
        if (str_eq(error, "NoSuchMachine"))
                return no_such_machine(params);
        if (str_eq(error, "WrongState"))
                return wrong_state(verb, params);
        if (str_eq(error, "StartFailed"))
                return start_failed(verb, params);
        if (str_eq(error, "StopTimeout"))
                return stop_timeout(params);
        if (str_eq(error, "NotSupported") && str_empty(message))
                return xasprintf("%s is not supported by this version",
                                 json_get_str(params, "what", verb->name));
        if (!str_empty(message))
                return xasprintf("%s: %s", verb->name, message);
        return xasprintf("%s: the daemon at %s answered %s", verb->name, socket, error);
}

int errors_print(struct cli *c, const char *method, const char *error, const json_t *params) {
        _cleanup_free_ char *text = NULL;

        if (str_eq(error, "InvalidDefinition")) {
                if (!faults_print(c, json_object_get(params, "faults")))
                        cli_fail("%s: the daemon refuses the definition", c->args->verb->name);
                return EXIT_FAILED;
        }
        text = errors_text(c->args->verb, c->socket, method, error, params);
        faults_print(c, json_object_get(params, "faults"));
        cli_fail("%s", text);
        return str_eq(error, "PermissionDenied") ? EXIT_NO_DAEMON : EXIT_FAILED;
}

bool faults_have_error(const json_t *faults) {
        const json_t *fault;
        size_t i;

        json_array_foreach (faults, i, fault) {
                if (!str_eq(json_get_str(fault, "severity", "error"), "warning"))
                        return true;
        }
        return false;
}

json_t *faults_without(const json_t *faults, const json_t *known) {
        static const char *const keys[] = { "line", "column", "severity", "key", "message" };
        json_t *rest = json_array(), *fault, *other;
        size_t i, k;

        json_array_foreach (faults, i, fault) {
                bool found = false;

                json_array_foreach (known, k, other) {
                        bool same = true;

                        for (size_t n = 0; n < ARRAY_SIZE(keys); n++)
                                same = same && json_equal(json_object_get(fault, keys[n]),
                                                          json_object_get(other, keys[n]));
                        found = found || same;
                }
                if (!found)
                        json_push(rest, json_incref(fault));
        }
        return rest;
}

/* A copy of a fault whose texts cannot disturb the terminal. */
static json_t *fault_escaped(const json_t *fault) {
        json_t *copy = json_copy((json_t *) fault), *value;
        const char *key;
        void *next;

        json_object_foreach_safe (copy, next, key, value) {
                _cleanup_free_ char *text =
                        json_is_string(value) ? output_escaped(json_string_value(value)) : NULL;

                if (text)
                        json_put_str(copy, key, text);
        }
        return copy;
}

/* The text of the file that a fault is in: the one handed over, else what can be read. */
static const char *source_of(const struct cli *c, const char *file, char **owned) {
        if (!c->err_terminal)
                return NULL;
        if (c->source && str_eq(file, c->source_file))
                return c->source;
        if (file[0] == '/' && file_read(AT_FDCWD, file, SOURCE_MAX, owned, NULL, NULL) >= 0)
                return *owned;
        return NULL;
}

/* Faults from first on that are in the same file; gives the index behind them. */
static size_t print_one_file(struct cli *c, const json_t *faults, size_t first) {
        _cleanup_arena_ struct arena *arena = arena_new();
        _cleanup_json_ json_t *group = json_array();
        _cleanup_free_ char *owned = NULL, *shown = NULL;
        const char *file = json_get_str(json_array_get(faults, first), "file", "");
        struct diags d;
        size_t i = first;

        for (; i < json_array_size(faults); i++) {
                const json_t *fault = json_array_get(faults, i);

                if (!str_eq(json_get_str(fault, "file", ""), file))
                        break;
                json_push(group, fault_escaped(fault));
        }
        shown = output_escaped(file);
        diags_init(&d, arena, shown);
        diags_add_json(&d, group);
        diags_print(&d, stderr, source_of(c, file, &owned), c->err_color);
        return i;
}

bool faults_print(struct cli *c, const json_t *faults) {
        for (size_t i = 0; i < json_array_size(faults);)
                i = print_one_file(c, faults, i);
        return faults_have_error(faults);
}
