/* A completed definition as text that reads like the definition file. Pure. */
#pragma once

#include "base/json.h"
#include "base/str.h"

/* Sections in the order of the object: [machine], [[disk]], …; keys in kebab-case, values as TOML writes
 * them. With origin each value is {value, origin, where} and gets a comment "# default", "# file: line 3".
 * color: dims the comments. What would disturb a terminal is written as TOML's own escapes. */
void show_text(struct strbuf *b, const json_t *definition, bool color);
