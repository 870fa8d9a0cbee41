#include "plan/plan.h"

#include "base/str.h"
#include "plan/binary.h"
#include "plan/claim.h"
#include "plan/finish.h"
#include "plan/memory.h"
#include "plan/sound.h"

#include <errno.h>

/* One walk: what its stages hand to each other. */
struct walk {
        const struct plan_request *req;
        int report_fd;
        struct plan *plan;
        struct host *host;
        const char *binary; /* NULL: none found */
        struct def *def;
        struct diags diags;
        struct caps caps;
        bool caps_known;
};

static void walk_done(struct walk *w) {
        if (w->caps_known)
                caps_done(&w->caps);
        host_free(w->host);
        plan_free(w->plan);
}

static void stage_parse(struct walk *w) {
        const struct plan_request *req = w->req;

        (void) def_parse(w->plan->arena, req->text, req->len, req->directory, req->def_flags, &w->def,
                         &w->diags);
        for (size_t i = 0; w->def && i < req->n_cdroms; i++)
                def_add_cdrom(w->def, req->cdroms[i]);
}

static void stage_complete(struct walk *w) {
        const struct plan_request *req = w->req;
        struct complete_request c = {
                .host = w->host,
                .settings = req->settings,
                .uses = req->uses,
                .n_uses = req->n_uses,
                .device_uses = req->device_uses,
                .n_device_uses = req->n_device_uses,
                .memory_used = req->memory_used,
                .display = req->display,
                .qemu_binary = w->binary,
        };

        complete(w->def, &c, &w->diags);
}

/* Of a machine that runs, what it has counts, and not what its definition would select today. */
static void stage_attached(struct walk *w) {
        const struct plan_request *req = w->req;

        if (req->goal == PLAN_ATTACH)
                w->def->n_vfio = 0;
        else if (req->goal != PLAN_SHOW)
                return;
        for (size_t i = 0; i < req->n_attached; i++) {
                struct def_vfio *v = def_add_attached(w->def, req->attached[i].address);

                v->held = req->goal == PLAN_ATTACH && !req->attached[i].wanted;
                v->force = req->attached[i].force;
                v->group = req->attached[i].group;
        }
}

/* Is it about a device that is to come? What else is wrong with a machine that runs is not asked. */
static bool of_wanted(const struct walk *w, const struct diag *d) {
        for (size_t i = 0; i < w->def->n_vfio; i++) {
                const struct def_vfio *v = &w->def->vfio[i];

                if (!v->held && str_starts(d->key, v->head.path) && strchr(".", d->key[strlen(v->head.path)]))
                        return true;
        }
        return false;
}

static void stage_attach(struct walk *w) {
        struct diags all = w->diags;

        diags_init(&w->diags, w->plan->arena, w->req->file);
        for (size_t i = 0; i < all.n; i++) {
                const struct diag *d = &all.items[i];

                if (of_wanted(w, d) && d->severity == DIAG_ERROR)
                        diag_error(&w->diags, d->loc, d->key, d->hint, "%s", d->message);
                else if (of_wanted(w, d))
                        diag_warning(&w->diags, d->loc, d->key, d->hint, "%s", d->message);
        }
        claim_nodes(w->plan);
}

static int caps_open(struct walk *w, struct error *err) {
        _cleanup_free_ char *text = NULL;
        int r;

        if (host_captured(w->host)) {
                r = host_captured_caps(w->host, &text, NULL);
                if (r >= 0)
                        r = caps_parse(text, &w->caps, err);
        } else
                r = w->binary ? caps_load(w->req->settings->cache_dir, w->binary, &w->caps, NULL) : -ENOENT;
        w->caps_known = r >= 0;
        return 0;
}

static struct script_request script_request(const struct walk *w, const json_t *instance,
                                            const json_t *global, const char *instance_dir) {
        const struct settings *s = w->req->settings;

        return (struct script_request){
                .path = s->qemu.script ? s->qemu.script : plan_default_script(),
                .library_dir = plan_library_dir(),
                .instance = instance,
                .global = global,
                .caps = w->caps_known ? &w->caps : NULL,
                .instance_dir = instance_dir,
                .deadline_ms = 5000,
                .memory_max = 256 << 20,
        };
}

static int stage_script(struct walk *w, struct script_result *ret, bool *ret_bad_preset, struct error *err) {
        const struct settings *s = w->req->settings;
        const struct def_machine *m = &w->def->machine;
        _cleanup_free_ char *instance_dir = plan_instance_dir(s, w->plan->name);
        _cleanup_json_ json_t *instance = finish_instance(w->def, instance_dir);
        _cleanup_json_ json_t *global = finish_global(s, w->host, m->arch, m->chipset, w->plan->arena);

        json_put_bool(instance, "display", w->req->display);
        struct script_request req = script_request(w, instance, global, instance_dir);
        req.ret_bad_preset = ret_bad_preset;
        return script_run(&req, w->report_fd, ret, err);
}

