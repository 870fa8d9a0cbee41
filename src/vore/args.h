/* The command line's words -> a verb, its options and its arguments. Pure: reads the table of verbs, prints
 * nothing. */
#pragma once

#include "base/error.h"
#include "vore/verbs.h"

#include <stdbool.h>

enum { ARGS_MAX = 4 }; /* arguments of one verb */

struct args {
        const struct verb *verb;         /* NULL: none was given (only --help or --version) */
        uint32_t given;                  /* OPT(x) of each option that was given */
        const char *value[OPTION_COUNT]; /* the last one of each; borrowed from argv */
        const char **cdroms;             /* owned array of borrowed strings */
        size_t n_cdroms;
        /* By position in verb->args; NULL: left out. "[NAME] JSON" with one word fills only the second. */
        const char *arg[ARGS_MAX];
        /* Of a verb that passes them: what stands behind --. Borrowed from argv. */
        char *const *rest;
        size_t n_rest;
};

/* -EINVAL with one sentence for wrong usage. A verb that this version does not support takes any words; so
 * does everything behind --help. */
int args_parse(int argc, char *const argv[], struct args *ret, struct error *err);
void args_done(struct args *a);

static inline bool args_has(const struct args *a, enum option_id id) {
        return a->given & OPT(id);
}

/* One word of verb->args, without its brackets: "[NAME] JSON" at 1 gives "JSON", required. False behind the
 * end. */
struct args_word {
        char name[24];
        bool optional;
};
bool args_word(const struct verb *verb, size_t index, struct args_word *ret);

/* -EINVAL, with what to type instead. second: the word behind it, or NULL. */
int args_unknown_verb(const char *word, const char *second, struct error *err);
