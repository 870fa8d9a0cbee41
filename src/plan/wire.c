/* The plan as JSON: how it crosses the pipe from the worker that made it. */
#include "plan/finish.h"

#include "base/str.h"
#include "plan/claim.h"
#include "plan/memory.h"

#include <errno.h>

static json_t *files_to_json(const struct plan *p) {
        json_t *array = json_array();

        for (size_t i = 0; i < p->n_files; i++)
                json_push(array,
                          json_pack("{s:o, s:i, s:i, s:i, s:I}", "path", json_string_lossy(p->files[i].path),
                                    "fd", p->files[i].fd, "set", p->files[i].set, "flags", p->files[i].flags,
                                    "as", (json_int_t) p->files[i].as));
        return array;
}

static json_t *copies_to_json(const struct plan *p) {
        json_t *array = json_array();

        for (size_t i = 0; i < p->n_copies; i++)
                json_push(array, json_pack("{s:o, s:o}", "target", json_string_lossy(p->copies[i].target),
                                           "source", json_string_lossy(p->copies[i].source)));
        return array;
}

static json_t *allows_to_json(const struct plan *p) {
        json_t *array = json_array();

        for (size_t i = 0; i < p->n_allows; i++)
                json_push(array, json_pack("{s:o, s:b}", "path", json_string_lossy(p->allows[i].path),
                                           "write", p->allows[i].write));
        return array;
}

static json_t *disks_to_json(const struct plan *p) {
        json_t *array = json_array();

        for (size_t i = 0; i < p->n_disks; i++)
                if (p->disks[i].path)
                        json_push(array, json_pack("{s:o, s:b}", "path", json_string_lossy(p->disks[i].path),
                                                   "read_only", p->disks[i].read_only));
        return array;
}

static json_t *strings_to_json(char *const *items, size_t n) {
        json_t *array = json_array();

        for (size_t i = 0; i < n; i++)
                json_push_str(array, items[i]);
        return array;
}

static json_t *cookie_to_json(const struct plan_cookie *c) {
        return json_pack("{s:i, s:I, s:o}", "fd", c->fd, "as", (json_int_t) c->as, "places",
                         strings_to_json(c->places, PLAN_COOKIE_PLACES));
}

json_t *finish_to_json(const struct plan *p) {
        json_t *j = json_object();

        json_put(j, "faults", json_incref(p->faults));
        json_put_bool(j, "ok", p->ok);
        json_put(j, "definition", p->definition ? json_incref(p->definition) : NULL);
        json_put(j, "origins", p->origins ? json_incref(p->origins) : NULL);
        json_put_str(j, "name", p->name);
        json_put_int(j, "memory", (int64_t) p->memory);
        json_put_int(j, "vcpus", p->vcpus);
        json_put_bool(j, "auto_start", p->auto_start);
        json_put(j, "plain", argv_to_json(&p->plain));
        json_put(j, "exact", argv_to_json(&p->exact));
        json_put(j, "files", files_to_json(p));
        json_put(j, "reach", strings_to_json(p->reach, p->n_reach));
        json_put(j, "copies", copies_to_json(p));
        json_put(j, "allows", allows_to_json(p));
        json_put(j, "disks", disks_to_json(p));
        json_put(j, "devices", claim_to_json(p));
        json_put(j, "memories", memory_to_json(p));
        json_put_int(j, "memlock", (int64_t) p->memlock);
        json_put(j, "environ", strings_to_json(p->environ, p->n_environ));
        json_put(j, "cookie", p->cookie.fd ? cookie_to_json(&p->cookie) : NULL);
        json_put_int(j, "group", p->group);
        json_put(j, "sockets", strings_to_json(p->sockets, p->n_sockets));
        json_put_str(j, "spice_link", p->spice_link);
        json_put_bool(j, "console", p->console);
        json_put_bool(j, "kvm", p->kvm);
        json_put_bool(j, "jack", p->jack);
        return j;
}

static char *text_at(struct plan *p, const json_t *obj, const char *key) {
        return arena_strdup(p->arena, json_get_str(obj, key, NULL));
}

static void files_from_json(struct plan *p, const json_t *array) {
        size_t i;
        json_t *v;

        p->n_files = json_array_size(array);
        p->files = arena_new0(p->arena, struct plan_file, p->n_files + 1);
        json_array_foreach (array, i, v)
                p->files[i] = (struct plan_file){ .path = text_at(p, v, "path"),
                                                  .fd = (int) json_get_int(v, "fd", -1),
                                                  .set = (int) json_get_int(v, "set", 0),
                                                  .flags = (int) json_get_int(v, "flags", 0),
                                                  .as = (uid_t) json_get_int(v, "as", 0) };
}

