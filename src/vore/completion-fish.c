/* completion fish. */
#include "vore/completion.h"

#include <stdio.h>

static void print_help(const char *help) {
        fputs(" -d '", stdout);
        completed_print(help, "\\'", "\\");
        puts("'");
}

/* A line of completion; when: the verbs that it is for, as words of fish; NULL: all. */
static void begin(const char *when) {
        fputs("complete -c vore", stdout);
        if (when)
                printf(" -n \"__vore_at %s\"", when);
}

#define MACHINES "'(__vore_machines)'"

static void print_option(const struct option_row *option, const char *when) {
        struct completed c = completed_value(option);

        begin(when);
        printf(" -l %s", option->name);
        if (option->letter)
                printf(" -s %c", option->letter);
        if (c.file)
                fputs(" -r -F", stdout);
        else if (option->arg)
                fputs(" -x", stdout);
        if (c.vm)
                fputs(" -a " MACHINES, stdout);
        if (c.choices)
                printf(" -a '%s'", c.choices);
        print_help(option->help);
}

static void print_words(const struct completed_list *list, const char *when) {
        for (size_t i = 0; i < list->n; i++) {
                _cleanup_free_ char *help = completed_help(list, i);

                begin(when);
                printf(" -a %s", list->items[i].text);
                print_help(help);
        }
}

static void print_verb(const struct verb *verb) {
        struct completed c = completed_words(verb);
        _cleanup_free_ char *when = xasprintf("'%s'%s%s%s", verb->name, verb->alias ? " '" : "",
                                              verb->alias ? verb->alias : "", verb->alias ? "'" : "");

        if (c.vm) {
                begin(when);
                puts(" -a " MACHINES);
        }
        if (c.file) {
                begin(when);
                puts(" -F");
        }
        if (c.choices) {
                begin(when);
                printf(" -a '%s'\n", c.choices);
        }
        for (size_t i = 0; i < OPTION_COUNT; i++)
                if ((verb->options & OPT(i)) && !options[i].hidden)
                        print_option(&options[i], when);
}

/* The words before the cursor -> verb, which behind "help" is "help" and the words of another, and conn. */
static void print_functions(const struct completed_list *groups) {
        _cleanup_free_ char *values = completed_value_options(" "), *names = completed_join(groups, " ");

        printf("function __vore_scan --no-scope-shadowing\n"
               "    set -l before\n"
               "    for word in (commandline -opc)[2..]\n"
               "        switch $before\n"
               "            case -c --conn\n"
               "                set conn -c $word\n"
               "        end\n"
               "        if contains -- \"$before\" %s\n"
               "            set before\n"
               "            continue\n"
               "        end\n"
               "        set before $word\n"
               "        switch $word\n"
               "            case '--conn=*'\n"
               "                set conn -c (string replace -- --conn= '' $word)\n"
               "            case --\n"
               "                break\n"
               "            case '-*'\n"
               "            case '*'\n"
               "                switch \"$verb\"\n"
               "                    case ''\n"
               "                        set verb $word\n"
               "                    case %s help 'help *'\n"
               "                        set verb \"$verb $word\"\n"
               "                end\n"
               "        end\n"
               "    end\n"
               "end\n"
               "function __vore_at\n"
               "    set -l verb\n"
               "    set -l conn\n"
               "    __vore_scan\n"
               "    contains -- \"$verb\" $argv\n"
               "end\n"
               "function __vore_machines\n"
               "    set -l verb\n"
               "    set -l conn\n"
               "    __vore_scan\n"
               "    vore $conn list 2>/dev/null | cut -f1\n"
               "end\n",
               values, names);
}

void completion_fish(void) {
        struct completed_list groups, list;

        completed_groups(&groups);
        print_functions(&groups);
        puts("complete -c vore -f");
        for (size_t i = 0; i < OPTION_COUNT; i++)
                if (options[i].global && !options[i].hidden)
                        print_option(&options[i], NULL);
        completed_first(&list);
        print_words(&list, "'' help");
        for (size_t i = 0; i < groups.n; i++) {
                _cleanup_free_ char *when =
                        xasprintf("'%s' 'help %s'", groups.items[i].text, groups.items[i].text);

                completed_second(&list, groups.items[i].text);
                print_words(&list, when);
        }
        for (size_t i = 0; i < n_verbs; i++)
                if (verbs[i].run)
                        print_verb(&verbs[i]);
}
