#include "vore/verbs.h"

#include "base/str.h"

const struct option_row options[OPTION_COUNT] = {
        [OPTION_CONN] = { "conn", "SOCKET",
                          "the daemon's socket; beats VORE_SOCKET, the session's and the system's", 'c', true,
                          false },
        [OPTION_JSON] = { "json", NULL, "print one JSON document", 0, true, false },
        [OPTION_QUIET] = { "quiet", NULL, "print no steps and no notes", 'q', true, false },
        [OPTION_HELP] = { "help", NULL, "say how it is used", 'h', true, false },
        [OPTION_VERSION] = { "version", NULL, "print vore's version", 'V', true, false },
        [OPTION_SAVE] = { "save", NULL, "keep the definition over the daemon's end", 's', false, false },
        [OPTION_CDROM] = { "cdrom", "ISO",
                           "add a read-only disk that boots before all others; may be repeated, never saved",
                           0, false, false },
        [OPTION_DISPLAY] = { "display", NULL, "keep a display adapter although graphics are passed through",
                             0, false, false },
        [OPTION_CONFIG] = { "config", "FILE", "read this vored.toml", 0, false, false },
        [OPTION_ALL] = { "all", NULL, "all that run or are prepared, at the same time", 0, false, false },
        [OPTION_TIMEOUT] = { "timeout", "SECONDS", "wait this long for the guest (60)", 0, false, false },
        [OPTION_FORCE] = { "force", NULL, "end it when the time is over", 0, false, false },
        [OPTION_FORCE_DEVICE] = { "force", NULL,
                                  "take a device that the host seems to need, or a program has open", 0,
                                  false, false },
        [OPTION_ORIGIN] = { "origin", NULL, "say where each value came from", 0, false, false },
        [OPTION_SOURCE] = { "source", NULL, "print the text as it was handed over", 0, false, false },
        [OPTION_PURGE] = { "purge", NULL, "delete the instance folder too, with the UEFI variables", 0, false,
                           false },
        [OPTION_TYPE] = { "type", "TYPE",
                          "raw, qcow2, vmdk, vdi or vhdx; else what the name says, else qcow2", 0, false,
                          false, "raw qcow2 vmdk vdi vhdx" },
        [OPTION_FOLLOW] = { "follow", NULL, "go on with what comes", 'f', false, false },
        [OPTION_EXACT] = { "exact", NULL, "what the daemon executes, with its descriptors", 0, false, false },
        [OPTION_USB] = { "usb", NULL, "USB devices instead, by port; not supported by this version", 0, false,
                         false },
        [OPTION_VM] = { "vm", "NAME", "the VM, as NAME", 0, false, false },
        [OPTION_EMIT] = { "emit", "KIND", "print what claims the reserved devices while the host boots", 0,
                          false, false, "udev initramfs-tools dracut" },
        [OPTION_INSTALL] = { "install", "KIND", "install it, or make it anew", 0, false, false,
                             "udev initramfs-tools" },
        [OPTION_REMOVE] = { "remove", "KIND", "take it away again", 0, false, false, "udev initramfs-tools" },
        [OPTION_KEEP] = { "keep", NULL,
                          "attach a USB device again when it comes back; not supported by this version", 0,
                          false, false },
        [OPTION_GROUP] = { "group", NULL, "attach the rest of its IOMMU group too", 0, false, false },
        [OPTION_MAN] = { "man", NULL, "print the man page's source", 0, false, true },
};

#define START_OPTIONS (OPT(OPTION_CDROM) | OPT(OPTION_DISPLAY))

