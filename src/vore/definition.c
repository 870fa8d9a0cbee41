/* load, save, unload, forget: definitions and the daemon. */
#include "base/str.h"
#include "vore/daemon.h"
#include "vore/errors.h"
#include "vore/input.h"

int verb_load(struct cli *c) {
        _cleanup_input_ struct input in = INPUT_INIT;
        _cleanup_json_ json_t *params = json_object(), *reply = NULL;
        bool save = args_has(c->args, OPTION_SAVE);
        int r = input_read(c, c->args->arg[0], &in);

        if (r == EXIT_DONE)
                r = input_params(c, &in, params);
        if (r == EXIT_DONE)
                r = input_cdroms(c, params);
        if (save)
                json_put_bool(params, "save", true);
        if (r == EXIT_DONE)
                r = daemon_call(c, "Load", TAKE_PTR(params), &reply);
        if (r != EXIT_DONE)
                return r;
        if (args_has(c->args, OPTION_JSON))
                return cli_print_json(c, TAKE_PTR(reply));
        faults_print(c, json_object_get(reply, "faults"));
        const char *name = json_get_str(reply, "name", "?"), *note = json_get_str(reply, "note", NULL);
        printf("%s is loaded%s\n", name, json_get_bool(reply, "saved", save) ? " and saved" : "");
        if (note)
                cli_note(c, "%s: %s; to keep this one: vore save %s", name, note, name);
        return EXIT_DONE;
}

/* What all verbs say that change one VM and have little to tell. reply is stolen. */
static int say_done(struct cli *c, json_t *reply, const char *name, const char *what) {
        _cleanup_json_ json_t *own = reply;

        if (args_has(c->args, OPTION_JSON)) {
                json_put_str(own, "name", name);
                return cli_print_json(c, TAKE_PTR(own));
        }
        faults_print(c, json_object_get(own, "faults"));
        printf("%s is %s\n", name, what);
        return EXIT_DONE;
}

int verb_save(struct cli *c) {
        _cleanup_free_ char *name = NULL;
        json_t *reply = NULL;
        int r = daemon_name(c, 0, &name);

        if (r == EXIT_DONE)
                r = daemon_call(c, "Save", daemon_params(name), &reply);
        return r == EXIT_DONE ? say_done(c, reply, name, "saved") : r;
}

int verb_unload(struct cli *c) {
        _cleanup_free_ char *name = NULL;
        json_t *reply = NULL;
        int r = daemon_name(c, 0, &name);

        if (r == EXIT_DONE)
                r = daemon_call(c, "Unload", daemon_params(name), &reply);
        return r == EXIT_DONE ? say_done(c, reply, name, "unloaded") : r;
}

int verb_forget(struct cli *c) {
        bool purge = args_has(c->args, OPTION_PURGE);
        const char *name = c->args->arg[0];
        json_t *params = daemon_params(name), *reply = NULL;
        int r;

        if (purge)
                json_put_bool(params, "purge", true);
        r = daemon_call(c, "Forget", params, &reply);
        return r == EXIT_DONE ?
                       say_done(c, reply, name, purge ? "forgotten, with its instance folder" : "forgotten") :
                       r;
}
