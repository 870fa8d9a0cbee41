/* What has to be there before the daemon can answer: folders, lock, group and users, the socket, systemd's
 * bus. */
#pragma once

#include "vored/manager.h"

int setup_folders(struct manager *m, struct error *err);
/* One vored per state folder. */
int setup_lock(struct manager *m, struct error *err);
/* Group and users of the machines; warnings for what is missing. */
int setup_users(struct manager *m, struct error *err);
int setup_socket(struct manager *m, struct error *err);
/* Connects to systemd if it runs; quiet otherwise. */
void setup_bus(struct manager *m);