/* The presets that the script registers while it is loaded. */
static int ask_presets(struct walk *w, const char *arch, const char *chipset, json_t **ret,
                       struct error *err) {
        const struct settings *s = w->req->settings;
        _cleanup_json_ json_t *instance = json_object();
        _cleanup_json_ json_t *global = finish_global(s, w->host, arch, chipset, w->plan->arena);
        struct script_request req = script_request(w, instance, global, s->vore.state_dir);

        return script_presets(&req, w->report_fd, ret, err);
}

static char *preset_names(const json_t *presets) {
        struct strbuf b = STRBUF_INIT;
        size_t i;
        json_t *preset;

        json_array_foreach (presets, i, preset)
                strbuf_addf(&b, "%s%s", i ? ", " : "", json_get_str(preset, "name", ""));
        return strbuf_take(&b);
}

/* Only where something is wrong already: then all of it is told at once. */
static size_t check_presets(struct walk *w) {
        _cleanup_json_ json_t *presets = NULL;
        size_t found = 0;

        if (w->def->n_disk == 0 ||
            ask_presets(w, w->def->machine.arch, w->def->machine.chipset, &presets, NULL) < 0)
                return 0;
        _cleanup_free_ char *names = preset_names(presets);
        for (size_t i = 0; i < w->def->n_disk; i++) {
                struct def_disk *disk = &w->def->disk[i];

                if (str_empty(disk->preset) || json_has_named(presets, disk->preset))
                        continue;
                found++;
                diag_error(&w->diags, DEF_LOC(disk, preset),
                           section_key(w->plan->arena, &disk->head, "preset"), NULL,
                           "no disk preset is named \"%s\": there are %s", disk->preset, names);
        }
        return found;
}

static void script_fault(struct walk *w, const struct error *err) {
        struct loc loc = { 0 };
        const char *key = "script";

        if (w->plan->bad_disk > 0) {
                struct def_disk *disk = &w->def->disk[w->plan->bad_disk - 1];

                loc = DEF_LOC(disk, path);
                key = section_key(w->plan->arena, &disk->head, "path");
        }
        diag_error(&w->diags, loc, key, NULL, "%s", error_text(err));
}

static void stage_argv(struct walk *w) {
        _cleanup_(script_result_done) struct script_result result = { 0 };
        _cleanup_error_ struct error err = ERROR_INIT;
        bool bad_preset = false;
        int r = stage_script(w, &result, &bad_preset, &err);

        for (size_t i = 0; r >= 0 && i < result.n_warnings; i++)
                diag_warning(&w->diags, (struct loc){ 0 }, "script", NULL, "%s", result.warnings[i]);
        if (r >= 0)
                r = finish_argv(w->plan, w->req, w->def, &result, w->binary, &err);
        if (r >= 0)
                sound_note(w->plan, w->def, w->host, w->req->uid);
        else if (!bad_preset || check_presets(w) == 0)
                script_fault(w, &err);
}

static int stage_command(struct walk *w, struct error *err) {
        int r = caps_open(w, err);

        if (r < 0)
                return r;
        const struct caps *caps = w->caps_known ? &w->caps : NULL;
        sound_check(w->def, caps, &w->diags);
        binary_check(w->def, caps, &w->diags);
        if (w->diags.errors == 0)
                stage_argv(w);
        else
                (void) check_presets(w);
        return 0;
}

static void note_disks(struct walk *w) {
        struct plan *p = w->plan;

        p->n_disks = w->def->n_disk;
        p->disks = arena_new0(p->arena, struct complete_use, p->n_disks ? p->n_disks : 1);
        for (size_t i = 0; i < p->n_disks; i++)
                p->disks[i] = (struct complete_use){ .vm = p->name,
                                                     .path = w->def->disk[i].path,
                                                     .read_only = w->def->disk[i].read_only };
}

static void note_definition(struct walk *w) {
        struct plan *p = w->plan;
        const struct def *def = w->def;

        p->name = arena_strdup(p->arena, def->machine.name);
        p->memory = def->machine.memory;
        p->vcpus = def->cpu.amount;
        p->auto_start = def->machine.auto_start;
        p->kvm = def->machine.kvm == TRI_TRUE;
        if (w->req->goal == PLAN_SHOW) {
                p->definition = def_to_json(def, 0);
                p->origins = def_to_json(def, DEF_JSON_ORIGIN);
        }
        note_disks(w);
        claim_note(p, def);
        memory_note(p, def, w->req->settings, w->host);
}

