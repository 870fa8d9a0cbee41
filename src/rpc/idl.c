#include "rpc/idl.h"

#include "base/arena.h"
#include "base/str.h"

#include <ctype.h>
#include <errno.h>

#define DEPTH_MAX 16

struct parser {
        const char *p, *line_start;
        int line;
        struct arena *arena;
        struct idl *idl;
        struct idl_member *members; /* in the arena */
        size_t n_members, size_members;
        struct error *err;
};

static int fault(const struct parser *s, const char *what) {
        return error_set(s->err, -EINVAL, "interface description, line %d, column %d: %s", s->line,
                         (int) (s->p - s->line_start) + 1, what);
}

static void skip_blank(struct parser *s) {
        for (;; s->p++) {
                if (*s->p == '#')
                        s->p += strcspn(s->p, "\n");
                if (*s->p == '\n') {
                        s->line++;
                        s->line_start = s->p + 1;
                } else if (*s->p != ' ' && *s->p != '\t' && *s->p != '\r') {
                        return;
                }
        }
}

static bool take(struct parser *s, const char *token) {
        skip_blank(s);
        if (!str_starts(s->p, token))
                return false;
        s->p += strlen(token);
        return true;
}

static bool take_keyword(struct parser *s, const char *word) {
        size_t n = strlen(word);

        skip_blank(s);
        if (!str_starts(s->p, word) || isalnum((unsigned char) s->p[n]) || s->p[n] == '_')
                return false;
        s->p += n;
        return true;
}

static int need(struct parser *s, const char *token) {
        if (take(s, token))
                return 0;
        _cleanup_free_ char *what = xasprintf("expected \"%s\"", token);
        return fault(s, what);
}

/* [A-Z][A-Za-z0-9]* */
static int take_name(struct parser *s, const char **ret) {
        size_t n = 0;

        skip_blank(s);
        if (!isupper((unsigned char) *s->p))
                return fault(s, "expected a name that begins with a capital letter");
        while (isalnum((unsigned char) s->p[n]))
                n++;
        *ret = arena_strndup(s->arena, s->p, n);
        s->p += n;
        return 0;
}

/* [A-Za-z](_?[A-Za-z0-9])* */
static int take_field_name(struct parser *s, const char **ret) {
        size_t n = 0;

        skip_blank(s);
        if (!isalpha((unsigned char) *s->p))
                return fault(s, "expected the name of a field");
        while (isalnum((unsigned char) s->p[n]) || (s->p[n] == '_' && isalnum((unsigned char) s->p[n + 1])))
                n++;
        *ret = arena_strndup(s->arena, s->p, n);
        s->p += n;
        return 0;
}

/* Parts of letters, digits and inner dashes, joined by dots, at least two of them. */
static int take_interface_name(struct parser *s, const char **ret) {
        size_t n = 0, dots = 0;

        skip_blank(s);
        while (isalnum((unsigned char) s->p[n]) || s->p[n] == '-' || s->p[n] == '.') {
                bool edge = n == 0 || s->p[n - 1] == '.';

                if (s->p[n] == '.')
                        dots++;
                if ((edge && !isalnum((unsigned char) s->p[n])) || (s->p[n] == '.' && s->p[n - 1] == '-'))
                        return fault(s, "not the name of an interface");
                n++;
        }
        if (dots == 0 || !isalpha((unsigned char) *s->p) || !isalnum((unsigned char) s->p[n - 1]))
                return fault(s, "not the name of an interface");
        *ret = arena_strndup(s->arena, s->p, n);
        s->p += n;
        return 0;
}

static int take_type(struct parser *s, int depth, const struct idl_type **ret);

static bool has_field(const struct idl_field *fields, size_t n, const char *name) {
        for (size_t i = 0; i < n; i++)
                if (str_eq(fields[i].name, name))
                        return true;
        return false;
}

/* One "name: type", or one "name" of an enum; the first decides which of them all are. */
static int take_field(struct parser *s, int depth, struct idl_type *t, struct idl_field *ret) {
        int r = take_field_name(s, &ret->name);

        if (r < 0)
                return r;
        if (has_field(t->fields, t->n_fields, ret->name))
                return fault(s, "the same field a second time");
        bool typed = take(s, ":");
        if (t->n_fields == 0)
                t->kind = typed ? IDL_STRUCT : IDL_ENUM;
        if (typed != (t->kind == IDL_STRUCT))
                return fault(s, typed ? "a value of an enum has no type" : "expected \":\"");
        return typed ? take_type(s, depth + 1, &ret->type) : 0;
}

/* Behind "(": a struct or an enum. */
static int take_fields(struct parser *s, int depth, struct idl_type *t) {
        struct idl_field *fields = NULL;
        size_t size = 0;

        t->kind = IDL_STRUCT;
        if (take(s, ")"))
                return 0;
        do {
                struct idl_field field = { 0 };
                int r = take_field(s, depth, t, &field);

                if (r < 0)
                        return r;
                if (t->n_fields == size) {
                        size = size ? size * 2 : 8;
                        fields = arena_grow(s->arena, fields, t->n_fields, size, sizeof(*fields));
                }
                fields[t->n_fields++] = field;
                t->fields = fields;
        } while (take(s, ","));
        return need(s, ")");
}

