/* What the files say. */
#include "rules/internal.h"

#include <errno.h>
#include <inttypes.h>

#define MARK "# vore: "

/* FNV-1a: whether a file was changed by accident or by hand, no more. */
uint64_t rules_hash(uint64_t hash, const char *text, size_t n) {
        for (size_t i = 0; i < n; i++)
                hash = (hash ^ (unsigned char) text[i]) * UINT64_C(0x100000001b3);
        return hash;
}

/* -- udev ------------------------------------------------------------------------------------------------ */

static void udev_device(struct strbuf *b, const struct rules_device *d) {
        _cleanup_free_ char *match = xasprintf(
                "ATTR{[pci/%s]vendor}==\"0x%04x\", ATTR{[pci/%s]device}==\"0x%04x\", "
                "TEST==\"/sys/bus/pci/devices/%s/iommu_group\", TEST!=\"/sys/bus/pci/devices/%s/driver\"",
                d->address, d->vendor, d->address, d->device, d->address, d->address);

        strbuf_addf(b, "\n%s, IMPORT{builtin}=\"kmod load vfio-pci\"\n", match);
        strbuf_addf(
                b,
                "%s, TEST==\"/sys/bus/pci/drivers/vfio-pci\", ATTR{[pci/%s]driver_override}=\"vfio-pci\"\n",
                match, d->address);
        strbuf_addf(b,
                    "KERNEL==\"%s\", %s, ATTR{driver_override}==\"vfio-pci\", "
                    "RUN+=\"/bin/sh -c 'echo %s >/sys/bus/pci/drivers_probe'\"\n",
                    d->address, match, d->address);
}

static void udev_body(struct strbuf *b, const struct rules_device *devices, size_t n) {
        strbuf_add(
                b,
                "#\n"
                "# This stands before 80-drivers.rules. Whichever PCI device comes first does it for all of "
                "these: its driver\n"
                "# may be the one that would take them. A device that has a driver already is left alone.\n"
                "ACTION!=\"add\", GOTO=\"vore_reserve_end\"\n"
                "SUBSYSTEM!=\"pci\", GOTO=\"vore_reserve_end\"\n");
        for (size_t i = 0; i < n; i++)
                udev_device(b, &devices[i]);
        strbuf_add(b, "\nLABEL=\"vore_reserve_end\"\n");
}

/* -- an initramfs ---------------------------------------------------------------------------------------- */

/* For any POSIX shell, as small as they come. Whatever happens, the boot goes on. */
static void claim_body(struct strbuf *b, const struct rules_device *devices, size_t n) {
        strbuf_add(b, "\nclaim() {\n"
                      "\tdevice=/sys/bus/pci/devices/$1\n"
                      "\t[ -e \"$device/iommu_group\" ] && [ ! -e \"$device/driver\" ] || return 0\n"
                      "\tread -r vendor <\"$device/vendor\" && read -r id <\"$device/device\" || return 0\n"
                      "\t[ \"$vendor $id\" = \"$2 $3\" ] || return 0\n"
                      "\techo vfio-pci >\"$device/driver_override\" || return 0\n"
                      "\techo \"$1\" >/sys/bus/pci/drivers_probe\n"
                      "\t[ -e \"$device/driver\" ] || echo >\"$device/driver_override\"\n"
                      "}\n\n"
                      "[ -d /sys/bus/pci/devices ] || exit 0\n"
                      "for module in vfio_iommu_type1 vfio-pci; do modprobe -q $module 2>/dev/null; done\n"
                      "[ -d /sys/bus/pci/drivers/vfio-pci ] || exit 0\n"
                      "{\n");
        for (size_t i = 0; i < n; i++)
                strbuf_addf(b, "\tclaim %s 0x%04x 0x%04x\n", devices[i].address, devices[i].vendor,
                            devices[i].device);
        strbuf_add(b, "} 2>/dev/null\nexit 0\n");
}

static void prerequisites(struct strbuf *b) {
        strbuf_add(b, "case $1 in\nprereqs)\n\techo\n\texit 0\n\t;;\nesac\n");
}

static void hook_body(struct strbuf *b, const struct rules_device *devices, size_t n) {
        prerequisites(b);
        strbuf_add(b, "\n. /usr/share/initramfs-tools/hook-functions\n"
                      "manual_add_modules vfio_iommu_type1 vfio-pci\n"
                      "exit 0\n");
}

static void init_top_body(struct strbuf *b, const struct rules_device *devices, size_t n) {
        strbuf_add(
                b,
                "# Scripts without prerequisites run in the order of their names: this one before udev.\n");
        prerequisites(b);
        claim_body(b, devices, n);
}

static void dracut_setup_body(struct strbuf *b, const struct rules_device *devices, size_t n) {
        strbuf_add(b, "\ncheck() {\n\treturn 0\n}\n\n"
                      "installkernel() {\n\thostonly='' instmods vfio_iommu_type1 vfio-pci\n}\n\n"
                      "install() {\n\tinst_hook pre-udev 00 \"$moddir/vore-reserve.sh\"\n}\n");
}

static void dracut_hook_body(struct strbuf *b, const struct rules_device *devices, size_t n) {
        /* Hooks are sourced: an exit would be that of the whole. */
        strbuf_add(b, "\n(\n");
        claim_body(b, devices, n);
        strbuf_add(b, ")\n");
}

static const char *const reload[] = { "udevadm", "control", "--reload", NULL };
static const char *const update[] = { "update-initramfs", "-u", "-k", "all", NULL };

