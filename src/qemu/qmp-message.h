/* What goes over a QMP connection, as JSON: commands of people, and the kinds of QEMU's messages. */
#pragma once

#include "base/error.h"
#include "base/json.h"

/* One line of QEMU's. Integers over 63 bits, which QEMU has, become the nearest real; -EBADMSG if it is no
 * JSON. */
int qmp_message_decode(const char *line, size_t len, json_t **ret, struct error *err);

/* A word ("query-status") or an object with execute, and perhaps arguments and id; anything else is -EINVAL.
 */
int qmp_message_parse(const char *text, json_t **ret, struct error *err);

/* {"execute": command, "arguments": args}; args is stolen, NULL for none. */
json_t *qmp_message_command(const char *command, json_t *args);

/* "7.2.22" of a greeting, owned by the caller; NULL if message is none. */
char *qmp_message_version(const json_t *message);

/* Of an event, in microseconds since 1970; 0 if QEMU did not know. */
uint64_t qmp_message_time(const json_t *event);

/* -EPROTO and QEMU's own words for {"error": …}; 0 for another message. */
int qmp_message_error(const json_t *message, struct error *err);
