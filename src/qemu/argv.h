/* A QEMU command line under construction. Tables of values come in as JSON objects and go out in the
 * syntax that suits the option: -device as key=value, -blockdev, -object and -netdev as JSON. QEMU makes
 * every key=value device before every JSON one, so devices are all written in the one syntax that raw
 * arguments of users have too, and the order of the calls is the order of creation. Commas are escaped
 * here and nowhere else. */
#pragma once

#include "base/error.h"
#include "base/json.h"

struct argv {
        char **items; /* owned, NULL-terminated; items[0] is the binary */
        size_t n, size;
};
#define ARGV_INIT ((struct argv){ 0 })

void argv_add(struct argv *a, const char *arg);
void argv_addf(struct argv *a, const char *fmt, ...) _printf_(2, 3);
void argv_done(struct argv *a);
#define _cleanup_argv_ _cleanup_(argv_done)

/* obj = {"driver": "nvme", "drive": "d0", "write-cache": true, …}: adds "-device",
 * "nvme,drive=d0,write-cache=on". driver is required; the rest keeps the object's order. Nested objects
 * and arrays use dotted keys (a.b=, a.0=), at most 8 deep; a number without a fraction is written as an
 * integer. -EINVAL names what cannot be written (null, an empty table, a NUL, a key with = or a comma);
 * then nothing was added. */
int argv_add_device(struct argv *a, const json_t *obj, struct error *err);
/* option is "-blockdev", "-object", "-netdev": adds it and the compact JSON text. */
int argv_add_json(struct argv *a, const char *option, const json_t *obj, struct error *err);
/* value with each comma doubled; owned by the caller. */
char *argv_escape(const char *value);
/* Splits "nvme,drive=a,,b,serial=1" into an object of strings, the first word without = under implied
 * (may be NULL: then a word without = is true). "on"/"off" stay strings. As QEMU reads it: a later word
 * without = is true, but "noWORD" is WORD false ("server,nowait"); of two values for a key the last
 * counts. -EINVAL for an empty key or text that is not UTF-8. */
int argv_parse_keyval(const char *text, const char *implied, json_t **ret, struct error *err);

json_t *argv_to_json(const struct argv *a);
/* ret is replaced, not released. -EINVAL for anything but an array of strings without NUL. */
int argv_from_json(const json_t *array, struct argv *ret, struct error *err);
/* One line, each word quoted for a POSIX shell. Owned by the caller. */
char *argv_to_shell(const struct argv *a);
