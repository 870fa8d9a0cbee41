#include "base/clock.h"
#include "base/log.h"
#include "qemu/caps-ask.h"
#include "qemu/caps.h"

#include <errno.h>

/* Devices whose mere look ends QEMU; each costs a restart. */
enum { KILLERS_MAX = 16 };

/* The lines of the file under construction. */
struct facts {
        char **lines; /* owned */
        size_t n, size;
};

static void facts_done(struct facts *f) {
        for (size_t i = 0; i < f->n; i++)
                free(f->lines[i]);
        free(f->lines);
        *f = (struct facts){ 0 };
}

/* What holds a space or control character cannot be asked for, so it need not be kept. */
static bool is_word(const char *name) {
        if (str_empty(name))
                return false;
        for (; *name; name++)
                if ((unsigned char) *name <= ' ')
                        return false;
        return true;
}

/* "kind name" and the "name"s of members, an array of objects (or NULL). */
static void facts_add(struct facts *f, const char *kind, const char *name, const json_t *members) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        json_t *member;
        size_t i;

        if (!is_word(name))
                return;
        strbuf_addf(&b, "%s %s", kind, name);
        json_array_foreach (members, i, member) {
                const char *s = json_get_str(member, "name", NULL);

                if (is_word(s))
                        strbuf_addf(&b, " %s", s);
        }
        if (f->n == f->size) {
                f->size = MAX(f->size * 2, (size_t) 256);
                f->lines = xrealloc(f->lines, f->size, sizeof(*f->lines));
        }
        f->lines[f->n++] = strbuf_take(&b);
}

static int compare_lines(const void *a, const void *b) {
        return strcmp(*(char *const *) a, *(char *const *) b);
}

/* Of two lines with one key (a device that is listed twice) the first stays. */
static bool same_key(const char *a, const char *b) {
        size_t n = strcspn(a, " ") + 1;

        n += strcspn(a + n, " ");
        return strncmp(a, b, n) == 0 && (b[n] == ' ' || b[n] == '\0');
}

static char *facts_text(struct facts *f, const char *identity) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

        qsort(f->lines, f->n, sizeof(*f->lines), compare_lines);
        strbuf_addf(&b, "%s\n", identity);
        for (size_t i = 0; i < f->n; i++)
                if (i == 0 || !same_key(f->lines[i - 1], f->lines[i]))
                        strbuf_addf(&b, "%s\n", f->lines[i]);
        return strbuf_take(&b);
}

/* The schema QEMU gives of its commands names types by numbers. */
static const json_t *schema_find(const json_t *schema, const char *name) {
        json_t *entity;
        size_t i;

        json_array_foreach (schema, i, entity) {
                if (str_eq(json_get_str(entity, "name", NULL), name))
                        return entity;
        }
        return NULL;
}

static const json_t *schema_member(const json_t *schema, const char *type, const char *member) {
        const json_t *members = json_object_get(schema_find(schema, type), "members");
        json_t *m;
        size_t i;

        json_array_foreach (members, i, m) {
                if (str_eq(json_get_str(m, "name", NULL), member))
                        return schema_find(schema, json_get_str(m, "type", NULL));
        }
        return NULL;
}

static void add_strings(struct facts *f, const char *kind, const json_t *strings) {
        json_t *s;
        size_t i;

        json_array_foreach (strings, i, s) {
                facts_add(f, kind, json_string_value(s), NULL);
        }
}

static const json_t *argument(const json_t *schema, const char *command, const char *name) {
        const char *type = json_get_str(schema_find(schema, command), "arg-type", NULL);

        return schema_member(schema, type, name);
}

/* The ways to do I/O are an enumeration in the options of the block driver file. */
static void add_aio(struct facts *f, const json_t *schema) {
        const char *options = json_get_str(schema_find(schema, "blockdev-add"), "arg-type", NULL);
        json_t *variant;
        size_t i;

        json_array_foreach (json_object_get(schema_find(schema, options), "variants"), i, variant) {
                const char *type = json_get_str(variant, "type", NULL);

                if (str_eq(json_get_str(variant, "case", NULL), "file"))
                        add_strings(f, "aio", json_object_get(schema_member(schema, type, "aio"), "values"));
        }
}

