/* What the rows of verbs.c say, as text: --help, and the source of the man page vore(1). */
#pragma once

#include "base/str.h"
#include "vore/cli.h"

/* verb NULL: all of them. Gives an exit code. */
int help_print(struct cli *c, const struct verb *verb);

/* "stop [NAME] [--all] [--timeout SECONDS] [--force]" */
void help_synopsis(struct strbuf *b, const struct verb *verb);
