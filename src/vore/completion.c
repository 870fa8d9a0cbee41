/* completion: scripts for shells, made from the rows of verbs.c. What only the daemon knows (names of VMs)
 * the script asks `vore list` for. */
#include "base/str.h"
#include "vore/cli.h"

enum word_kind { WORD_OTHER, WORD_VM, WORD_FILE, WORD_VM_OR_FILE, WORD_SHELL, WORD_VERB };

/* What a word of verb->args, or an option's value, is completed with. */
static const struct {
        const char *name;
        enum word_kind kind;
} kinds[] = {
        { "NAME", WORD_VM },     { "NAME|FILE", WORD_VM_OR_FILE },
        { "FILE", WORD_FILE },   { "PATH", WORD_FILE },
        { "ISO", WORD_FILE },    { "SOCKET", WORD_FILE },
        { "SHELL", WORD_SHELL }, { "VERB", WORD_VERB },
};

static enum word_kind kind_of(const char *name) {
        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
                if (str_eq(kinds[i].name, name))
                        return kinds[i].kind;
        return WORD_OTHER;
}

/* The union of what the verb's words may be: order does not matter to somebody who presses Tab. */
static void kinds_of(const struct verb *verb, bool *ret_vm, bool *ret_file, bool *ret_shell) {
        struct args_word word;

        *ret_vm = *ret_file = *ret_shell = false;
        for (size_t i = 0; args_word(verb, i, &word); i++) {
                enum word_kind kind = kind_of(word.name);

                *ret_vm = *ret_vm || kind == WORD_VM || kind == WORD_VM_OR_FILE;
                *ret_file = *ret_file || kind == WORD_FILE || kind == WORD_VM_OR_FILE;
                *ret_shell = *ret_shell || kind == WORD_SHELL;
        }
}

static void add_options(struct strbuf *b, const struct verb *verb) {
        for (size_t i = 0; i < OPTION_COUNT; i++)
                if (!options[i].hidden && (options[i].global || (verb && (verb->options & OPT(i)))))
                        strbuf_addf(b, "%s--%s", b->len && b->data[b->len - 1] != '\'' ? " " : "",
                                    options[i].name);
}

/* Inside single quotes of fish (backslash) or zsh (leave the quotes and come back). */
static void print_quoted(const char *text, const char *apostrophe) {
        for (; *text; text++)
                if (*text == '\'')
                        fputs(apostrophe, stdout);
                else
                        putchar(*text);
}

#define FISH_APOSTROPHE "\\'"
#define ZSH_APOSTROPHE "'\\''"

/* First words of all verbs that there are, each once. */
static void add_first_words(struct strbuf *b, const char *between) {
        for (size_t i = 0; i < n_verbs; i++) {
                size_t n = strcspn(verbs[i].name, " ");
                bool seen = !verbs[i].run;

                for (size_t k = 0; k < i && !seen; k++)
                        seen = verbs[k].run && strcspn(verbs[k].name, " ") == n &&
                               strncmp(verbs[k].name, verbs[i].name, n) == 0;
                if (seen)
                        continue;
                strbuf_add(b, b->len ? between : "");
                strbuf_addn(b, verbs[i].name, n);
        }
}

/* Second words behind a group, a blank between. */
static void add_second_words(struct strbuf *b, const char *first, size_t n) {
        for (size_t i = 0; i < n_verbs; i++)
                if (verbs[i].run && strncmp(verbs[i].name, first, n) == 0 && verbs[i].name[n] == ' ')
                        strbuf_addf(b, "%s%s", b->len ? " " : "", verbs[i].name + n + 1);
}

static bool first_of_group(size_t index) {
        size_t n = strcspn(verbs[index].name, " ");

        if (!verbs[index].run || !verbs[index].name[n])
                return false;
        for (size_t k = 0; k < index; k++)
                if (verbs[k].run && strncmp(verbs[k].name, verbs[index].name, n + 1) == 0)
                        return false;
        return true;
}

/* compgen -W expands its words: nothing but plain names may get there. */
#define BASH_MACHINES "$(vore \"${conn[@]}\" list 2>/dev/null | cut -f1 | grep '^[A-Za-z0-9._-]*$')"

/* What an option's value is completed with. */
static const char *bash_value(const struct option_row *option) {
        switch (kind_of(option->arg)) {
        case WORD_FILE:
                return "mapfile -t COMPREPLY < <(compgen -f -- \"$cur\"); return";
        case WORD_VM:
                return "mapfile -t COMPREPLY < <(compgen -W \"" BASH_MACHINES "\" -- \"$cur\"); return";
        default:
                return "return";
        }
}

static const char *zsh_value(const struct option_row *option) {
        enum word_kind kind = kind_of(option->arg);

        return kind == WORD_FILE ? "_files" : kind == WORD_VM ? "_vore_machines" : " ";
}

