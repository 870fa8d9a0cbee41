/* What the guest has for the person in front of it. Looking Glass documents what its client wants
 * (doc/install_libvirt.rst and doc/usage.rst of B7): a plain VGA as fallback display; virtio keyboard and
 * mouse, and no tablet, whose absolute positions break its capture of the mouse; the agent; sound over SPICE.
 * Its coming version takes sound over a channel for USB redirection instead. */
#include "complete/fill.h"

/* Two, as virt-manager has it: Looking Glass's sound may take one. */
enum { USB_CHANNELS = 2 };

static const struct def_vfio *graphics(const struct def *def) {
        for (size_t i = 0; i < def->n_vfio; i++)
                if (def->vfio[i].graphics)
                        return &def->vfio[i];
        return NULL;
}

static void fill_display(struct fill *f) {
        struct def_spice *s = &f->def->spice;
        const struct def_vfio *card = graphics(f->def);
        bool lg = f->def->looking_glass.enabled;

        if (card && !f->req->display) {
                s->display = "none";
                DEF_MARK(s, display, ORIGIN_DEFAULT, arena_printf(f->arena, "%s.graphics", card->head.path));
                return;
        }
        s->display = lg ? "VGA" : "virtio-vga";
        DEF_MARK(s, display, ORIGIN_DEFAULT, lg ? "looking-glass" : card ? "--display" : NULL);
}

/* Who asks for sound elsewhere wants it there. */
static const struct def_audio *other_sound(const struct def *def) {
        const struct def_audio *const all[] = { &def->pulse, &def->pipewire, &def->jack };

        for (size_t i = 0; i < ARRAY_SIZE(all); i++)
                if (all[i]->enabled)
                        return all[i];
        return NULL;
}

void fill_desktop(struct fill *f) {
        struct def_spice *s = &f->def->spice;
        bool lg = f->def->looking_glass.enabled;
        const char *where = lg ? "looking-glass" : NULL;
        const struct def_audio *other = other_sound(f->def);

        if (lg) {
                s->keyboard = "virtio-keyboard-pci";
                s->pointer = "virtio-mouse-pci";
        } else if (s->enabled) {
                s->keyboard = "none";
                s->pointer = "usb-tablet";
        }
        DEF_MARK(s, keyboard, ORIGIN_DEFAULT, where);
        DEF_MARK(s, pointer, ORIGIN_DEFAULT, where);
        if (s->enabled || lg) /* without either nothing could show it */
                fill_display(f);
        if (!s->enabled)
                return;
        s->agent = true;
        s->audio = !other;
        s->usb_redirection = USB_CHANNELS;
        DEF_MARK(s, agent, ORIGIN_DEFAULT, where);
        DEF_MARK(s, audio, ORIGIN_DEFAULT, other ? other->head.path : where);
        DEF_MARK(s, usb_redirection, ORIGIN_DEFAULT, where);
}
