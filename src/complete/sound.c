#include "complete/fill.h"

#include "host/socket.h"

#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

/* One of the three: what it is, and how its server is found. */
struct sound {
        struct def_audio *audio;
        const char *what;  /* "PulseAudio" */
        const char *start; /* what to do when it does not answer */
        bool (*find)(struct fill *f,
                     const struct sound *sound); /* fills in socket_path; false: that was an error */
};

/* The user under whom QEMU runs; -1: a number of the VM's own, which is nobody's. */
static int64_t qemu_uid(const struct fill *f) {
        const struct settings *settings = f->req->settings;
        struct host_user user;

        if (settings && !settings->system)
                return geteuid();
        if (!settings || !settings->qemu.user ||
            host_user(f->req->host, settings->qemu.user, &user, NULL) < 0)
                return -1;
        int64_t uid = user.uid;
        host_user_done(&user);
        return uid;
}

static bool session_mode(const struct fill *f) {
        return f->req->settings && !f->req->settings->system;
}

/* The user's folder of sockets; what a session says of itself counts for itself only. */
static const char *user_folder(struct fill *f, int64_t uid) {
        const char *own = getenv("XDG_RUNTIME_DIR");

        if (session_mode(f) && !str_empty(own) && *own == '/')
                return own;
        return arena_printf(f->arena, "/run/user/%" PRId64, uid);
}

static void set_socket(struct fill *f, const struct sound *sound, const char *path) {
        struct def_audio *a = sound->audio;

        if (!str_empty(a->socket_path))
                return;
        a->socket_path = path;
        DEF_MARK(a, socket_path, ORIGIN_DEFAULT,
                 arena_printf(f->arena, "%s of user %" PRId64, sound->what, a->user_uid));
}

static bool find_pulse(struct fill *f, const struct sound *sound) {
        set_socket(f, sound,
                   arena_printf(f->arena, "%s/pulse/native", user_folder(f, sound->audio->user_uid)));
        return true;
}

static bool find_pipewire(struct fill *f, const struct sound *sound) {
        set_socket(f, sound, arena_printf(f->arena, "%s/pipewire-0", user_folder(f, sound->audio->user_uid)));
        return true;
}

/* What QEMU gets with the group must be the server's files, not what its user shares with it besides. */
static bool check_group(struct fill *f, struct def_audio *a, const char *server, const char *socket) {
        const char *name = arena_printf(f->arena, "#%" PRId64, a->user_uid);
        struct host_user user;
        struct host_node node;

        if (host_node(f->req->host, socket, &node) < 0 || host_user(f->req->host, name, &user, NULL) < 0)
                return true;
        gid_t own = user.gid;
        host_user_done(&user);
        if (node.gid != 0 && node.gid != own)
                return true;
        FILL_ERROR(f, a, user, "user",
                   "start jackd with JACK_PROMISCUOUS_SERVER=GROUP, a group made for this",
                   "the JACK server \"%s\" is open to its user's own group (%u): QEMU would get that, and "
                   "all that is "
                   "open to it",
                   server, (unsigned) node.gid);
        return false;
}

/* jackd 2 listens in /dev/shm; only one that lets in others leaves its user out of the name. QEMU as that
 * user reaches both. */
static bool find_jack(struct fill *f, const struct sound *sound) {
        struct def_audio *a = sound->audio;
        const char *server = str_empty(a->server) ? "default" : a->server;
        const char *open = arena_printf(f->arena, "/dev/shm/jack_%s_0", server);
        const char *own = arena_printf(f->arena, "/dev/shm/jack_%s_%" PRId64 "_0", server, a->user_uid);
        bool same = qemu_uid(f) == a->user_uid;
        int open_r = host_socket_answers(f->req->host, open), own_r = host_socket_answers(f->req->host, own);

        set_socket(f, sound, same && own_r >= 0 ? own : open);
        if (same || (open_r < 0 && own_r < 0))
                return true;
        if (open_r >= 0)
                return check_group(f, a, server, open);
        FILL_ERROR(
                f, a, user, "user",
                arena_printf(f->arena,
                             "start jackd with JACK_PROMISCUOUS_SERVER=GROUP, or run all VMs as this user: "
                             "user = \"#%" PRId64 "\" in [qemu] of vored.toml",
                             a->user_uid),
                "the JACK server \"%s\" of user %" PRId64
                " lets in nobody else, and QEMU runs as another user",
                server, a->user_uid);
        return false;
}

