#include "def/internal.h"

#include "base/str.h"

#include <ctype.h>
#include <inttypes.h>

const char *def_disk_type_by_name(const char *path) {
        static const struct {
                const char *end, *type;
        } types[] = {
                { ".img", "raw" },   { ".raw", "raw" }, { ".iso", "raw" },   { ".qcow2", "qcow2" },
                { ".vmdk", "vmdk" }, { ".vdi", "vdi" }, { ".vhdx", "vhdx" },
        };
        const char *dot = strrchr(path, '.');

        if (str_starts(path, "/dev/"))
                return "raw";
        for (size_t i = 0; dot && i < ARRAY_SIZE(types); i++)
                if (strcasecmp(dot, types[i].end) == 0)
                        return types[i].type;
        return NULL;
}

static void rule_disk_twice(const struct def *def, size_t i, struct diags *diags) {
        const struct def_disk *d = &def->disk[i];

        for (size_t j = 0; j < i; j++) {
                const struct def_disk *other = &def->disk[j];

                if (d->boot_index >= 0 && d->boot_index == other->boot_index)
                        DEF_ERROR(diags, d, boot_index, "boot-index", NULL, "%" PRId64 " is %s's already",
                                  d->boot_index, other->head.path);
                if (d->path && str_eq(d->path, other->path) && !(d->read_only && other->read_only))
                        DEF_ERROR(diags, d, path, "path", "with read-only = true for both it is possible",
                                  "\"%.256s\" is %s's already", d->path, other->head.path);
        }
}

static void rule_disks(struct def *def, struct diags *diags) {
        for (size_t i = 0; i < def->n_disk && !diags_full(diags); i++) {
                struct def_disk *d = &def->disk[i];

                rule_disk_twice(def, i, diags);
                if (!d->path || d->disk_type)
                        continue;
                d->disk_type = def_disk_type_by_name(d->path);
                if (d->disk_type)
                        DEF_MARK(d, disk_type, ORIGIN_DEFAULT, "the path's name");
        }
}

const char *def_pci_address(struct arena *arena, const char *s) {
        unsigned domain = 0, bus, slot, function;
        size_t n = strlen(s), of_domain = strspn(s, "0123456789abcdefABCDEF");
        char rest;

        if (s[strspn(s, "0123456789abcdefABCDEF:.")] ||
            !((n == 7 && sscanf(s, "%2x:%2x.%1x%c", &bus, &slot, &function, &rest) == 3) ||
              (of_domain >= 4 && of_domain <= 8 && n == of_domain + 8 &&
               sscanf(s, "%8x:%2x:%2x.%1x%c", &domain, &bus, &slot, &function, &rest) == 4)) ||
            slot > 0x1f || function > 7)
                return NULL;
        return arena_printf(arena, "%04x:%02x:%02x.%x", domain, bus, slot, function);
}

/* What is no address was told already: it is no device. */
static bool vfio_same(struct arena *arena, const struct def_vfio *a, const struct def_vfio *b) {
        if (a->address || b->address)
                return str_eq(a->address, b->address) && def_pci_address(arena, a->address);
        return a->vendor >= 0 && a->device >= 0 && a->vendor == b->vendor && a->device == b->device &&
               a->index == b->index;
}

static void rule_vfio_select(struct def_vfio *v, struct diags *diags) {
        bool vendor = v->vendor >= 0, device = v->device >= 0;

        if (v->address) {
                const char *full = def_pci_address(diags->arena, v->address);

                if (full)
                        v->address = full;
                else
                        DEF_ERROR(diags, v, address, "addr", NULL,
                                  "\"%.64s\" is no PCI address such as \"0b:00.3\" or \"0000:0b:00.3\"",
                                  v->address);
                return;
        }
        /* A faulty value was reported already. */
        if (DEF_GIVEN(v, address) || (vendor || DEF_GIVEN(v, vendor)) == (device || DEF_GIVEN(v, device))) {
                if (!DEF_GIVEN(v, address) && !DEF_GIVEN(v, vendor) && !DEF_GIVEN(v, device))
                        diag_error(diags, v->head.loc, v->head.path, NULL,
                                   "must say which device: by vendor and device, or by addr");
                return;
        }
        diag_error(diags, vendor ? DEF_LOC(v, vendor) : DEF_LOC(v, device),
                   section_key(diags->arena, &v->head, vendor ? "vendor" : "device"),
                   arena_printf(diags->arena, "add %s or addr", vendor ? "device" : "vendor"),
                   "alone selects nothing: it needs %s, or addr beside it", vendor ? "device" : "vendor");
}

static void rule_vfio(struct def *def, struct diags *diags) {
        for (size_t i = 0; i < def->n_vfio && !diags_full(diags); i++) {
                struct def_vfio *v = &def->vfio[i];

                rule_vfio_select(v, diags);
                for (size_t j = 0; j < i; j++)
                        if (vfio_same(diags->arena, v, &def->vfio[j])) {
                                DEF_ERROR(diags, v, address, v->address ? "addr" : "index",
                                          v->address ? NULL :
                                                       "write index = 1 for the second of two equal ones",
                                          "the same device as %s", def->vfio[j].head.path);
                                break;
                        }
        }
}

