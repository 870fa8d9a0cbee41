/* The only C++ of the project: toml++ without exceptions, in this one file. Errors are values, and what it
 * takes for impossible is no reason to end the daemon. */
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#define TOML_ENABLE_WINDOWS_COMPAT 0
#define TOML_UNRELEASED_FEATURES 0
#define TOML_ASSERT(expr) static_cast<void>(0)
#define TOML_ASSERT_ASSUME(expr) static_cast<void>(0)
#include <toml++/toml.h>

#include "def/toml.h"

namespace {

loc place(const toml::source_position &p) {
        return loc{ p.line, p.column };
}

const char *copy(arena *a, std::string_view text) {
        return arena_strndup(a, text.data(), text.size());
}

bool before(const loc &a, const loc &b) {
        return a.line != b.line ? a.line < b.line : a.column < b.column;
}

/* toml++ keeps tables sorted by name; people think in the order of the file. */
node *merge(node *a, node *b) {
        node head{}, *tail = &head;

        while (a && b) {
                node *&least = before(b->key_loc, a->key_loc) ? b : a;

                tail->next = least;
                tail = least;
                least = least->next;
        }
        tail->next = a ? a : b;
        return head.next;
}

node *sorted(node *list) {
        node *slow = list, *fast = list ? list->next : nullptr;

        if (!fast)
                return list;
        while (fast && fast->next) {
                slow = slow->next;
                fast = fast->next->next;
        }

        node *rest = slow->next;

        slow->next = nullptr;
        return merge(sorted(list), sorted(rest));
}

/* As deep as the text is nested, which toml_precheck() has bounded. */
node *convert(arena *a, const toml::node &from) {
        node *n = static_cast<node *>(arena_alloc(a, sizeof(node)));
        node **tail = &n->first;

        n->loc = place(from.source().begin);
        if (const auto *table = from.as_table()) {
                n->type = NODE_TABLE;
                for (auto &&[key, value] : *table) {
                        node *child = convert(a, value);

                        child->key = copy(a, key.str());
                        child->key_loc = place(key.source().begin);
                        *tail = child;
                        tail = &child->next;
                }
                n->first = sorted(n->first);
        } else if (const auto *array = from.as_array()) {
                n->type = NODE_ARRAY;
                for (auto &&value : *array) {
                        *tail = convert(a, value);
                        tail = &(*tail)->next;
                }
        } else if (const auto *string = from.as_string()) {
                n->type = NODE_STRING;
                n->string.data = copy(a, string->get());
                n->string.len = string->get().size();
        } else if (const auto *integer = from.as_integer()) {
                n->type = NODE_INT;
                n->integer = integer->get();
        } else if (const auto *number = from.as_floating_point()) {
                n->type = NODE_FLOAT;
                n->number = number->get();
        } else if (const auto *boolean = from.as_boolean()) {
                n->type = NODE_BOOL;
                n->boolean = boolean->get();
        } else
                n->type = NODE_DATETIME;
        return n;
}

} /* namespace */

int toml_parse(struct arena *arena, const char *text, size_t len, struct node **ret, struct diags *diags) {
        int r = toml_precheck(text, len, diags);

        if (r < 0)
                return r;

        toml::parse_result result = toml::parse(std::string_view(text, len));

        if (!result) {
                const toml::parse_error &e = result.error();
                std::string_view why = e.description();

                diag_error(diags, place(e.source().begin), "", nullptr, "%.*s", static_cast<int>(why.size()),
                           why.data());
                return -EINVAL;
        }
        *ret = convert(arena, result.table());
        return 0;
}
