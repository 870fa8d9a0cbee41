#include "plan/sound.h"

#include "base/str.h"
#include "plan/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

/* -- the arguments -------------------------------------------------------------------------------- */

static bool is_audio_option(const char *option) {
        return str_eq(option, "-audiodev") || str_eq(option, "-audio");
}

static int audiodev_parse(const char *text, json_t **ret) {
        return *text == '{' ? json_parse(text, strlen(text), ret, NULL) :
                              argv_parse_keyval(text, "driver", ret, NULL);
}

/* PulseAudio's own notation: "unix:/path" or "/path". NULL: another kind of server. */
static const char *server_path(const char *server) {
        if (server && str_starts(server, "unix:"))
                server += strlen("unix:");
        return server && *server == '/' && !str_starts(server, "/proc/self/fd/") ? server : NULL;
}

/* Opened with the rights of whose it is now: a link that is put there later leads nowhere else. -1: it is not
 * there. */
static int socket_add(struct plan *p, const char *path) {
        int fd = PLAN_FD_FILES + (int) p->n_files;
        struct stat st;

        if (stat(path, &st) < 0 || !S_ISSOCK(st.st_mode))
                return -1;
        p->files = arena_grow(p->arena, p->files, p->n_files, p->n_files + 1, sizeof(*p->files));
        p->files[p->n_files++] = (struct plan_file){
                .path = arena_strdup(p->arena, path), .fd = fd, .flags = O_PATH, .as = st.st_uid
        };
        return fd;
}

static int audiodev_rewrite(struct plan *p, char **arg, struct error *err) {
        _cleanup_json_ json_t *audiodev = NULL;

        if (audiodev_parse(*arg, &audiodev) < 0)
                return 0; /* QEMU says what is wrong with it */
        const char *path = server_path(json_get_str(audiodev, "server", NULL));
        int fd = path ? socket_add(p, path) : -1;
        if (fd < 0)
                return 0;
        _cleanup_free_ char *server = xasprintf("unix:/proc/self/fd/%d", fd);
        json_put_str(audiodev, "server", server);
        char *text = **arg == '{' ? json_text(audiodev) : handover_keyval_text(audiodev);
        free(*arg);
        *arg = text;
        return 0;
}

int sound_handover(struct plan *p, struct argv *args, struct error *err) {
        for (size_t i = 1; i < args->n; i++) {
                int r = is_audio_option(args->items[i - 1]) ? audiodev_rewrite(p, &args->items[i], err) : 0;
                if (r < 0)
                        return r;
        }
        return 0;
}

bool sound_jack(const struct argv *args) {
        for (size_t i = 1; i < args->n; i++) {
                _cleanup_json_ json_t *audiodev = NULL;

                if (is_audio_option(args->items[i - 1]) && audiodev_parse(args->items[i], &audiodev) >= 0 &&
                    str_eq(json_get_str(audiodev, "driver", NULL), "jack"))
                        return true;
        }
        return false;
}

/* -- what goes beside them ------------------------------------------------------------------------ */

static void environ_add(struct plan *p, const char *text) {
        p->environ = arena_grow(p->arena, p->environ, p->n_environ, p->n_environ + 1, sizeof(*p->environ));
        p->environ[p->n_environ++] = arena_strdup(p->arena, text);
}

static bool heard(const struct def_audio *a) {
        return a->enabled && !a->silent && !str_empty(a->socket_path);
}

/* connect(2) asks for the right to write. */
static void note_socket(struct plan *p, const struct host *host, const char *path, uid_t uid) {
        struct host_node node;

        if (uid == (uid_t) -1 || host_node(host, path, &node) < 0 || (node.mode & 02) || node.uid == uid)
                return;
        p->sockets = arena_grow(p->arena, p->sockets, p->n_sockets, p->n_sockets + 1, sizeof(*p->sockets));
        p->sockets[p->n_sockets++] = arena_strdup(p->arena, path);
}