/* The walk itself: from a file's text to a command line. */
static int walk(struct walk *w, struct error *err) {
        const struct plan_request *req = w->req;
        int r;

        r = host_open(NULL, &w->host, err);
        if (r < 0)
                return r;
        stage_parse(w);
        w->binary =
                finish_binary(w->plan->arena, w->host, req->settings, w->def ? w->def->machine.arch : NULL);
        if (w->def && w->def->machine.name) {
                stage_attached(w);
                stage_complete(w);
                note_definition(w);
        }
        if (w->def && req->goal == PLAN_ATTACH)
                stage_attach(w);
        if (w->def && req->goal != PLAN_SHOW && req->goal != PLAN_ATTACH) {
                r = stage_command(w, err);
                if (r < 0)
                        return r;
        }
        diags_sort(&w->diags);
        w->plan->faults = diags_to_json(&w->diags);
        w->plan->ok = w->diags.errors == 0;
        return 0;
}

int plan_work(void *request, int report_fd, json_t **ret, struct error *err) {
        _cleanup_(walk_done) struct walk w = { .req = request, .report_fd = report_fd };

        w.plan = xcalloc(1, sizeof(*w.plan));
        w.plan->arena = arena_new();
        diags_init(&w.diags, w.plan->arena, w.req->file);
        int r = walk(&w, err);
        if (r < 0)
                return r;
        *ret = finish_to_json(w.plan);
        return 0;
}

void plan_free(struct plan *p) {
        if (!p)
                return;
        json_decref(p->faults);
        json_decref(p->definition);
        json_decref(p->origins);
        argv_done(&p->plain);
        argv_done(&p->exact);
        arena_free(p->arena);
        free(p);
}

/* -- the other questions to scripts and binaries ------------------------------------------------ */

/* The binary of this host, or NULL; also for a captured host, where nothing is to be probed. */
static char *probe_binary(const struct settings *s) {
        _cleanup_arena_ struct arena *arena = arena_new();
        struct host *host = NULL;
        const char *binary = NULL;

        if (host_open(NULL, &host, NULL) < 0)
                return NULL;
        if (!host_captured(host))
                binary = finish_binary(arena, host, s, NULL);
        char *copy = binary ? xstrdup(binary) : NULL;
        host_free(host);
        return copy;
}

bool plan_probe_needed(const struct settings *settings) {
        _cleanup_free_ char *binary = probe_binary(settings);

        return binary && !caps_known(settings->cache_dir, binary);
}

char *plan_qemu_version(const struct settings *settings) {
        _cleanup_free_ char *binary = probe_binary(settings);
        struct caps caps;

        if (!binary || caps_load(settings->cache_dir, binary, &caps, NULL) < 0)
                return NULL;
        char *version = xstrdup(caps.version);
        caps_done(&caps);
        return version;
}

int plan_probe_work(void *data, int report_fd, json_t **ret, struct error *err) {
        const struct settings *settings = data;
        _cleanup_free_ char *binary = probe_binary(settings), *text = NULL;

        *ret = json_null();
        if (!binary)
                return 0;
        int r = caps_probe(binary, PLAN_PROBE_DEADLINE_MS - 5000, &text, err);
        if (r < 0)
                return r;
        return caps_store(settings->cache_dir, binary, text, err);
}

/* Without its answers the walk says itself what is missing, at the place that asks for it. */
static void probe_if_needed(const struct settings *settings, int report_fd) {
        _cleanup_json_ json_t *nothing = NULL;

        if (plan_probe_needed(settings))
                (void) plan_probe_work((void *) settings, report_fd, &nothing, NULL);
}

int plan_check_work(void *data, int report_fd, json_t **ret, struct error *err) {
        const struct plan_request *req = data;

        probe_if_needed(req->settings, report_fd);
        return plan_work(data, report_fd, ret, err);
}

int plan_presets_work(void *data, int report_fd, json_t **ret, struct error *err) {
        const struct plan_request request = { .settings = data };
        _cleanup_(walk_done) struct walk w = { .req = &request, .report_fd = report_fd };
        _cleanup_free_ char *arch = NULL;

        probe_if_needed(data, report_fd);
        w.plan = xcalloc(1, sizeof(*w.plan));
        w.plan->arena = arena_new();
        int r = host_open(NULL, &w.host, err);
        if (r < 0)
                return r;
        (void) host_arch(w.host, &arch);
        w.binary = finish_binary(w.plan->arena, w.host, data, arch);
        r = caps_open(&w, err);
        return r < 0 ? r : ask_presets(&w, arch, NULL, ret, err);
}