/* "1-2.3": bus, "-", ports with dots. */
static bool is_usb_port(const char *s) {
        size_t n = strspn(s, "0123456789");

        if (!n || s[n] != '-')
                return false;
        do {
                s += n + 1;
                n = strspn(s, "0123456789");
                if (!n)
                        return false;
        } while (s[n] == '.');
        return s[n] == '\0';
}

static void rule_usb(struct def *def, struct diags *diags) {
        for (size_t i = 0; i < def->n_usb; i++) {
                struct def_usb *u = &def->usb[i];
                bool vendor = DEF_GIVEN(u, vendor), product = DEF_GIVEN(u, product);

                if (!vendor && !product && !DEF_GIVEN(u, port) && !DEF_GIVEN(u, serial))
                        diag_error(diags, u->head.loc, u->head.path, NULL,
                                   "must say which device: by vendor and product, by port, or by serial");
                if (vendor != product)
                        diag_error(diags, vendor ? DEF_LOC(u, vendor) : DEF_LOC(u, product),
                                   section_key(diags->arena, &u->head, vendor ? "vendor" : "product"), NULL,
                                   "needs %s beside it", vendor ? "product" : "vendor");
                if (DEF_GIVEN(u, index) && !vendor && !product)
                        DEF_ERROR(diags, u, index, "index", NULL,
                                  "counts devices of one vendor and product: give both");
                if (u->port && !is_usb_port(u->port))
                        DEF_ERROR(diags, u, port, "port", NULL, "\"%.64s\" is no USB port such as \"1-2.3\"",
                                  u->port);
        }
}

static bool is_mac(const char *s) {
        for (size_t i = 0; i < 17; i++)
                if (i % 3 == 2 ? s[i] != ':' : !isxdigit((unsigned char) s[i]))
                        return false;
        return s[17] == '\0';
}

/* The lowest bit of the first byte marks a group address (IEEE 802). */
static bool is_multicast(const char *mac) {
        return strchr("13579bBdDfF", mac[1]) != NULL;
}

static void rule_network_type(struct def_network *n, struct diags *diags) {
        bool bridge = str_eq(n->type, "bridge"), macvtap = str_eq(n->type, "macvtap");
        bool ports = str_eq(n->type, "user") || str_eq(n->type, "passt");

        if (bridge != (n->bridge != NULL) && !(DEF_GIVEN(n, bridge) && !n->bridge))
                DEF_ERROR(diags, n, bridge, "bridge", NULL,
                          bridge ? "is required for type = \"bridge\"" : "belongs to type = \"bridge\" only");
        if (macvtap && !DEF_GIVEN(n, interface))
                DEF_ERROR(diags, n, interface, "interface", NULL, "is required for type = \"macvtap\"");
        if (n->interface && !macvtap && !str_eq(n->type, "tap"))
                DEF_ERROR(diags, n, interface, "interface", NULL,
                          "belongs to type = \"tap\" and type = \"macvtap\" only");
        if (n->forward.n && !ports)
                DEF_ERROR(diags, n, forward, "forward", NULL,
                          "belongs to type = \"user\" and type = \"passt\" only");
}

static void rule_network(struct def *def, struct diags *diags) {
        for (size_t i = 0; i < def->n_network; i++) {
                struct def_network *n = &def->network[i];

                rule_network_type(n, diags);
                if (n->mac && !is_mac(n->mac))
                        DEF_ERROR(diags, n, mac, "mac", NULL,
                                  "\"%.64s\" is no MAC address such as \"52:54:00:12:34:56\"", n->mac);
                else if (n->mac && is_multicast(n->mac))
                        DEF_ERROR(diags, n, mac, "mac", "make the second digit even",
                                  "\"%s\" is an address for groups, not for one card", n->mac);
                if (str_eq(n->type, "none") && def->n_network > 1)
                        DEF_ERROR(diags, n, type, "type", NULL,
                                  "\"none\" cannot stand beside other network sections");
        }
}

static void rule_input(struct def *def, struct diags *diags) {
        for (size_t i = 0; i < def->n_input; i++) {
                struct def_input *in = &def->input[i];
                bool path = DEF_GIVEN(in, path), name = DEF_GIVEN(in, name);

                if (path == name)
                        diag_error(diags, in->head.loc, in->head.path, NULL,
                                   path ? "has both a path and a name: keep one" :
                                          "must say which device: by path or by name");
        }
}

void def_rules_devices(struct def *def, struct diags *diags) {
        rule_disks(def, diags);
        rule_vfio(def, diags);
        rule_usb(def, diags);
        rule_network(def, diags);
        rule_input(def, diags);
}
