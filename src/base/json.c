#include "base/json.h"

#include "base/log.h"
#include "base/str.h"

#include <errno.h>

int json_parse(const char *text, size_t len, json_t **ret, struct error *err) {
        json_error_t e;
        json_t *j = json_loadb(text, len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &e);

        if (!j)
                return error_set(err, -EBADMSG, "not valid JSON at line %d, column %d: %s", e.line, e.column,
                                 e.text);
        *ret = j;
        return 0;
}

static char *text_of(const json_t *j, size_t flags) {
        char *text = json_dumps(j, flags | JSON_ENCODE_ANY);

        if (!text)
                log_oom();
        return text;
}

char *json_text(const json_t *j) {
        return text_of(j, JSON_COMPACT);
}

char *json_text_pretty(const json_t *j) {
        return text_of(j, JSON_INDENT(2));
}

const char *json_get_str(const json_t *obj, const char *key, const char *fallback) {
        const json_t *v = json_object_get(obj, key);

        return json_is_string(v) ? json_string_value(v) : fallback;
}

int64_t json_get_int(const json_t *obj, const char *key, int64_t fallback) {
        const json_t *v = json_object_get(obj, key);

        return json_is_integer(v) ? json_integer_value(v) : fallback;
}

bool json_get_bool(const json_t *obj, const char *key, bool fallback) {
        const json_t *v = json_object_get(obj, key);

        return json_is_boolean(v) ? json_is_true(v) : fallback;
}

bool json_has_named(const json_t *array, const char *name) {
        const json_t *item;
        size_t i;

        json_array_foreach (array, i, item)
                if (str_eq(json_get_str(item, "name", NULL), name))
                        return true;
        return false;
}

void json_put(json_t *obj, const char *key, json_t *value) {
        if (!value)
                value = json_null();
        if (json_object_set_new(obj, key, value) < 0)
                log_oom();
}

void json_put_str(json_t *obj, const char *key, const char *value) {
        json_put(obj, key, value ? json_string_lossy(value) : json_null());
}

void json_put_int(json_t *obj, const char *key, int64_t value) {
        json_put(obj, key, json_integer(value));
}

void json_put_bool(json_t *obj, const char *key, bool value) {
        json_put(obj, key, json_boolean(value));
}

void json_push(json_t *array, json_t *value) {
        if (!value || json_array_append_new(array, value) < 0)
                log_oom();
}

void json_push_str(json_t *array, const char *value) {
        json_push(array, json_string_lossy(value));
}

/* Length of the valid UTF-8 sequence at p, 0 if there is none. */
static size_t utf8_len(const unsigned char *p) {
        size_t n = *p < 0x80               ? 1 :
                   *p >= 0xc2 && *p < 0xe0 ? 2 :
                   *p >= 0xe0 && *p < 0xf0 ? 3 :
                   *p >= 0xf0 && *p < 0xf5 ? 4 :
                                             0;

        for (size_t i = 1; i < n; i++)
                if ((p[i] & 0xc0) != 0x80)
                        return 0;
        if ((*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) || (*p == 0xf0 && p[1] < 0x90) ||
            (*p == 0xf4 && p[1] > 0x8f))
                return 0;
        return n;
}

json_t *json_string_lossy(const char *s) {
        json_t *j = json_string(s);
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

        if (j)
                return j;
        for (const unsigned char *p = (const unsigned char *) s; *p;) {
                size_t n = utf8_len(p);

                if (n)
                        strbuf_addn(&b, (const char *) p, n);
                else
                        strbuf_add(&b, "\xef\xbf\xbd");
                p += n ? n : 1;
        }
        j = json_string(b.data ? b.data : "");
        if (!j)
                log_oom();
        return j;
}
