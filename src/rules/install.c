/* The files on this host: compared, written, taken back. */
#include "rules/internal.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TEXT_MAX = 256 * 1024, OUTPUT_MAX = 64 * 1024 };

/* -- one file as it is ----------------------------------------------------------------------------------- */

struct entry {
        const struct rules_file *file;
        char *path;    /* owned; with the root */
        char *old;     /* owned; NULL: there is none */
        char *folders; /* owned; that were made for it */
        mode_t mode;   /* of what is there */
        bool ours, touched;
};

struct entries {
        struct entry items[RULES_FILES_MAX];
        size_t n;
};

static void entries_done(struct entries *e) {
        for (size_t i = 0; i < e->n; i++) {
                free(e->items[i].path);
                free(e->items[i].old);
                free(e->items[i].folders);
        }
}

static int entry_read(const struct rules_place *place, const struct rules_file *file, struct entry *ret,
                      struct error *err) {
        struct stat st;

        *ret = (struct entry){ .file = file,
                               .path = xasprintf("%s%s", place->root ? place->root : "", file->path) };
        if (lstat(ret->path, &st) < 0)
                return errno == ENOENT || errno == ENOTDIR ?
                               0 :
                               error_errno(err, errno, "cannot look at %s", ret->path);
        if (!S_ISREG(st.st_mode))
                return error_set(err, -EEXIST, "%s is there, and is no file of vore", ret->path);
        int r = file_read(AT_FDCWD, ret->path, TEXT_MAX, &ret->old, NULL, err);
        if (r < 0)
                return r;
        ret->mode = st.st_mode & 07777;
        ret->ours = rules_ours(ret->old, &ret->folders);
        return 0;
}

static int entries_read(const struct rules_place *place, const struct rules_row *row, struct entries *ret,
                        struct error *err) {
        int r = 0;

        for (size_t i = 0; r >= 0 && i < row->n_files; i++)
                r = entry_read(place, &row->files[i], &ret->items[ret->n++], err);
        return r;
}

static char *wanted(enum rules_kind kind, const struct entry *e, const struct rules_device *devices,
                    size_t n) {
        return rules_text(kind, e->file, devices, n, e->folders ? e->folders : "");
}

/* -- what the last run of the command was for ------------------------------------------------------------ */

static char *note_path(const struct rules_place *place, const struct rules_row *row) {
        return row->must && place->state_dir ? xasprintf("%s/boot-%s", place->state_dir, row->name) : NULL;
}

static char *note_text(const struct entries *e) {
        uint64_t hash = RULES_HASH_BEGIN;

        for (size_t i = 0; i < e->n; i++) {
                _cleanup_free_ char *text = NULL;

                if (file_read(AT_FDCWD, e->items[i].path, TEXT_MAX, &text, NULL, NULL) >= 0)
                        hash = rules_hash(hash, text, strlen(text));
        }
        return xasprintf("%016" PRIx64 "\n", hash);
}

/* No note is kept: true. */
static bool note_current(const struct rules_place *place, const struct rules_row *row,
                         const struct entries *e) {
        _cleanup_free_ char *path = note_path(place, row), *is = NULL, *should = note_text(e);

        return !path || (file_read(AT_FDCWD, path, 64, &is, NULL, NULL) >= 0 && str_eq(is, should));
}

static bool note_there(const struct rules_place *place, const struct rules_row *row) {
        _cleanup_free_ char *path = note_path(place, row);

        return path && access(path, F_OK) == 0;
}

static void note_drop(const struct rules_place *place, const struct rules_row *row) {
        _cleanup_free_ char *path = note_path(place, row);

        if (path)
                (void) unlink(path);
}

/* -- looking
 * ---------------------------------------------------------------------------------------------------- */

