/* vore-check FILE DIRECTORY [VORED.TOML]: the definition on stdin -> the array of its faults on stdout. Part
 * of `vore check`; reads the host, changes nothing. */
#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "def/def.h"
#include "plan/plan.h"
#include "settings/settings.h"
#include "work/work.h"

#include <errno.h>
#include <unistd.h>

static int fail(const char *what, const struct error *err) {
        fprintf(stderr, "vore: check: %s%s%s\n", what ? what : "", what ? ": " : "", error_text(err));
        return 1;
}

static int print(const json_t *faults) {
        _cleanup_free_ char *text = json_text(faults);

        puts(text);
        return fflush(stdout) == 0 ? 0 : 1;
}

/* The first use of a QEMU binary asks it what it can do. */
static int probe(struct settings *settings, struct error *err) {
        _cleanup_json_ json_t *nothing = NULL;

        if (!plan_probe_needed(settings))
                return 0;
        return work_run("the QEMU probe", PLAN_PROBE_DEADLINE_MS, plan_probe_work, settings, &nothing, err);
}

static int walk(struct settings *settings, const char *file, const char *directory) {
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_json_ json_t *result = NULL;
        _cleanup_free_ char *text = NULL;
        struct plan *plan = NULL;
        size_t len = 0;
        int code;

        if (file_read_fd(STDIN_FILENO, DEF_SIZE_MAX, &text, &len, &err) < 0)
                return fail(file, &err);
        /* Without its answers the walk says itself what is missing, at the place that asks for it. */
        (void) probe(settings, NULL);
        struct plan_request request = {
                .text = text,
                .len = len,
                .file = file,
                .directory = directory,
                .settings = settings,
                .goal = PLAN_CHECK,
                .uid = settings->system && !settings->qemu.user ? (uid_t) settings->qemu.uid_first :
                                                                  (uid_t) -1,
        };
        if (work_run("the check", PLAN_DEADLINE_MS, plan_work, &request, &result, &err) < 0 ||
            plan_from_json(result, &plan, &err) < 0)
                return fail(NULL, &err);
        code = print(plan->faults);
        plan_free(plan);
        return code;
}

int main(int argc, char *argv[]) {
        _cleanup_arena_ struct arena *arena = arena_new();
        _cleanup_error_ struct error err = ERROR_INIT;
        struct settings_options options = { .config = argc > 3 ? argv[3] : NULL };
        struct settings *settings = NULL;
        struct diags diags;

        if (argc < 3) {
                fputs("vore-check is a part of vore check\n", stderr);
                return 2;
        }
        diags_init(&diags, arena, options.config ? options.config : "vored.toml");
        if (settings_load(arena, &options, &settings, &diags, &err) < 0) {
                _cleanup_json_ json_t *faults = diags_to_json(&diags);

                return diags.errors ? print(faults) : fail(NULL, &err);
        }
        return walk(settings, argv[1], argv[2]);
}