const struct verb verbs[] = {
        { "load", NULL, "FILE", OPT(OPTION_SAVE) | OPT(OPTION_CDROM), NEED_NONE, verb_load,
          "hand a definition to the daemon",
          "FILE may be - for standard input. A VM of that name that does not run is replaced; one that runs "
          "is an error. Disks of --cdrom stay until the VM is unloaded." },
        { "boot", NULL, "FILE", OPT(OPTION_SAVE) | START_OPTIONS, NEED_NONE, verb_boot,
          "load a definition and start it", "Disks of --cdrom are there for this one start." },
        { "check", NULL, "FILE", OPT(OPTION_CONFIG), NEED_NONE, verb_check,
          "say everything that is wrong with a definition on this host",
          "Needs no daemon and changes nothing. When a daemon answers, and --config is not given, what it "
          "says is "
          "the answer: it knows its settings and which disks other VMs use." },
        { "prepare", NULL, "[NAME]", START_OPTIONS, NEED_IDLE, verb_start, "claim what a VM needs",
          "What was claimed is kept until the VM is started and ends, or is stopped." },
        { "start", NULL, "[NAME]", START_OPTIONS, NEED_IDLE, verb_start, "start a VM",
          "Each step goes to standard error as it happens. Starting a VM that runs is no error." },
        { "stop", NULL, "[NAME]", OPT(OPTION_ALL) | OPT(OPTION_TIMEOUT) | OPT(OPTION_FORCE), NEED_HELD,
          verb_stop, "press the power button and wait",
          "A guest that does not power off in time runs on, and the exit status is 1; with --force it is "
          "ended. A prepared VM gives back what it claimed." },
        { "kill", NULL, "[NAME]", 0, NEED_RUNNING, verb_power, "end a VM at once",
          "Like pulling the plug. Works at any time and cancels a start." },
        { "pause", NULL, "[NAME]", 0, NEED_RUNNING, verb_power, "halt the virtual CPUs", NULL },
        { "resume", NULL, "[NAME]", 0, NEED_RUNNING, verb_power, "let the virtual CPUs go on", NULL },
        { "reset", NULL, "[NAME]", 0, NEED_RUNNING, verb_power, "press the reset button", NULL },
        { "list", NULL, "", 0, NEED_NONE, verb_list, "list the VMs", NULL },
        { "show", NULL, "[NAME]", OPT(OPTION_ORIGIN) | OPT(OPTION_SOURCE), NEED_ANY, verb_show,
          "print a completed definition", NULL },
        { "save", NULL, "[NAME]", 0, NEED_ANY, verb_save, "keep a definition over the daemon's end", NULL },
        { "unload", NULL, "[NAME]", 0, NEED_ANY, verb_unload, "drop a definition from memory",
          "Refused while the VM runs. A saved definition comes back with the next start of the daemon." },
        { "forget", NULL, "NAME", OPT(OPTION_PURGE), NEED_EXACT, verb_forget, "delete a saved definition",
          NULL },
        { "disk presets", "disk preset", "", 0, NEED_NONE, verb_disk_presets,
          "list the disk presets that the Lua script registers", NULL },
        { "disk create", NULL, "PATH SIZE", OPT(OPTION_TYPE), NEED_NONE, verb_disk_create,
          "make an empty disk",
          "SIZE is a number with a unit, such as 40G. The disk belongs to the caller; nothing is ever "
          "overwritten. Needs qemu-img, but no daemon." },
        { "attach", NULL, "ADDR [NAME]", OPT(OPTION_KEEP) | OPT(OPTION_FORCE_DEVICE) | OPT(OPTION_GROUP),
          NEED_RUNNING, verb_attach, "give a device of the host to a VM that runs",
          "ADDR is the address of a PCI device, such as 0b:00.3 (see vore devices); USB devices are not "
          "supported by "
          "this version. The device is checked and claimed as at a start, and given back when it is detached "
          "or the "
          "VM ends. With --group the functions of one slot come together; each slot takes one of the VM's "
          "hotplug-ports. The definition stays as it is." },
        { "detach", NULL, "ADDR [NAME]", OPT(OPTION_TIMEOUT), NEED_RUNNING, verb_detach,
          "take an attached device away from a VM",
          "What was attached together goes together. The guest has to let go of it: it is asked, and when "
          "the time is "
          "over it keeps the device and the exit status is 1. Once it has let go, the host has the device "
          "back." },
        { "reserve", NULL, "[ADDR]", OPT(OPTION_EMIT) | OPT(OPTION_INSTALL) | OPT(OPTION_REMOVE), NEED_NONE,
          verb_reserve, "claim the reserved devices now, or one",
          "Binds what saved definitions reserve to vfio-pci, and shows each device, its VMs and its state. "
          "With ADDR "
          "any device that a guest may have. Exit status 1 when one cannot be had. With an option, instead: "
          "KIND is udev, "
          "initramfs-tools or dracut (only printed). What is installed claims a device before the host's "
          "driver sees "
          "it, as long as its address and its ids are the same." },
        { "release", NULL, "[ADDR]", 0, NEED_NONE, verb_reserve, "give reserved devices back to the host",
          "Until the next start of the daemon, or vore reserve. Without ADDR all that no VM uses: reserved "
          "ones, those "
          "claimed by hand, and those that rebind = \"never\" left on vfio-pci." },
        { "cdrom", NULL, "[NAME] [ISO]", 0, NEED_RUNNING, NULL, "change the medium", NULL },
        { "looking-glass", "lg", "[NAME]", OPT(OPTION_VM), NEED_RUNNING, verb_looking_glass,
          "start Looking Glass for a VM",
          "Becomes looking-glass-client, wired to the VM's shared memory and SPICE socket; what stands "
          "behind -- goes to "
          "it. LOOKING_GLASS names another client. A VM that is just starting is waited for.",
          true },
        { "spice", NULL, "[NAME]", 0, NEED_RUNNING, verb_spice, "start a SPICE viewer for a VM",
          "Becomes the program that VORE_SPICE_VIEWER names, else remote-viewer, else spicy, on the VM's "
          "SPICE "
          "socket. A VM that is just starting is waited for." },
        { "scream start", NULL, "[NAME]", 0, NEED_RUNNING, verb_scream_start,
          "start the Scream receiver for a VM",
          "It runs in the background, as who called, and ends with the VM. VORE_SCREAM names the receiver; "
          "else it is "
          "scream, or one of scream-ivshmem-pulse, -alsa and -jack, in PATH. What it says is in "
          "scream-NAME.log in the "
          "session's run-time folder." },
        { "scream stop", NULL, "[NAME]", 0, NEED_RUNNING, verb_scream_stop,
          "stop the Scream receiver of a VM", NULL },
        { "devices", NULL, "", OPT(OPTION_USB), NEED_NONE, verb_devices,
          "list the host's PCI devices, and whether each can be passed through",
          "A tree by IOMMU group: what is in one group is passed to one VM together. Of each device: who "
          "holds it, how it can be reset, and whether it is ready, needs others of its group, is needed by "
          "the "
          "host, or has no IOMMU." },
        { "pins", NULL, "[NAME]", 0, NEED_ANY, NULL, "show who runs on which of the host's cores", NULL },
        { "logs", NULL, "[NAME]", OPT(OPTION_FOLLOW), NEED_ANY, verb_logs, "print a VM's log", NULL },
        { "events", NULL, "", 0, NEED_NONE, verb_events, "print what happens, until interrupted", NULL },
        { "qmp", NULL, "[NAME] JSON", 0, NEED_RUNNING, verb_qmp, "send QEMU a QMP command",
          "JSON is an object such as {\"execute\": \"query-status\"}, or just the name of a command." },
        { "console", NULL, "[NAME]", 0, NEED_RUNNING, verb_console, "the serial console",
          "The last 64 KiB first, then live both ways. Ctrl-] leaves. When standard input is no terminal, it "
          "is copied to its end, and vore leaves after the history. Many may read, one writes." },
        { "x qemucmd", NULL, "[NAME|FILE]", START_OPTIONS | OPT(OPTION_EXACT), NEED_ANY, verb_qemucmd,
          "print the QEMU command that would run",
          "Quoted for a shell, on one line; it runs by hand as it is. An argument with a / or ending in "
          ".toml is a definition file." },
        { "daemon version", "d version", "", 0, NEED_NONE, verb_version, "print the daemon's version", NULL },
        { "completion", NULL, "SHELL", 0, NEED_NONE, verb_completion, "print a completion script",
          "SHELL is bash, zsh or fish." },
        { "help", NULL, "[VERB] [WORD]", OPT(OPTION_MAN), NEED_NONE, verb_help,
          "say how vore or a verb is used", NULL },
};
const size_t n_verbs = ARRAY_SIZE(verbs);