enum rules_state rules_look(const struct rules_place *place, enum rules_kind kind,
                            const struct rules_device *devices, size_t n) {
        const struct rules_row *row = &rules_rows[kind];
        _cleanup_(entries_done) struct entries e = { 0 };
        size_t there = 0, current = 0;

        if (entries_read(place, row, &e, NULL) < 0)
                return RULES_FOREIGN;
        for (size_t i = 0; i < e.n; i++) {
                _cleanup_free_ char *text = wanted(kind, &e.items[i], devices, n);

                if (!e.items[i].old)
                        continue;
                if (!e.items[i].ours)
                        return RULES_FOREIGN;
                there++;
                current += n > 0 && str_eq(e.items[i].old, text) && e.items[i].mode == e.items[i].file->mode;
        }
        if (there == 0)
                return note_there(place, row) ? RULES_OUTDATED : RULES_ABSENT;
        return current == e.n && note_current(place, row, &e) ? RULES_CURRENT : RULES_OUTDATED;
}

/* -- writing
 * ------------------------------------------------------------------------------------------------------- */

/* Makes what is missing above path, below the root; *folders gets their paths without it, each after a space.
 */
static int folders_make(const char *root, const struct entry *e, char **folders, struct error *err) {
        size_t skip = root ? strlen(root) : 0;
        struct strbuf made = STRBUF_INIT;
        int r = 0;

        for (char *slash = strchr(e->path + skip + 1, '/'); r >= 0 && slash; slash = strchr(slash + 1, '/')) {
                *slash = '\0';
                if (mkdir(e->path, 0755) == 0)
                        strbuf_addf(&made, " %s", e->path + skip);
                else if (errno != EEXIST)
                        r = error_errno(err, errno, "cannot make the folder %s", e->path);
                *slash = '/';
        }
        *folders = strbuf_take(&made);
        return r;
}

/* The deepest first; one that has something else in it stays. */
static void folders_remove(const char *root, const char *folders) {
        _cleanup_free_ char *list = xstrdup(folders ? folders : "");
        char *last;

        while ((last = strrchr(list, ' '))) {
                _cleanup_free_ char *path = xasprintf("%s%s", root ? root : "", last + 1);

                if (last[1] == '/' && !strstr(last, "/../"))
                        (void) rmdir(path);
                *last = '\0';
        }
}

/* What somebody who was killed left of writing: "NAME.PID.tmp". */
static void entry_tidy(const struct entry *e) {
        _cleanup_free_ char *pattern = xasprintf("%s.*.tmp", e->path);
        glob_t found = { 0 };

        if (glob(pattern, GLOB_NOSORT, NULL, &found) == 0)
                for (size_t i = 0; i < found.gl_pathc; i++)
                        (void) unlink(found.gl_pathv[i]);
        globfree(&found);
}

/* Executable only under its own name: folders of scripts are run whole. */
static int entry_write(const struct entry *e, const char *text, mode_t mode, struct error *err) {
        int r = file_write_atomic(AT_FDCWD, e->path, text, strlen(text), 0600, true, err);

        if (r >= 0 && chmod(e->path, mode) < 0)
                r = error_errno(err, errno, "cannot set the mode of %s", e->path);
        entry_tidy(e);
        return r;
}

/* As it was before. */
static void entries_restore(const struct rules_place *place, const struct entries *e) {
        for (size_t i = e->n; i-- > 0;) {
                const struct entry *item = &e->items[i];

                if (!item->touched)
                        continue;
                if (item->old)
                        (void) entry_write(item, item->old, item->mode, NULL);
                else {
                        (void) unlink(item->path);
                        folders_remove(place->root, item->folders);
                }
        }
}

static int refuse_foreign(const struct entries *e, const char *what, struct error *err) {
        for (size_t i = 0; i < e->n; i++)
                if (e->items[i].old && !e->items[i].ours)
                        return error_set(err, -EEXIST,
                                         "%s is not as vore made it: it is not %s (look at it, and remove "
                                         "it yourself if nobody needs it)",
                                         e->items[i].path, what);
        return 0;
}

static int entry_install(const struct rules_job *job, struct entry *e, json_t *files, struct error *err) {
        int r = 0;

        if (!e->old) {
                e->touched = true;
                r = folders_make(job->place.root, e, &e->folders, err);
        }
        if (r < 0)
                return r;
        _cleanup_free_ char *text = wanted(job->kind, e, job->devices, job->n);
        if (str_eq(text, e->old) && e->mode == e->file->mode)
                return 0;
        e->touched = true;
        r = entry_write(e, text, e->file->mode, err);
        if (r >= 0)
                json_push(files, json_string_lossy(e->file->path));
        return r;
}

