/* Connecting to a Unix socket without waiting. */
#pragma once

#include "base/error.h"

/* A connected, non-blocking SOCK_STREAM socket. A path over 107 bytes goes through /proc/self/fd; then its
 * last part must be short. *ret_fd is owned by the caller. */
int qmp_socket_connect(const char *path, int *ret_fd, struct error *err);
