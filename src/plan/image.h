/* What an image's header says of other files: a qcow2's backing file, that one's format, and an external data
 * file. Only the header is read; nothing is guessed (formats are never probed). Sources: QEMU's
 * docs/interop/qcow2.txt; VMware's Virtual Disk Format 5.0. */
#pragma once

#include "base/error.h"

#include <stdbool.h>

struct image_links {
        char *backing;        /* owned; absolute; NULL: none */
        char *backing_format; /* owned; NULL: the header does not say */
        char *data_file;      /* owned; absolute; NULL: none */
        bool relative;        /* one of them counts from the image's folder */
};

/* -EINVAL: not a qcow2 image, or a header that makes no sense; -EOPNOTSUPP: a link that is no path
 * ("json:", "nbd://"). Paths in the header count from the image's folder. */
int image_links_read(const char *path, struct image_links *ret, struct error *err);
/* Does it begin as a qcow2 image does? */
bool image_is_qcow2(const char *path);
void image_links_done(struct image_links *l);

/* -EOPNOTSUPP: a VMDK that keeps its data, or a part of it, in other files: a descriptor with extents, or one
 * with a parent. */
int image_vmdk_check(const char *path, struct error *err);
