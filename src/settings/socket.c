/* Apart from the reader of vored.toml, so that the command line, which asks for nothing else, need not load
 * the C++ library behind it. */
#include "settings/internal.h"

const char *settings_session_socket(struct arena *arena) {
        return arena_printf(arena, "%s/vore/vored.sock", xdg_runtime_dir(arena));
}

const char *settings_system_socket(void) {
        return "/run/vore/vored.sock";
}
