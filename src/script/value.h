/* Lua values <-> JSON. */
#pragma once

#include <lua.h>

#include "base/json.h"

enum { VALUE_DEPTH_MAX = 32, VALUE_NODES_MAX = 100 * 1000, VALUE_BYTES_MAX = 1024 * 1024 };

/* A table with the keys 1..n is an array, any other an object (an empty one too), whose members come out in a
 * fixed order: driver, qom-type, type, id, node-name, then by name. Numbers with an integral value become
 * integers. Bounded by the limits above. Never raises, calls no metamethod; -EINVAL names what JSON has no
 * form for, and where: "file.cache". */
int value_to_json(lua_State *L, int index, json_t **ret, struct error *err);

/* Pushes it: integers stay integers, null is nil. */
void value_push(lua_State *L, const json_t *j);
