#include "vore/help.h"

#include "vore/output.h"

#include <errno.h>

void help_synopsis(struct strbuf *b, const struct verb *verb) {
        strbuf_add(b, verb->name);
        if (*verb->args)
                strbuf_addf(b, " %s", verb->args);
        for (size_t i = 0; i < OPTION_COUNT; i++)
                if ((verb->options & OPT(i)) && !options[i].hidden)
                        strbuf_addf(b, " [--%s%s%s]%s", options[i].name, options[i].arg ? " " : "",
                                    options[i].arg ? options[i].arg : "", i == OPTION_CDROM ? "..." : "");
        if (verb->passes)
                strbuf_add(b, " [-- ARGS]");
}

static void option_spelling(struct strbuf *b, const struct option_row *o) {
        if (o->letter)
                strbuf_addf(b, "-%c, ", o->letter);
        strbuf_addf(b, "--%s%s%s", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
}

static void pad_to(struct strbuf *b, size_t start, size_t column) {
        do
                strbuf_add(b, " ");
        while (b->len - start < column);
}

static void list_options(struct strbuf *b, uint32_t wanted, bool global) {
        for (size_t i = 0; i < OPTION_COUNT; i++) {
                size_t start = b->len;

                if (options[i].hidden || !(global ? options[i].global : (wanted & OPT(i)) != 0))
                        continue;
                strbuf_add(b, "  ");
                option_spelling(b, &options[i]);
                pad_to(b, start, 24);
                strbuf_addf(b, "%s\n", options[i].help);
        }
}

static void all_verbs(struct strbuf *b) {
        strbuf_add(b, "vore: virtual machines with the host's own devices\n\n"
                      "  vore [-c SOCKET] VERB [ARGUMENTS] [OPTIONS]\n\nVerbs:\n");
        for (size_t i = 0; i < n_verbs; i++) {
                size_t start = b->len;

                if (!verbs[i].run)
                        continue;
                strbuf_addf(b, "  %s%s%s", verbs[i].name, *verbs[i].args ? " " : "", verbs[i].args);
                pad_to(b, start, 24);
                strbuf_addf(b, "%s\n", verbs[i].help);
        }
        strbuf_add(b, "\nNot supported by this version:");
        for (size_t i = 0, n = 0; i < n_verbs; i++)
                if (!verbs[i].run)
                        strbuf_addf(b, "%s %s", n++ ? "," : "", verbs[i].name);
        strbuf_add(b, "\n\nOptions of every verb:\n");
        list_options(b, 0, true);
        strbuf_add(b, "\nNAME may be left out when only one VM fits. vore VERB --help says more.\n"
                      "Exit status: 0 done, 1 failed, 2 wrong usage, 3 no daemon or no permission.\n");
}

static void one_verb(struct strbuf *b, const struct verb *verb) {
        strbuf_add(b, "vore ");
        help_synopsis(b, verb);
        strbuf_addf(b, "\n\n%c%s.\n", verb->help[0] - ('a' <= verb->help[0] && verb->help[0] <= 'z' ? 32 : 0),
                    verb->help + 1);
        if (!verb->run)
                strbuf_add(b, "Not supported by this version.\n");
        if (verb->more)
                strbuf_addf(b, "%s\n", verb->more);
        if (verb->alias)
                strbuf_addf(b, "Also: vore %s\n", verb->alias);
        strbuf_add(b, "\nOptions:\n");
        list_options(b, verb->options, false);
        list_options(b, 0, true);
}

int help_print(struct cli *c, const struct verb *verb) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

        if (verb)
                one_verb(&b, verb);
        else
                all_verbs(&b);
        fputs(b.data, stdout);
        return EXIT_DONE;
}

/* scdoc(5): what it would take for markup gets a backslash. */
static void scdoc_text(struct strbuf *b, const char *s) {
        for (; *s; s++) {
                if (strchr("\\*_[]#|`~<", *s))
                        strbuf_add(b, "\\");
                strbuf_addn(b, s, 1);
        }
}

static void man_option(struct strbuf *b, const struct option_row *o) {
        strbuf_add(b, "*");
        if (o->letter)
                strbuf_addf(b, "-%c*, *", o->letter);
        strbuf_addf(b, "--%s*", o->name);
        if (o->arg)
                strbuf_addf(b, " _%s_", o->arg);
        strbuf_add(b, "\n\t");
        scdoc_text(b, o->help);
        strbuf_add(b, ".\n\n");
}

static void man_verb(struct strbuf *b, const struct verb *verb) {
        _cleanup_strbuf_ struct strbuf synopsis = STRBUF_INIT;

        help_synopsis(&synopsis, verb);
        strbuf_addf(b, "## %s\n\n", verb->name);
        strbuf_add(b, "*vore* ");
        scdoc_text(b, synopsis.data);
        strbuf_add(b, "\n\n");
        if (verb->alias)
                strbuf_addf(b, "Also *vore %s*.\n\n", verb->alias);
        strbuf_addf(b, "%c", verb->help[0] - ('a' <= verb->help[0] && verb->help[0] <= 'z' ? 32 : 0));
        scdoc_text(b, verb->help + 1);
        strbuf_add(b, ".");
        if (verb->more) {
                strbuf_add(b, " ");
                scdoc_text(b, verb->more);
        }
        strbuf_addf(b, "%s\n\n", verb->run ? "" : " Not supported by this version.");
        for (size_t i = 0; i < OPTION_COUNT; i++)
                if ((verb->options & OPT(i)) && !options[i].hidden)
                        man_option(b, &options[i]);
}

/* The sections that the page in man/ takes in: what the rows say. */
static void man_page(struct strbuf *b) {
        strbuf_add(b, "# VERBS\n\n");
        for (size_t i = 0; i < n_verbs; i++)
                man_verb(b, &verbs[i]);
        strbuf_add(b, "# OPTIONS\n\nEvery verb takes these, before or after it:\n\n");
        for (size_t i = 0; i < OPTION_COUNT; i++)
                if (options[i].global && !options[i].hidden)
                        man_option(b, &options[i]);
}

int verb_help(struct cli *c) {
        const char *first = c->args->arg[0], *second = c->args->arg[1];
        _cleanup_free_ char *name = NULL;
        const struct verb *verb = NULL;

        if (args_has(c->args, OPTION_MAN)) {
                _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

                man_page(&b);
                fputs(b.data, stdout);
                return EXIT_DONE;
        }
        if (first) {
                _cleanup_error_ struct error err = ERROR_INIT;

                name = xasprintf("%s%s%s", first, second ? " " : "", second ? second : "");
                verb = verb_find(name);
                if (!verb) {
                        (void) args_unknown_verb(first, second, &err);
                        cli_fail("%s", error_text(&err));
                        return EXIT_USAGE;
                }
        }
        return help_print(c, verb);
}
