/* completion bash. */
#include "vore/completion.h"

#include <stdio.h>

/* compgen -W expands its words: nothing but plain names may get there. */
#define MACHINES "$(vore \"${conn[@]}\" list 2>/dev/null | cut -f1 | grep '^[A-Za-z0-9._-]*$')"
/* A folder gets a slash and no blank. */
#define FILES_LOOK_SO "compopt -o filenames 2>/dev/null"

static void add_options(struct strbuf *b, const struct verb *verb) {
        for (size_t i = 0; i < OPTION_COUNT; i++)
                if (!options[i].hidden && (verb ? (verb->options & OPT(i)) != 0 : options[i].global))
                        strbuf_addf(b, " --%s", options[i].name);
}

static void print_value(const struct option_row *option) {
        struct completed c = completed_value(option);

        printf("    --%s", option->name);
        if (option->letter)
                printf("|-%c", option->letter);
        fputs(") ", stdout);
        if (c.file)
                fputs(FILES_LOOK_SO "; mapfile -t COMPREPLY < <(compgen -f -- \"$cur\"); ", stdout);
        else if (c.choices || c.vm)
                printf("mapfile -t COMPREPLY < <(compgen -W \"%s\" -- \"$cur\"); ",
                       c.choices ? c.choices : MACHINES);
        fputs("return ;;\n", stdout);
}

/* The options of a verb, and what its words are. */
static void print_verb(const struct verb *verb) {
        struct completed c = completed_words(verb);
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

        if (c.verb)
                return; /* its words are cases of their own */
        add_options(&b, verb);
        printf("    '%s'", verb->name);
        if (verb->alias)
                printf("|'%s'", verb->alias);
        fputs(")", stdout);
        if (b.len)
                printf(" opts+='%s'", b.data);
        if (c.choices)
                printf(" words='%s'", c.choices);
        printf("%s%s%s ;;\n", c.vm ? " vm=1" : "", c.file ? " file=1" : "", verb->passes ? " passes=1" : "");
}

/* verb is what stands before the cursor; behind "help" that is "help" and the words of another. */
static void print_words(void) {
        struct completed_list list;
        _cleanup_free_ char *first = NULL;

        completed_first(&list);
        first = completed_join(&list, " ");
        printf("    ''|help) words='%s' ;;\n", first);
        completed_groups(&list);
        for (size_t i = 0; i < list.n; i++) {
                struct completed_list second;
                _cleanup_free_ char *words = NULL;

                completed_second(&second, list.items[i].text);
                words = completed_join(&second, " ");
                printf("    %s|'help %s') words='%s' ;;\n", list.items[i].text, list.items[i].text, words);
        }
        for (size_t i = 0; i < n_verbs; i++)
                if (verbs[i].run)
                        print_verb(&verbs[i]);
}

/* Readline makes three words of --option=value. */
static void print_scan(void) {
        struct completed_list list;
        _cleanup_free_ char *values = completed_value_options("|"), *groups = NULL;

        completed_groups(&list);
        groups = completed_join(&list, "|");
        printf("    for ((i = 1; i < COMP_CWORD; i++)); do\n"
               "        word=${COMP_WORDS[i]}\n"
               "        case $word in\n"
               "        %s)\n"
               "            [[ ${COMP_WORDS[i+1]} == = ]] && ((i++))\n"
               "            ((i++))\n"
               "            [[ $word == -c || $word == --conn ]] && conn=(-c \"${COMP_WORDS[i]}\") ;;\n"
               "        --conn=*) conn=(-c \"${word#*=}\") ;;\n"
               "        --) rest=1; break ;;\n"
               "        -*) ;;\n"
               "        *)\n"
               "            case $verb in\n"
               "            '') verb=$word ;;\n"
               "            %s|help|'help '*) verb=\"$verb $word\" ;;\n"
               "            esac ;;\n"
               "        esac\n"
               "    done\n",
               values, groups);
}

void completion_bash(void) {
        _cleanup_strbuf_ struct strbuf global = STRBUF_INIT;

        add_options(&global, NULL);
        printf("_vore() {\n"
               "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
               "    local verb='' opts='%s' words='' vm=0 file=0 passes=0 rest=0 i word\n"
               "    local -a conn=()\n"
               "    COMPREPLY=()\n"
               "    if [[ $cur == = ]]; then\n"
               "        cur=''\n"
               "    elif [[ $prev == = ]]; then\n"
               "        prev=${COMP_WORDS[COMP_CWORD-2]}\n"
               "    fi\n",
               global.data);
        print_scan();
        fputs("    ((rest)) || case $prev in\n", stdout);
        for (size_t i = 0; i < OPTION_COUNT; i++)
                if (options[i].arg)
                        print_value(&options[i]);
        fputs("    esac\n"
              "    case $verb in\n",
              stdout);
        print_words();
        fputs("    esac\n"
              "    if ((rest)); then\n"
              "        ((passes)) && words='' vm=0 file=1\n"
              "    elif [[ $cur == -* ]]; then\n"
              "        words=$opts vm=0 file=0\n"
              "    fi\n"
              "    ((vm)) && words+=\" " MACHINES "\"\n"
              "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
              "    if ((file)); then\n"
              "        " FILES_LOOK_SO "\n"
              "        mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- \"$cur\")\n"
              "    fi\n"
              "}\n"
              "complete -F _vore vore\n",
              stdout);
}
