#include "host/disk.h"

#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* Longer magics first where one begins another. */
static const struct {
        const char *magic;
        size_t len;
        const char *format;
} magics[] = {
        { "QFI\xfb\0\0\0\1", 8, "qcow" },
        { "QFI\xfb", 4, "qcow2" },
        { "KDMV", 4, "vmdk" },
        { "COWD", 4, "vmdk" },
        { "# Disk DescriptorFile", 21, "vmdk" },
        { "QED\0", 4, "qed" },
        { "WithoutFreeSpace", 16, "parallels" },
        { "WithouFreSpacExt", 16, "parallels" },
        { "vhdxfile", 8, "vhdx" },
        { "conectix", 8, "vpc" },
};

/* VDI: 64 bytes of text, then a number. */
static const unsigned char vdi_signature[] = { 0x7f, 0x10, 0xda, 0xbe };

const char *host_disk_format(const void *data, size_t len) {
        for (size_t i = 0; i < ARRAY_SIZE(magics); i++)
                if (len >= magics[i].len && memcmp(data, magics[i].magic, magics[i].len) == 0)
                        return magics[i].format;
        if (len >= 64 + sizeof(vdi_signature) &&
            memcmp((const char *) data + 64, vdi_signature, sizeof(vdi_signature)) == 0)
                return "vdi";
        return "raw";
}

bool host_disk_is_format(const char *name) {
        for (size_t i = 0; i < ARRAY_SIZE(magics); i++)
                if (str_eq(magics[i].format, name))
                        return true;
        return str_eq(name, "vdi") || str_eq(name, "raw");
}

static const char *read_format(const struct host *h, const char *path) {
        _cleanup_close_ int fd = host_fd(h, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
        char head[512];

        if (fd < 0)
                return NULL;
        ssize_t n = pread(fd, head, sizeof(head), 0);
        /* A drive without a medium cannot be read and has no format either. */
        return host_disk_format(head, n < 0 ? 0 : (size_t) n);
}

static uint64_t block_size(const struct host *h, dev_t rdev) {
        _cleanup_free_ char *path = xasprintf("/sys/dev/block/%u:%u/size", major(rdev), minor(rdev));
        long long sectors;

        /* The kernel's unit here is always 512 bytes. */
        if (host_read_int(h, path, &sectors) < 0 || sectors < 0)
                return 0;
        return (uint64_t) sectors * 512;
}

/* A partition's folder stands in its disk's. */
static dev_t whole_disk(const struct host *h, dev_t rdev) {
        _cleanup_free_ char *mark = xasprintf("/sys/dev/block/%u:%u/partition", major(rdev), minor(rdev));
        _cleanup_free_ char *disk = xasprintf("/sys/dev/block/%u:%u/../dev", major(rdev), minor(rdev)),
                            *line = NULL;
        unsigned major_nr, minor_nr;
        struct host_node node;

        if (host_node(h, mark, &node) < 0 || host_read_line(h, disk, &line) < 0 ||
            sscanf(line, "%u:%u", &major_nr, &minor_nr) != 2)
                return rdev;
        return makedev(major_nr, minor_nr);
}

static int look(const struct host *h, const char *path, struct host_disk *ret) {
        struct host_disk d = { 0 };
        int r = host_node(h, path, &d.node);

        if (r < 0)
                return r;
        r = host_realpath(h, path, &d.path);
        if (r < 0)
                return r;
        d.whole = d.node.type == 'b' ? whole_disk(h, d.node.rdev) : 0;
        d.size = d.node.type == 'b' ? block_size(h, d.node.rdev) : d.node.size;
        if (d.node.type == 'b' && host_captured(h))
                d.format = d.node.readable ? "raw" : NULL;
        else if (d.node.type == 'b' || d.node.type == 'f')
                d.format = read_format(h, path);
        *ret = d;
        return 0;
}

static bool belongs_to_host(const char *path) {
        static const char *const folders[] = {
                "/dev/", "/proc/", "/sys/", "/run/", "/etc/", "/usr/", "/boot/"
        };

        for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
                if (str_starts(path, folders[i]))
                        return true;
        return false;
}

int host_disk(const struct host *h, const char *path, struct host_disk *ret) {
        int r = look(h, path, ret);

        if (r != -ENOENT || !host_captured(h) || belongs_to_host(path))
                return r;
        _cleanup_host_ struct host *here = NULL;
        if (host_open("/", &here, NULL) < 0)
                return r;
        return look(here, path, ret);
}

void host_disk_done(struct host_disk *d) {
        free(d->path);
        *d = (struct host_disk){ 0 };
}

bool host_disk_overlap(const struct host_disk *a, const struct host_disk *b) {
        if (a->node.type != b->node.type)
                return false;
        if (a->node.type != 'b')
                return a->node.dev == b->node.dev && a->node.ino == b->node.ino;
        return a->node.rdev == b->node.rdev ||
               (a->whole == b->whole && (a->node.rdev == a->whole || b->node.rdev == b->whole));
}