static void add_schema(struct facts *f, const json_t *schema) {
        /* The enumeration of an argument of a command holds the names that we are after. */
        static const struct {
                const char *kind, *command, *argument;
        } enums[] = {
                { "object", "object-add", "qom-type" },
                { "netdev", "netdev_add", "type" },
                { "blockdev", "blockdev-add", "driver" },
        };
        const json_t *backend = argument(schema, "chardev-add", "backend");
        json_t *variant;
        size_t i;

        for (i = 0; i < ARRAY_SIZE(enums); i++)
                add_strings(f, enums[i].kind,
                            json_object_get(argument(schema, enums[i].command, enums[i].argument), "values"));
        json_array_foreach (json_object_get(backend, "variants"), i, variant) {
                facts_add(f, "chardev", json_get_str(variant, "case", NULL), NULL);
        }
        add_aio(f, schema);
}

static void add_options(struct facts *f, const json_t *options) {
        json_t *option;
        size_t i;

        json_array_foreach (options, i, option) {
                facts_add(f, "option", json_get_str(option, "option", NULL),
                          json_object_get(option, "parameters"));
        }
}

static void add_commands(struct facts *f, const json_t *commands) {
        json_t *command;
        size_t i;

        json_array_foreach (commands, i, command) {
                facts_add(f, "command", json_get_str(command, "name", NULL), NULL);
        }
}

static void add_cpu(struct facts *f, const json_t *expansion) {
        const json_t *props = json_object_get(json_object_get(expansion, "model"), "props");
        _cleanup_json_ json_t *members = json_array();
        const char *key;
        json_t *value;

        json_object_foreach ((json_t *) props, key, value) {
                json_push(members, json_pack("{s:s}", "name", key));
        }
        if (props)
                facts_add(f, "cpu", "max", members);
}

static void add_kvm(struct facts *f, const json_t *properties) {
        if (properties)
                facts_add(f, "accel", "kvm", properties);
}

static void add_tcg(struct facts *f, const json_t *properties) {
        if (properties)
                facts_add(f, "accel", "tcg", properties);
}

static void add_tpm(struct facts *f, const json_t *types) {
        add_strings(f, "tpm", types);
}

/* One exchange: a row for each question. What a binary does not know (NULL) it does not have. */
static const struct question {
        const char *command; /* and its arguments */
        void (*add)(struct facts *f, const json_t *answer);
} questions[] = {
        { "\"query-qmp-schema\"", add_schema },
        { "\"query-command-line-options\"", add_options },
        { "\"query-commands\"", add_commands },
        { "\"query-tpm-types\"", add_tpm },
        { "\"qom-list-properties\",\"arguments\":{\"typename\":\"kvm-accel\"}", add_kvm },
        { "\"qom-list-properties\",\"arguments\":{\"typename\":\"tcg-accel\"}", add_tcg },
        { "\"query-cpu-model-expansion\",\"arguments\":{\"type\":\"full\",\"model\":{\"name\":\"max\"}}",
          add_cpu },
};

static void on_question(size_t i, const json_t *answer, void *data) {
        questions[i].add(data, answer);
}

static int ask_questions(struct caps_qemu *q, struct facts *f, struct error *err) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        size_t n;

        for (size_t i = 0; i < ARRAY_SIZE(questions); i++)
                strbuf_addf(&b, "{\"execute\":%s}\n", questions[i].command);
        return caps_qemu_ask(q, b.data, ARRAY_SIZE(questions), on_question, f, &n, err);
}

static void keep_answer(size_t i, const json_t *answer, void *data) {
        *(json_t **) data = json_incref((json_t *) answer);
}

