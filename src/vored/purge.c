/* Removing instance folders. One loses its name first: a machine of that name that starts meanwhile gets a
 * new folder, and what a cut-off removal leaves is known by its new name. */
#include "vored/manager.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"
#include "work/work.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

enum { PURGE_DEADLINE_MS = 60 * 1000 };
/* No machine's name begins with a dot. */
#define PURGED ".purged-"

/* As many files as a guest's folder may hold: in a worker. */
static int purge_work(void *path, int report_fd, json_t **ret, struct error *err) {
        *ret = json_null();
        return file_remove_tree(AT_FDCWD, path, err);
}

static void purged(const json_t *result, const struct error *err, pid_t stuck, void *data) {
        if (result)
                rpc_reply(data, NULL);
        else
                method_fail(data, err);
}

void purge_folder(struct manager *m, struct rpc_call *call, const char *name) {
        _cleanup_free_ char *dir = plan_instance_dir(m->settings, name);
        _cleanup_free_ char *gone = xasprintf("%s/instance/" PURGED "%s-%" PRIu64,
                                              m->settings->vore.state_dir, name, clock_monotonic_us());
        _cleanup_error_ struct error err = ERROR_INIT;
        struct work *work;

        if (rename(dir, gone) < 0 && errno != ENOENT) {
                error_errno(&err, errno, "cannot remove the instance folder %s", dir);
                method_fail(call, &err);
                return;
        }
        if (work_start(m->loop, "removing the instance folder", PURGE_DEADLINE_MS, purge_work, gone, purged,
                       call, &work, &err) < 0)
                method_fail(call, &err);
}

static int leftovers_work(void *path, int report_fd, json_t **ret, struct error *err) {
        DIR *dir = opendir(path);
        struct dirent *e;
        int r = 0;

        *ret = json_null();
        if (!dir)
                return 0;
        while ((e = readdir(dir)))
                if (str_starts(e->d_name, PURGED)) {
                        int removed = file_remove_tree(dirfd(dir), e->d_name, r < 0 ? NULL : err);
                        r = r < 0 ? r : removed;
                }
        closedir(dir);
        return r;
}

static void leftovers_gone(const json_t *result, const struct error *err, pid_t stuck, void *data) {
        if (!result)
                log_warning("cannot remove what forget --purge left: %s", error_text(err));
}

void purge_leftovers(struct manager *m) {
        _cleanup_free_ char *path = xasprintf("%s/instance", m->settings->vore.state_dir);
        DIR *dir = opendir(path);
        struct dirent *e;
        bool any = false;
        struct work *work;

        if (!dir)
                return;
        while (!any && (e = readdir(dir)))
                any = str_starts(e->d_name, PURGED);
        closedir(dir);
        if (any)
                (void) work_start(m->loop, "removing instance folders", PURGE_DEADLINE_MS, leftovers_work,
                                  path, leftovers_gone, NULL, &work, NULL);
}
