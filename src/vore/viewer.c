#include "vore/viewer.h"

#include "base/str.h"
#include "vore/daemon.h"
#include "vore/pick.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

void viewer_vm_done(struct viewer_vm *vm) {
        free(vm->name);
        json_decref(vm->definition);
}

const json_t *viewer_section(const struct viewer_vm *vm, const char *section) {
        return json_object_get(vm->definition, section);
}

/* -- until it runs ---------------------------------------------------------------------------------- */

struct wait {
        struct cli *cli;
        const char *name;
        char *state, *reason; /* owned */
        pid_t pid;
        bool told;
};

enum { WAIT_OVER = 1000 }; /* no exit code */

static void take_state(struct wait *w, const json_t *from) {
        const char *state = json_get_str(from, "state", "unknown"),
                   *reason = json_get_str(from, "reason", NULL);

        free(w->state);
        free(w->reason);
        w->state = xstrdup(state);
        w->reason = reason ? xstrdup(reason) : NULL;
        w->pid = (pid_t) json_get_int(from, "pid", -1);
}

/* The snapshot comes first, then what happens. */
static int on_event(const json_t *params, void *data) {
        const json_t *event = json_object_get(params, "event"), *machine;
        const json_t *machines = json_object_get(json_object_get(event, "data"), "machines");
        struct wait *w = data;
        size_t i;

        json_array_foreach (machines, i, machine) {
                if (str_eq(json_get_str(machine, "name", NULL), w->name))
                        take_state(w, machine);
        }
        if (str_eq(json_get_str(event, "event", NULL), "state") &&
            str_eq(json_get_str(event, "vm", NULL), w->name))
                take_state(w, json_object_get(event, "data"));
        if (w->state && !str_eq(w->state, "starting"))
                return WAIT_OVER;
        if (!w->told)
                cli_note(w->cli, "%s is starting ...", w->name);
        w->told = true;
        return 0;
}

static int wait_running(struct cli *c, struct viewer_vm *vm) {
        struct wait w = { .cli = c, .name = vm->name, .pid = -1 };
        int r = daemon_call_more(c, "Subscribe", daemon_params(vm->name), on_event, &w, NULL);

        /* The stream was left in the middle: nothing else can be asked over it. */
        rpc_client_free(TAKE_PTR(c->client));
        vm->pid = w.pid;
        if (r == EXIT_DONE)
                r = cli_fail("%s: the daemon ended the stream of events", c->args->verb->name);
        else if (r == WAIT_OVER && state_runs(w.state))
                r = EXIT_DONE;
        else if (r == WAIT_OVER)
                r = cli_fail("%s is not running, it is %s%s%s (vore start %s starts it)", vm->name, w.state,
                             w.reason ? ": " : "", w.reason ? w.reason : "", vm->name);
        free(w.state);
        free(w.reason);
        return r;
}

int viewer_vm(struct cli *c, struct viewer_vm *ret) {
        const char *named = c->args->value[OPTION_VM];
        _cleanup_viewer_vm_ struct viewer_vm vm = { .pid = -1 };
        _cleanup_json_ json_t *reply = NULL;
        int r = EXIT_DONE;

        if (named && c->args->arg[0] && !str_eq(named, c->args->arg[0])) {
                cli_fail("%s: NAME and --vm name different VMs", c->args->verb->name);
                return EXIT_USAGE;
        }
        if (named)
                vm.name = xstrdup(named);
        else
                r = daemon_name(c, 0, &vm.name);
        if (r == EXIT_DONE)
                r = daemon_call(c, "Show", daemon_params(vm.name), &reply);
        if (r == EXIT_DONE)
                r = wait_running(c, &vm);
        if (r != EXIT_DONE)
                return r;
        vm.definition = json_incref(json_object_get(reply, "definition"));
        *ret = vm;
        vm = (struct viewer_vm){ 0 };
        return EXIT_DONE;
}

/* -- the program ------------------------------------------------------------------------------------ */

static bool is_program(const char *path) {
        struct stat st;

        return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* path, absolute, if it is a program: who runs it may be in another folder then. */
static char *absolute_program(const char *path) {
        _cleanup_free_ char *cwd = NULL;

        if (!is_program(path))
                return NULL;
        if (*path == '/')
                return xstrdup(path);
        cwd = getcwd(NULL, 0);
        return cwd ? xasprintf("%s/%s", cwd, path) : NULL;
}

/* execvp(3)'s way, without executing. Owned by the caller; NULL: none. */
static char *find_program(const char *name) {
        const char *path = getenv("PATH");

        if (strchr(name, '/'))
                return absolute_program(name);
        for (const char *p = path ? path : "/usr/bin:/bin"; *p; p += *p == ':') {
                size_t n = strcspn(p, ":");
                _cleanup_free_ char *full = xasprintf("%.*s/%s", n ? (int) n : 1, n ? p : ".", name);
                char *found = absolute_program(full);

                if (found)
                        return found;
                p += n;
        }
        return NULL;
}

int viewer_program(const char *variable, const char *const names[], const char *hint, char **ret) {
        const char *named = getenv(variable);
        _cleanup_strbuf_ struct strbuf all = STRBUF_INIT;

        if (!str_empty(named)) {
                *ret = find_program(named);
                return *ret ? EXIT_DONE : cli_fail("%s=%s: there is no such program", variable, named);
        }
        for (size_t i = 0; names[i]; i++) {
                *ret = find_program(names[i]);
                if (*ret)
                        return EXIT_DONE;
                strbuf_addf(&all, "%s%s", !i ? "" : names[i + 1] ? ", " : " nor ", names[i]);
        }
        return cli_fail("there is no %s in PATH: %s, or name a program in %s", all.data, hint, variable);
}

/* What is in the way: the file, or the innermost folder above it that can be looked at. */
static int stat_nearest(const char *path, struct stat *ret) {
        _cleanup_free_ char *part = xstrdup(path);
        char *slash;

        while (stat(part, ret) < 0) {
                if (errno != EACCES || !(slash = strrchr(part, '/')) || slash == part)
                        return -errno;
                *slash = '\0';
        }
        return 0;
}

int viewer_may_open(const char *what, const char *path, int mode) {
        const struct passwd *me = getpwuid(geteuid());
        const struct group *group;
        struct stat st;
        int r = access(path, mode) < 0 ? -errno : 0;

        if (r == 0)
                return EXIT_DONE;
        if (r != -EACCES || stat_nearest(path, &st) < 0)
                return cli_fail("%s %s cannot be opened: %s", what, path, strerror(-r));
        group = getgrgid(st.st_gid);
        if (st.st_gid == 0 || !(st.st_mode & S_IRWXG))
                return cli_fail("no permission for %s %s: it belongs to user %u alone", what, path,
                                st.st_uid);
        return cli_fail(
                "no permission for %s %s: join the group %s (sudo usermod -aG %s %s, then log in again)",
                what, path, group ? group->gr_name : "?", group ? group->gr_name : "?",
                me ? me->pw_name : "YOU");
}

int viewer_exec(char *const argv[]) {
        fflush(NULL);
        /* Ignored signals would stay so in the program. */
        signal(SIGPIPE, SIG_DFL);
        execv(argv[0], argv);
        return cli_fail("cannot run %s: %s", argv[0], strerror(errno));
}