/* One question whose answer leads to more. *ret is never NULL. */
static int ask_one(struct caps_qemu *q, const char *text, json_t **ret, struct error *err) {
        _cleanup_json_ json_t *answer = NULL;
        size_t n;
        int r = caps_qemu_ask(q, text, 1, keep_answer, &answer, &n, err);

        if (r < 0)
                return r;
        if (!answer)
                return error_set(err, -EPROTO, "it refused %.40s…", text);
        *ret = TAKE_PTR(answer);
        return 0;
}

/* Names that are asked about one after another. */
struct names {
        const char **items; /* owned array of borrowed strings */
        size_t n, first;    /* first: the next to ask about */
        const char *kind;
        struct facts *facts;
};

static void on_properties(size_t i, const json_t *answer, void *data) {
        struct names *names = data;

        facts_add(names->facts, names->kind, names->items[names->first + i], answer);
}

/* As a fact of its own: "machine-cpus q35 288". */
static void add_cpus_max(struct facts *f, const char *machine, const json_t *m) {
        int64_t max = json_get_int(m, "cpu-max", 0);
        char number[24];

        snprintf(number, sizeof(number), "%lld", (long long) max);
        _cleanup_json_ json_t *members = json_pack("[{s:s}]", "name", number);
        if (max > 0)
                facts_add(f, "machine-cpus", machine, members);
}

static int ask_machines(struct caps_qemu *q, struct facts *f, struct error *err) {
        _cleanup_json_ json_t *machines = NULL;
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        int r = ask_one(q, "{\"execute\":\"query-machines\"}\n", &machines, err);
        json_t *m;
        size_t i, n;

        if (r < 0)
                return r;
        struct names names = { .kind = "machine", .facts = f };
        _cleanup_free_ const char **aliases = xcalloc(json_array_size(machines) + 1, sizeof(*aliases));
        names.items = aliases;
        json_array_foreach (machines, i, m) {
                const char *name = json_get_str(m, "name", ""), *alias = json_get_str(m, "alias", NULL);

                facts_add(f, "machine", name, NULL);
                add_cpus_max(f, name, m);
                if (json_get_bool(m, "deprecated", false))
                        facts_add(f, "machine-deprecated", name, NULL);
                if (is_word(alias))
                        add_cpus_max(f, alias, m);
                if (!is_word(alias) || strpbrk(name, "\"\\"))
                        continue;
                strbuf_addf(
                        &b,
                        "{\"execute\":\"qom-list-properties\",\"arguments\":{\"typename\":\"%s-machine\"}}\n",
                        name);
                aliases[names.n++] = alias;
        }
        return caps_qemu_ask(q, b.data ? b.data : "", names.n, on_properties, &names, &n, err);
}

static int compare_names(const void *a, const void *b) {
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

/* CPU types have hundreds of properties, and are not for -device. */
static bool is_cpu(const char *type) {
        return str_ends(type, "-cpu");
}

/* Asks about the properties of what is left of names; *ret_n were answered. */
static int ask_properties(struct caps_qemu *q, struct names *names, size_t *ret_n, struct error *err) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

        for (size_t i = names->first; i < names->n; i++)
                strbuf_addf(&b,
                            "{\"execute\":\"device-list-properties\",\"arguments\":{\"typename\":\"%s\"}}\n",
                            names->items[i]);
        return caps_qemu_ask(q, b.data ? b.data : "", names->n - names->first, on_properties, names, ret_n,
                             err);
}

/* A device of which a part is missing (its module is not installed) ends QEMU when it is looked at. It is
 * left out, and QEMU is started again for the rest. */
static int ask_all_properties(struct caps_qemu *q, const char *binary, struct names *names,
                              struct error *err) {
        for (unsigned killers = 0;; killers++) {
                size_t n = 0;
                int r = ask_properties(q, names, &n, err);

                names->first += n;
                if (r != -ECONNRESET || killers >= KILLERS_MAX)
                        return r;
                names->first++;
                uint64_t deadline_us = q->deadline_us;
                caps_qemu_end(q);
                r = caps_qemu_start(q, binary, deadline_us, NULL, err);
                if (r < 0)
                        return r;
                if (err)
                        error_done(err);
        }
}

