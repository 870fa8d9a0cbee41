#include "plan/reserved.h"

#include "base/file.h"
#include "base/str.h"
#include "plan/claim.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* "vfio[0].addr: there is no device at 0000:0b:00.0 (…)" of each error. */
static json_t *problems_of(struct diags *diags) {
        json_t *problems = json_array();

        diags_sort(diags);
        for (size_t i = 0; i < diags->n; i++) {
                const struct diag *d = &diags->items[i];

                if (d->severity != DIAG_ERROR)
                        continue;
                _cleanup_free_ char *text = xasprintf("%s: %s%s%s%s", d->key, d->message, d->hint ? " (" : "",
                                                      d->hint ? d->hint : "", d->hint ? ")" : "");
                json_push(problems, json_string_lossy(text));
        }
        return problems;
}

static json_t *only_reserved(json_t *devices) {
        json_t *kept = json_array(), *device;
        size_t i;

        json_array_foreach (devices, i, device) {
                if (json_get_bool(device, "reserve", false))
                        json_push(kept, json_incref(device));
        }
        json_decref(devices);
        return kept;
}

static json_t *reserved_by(struct def *def, const struct complete_request *req, struct arena *arena) {
        struct plan p = { .arena = arena };
        struct diags diags;

        diags_init(&diags, arena, def->file);
        complete_reserved(def, req, &diags);
        claim_note(&p, def);
        return json_pack("{s:s, s:o, s:o}", "name", def->machine.name, "devices",
                         only_reserved(claim_to_json(&p)), "problems", problems_of(&diags));
}

/* What is read here is a definition of that name; whatever is wrong with a file is an error. */
static int summary_of(int folder, const char *file, const char *name, char **ret_text, size_t *ret_len,
                      struct def_summary *ret, struct error *err) {
        int r = file_read(folder, file, DEF_SIZE_MAX, ret_text, ret_len, err);

        return r < 0 ? r : def_summarize_saved(*ret_text, *ret_len, name, ret, err);
}

static bool is_gone(int folder, const char *file) {
        return faccessat(folder, file, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT;
}

static void add_file(int folder, const char *file, const char *name, const struct complete_request *req,
                     json_t *list) {
        _cleanup_arena_ struct arena *arena = arena_new();
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_free_ char *text = NULL;
        struct def_summary summary;
        struct def *def = NULL;
        struct diags diags;
        size_t len;

        if (summary_of(folder, file, name, &text, &len, &summary, &err) < 0) {
                if (!is_gone(folder, file))
                        json_push(list,
                                  json_pack("{s:s, s:o, s:[], s:[]}", "name", name, "unknown",
                                            json_string_lossy(error_text(&err)), "devices", "problems"));
                return;
        }
        diags_init(&diags, arena, file);
        if (summary.reserves && def_parse(arena, text, len, "/", 0, &def, &diags) >= 0)
                json_push(list, reserved_by(def, req, arena));
}

static int is_definition(const struct dirent *e) {
        return str_ends(e->d_name, ".toml");
}

int plan_reserved_work(void *request, int report_fd, json_t **ret, struct error *err) {
        const struct plan_reserved_request *r = request;
        _cleanup_close_ int folder = -1;
        _cleanup_json_ json_t *list = json_array();
        _cleanup_host_ struct host *host = NULL;
        struct dirent **files = NULL;
        int n, opened = host_open(NULL, &host, err);

        if (opened < 0)
                return opened;
        folder = open(r->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        n = folder < 0 ? -1 : scandirat(folder, ".", &files, is_definition, alphasort);
        if (n < 0)
                return error_errno(err, errno, "cannot read the saved definitions in %s", r->folder);
        struct complete_request req = { .host = host, .settings = r->settings };
        for (int i = 0; i < n; i++) {
                _cleanup_free_ char *name =
                        strndup(files[i]->d_name, strlen(files[i]->d_name) - strlen(".toml"));

                if (name && def_name_valid(name))
                        add_file(folder, files[i]->d_name, name, &req, list);
                free(files[i]);
        }
        free(files);
        *ret = TAKE_PTR(list);
        return 0;
}
