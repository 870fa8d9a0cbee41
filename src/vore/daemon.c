#include "vore/daemon.h"

#include "base/arena.h"
#include "base/str.h"
#include "settings/settings.h"
#include "vore/errors.h"
#include "vore/pick.h"
#include "vore/progress.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SOCKETS_MAX = 2 };

struct sockets {
        const char *path[SOCKETS_MAX];
        size_t n;
        bool named; /* by the user: then it does not matter whose it is */
};

static void sockets_choose(struct sockets *s, struct cli *c, struct arena *arena) {
        const char *named =
                args_has(c->args, OPTION_CONN) ? c->args->value[OPTION_CONN] : getenv("VORE_SOCKET");

        if (args_has(c->args, OPTION_CONN) || !str_empty(named))
                *s = (struct sockets){ { named }, 1, true };
        else
                *s = (struct sockets){ { settings_session_socket(arena), settings_system_socket() },
                                       2,
                                       false };
}

/* Without XDG_RUNTIME_DIR the session's socket is in /tmp, where anybody could have put one. */
static bool peer_trusted(const struct rpc_client *client) {
        struct ucred peer;
        socklen_t len = sizeof(peer);

        return getsockopt(rpc_client_fd(client), SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
               (peer.uid == geteuid() || peer.uid == 0);
}

/* The last one's failure is what counts: no permission for the system's socket says more than no session. */
static int sockets_try(const struct sockets *s, struct cli *c, struct error *err) {
        int r = -ENOENT;

        for (size_t i = 0; i < s->n; i++) {
                r = rpc_client_connect(s->path[i], &c->client, err);
                if (r >= 0 && (s->named || peer_trusted(c->client))) {
                        c->socket = xstrdup(s->path[i]);
                        return 0;
                }
                if (r >= 0)
                        r = error_set(err, -EPERM, "%s belongs to another user", s->path[i]);
                rpc_client_free(TAKE_PTR(c->client));
        }
        return r;
}

static int no_permission(const char *path) {
        const struct passwd *me = getpwuid(geteuid());
        const struct group *group;
        struct stat st;
        bool known = stat(path, &st) == 0;

        if (known && !(st.st_mode & S_IWGRP)) {
                const struct passwd *owner = getpwuid(st.st_uid);

                cli_fail("no permission for %s: it belongs to %s alone", path,
                         owner ? owner->pw_name : "another user");
                return EXIT_NO_DAEMON;
        }
        group = known ? getgrgid(st.st_gid) : NULL;
        if (known && st.st_gid == 0)
                cli_fail("no permission for %s: only root may use it; try: sudo vore …", path);
        else
                cli_fail(
                        "no permission for %s: join the group %s (sudo usermod -aG %s %s, then log in again)",
                        path, group ? group->gr_name : "vore", group ? group->gr_name : "vore",
                        me ? me->pw_name : "YOU");
        return EXIT_NO_DAEMON;
}

static int no_daemon(const struct sockets *s, int r, const struct error *err) {
        const char *last = s->path[s->n - 1];

        if (r == -EACCES || r == -EPERM)
                return no_permission(last);
        if (r != -ENOENT && r != -ECONNREFUSED)
                cli_fail("%s", error_text(err));
        else if (s->n == 1)
                cli_fail("no daemon at %s; start one with: vored --socket %s", last, last);
        else
                cli_fail("no daemon at %s nor at %s; start one: vored (your own), or sudo systemctl start "
                         "vored (the system's)",
                         s->path[0], last);
        return EXIT_NO_DAEMON;
}

int daemon_connect(struct cli *c) {
        _cleanup_arena_ struct arena *arena = NULL;
        _cleanup_error_ struct error err = ERROR_INIT;
        struct sockets s;
        int r;

        if (c->client)
                return EXIT_DONE;
        arena = arena_new();
        sockets_choose(&s, c, arena);
        r = sockets_try(&s, c, &err);
        return r < 0 ? no_daemon(&s, r, &err) : EXIT_DONE;
}

int daemon_connect_quietly(struct cli *c, struct error *err) {
        _cleanup_arena_ struct arena *arena = arena_new();
        struct sockets s;

        if (c->client)
                return 0;
        sockets_choose(&s, c, arena);
        return sockets_try(&s, c, err);
}

char *daemon_method(const char *method) {
        return xasprintf("dev.vore.Manager.%s", method);
}

int daemon_call_more(struct cli *c, const char *method, json_t *params, rpc_reply_fn fn, void *data,
                     json_t **ret) {
        _cleanup_json_ json_t *own = params, *reply = NULL;
        _cleanup_free_ char *whole = daemon_method(method), *name = NULL;
        _cleanup_error_ struct error err = ERROR_INIT;
        int r = daemon_connect(c);

        if (r != EXIT_DONE)
                return r;
        /* What is waited for is done also when nobody reads the last line; a stream is for its reader. */
        if (fn && !c->progress)
                rpc_client_watch(c->client, STDOUT_FILENO);
        r = fn ? rpc_client_call_more(c->client, whole, TAKE_PTR(own), fn, data, &reply, &name, &err) :
                 rpc_client_call(c->client, whole, TAKE_PTR(own), &reply, &name, &err);
        if (c->progress)
                progress_done(c->progress);
        if (r == -EPIPE)
                return EXIT_FAILED; /* as a write would end it, without a word */
        if (r == -EREMOTEIO)
                return errors_print(c, method, name, reply);
        if (r < 0)
                return cli_fail("%s: lost the daemon at %s: %s", c->args->verb->name, c->socket,
                                error_text(&err));
        if (ret)
                *ret = TAKE_PTR(reply);
        return r > 0 ? r : EXIT_DONE;
}

int daemon_call(struct cli *c, const char *method, json_t *params, json_t **ret) {
        return daemon_call_more(c, method, params, NULL, NULL, ret);
}

json_t *daemon_params(const char *name) {
        json_t *params = json_object();

        json_put_str(params, "name", name);
        return params;
}

int daemon_name(struct cli *c, size_t index, char **ret) {
        const struct verb *verb = c->args->verb;
        _cleanup_json_ json_t *reply = NULL;
        _cleanup_free_ char *text = NULL;
        int r;

        if (c->args->arg[index]) {
                *ret = xstrdup(c->args->arg[index]);
                return EXIT_DONE;
        }
        r = daemon_call(c, "List", NULL, &reply);
        if (r != EXIT_DONE)
                return r;
        if (pick_name(json_object_get(reply, "machines"), verb->need, verb->name, ret, &text) < 0)
                return cli_fail("%s", text);
        return EXIT_DONE;
}
