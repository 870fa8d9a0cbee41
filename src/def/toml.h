/* TOML 1.0 text -> a tree of nodes with places, by toml++.
 *
 * The text is checked before the parser sees it (its recursion is as deep as the text is): at most
 * DEF_SIZE_MAX bytes of valid UTF-8 without control characters, keys of at most DEF_DEPTH_MAX parts, brackets
 * nested at most DEF_DEPTH_MAX deep, and what TOML 1.0 forbids although toml++ takes it. */
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

#include "schema/node.h"

/* 0 and the root table in *ret; or -EINVAL and exactly one error, with its place, in diags. Columns count
 * characters. The tree and its strings are arena's; children stand in the order of the text. */
int toml_parse(struct arena *arena, const char *text, size_t len, struct node **ret, struct diags *diags);

/* The part of toml_parse() that comes before the parser. */
int toml_precheck(const char *text, size_t len, struct diags *diags);

#ifdef __cplusplus
}
#endif
