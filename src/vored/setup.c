#include "vored/setup.h"

#include "base/file.h"
#include "base/log.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

/* -- folders ---------------------------------------------------------------------------------------- */

/* A folder of ours: made if it is missing, refused if it is somebody else's. */
static int folder(const char *path, mode_t mode, gid_t gid, struct error *err) {
        struct stat st;
        /* What lies above is nobody's secret in system mode; a session's is. */
        int r = file_mkdirs(path, geteuid() == 0 ? 0755 : 0700, err);

        if (r < 0)
                return r;
        if (lstat(path, &st) < 0)
                return error_errno(err, errno, "cannot use %s", path);
        /* Whoever owns a link may say where the folder is: oneself and root. */
        if (S_ISLNK(st.st_mode) && (st.st_uid == geteuid() || st.st_uid == 0) && stat(path, &st) < 0)
                return error_errno(err, errno, "cannot use %s", path);
        if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid())
                return error_set(err, -EPERM,
                                 "%s is not a folder of this user: somebody else made it, it is not used",
                                 path);
        if ((gid != (gid_t) -1 && st.st_gid != gid && chown(path, (uid_t) -1, gid) < 0) ||
            ((st.st_mode & 07777) != mode && chmod(path, mode) < 0))
                return error_errno(err, errno, "cannot set the mode of %s", path);
        return 0;
}

int setup_folders(struct manager *m, struct error *err) {
        const struct settings *s = m->settings;
        bool system = s->system;
        const struct {
                const char *base, *name;
                mode_t mode;
                bool group;
        } folders[] = {
                /* QEMU's users pass through the state folder to their own instance folder. */
                { s->vore.state_dir, "", system ? 0711 : 0700, false },
                { s->vore.state_dir, "/definitions", 0700, false },
                { s->vore.state_dir, "/instance", system ? 0711 : 0700, false },
                { s->vore.runtime_dir, "", system ? 0755 : 0700, false },
                { s->vore.runtime_dir, "/vm", 0700, false },
                { s->vore.runtime_dir, "/hand", 0700, false },
                { s->log_dir, "", system ? 0750 : 0700, true },
                { s->cache_dir, "", system ? 0755 : 0700, false },
        };

        for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
                _cleanup_free_ char *path = xasprintf("%s%s", folders[i].base, folders[i].name);
                int r = folder(path, folders[i].mode, folders[i].group ? m->env.group : (gid_t) -1, err);

                if (r < 0)
                        return r;
        }
        return 0;
}

static int folder_lock(const char *folder, const char *what, const char *option, int *ret_fd,
                       struct error *err) {
        _cleanup_free_ char *path = xasprintf("%s/lock", folder);
        int r = file_lock(path, ret_fd, err);

        return r == -EAGAIN ?
                       error_set(err, r, "another vored uses the %s folder %s: give this one its own by %s",
                                 what, folder, option) :
                       r;
}

int setup_lock(struct manager *m, struct error *err) {
        const struct settings_vore *v = &m->settings->vore;
        int r = folder_lock(v->state_dir, "state", "--state-dir", &m->lock_fd, err);

        if (r < 0 || str_eq(v->state_dir, v->runtime_dir))
                return r;
        return folder_lock(v->runtime_dir, "run-time", "--runtime-dir", &m->runtime_lock_fd, err);
}

/* -- group and users ---------------------------------------------------------------------------------- */

static gid_t group_find(const char *name) {
        errno = 0;
        struct group *g = getgrnam(name);

        return g ? g->gr_gid : (gid_t) -1;
}

/* A number that somebody has is no number for a VM. */
static int uids_check(const struct settings *s, struct error *err) {
        struct passwd *p;
        int r = 0;

        setpwent();
        while ((p = getpwent()))
                if (p->pw_uid >= (uid_t) s->qemu.uid_first && p->pw_uid <= (uid_t) s->qemu.uid_last) {
                        r = error_set(err, -EINVAL,
                                      "qemu.uids = \"%s\" overlaps with the user %s (%u): choose "
                                      "another range in vored.toml",
                                      s->qemu.uids, p->pw_name, p->pw_uid);
                        break;
                }
        endpwent();
        return r;
}

static int user_find(const char *name, uid_t *ret, gid_t *ret_gid, struct error *err) {
        long long number;
        struct passwd *p = NULL;

        if (*name == '#' && str_to_int(name + 1, 0, UINT32_MAX - 1, &number) >= 0) {
                p = getpwuid((uid_t) number);
                *ret = (uid_t) number;
                *ret_gid = p ? p->pw_gid : (gid_t) number;
                return 0;
        }
        p = getpwnam(name);
        if (!p)
                return error_set(err, -ENOENT, "qemu.user = \"%s\": there is no such user", name);
        *ret = p->pw_uid;
        *ret_gid = p->pw_gid;
        return 0;
}

int setup_users(struct manager *m, struct error *err) {
        const struct settings *s = m->settings;
        int r = 0;

        m->env.group = m->env.user = (uid_t) -1;
        m->env.separate = s->system && !s->qemu.user;
        if (!s->system)
                return 0;
        m->env.group = group_find(s->vore.group);
        if (m->env.group == (gid_t) -1) {
                log_warning("there is no group %s: only root may use the socket", s->vore.group);
                m->env.group = 0;
        }
        if (m->env.separate)
                return uids_check(s, err);
        r = user_find(s->qemu.user, &m->env.user, &m->env.user_group, err);
        /* Root is who we are: nothing to change. */
        if (r >= 0 && m->env.user == 0)
                m->env.user = (uid_t) -1;
        return r;
}

/* -- the socket ----------------------------------------------------------------------------------------- */

int setup_socket(struct manager *m, struct error *err) {
        const struct settings *s = m->settings;
        int n = sd_listen_fds(1);

        if (n > 1)
                return error_set(err, -EINVAL, "systemd handed over %d sockets, one is wanted", n);
        if (n == 1) {
                m->listen_fd = SD_LISTEN_FDS_START;
                m->activated = true;
                return 0;
        }
        return rpc_listen(s->vore.socket, s->system ? 0660 : 0600, m->env.group, &m->listen_fd, err);
}

void setup_bus(struct manager *m) {
        sd_bus *bus = NULL;
        int r;

        if (sd_booted() <= 0)
                return;
        r = m->settings->system ? sd_bus_open_system(&bus) : sd_bus_open_user(&bus);
        if (r >= 0)
                r = sd_bus_attach_event(bus, m->loop, SD_EVENT_PRIORITY_NORMAL);
        if (r < 0) {
                log_warning("systemd's bus cannot be reached: machines get no scopes of their own");
                sd_bus_unref(bus);
                return;
        }
        m->env.bus = bus;
}
