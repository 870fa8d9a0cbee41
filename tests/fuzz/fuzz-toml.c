/* Any bytes as a definition: they are refused with a place, or read and shown. */
#include "def/def.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_arena_ struct arena *arena = arena_new();
        _cleanup_free_ char *text = NULL;
        _cleanup_fclose_ FILE *sink = NULL;
        struct def *def = NULL;
        struct diags diags;
        size_t text_len;

        diags_init(&diags, arena, "fuzz.toml");

        int r = def_parse(arena, (const char *) data, size, "/folder", size % 2 ? DEF_SAVE : 0, &def, &diags);
        if ((r < 0) != (diags.errors > 0) || !def)
                abort();

        _cleanup_json_ json_t *shown = def_to_json(def, DEF_JSON_ORIGIN), *faults = diags_to_json(&diags);
        if (!shown || !faults)
                abort();

        /* Where it names a place, there is one. */
        for (size_t i = 0; i < diags.n; i++)
                if (diags.items[i].loc.line > size + 1 || diags.items[i].loc.column > size + 2)
                        abort();
        sink = open_memstream(&text, &text_len);
        if (sink)
                diags_print(&diags, sink, NULL, false);
        return 0;
}