static const char *fish_value(const struct option_row *option) {
        if (!option->arg)
                return "";
        return kind_of(option->arg) == WORD_VM ? " -x -a '(vore list 2>/dev/null | cut -f1)'" : " -r -F";
}

static void print_value_cases(void) {
        for (size_t i = 0; i < OPTION_COUNT; i++) {
                if (!options[i].arg)
                        continue;
                printf("        --%s", options[i].name);
                if (options[i].letter)
                        printf("|-%c", options[i].letter);
                printf(") %s ;;\n", bash_value(&options[i]));
        }
}

/* One case per verb: its options, and what its words are. */
static void print_verb_cases(void) {
        for (size_t i = 0; i < n_verbs; i++) {
                _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
                bool vm, file, shell;

                if (!verbs[i].run)
                        continue;
                kinds_of(&verbs[i], &vm, &file, &shell);
                add_options(&b, &verbs[i]);
                printf("        '%s'", verbs[i].name);
                if (verbs[i].alias)
                        printf("|'%s'", verbs[i].alias);
                printf(") opts='%s' vm=%d file=%d words='%s' ;;\n", b.data, vm, file,
                       shell ? "bash zsh fish" : "");
        }
        for (size_t i = 0; i < n_verbs; i++) {
                _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
                size_t n = strcspn(verbs[i].name, " ");

                if (!first_of_group(i))
                        continue;
                add_second_words(&b, verbs[i].name, n);
                printf("        '%.*s') words='%s' ;;\n", (int) n, verbs[i].name, b.data);
        }
}

static void print_group_pattern(void) {
        const char *between = "";

        for (size_t i = 0; i < n_verbs; i++)
                if (first_of_group(i)) {
                        printf("%s%.*s", between, (int) strcspn(verbs[i].name, " "), verbs[i].name);
                        between = "|";
                }
        for (size_t i = 0; i < n_verbs; i++)
                if (verbs[i].run && verbs[i].alias && strchr(verbs[i].alias, ' ') &&
                    strcspn(verbs[i].alias, " ") != strcspn(verbs[i].name, " "))
                        printf("|%.*s", (int) strcspn(verbs[i].alias, " "), verbs[i].alias);
}

static void print_value_options(void) {
        const char *between = "";

        for (size_t i = 0; i < OPTION_COUNT; i++)
                if (options[i].arg) {
                        printf("%s--%s", between, options[i].name);
                        if (options[i].letter)
                                printf("|-%c", options[i].letter);
                        between = "|";
                }
}

/* The same function serves zsh through its bashcompinit. */
static void print_bash(void) {
        _cleanup_strbuf_ struct strbuf first = STRBUF_INIT, global = STRBUF_INIT;

        add_first_words(&first, " ");
        add_options(&global, NULL);
        fputs("_vore() {\n"
              "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
              "    local verb='' opts='' words='' vm=0 file=0 i word\n"
              "    local -a conn=()\n"
              "    COMPREPLY=()\n"
              "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
              "        word=${COMP_WORDS[i]}\n"
              "        case $word in\n"
              "        -c|--conn) conn=(-c \"${COMP_WORDS[i+1]}\"); ((i++)) ;;\n        ",
              stdout);
        print_value_options();
        fputs(") ((i++)) ;;\n"
              "        -*) ;;\n"
              "        *)\n"
              "            case $verb in\n"
              "            '') verb=$word ;;\n"
              "            ",
              stdout);
        print_group_pattern();
        fputs(") verb=\"$verb $word\" ;;\n"
              "            esac ;;\n"
              "        esac\n"
              "    done\n"
              "    case $prev in\n",
              stdout);
        print_value_cases();
        printf("    esac\n"
               "    case $verb in\n"
               "        '') words='%s' opts='%s' ;;\n",
               first.data, global.data);
        print_verb_cases();
        fputs("    esac\n"
              "    [[ $cur == -* ]] && words=$opts vm=0 file=0\n"
              "    ((vm)) && words+=\" " BASH_MACHINES "\"\n"
              "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
              "    if ((file)); then\n"
              "        compopt -o filenames 2>/dev/null\n"
              "        mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- \"$cur\")\n"
              "    fi\n"
              "}\n",
              stdout);
}

/* In zsh a verb is a case of its own, so that its help shows beside it. */
static void print_zsh_words(const struct verb *verb) {
        bool vm, file, shell;

        kinds_of(verb, &vm, &file, &shell);
        if (vm)
                fputs(" '*:VM:_vore_machines'", stdout);
        else if (file)
                fputs(" '*:file:_files'", stdout);
        else if (shell)
                fputs(" '*:shell:(bash zsh fish)'", stdout);
}

