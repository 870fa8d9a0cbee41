#include "script/script.h"

#include <errno.h>

#include "base/str.h"

enum { RESULT_NOTES_MAX = 1024 }; /* of each kind: more is no result of ours */

void script_result_done(struct script_result *r) {
        argv_done(&r->argv);
        for (size_t i = 0; i < r->n_copies; i++) {
                free(r->copies[i].target);
                free(r->copies[i].source);
        }
        free(r->copies);
        for (size_t i = 0; i < r->n_allows; i++)
                free(r->allows[i].path);
        free(r->allows);
        for (size_t i = 0; i < r->n_warnings; i++)
                free(r->warnings[i]);
        free(r->warnings);
        *r = (struct script_result){ 0 };
}

json_t *script_result_to_json(const struct script_result *r) {
        json_t *j = json_object(), *copies = json_array(), *allows = json_array(), *warnings = json_array();

        for (size_t i = 0; i < r->n_copies; i++) {
                json_t *copy = json_object();
                json_put_str(copy, "target", r->copies[i].target);
                json_put_str(copy, "source", r->copies[i].source);
                json_push(copies, copy);
        }
        for (size_t i = 0; i < r->n_allows; i++) {
                json_t *allow = json_object();
                json_put_str(allow, "path", r->allows[i].path);
                json_put_bool(allow, "write", r->allows[i].write);
                json_push(allows, allow);
        }
        for (size_t i = 0; i < r->n_warnings; i++)
                json_push_str(warnings, r->warnings[i]);
        json_put(j, "argv", argv_to_json(&r->argv));
        json_put(j, "copies", copies);
        json_put(j, "allows", allows);
        json_put(j, "warnings", warnings);
        return j;
}

/* A text without NUL bytes, as these become C strings. */
static const char *plain_string(const json_t *value) {
        const char *s = json_string_value(value);

        return s && strlen(s) == json_string_length(value) ? s : NULL;
}

static int read_list(const json_t *j, const char *key, json_t **ret, struct error *err) {
        json_t *list = json_object_get(j, key);

        if (!json_is_array(list) || json_array_size(list) > RESULT_NOTES_MAX)
                return error_set(err, -EINVAL, "the script's result: %s is no list of at most %d", key,
                                 RESULT_NOTES_MAX);
        *ret = list;
        return 0;
}

static int read_copies(const json_t *j, struct script_result *r, struct error *err) {
        json_t *list = NULL, *item;
        size_t i;
        int ret = read_list(j, "copies", &list, err);

        if (ret < 0)
                return ret;
        r->copies = xcalloc(json_array_size(list) + 1, sizeof(*r->copies));
        json_array_foreach (list, i, item) {
                const char *target = plain_string(json_object_get(item, "target"));
                const char *source = plain_string(json_object_get(item, "source"));

                if (!target || !source)
                        return error_set(err, -EINVAL, "the script's result: copies[%zu] is no copy", i);
                r->copies[r->n_copies++] =
                        (struct script_copy){ .target = xstrdup(target), .source = xstrdup(source) };
        }
        return 0;
}

static int read_allows(const json_t *j, struct script_result *r, struct error *err) {
        json_t *list = NULL, *item;
        size_t i;
        int ret = read_list(j, "allows", &list, err);

        if (ret < 0)
                return ret;
        r->allows = xcalloc(json_array_size(list) + 1, sizeof(*r->allows));
        json_array_foreach (list, i, item) {
                const char *path = plain_string(json_object_get(item, "path"));

                if (!path || !json_is_boolean(json_object_get(item, "write")))
                        return error_set(err, -EINVAL, "the script's result: allows[%zu] is no path", i);
                r->allows[r->n_allows++] =
                        (struct script_allow){ .path = xstrdup(path),
                                               .write = json_get_bool(item, "write", false) };
        }
        return 0;
}

static int read_warnings(const json_t *j, struct script_result *r, struct error *err) {
        json_t *list = NULL, *item;
        size_t i;
        int ret = read_list(j, "warnings", &list, err);

        if (ret < 0)
                return ret;
        r->warnings = xcalloc(json_array_size(list) + 1, sizeof(*r->warnings));
        json_array_foreach (list, i, item) {
                const char *text = plain_string(item);

                if (!text)
                        return error_set(err, -EINVAL, "the script's result: warnings[%zu] is no text", i);
                r->warnings[r->n_warnings++] = xstrdup(text);
        }
        return 0;
}

int script_result_from_json(const json_t *j, struct script_result *ret, struct error *err) {
        struct script_result result = { 0 };
        int r;

        r = argv_from_json(json_object_get(j, "argv"), &result.argv, err);
        if (r >= 0)
                r = read_copies(j, &result, err);
        if (r >= 0)
                r = read_allows(j, &result, err);
        if (r >= 0)
                r = read_warnings(j, &result, err);
        if (r < 0) {
                script_result_done(&result);
                return r;
        }
        *ret = result;
        return 0;
}
