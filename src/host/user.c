#include "host/host.h"

#include "base/str.h"

#include <errno.h>
#include <pwd.h>

static struct host_user user_from(const struct passwd *pw) {
        return (struct host_user){
                .uid = pw->pw_uid,
                .gid = pw->pw_gid,
                .name = xstrdup(pw->pw_name),
                .home = xstrdup(pw->pw_dir ? pw->pw_dir : "/"),
        };
}

static bool wanted(const struct passwd *pw, const char *name, uid_t uid) {
        return name ? str_eq(pw->pw_name, name) : pw->pw_uid == uid;
}

/* A captured tree's own passwd file; this machine's users say nothing about it. */
static int find_captured(const struct host *h, const char *name, uid_t uid, struct host_user *ret) {
        _cleanup_free_ char *text = NULL;
        _cleanup_fclose_ FILE *f = NULL;
        struct passwd pw, *found;
        char buf[4096];

        if (host_read(h, "/etc/passwd", &text) < 0 || !*text)
                return -ENOENT;
        f = fmemopen(text, strlen(text), "r");
        if (!f)
                return -ENOMEM;
        while (fgetpwent_r(f, &pw, buf, sizeof(buf), &found) == 0)
                if (wanted(&pw, name, uid)) {
                        *ret = user_from(&pw);
                        return 0;
                }
        return -ENOENT;
}

static int find_real(const char *name, uid_t uid, struct host_user *ret) {
        struct passwd pw, *found = NULL;
        _cleanup_free_ char *buf = NULL;

        for (size_t size = 4096; size <= 1024 * 1024; size *= 4) {
                buf = xrealloc(buf, size, 1);
                int r = name ? getpwnam_r(name, &pw, buf, size, &found) :
                               getpwuid_r(uid, &pw, buf, size, &found);
                if (r == ERANGE)
                        continue;
                if (r != 0 || !found)
                        return -ENOENT;
                *ret = user_from(found);
                return 0;
        }
        return -ENOENT;
}

int host_user(const struct host *h, const char *text, struct host_user *ret, struct error *err) {
        const char *name = *text == '#' ? NULL : text;
        long long number = 0;

        /* (uid_t) -1 means "unchanged" to chown(2) and setresuid(2): nobody's number. */
        if (!name && str_to_int(text + 1, 0, UINT32_MAX - 1LL, &number) < 0)
                return error_set(err, -EINVAL,
                                 "\"%s\" is no user: write a name or # and a number, like \"#1000\"", text);
        uid_t uid = (uid_t) number;
        if ((host_captured(h) ? find_captured(h, name, uid, ret) : find_real(name, uid, ret)) == 0)
                return 0;
        if (name)
                return error_set(err, -ENOENT, "this host has no user \"%s\"", name);
        *ret = (struct host_user){ .uid = uid, .gid = (gid_t) -1 };
        return 0;
}

void host_user_done(struct host_user *user) {
        free(user->name);
        free(user->home);
        *user = (struct host_user){ 0 };
}
