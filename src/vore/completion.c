/* completion: what all shells share. */
#include "vore/completion.h"

#include "vore/cli.h"

#include <assert.h>

static const struct {
        const char *name;
        void (*print)(void);
} shells[] = { { "bash", completion_bash }, { "zsh", completion_zsh }, { "fish", completion_fish } };

#define SHELLS "bash zsh fish"

/* What a word of verb->args, or an option's value, is completed with. */
static const struct {
        const char *name;
        struct completed completed;
} kinds[] = {
        { "NAME", { .vm = true } },   { "NAME|FILE", { .vm = true, .file = true } },
        { "FILE", { .file = true } }, { "PATH", { .file = true } },
        { "ISO", { .file = true } },  { "SOCKET", { .file = true } },
        { "VERB", { .verb = true } }, { "SHELL", { .choices = SHELLS } },
};

static struct completed completed_of(const char *name) {
        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
                if (str_eq(kinds[i].name, name))
                        return kinds[i].completed;
        return (struct completed){ 0 };
}

struct completed completed_words(const struct verb *verb) {
        struct completed all = { 0 };
        struct args_word word;

        for (size_t i = 0; args_word(verb, i, &word); i++) {
                struct completed one = completed_of(word.name);

                all.vm = all.vm || one.vm;
                all.file = all.file || one.file;
                all.verb = all.verb || one.verb;
                all.choices = one.choices ? one.choices : all.choices;
        }
        return all;
}

struct completed completed_value(const struct option_row *option) {
        struct completed c = completed_of(option->arg);

        if (option->choices)
                c.choices = option->choices;
        return c;
}

static void list_add(struct completed_list *list, const char *text, size_t n, const struct verb *verb) {
        assert(list->n < COMPLETED_WORDS_MAX && n < sizeof(list->items[0].text));
        for (size_t i = 0; i < list->n; i++)
                if (strncmp(list->items[i].text, text, n) == 0 && !list->items[i].text[n])
                        return;
        memcpy(list->items[list->n].text, text, n);
        list->items[list->n].text[n] = '\0';
        list->items[list->n++].verb = verb;
}

void completed_first(struct completed_list *ret) {
        ret->n = 0;
        for (size_t i = 0; i < n_verbs; i++) {
                size_t n = strcspn(verbs[i].name, " ");

                if (verbs[i].run)
                        list_add(ret, verbs[i].name, n, verbs[i].name[n] ? NULL : &verbs[i]);
        }
}

static void add_group(struct completed_list *list, const char *name) {
        size_t n = name ? strcspn(name, " ") : 0;

        if (name && name[n])
                list_add(list, name, n, NULL);
}

void completed_groups(struct completed_list *ret) {
        ret->n = 0;
        for (size_t i = 0; i < n_verbs; i++) {
                if (!verbs[i].run)
                        continue;
                add_group(ret, verbs[i].name);
                add_group(ret, verbs[i].alias);
        }
}

void completed_second(struct completed_list *ret, const char *group) {
        size_t n = strlen(group);

        ret->n = 0;
        for (size_t i = 0; i < n_verbs; i++) {
                const char *spellings[] = { verbs[i].name, verbs[i].alias };

                for (size_t k = 0; verbs[i].run && k < ARRAY_SIZE(spellings) && spellings[k]; k++)
                        if (str_starts(spellings[k], group) && spellings[k][n] == ' ') {
                                list_add(ret, spellings[k] + n + 1, strlen(spellings[k] + n + 1), &verbs[i]);
                                break;
                        }
        }
}

char *completed_join(const struct completed_list *list, const char *between) {
        struct strbuf b = STRBUF_INIT;

        for (size_t i = 0; i < list->n; i++)
                strbuf_addf(&b, "%s%s", i ? between : "", list->items[i].text);
        return strbuf_take(&b);
}

char *completed_help(const struct completed_list *list, size_t i) {
        struct completed_list second;

        if (list->items[i].verb)
                return xstrdup(list->items[i].verb->help);
        completed_second(&second, list->items[i].text);
        return completed_join(&second, ", ");
}

char *completed_value_options(const char *between) {
        struct strbuf b = STRBUF_INIT;

        for (size_t i = 0; i < OPTION_COUNT; i++) {
                if (!options[i].arg)
                        continue;
                strbuf_addf(&b, "%s--%s", b.len ? between : "", options[i].name);
                if (options[i].letter)
                        strbuf_addf(&b, "%s-%c", between, options[i].letter);
        }
        return strbuf_take(&b);
}

void completed_print(const char *text, const char *special, const char *before) {
        for (; *text; text++) {
                if (strchr(special, *text))
                        fputs(before, stdout);
                putchar(*text);
        }
}

int verb_completion(struct cli *c) {
        const char *shell = c->args->arg[0];

        for (size_t i = 0; i < ARRAY_SIZE(shells); i++)
                if (str_eq(shells[i].name, shell)) {
                        shells[i].print();
                        return EXIT_DONE;
                }
        cli_fail("completion: \"%s\" is not known; bash, zsh or fish is wanted", shell);
        return EXIT_USAGE;
}
