/* disk create: an empty image, made by qemu-img as the caller, that appears whole or not at all. */
#include "base/file.h"
#include "base/size.h"
#include "base/str.h"
#include "vore/cli.h"
#include "vore/run.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* Endings of names that say the format by themselves. */
static const struct {
        const char *ending, *type;
} types[] = {
        { ".img", "raw" },   { ".raw", "raw" }, { ".iso", "raw" },   { ".qcow2", "qcow2" },
        { ".vmdk", "vmdk" }, { ".vdi", "vdi" }, { ".vhdx", "vhdx" },
};

static const char *type_of(const char *path, const char *wanted) {
        if (wanted)
                return choice_find(options[OPTION_TYPE].choices, wanted) ? wanted : NULL;
        for (size_t i = 0; i < ARRAY_SIZE(types); i++)
                if (str_ends(path, types[i].ending))
                        return types[i].type;
        return "qcow2";
}

static int size_of(const char *text, uint64_t *ret) {
        uint64_t size;
        int r = size_parse(text, 1, &size);

        if (r == -ERANGE || (r == 0 && size > INT64_MAX - 511))
                cli_fail("disk create: %s is more than a disk can have", text);
        else if (r < 0)
                cli_fail("disk create: \"%s\" is not a size; such as 40G or 512M is wanted", text);
        else if (size == 0 || size % 512 != 0)
                cli_fail(
                        "disk create: %s bytes is not a whole number of sectors; write the unit, such as %sG",
                        text, size ? text : "40");
        else {
                *ret = size;
                return EXIT_DONE;
        }
        return EXIT_USAGE;
}

/* Gives the finished file its name, unless there is one of that name already. Not every file system has hard
 * links (FAT), and not every one this rename (some network ones). */
static int publish(const char *temp, const char *path) {
        if (link(temp, path) == 0)
                return 0;
        if (errno == EEXIST)
                return -errno;
        return renameat2(AT_FDCWD, temp, AT_FDCWD, path, RENAME_NOREPLACE) < 0 ? -errno : 0;
}

static int make(const char *temp, const char *path, const char *type, uint64_t size) {
        _cleanup_free_ char *bytes = xasprintf("%" PRIu64, size), *file = xasprintf("file:%s", temp);
        char *const argv[] = { (char[]){ "qemu-img" },
                               (char[]){ "create" },
                               (char[]){ "-q" },
                               (char[]){ "-f" },
                               (char *) type,
                               file,
                               bytes,
                               NULL };
        _cleanup_error_ struct error err = ERROR_INIT;
        int status = 0, r = run_program(argv, NULL, 0, 0, NULL, NULL, &status, &err);

        if (r == -ENOENT)
                return cli_fail("disk create: qemu-img is not installed (Debian: apt install qemu-utils)");
        if (r < 0)
                return cli_fail("disk create: %s", error_text(&err));
        if (status != 0)
                return cli_fail("disk create: qemu-img failed (%d), %s was not made", status, path);
        r = publish(temp, path);
        if (r == -EEXIST)
                return cli_fail("disk create: %s exists, and is never overwritten", path);
        return r < 0 ? cli_fail("disk create: cannot make %s: %s", path, strerror(-r)) : EXIT_DONE;
}

/* In a folder of its own beside path, where nobody else can put anything into qemu-img's way. */
static int make_beside(const char *path, const char *type, uint64_t size) {
        _cleanup_free_ char *copy = xstrdup(path), *folder = NULL, *temp = NULL, *whole = NULL;
        const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

        if (!*name)
                return cli_fail("disk create: %s names a folder; the name of a file is wanted", path);
        whole = realpath(dirname(copy), NULL);
        if (!whole)
                return cli_fail("disk create: the folder of %s: %s", path, strerror(errno));
        folder = xasprintf("%s/.vore-disk-XXXXXX", whole);
        if (!mkdtemp(folder))
                return cli_fail("disk create: cannot make %s: %s", path, strerror(errno));
        /* Some formats note the name of their file inside. */
        temp = xasprintf("%s/%s", folder, name);
        int r = make(temp, path, type, size);
        (void) unlink(temp);
        (void) rmdir(folder);
        return r;
}

int verb_disk_create(struct cli *c) {
        const char *path = c->args->arg[0], *wanted = c->args->value[OPTION_TYPE];
        const char *type = type_of(path, wanted);
        struct stat st;
        uint64_t size = 0;
        char text[32];
        int r;

        if (!type) {
                cli_fail("disk create: --type %s: raw, qcow2, vmdk, vdi or vhdx is wanted", wanted);
                return EXIT_USAGE;
        }
        r = size_of(c->args->arg[1], &size);
        if (r != EXIT_DONE)
                return r;
        if (lstat(path, &st) == 0)
                return cli_fail("disk create: %s exists, and is never overwritten", path);
        r = make_beside(path, type, size);
        if (r != EXIT_DONE)
                return r;
        if (args_has(c->args, OPTION_JSON)) {
                json_t *out = json_object();

                json_put_str(out, "path", path);
                json_put_str(out, "type", type);
                json_put_int(out, "size", (int64_t) size);
                return cli_print_json(c, out);
        }
        printf("%s is made (%s, %s)\n", path, type, size_print(size, text));
        return EXIT_DONE;
}
