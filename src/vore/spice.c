/* spice: an installed viewer, on the VM's socket. */
#include "base/str.h"
#include "vore/verbs.h"
#include "vore/viewer.h"

#include <unistd.h>

static bool is_spicy(const char *program) {
        const char *slash = strrchr(program, '/');

        return str_starts(slash ? slash + 1 : program, "spicy");
}

int verb_spice(struct cli *c) {
        static const char *const names[] = { "remote-viewer", "spicy", NULL };
        _cleanup_viewer_vm_ struct viewer_vm vm = { 0 };
        _cleanup_free_ char *program = NULL, *uri = NULL;
        int r = viewer_vm(c, &vm);

        if (r != EXIT_DONE)
                return r;
        const json_t *spice = viewer_section(&vm, "spice");
        const char *socket = json_get_str(spice, "socket_path", "");
        if (!json_get_bool(spice, "enabled", false))
                return cli_fail("%s has no SPICE: add \"spice\" to features of [machine], and start it again",
                                vm.name);
        r = viewer_program("VORE_SPICE_VIEWER", names,
                           "install one (Debian's packages are virt-viewer and spice-client-gtk)", &program);
        if (r == EXIT_DONE)
                r = viewer_may_open("the SPICE socket", socket, R_OK | W_OK);
        if (r != EXIT_DONE)
                return r;
        /* Those of spice-gtk take the address as an option, all others as an argument. */
        uri = xasprintf("%sspice+unix://%s", is_spicy(program) ? "--uri=" : "", socket);
        return viewer_exec((char *const[]){ program, uri, NULL });
}