const struct verb *verb_find(const char *name) {
        for (size_t i = 0; i < n_verbs; i++)
                if (str_eq(verbs[i].name, name) || str_eq(verbs[i].alias, name))
                        return &verbs[i];
        return NULL;
}

static void nearer(const char *text, const char *candidate, const char **best, unsigned *best_distance) {
        unsigned distance;

        if (!candidate)
                return;
        distance = str_distance(text, candidate);
        /* A third of the letters may be wrong: more is another word. */
        if (distance < *best_distance && distance <= MAX(strlen(candidate) / 3, (size_t) 1)) {
                *best = candidate;
                *best_distance = distance;
        }
}

const char *verb_nearest(const char *text) {
        const char *best = NULL;
        unsigned distance = UINT32_MAX;

        for (size_t i = 0; i < n_verbs; i++) {
                nearer(text, verbs[i].name, &best, &distance);
                nearer(text, verbs[i].alias, &best, &distance);
        }
        return best;
}

static bool begins_with_word(const char *name, const char *word) {
        size_t n = strlen(word);

        return name && strncmp(name, word, n) == 0 && name[n] == ' ';
}

bool verb_is_group(const char *word) {
        for (size_t i = 0; i < n_verbs; i++)
                if (begins_with_word(verbs[i].name, word) || begins_with_word(verbs[i].alias, word))
                        return true;
        return false;
}

bool choice_find(const char *choices, const char *word) {
        size_t n = strlen(word);

        for (const char *p = choices; *p; p += strspn(p, " ")) {
                size_t k = strcspn(p, " ");

                if (k == n && strncmp(p, word, n) == 0)
                        return true;
                p += k;
        }
        return false;
}
