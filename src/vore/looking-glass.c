/* looking-glass: its client, on the VM's memory and SPICE socket. Only options that all its versions have are
 * passed: -f, -c and -p (B6, B7 and what comes after: doc/usage.rst, doc/options.rst), and spice:enable. */
#include "base/str.h"
#include "vore/verbs.h"
#include "vore/viewer.h"

#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

/* The client refuses root in its own words, after it has made a mess in root's home. */
static int refuse_root(const struct viewer_vm *vm, const char *memory) {
        const char *sudo = getenv("SUDO_USER"), *who = str_empty(sudo) ? "an ordinary user" : sudo;
        const struct group *group;
        struct stat st;

        if (geteuid() != 0)
                return EXIT_DONE;
        group = stat(memory, &st) == 0 && st.st_gid != 0 ? getgrgid(st.st_gid) : NULL;
        return cli_fail("Looking Glass does not run as root: run vore looking-glass %s as %s%s%s", vm->name,
                        who, group ? ", who must be in the group " : "", group ? group->gr_name : "");
}

static int run(struct cli *c, char *program, const char *memory, const char *socket) {
        const struct args *a = c->args;
        _cleanup_free_ char **argv = xcalloc(a->n_rest + 8, sizeof(*argv));
        size_t n = 0;

        argv[n++] = program;
        argv[n++] = (char *) "-f";
        argv[n++] = (char *) memory;
        if (socket) {
                argv[n++] = (char *) "-c";
                argv[n++] = (char *) socket;
                argv[n++] = (char *) "-p";
                argv[n++] = (char *) "0"; /* a Unix socket */
        } else
                argv[n++] = (char *) "spice:enable=no";
        /* Last, so that they win. */
        for (size_t i = 0; i < a->n_rest; i++)
                argv[n++] = a->rest[i];
        return viewer_exec(argv);
}

int verb_looking_glass(struct cli *c) {
        static const char *const names[] = { "looking-glass-client", NULL };
        _cleanup_viewer_vm_ struct viewer_vm vm = { 0 };
        _cleanup_free_ char *program = NULL;
        int r = viewer_vm(c, &vm);

        if (r != EXIT_DONE)
                return r;
        const json_t *lg = viewer_section(&vm, "looking_glass"), *spice = viewer_section(&vm, "spice");
        const char *memory = json_get_str(lg, "mem_path", "");
        const char *socket =
                json_get_bool(spice, "enabled", false) ? json_get_str(spice, "socket_path", "") : NULL;
        if (!json_get_bool(lg, "enabled", false))
                return cli_fail("%s is not made for Looking Glass: add \"looking-glass\" to features of "
                                "[machine], and "
                                "start it again",
                                vm.name);
        r = refuse_root(&vm, memory);
        if (r == EXIT_DONE)
                r = viewer_program(
                        "LOOKING_GLASS", names,
                        "install the client of Looking Glass (https://looking-glass.io; the same version as "
                        "in the guest)",
                        &program);
        if (r == EXIT_DONE)
                r = viewer_may_open("the shared memory", memory, R_OK | W_OK);
        if (r == EXIT_DONE && socket)
                r = viewer_may_open("the SPICE socket", socket, R_OK | W_OK);
        return r == EXIT_DONE ? run(c, program, memory, socket) : r;
}
