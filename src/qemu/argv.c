#include "qemu/argv.h"

#include "base/log.h"
#include "base/str.h"

#include <errno.h>
#include <stdarg.h>

enum { VALUE_DEPTH_MAX = 8 };

static void add_taken(struct argv *a, char *arg) {
        if (a->n + 2 > a->size) {
                a->size = MAX(a->size * 2, (size_t) 32);
                a->items = xrealloc(a->items, a->size, sizeof(*a->items));
        }
        a->items[a->n++] = arg;
        a->items[a->n] = NULL;
}

void argv_add(struct argv *a, const char *arg) {
        add_taken(a, xstrdup(arg));
}

void argv_addf(struct argv *a, const char *fmt, ...) {
        char *arg = NULL;
        va_list ap;

        va_start(ap, fmt);
        int r = vasprintf(&arg, fmt, ap);
        va_end(ap);
        if (r < 0)
                log_oom();
        add_taken(a, arg);
}

void argv_done(struct argv *a) {
        for (size_t i = 0; i < a->n; i++)
                free(a->items[i]);
        free(a->items);
        *a = ARGV_INIT;
}

static void add_escaped(struct strbuf *b, const char *value) {
        for (const char *comma; (comma = strchr(value, ',')); value = comma + 1) {
                strbuf_addn(b, value, (size_t) (comma - value));
                strbuf_add(b, ",,");
        }
        strbuf_add(b, value);
}

char *argv_escape(const char *value) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

        add_escaped(&b, value);
        return strbuf_take(&b);
}

static bool has_nul(const json_t *string) {
        return strlen(json_string_value(string)) != json_string_length(string);
}

/* The shortest text that reads back as the same number. */
static void add_real(struct strbuf *b, double value) {
        char text[40];

        if (value > -0x1p53 && value < 0x1p53 && value == (double) (long long) value) {
                strbuf_addf(b, "%lld", (long long) value);
                return;
        }
        snprintf(text, sizeof(text), "%.15g", value);
        if (strtod(text, NULL) != value)
                snprintf(text, sizeof(text), "%.17g", value);
        strbuf_add(b, text);
}

static int add_scalar(struct strbuf *b, const char *key, const json_t *value, struct error *err) {
        strbuf_addf(b, ",%s=", key);
        switch (json_typeof(value)) {
        case JSON_STRING:
                if (has_nul(value))
                        return error_set(err, -EINVAL, "%s: a NUL byte cannot be written", key);
                add_escaped(b, json_string_value(value));
                return 0;
        case JSON_INTEGER:
                strbuf_addf(b, "%lld", (long long) json_integer_value(value));
                return 0;
        case JSON_REAL:
                add_real(b, json_real_value(value));
                return 0;
        case JSON_TRUE:
        case JSON_FALSE:
                strbuf_add(b, json_is_true(value) ? "on" : "off");
                return 0;
        default:
                return error_set(err, -EINVAL, "%s: null cannot be written", key);
        }
}

static int add_value(struct strbuf *b, const char *key, const json_t *value, unsigned depth,
                     struct error *err);

