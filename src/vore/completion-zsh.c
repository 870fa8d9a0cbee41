/* completion zsh: in zsh's own system, so that the help shows beside each word. */
#include "vore/completion.h"

#include <stdio.h>

/* Inside single quotes one is written by leaving them and coming back. */
static void print_quoted(const char *text) {
        for (; *text; text++)
                if (*text == '\'')
                        fputs("'\\''", stdout);
                else
                        putchar(*text);
}

/* What _arguments takes behind an option or for a word: ":message:action". */
static void print_action(const struct completed *c, const char *message) {
        printf(":%s:", message);
        if (c->vm)
                fputs(c->file ? "_vore_machines_or_files" : "_vore_machines", stdout);
        else if (c->file)
                fputs("_files", stdout);
        else if (c->choices)
                printf("(%s)", c->choices);
        else
                putchar(' ');
}

/* One spelling of an option, as a word of zsh. mark: "(-s --save)", which it excludes, or "*" if it may come
 * again. */
static void print_spelling(const struct option_row *option, const char *mark, const char *spelling) {
        printf(" '%s%s[", mark, spelling);
        print_quoted(option->help);
        putchar(']');
        if (option->arg) {
                struct completed c = completed_value(option);

                print_action(&c, option->arg);
        }
        putchar('\'');
}

static void print_options(uint32_t mask, bool global) {
        for (size_t i = 0; i < OPTION_COUNT; i++) {
                const struct option_row *o = &options[i];
                _cleanup_free_ char *mark = NULL, *letter = NULL, *name = NULL;

                if (o->hidden || !(global ? o->global : (mask & OPT(i)) != 0))
                        continue;
                mark = o->letter         ? xasprintf("(-%c --%s)", o->letter, o->name) :
                       i == OPTION_CDROM ? xstrdup("*") :
                                           xstrdup("");
                letter = xasprintf("-%c%s", o->letter, o->arg ? "+" : "");
                name = xasprintf("--%s%s", o->name, o->arg ? "=" : "");
                if (o->letter)
                        print_spelling(o, mark, letter);
                print_spelling(o, mark, name);
        }
}

/* name=( 'word:help' ... ) */
static void print_described(const struct completed_list *list, const char *indent) {
        printf("%sverbs=(\n", indent);
        for (size_t i = 0; i < list->n; i++) {
                _cleanup_free_ char *help = completed_help(list, i);

                printf("%s    '%s:", indent, list->items[i].text);
                print_quoted(help);
                puts("'");
        }
        printf("%s)\n", indent);
}

static void print_verb_functions(const struct completed_list *groups) {
        struct completed_list list;

        completed_first(&list);
        puts("_vore_first() {\n    local -a verbs");
        print_described(&list, "    ");
        puts("    _describe -t verbs verb verbs\n"
             "}\n"
             "_vore_second() {\n"
             "    local -a verbs\n"
             "    case $1 in");
        for (size_t i = 0; i < groups->n; i++) {
                completed_second(&list, groups->items[i].text);
                printf("    %s)\n", groups->items[i].text);
                print_described(&list, "        ");
                puts("        ;;");
        }
        puts("    esac\n"
             "    _describe -t verbs verb verbs\n"
             "}");
}

static void print_verb(const struct verb *verb) {
        struct completed c = completed_words(verb);

        printf("    '%s'", verb->name);
        if (verb->alias)
                printf("|'%s'", verb->alias);
        fputs(") _arguments -S $global", stdout);
        print_options(verb->options, false);
        if (c.verb) {
                fputs(" '1: :_vore_first' '2: :{_vore_second $line[1]}'", stdout);
        } else if (c.vm || c.file || c.choices) {
                fputs(" '*", stdout);
                print_action(&c, c.vm ? c.file ? "VM or file" : "VM" : c.file ? "file" : "word");
                putchar('\'');
        }
        fputs(" ;;\n", stdout);
}

static const char functions[] =
        "#compdef vore\n"
        "_vore_machines() {\n"
        "    local -a names=(${(f)\"$(vore $vore_conn list 2>/dev/null | cut -f1)\"})\n"
        "    compadd \"$@\" -a names\n"
        "}\n"
        "_vore_machines_or_files() {\n"
        "    _alternative 'machines:VM:_vore_machines' 'files:file:_files'\n"
        "}\n";

/* words[at] is the verb; what stands before it is taken off, so that _arguments sees the verb as a command.
 * The second word of a verb then counts as a part of the first. */
static const char scan_first[] = "    for ((i = 2; i < CURRENT; i++)); do\n"
                                 "        case $words[i] in\n"
                                 "        -c|--conn) vore_conn=(-c \"${(Q)words[i+1]}\") ;;\n"
                                 "        --conn=*) vore_conn=(-c \"${(Q)words[i]#*=}\") ;;\n"
                                 "        --) break ;;\n"
                                 "        esac\n"
                                 "    done\n"
                                 "    while ((at < CURRENT)) && [[ $words[at] == -* ]]; do\n"
                                 "        case $words[at] in\n"
                                 "        ";
static const char scan_rest[] = ") ((at += 2)) ;;\n"
                                "        *) ((at++)) ;;\n"
                                "        esac\n"
                                "    done\n"
                                "    if ((at >= CURRENT)); then\n"
                                "        _arguments -S $global '1: :_vore_first'\n"
                                "        return\n"
                                "    fi\n";

void completion_zsh(void) {
        struct completed_list groups;
        _cleanup_free_ char *pattern = NULL, *values = completed_value_options("|");

        completed_groups(&groups);
        pattern = completed_join(&groups, "|");
        fputs(functions, stdout);
        print_verb_functions(&groups);
        fputs("_vore() {\n"
              "    local verb i at=2\n"
              "    local -a vore_conn line\n"
              "    local -A opt_args\n"
              "    local -a global=(",
              stdout);
        print_options(0, true);
        printf(")\n%s%s%s", scan_first, values, scan_rest);
        printf("    words=(vore \"${(@)words[at,-1]}\")\n"
               "    ((CURRENT -= at - 2))\n"
               "    verb=$words[2]\n"
               "    case $verb in\n"
               "    %s)\n"
               "        if ((CURRENT == 3)); then\n"
               "            _vore_second $verb\n"
               "            return\n"
               "        fi\n"
               "        verb=\"$verb $words[3]\"\n"
               "        shift words\n"
               "        ((CURRENT--)) ;;\n"
               "    esac\n"
               "    shift words\n"
               "    ((CURRENT--))\n"
               "    case $verb in\n",
               pattern);
        for (size_t i = 0; i < n_verbs; i++)
                if (verbs[i].run)
                        print_verb(&verbs[i]);
        fputs("    *) return 1 ;;\n"
              "    esac\n"
              "}\n"
              /* Found in fpath, the whole file is the body of _vore at its first call; else it was sourced.
               */
              "if [[ $funcstack[1] = _vore ]]; then _vore \"$@\"; else compdef _vore vore; fi\n",
              stdout);
}