const struct rules_row rules_rows[RULES_KIND_COUNT] = {
        [RULES_UDEV] = { .name = "udev",
                         .files = { { "/etc/udev/rules.d/70-vore-reserve.rules", 0644, NULL, udev_body } },
                         .n_files = 1,
                         .command = reload,
                         .needs = "/run/udev/control",
                         .how = "It takes effect at the next boot. A driver that\n"
                                "# the initramfs loads comes before it: there initramfs-tools or dracut is "
                                "what helps." },
        [RULES_INITRAMFS_TOOLS] = { .name = "initramfs-tools",
                                    .files = { { "/etc/initramfs-tools/hooks/vore-reserve", 0755, "#!/bin/sh",
                                                 hook_body },
                                               { "/etc/initramfs-tools/scripts/init-top/00-vore-reserve",
                                                 0755, "#!/bin/sh", init_top_body } },
                                    .n_files = 2,
                                    .command = update,
                                    .must = true,
                                    .how = "Behind that: update-initramfs -u -k all" },
        [RULES_DRACUT] = { .name = "dracut",
                           .files = { { "/usr/lib/dracut/modules.d/90vore-reserve/module-setup.sh", 0755,
                                        "#!/bin/bash", dracut_setup_body },
                                      { "/usr/lib/dracut/modules.d/90vore-reserve/vore-reserve.sh", 0755,
                                        "#!/bin/sh", dracut_hook_body } },
                           .n_files = 2,
                           .how = "Behind that: dracut --force. To undo it, remove the folder and run dracut "
                                  "--force again.",
                           .print_only = true },
};

/* -- a whole file
 * --------------------------------------------------------------------------------------------- */

static void head(struct strbuf *b, enum rules_kind kind, const struct rules_file *file,
                 const struct rules_device *devices, size_t n) {
        const char *name = rules_rows[kind].name;

        if (file->interpreter)
                strbuf_addf(b, "%s\n", file->interpreter);
        if (rules_rows[kind].print_only)
                strbuf_addf(b, "# Made by vore: vore reserve --emit %s\n", name);
        else
                strbuf_addf(b,
                            "# Made by vore: vore reserve --install %s makes it anew, --remove %s takes it "
                            "away.\n",
                            name, name);
        strbuf_add(b, "# Claims these devices for vfio-pci at boot, as long as both address and ids are the "
                      "same:\n");
        for (size_t i = 0; i < n; i++)
                strbuf_addf(b, "#   %s %04x:%04x for %s\n", devices[i].address, devices[i].vendor,
                            devices[i].device, devices[i].vms);
}

char *rules_text(enum rules_kind kind, const struct rules_file *file, const struct rules_device *devices,
                 size_t n, const char *folders) {
        _cleanup_strbuf_ struct strbuf before = STRBUF_INIT, after = STRBUF_INIT;

        head(&before, kind, file, devices, n);
        file->body(&after, devices, n);
        uint64_t hash = rules_hash(RULES_HASH_BEGIN, before.data, before.len);
        hash = rules_hash(hash, after.data, after.len);
        return xasprintf("%s" MARK "%016" PRIx64 "%s\n%s", before.data, hash, folders, after.data);
}

int rules_ours(const char *text, char **ret_folders) {
        const char *mark = strstr(text, "\n" MARK);
        uint64_t hash;
        int n = 0;

        if (!mark)
                return 0;
        mark++;
        const char *end = strchrnul(mark, '\n');
        const char *rest = *end ? end + 1 : end;
        if (sscanf(mark, MARK "%16" SCNx64 "%n", &hash, &n) != 1 || mark + n > end)
                return 0;
        uint64_t now = rules_hash(RULES_HASH_BEGIN, text, (size_t) (mark - text));
        if (rules_hash(now, rest, strlen(rest)) != hash)
                return 0;
        if (ret_folders)
                *ret_folders = strndup(mark + n, (size_t) (end - mark - n));
        return 1;
}

char *rules_emit(enum rules_kind kind, const struct rules_device *devices, size_t n) {
        const struct rules_row *row = &rules_rows[kind];
        struct strbuf b = STRBUF_INIT;

        for (size_t i = 0; i < row->n_files; i++) {
                const struct rules_file *file = &row->files[i];
                _cleanup_free_ char *text = rules_text(kind, file, devices, n, "");

                if (row->n_files > 1)
                        strbuf_addf(&b, "%s# --- %s, mode %04o ---\n", i ? "\n" : "", file->path,
                                    (unsigned) file->mode);
                strbuf_add(&b, text);
        }
        if (row->n_files > 1)
                strbuf_addf(&b, "\n# --- %zu files, each from its first line #! on. %s\n", row->n_files,
                            row->how);
        else
                strbuf_addf(&b, "\n# The file is %s. %s\n", row->files[0].path, row->how);
        return strbuf_take(&b);
}

int rules_kind_find(const char *name, enum rules_kind *ret, struct error *err) {
        for (size_t i = 0; i < RULES_KIND_COUNT; i++)
                if (str_eq(name, rules_rows[i].name)) {
                        *ret = (enum rules_kind) i;
                        return 0;
                }
        return error_set(err, -EINVAL, "\"%.64s\" is none of udev, initramfs-tools and dracut", name);
}

const char *rules_kind_name(enum rules_kind kind) {
        return rules_rows[kind].name;
}

bool rules_kind_installs(enum rules_kind kind) {
        return !rules_rows[kind].print_only;
}
