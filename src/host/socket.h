/* Unix sockets of servers that others run: does one answer, and who may connect? */
#pragma once

#include "host/host.h"

/* 0: a server accepts connections at path (connected to, and closed at once); else why not: -ENOENT,
 * -ECONNREFUSED (nobody listens), -EACCES, -EAGAIN (its queue is full: it hangs), -ENOTSOCK. Never waits. In
 * a captured tree: as vore/nodes has it. */
int host_socket_answers(const struct host *h, const char *path);
