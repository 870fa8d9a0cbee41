#include "plan/image.h"

#include "base/str.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum {
        HEADER_MAX = 64 * 1024,
        NAME_MAX_LEN = 1023,
        VERSION_2_LENGTH = 72,
        EXTENSION_END = 0,
        EXTENSION_BACKING_FORMAT = (int) 0xe2792acaU,
        EXTENSION_DATA_FILE = 0x44415441,
};

struct header {
        unsigned char data[HEADER_MAX];
        size_t len;
        const char *path;
};

static uint32_t be32(const struct header *h, size_t at) {
        uint32_t v = 0;

        if (at + 4 <= h->len)
                memcpy(&v, h->data + at, 4);
        return be32toh(v);
}

static uint64_t be64(const struct header *h, size_t at) {
        return (uint64_t) be32(h, at) << 32 | be32(h, at + 4);
}

static int header_load(const char *path, struct header *h, struct error *err) {
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

        if (fd < 0)
                return error_errno(err, errno, "cannot read the image %s", path);
        ssize_t n = pread(fd, h->data, sizeof(h->data), 0);
        if (n < 0)
                return error_errno(err, errno, "cannot read the image %s", path);
        h->len = (size_t) n;
        h->path = path;
        return 0;
}

static bool header_is_qcow2(const struct header *h) {
        return h->len >= VERSION_2_LENGTH && memcmp(h->data, "QFI\xfb", 4) == 0;
}

bool image_is_qcow2(const char *path) {
        _cleanup_free_ struct header *h = xcalloc(1, sizeof(*h));

        return header_load(path, h, NULL) >= 0 && header_is_qcow2(h);
}

static int header_read(const char *path, struct header *h, struct error *err) {
        int r = header_load(path, h, err);

        if (r < 0)
                return r;
        if (!header_is_qcow2(h))
                return error_set(err, -EINVAL, "%s is not a qcow2 image", path);
        return 0;
}

/* A name in a header, as an absolute path. */
static int name_resolve(const struct header *h, const char *name, struct image_links *l, char **ret,
                        struct error *err) {
        const char *slash = strrchr(h->path, '/');

        if (str_starts(name, "file:"))
                name += strlen("file:");
        else if (strchr(name, ':') && (!strchr(name, '/') || strchr(name, ':') < strchr(name, '/')))
                return error_set(err, -EOPNOTSUPP, "%s is based on \"%s\", which is not a file", h->path,
                                 name);
        l->relative = l->relative || *name != '/';
        if (*name == '/' || !slash)
                *ret = xstrdup(name);
        else
                *ret = xasprintf("%.*s/%s", (int) (slash - h->path), h->path, name);
        return 0;
}

static char *name_copy(const struct header *h, uint64_t at, uint32_t len) {
        if (at > h->len || len > h->len - at)
                return NULL;
        return strndup((const char *) h->data + at, len);
}

static int backing_read(const struct header *h, struct image_links *l, struct error *err) {
        uint64_t at = be64(h, 8);
        uint32_t len = be32(h, 16);

        if (at == 0)
                return 0;
        _cleanup_free_ char *name = len <= NAME_MAX_LEN ? name_copy(h, at, len) : NULL;
        if (!name)
                return error_set(err, -EINVAL, "%s has a broken header: backing file name", h->path);
        return name_resolve(h, name, l, &l->backing, err);
}

static int extensions_read(const struct header *h, struct image_links *l, struct error *err) {
        size_t at = be32(h, 4) >= 3 ? be32(h, 100) : VERSION_2_LENGTH;

        while (at + 8 <= h->len) {
                int type = (int) be32(h, at);
                uint32_t len = be32(h, at + 4);

                at += 8;
                if (type == EXTENSION_END || len > h->len - at)
                        break;
                if (type == EXTENSION_BACKING_FORMAT && len < 64 && !l->backing_format)
                        l->backing_format = name_copy(h, at, len);
                if (type == EXTENSION_DATA_FILE && len <= NAME_MAX_LEN && !l->data_file) {
                        _cleanup_free_ char *name = name_copy(h, at, len);
                        int r = name_resolve(h, name, l, &l->data_file, err);
                        if (r < 0)
                                return r;
                }
                at += (len + 7) / 8 * 8;
        }
        return 0;
}

int image_links_read(const char *path, struct image_links *ret, struct error *err) {
        _cleanup_free_ struct header *h = xcalloc(1, sizeof(*h));
        _cleanup_(image_links_done) struct image_links l = { 0 };
        int r = header_read(path, h, err);

        if (r >= 0)
                r = backing_read(h, &l, err);
        if (r >= 0)
                r = extensions_read(h, &l, err);
        if (r < 0)
                return r;
        *ret = l;
        l = (struct image_links){ 0 };
        return 0;
}

void image_links_done(struct image_links *l) {
        free(l->backing);
        free(l->backing_format);
        free(l->data_file);
        *l = (struct image_links){ 0 };
}

/* A sparse extent, "KDMV", has its descriptor inside: little-endian, at byte 28 where, in sectors. A
 * descriptor of its own names the files that have the data. "parentCID=ffffffff": no parent. */
int image_vmdk_check(const char *path, struct error *err) {
        static const char parent[] = "parentCID=", none[] = "parentCID=ffffffff";
        _cleanup_free_ struct header *h = xcalloc(1, sizeof(*h) + 1);
        int r = header_load(path, h, err);
        uint64_t sector;

        if (r < 0)
                return r;
        bool apart = h->len >= 21 && memcmp(h->data, "# Disk DescriptorFile", 21) == 0;
        if (!apart && h->len >= 44 && memcmp(h->data, "KDMV", 4) == 0) {
                memcpy(&sector, h->data + 28, sizeof(sector));
                sector = le64toh(sector);
                const char *text = sector > 0 && sector < h->len / 512 ?
                                           memmem(h->data + sector * 512, h->len - sector * 512, parent,
                                                  sizeof(parent) - 1) :
                                           NULL;
                apart = text && strncasecmp(text, none, sizeof(none) - 1) != 0;
        }
        if (apart)
                return error_set(err, -EOPNOTSUPP,
                                 "%s keeps its data in other files, which cannot be handed to the VM: "
                                 "qemu-img convert -O "
                                 "qcow2 %s NEW.qcow2 makes one file of them",
                                 path, path);
        return 0;
}
