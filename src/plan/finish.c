#include "plan/finish.h"

#include "base/str.h"
#include "plan/claim.h"
#include "plan/handover.h"
#include "plan/memory.h"
#include "plan/sound.h"

#include <errno.h>

const char *finish_binary(struct arena *arena, const struct host *host, const struct settings *settings,
                          const char *arch) {
        _cleanup_free_ char *own = NULL, *binary = NULL;

        if (!arch && host_arch(host, &own) < 0)
                return NULL;
        if (host_qemu(host, settings->qemu.binary, arch ? arch : own, &binary, NULL) < 0)
                return NULL;
        return arena_strdup(arena, binary);
}

json_t *finish_global(const struct settings *settings, const struct host *host, const char *arch,
                      const char *chipset, struct arena *arena) {
        json_t *global = settings_to_json(settings), *uefi = json_object_get(global, "uefi");
        const char *code = NULL, *template = NULL;

        if (!uefi) {
                uefi = json_object();
                json_put(global, "uefi", uefi);
        }
        if (!json_object_get(uefi, "default") &&
            complete_default_firmware(host, settings, arch, chipset, arena, &code, &template, NULL) >= 0)
                json_put(uefi, "default", json_pack("{s:s, s:s?}", "boot_code", code, "template", template));
        return global;
}

json_t *finish_instance(const struct def *def, const char *instance_dir) {
        _cleanup_free_ char *socket = xasprintf("%s/spice.sock", instance_dir);
        json_t *instance = def_to_json(def, DEF_JSON_LUA), *spice = json_object_get(instance, "spice");

        if (spice && def->spice.enabled)
                json_put_str(spice, "socket_path", socket);
        return instance;
}

/* -- what vored adds ---------------------------------------------------------------------------- */

static void add_chardev(struct argv *a, const char *id, const char *escaped_path, int fd) {
        argv_add(a, "-chardev");
        if (escaped_path)
                argv_addf(a, "socket,id=%s,path=%s-%s.sock,server=on,wait=off", id, escaped_path, id);
        else
                argv_addf(a, "socket,id=%s,fd=%d,server=on,wait=off", id, fd);
}

static void add_two(struct argv *a, const char *option, const char *value) {
        argv_add(a, option);
        argv_add(a, value);
}

/* sockets: the path that the sockets of the plain form begin with; NULL: the exact form. */
static void add_own(struct argv *a, const struct plan *p, const struct settings *s, const char *sockets) {
        _cleanup_free_ char *escaped = sockets ? argv_escape(sockets) : NULL;

        argv_add(a, "-name");
        argv_addf(a, "guest=%s,debug-threads=on", p->name);
        if (!sockets) {
                argv_add(a, "-S");
                argv_add(a, "-no-shutdown");
        }
        add_two(a, "-msg", "timestamp=on");
        if (s->qemu.sandbox) {
                argv_add(a, "-sandbox");
                argv_addf(a, "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=%s",
                          p->jack ? "allow" : "deny");
        }
        add_chardev(a, "qmp", escaped, PLAN_FD_QMP);
        add_two(a, "-qmp", "chardev:qmp");
        add_chardev(a, "qmp-user", escaped, PLAN_FD_QMP_USER);
        add_two(a, "-qmp", "chardev:qmp-user");
        add_chardev(a, "console", escaped, PLAN_FD_CONSOLE);
}

static void add_script(struct argv *a, const struct script_result *result) {
        for (size_t i = 0; i < result->argv.n; i++)
                argv_add(a, result->argv.items[i]);
}

static bool uses_console(const struct script_result *result) {
        for (size_t i = 0; i < result->argv.n; i++)
                if (strstr(result->argv.items[i], "chardev=console") ||
                    strstr(result->argv.items[i], "chardev:console") ||
                    strstr(result->argv.items[i], "\"chardev\":\"console\""))
                        return true;
        return false;
}

static void take_copies(struct plan *p, const struct script_result *result, const char *instance_dir) {
        p->n_copies = result->n_copies;
        p->copies = arena_new0(p->arena, struct script_copy, p->n_copies + 1);
        for (size_t i = 0; i < p->n_copies; i++) {
                const struct script_copy *copy = &result->copies[i];
                const char *below = plan_below(instance_dir, copy->target);

                p->copies[i] = (struct script_copy){ arena_strdup(p->arena, below ? below : copy->target),
                                                     arena_strdup(p->arena, copy->source) };
        }
        p->n_allows = result->n_allows;
        p->allows = arena_new0(p->arena, struct script_allow, p->n_allows + 1);
        for (size_t i = 0; i < p->n_allows; i++)
                p->allows[i] = (struct script_allow){ arena_strdup(p->arena, result->allows[i].path),
                                                      result->allows[i].write };
}

static void note_spice_link(struct plan *p, const struct def *def, const char *instance_dir) {
        _cleanup_free_ char *own = xasprintf("%s/spice.sock", instance_dir);

        if (def->spice.enabled && def->spice.socket_path && !str_eq(def->spice.socket_path, own))
                p->spice_link = arena_strdup(p->arena, def->spice.socket_path);
}

int finish_argv(struct plan *p, const struct plan_request *req, const struct def *def,
                const struct script_result *result, const char *binary, struct error *err) {
        const struct settings *s = req->settings;
        _cleanup_free_ char *instance_dir = plan_instance_dir(s, p->name);
        _cleanup_free_ char *sockets = xasprintf("%s/hand/%s", s->vore.runtime_dir, p->name);
        const char *program = binary ? binary : "qemu-system-x86_64";

        p->jack = sound_jack(&result->argv);
        argv_add(&p->plain, program);
        add_own(&p->plain, p, s, sockets);
        add_script(&p->plain, result);
        argv_add(&p->exact, program);
        add_own(&p->exact, p, s, NULL);
        add_script(&p->exact, result);

        p->console = uses_console(result);
        take_copies(p, result, instance_dir);
        note_spice_link(p, def, instance_dir);
        handover_nodes(p, &p->exact);
        claim_nodes(p);
        if (req->uid == (uid_t) -1)
                return 0;
        memory_reach(p);
        int r = sound_handover(p, &p->exact, err);
        if (r >= 0)
                r = handover(p, &p->exact, instance_dir, req, err);
        if (r >= 0)
                handover_uses(p, instance_dir);
        return r;
}
