/* What the completion scripts of all shells are made of: the rows of verbs.c, and what a word of them can be
 * completed with. Verbs that this version does not support are left out. What only the daemon knows (names of
 * VMs) a script asks `vore list` for. */
#pragma once

#include "base/str.h"
#include "vore/verbs.h"

/* What may stand in a place. Of a verb with several words it is the union: order does not matter to somebody
 * who presses Tab. */
struct completed {
        bool vm, file;
        bool verb;           /* the words of a verb */
        const char *choices; /* a blank between; NULL: none */
};
struct completed completed_words(const struct verb *verb);
struct completed completed_value(const struct option_row *option);

enum { COMPLETED_WORDS_MAX = 64 };

struct completed_list {
        struct {
                char text[24];
                const struct verb *verb; /* NULL: a word that needs a second one */
        } items[COMPLETED_WORDS_MAX];
        size_t n;
};
/* First words, each once, without other spellings. */
void completed_first(struct completed_list *ret);
/* The first words that need a second one, other spellings too. */
void completed_groups(struct completed_list *ret);
/* The second words behind one of them, without other spellings of the same. */
void completed_second(struct completed_list *ret, const char *group);
/* What is said beside word i of a list: a verb's help, or the second words. Owned by the caller. */
char *completed_help(const struct completed_list *list, size_t i);
/* The words of a list, between in between. Owned by the caller. */
char *completed_join(const struct completed_list *list, const char *between);

/* "--conn|-c|--cdrom": every option that takes a value. Owned by the caller. */
char *completed_value_options(const char *between);
/* Prints text, in front of each character of special what is in before. */
void completed_print(const char *text, const char *special, const char *before);

void completion_bash(void);
void completion_zsh(void);
void completion_fish(void);
