/* The daemon's inside: the set of machines, the store of saved definitions, the methods. One struct manager
 * per process. */
#pragma once

#include "rpc/server.h"
#include "settings/settings.h"
#include "vm/vm.h"

#include <systemd/sd-event.h>

/* One name that the daemon knows: a machine, or a saved file that does not parse. */
struct machine {
        char *name;    /* owned */
        struct vm *vm; /* owned; NULL: broken */
        char *broken;  /* owned: why */
        bool differs;  /* another vored left it, and its saved file has another definition */
};

struct subscriber;
struct reserve;

struct manager {
        struct arena *arena;
        const struct settings *settings;
        sd_event *loop;
        struct vm_env env;
        struct rpc_server *server;
        struct machine *machines; /* sorted by name */
        size_t n_machines;
        struct subscriber *subscribers;
        struct reader *readers; /* of logs */
        uint64_t sequence;
        size_t adoptions; /* that are not known yet */
        bool activated;   /* the socket was handed over: never unlinked */
        int listen_fd, lock_fd, runtime_lock_fd;
        uint64_t power_off_us;        /* --power-off: no daemon, but the end of all machines */
        size_t powering_off, not_off; /* that still go; that could not be ended */
        char **auto_start;            /* owned: names still to be started, in order */
        size_t n_auto_start;
        char *auto_starting;     /* owned: the one under way, NULL: none */
        struct reserve *reserve; /* owned */
};

/* machines.c */
struct machine *machine_find(struct manager *m, const char *name);
/* Adds a name (there must be none such), with vm or broken; both are taken. */
struct machine *machine_add(struct manager *m, const char *name, struct vm *vm, char *broken);
void machine_remove(struct manager *m, struct machine *machine);
void machines_free(struct manager *m);
/* The element of `list`. */
json_t *machine_to_json(const struct machine *machine);
/* The hooks of struct vm_env. */
void machines_uses(const struct vm *vm, struct vm_uses *ret, void *manager);

/* store.c: <state>/definitions */
char *store_path(const struct manager *m, const char *name);
/* Is this what the saved file has? */
bool store_has(const struct manager *m, const char *name, const struct vm_definition *d);
/* Reads all of them; what does not parse becomes a broken machine. */
int store_load(struct manager *m, struct error *err);
/* Atomically, byte for byte. */
int store_save(struct manager *m, const char *name, const char *text, size_t len, struct error *err);
int store_delete(struct manager *m, const char *name, struct error *err);

/* purge.c: removes an instance folder and answers the call; and at the daemon's start, what was cut off of
 * that */
void purge_folder(struct manager *m, struct rpc_call *call, const char *name);
void purge_leftovers(struct manager *m);

/* boot.c: adoption and auto-start */
int boot_adopt(struct manager *m, struct error *err);
void boot_auto_start(struct manager *m);
void boot_auto_start_next(struct vm *vm, void *manager);
/* The next one that does not wait for the reservation of its devices, unless one is under way. */
void boot_auto_start_go(struct manager *m);

/* events.c */
void events_publish(struct vm *vm, const char *event, json_t *data, void *manager);
void events_machine(struct manager *m, const char *name, const char *event, json_t *data);
void method_subscribe(struct rpc_call *call, const json_t *params, void *manager);
void events_free(struct manager *m);

/* logs.c: from now on logs are cut as they grow */
int logs_watch(struct manager *m, struct error *err);
/* Whoever reads them is not answered any more. */
void logs_free(struct manager *m);

/* methods.c: the rows, and what several methods share */
extern const struct rpc_interface manager_interface;
/* The machine that params name, or NULL and the call is answered with NoSuchMachine. */
struct machine *method_machine(struct manager *m, struct rpc_call *call, const json_t *params);
/* The same, and it is no broken one. */
struct vm *method_vm(struct manager *m, struct rpc_call *call, const json_t *params);
void method_fail(struct rpc_call *call, const struct error *err);
void method_not_supported(struct rpc_call *call, const char *what);
/* A watch that answers call; with steps streamed if the client wants more. */
struct vm_watch method_watch(struct manager *m, struct rpc_call *call, double timeout);
/* The list of strings under key, as a NULL-terminated array that borrows its strings. Freed by the caller. */
const char **method_strings(const json_t *params, const char *key, size_t *ret_n);

/* The same of cdroms. A path that is not absolute: the call is answered, -EINVAL. */
int method_cdroms(struct rpc_call *call, const json_t *params, const char ***ret, size_t *ret_n);

/* definitions.c, devices.c, hotplug.c, lifecycle.c, look.c, reserve-methods.c, boot-rules.c: one short
 * handler per method */
void method_load(struct rpc_call *call, const json_t *params, void *manager);
void method_save(struct rpc_call *call, const json_t *params, void *manager);
void method_unload(struct rpc_call *call, const json_t *params, void *manager);
void method_forget(struct rpc_call *call, const json_t *params, void *manager);
void method_prepare(struct rpc_call *call, const json_t *params, void *manager);
void method_start(struct rpc_call *call, const json_t *params, void *manager);
void method_stop(struct rpc_call *call, const json_t *params, void *manager);
void method_kill(struct rpc_call *call, const json_t *params, void *manager);
void method_pause(struct rpc_call *call, const json_t *params, void *manager);
void method_resume(struct rpc_call *call, const json_t *params, void *manager);
void method_reset(struct rpc_call *call, const json_t *params, void *manager);
void method_list(struct rpc_call *call, const json_t *params, void *manager);
void method_show(struct rpc_call *call, const json_t *params, void *manager);
void method_disk_presets(struct rpc_call *call, const json_t *params, void *manager);
void method_attach(struct rpc_call *call, const json_t *params, void *manager);
void method_detach(struct rpc_call *call, const json_t *params, void *manager);
void method_devices(struct rpc_call *call, const json_t *params, void *manager);
void method_reserve(struct rpc_call *call, const json_t *params, void *manager);
void method_boot_rules(struct rpc_call *call, const json_t *params, void *manager);
void method_release(struct rpc_call *call, const json_t *params, void *manager);
void method_qemu_command(struct rpc_call *call, const json_t *params, void *manager);
void method_qmp(struct rpc_call *call, const json_t *params, void *manager);
void method_console(struct rpc_call *call, const json_t *params, void *manager);
void method_logs(struct rpc_call *call, const json_t *params, void *manager);
void method_version(struct rpc_call *call, const json_t *params, void *manager);
