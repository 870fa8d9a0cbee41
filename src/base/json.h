/* Helpers over jansson. Borrowed references are named so; everything else is a new reference. */
#pragma once

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>

static inline void cleanup_json_decrefp(json_t **j) {
        json_decref(*j);
}
#define _cleanup_json_ _cleanup_(cleanup_json_decrefp)

/* Parses exactly one value (jansson bounds its depth). -EBADMSG with position otherwise. */
int json_parse(const char *text, size_t len, json_t **ret, struct error *err);
/* Compact text, owned by the caller. */
char *json_text(const json_t *j);
char *json_text_pretty(const json_t *j);

/* Members of an object with a fallback for absent or of another type. Strings are borrowed. */
const char *json_get_str(const json_t *obj, const char *key, const char *fallback);
int64_t json_get_int(const json_t *obj, const char *key, int64_t fallback);
bool json_get_bool(const json_t *obj, const char *key, bool fallback);

/* Has the array an object whose member "name" is this one? */
bool json_has_named(const json_t *array, const char *name);

/* json_object_set_new that ends the process when out of memory; value NULL sets JSON null. */
void json_put(json_t *obj, const char *key, json_t *value);
void json_put_str(json_t *obj, const char *key, const char *value); /* NULL: JSON null */
void json_put_int(json_t *obj, const char *key, int64_t value);
void json_put_bool(json_t *obj, const char *key, bool value);
void json_push(json_t *array, json_t *value);
void json_push_str(json_t *array, const char *value);

/* A string that may not be valid UTF-8: bad bytes become U+FFFD. */
json_t *json_string_lossy(const char *s);
