#include "plan/memory.h"

#include "base/str.h"

struct notes {
        struct plan *p;
        const struct host *host;
        char *folder; /* owned: the VM's own */
};

static bool is_own(const struct notes *n, const char *path) {
        size_t len = strlen(n->folder);

        return strncmp(path, n->folder, len) == 0 && path[len] == '/' && !strchr(path + len + 1, '/');
}

static void note(const struct notes *n, const char *path, uint64_t size) {
        struct plan *p = n->p;
        struct host_node node;

        if (str_empty(path))
                return;
        bool own = is_own(n, path);
        p->memories[p->n_memories++] = (struct plan_memory){
                .path = arena_strdup(p->arena, path),
                .size = size,
                .own = own,
                .make = own || host_node(n->host, path, &node) < 0,
        };
}

void memory_note(struct plan *p, const struct def *def, const struct settings *s, const struct host *host) {
        const struct notes n = { p, host, plan_shm_dir(s, p->name) };

        p->memories = arena_new0(p->arena, struct plan_memory, 2);
        if (def->looking_glass.enabled && !def->looking_glass.kvmfr)
                note(&n, def->looking_glass.mem_path, def->looking_glass.buffer_size);
        if (def->scream.enabled)
                note(&n, def->scream.mem_path, def->scream.buffer_size);
        free(n.folder);
}

void memory_reach(struct plan *p) {
        for (size_t i = 0; i < p->n_memories; i++) {
                p->reach = arena_grow(p->arena, p->reach, p->n_reach, p->n_reach + 1, sizeof(*p->reach));
                p->reach[p->n_reach++] = p->memories[i].path;
        }
}

json_t *memory_to_json(const struct plan *p) {
        json_t *array = json_array();

        for (size_t i = 0; i < p->n_memories; i++) {
                const struct plan_memory *m = &p->memories[i];

                json_push(array, json_pack("{s:o, s:I, s:b, s:b}", "path", json_string_lossy(m->path), "size",
                                           (json_int_t) m->size, "own", m->own, "make", m->make));
        }
        return array;
}

void memory_from_json(struct plan *p, const json_t *array) {
        size_t i;
        json_t *v;

        p->n_memories = json_array_size(array);
        p->memories = arena_new0(p->arena, struct plan_memory, p->n_memories + 1);
        json_array_foreach (array, i, v)
                p->memories[i] = (struct plan_memory){
                        .path = arena_strdup(p->arena, json_get_str(v, "path", "")),
                        .size = (uint64_t) json_get_int(v, "size", 0),
                        .own = json_get_bool(v, "own", false),
                        .make = json_get_bool(v, "make", false),
                };
}