static bool find_user(struct fill *f, const struct sound *sound) {
        struct def_audio *a = sound->audio;
        _cleanup_error_ struct error err = ERROR_INIT;
        struct host_user user;

        if (DEF_FAULTY(a, user))
                return false;
        if (str_empty(a->user)) {
                a->user = session_mode(f) ? arena_printf(f->arena, "#%u", (unsigned) geteuid()) : "#1000";
                DEF_MARK(a, user, ORIGIN_DEFAULT, session_mode(f) ? "the session's user" : NULL);
        }
        if (host_user(f->req->host, a->user, &user, &err) < 0) {
                FILL_ERROR(f, a, user, "user", NULL, "%s", error_text(&err));
                return false;
        }
        a->user_uid = user.uid;
        DEF_MARK(a, user_uid, ORIGIN_HOST, "the users of this host");
        host_user_done(&user);
        if (!session_mode(f) || a->user_uid == geteuid())
                return true;
        FILL_ERROR(f, a, user, "user", "leave the key out, or use the system daemon",
                   "a session's VM reaches the sound of its own user only, not that of %s", a->user);
        return false;
}

static const char *reason(int r) {
        return r == -ECONNREFUSED ? "nobody listens there" :
               r == -EAGAIN       ? "it accepts nobody: it seems to hang" :
               r == -ENOTSOCK     ? "that is no socket" :
                                    strerror(-r);
}

static void look(struct fill *f, const struct sound *sound) {
        struct def_audio *a = sound->audio;
        const char *key = arena_printf(f->arena, "%s.%s", a->head.path, a->required ? "required" : "enabled");
        struct loc loc = a->required ? DEF_LOC(a, required) : DEF_LOC(a, enabled);
        int r = DEF_FAULTY(a, socket_path) ? 0 : host_socket_answers(f->req->host, a->socket_path);

        if (r >= 0)
                return;
        a->silent = true;
        DEF_MARK(a, silent, ORIGIN_HOST, a->socket_path);
        if (a->required)
                diag_error(f->diags, loc, key, sound->start,
                           "no %s server of user %" PRId64 " answers at %s: %s", sound->what, a->user_uid,
                           a->socket_path, reason(r));
        else
                diag_warning(f->diags, loc, key, sound->start,
                             "no %s server of user %" PRId64
                             " answers at %s: %s; the VM's sound card is silent",
                             sound->what, a->user_uid, a->socket_path, reason(r));
}

void fill_sound(struct fill *f) {
        struct def *def = f->def;
        const struct sound sounds[] = {
                { &def->pulse, "PulseAudio",
                  "start it (systemctl --user start pulseaudio, or pipewire-pulse), or name its user or "
                  "socket-path",
                  find_pulse },
                { &def->jack, "JACK",
                  "start jackd, or name its user or server; PipeWire's JACK is reached by [pipewire]",
                  find_jack },
                { &def->pipewire, "PipeWire", "start it (systemctl --user start pipewire), or name its user",
                  find_pipewire },
        };

        for (size_t i = 0; i < ARRAY_SIZE(sounds); i++) {
                if (!sounds[i].audio->enabled || !find_user(f, &sounds[i]))
                        continue;
                if (sounds[i].find(f, &sounds[i]))
                        look(f, &sounds[i]);
        }
        if (def->jack.enabled && DEF_GIVEN(&def->jack, latency))
                FILL_WARNING(f, &def->jack, latency, "latency", "set it there: jackd -p FRAMES",
                             "has no effect: the JACK server decides for all its clients");
}
