#include "complete/fill.h"

#include "host/disk.h"

#include <sys/un.h>

enum { SOCKET_PATH_MAX = sizeof(((struct sockaddr_un *) 0)->sun_path) - 1 };

static const char *own_spice_path(struct fill *f) {
        const struct settings *s = f->req->settings;
        const char *name = f->def->machine.name;

        if (!s || str_empty(s->vore.state_dir) || str_empty(name))
                return NULL;
        return arena_printf(f->arena, "%s/instance/%s/spice.sock", s->vore.state_dir, name);
}

/* A path of the user's becomes a link to QEMU's own socket, made at each start. */
static void check_folder(struct fill *f) {
        const struct def_spice *s = &f->def->spice;
        const struct settings *settings = f->req->settings;
        const char *path = s->socket_path, *slash = strrchr(path, '/');
        const char *folder = slash == path ? "/" : arena_strndup(f->arena, path, (size_t) (slash - path));
        _cleanup_host_disk_ struct host_disk found = { 0 };

        if (host_disk(f->req->host, folder, &found) < 0 || found.node.type != 'd')
                FILL_ERROR(f, s, socket_path, "socket-path", NULL, "there is no folder %s to make it in",
                           folder);
        else if (settings && !settings->system && !found.node.writable)
                FILL_ERROR(f, s, socket_path, "socket-path", NULL,
                           "the folder %s may not be written by this user", folder);
}

static void check_link(struct fill *f, const char *own) {
        static const char hint[] = "name a path where nothing is, or remove it";
        const struct def_spice *s = &f->def->spice;
        const char *path = s->socket_path;
        _cleanup_free_ char *target = NULL;
        struct host_node node;

        if (host_readlink(f->req->host, path, &target) >= 0) {
                if (!str_eq(target, own))
                        FILL_ERROR(f, s, socket_path, "socket-path", hint,
                                   "%s is there already, a link to %s", path, target);
        } else if (host_node(f->req->host, path, &node) >= 0)
                FILL_ERROR(f, s, socket_path, "socket-path", hint, "%s is there already, and is %s", path,
                           node.type == 'd' ? "a folder" :
                           node.type == 's' ? "somebody's socket" :
                           node.type == 'f' ? "a file" :
                                              "a device or pipe");
}

static void fill_spice(struct fill *f) {
        struct def_spice *s = &f->def->spice;
        const char *own = own_spice_path(f);

        if (!s->enabled)
                return;
        if (str_empty(s->socket_path) && own) {
                s->socket_path = own;
                DEF_MARK(s, socket_path, ORIGIN_DEFAULT, "the state folder");
        } else if (!str_empty(s->socket_path) && !str_eq(s->socket_path, own) &&
                   !DEF_FAULTY(s, socket_path)) {
                check_folder(f);
                check_link(f, own);
        }
        /* QEMU always listens there, whatever socket-path says. */
        if (own && strlen(own) > SOCKET_PATH_MAX)
                FILL_ERROR(f, &f->def->machine, name, "name",
                           "a shorter name, or a shorter --state-dir of vored",
                           "the path of its SPICE socket, %s, is longer than the %d bytes that a socket's "
                           "can have",
                           own, SOCKET_PATH_MAX);
}

static void check_monitors(struct fill *f) {
        /* The longest name in the run-time folder of a VM. */
        static const char longest[] = "qmp-user.sock";
        const struct settings *s = f->req->settings;
        const struct def_machine *m = &f->def->machine;

        if (!s || str_empty(s->vore.runtime_dir) || str_empty(m->name))
                return;
        const char *path = arena_printf(f->arena, "%s/vm/%s/%s", s->vore.runtime_dir, m->name, longest);
        if (strlen(path) > SOCKET_PATH_MAX)
                FILL_ERROR(f, m, name, "name", "a shorter name, or a shorter --runtime-dir of vored",
                           "the path of its QMP socket, %s, is longer than the %d bytes that a socket's can "
                           "have",
                           path, SOCKET_PATH_MAX);
}

void fill_sockets(struct fill *f) {
        fill_spice(f);
        check_monitors(f);
}