/* -- the command
 * ------------------------------------------------------------------------------------------------------ */

static _noreturn_ void exec_command(const struct rules_place *place, const char *const *argv, int output) {
        _cleanup_free_ char *own = place->programs ? xasprintf("%s/%s", place->programs, argv[0]) : NULL;
        char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        char *const env[] = { path, NULL };
        sigset_t none;

        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (dup2(output, STDOUT_FILENO) < 0 || dup2(output, STDERR_FILENO) < 0)
                _exit(127);
        (void) close(STDIN_FILENO);
        (void) open("/dev/null", O_RDONLY);
        (void) umask(0022);
        putenv(path);
        (void) execvpe(own ? own : argv[0], (char *const *) argv, env);
        _exit(127);
}

/* What it said last, on one line. */
static char *last_words(char *output) {
        size_t n = strlen(output);

        while (n && strchr("\n ", output[n - 1]))
                output[--n] = '\0';
        const char *line = strrchr(output, '\n');
        return xstrdup(line ? line + 1 : output);
}

/* All of it is read, so that nobody who says much is stopped; its end is kept. Owned by the caller. */
static char *read_end(int fd) {
        char *data = xcalloc(2, OUTPUT_MAX + 1);
        size_t len = 0;
        ssize_t n;

        while ((n = read(fd, data + len, 2 * (size_t) OUTPUT_MAX - len)) != 0) {
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        break;
                len += (size_t) n;
                if (len > OUTPUT_MAX) {
                        memmove(data, data + len - OUTPUT_MAX, OUTPUT_MAX);
                        len = OUTPUT_MAX;
                }
        }
        for (size_t i = 0; i < len; i++)
                data[i] = data[i] ? data[i] : ' ';
        data[len] = '\0';
        return data;
}

static int command_run(const struct rules_place *place, const struct rules_row *row, struct error *err) {
        _cleanup_close_ int reader = -1;
        _cleanup_free_ char *output = NULL;
        int pipes[2], status;

        if (pipe2(pipes, O_CLOEXEC) < 0)
                return error_errno(err, errno, "cannot make a pipe");
        reader = pipes[0];
        pid_t pid = fork();
        if (pid == 0)
                exec_command(place, row->command, pipes[1]);
        (void) close(pipes[1]);
        if (pid < 0)
                return error_errno(err, errno, "cannot run %s", row->command[0]);
        output = read_end(reader);
        cleanup_closep(&reader);
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return error_errno(err, errno, "cannot wait for %s", row->command[0]);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
                return 0;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
                return error_set(err, -ENOENT,
                                 "%s is not there: this host takes another kind (udev, initramfs-tools, "
                                 "dracut)",
                                 row->command[0]);
        _cleanup_free_ char *words = last_words(output);
        return error_set(err, -EIO, "%s failed%s%s", row->command[0], *words ? ": " : "", words);
}

/* 1: it was run. */
static int command(const struct rules_place *place, const struct rules_row *row, struct error *err) {
        if (!row->command || (place->root && !place->programs) ||
            (row->needs && access(row->needs, F_OK) < 0))
                return 0;
        int r = command_run(place, row, err);
        return r < 0 && row->must ? r : r >= 0;
}

/* What the command made is not known until it has ended well: it may be killed, or fail for one of several
 * kernels. */
static int note_unknown(const struct rules_place *place, const struct rules_row *row, struct error *err) {
        static const char unknown[] = "unknown\n";
        _cleanup_free_ char *path = note_path(place, row);

        return path ? file_write_atomic(AT_FDCWD, path, unknown, strlen(unknown), 0600, true, err) : 0;
}

/* As it was before. */
static void note_restore(const struct rules_place *place, const struct rules_row *row, const char *before) {
        _cleanup_free_ char *path = note_path(place, row);

        if (path && before)
                (void) file_write_atomic(AT_FDCWD, path, before, strlen(before), 0600, true, NULL);
        else
                note_drop(place, row);
}

