/* Which VM is meant when NAME is left out. Pure, over the array that List answers. */
#pragma once

#include "base/json.h"
#include "base/str.h"
#include "vore/output.h"
#include "vore/verbs.h"

/* Of the states that vore(1) names. */
bool state_runs(const char *state);  /* starting, running, paused, stopping */
bool state_holds(const char *state); /* those and prepared: there is something to give back */
enum output_color state_color(const char *state);

/* The name of the only one that fits (owned by the caller). -ENOENT for none, -EEXIST for several: then
 * *ret_text has what to print, a sentence and a list, to be freed by the caller. */
int pick_name(const json_t *machines, enum need need, const char *verb, char **ret, char **ret_text);
