/* The text of one file. */
#pragma once

#include "base/str.h"
#include "rules/rules.h"

#include <sys/types.h>

struct rules_file {
        const char *path; /* absolute */
        mode_t mode;
        const char *interpreter; /* the first line of a script; NULL: none */
        /* What follows the head. */
        void (*body)(struct strbuf *b, const struct rules_device *devices, size_t n);
};

enum { RULES_FILES_MAX = 2 };

struct rules_row {
        const char *name;
        struct rules_file files[RULES_FILES_MAX];
        size_t n_files;
        const char *const *command; /* argv that makes it take effect; NULL: none */
        bool must;                  /* a failure of the command is one of the whole */
        const char *needs;          /* a path that shows that this host has such a thing; NULL: always */
        const char *how;            /* what a person does with the files */
        bool print_only;
};

extern const struct rules_row rules_rows[RULES_KIND_COUNT];

/* The whole file; folders: those that were made for it, each with a space before it, "": none. */
char *rules_text(enum rules_kind kind, const struct rules_file *file, const struct rules_device *devices,
                 size_t n, const char *folders);
/* Is text ours, and as we wrote it? 1 with its folders (owned by the caller), 0: it is not. */
int rules_ours(const char *text, char **ret_folders);
uint64_t rules_hash(uint64_t hash, const char *text, size_t n);
#define RULES_HASH_BEGIN UINT64_C(0xcbf29ce484222325)
