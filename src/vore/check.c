/* check: what is wrong with a definition on this host. One answer: the daemon's, if one answers, as it knows
 * its settings and may look at everything; else that of vore-check, which has the caller's rights and
 * settings. */
#include "base/str.h"
#include "vore/daemon.h"
#include "vore/errors.h"
#include "vore/input.h"
#include "vore/run.h"

#include <errno.h>
#include <unistd.h>

enum { FAULTS_MAX = 16 * 1024 * 1024 };

/* The walk needs the TOML reader, Lua and the C++ library, whose loading would cost every verb a millisecond:
 * it is a program of its own, beside vore in the build folder, else where it is installed. */
static char *check_program(void) {
        char self[4096];
        ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
        _cleanup_free_ char *beside = NULL;
        char *slash;

        self[MAX(n, (ssize_t) 0)] = '\0';
        slash = strrchr(self, '/');
        if (slash) {
                *slash = '\0';
                beside = xasprintf("%s/vore-check", self);
                if (access(beside, X_OK) == 0)
                        return TAKE_PTR(beside);
        }
        return xstrdup(VORE_LIBEXECDIR "/vore-check");
}

static int ask_here(struct cli *c, const struct input *in, json_t **ret) {
        const char *config = c->args->value[OPTION_CONFIG];
        _cleanup_free_ char *program = check_program(), *text = NULL;
        char *const argv[] = { program, (char *) in->file, in->directory, (char *) config, NULL };
        _cleanup_error_ struct error err = ERROR_INIT;
        size_t len = 0;
        int status = 0, r = run_program(argv, in->text, in->len, FAULTS_MAX, &text, &len, &status, &err);

        if (r < 0)
                return cli_fail("check: %s", error_text(&err));
        if (status != 0)
                return status < 128 ? EXIT_FAILED :
                                      cli_fail("check: %s ended by signal %d", program, status - 128);
        r = json_parse(text, len, ret, &err);
        return r < 0 ? cli_fail("check: %s: %s", program, error_text(&err)) : EXIT_DONE;
}

/* With other settings or another host's facts in mind the daemon is not the one to ask. */
static bool is_for_daemon(const struct cli *c) {
        return !args_has(c->args, OPTION_CONFIG) && str_empty(getenv("VORE_HOST_ROOT"));
}

/* *ret, a new reference, stays NULL when there is no daemon, or one that does not know the question. */
static int ask_daemon(struct cli *c, const struct input *in, json_t **ret) {
        _cleanup_json_ json_t *params = json_object(), *reply = NULL;
        _cleanup_free_ char *whole = daemon_method("Load"), *error = NULL;
        json_t *text;

        if (daemon_connect_quietly(c, NULL) < 0)
                return EXIT_DONE;
        text = json_stringn(in->text, in->len);
        if (!text) /* not UTF-8: what is wrong with it is said here */
                return EXIT_DONE;
        json_put(params, "toml", text);
        json_put_str(params, "directory", in->directory);
        json_put_str(params, "file", in->file);
        json_put_bool(params, "dry_run", true);
        int r = rpc_client_call(c->client, whole, TAKE_PTR(params), &reply, &error, NULL);
        json_t *faults = json_object_get(reply, "faults");
        if (json_is_array(faults))
                *ret = json_incref(faults);
        else if (r == -EREMOTEIO && !str_starts(error, "org.varlink.service."))
                return errors_print(c, "Load", error, reply); /* such as a script without an end */
        return EXIT_DONE;
}

int verb_check(struct cli *c) {
        _cleanup_input_ struct input in = INPUT_INIT;
        _cleanup_json_ json_t *faults = NULL;
        int r = input_read(c, c->args->arg[0], &in);
        bool wrong;

        if (r == EXIT_DONE && is_for_daemon(c))
                r = ask_daemon(c, &in, &faults);
        if (r == EXIT_DONE && !faults)
                r = ask_here(c, &in, &faults);
        if (r != EXIT_DONE)
                return r;
        wrong = faults_have_error(faults);
        if (args_has(c->args, OPTION_JSON)) {
                cli_print_json(c, TAKE_PTR(faults));
                return wrong ? EXIT_FAILED : EXIT_DONE;
        }
        faults_print(c, faults);
        if (!wrong)
                cli_note(c, "%s: nothing is wrong%s", in.file,
                         json_array_size(faults) ? " beside these warnings" : "");
        return wrong ? EXIT_FAILED : EXIT_DONE;
}
