/* A QEMU command line under construction. Tables of values come in as JSON objects and go out in the
 * syntax that suits the option: -device as key=value (all devices in one list: FACTS 1.2), -blockdev,
 * -object and -netdev as JSON. Commas are escaped here and nowhere else. */
#pragma once

#include "base/error.h"
#include "base/json.h"

struct argv {
        char **items; /* owned, NULL-terminated; items[0] is the binary */
        size_t n, size;
};
#define ARGV_INIT ((struct argv) { 0 })

void argv_add(struct argv *a, const char *arg);
void argv_addf(struct argv *a, const char *fmt, ...) _printf_(2, 3);
void argv_done(struct argv *a);
#define _cleanup_argv_ _cleanup_(argv_done)

/* obj = {"driver": "nvme", "drive": "d0", "write-cache": true, …}: adds "-device",
 * "nvme,drive=d0,write-cache=on". driver is required. Nested objects and arrays use dotted keys
 * (a.b=, a.0=). -EINVAL names what cannot be written. */
int argv_add_device(struct argv *a, const json_t *obj, struct error *err);
/* option is "-blockdev", "-object", "-netdev": adds it and the compact JSON text. */
int argv_add_json(struct argv *a, const char *option, const json_t *obj, struct error *err);
/* value with each comma doubled; owned by the caller. */
char *argv_escape(const char *value);
/* Splits "nvme,drive=a,,b,serial=1" into an object of strings, the first word without = under implied
 * (may be NULL: then a word without = is true). "on"/"off" stay strings. */
int argv_parse_keyval(const char *text, const char *implied, json_t **ret, struct error *err);

json_t *argv_to_json(const struct argv *a);
int argv_from_json(const json_t *array, struct argv *ret, struct error *err);
/* One line, each word quoted for a POSIX shell. Owned by the caller. */
char *argv_to_shell(const struct argv *a);
