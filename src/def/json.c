#include "def/def.h"

json_t *def_to_json(const struct def *def, unsigned flags) {
        unsigned f = (flags & DEF_JSON_LUA ? SCHEMA_JSON_LUA : 0) |
                     (flags & DEF_JSON_ORIGIN ? SCHEMA_JSON_ORIGIN : 0);
        /* [machine] stands at the top level too: instance.name. */
        json_t *all = schema_item_to_json(&def->machine.head, def->file, f);

        for (size_t i = 0; i < def_schema.n_sections; i++) {
                const struct schema_section *section = &def_schema.sections[i];
                char name[64];

                json_put(all, schema_lua_name(section->lua, section->name, name),
                         schema_to_json(section, def, def->file, f));
        }
        return all;
}