static int ask_devices(struct caps_qemu *q, const char *binary, struct facts *f, struct error *err) {
        _cleanup_json_ json_t *types = NULL;
        int r = ask_one(q,
                        "{\"execute\":\"qom-list-types\",\"arguments\":{\"implements\":\"device\","
                        "\"abstract\":false}}\n",
                        &types, err);
        json_t *type;
        size_t i;

        if (r < 0)
                return r;
        _cleanup_free_ const char **items = xcalloc(json_array_size(types) + 1, sizeof(*items));
        struct names names = { .items = items, .kind = "device", .facts = f };
        json_array_foreach (types, i, type) {
                const char *name = json_get_str(type, "name", "");

                if (is_cpu(name))
                        facts_add(f, "device", name, NULL);
                else if (is_word(name) && !strpbrk(name, "\"\\"))
                        items[names.n++] = name;
        }
        qsort(items, names.n, sizeof(*items), compare_names);
        return ask_all_properties(q, binary, &names, err);
}

/* The words alone on their lines, between the first line (a title) and an empty one. The schema would name
 * what QEMU was built with; this list is of what is installed. */
static int ask_help(const char *binary, const char *option, const char *kind, uint64_t deadline_us,
                    struct facts *f, struct error *err) {
        _cleanup_free_ char *text = NULL;
        int r = caps_qemu_help(binary, option, deadline_us, &text, err);

        if (r < 0)
                return r;
        for (char *line = strchr(text, '\n'); line && line[1] && line[1] != '\n';) {
                char *next = strchr(++line, '\n');

                if (next)
                        *next = '\0';
                facts_add(f, kind, line, NULL);
                line = next;
        }
        return 0;
}

static void add_version(struct facts *f, const json_t *greeting) {
        const json_t *v =
                json_object_get(json_object_get(json_object_get(greeting, "QMP"), "version"), "qemu");
        _cleanup_free_ char *version =
                xasprintf("%lld.%lld.%lld", (long long) json_get_int(v, "major", 0),
                          (long long) json_get_int(v, "minor", 0), (long long) json_get_int(v, "micro", 0));

        facts_add(f, "version", version, NULL);
}

static int ask(const char *binary, uint64_t deadline_us, struct facts *f, struct error *err) {
        _cleanup_caps_qemu_ struct caps_qemu q = CAPS_QEMU_INIT;
        _cleanup_json_ json_t *greeting = NULL;
        int r = caps_qemu_start(&q, binary, deadline_us, &greeting, err);

        if (r < 0)
                return r;
        add_version(f, greeting);
        r = ask_questions(&q, f, err);
        if (r >= 0)
                r = ask_machines(&q, f, err);
        if (r >= 0)
                r = ask_devices(&q, binary, f, err);
        if (r >= 0)
                r = ask_help(binary, "-audiodev", "audiodev", deadline_us, f, err);
        if (r >= 0)
                r = ask_help(binary, "-display", "display", deadline_us, f, err);
        return r;
}

int caps_probe(const char *binary, int deadline_ms, char **ret_text, struct error *err) {
        uint64_t deadline_us = clock_monotonic_us() + (uint64_t) MAX(deadline_ms, 0) * 1000;
        _cleanup_(facts_done) struct facts f = { 0 };
        _cleanup_free_ char *identity = NULL;
        int r = caps_identity(binary, &identity, err);

        if (r < 0)
                return r;
        r = ask(binary, deadline_us, &f, err);
        if (r < 0) {
                error_prefix(err, "cannot ask %s what it can do", binary);
                return r;
        }
        *ret_text = facts_text(&f, identity);
        return 0;
}
