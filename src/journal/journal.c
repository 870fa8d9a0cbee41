#include "journal/journal.h"

#include "base/file.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* Strikes always find room: behind what entries may fill there is enough for one of each. */
enum {
        ENTRIES_LIMIT = 4096,
        LINE_LIMIT = 64 * 1024,
        SIZE_LIMIT = 1024 * 1024,
        STRIKES_ROOM = ENTRIES_LIMIT * 32
};

struct entry {
        uint64_t id;
        json_t *args; /* owned */
        char *kind;   /* owned */
};

struct journal {
        char *path;
        int fd; /* O_APPEND */
        struct entry *entries;
        size_t n;
        uint64_t next_id;
};

static char *boot_id(void) {
        char *id = NULL;

        return file_read_line(AT_FDCWD, "/proc/sys/kernel/random/boot_id", &id) < 0 ? xstrdup("") : id;
}

static json_t *boot_line(void) {
        _cleanup_free_ char *id = boot_id();

        return json_pack("{s:s}", "boot", id);
}

static json_t *entry_line(uint64_t id, const char *kind, json_t *args) {
        return json_pack("{s:I, s:s, s:O}", "add", (json_int_t) id, "kind", kind, "args", args);
}

static void text_add(struct strbuf *b, json_t *line) {
        _cleanup_json_ json_t *owned = line;
        _cleanup_free_ char *text = json_text(owned);

        strbuf_add(b, text);
        strbuf_add(b, "\n");
}

/* Writes the file anew with what is open, so that a crash leaves the old one or the new one. */
static int compact(struct journal *j, struct error *err) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        int r;

        text_add(&b, boot_line());
        for (size_t i = 0; i < j->n; i++)
                text_add(&b, entry_line(j->entries[i].id, j->entries[i].kind, j->entries[i].args));
        r = file_write_atomic(AT_FDCWD, j->path, b.data, b.len, 0600, false, err);
        if (r < 0)
                return r;
        int fd = open(j->path, O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return error_errno(err, errno, "cannot open the journal %s", j->path);
        close(j->fd);
        j->fd = fd;
        return 0;
}

/* Appends line (stolen) if the file stays within limit, if need be after it was written anew. */
static int line_write(struct journal *j, json_t *line, off_t limit, struct error *err) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        off_t end = lseek(j->fd, 0, SEEK_END);
        int r;

        text_add(&b, line);
        if (b.len > LINE_LIMIT)
                return error_set(err, -EFBIG, "an entry for the journal %s has %zu bytes; %d are possible",
                                 j->path, b.len, LINE_LIMIT);
        if (end + (off_t) b.len > limit) {
                r = compact(j, err);
                if (r < 0)
                        return r;
                end = lseek(j->fd, 0, SEEK_END);
        }
        if (end + (off_t) b.len > limit)
                return error_set(err, -EFBIG, "the journal %s is full", j->path);
        r = file_write_all(j->fd, b.data, b.len);
        if (r < 0) {
                /* Half a line would hide the next one. */
                (void) !ftruncate(j->fd, end);
                return error_errno(err, r, "cannot write the journal %s", j->path);
        }
        return 0;
}

static int start_afresh(struct journal *j, struct error *err) {
        if (ftruncate(j->fd, 0) < 0)
                return error_errno(err, errno, "cannot write the journal %s", j->path);
        return line_write(j, boot_line(), SIZE_LIMIT, err);
}

static void entry_remove(struct journal *j, uint64_t id) {
        for (size_t i = 0; i < j->n; i++) {
                if (j->entries[i].id != id)
                        continue;
                json_decref(j->entries[i].args);
                free(j->entries[i].kind);
                memmove(&j->entries[i], &j->entries[i + 1], (j->n - i - 1) * sizeof(*j->entries));
                j->n--;
                return;
        }
}

static void entry_add(struct journal *j, uint64_t id, const char *kind, json_t *args) {
        j->entries = xrealloc(j->entries, j->n + 1, sizeof(*j->entries));
        j->entries[j->n++] = (struct entry){ .id = id, .kind = xstrdup(kind), .args = args };
        j->next_id = MAX(j->next_id, id + 1);
}

