/* THE table of verbs and THE table of their options. Dispatch, --help, completions and the synopsis of the
 * man page read these rows and nothing else. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cli;

/* Which VMs a verb is for; from it comes the one that is meant when NAME is left out. */
enum need {
        NEED_NONE,    /* no VM */
        NEED_IDLE,    /* one that does not run */
        NEED_RUNNING, /* one that runs */
        NEED_HELD,    /* one that runs; if none does, a prepared one */
        NEED_ANY,     /* any */
        NEED_EXACT,   /* NAME must be said */
};

enum option_id {
        OPTION_CONN,
        OPTION_JSON,
        OPTION_QUIET,
        OPTION_HELP,
        OPTION_VERSION,
        OPTION_SAVE,
        OPTION_CDROM,
        OPTION_DISPLAY,
        OPTION_CONFIG,
        OPTION_ALL,
        OPTION_TIMEOUT,
        OPTION_FORCE,
        OPTION_FORCE_DEVICE,
        OPTION_ORIGIN,
        OPTION_SOURCE,
        OPTION_PURGE,
        OPTION_TYPE,
        OPTION_FOLLOW,
        OPTION_EXACT,
        OPTION_USB,
        OPTION_VM,
        OPTION_EMIT,
        OPTION_INSTALL,
        OPTION_REMOVE,
        OPTION_KEEP,
        OPTION_GROUP,
        OPTION_MAN,
        OPTION_COUNT,
};

#define OPT(id) (UINT32_C(1) << (id))

struct option_row {
        const char *name; /* without the dashes; two rows may share one, if no verb takes both */
        const char *arg;  /* what its value is called; NULL: it takes none */
        const char *help;
        char letter; /* 0: none */
        bool global; /* every verb takes it, also before the verb */
        bool hidden;
        const char *choices; /* what its value may be, a blank between; NULL: anything */
};

struct verb {
        const char *name;  /* one or two words */
        const char *alias; /* another spelling; NULL: none */
        const char *args;  /* "[NAME] JSON"; brackets: may be left out */
        uint32_t options;  /* besides the global ones */
        enum need need;
        int (*run)(struct cli *c); /* gives an exit code; NULL: not supported by this version */
        const char *help;          /* one line */
        const char *more;          /* what else there is to say; NULL: nothing */
        bool passes;               /* what stands behind -- is another program's */
};

extern const struct option_row options[OPTION_COUNT];
extern const struct verb verbs[];
extern const size_t n_verbs;

/* The verb of that name or alias; NULL: none. */
const struct verb *verb_find(const char *name);
/* The name or alias nearest to text, if it is near enough to be meant; else NULL. */
const char *verb_nearest(const char *text);
/* Is it the first word of verbs that have two? */
bool verb_is_group(const char *word);
/* Is it one of choices, which have a blank between? */
bool choice_find(const char *choices, const char *word);

/* One per verb; verbs that only differ in their row share one. */
int verb_load(struct cli *c);
int verb_boot(struct cli *c);
int verb_check(struct cli *c);
int verb_start(struct cli *c);
int verb_stop(struct cli *c);
int verb_power(struct cli *c);
int verb_list(struct cli *c);
int verb_show(struct cli *c);
int verb_save(struct cli *c);
int verb_unload(struct cli *c);
int verb_forget(struct cli *c);
int verb_disk_presets(struct cli *c);
int verb_disk_create(struct cli *c);
int verb_attach(struct cli *c);
int verb_detach(struct cli *c);
int verb_devices(struct cli *c);
int verb_reserve(struct cli *c);
int verb_logs(struct cli *c);
int verb_events(struct cli *c);
int verb_qmp(struct cli *c);
int verb_console(struct cli *c);
int verb_qemucmd(struct cli *c);
int verb_version(struct cli *c);
int verb_looking_glass(struct cli *c);
int verb_spice(struct cli *c);
int verb_scream_start(struct cli *c);
int verb_scream_stop(struct cli *c);
int verb_completion(struct cli *c);
int verb_help(struct cli *c);