/* NULL behind the last one. */
static char **strings_from_json(struct plan *p, const json_t *array, size_t *ret_n) {
        size_t n = json_array_size(array), i;
        char **items = arena_new0(p->arena, char *, n + 1);
        json_t *v;

        json_array_foreach (array, i, v)
                items[i] = arena_strdup(p->arena, json_string_value(v));
        *ret_n = n;
        return items;
}

static void cookie_from_json(struct plan *p, const json_t *j) {
        const json_t *places = json_object_get(j, "places");

        p->cookie.fd = (int) json_get_int(j, "fd", 0);
        p->cookie.as = (uid_t) json_get_int(j, "as", 0);
        for (size_t i = 0; i < PLAN_COOKIE_PLACES; i++)
                p->cookie.places[i] = arena_strdup(p->arena, json_string_value(json_array_get(places, i)));
}

static void lists_from_json(struct plan *p, const json_t *j) {
        const json_t *copies = json_object_get(j, "copies"), *allows = json_object_get(j, "allows");
        const json_t *disks = json_object_get(j, "disks");
        size_t i;
        json_t *v;

        p->n_copies = json_array_size(copies);
        p->copies = arena_new0(p->arena, struct script_copy, p->n_copies + 1);
        json_array_foreach (copies, i, v)
                p->copies[i] = (struct script_copy){ text_at(p, v, "target"), text_at(p, v, "source") };
        p->n_allows = json_array_size(allows);
        p->allows = arena_new0(p->arena, struct script_allow, p->n_allows + 1);
        json_array_foreach (allows, i, v)
                p->allows[i] =
                        (struct script_allow){ text_at(p, v, "path"), json_get_bool(v, "write", false) };
        p->n_disks = json_array_size(disks);
        p->disks = arena_new0(p->arena, struct complete_use, p->n_disks + 1);
        json_array_foreach (disks, i, v)
                p->disks[i] = (struct complete_use){ .vm = p->name,
                                                     .path = text_at(p, v, "path"),
                                                     .read_only = json_get_bool(v, "read_only", false) };
        p->reach = strings_from_json(p, json_object_get(j, "reach"), &p->n_reach);
        p->environ = strings_from_json(p, json_object_get(j, "environ"), &p->n_environ);
        p->sockets = strings_from_json(p, json_object_get(j, "sockets"), &p->n_sockets);
}

int plan_from_json(const json_t *j, struct plan **ret, struct error *err) {
        struct plan *p = xcalloc(1, sizeof(*p));
        int r;

        p->arena = arena_new();
        p->ok = json_get_bool(j, "ok", false);
        p->faults = json_incref(json_object_get(j, "faults"));
        if (json_is_object(json_object_get(j, "definition")))
                p->definition = json_incref(json_object_get(j, "definition"));
        if (json_is_object(json_object_get(j, "origins")))
                p->origins = json_incref(json_object_get(j, "origins"));
        p->name = text_at(p, j, "name");
        p->memory = (uint64_t) json_get_int(j, "memory", 0);
        p->vcpus = json_get_int(j, "vcpus", 0);
        p->auto_start = json_get_bool(j, "auto_start", false);
        files_from_json(p, json_object_get(j, "files"));
        lists_from_json(p, j);
        claim_from_json(p, json_object_get(j, "devices"));
        memory_from_json(p, json_object_get(j, "memories"));
        p->memlock = (uint64_t) json_get_int(j, "memlock", 0);
        cookie_from_json(p, json_object_get(j, "cookie"));
        p->group = (gid_t) json_get_int(j, "group", 0);
        p->spice_link = text_at(p, j, "spice_link");
        p->console = json_get_bool(j, "console", false);
        p->kvm = json_get_bool(j, "kvm", false);
        p->jack = json_get_bool(j, "jack", false);
        r = argv_from_json(json_object_get(j, "plain"), &p->plain, err);
        if (r >= 0)
                r = argv_from_json(json_object_get(j, "exact"), &p->exact, err);
        if (r < 0 || !p->faults) {
                plan_free(p);
                return r < 0 ? r : error_set(err, -EBADMSG, "a plan without a list of faults");
        }
        *ret = p;
        return 0;
}
