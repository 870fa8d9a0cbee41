/* Files that the caller names, as the daemon gets them: a definition's text with its folder, media with their
 * absolute path. */
#pragma once

#include "vore/cli.h"

struct input {
        const char *file; /* as the caller wrote it; borrowed */
        char *directory;  /* owned, absolute: relative paths of the definition count from here */
        char *text;       /* owned, NUL-terminated; NULL until read */
        size_t len;
};
#define INPUT_INIT ((struct input){ 0 })

/* Reads file, at most 64 KiB; "-" is standard input, whose folder is the current one. Also from a pipe. Makes
 * it the source of faults that are printed later. What fails is printed; gives an exit code. */
int input_read(struct cli *c, const char *file, struct input *ret);
void input_done(struct input *in);
#define _cleanup_input_ _cleanup_(input_done)

/* toml, directory, file for the daemon. A text that is no UTF-8 cannot be sent: then the fault is printed. */
int input_params(struct cli *c, const struct input *in, json_t *params);

/* Puts the number of --timeout, if it is given, under "timeout". EXIT_USAGE for what is no time. */
int input_timeout(const struct cli *c, json_t *params);

/* Puts the media of --cdrom, absolute, under "cdroms" if there are any; each must exist, and have a
 * path that can be sent. */
int input_cdroms(struct cli *c, json_t *params);
