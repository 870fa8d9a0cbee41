#include "qemu/qmp-message.h"

#include "base/log.h"
#include "base/str.h"

#include <errno.h>

/* What was decoded as a real only because of another number in the message becomes an integer again. */
static json_t *restore_integers(json_t *value) {
        const char *key;
        json_t *member;
        void *next;
        size_t i;

        if (json_is_real(value)) {
                double real = json_real_value(value);

                return real > -0x1p53 && real < 0x1p53 && real == (double) (long long) real ?
                               json_integer((long long) real) :
                               json_incref(value);
        }
        json_object_foreach_safe (value, next, key, member) {
                json_put(value, key, restore_integers(member));
        }
        json_array_foreach (value, i, member) {
                if (json_array_set_new(value, i, restore_integers(member)) < 0)
                        log_oom();
        }
        return json_incref(value);
}

int qmp_message_decode(const char *line, size_t len, json_t **ret, struct error *err) {
        int r = json_parse(line, len, ret, err);

        if (r != -EBADMSG)
                return r;
        _cleanup_json_ json_t *reals = json_loadb(
                line, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, NULL);
        if (!reals)
                return r;
        *ret = restore_integers(reals);
        error_done(err);
        return 0;
}

json_t *qmp_message_command(const char *command, json_t *args) {
        json_t *message = json_object();

        if (!message)
                log_oom();
        json_put_str(message, "execute", command);
        if (args)
                json_put(message, "arguments", args);
        return message;
}

static int check_members(const json_t *message, struct error *err) {
        const char *key;
        json_t *value;

        if (!json_is_string(json_object_get(message, "execute")))
                return error_set(err, -EINVAL,
                                 "a QMP command is a word, or {\"execute\": \"…\", \"arguments\": {…}}");
        json_object_foreach ((json_t *) message, key, value) {
                if (!str_eq(key, "execute") && !str_eq(key, "arguments") && !str_eq(key, "id"))
                        return error_set(err, -EINVAL,
                                         "\"%s\" is not part of a QMP command; execute, arguments and id are",
                                         key);
        }
        return 0;
}

int qmp_message_parse(const char *text, json_t **ret, struct error *err) {
        static const char word[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
        static const char space[] = " \t\r\n";
        _cleanup_json_ json_t *message = NULL;

        text += strspn(text, space);
        size_t n = strspn(text, word);
        if (n > 0 && text[n + strspn(text + n, space)] == '\0') {
                _cleanup_free_ char *command = strndup(text, n);

                if (!command)
                        log_oom();
                *ret = qmp_message_command(command, NULL);
                return 0;
        }
        if (json_parse(text, strlen(text), &message, err) < 0) {
                error_prefix(err, "the QMP command");
                return -EINVAL;
        }
        int r = check_members(message, err);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(message);
        return 0;
}

char *qmp_message_version(const json_t *message) {
        const json_t *greeting = json_object_get(message, "QMP");
        const json_t *v = json_object_get(json_object_get(greeting, "version"), "qemu");

        if (!v)
                return NULL;
        return xasprintf("%lld.%lld.%lld", (long long) json_get_int(v, "major", 0),
                         (long long) json_get_int(v, "minor", 0), (long long) json_get_int(v, "micro", 0));
}

uint64_t qmp_message_time(const json_t *event) {
        const json_t *stamp = json_object_get(event, "timestamp");
        int64_t seconds = json_get_int(stamp, "seconds", -1), us = json_get_int(stamp, "microseconds", -1);

        if (seconds < 0 || seconds > INT64_MAX / 2000000 || us < 0 || us > 999999)
                return 0;
        return (uint64_t) seconds * 1000000 + (uint64_t) us;
}

int qmp_message_error(const json_t *message, struct error *err) {
        const json_t *e = json_object_get(message, "error");

        if (!e)
                return 0;
        return error_set(err, -EPROTO, "%s", json_get_str(e, "desc", "QEMU refused without a reason"));
}
