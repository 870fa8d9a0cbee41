#include "complete/fill.h"

#include "host/disk.h"
#include "host/firmware.h"

#include <errno.h>

/* "~/.config" of the user whose daemon this is; descriptors of a user do not count for root. */
static const char *user_config(const struct settings *s, struct arena *arena) {
        const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");

        if (!s || s->system)
                return NULL;
        if (!str_empty(config) && *config == '/')
                return config;
        return str_empty(home) ? NULL : arena_printf(arena, "%s/.config", home);
}

static const char *known_names(struct fill *f) {
        const struct settings *s = f->req->settings;
        _cleanup_strbuf_ struct strbuf list = STRBUF_INIT;

        for (size_t i = 0; i < s->n_uefi; i++)
                strbuf_addf(&list, "%s\"%s\"", i ? ", " : "", s->uefi[i].name);
        return list.len ? arena_printf(f->arena, "vored.toml has %s", list.data) :
                          "add it to vored.toml, or leave firmware out: then QEMU's descriptors are asked";
}

static bool check_file(struct fill *f, const char *key, const char *section, const char *path) {
        struct def_uefi *u = &f->def->uefi;
        struct host_node node;

        if (str_empty(path)) {
                FILL_ERROR(f, u, firmware, "firmware", NULL, "[uefi.%s] in vored.toml has no %s", section,
                           key);
                return false;
        }
        int r = host_node(f->req->host, path, &node);
        if (r == 0 && node.type == 'f')
                return true;
        FILL_ERROR(f, u, firmware, "firmware",
                   "install the firmware (Debian's package is ovmf), or correct vored.toml",
                   "%s of [uefi.%s] in vored.toml, %s: %s", key, section, path,
                   r < 0 ? strerror(-r) : "is no file");
        return false;
}

/* vored.toml does not say it, so the images do. */
static const char *flash_format(struct fill *f, const char *path) {
        _cleanup_host_disk_ struct host_disk image = { 0 };

        return host_disk(f->req->host, path, &image) == 0 && str_eq(image.format, "qcow2") ? "qcow2" : "raw";
}

/* Code and template may differ: a raw template of one's own beside a distribution's qcow2 code. */
static void set_images(struct fill *f, const struct host_firmware *found, const char *where) {
        struct def_uefi *u = &f->def->uefi;

        u->boot_code = found->executable;
        u->format = found->format;
        u->template_ = found->nvram_template;
        u->template_format = found->nvram_format;
        DEF_MARK(u, boot_code, ORIGIN_HOST, where);
        DEF_MARK(u, format, ORIGIN_HOST, where);
        DEF_MARK(u, template_, ORIGIN_HOST, where);
        DEF_MARK(u, template_format, ORIGIN_HOST, where);
}

static void fill_from_settings(struct fill *f, const struct settings_uefi *s) {
        struct def_uefi *u = &f->def->uefi;
        const char *where = arena_printf(f->arena, "[uefi.%s] of vored.toml", s->name);

        bool code = check_file(f, "boot-code", s->name, s->boot_code);
        if (!check_file(f, "template", s->name, s->template_) || !code)
                return;
        if (u->secure_boot &&
            host_firmware_secure(f->req->host, s->boot_code, user_config(f->req->settings, f->arena)) == 0)
                FILL_ERROR(f, u, secure_boot, "secure-boot",
                           "leave firmware and [uefi.default] out: then an image that can is looked for",
                           "%s of %s has no Secure Boot", s->boot_code, where);
        const struct host_firmware found = {
                .executable = s->boot_code,
                .format = flash_format(f, s->boot_code),
                .nvram_template = s->template_,
                .nvram_format = flash_format(f, s->template_),
        };
        set_images(f, &found, where);
}

static void fill_from_descriptors(struct fill *f) {
        struct def_uefi *u = &f->def->uefi;
        const struct host_firmware_want want = {
                .arch = f->def->machine.arch,
                .machine = f->def->machine.chipset,
                .secure_boot = u->secure_boot,
                .user_config = user_config(f->req->settings, f->arena),
        };
        _cleanup_error_ struct error err = ERROR_INIT;
        struct host_firmware found;

        if (str_empty(want.machine))
                return;
        if (host_firmware(f->req->host, &want, f->arena, &found, &err) < 0) {
                bool arm = str_eq(want.arch, "aarch64") || str_eq(want.arch, "arm");

                FILL_ERROR(
                        f, u, enabled, "enabled",
                        arm ? "install Debian's package qemu-efi-aarch64, or set [uefi.default] in "
                              "vored.toml" :
                              "install Debian's package ovmf (elsewhere edk2-ovmf), or set [uefi.default] in "
                              "vored.toml",
                        "%s", error_text(&err));
                return;
        }
        set_images(f, &found, found.descriptor);
}

void fill_uefi(struct fill *f) {
        struct def_uefi *u = &f->def->uefi;
        const struct settings *s = f->req->settings;

        if (!u->enabled)
                return;
        if (str_empty(u->firmware)) {
                u->firmware = "default";
                DEF_MARK(u, firmware, ORIGIN_DEFAULT, NULL);
        }
        const struct settings_uefi *named = s ? settings_uefi_find(s, u->firmware) : NULL;
        if (named)
                fill_from_settings(f, named);
        else if (str_eq(u->firmware, "default"))
                fill_from_descriptors(f);
        else
                FILL_ERROR(f, u, firmware, "firmware", s ? known_names(f) : NULL,
                           "vored.toml has no [uefi.%s]", u->firmware);
}

int complete_default_firmware(const struct host *host, const struct settings *settings, const char *arch,
                              const char *chipset, struct arena *arena, const char **ret_boot_code,
                              const char **ret_template, struct error *err) {
        const struct settings_uefi *named = settings ? settings_uefi_find(settings, "default") : NULL;
        _cleanup_free_ char *own = NULL;
        struct host_firmware found;

        if (named) {
                *ret_boot_code = named->boot_code;
                *ret_template = named->template_;
                return 0;
        }
        if (!arch && host_arch(host, &own) < 0)
                return error_set(err, -ENOENT, "this host does not say what architecture it has");
        const struct host_firmware_want want = {
                .arch = arch ? arch : own,
                .machine = chipset ? chipset : "q35",
                .user_config = user_config(settings, arena),
        };
        int r = host_firmware(host, &want, arena, &found, err);
        if (r < 0)
                return r;
        *ret_boot_code = found.executable;
        *ret_template = found.nvram_template;
        return 0;
}
