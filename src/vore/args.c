#include "vore/args.h"

#include "base/str.h"

#include <errno.h>

bool args_word(const struct verb *verb, size_t index, struct args_word *ret) {
        const char *p = verb->args;
        size_t n;

        for (;; index--) {
                p += strspn(p, " ");
                if (!*p)
                        return false;
                if (index == 0)
                        break;
                p += strcspn(p, " ");
        }
        n = strcspn(p, " ");
        ret->optional = *p == '[';
        snprintf(ret->name, sizeof(ret->name), "%.*s", (int) (ret->optional ? n - 2 : n),
                 ret->optional ? p + 1 : p);
        return true;
}

static bool option_allowed(const struct verb *verb, size_t id) {
        return options[id].global || (verb && (verb->options & OPT(id)));
}

static int unknown_option(const struct verb *verb, const char *word, struct error *err) {
        size_t len = strcspn(word + 2, "=");
        _cleanup_free_ char *name = strndup(word + 2, len);
        const char *best = NULL;
        unsigned best_distance = 3;

        for (size_t i = 0; name && i < OPTION_COUNT; i++)
                if (option_allowed(verb, i) && !options[i].hidden &&
                    str_distance(name, options[i].name) < best_distance) {
                        best = options[i].name;
                        best_distance = str_distance(name, best);
                }
        if (best)
                return error_set(err, -EINVAL, "unknown option %.*s: did you mean --%s?", (int) len + 2, word,
                                 best);
        return error_set(err, -EINVAL, "unknown option %.*s: see vore %s%s--help", (int) len + 2, word,
                         verb ? verb->name : "", verb ? " " : "");
}

static void take(struct args *a, size_t id, const char *value) {
        a->given |= OPT(id);
        a->value[id] = value;
        if (id == OPTION_CDROM) {
                a->cdroms = xrealloc(a->cdroms, a->n_cdroms + 1, sizeof(*a->cdroms));
                a->cdroms[a->n_cdroms++] = value;
        }
}

/* The row of that name which the verb takes; else any of that name; else OPTION_COUNT. */
static size_t find_option(const struct verb *verb, const char *name, size_t len) {
        size_t found = OPTION_COUNT;

        for (size_t i = 0; i < OPTION_COUNT; i++) {
                if (strlen(options[i].name) != len || strncmp(options[i].name, name, len) != 0)
                        continue;
                if (option_allowed(verb, i))
                        return i;
                found = i;
        }
        return found;
}

/* --name, --name=value, --name value. *i is left at the last word that was used. */
static int long_option(struct args *a, int argc, char *const argv[], int *i, struct error *err) {
        const char *word = argv[*i], *name = word + 2, *equals = strchr(name, '=');
        size_t len = equals ? (size_t) (equals - name) : strlen(name), id = find_option(a->verb, name, len);

        if (id == OPTION_COUNT)
                return unknown_option(a->verb, word, err);
        if (!option_allowed(a->verb, id))
                return a->verb ? error_set(err, -EINVAL, "%s takes no option --%s", a->verb->name,
                                           options[id].name) :
                                 error_set(err, -EINVAL, "--%s belongs behind a verb", options[id].name);
        if (!options[id].arg && equals)
                return error_set(err, -EINVAL, "--%s takes no value", options[id].name);
        if (!options[id].arg || equals) {
                take(a, id, equals ? equals + 1 : NULL);
                return 0;
        }
        if (*i + 1 >= argc)
                return error_set(err, -EINVAL, "--%s needs a value: --%s %s", options[id].name,
                                 options[id].name, options[id].arg);
        take(a, id, argv[++*i]);
        return 0;
}

/* -qf, -c SOCKET, -cSOCKET. */
static int short_options(struct args *a, int argc, char *const argv[], int *i, struct error *err) {
        for (const char *p = argv[*i] + 1; *p; p++) {
                size_t id = 0;

                while (id < OPTION_COUNT && !(options[id].letter == *p && option_allowed(a->verb, id)))
                        id++;
                if (id == OPTION_COUNT)
                        return error_set(err, -EINVAL, "unknown option -%c: see vore %s%s--help", *p,
                                         a->verb ? a->verb->name : "", a->verb ? " " : "");
                if (!options[id].arg) {
                        take(a, id, NULL);
                        continue;
                }
                if (p[1])
                        take(a, id, p + 1 + (p[1] == '='));
                else if (*i + 1 < argc)
                        take(a, id, argv[++*i]);
                else
                        return error_set(err, -EINVAL, "-%c needs a value: -%c %s", *p, *p, options[id].arg);
                break;
        }
        return 0;
}

