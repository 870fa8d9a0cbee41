/* Options that scripts of the first vore use and that newer QEMU does not have. */
#pragma once

#include "script/script.h"

/* Rewrites r->argv for this version of QEMU ("7.2.22"; "" or NULL: unknown, then only what no QEMU under
 * vored accepts), with one warning in r->warnings for each option that was rewritten. */
void gone_rewrite(struct script_result *r, const char *version);
