#include "complete/fill.h"

#include <sys/un.h>

enum { SOCKET_PATH_MAX = sizeof(((struct sockaddr_un *) 0)->sun_path) - 1 };

static const char *own_spice_path(struct fill *f) {
        const struct settings *s = f->req->settings;
        const char *name = f->def->machine.name;

        if (!s || str_empty(s->vore.state_dir) || str_empty(name))
                return NULL;
        return arena_printf(f->arena, "%s/instance/%s/spice.sock", s->vore.state_dir, name);
}

static void fill_spice(struct fill *f) {
        struct def_spice *s = &f->def->spice;
        const char *own = own_spice_path(f);

        if (!s->enabled)
                return;
        if (str_empty(s->socket_path) && own) {
                s->socket_path = own;
                DEF_MARK(s, socket_path, ORIGIN_DEFAULT, "the state folder");
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