int args_unknown_verb(const char *word, const char *second, struct error *err) {
        _cleanup_free_ char *both = xasprintf("%s%s%s", word, second ? " " : "", second ? second : "");
        const char *best = verb_nearest(both);

        if (!best && !verb_is_group(word))
                best = verb_nearest(word);
        if (verb_is_group(word)) {
                _cleanup_strbuf_ struct strbuf list = STRBUF_INIT;
                size_t n = strlen(word);

                for (size_t i = 0; i < n_verbs; i++) {
                        const char *name = verbs[i].name;

                        if (strncmp(name, word, n) != 0 || name[n] != ' ')
                                name = verbs[i].alias;
                        if (name && strncmp(name, word, n) == 0 && name[n] == ' ')
                                strbuf_addf(&list, "%s%s", list.len ? ", " : "", name);
                }
                return second ? error_set(err, -EINVAL, "unknown verb \"%s\"%s%s%s; there are: %s", both,
                                          best ? ": did you mean \"" : "", best ? best : "",
                                          best ? "\"?" : "", list.data) :
                                error_set(err, -EINVAL, "\"%s\" needs a second word; there are: %s", word,
                                          list.data);
        }
        if (best)
                return error_set(err, -EINVAL, "unknown verb \"%s\": did you mean \"%s\"?", word, best);
        return error_set(err, -EINVAL, "unknown verb \"%s\": vore --help lists them", word);
}

/* The verb that begins at argv[*i]; *i is left at its last word. */
static int find_verb(struct args *a, int argc, char *const argv[], int *i, struct error *err) {
        const char *word = argv[*i], *second = *i + 1 < argc && argv[*i + 1][0] != '-' ? argv[*i + 1] : NULL;

        if (second && verb_is_group(word)) {
                _cleanup_free_ char *both = xasprintf("%s %s", word, second);

                a->verb = verb_find(both);
                if (a->verb) {
                        ++*i;
                        return 0;
                }
        }
        a->verb = verb_find(word);
        return a->verb ? 0 : args_unknown_verb(word, second, err);
}

/* Words go to arguments from left to right; one that may be left out gets one only if enough words are there
 * for those that may not. */
static int assign(struct args *a, char *const *words, size_t n, struct error *err) {
        struct args_word w;
        size_t required = 0, next = 0;

        for (size_t i = 0; args_word(a->verb, i, &w); i++)
                required += !w.optional;
        for (size_t i = 0; args_word(a->verb, i, &w); i++) {
                if (w.optional && n - next <= required)
                        continue;
                if (next == n)
                        return error_set(err, -EINVAL, "%s: %s is missing: see vore %s --help", a->verb->name,
                                         w.name, a->verb->name);
                a->arg[i] = words[next++];
                required -= !w.optional;
        }
        if (next < n)
                return error_set(err, -EINVAL, "%s: \"%s\" is one argument too many: see vore %s --help",
                                 a->verb->name, words[next], a->verb->name);
        return 0;
}

/* What a verb that is not supported yet would take is not known: only the global options that come first
 * count. */
static int parse_words(struct args *a, int argc, char *const argv[], char **words, size_t *n,
                       struct error *err) {
        for (int i = 1; i < argc; i++) {
                const char *word = argv[i];
                int r = 0;

                if (str_eq(word, "--") && a->verb && a->verb->passes) {
                        a->rest = argv + i + 1;
                        a->n_rest = (size_t) (argc - i - 1);
                        break;
                }
                if (str_eq(word, "--")) {
                        while (++i < argc)
                                words[(*n)++] = argv[i];
                        break;
                }
                if (a->verb && !a->verb->run && word[0] == '-' && !str_eq(word, "--help") &&
                    !str_eq(word, "-h"))
                        continue;
                if (str_starts(word, "--"))
                        r = long_option(a, argc, argv, &i, err);
                else if (word[0] == '-' && word[1])
                        r = short_options(a, argc, argv, &i, err);
                else if (!a->verb)
                        r = find_verb(a, argc, argv, &i, err);
                else
                        words[(*n)++] = argv[i];
                if (r < 0 || args_has(a, OPTION_HELP))
                        return r;
        }
        return 0;
}

/* An empty variable of a script, mostly; none of them can do with it. */
static int values_check(const struct args *a, struct error *err) {
        for (size_t id = 0; id < OPTION_COUNT; id++)
                if (args_has(a, id) && options[id].arg && str_empty(a->value[id]))
                        return error_set(err, -EINVAL, "--%s needs a value: --%s %s", options[id].name,
                                         options[id].name, options[id].arg);
        return 0;
}

static bool help_wanted(int argc, char *const argv[]) {
        for (int i = 1; i < argc && !str_eq(argv[i], "--"); i++)
                if (str_eq(argv[i], "--help") || str_eq(argv[i], "-h"))
                        return true;
        return false;
}

int args_parse(int argc, char *const argv[], struct args *ret, struct error *err) {
        _cleanup_free_ char **words = xcalloc((size_t) MAX(argc, 1), sizeof(char *));
        struct args a = { 0 };
        size_t n = 0;
        int r = parse_words(&a, argc, argv, words, &n, err);

        if (r < 0 && help_wanted(argc, argv)) {
                /* "vore disk --help": no verb, but a plain wish. */
                error_done(err);
                a.given = OPT(OPTION_HELP);
                r = 0;
        }
        if (r == 0 && !args_has(&a, OPTION_HELP) && !args_has(&a, OPTION_VERSION)) {
                if (!a.verb)
                        r = error_set(err, -EINVAL, "a verb is missing: vore --help lists them");
                else
                        r = values_check(&a, err);
                if (r == 0 && a.verb->run)
                        r = assign(&a, words, n, err);
        }
        if (r < 0) {
                args_done(&a);
                return r;
        }
        *ret = a;
        return 0;
}

void args_done(struct args *a) {
        free(a->cdroms);
        *a = (struct args){ 0 };
}