static void line_apply(struct journal *j, const json_t *line) {
        const char *kind = json_get_str(line, "kind", NULL);
        int64_t add = json_get_int(line, "add", -1), strike = json_get_int(line, "strike", -1);
        json_t *args = json_object_get(line, "args");

        if (add >= 0 && kind && json_is_object(args) && j->n < ENTRIES_LIMIT)
                entry_add(j, (uint64_t) add, kind, json_incref(args));
        else if (strike >= 0)
                entry_remove(j, (uint64_t) strike);
}

/* Applies all whole lines; *ret_len is where the last of them ends. False: not of this boot. */
static bool text_apply(struct journal *j, char *text, size_t *ret_len) {
        _cleanup_free_ char *id = boot_id();
        bool first = true;
        char *p = text, *end;

        for (; (end = strchr(p, '\n')); p = end + 1) {
                _cleanup_json_ json_t *line = NULL;

                *end = '\0';
                if (json_parse(p, (size_t) (end - p), &line, NULL) < 0)
                        line = json_object();
                if (first && !str_eq(json_get_str(line, "boot", NULL), id))
                        return false;
                if (!first)
                        line_apply(j, line);
                first = false;
        }
        *ret_len = (size_t) (p - text);
        return !first;
}

static int journal_load(struct journal *j, struct error *err) {
        _cleanup_free_ char *text = NULL;
        size_t len, whole;
        int r = file_read_fd(j->fd, SIZE_LIMIT + STRIKES_ROOM, &text, &len, err);

        if (r < 0)
                return error_prefix(err, "the journal %s", j->path);
        if (!text_apply(j, text, &whole))
                return start_afresh(j, err);
        if (whole < len && ftruncate(j->fd, (off_t) whole) < 0)
                return error_errno(err, errno, "cannot write the journal %s", j->path);
        return 0;
}

int journal_open(const char *dir, const char *name, struct journal **ret, struct error *err) {
        struct journal *j = xcalloc(1, sizeof(*j));

        j->path = xasprintf("%s/%s", dir, name);
        j->fd = open(j->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
        int r = j->fd < 0 ? error_errno(err, errno, "cannot open the journal %s", j->path) :
                            journal_load(j, err);
        if (r < 0) {
                journal_close(j);
                return r;
        }
        *ret = j;
        return 0;
}

int journal_add(struct journal *j, const char *kind, json_t *args, uint64_t *ret_id, struct error *err) {
        _cleanup_json_ json_t *owned = args ? args : json_object();
        uint64_t id = j->next_id;

        if (j->n >= ENTRIES_LIMIT)
                return error_set(err, -ENOSPC, "the journal %s has %d open entries", j->path, ENTRIES_LIMIT);
        int r = line_write(j, entry_line(id, kind, owned), SIZE_LIMIT, err);
        if (r < 0)
                return r;
        entry_add(j, id, kind, TAKE_PTR(owned));
        *ret_id = id;
        return 0;
}

int journal_strike(struct journal *j, uint64_t id, struct error *err) {
        size_t before = j->n;

        entry_remove(j, id);
        if (j->n == before)
                return 0;
        if (j->n == 0)
                return start_afresh(j, err);
        return line_write(j, json_pack("{s:I}", "strike", (json_int_t) id), SIZE_LIMIT + STRIKES_ROOM, err);
}

size_t journal_count(const struct journal *j) {
        return j->n;
}

int journal_open_entries(struct journal *j, journal_fn fn, void *data, struct error *err) {
        size_t n = j->n;
        _cleanup_free_ uint64_t *ids = xcalloc(n + 1, sizeof(*ids));
        int r = 0;

        for (size_t i = 0; i < n; i++)
                ids[i] = j->entries[n - 1 - i].id;
        for (size_t i = 0; i < n && r >= 0; i++)
                for (size_t k = j->n; k-- > 0;)
                        if (j->entries[k].id == ids[i]) {
                                _cleanup_json_ json_t *args = json_incref(j->entries[k].args);
                                _cleanup_free_ char *kind = xstrdup(j->entries[k].kind);

                                r = fn(ids[i], kind, args, data);
                                break;
                        }
        return r < 0 ? r : 0;
}

void journal_close(struct journal *j) {
        if (!j)
                return;
        while (j->n)
                entry_remove(j, j->entries[j->n - 1].id);
        free(j->entries);
        if (j->fd >= 0)
                close(j->fd);
        free(j->path);
        free(j);
}