/* -- both directions
 * ------------------------------------------------------------------------------------------------------ */

static json_t *result(const struct rules_row *row, json_t *files, bool ran) {
        struct strbuf words = STRBUF_INIT;

        for (size_t i = 0; ran && row->command[i]; i++)
                strbuf_addf(&words, "%s%s", i ? " " : "", row->command[i]);
        json_t *j = json_pack("{s:O, s:s?}", "files", files, "ran", words.data);
        strbuf_done(&words);
        return j;
}

static int install(const struct rules_job *job, struct entries *e, json_t *files, struct error *err) {
        const struct rules_row *row = &rules_rows[job->kind];
        _cleanup_free_ char *note = note_path(&job->place, row), *text = NULL, *before = NULL;
        int r = refuse_foreign(e, "written over", err);

        if (r >= 0 && job->n == 0)
                r = error_set(err, -ENODATA,
                              "no saved definition reserves a device that this host has: there is nothing "
                              "to claim at boot");
        for (size_t i = 0; r >= 0 && i < e->n; i++)
                r = entry_install(job, &e->items[i], files, err);
        if (r >= 0 && json_array_size(files) == 0 && note_current(&job->place, row, e))
                return 0;
        if (note)
                (void) file_read(AT_FDCWD, note, 64, &before, NULL, NULL);
        if (r >= 0)
                r = note_unknown(&job->place, row, err);
        if (r >= 0 && (r = command(&job->place, row, err)) == -ENOENT)
                note_restore(&job->place, row, before);
        if (r >= 0 && note) {
                text = note_text(e);
                r = file_write_atomic(AT_FDCWD, note, text, strlen(text), 0600, true, err) < 0 ? err->code :
                                                                                                 r;
        }
        if (r < 0)
                entries_restore(&job->place, e);
        return r;
}

static bool entries_there(const struct entries *e) {
        for (size_t i = 0; i < e->n; i++)
                if (e->items[i].old)
                        return true;
        return false;
}

static int remove_all(const struct rules_job *job, struct entries *e, json_t *files, struct error *err) {
        const struct rules_row *row = &rules_rows[job->kind];
        bool again = note_there(&job->place, row);
        int r = refuse_foreign(e, "removed", err);

        /* Any note makes the next removal go on with this one. */
        if (r >= 0 && !again && entries_there(e))
                r = note_unknown(&job->place, row, err);
        for (size_t i = e->n; r >= 0 && i-- > 0;) {
                struct entry *item = &e->items[i];

                if (!item->old)
                        continue;
                if (unlink(item->path) < 0)
                        return error_errno(err, errno, "cannot remove %s", item->path);
                entry_tidy(item);
                folders_remove(job->place.root, item->folders);
                json_push(files, json_string_lossy(item->file->path));
        }
        if (r < 0 || (json_array_size(files) == 0 && !again))
                return r;
        r = command(&job->place, row, err);
        if (r < 0) {
                _cleanup_free_ char *text = xstrdup(error_text(err));
                return error_set(err, r,
                                 "the files are gone, but what was made with them is not: %s (vore reserve "
                                 "--remove %s tries it again)",
                                 text, row->name);
        }
        note_drop(&job->place, row);
        return r;
}

int rules_work(void *arg, int report_fd, json_t **ret, struct error *err) {
        const struct rules_job *job = arg;
        const struct rules_row *row = &rules_rows[job->kind];
        _cleanup_(entries_done) struct entries e = { 0 };
        _cleanup_json_ json_t *files = json_array();
        _cleanup_error_ struct error own = ERROR_INIT;

        if (row->print_only)
                return error_set(err, -EOPNOTSUPP,
                                 "vore does not install for %s: vore reserve --emit %s prints the "
                                 "files, with where they go",
                                 row->name, row->name);
        int r = entries_read(&job->place, row, &e, &own);
        if (r >= 0)
                r = job->remove ? remove_all(job, &e, files, &own) : install(job, &e, files, &own);
        if (r < 0)
                return error_move(err, &own);
        *ret = result(row, files, r > 0);
        return 0;
}