static int add_members(struct strbuf *b, const char *prefix, const json_t *obj, unsigned depth,
                       struct error *err) {
        const char *key;
        json_t *value;

        json_object_foreach ((json_t *) obj, key, value) {
                _cleanup_free_ char *full = xasprintf("%s%s%s", prefix, *prefix ? "." : "", key);

                if (!*key || strpbrk(key, ",="))
                        return error_set(err, -EINVAL, "\"%s\" cannot be the name of a property", key);
                if (!*prefix && str_eq(key, "driver"))
                        continue;
                int r = add_value(b, full, value, depth, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int add_elements(struct strbuf *b, const char *prefix, const json_t *array, unsigned depth,
                        struct error *err) {
        json_t *value;
        size_t i;

        json_array_foreach (array, i, value) {
                _cleanup_free_ char *full = xasprintf("%s.%zu", prefix, i);
                int r = add_value(b, full, value, depth, err);

                if (r < 0)
                        return r;
        }
        return 0;
}

static int add_value(struct strbuf *b, const char *key, const json_t *value, unsigned depth,
                     struct error *err) {
        if (!json_is_object(value) && !json_is_array(value))
                return add_scalar(b, key, value, err);
        if (depth >= VALUE_DEPTH_MAX)
                return error_set(err, -EINVAL, "%s: tables are nested too deep", key);
        if (json_object_size(value) == 0 && json_array_size(value) == 0)
                return error_set(err, -EINVAL, "%s: an empty table cannot be written", key);
        if (json_is_object(value))
                return add_members(b, key, value, depth + 1, err);
        return add_elements(b, key, value, depth + 1, err);
}

int argv_add_device(struct argv *a, const json_t *obj, struct error *err) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        const json_t *driver = json_object_get(obj, "driver");

        if (!json_is_string(driver) || str_empty(json_string_value(driver)) || has_nul(driver))
                return error_set(err, -EINVAL, "a device needs a driver, for example driver = \"nvme\"");
        add_escaped(&b, json_string_value(driver));
        int r = add_members(&b, "", obj, 0, err);
        if (r < 0) {
                error_prefix(err, "device %s", json_string_value(driver));
                return r;
        }
        argv_add(a, "-device");
        add_taken(a, strbuf_take(&b));
        return 0;
}

int argv_add_json(struct argv *a, const char *option, const json_t *obj, struct error *err) {
        if (!json_is_object(obj))
                return error_set(err, -EINVAL, "%s needs a table of named values", option);
        argv_add(a, option);
        add_taken(a, json_text(obj));
        return 0;
}

/* The text up to the next comma that is not doubled, with doubled ones made single; *p moves behind it. */
static char *take_value(const char **p) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

        for (; **p; (*p)++) {
                if (**p == ',') {
                        if ((*p)[1] != ',')
                                break;
                        (*p)++;
                }
                strbuf_addn(&b, *p, 1);
        }
        if (**p == ',')
                (*p)++;
        return strbuf_take(&b);
}

static int put_text(json_t *obj, const char *key, const char *value, struct error *err) {
        if (!*key)
                return error_set(err, -EINVAL, "a value without a name");
        json_t *text = json_string(value);
        if (!text || json_object_set_new(obj, key, text) < 0)
                return error_set(err, -EINVAL, "\"%s\" is not valid UTF-8", key);
        return 0;
}

static int put_flag(json_t *obj, const char *word, struct error *err) {
        bool off = str_starts(word, "no") && word[2];

        if (!*word)
                return error_set(err, -EINVAL, "an empty word between commas");
        if (json_object_set_new(obj, off ? word + 2 : word, json_boolean(!off)) < 0)
                return error_set(err, -EINVAL, "\"%s\" is not valid UTF-8", word);
        return 0;
}

int argv_parse_keyval(const char *text, const char *implied, json_t **ret, struct error *err) {
        _cleanup_json_ json_t *obj = json_object();
        bool first = true;

        if (!obj)
                log_oom();
        for (const char *p = text; *p; first = false) {
                size_t n = strcspn(p, ",=");
                int r;

                if (p[n] == '=') {
                        _cleanup_free_ char *key = strndup(p, n);

                        if (!key)
                                log_oom();
                        p += n + 1;
                        _cleanup_free_ char *value = take_value(&p);
                        r = put_text(obj, key, value, err);
                } else {
                        _cleanup_free_ char *word = take_value(&p);

                        r = first && implied ? put_text(obj, implied, word, err) : put_flag(obj, word, err);
                }
                if (r < 0) {
                        error_prefix(err, "\"%s\"", text);
                        return r;
                }
        }
        *ret = TAKE_PTR(obj);
        return 0;
}

json_t *argv_to_json(const struct argv *a) {
        json_t *array = json_array();

        if (!array)
                log_oom();
        for (size_t i = 0; i < a->n; i++)
                json_push_str(array, a->items[i]);
        return array;
}

int argv_from_json(const json_t *array, struct argv *ret, struct error *err) {
        _cleanup_argv_ struct argv a = ARGV_INIT;
        json_t *item;
        size_t i;

        if (!json_is_array(array))
                return error_set(err, -EINVAL, "a command line must be a list of strings");
        json_array_foreach (array, i, item) {
                if (!json_is_string(item) || has_nul(item))
                        return error_set(err, -EINVAL, "argument %zu is not a string", i);
                argv_add(&a, json_string_value(item));
        }
        *ret = a;
        a = ARGV_INIT;
        return 0;
}

char *argv_to_shell(const struct argv *a) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

        for (size_t i = 0; i < a->n; i++) {
                if (i > 0)
                        strbuf_add(&b, " ");
                strbuf_add_shell(&b, a->items[i]);
        }
        return strbuf_take(&b);
}