/* Where PulseAudio's clients look for it. */
static void note_cookie(struct plan *p, const struct def_audio *a, const struct host *host, uid_t qemu) {
        static const char *const places[PLAN_COOKIE_PLACES] = { ".config/pulse/cookie", ".pulse-cookie" };
        _cleanup_free_ char *user = xasprintf("#%lld", (long long) a->user_uid), *variable = NULL;
        struct host_user found;

        if ((int64_t) qemu == a->user_uid || host_user(host, user, &found, NULL) < 0)
                return;
        if (found.home) {
                p->cookie.fd = PLAN_FD_FILES + (int) p->n_files; /* behind the last of them */
                p->cookie.as = found.uid;
                for (size_t i = 0; i < PLAN_COOKIE_PLACES; i++)
                        p->cookie.places[i] = arena_printf(p->arena, "%s/%s", found.home, places[i]);
                variable = xasprintf("PULSE_COOKIE=/proc/self/fd/%d", p->cookie.fd);
                environ_add(p, variable);
        }
        host_user_done(&found);
}

static void note_pipewire(struct plan *p, const struct def_audio *a, uid_t uid) {
        _cleanup_free_ char *variable = NULL;
        int fd = uid == (uid_t) -1 ? -1 : socket_add(p, a->socket_path);

        variable = fd < 0 ? xasprintf("PIPEWIRE_REMOTE=%s", a->socket_path) :
                            xasprintf("PIPEWIRE_REMOTE=/proc/self/fd/%d", fd);
        environ_add(p, variable);
}

/* A server for others gives its files to a group, and expects its clients to do so, too. */
static void note_jack(struct plan *p, const struct def_audio *a, const struct host *host, uid_t uid) {
        _cleanup_free_ char *open =
                xasprintf("/dev/shm/jack_%s_0", str_empty(a->server) ? "default" : a->server);
        struct host_node node;

        if (!str_eq(open, a->socket_path) || host_node(host, open, &node) < 0)
                return;
        struct group *group = getgrgid(node.gid);
        _cleanup_free_ char *variable = xasprintf("JACK_PROMISCUOUS_SERVER=%s", group ? group->gr_name : "");
        environ_add(p, variable);
        if (uid != (uid_t) -1)
                p->group = node.gid;
}

void sound_note(struct plan *p, const struct def *def, const struct host *host, uid_t uid) {
        uid_t qemu = uid == (uid_t) -1 ? geteuid() : uid;

        if (heard(&def->pipewire)) {
                note_pipewire(p, &def->pipewire, uid);
                note_socket(p, host, def->pipewire.socket_path, uid);
        }
        if (heard(&def->jack))
                note_jack(p, &def->jack, host, uid);
        if (heard(&def->pulse)) {
                note_socket(p, host, def->pulse.socket_path, uid);
                note_cookie(p, &def->pulse, host, qemu);
        }
}

/* -- QEMU's modules ------------------------------------------------------------------------------- */

void sound_check(const struct def *def, const struct caps *caps, struct diags *diags) {
        const struct {
                const struct def_audio *audio;
                const char *driver, *since;
        } ways[] = {
                { &def->pulse, "pa", NULL },
                { &def->jack, "jack", NULL },
                { &def->pipewire, "pipewire", "8.1" },
        };

        for (size_t i = 0; caps && i < ARRAY_SIZE(ways); i++) {
                const struct def_audio *a = ways[i].audio;
                const char *key = arena_printf(diags->arena, "%s.enabled", a->head.path);
                int major = 0, minor = 0;

                if (!a->enabled || caps_has(caps, "audiodev", ways[i].driver))
                        continue;
                if (ways[i].since && sscanf(caps->version, "%d.%d", &major, &minor) == 2 &&
                    (major < 8 || (major == 8 && minor < 1)))
                        diag_error(diags, DEF_LOC(a, enabled), key,
                                   "use [pulse]: PipeWire has a PulseAudio server, too",
                                   "needs QEMU %s or newer; this one is %s", ways[i].since, caps->version);
                else
                        diag_error(diags, DEF_LOC(a, enabled), key,
                                   "install Debian's package qemu-system-gui (elsewhere qemu-audio-…)",
                                   "this QEMU has no audio driver \"%s\"", ways[i].driver);
        }
}
