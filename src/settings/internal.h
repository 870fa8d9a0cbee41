/* What the parts of settings/ share. */
#pragma once

#include "settings/settings.h"

/* Folders of this user, absolute, without vore's own part: the XDG variable (absolute ones only, as the XDG
 * Base Directory Specification says), else the fallback in the home folder; runtime: /run/user/UID, else
 * /tmp/vore-UID. */
const char *xdg_config_home(struct arena *arena);
const char *xdg_state_home(struct arena *arena);
const char *xdg_cache_home(struct arena *arena);
const char *xdg_runtime_dir(struct arena *arena);

/* Paths of options count from the current folder. */
int settings_absolute(struct arena *arena, const char *path, const char **ret, struct error *err);

/* What is not given gets the mode's default; then options, which beat the file. */
int settings_fill(struct arena *arena, struct settings *s, const struct settings_options *o,
                  struct error *err);
/* The rules of vored.toml; what follows from other keys. */
void settings_rules(struct settings *s, const char *directory, struct diags *diags);
