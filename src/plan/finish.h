/* The last part of the walk: what vored adds to the script's arguments, in two forms, and the plan as JSON.
 */
#pragma once

#include "plan/plan.h"

/* The QEMU binary: [qemu] binary, or qemu-system-<arch> from PATH; arch NULL: the host's. NULL: none. */
const char *finish_binary(struct arena *arena, const struct host *host, const struct settings *settings,
                          const char *arch);

/* What the script must see otherwise than the user wrote it: the SPICE socket that QEMU binds, and
 * global.uefi.default wherever any firmware was found. */
void finish_instance(const struct def *def, const struct host *host, const struct settings *settings,
                     const char *instance_dir, json_t *instance, json_t *global);

/* Fills plain, exact, files, reach, copies, allows, spice_link, console. */
int finish_argv(struct plan *p, const struct plan_request *req, const struct def *def,
                const struct script_result *result, const char *binary, struct error *err);

json_t *finish_to_json(const struct plan *p);