static void print_zsh_options(uint32_t mask, bool global) {
        for (size_t i = 0; i < OPTION_COUNT; i++) {
                if (options[i].hidden || !(global ? options[i].global : (mask & OPT(i)) != 0))
                        continue;
                printf(" '%s--%s[", i == OPTION_CDROM ? "*" : "", options[i].name);
                print_quoted(options[i].help, ZSH_APOSTROPHE);
                fputs("]", stdout);
                if (options[i].arg)
                        printf(":%s:%s", options[i].arg, zsh_value(&options[i]));
                fputs("'", stdout);
        }
}

static void print_zsh(void) {
        fputs("#compdef vore\n"
              "_vore_machines() { local -a names=(${(f)\"$(vore list 2>/dev/null | cut -f1)\"}); compadd -a "
              "names; _files }\n"
              "_vore() {\n"
              "    local -a verbs=(\n",
              stdout);
        for (size_t i = 0; i < n_verbs; i++)
                if (verbs[i].run) {
                        printf("        '%s:", verbs[i].name);
                        print_quoted(verbs[i].help, ZSH_APOSTROPHE);
                        puts("'");
                }
        fputs("    )\n"
              "    local verb=${words[2]}\n"
              "    if ((CURRENT == 2)); then _describe verb verbs; return; fi\n"
              "    case $verb in\n    ",
              stdout);
        print_group_pattern();
        fputs(")\n"
              "        if ((CURRENT == 3)); then\n"
              "            compadd ${${(M)${verbs%%:*}:#$verb *}#$verb }; return\n"
              "        fi\n"
              "        verb=\"$verb ${words[3]}\"; shift words; ((CURRENT--)) ;;\n"
              "    esac\n"
              "    shift words; ((CURRENT--))\n"
              "    case $verb in\n",
              stdout);
        for (size_t i = 0; i < n_verbs; i++) {
                if (!verbs[i].run)
                        continue;
                printf("    '%s') _arguments", verbs[i].name);
                print_zsh_options(verbs[i].options, false);
                print_zsh_options(0, true);
                print_zsh_words(&verbs[i]);
                fputs(" ;;\n", stdout);
        }
        fputs("    esac\n}\ncompdef _vore vore\n", stdout);
}

/* when: the condition under which it is offered; NULL: always. */
static void print_fish_option(const struct option_row *option, const char *when) {
        fputs("complete -c vore", stdout);
        if (when)
                printf(" -n '%s'", when);
        printf(" -l %s", option->name);
        if (option->letter)
                printf(" -s %c", option->letter);
        printf("%s -d '", fish_value(option));
        print_quoted(option->help, FISH_APOSTROPHE);
        puts("'");
}

static void print_fish_verb(const struct verb *verb) {
        size_t n = strcspn(verb->name, " ");
        _cleanup_free_ char *first = strndup(verb->name, n);
        const char *second = verb->name[n] ? verb->name + n + 1 : NULL;
        _cleanup_free_ char *when =
                second ? xasprintf("__fish_seen_subcommand_from %s; and __fish_seen_subcommand_from %s",
                                   first, second) :
                         xasprintf("__fish_seen_subcommand_from %s", verb->name);
        bool vm, file, shell;

        kinds_of(verb, &vm, &file, &shell);
        if (second)
                printf("complete -c vore -n __fish_use_subcommand -a %s\n"
                       "complete -c vore -n '__fish_seen_subcommand_from %s' -a %s -d '",
                       first, first, second);
        else
                printf("complete -c vore -n __fish_use_subcommand -a %s -d '", first);
        print_quoted(verb->help, FISH_APOSTROPHE);
        puts("'");
        if (vm)
                printf("complete -c vore -n '%s' -a '(vore list 2>/dev/null | cut -f1)'\n", when);
        if (file)
                printf("complete -c vore -n '%s' -F\n", when);
        if (shell)
                printf("complete -c vore -n '%s' -a 'bash zsh fish'\n", when);
        for (size_t i = 0; i < OPTION_COUNT; i++)
                if ((verb->options & OPT(i)) && !options[i].hidden)
                        print_fish_option(&options[i], when);
}

static void print_fish(void) {
        puts("complete -c vore -f");
        for (size_t i = 0; i < OPTION_COUNT; i++)
                if (options[i].global && !options[i].hidden)
                        print_fish_option(&options[i], NULL);
        for (size_t i = 0; i < n_verbs; i++)
                if (verbs[i].run)
                        print_fish_verb(&verbs[i]);
}

int verb_completion(struct cli *c) {
        const char *shell = c->args->arg[0];

        if (str_eq(shell, "bash")) {
                print_bash();
                puts("complete -F _vore vore");
        } else if (str_eq(shell, "zsh")) {
                print_zsh();
        } else if (str_eq(shell, "fish")) {
                print_fish();
        } else {
                cli_fail("completion: \"%s\" is not known; bash, zsh or fish is wanted", shell);
                return EXIT_USAGE;
        }
        return EXIT_DONE;
}
