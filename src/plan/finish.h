/* The last part of the walk: what vored adds to the script's arguments, in two forms, and the plan as JSON.
 */
#pragma once

#include "plan/plan.h"

/* The QEMU binary: [qemu] binary, or qemu-system-<arch> from PATH; arch NULL: the host's. NULL: none. */
const char *finish_binary(struct arena *arena, const struct host *host, const struct settings *settings,
                          const char *arch);

/* What the script sees, as new references: the definition, with the SPICE socket that QEMU binds instead of
 * what the user wrote; and the settings, with uefi.default wherever any firmware was found. */
json_t *finish_instance(const struct def *def, const char *instance_dir);
json_t *finish_global(const struct settings *settings, const struct host *host, const char *arch,
                      const char *chipset, struct arena *arena);

/* Fills plain, exact, files, reach, copies, allows, spice_link, console. */
int finish_argv(struct plan *p, const struct plan_request *req, const struct def *def,
                const struct script_result *result, const char *binary, struct error *err);

json_t *finish_to_json(const struct plan *p);
