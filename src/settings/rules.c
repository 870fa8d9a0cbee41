#include "settings/internal.h"

#include "base/str.h"

#include <pwd.h>
#include <unistd.h>

/* sun_path of unix(7), less its NUL. */
enum { SOCKET_PATH_MAX = 107 };

#define SETTINGS_ERROR(s, field, key, hint, ...)                                                             \
        diag_error(diags, section_loc(&(s)->head, offsetof(__typeof__(*(s)), field)), (key), (hint),         \
                   __VA_ARGS__)

/* "70000-70999" */
static bool range_parse(const char *text, int64_t *ret_first, int64_t *ret_last) {
        const char *dash = strchr(text, '-');
        long long first, last;

        if (!dash || dash - text > 10)
                return false;

        char head[16] = "";

        memcpy(head, text, (size_t) (dash - text));
        /* Number 0 is root, and (uid_t) -1 means "no change" to the kernel. */
        if (str_to_int(head, 1, UINT32_MAX - 1, &first) < 0 ||
            str_to_int(dash + 1, 1, UINT32_MAX - 1, &last) < 0 || first > last)
                return false;
        *ret_first = first;
        *ret_last = last;
        return true;
}

static void rule_passwd(const struct settings_qemu *q, struct diags *diags) {
        _cleanup_fclose_ FILE *f = fopen("/etc/passwd", "re");
        const struct passwd *pw;

        while (f && (pw = fgetpwent(f)))
                if (pw->pw_uid >= q->uid_first && pw->pw_uid <= q->uid_last) {
                        SETTINGS_ERROR(q, uids, "qemu.uids", "choose a range that no user has",
                                       "the user %s has the number %u, which is in %s", pw->pw_name,
                                       (unsigned) pw->pw_uid, q->uids);
                        return;
                }
}

static void rule_uids(struct settings *s, struct diags *diags) {
        struct settings_qemu *q = &s->qemu;

        if (!range_parse(q->uids, &q->uid_first, &q->uid_last))
                SETTINGS_ERROR(q, uids, "qemu.uids", NULL,
                               "\"%.64s\" is no range of numbers such as \"70000-70999\"", q->uids);
        else if (s->system && !q->user)
                rule_passwd(q, diags);
}

void settings_rules(struct settings *s, const char *directory, struct diags *diags) {
        struct settings_qemu *q = &s->qemu;

        rule_uids(s, diags);
        if (q->script && access(q->script, F_OK) < 0)
                SETTINGS_ERROR(q, script, "qemu.script", "leave it out for the installed default",
                               "there is no file \"%.256s\"", q->script);
        /* A path, as opposed to a name in PATH. */
        if (q->binary && strchr(q->binary, '/') && *q->binary != '/')
                q->binary = arena_printf(diags->arena, "%s/%s", directory, q->binary);
        if (strlen(s->vore.socket) > SOCKET_PATH_MAX)
                SETTINGS_ERROR(&s->vore, socket, "vore.socket", "choose a shorter folder",
                               "\"%.200s\" has %zu bytes; a socket's path can have at most %d",
                               s->vore.socket, strlen(s->vore.socket), SOCKET_PATH_MAX);
}
