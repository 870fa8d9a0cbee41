#include "def/internal.h"

#include "base/str.h"

#include <ctype.h>
#include <inttypes.h>

/* sun_path of unix(7), less its NUL. */
enum { SOCKET_PATH_MAX = 107 };

static const char word[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";

static bool is_word(const char *s) {
        return s[strspn(s, word)] == '\0';
}

static bool is_uuid(const char *s) {
        for (size_t i = 0; i < 36; i++)
                if (i == 8 || i == 13 || i == 18 || i == 23 ? s[i] != '-' : !isxdigit((unsigned char) s[i]))
                        return false;
        return s[36] == '\0';
}

static void rule_machine(struct def *def, struct diags *diags) {
        struct def_machine *m = &def->machine;

        if (m->name && !def_name_valid(m->name))
                DEF_ERROR(diags, m, name, "name", NULL,
                          "\"%.80s\" is no name for a VM: 1 to 64 letters, digits, \".\", \"_\" and \"-\", "
                          "beginning with a letter or digit",
                          m->name);
        if (m->memory % (1 << 20))
                DEF_ERROR(diags, m, memory, "memory", NULL, "must be whole MiB, not %" PRIu64 " bytes",
                          m->memory);
        if (m->arch && !is_word(m->arch))
                DEF_ERROR(diags, m, arch, "arch", NULL, "\"%.64s\" is no architecture such as \"x86_64\"",
                          m->arch);
        if (m->chipset && !is_word(m->chipset))
                DEF_ERROR(diags, m, chipset, "chipset", NULL, "\"%.64s\" is no machine type such as \"q35\"",
                          m->chipset);
        if (m->uuid && !is_uuid(m->uuid))
                DEF_ERROR(diags, m, uuid, "uuid", NULL,
                          "\"%.64s\" is no UUID such as \"123e4567-e89b-12d3-a456-426614174000\"", m->uuid);
}

static int64_t or_one(int64_t n) {
        return n ? n : 1;
}

/* Missing factors from the amount, and the other way round. */
static void topology_fill(struct def_cpu *c) {
        if (c->amount) {
                int64_t given = or_one(c->threads) * or_one(c->cores) * or_one(c->dies) * or_one(c->sockets);

                if (!c->threads)
                        c->threads = c->amount % given == 0 && c->amount / given % 2 == 0 ? 2 : 1;
                c->dies = or_one(c->dies);
                c->sockets = or_one(c->sockets);
                if (!c->cores)
                        c->cores = or_one(c->amount / (c->threads * c->dies * c->sockets));
                return;
        }
        c->cores = c->cores ? c->cores : 2;
        c->threads = c->threads ? c->threads : 2;
        c->dies = or_one(c->dies);
        c->sockets = or_one(c->sockets);
        c->amount = c->sockets * c->dies * c->cores * c->threads;
}

static bool topology_faulty(const struct def_cpu *c) {
        return DEF_FAULTY(c, amount) || DEF_FAULTY(c, threads) || DEF_FAULTY(c, cores) ||
               DEF_FAULTY(c, dies) || DEF_FAULTY(c, sockets);
}

static void rule_topology(struct def *def, struct diags *diags) {
        enum { AMOUNT_MAX = 1024 };
        struct def_cpu *c = &def->cpu;

        topology_fill(c);
        if (topology_faulty(c)) { /* what follows from it says nothing */
                DEF_REFUSE(c, amount);
                return;
        }

        int64_t product = c->sockets * c->dies * c->cores * c->threads;
        const char *sum = arena_printf(diags->arena,
                                       "sockets %" PRId64 " x dies %" PRId64 " x cores %" PRId64
                                       " x threads %" PRId64 " = %" PRId64,
                                       c->sockets, c->dies, c->cores, c->threads, product);

        if (c->amount != product)
                DEF_ERROR(diags, c, amount, "amount", "leave out the amount or one of the factors",
                          "is %" PRId64 ", but %s", c->amount, sum);
        else if (product > AMOUNT_MAX)
                DEF_ERROR(diags, c, amount, "amount", NULL, "at most %d are possible, but %s", AMOUNT_MAX,
                          sum);
        if (c->amount != product || product > AMOUNT_MAX)
                DEF_REFUSE(c, amount);
}

/* A value may have blanks ("model-id=My CPU"); of a name QEMU would not find the property. */
static bool is_property(const char *flag) {
        bool sign = *flag == '+' || *flag == '-';
        const char *name = flag + sign;
        size_t n = strcspn(name, "=");

        return n > 0 && !strchr("+-", *name) && strspn(name, word) >= n && !(sign && name[n]) &&
               !strchr(name, ',');
}

static void rule_cpu(struct def *def, struct diags *diags) {
        struct def_cpu *c = &def->cpu;

        if (c->model && !is_word(c->model))
                DEF_ERROR(diags, c, model, "model", "properties belong to flags", "\"%.64s\" is no CPU model",
                          c->model);
        for (size_t i = 0; i < c->flags.n; i++) {
                const char *f = c->flags.items[i];

                if (!is_property(f))
                        diag_error(diags, c->flags.locs[i], arena_printf(diags->arena, "cpu.flags[%zu]", i),
                                   NULL,
                                   "\"%.64s\" is not one property: \"+name\", \"-name\" or \"name=value\"",
                                   f);
        }
        /* QEMU cuts a longer one. */
        if (c->vendor_id && (strlen(c->vendor_id) > 12 || strchr(c->vendor_id, ',')))
                DEF_ERROR(diags, c, vendor_id, "vendor-id", NULL,
                          "\"%.64s\" must have at most 12 characters and no comma", c->vendor_id);
}

static bool fits_socket(const char *path) {
        return !path || strlen(path) <= SOCKET_PATH_MAX;
}

static void rule_sockets(struct def *def, struct diags *diags) {
        static const char message[] = "has %zu bytes; a socket's path can have at most %d";
        struct def_spice *spice = &def->spice;
        struct def_audio *pulse = &def->pulse;

        if (!fits_socket(spice->socket_path)) {
                DEF_ERROR(diags, spice, socket_path, "socket-path", NULL, message, strlen(spice->socket_path),
                          SOCKET_PATH_MAX);
                DEF_REFUSE(spice, socket_path);
        }
        if (!fits_socket(pulse->socket_path)) {
                DEF_ERROR(diags, pulse, socket_path, "socket-path", NULL, message, strlen(pulse->socket_path),
                          SOCKET_PATH_MAX);
                DEF_REFUSE(pulse, socket_path);
        }
}

static bool is_user(const char *s) {
        long long id;

        return *s != '#' ? *s && !strchr(s, '/') : str_to_int(s + 1, 0, UINT32_MAX - 1, &id) == 0;
}

static void rule_users(struct def *def, struct diags *diags) {
        struct def_audio *const all[] = { &def->pulse, &def->jack, &def->pipewire };

        for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
                struct def_audio *a = all[i];

                if (!a->user || is_user(a->user))
                        continue;
                DEF_ERROR(diags, a, user, "user", NULL,
                          "\"%.64s\" is neither a user's name nor # and a number", a->user);
                DEF_REFUSE(a, user);
        }
}

/* The name of a JACK server is a part of file names; QEMU makes of a client's name one with "out-" before it,
 * in at most 63 bytes. */
static void rule_jack(struct def *def, struct diags *diags) {
        const struct def_audio *j = &def->jack;

        if (j->server && (!is_word(j->server) || strlen(j->server) > 64))
                DEF_ERROR(diags, j, server, "server", NULL, "\"%.80s\" is no name of a JACK server",
                          j->server);
        if (j->client_name && (strlen(j->client_name) > 59 || strchr(j->client_name, ':')))
                DEF_ERROR(diags, j, client_name, "client-name", NULL,
                          "\"%.80s\" is no name for a JACK client: at most 59 bytes, without \":\"",
                          j->client_name);
}

void def_rules(struct def *def, struct diags *diags) {
        rule_machine(def, diags);
        rule_topology(def, diags);
        rule_cpu(def, diags);
        rule_sockets(def, diags);
        rule_users(def, diags);
        rule_jack(def, diags);
        def_rules_memory(def, diags);
        def_rules_devices(def, diags);
}
