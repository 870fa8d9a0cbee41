/* vore: words -> a verb's row -> its function. */
#include "base/str.h"
#include "vore/args.h"
#include "vore/cli.h"
#include "vore/help.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

/* A program that was started with 0, 1 or 2 closed would get its socket there, and print into it. What stands
 * in their place can neither be read nor written with success. */
static void standard_descriptors(void) {
        int fd;

        do
                fd = open("/dev/null", O_PATH);
        while (fd >= 0 && fd <= STDERR_FILENO);
        if (fd >= 0)
                close(fd);
}

static int run(const struct args *args) {
        struct cli c;
        int code;

        cli_init(&c, args);
        if (args_has(args, OPTION_HELP))
                code = help_print(&c, args->verb);
        else if (args_has(args, OPTION_VERSION))
                code = printf("vore %s\n", VORE_VERSION) < 0 ? EXIT_FAILED : EXIT_DONE;
        else if (!args->verb->run)
                code = cli_fail("%s is not supported by this version", args->verb->name);
        else
                code = args->verb->run(&c);
        code = cli_flush(code);
        cli_done(&c);
        return code;
}

int main(int argc, char *argv[]) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct args args;
        int code;

        standard_descriptors();
        /* A reader that went away is seen as EPIPE, so that a terminal in raw mode is restored first. */
        signal(SIGPIPE, SIG_IGN);
        if (args_parse(argc, argv, &args, &err) < 0) {
                cli_fail("%s", error_text(&err));
                return EXIT_USAGE;
        }
        code = run(&args);
        args_done(&args);
        return code;
}
