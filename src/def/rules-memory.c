/* Memory that guest and host share: [looking-glass] and [scream]. A PCI device's memory is a power of two. */
#include "def/internal.h"

#include "base/size.h"
#include "base/str.h"
#include "def/looking-glass.h"

#include <inttypes.h>

static void rule_looking_glass(struct def *def, struct diags *diags) {
        struct def_looking_glass *lg = &def->looking_glass;
        uint64_t need = looking_glass_need(lg->width, lg->height, lg->bit_depth);
        char have_text[32], need_text[32];

        if (!lg->buffer_size) {
                lg->buffer_size = need;
                if (!DEF_GIVEN(lg, buffer_size))
                        DEF_MARK(lg, buffer_size, ORIGIN_DEFAULT, "width, height and bit-depth");
                return;
        }
        lg->buffer_size = size_pow2_ceil(lg->buffer_size);
        if (lg->buffer_size < need)
                diag_warning(diags, DEF_LOC(lg, buffer_size), "looking-glass.buffer-size",
                             "leave it out: width, height and bit-depth give the size",
                             "%s is too small for %" PRId64 "x%" PRId64 ", which needs %s",
                             size_print(lg->buffer_size, have_text), lg->width, lg->height,
                             size_print(need, need_text));
}

/* Scream's driver in Windows takes the memory of its size; Looking Glass's documentation warns of the two
 * together. */
static void rule_both(struct def *def, struct diags *diags) {
        const struct def_looking_glass *lg = &def->looking_glass;
        const struct def_scream *s = &def->scream;
        char text[32];

        diag_warning(diags, DEF_LOC(s, enabled), "scream.enabled",
                     "SPICE's sound, pulse, pipewire or jack do without it",
                     "Looking Glass advises against Scream over shared memory: its driver may take Looking "
                     "Glass's");
        if (s->buffer_size == lg->buffer_size)
                DEF_ERROR(diags, s, buffer_size, "buffer-size",
                          "the size is what Scream's driver finds its own by",
                          "%s is the size of Looking Glass's memory too: the guest could not tell them apart",
                          size_print(s->buffer_size, text));
        if (s->mem_path && str_eq(s->mem_path, lg->mem_path))
                DEF_ERROR(diags, s, mem_path, "mem-path", "leave it out",
                          "\"%.256s\" is Looking Glass's already", s->mem_path);
}

void def_rules_memory(struct def *def, struct diags *diags) {
        struct def_scream *scream = &def->scream;

        if (def->looking_glass.enabled)
                rule_looking_glass(def, diags);
        if (!scream->enabled)
                return;
        scream->buffer_size = size_pow2_ceil(scream->buffer_size);
        if (def->looking_glass.enabled)
                rule_both(def, diags);
}
