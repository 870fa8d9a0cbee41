#include "complete/fill.h"

void complete(struct def *def, const struct complete_request *req, struct diags *diags) {
        static void (*const fillers[])(struct fill *) = {
                fill_machine, fill_kvm,     fill_cpu,           fill_clock,   fill_memory,
                fill_disks,   fill_vfio,    fill_uefi,          fill_sockets, fill_sound,
                fill_network, fill_desktop, fill_shared_memory,
        };
        struct fill f = { .def = def, .req = req, .diags = diags, .arena = def->arena };

        for (size_t i = 0; i < ARRAY_SIZE(fillers); i++)
                fillers[i](&f);
}
