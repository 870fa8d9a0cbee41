/* Which files the header of an image may name. A guest's QEMU can write its image's header, others come from
 * elsewhere with the image, and what a header names is opened with the daemon's rights: so this says no to
 * whatever is not plainly meant. */
#pragma once

#include "plan/plan.h"

struct links {
        const struct plan *p;           /* its own disks, and its name */
        const struct plan_request *req; /* others that run; settings (may be NULL): where others are saved */
        struct complete_use *others;    /* in p's arena; once they are known */
        size_t n_others;
        bool known;
};

struct link {
        const char *image;  /* as messages name it, and where it will lie */
        const char *header; /* whose header was read: the image's, or that of the template of a copy that is
                             * not made yet */
        const char *path;   /* that it names */
        const char *format; /* that it says; NULL: a data file, which has none */
        bool write;
};

/* -EACCES: a file that does not belong to the image's owner and is not readable for everybody; one to be
 * written in another folder; a raw one elsewhere without a disk's size; a disk that another machine, or this
 * one, writes to, or that is to be written and is anybody's disk; no file at all. -EOPNOTSUPP: a format that
 * is none of an image. */
int link_check(struct links *l, const struct link *link, struct error *err);