static int take_element(struct parser *s, int depth, struct idl_type *t) {
        static const struct {
                const char *word;
                enum idl_kind kind;
        } simple[] = { { "bool", IDL_BOOL },
                       { "int", IDL_INT },
                       { "float", IDL_FLOAT },
                       { "string", IDL_STRING },
                       { "object", IDL_OBJECT } };

        if (take(s, "("))
                return take_fields(s, depth, t);
        for (size_t i = 0; i < ARRAY_SIZE(simple); i++)
                if (take_keyword(s, simple[i].word)) {
                        t->kind = simple[i].kind;
                        return 0;
                }
        if (!isupper((unsigned char) *s->p))
                return fault(s, "expected a type");
        t->kind = IDL_NAMED;
        return take_name(s, &t->name);
}

static int take_type(struct parser *s, int depth, const struct idl_type **ret) {
        struct idl_type *t = arena_new0(s->arena, struct idl_type, 1);

        if (depth > DEPTH_MAX)
                return fault(s, "types are nested too deep");
        *ret = t;
        t->optional = take(s, "?");
        if (t->optional && take(s, "?"))
                return fault(s, "optional twice");
        if (take(s, "[]"))
                t->kind = IDL_ARRAY;
        else if (take(s, "[string]"))
                t->kind = IDL_MAP;
        else
                return take_element(s, depth, t);
        return take_type(s, depth + 1, &t->element);
}

static int take_parens(struct parser *s, bool enum_ok, const struct idl_type **ret) {
        struct idl_type *t = arena_new0(s->arena, struct idl_type, 1);
        int r = need(s, "(");

        if (r < 0)
                return r;
        r = take_fields(s, 0, t);
        if (r < 0)
                return r;
        if (t->kind == IDL_ENUM && !enum_ok)
                return fault(s, "expected fields with types");
        *ret = t;
        return 0;
}

static int take_role(struct parser *s, enum idl_role *ret) {
        if (take_keyword(s, "type"))
                *ret = IDL_TYPE;
        else if (take_keyword(s, "method"))
                *ret = IDL_METHOD;
        else if (take_keyword(s, "error"))
                *ret = IDL_ERROR;
        else
                return fault(s, "expected type, method or error");
        return 0;
}

static int take_member(struct parser *s) {
        struct idl_member m = { 0 };
        int r = take_role(s, &m.role);

        if (r == 0)
                r = take_name(s, &m.name);
        for (size_t i = 0; r == 0 && i < s->n_members; i++)
                if (str_eq(s->members[i].name, m.name))
                        r = fault(s, "the same name a second time");
        if (r == 0)
                r = take_parens(s, m.role == IDL_TYPE, &m.in);
        if (r == 0 && m.role == IDL_METHOD)
                r = need(s, "->");
        if (r == 0 && m.role == IDL_METHOD)
                r = take_parens(s, false, &m.out);
        if (r < 0)
                return r;
        if (s->n_members == s->size_members) {
                s->size_members = s->size_members ? s->size_members * 2 : 32;
                s->members = arena_grow(s->arena, s->members, s->n_members, s->size_members, sizeof(m));
        }
        s->members[s->n_members++] = m;
        return 0;
}

/* Types may be used before they are declared: names find what they stand for at the end. */
static int resolve(const struct parser *s, struct idl_type *t) {
        if (t->kind == IDL_NAMED) {
                const struct idl_member *m = idl_find(s->idl, IDL_TYPE, t->name);

                if (!m)
                        return error_set(s->err, -EINVAL, "interface description: there is no type %s",
                                         t->name);
                t->element = m->in;
                return 0;
        }
        int r = t->element ? resolve(s, (struct idl_type *) t->element) : 0;
        for (size_t i = 0; r == 0 && t->kind == IDL_STRUCT && i < t->n_fields; i++)
                r = resolve(s, (struct idl_type *) t->fields[i].type);
        return r;
}

static int parse(struct parser *s) {
        int r = take_keyword(s, "interface") ? take_interface_name(s, &s->idl->name) :
                                               fault(s, "expected \"interface\"");

        for (skip_blank(s); r == 0 && *s->p; skip_blank(s))
                r = take_member(s);
        s->idl->members = s->members;
        s->idl->n_members = s->n_members;
        for (size_t i = 0; r == 0 && i < s->n_members; i++) {
                r = resolve(s, (struct idl_type *) s->members[i].in);
                if (r == 0 && s->members[i].out)
                        r = resolve(s, (struct idl_type *) s->members[i].out);
        }
        return r;
}

int idl_parse(const char *text, struct idl **ret, struct error *err) {
        struct arena *arena = arena_new();
        struct idl *idl = arena_new0(arena, struct idl, 1);
        struct parser s = {
                .p = text, .line_start = text, .line = 1, .arena = arena, .idl = idl, .err = err
        };
        int r;

        idl->arena = arena;
        r = parse(&s);
        if (r < 0) {
                arena_free(arena);
                return r;
        }
        *ret = idl;
        return 0;
}

void idl_free(struct idl *idl) {
        if (idl)
                arena_free(idl->arena);
}

const struct idl_member *idl_find(const struct idl *idl, enum idl_role role, const char *name) {
        for (size_t i = 0; i < idl->n_members; i++)
                if (idl->members[i].role == role && str_eq(idl->members[i].name, name))
                        return &idl->members[i];
        return NULL;
}
