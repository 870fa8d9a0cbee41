/* What the guest sees of its devices: their places, the graphics card, the option ROM. */
#include "complete/vfio.h"

#include "host/disk.h"

#include <errno.h>

/* "0000:0b:00.1": all but the last digit is the slot. */
static bool same_slot(const struct host_pci *a, const struct host_pci *b) {
        size_t n = strlen(a->address);

        return n == strlen(b->address) && strncmp(a->address, b->address, n - 1) == 0;
}

static int64_t host_function(const struct host_pci *d) {
        return d->address[strlen(d->address) - 1] - '0';
}

/* In the guest too? One that comes later finds the slot of its sisters closed. */
static bool together(const struct vfio_fill *x, size_t i, size_t j) {
        return x->found[j] && x->f->def->vfio[i].held == x->f->def->vfio[j].held &&
               same_slot(x->found[i], x->found[j]);
}

/* The lowest function of its slot must be 0 in the guest: without one nobody looks for the others (PCI Local
 * Bus Specification 3.0, 3.2.2.3.4). */
static void place(const struct vfio_fill *x, size_t i, int64_t *next_slot) {
        struct def *def = x->f->def;
        struct def_vfio *v = &def->vfio[i];
        int64_t slot = -1, lowest = host_function(x->found[i]), n = 0;

        for (size_t j = 0; j < def->n_vfio; j++)
                if (together(x, i, j)) {
                        slot = j < i && slot < 0 ? def->vfio[j].guest_slot : slot;
                        lowest = MIN(lowest, host_function(x->found[j]));
                        n++;
                }
        v->guest_slot = slot < 0 ? (*next_slot)++ : slot;
        v->guest_function = host_function(x->found[i]) == lowest ? 0 : host_function(x->found[i]);
        if (v->multifunction || n == 1 || v->guest_function != 0)
                return;
        if (DEF_GIVEN(v, multifunction))
                FILL_WARNING(x->f, v, multifunction, "multifunction", NULL,
                             "is set all the same: other functions of the slot are passed through too");
        v->multifunction = true;
        DEF_MARK(v, multifunction, ORIGIN_HOST, "other functions of its slot");
}

static void fill_graphics(const struct vfio_fill *x, size_t i) {
        struct fill *f = x->f;
        struct def_vfio *v = &f->def->vfio[i];
        bool vga = x->found[i]->class >> 8 == 0x0300, given = v->x_vga == TRI_TRUE || v->x_vga == TRI_FALSE;

        if (v->graphics && !host_pci_is_display(x->found[i]->class))
                FILL_WARNING(f, v, graphics, "graphics", "QEMU shows nothing then: is another device meant?",
                             "%s is no graphics card", vfio_words(x, x->found[i]));
        if (v->x_vga == TRI_TRUE && !vga)
                FILL_ERROR(f, v, x_vga, "x-vga", "leave it out", "%s has no VGA registers to give",
                           vfio_words(x, x->found[i]));
        if (given)
                return;
        /* Beside QEMU's adapter there cannot be a second one with VGA registers. */
        v->x_vga = v->graphics && vga && !f->req->display ? TRI_TRUE : TRI_FALSE;
        if (!v->along)
                DEF_MARK(v, x_vga, ORIGIN_HOST, v->graphics && f->req->display ? "--display" : "its class");
}

static void check_rom(const struct vfio_fill *x, size_t i) {
        struct fill *f = x->f;
        struct def_vfio *v = &f->def->vfio[i];
        _cleanup_host_disk_ struct host_disk file = { 0 };

        if (str_empty(v->rom))
                return;
        int r = host_disk(f->req->host, v->rom, &file);
        if (r < 0)
                FILL_ERROR(f, v, rom, "rom", "without rom the guest sees the device's own, which mostly does",
                           "%s %s%s", v->rom, r == -ENOENT ? "does not exist" : "cannot be used: ",
                           r == -ENOENT ? "" : strerror(-r));
        else if (file.node.type != 'f')
                FILL_ERROR(f, v, rom, "rom", "it is to be a file with the contents of an option ROM",
                           "%s is no file", v->rom);
        else if (!file.node.readable)
                FILL_ERROR(f, v, rom, "rom",
                           arena_printf(f->arena,
                                        "chmod a+r %s, and see that its folders let this user through",
                                        v->rom),
                           "%s may not be read by this user", v->rom);
        if (v->rom_bar == TRI_FALSE)
                FILL_WARNING(f, v, rom, "rom", "leave out one of them", "has no effect with rom-bar = false");
}

void vfio_guest(struct vfio_fill *x) {
        struct fill *f = x->f;
        int64_t next_slot = 0;
        bool graphics = false;

        for (size_t i = 0; i < f->def->n_vfio; i++) {
                graphics = graphics || f->def->vfio[i].graphics;
                check_rom(x, i);
                if (!x->found[i])
                        continue;
                place(x, i, &next_slot);
                fill_graphics(x, i);
        }
        if (graphics && f->req->display && !f->def->spice.enabled)
                FILL_WARNING(f, &f->def->machine, features, "features", "add \"spice\" to features",
                             "--display keeps a display adapter, but without SPICE nothing shows it");
}
