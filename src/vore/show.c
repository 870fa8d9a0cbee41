/* show: from JSON to something that a person reads, on a terminal and off it. */
#include "vore/show.h"

#include "base/size.h"
#include "vore/daemon.h"
#include "vore/errors.h"
#include "vore/output.h"

#include <inttypes.h>

enum { COMMENT_COLUMN = 40 };

static void add_key(struct strbuf *b, const char *key) {
        for (; *key; key++)
                strbuf_addn(b, *key == '_' ? "-" : key, 1);
}

/* TOML's basic string. Characters that are safe in TOML but not on a terminal are escaped as well. */
static void add_string(struct strbuf *b, const char *s) {
        _cleanup_strbuf_ struct strbuf safe = STRBUF_INIT;

        strbuf_add(b, "\"");
        for (; *s; s++)
                if (*s == '"' || *s == '\\')
                        strbuf_addf(&safe, "\\%c", *s);
                else if ((unsigned char) *s < 0x20 || *s == 0x7f)
                        strbuf_addf(&safe,
                                    *s == '\n' ? "\\n" :
                                    *s == '\t' ? "\\t" :
                                                 "\\u%04x",
                                    (unsigned) *s);
                else
                        strbuf_addn(&safe, s, 1);
        if (safe.len)
                output_escape(b, safe.data, NULL);
        strbuf_add(b, "\"");
}

static bool is_pci_or_usb_id(const char *key) {
        return str_eq(key, "vendor") || str_eq(key, "device") || str_eq(key, "product");
}

static void add_value(struct strbuf *b, const char *key, const json_t *value) {
        const json_t *item;
        char size[32];
        size_t i;

        /* A bare number would be MiB in the file. */
        if (json_is_integer(value) && str_eq(key, "memory"))
                strbuf_addf(b, "\"%s\"", size_print((uint64_t) json_integer_value(value), size));
        else if (json_integer_value(value) > 0 && is_pci_or_usb_id(key))
                strbuf_addf(b, "0x%04" PRIx64, (uint64_t) json_integer_value(value));
        else if (json_is_integer(value))
                strbuf_addf(b, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        else if (json_is_real(value))
                strbuf_addf(b, "%g", json_real_value(value));
        else if (json_is_boolean(value))
                strbuf_add(b, json_is_true(value) ? "true" : "false");
        else if (json_is_array(value)) {
                strbuf_add(b, "[");
                json_array_foreach (value, i, item) {
                        strbuf_add(b, i ? ", " : "");
                        add_value(b, NULL, item);
                }
                strbuf_add(b, "]");
        } else
                add_string(b, json_is_string(value) ? json_string_value(value) : "");
}

static bool has_origin(const json_t *value) {
        return json_is_object(value) && json_object_get(value, "origin");
}

static void add_origin(struct strbuf *b, const json_t *value, size_t start, bool color) {
        const char *where = json_get_str(value, "where", NULL);
        enum output_color dim = color ? COLOR_DIM : COLOR_NONE;

        do
                strbuf_add(b, " ");
        while (b->len - start < COMMENT_COLUMN);
        strbuf_addf(b, "%s# ", output_color_begin(dim));
        output_escape(b, json_get_str(value, "origin", "?"), NULL);
        if (!str_empty(where)) {
                strbuf_add(b, ": ");
                output_escape(b, where, NULL);
        }
        strbuf_add(b, output_color_end(dim));
}

static void add_section(struct strbuf *b, const char *name, const json_t *section, bool list, bool color) {
        const json_t *value;
        const char *key;

        strbuf_add(b, b->len ? "\n" : "");
        strbuf_add(b, list ? "[[" : "[");
        add_key(b, name);
        strbuf_add(b, list ? "]]\n" : "]\n");
        json_object_foreach ((json_t *) section, key, value) {
                size_t start = b->len;

                add_key(b, key);
                strbuf_add(b, " = ");
                add_value(b, key, has_origin(value) ? json_object_get(value, "value") : value);
                if (has_origin(value))
                        add_origin(b, value, start, color);
                strbuf_add(b, "\n");
        }
}

void show_text(struct strbuf *b, const json_t *definition, bool color) {
        const json_t *section, *item;
        const char *name;
        size_t i;

        json_object_foreach ((json_t *) definition, name, section) {
                /* [machine] may stand at the top level once more, as scripts see it. */
                if (json_is_object(section) && !has_origin(section))
                        add_section(b, name, section, false, color);
                json_array_foreach (section, i, item) {
                        if (json_is_object(item))
                                add_section(b, str_eq(name, "disks") ? "disk" : name, item, true, color);
                }
        }
}

static int print_source(struct cli *c, const json_t *reply) {
        const json_t *source = json_object_get(reply, "source");
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

        if (!json_is_string(source))
                return cli_fail("show: the daemon has no text of that definition");
        if (!c->terminal) {
                fwrite(json_string_value(source), 1, json_string_length(source), stdout);
                return EXIT_DONE;
        }
        output_escape(&b, json_string_value(source), "\n\t");
        fputs(b.data ? b.data : "", stdout);
        return EXIT_DONE;
}

static int print_definition(struct cli *c, const json_t *reply) {
        const json_t *definition = json_object_get(reply, "definition");
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

        faults_print(c, json_object_get(reply, "faults"));
        if (!json_is_object(definition))
                return faults_have_error(json_object_get(reply, "faults")) ?
                               EXIT_FAILED :
                               cli_fail("show: the daemon gave no definition");
        if (args_has(c->args, OPTION_JSON))
                return cli_print_json(c, json_incref((json_t *) definition));
        show_text(&b, definition, c->color);
        fputs(b.data ? b.data : "", stdout);
        return EXIT_DONE;
}

int verb_show(struct cli *c) {
        bool source = args_has(c->args, OPTION_SOURCE);
        _cleanup_free_ char *name = NULL;
        _cleanup_json_ json_t *reply = NULL;
        json_t *params;
        int r = daemon_name(c, 0, &name);

        if (r != EXIT_DONE)
                return r;
        params = daemon_params(name);
        if (source)
                json_put_bool(params, "source", true);
        else if (args_has(c->args, OPTION_ORIGIN))
                json_put_bool(params, "origin", true);
        r = daemon_call(c, "Show", params, &reply);
        if (r != EXIT_DONE)
                return r;
        if (source && args_has(c->args, OPTION_JSON)) {
                json_t *out = json_object();

                json_put(out, "source", json_incref(json_object_get(reply, "source")));
                return cli_print_json(c, out);
        }
        return source ? print_source(c, reply) : print_definition(c, reply);
}
