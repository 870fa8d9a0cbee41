/* Varlink errors -> a sentence that says what was wanted, what was found and what to type next; faults of a
 * definition -> lines. All on stderr. */
#pragma once

#include "vore/cli.h"

/* error without the interface's prefix; params are its parameters. Gives the exit code. */
int errors_print(struct cli *c, const char *method, const char *error, const json_t *params);

/* The sentence for any error but InvalidDefinition. Owned by the caller. socket: who said it. */
char *errors_text(const struct verb *verb, const char *socket, const char *method, const char *error,
                  const json_t *params);

/* Prints faults (an array as `check --json` prints it; NULL is fine). True if there are errors among them. */
bool faults_print(struct cli *c, const json_t *faults);
/* Those of faults that are not in known. New reference. */
json_t *faults_without(const json_t *faults, const json_t *known);
bool faults_have_error(const json_t *faults);
