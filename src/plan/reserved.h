/* Which devices of this host the saved definitions reserve. Chosen as the walk of a start chooses them. */
#pragma once

#include "settings/settings.h"
#include "base/json.h"

struct plan_reserved_request {
        const struct settings *settings;
        const char *folder; /* of the saved definitions: NAME.toml */
};

/* A work_fn; arg is a struct plan_reserved_request. Result: an array, one for each definition that reserves
 * anything, in the order of the names: {name, devices (as claim_to_json() gives them, those of `group` too),
 * problems: sentences about what cannot be reserved}. Of a file that cannot be read, or is no definition of
 * its name, nobody knows what it reserves: {name, unknown: a sentence that says why, devices: [], problems:
 * []}. */
int plan_reserved_work(void *request, int report_fd, json_t **ret, struct error *err);
