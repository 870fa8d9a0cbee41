#include "vore/input.h"

#include "base/file.h"
#include "base/str.h"
#include "vore/errors.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEFINITION_MAX = 64 * 1024 };

static int folder_of(const char *file, char **ret) {
        _cleanup_free_ char *copy = xstrdup(file);
        const char *folder = str_eq(file, "-") ? "." : dirname(copy);
        char *whole = realpath(folder, NULL);

        if (!whole)
                return cli_fail("cannot find the folder of %s: %s", file, strerror(errno));
        *ret = whole;
        return EXIT_DONE;
}

int input_read(struct cli *c, const char *file, struct input *ret) {
        bool standard = str_eq(file, "-");
        _cleanup_close_ int own = standard ? -1 : open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        _cleanup_input_ struct input in = { .file = file };
        _cleanup_error_ struct error err = ERROR_INIT;
        int r;

        if (!standard && own < 0)
                return cli_fail("cannot read the definition %s: %s", file, strerror(errno));
        r = file_read_fd(standard ? STDIN_FILENO : own, DEFINITION_MAX, &in.text, &in.len, &err);
        if (r == -EFBIG)
                return cli_fail("%s is larger than 64 KiB: that is no definition of a VM", file);
        if (r < 0)
                return cli_fail("%s: %s", standard ? "standard input" : file, error_text(&err));
        r = folder_of(file, &in.directory);
        if (r != EXIT_DONE)
                return r;
        *ret = (struct input){ file, TAKE_PTR(in.directory), TAKE_PTR(in.text), in.len };
        c->source = ret->text;
        c->source_file = file;
        return EXIT_DONE;
}

void input_done(struct input *in) {
        free(in->directory);
        free(in->text);
        *in = INPUT_INIT;
}

/* Bytes of the UTF-8 character at p, of which n are there; 0 if there is none. */
static size_t character_len(const char *p, size_t n) {
        for (size_t len = 1; len <= MIN(n, (size_t) 4); len++) {
                _cleanup_json_ json_t *valid = json_stringn(p, len);

                if (valid)
                        return len;
        }
        return 0;
}

/* Where the text stops being UTF-8, as a fault in the form that the daemon uses. */
static json_t *not_utf8(const struct input *in) {
        json_t *faults = json_array(), *fault = json_object();
        int64_t line = 1, column = 1;

        for (size_t i = 0, len; (len = character_len(in->text + i, in->len - i)) > 0; i += len) {
                bool newline = in->text[i] == '\n';

                column = newline ? 1 : column + 1;
                line += newline;
        }
        json_put_str(fault, "file", in->file);
        json_put_int(fault, "line", line);
        json_put_int(fault, "column", column);
        json_put_str(fault, "severity", "error");
        json_put_str(fault, "key", "");
        json_put_str(fault, "message", "the text is not UTF-8 from here on");
        json_put_str(fault, "hint", "save the file as UTF-8");
        json_push(faults, fault);
        return faults;
}

int input_params(struct cli *c, const struct input *in, json_t *params) {
        json_t *text = json_stringn(in->text, in->len);

        if (!text) {
                _cleanup_json_ json_t *faults = not_utf8(in);

                faults_print(c, faults);
                return EXIT_FAILED;
        }
        json_put(params, "toml", text);
        json_put_str(params, "directory", in->directory);
        json_put_str(params, "file", in->file);
        return EXIT_DONE;
}

static int cdrom_path(const char *iso, char **ret) {
        _cleanup_free_ char *cwd = NULL, *path = NULL;
        struct stat st;

        if (stat(iso, &st) < 0)
                return cli_fail("--cdrom %s: %s", iso, strerror(errno));
        if (S_ISDIR(st.st_mode))
                return cli_fail("--cdrom %s: that is a folder; a file or a drive such as /dev/sr0 is wanted",
                                iso);
        cwd = getcwd(NULL, 0);
        if (!cwd && iso[0] != '/')
                return cli_fail("--cdrom %s: cannot find the current folder: %s", iso, strerror(errno));
        path = iso[0] == '/' ? xstrdup(iso) : xasprintf("%s/%s", cwd, iso);
        _cleanup_json_ json_t *valid = json_string(path);
        if (!valid)
                return cli_fail("--cdrom %s: the path is not valid UTF-8: rename it, or name a link to it",
                                iso);
        *ret = TAKE_PTR(path);
        return EXIT_DONE;
}

int input_cdroms(struct cli *c, json_t *params) {
        _cleanup_json_ json_t *list = json_array();

        for (size_t i = 0; i < c->args->n_cdroms; i++) {
                _cleanup_free_ char *path = NULL;
                int r = cdrom_path(c->args->cdroms[i], &path);

                if (r != EXIT_DONE)
                        return r;
                json_push_str(list, path);
        }
        if (c->args->n_cdroms)
                json_put(params, "cdroms", json_incref(list));
        return EXIT_DONE;
}

int input_timeout(const struct cli *c, json_t *params) {
        const char *text = c->args->value[OPTION_TIMEOUT];
        char *end;

        if (!text)
                return EXIT_DONE;
        double timeout = strtod(text, &end);
        if (end == text || *end || !(timeout >= 0) || timeout > 86400) {
                cli_fail("%s: --timeout %s: a number of seconds up to 86400 is wanted, such as 60",
                         c->args->verb->name, text);
                return EXIT_USAGE;
        }
        json_put(params, "timeout", json_real(timeout));
        return EXIT_DONE;
}
