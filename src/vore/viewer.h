/* What the verbs share that start a program beside a VM: looking-glass, spice, scream. What goes wrong is
 * printed; functions give an exit code. */
#pragma once

#include "vore/cli.h"

#include <sys/types.h>

/* The VM that is meant, once it runs. */
struct viewer_vm {
        char *name;         /* owned */
        json_t *definition; /* owned: completed, as Show gives it */
        pid_t pid;          /* QEMU's; -1: not told */
};
void viewer_vm_done(struct viewer_vm *vm);
#define _cleanup_viewer_vm_ _cleanup_(viewer_vm_done)

/* By --vm, by NAME, else the only one that runs. One that is starting is waited for, by the daemon's events;
 * any other that does not run is an error. */
int viewer_vm(struct cli *c, struct viewer_vm *ret);
/* A section of its definition: "spice". */
const json_t *viewer_section(const struct viewer_vm *vm, const char *section);

/* The program that the environment variable names, by path or by name, else the first of names
 * (NULL-terminated) that is in PATH; *ret is owned. hint: what to install. */
int viewer_program(const char *variable, const char *const names[], const char *hint, char **ret);

/* May this user open it so (R_OK, W_OK)? If not, the group to join is named. what: "the shared memory". */
int viewer_may_open(const char *what, const char *path, int mode);

/* Becomes argv (argv[0] is a path); comes back only when that fails. */
int viewer_exec(char *const argv[]);
