/* Writes the keys of a file as a part of its man page: vore-print-man vore.toml|vored.toml. Run by the build.
 */
#include "base/str.h"
#include "def/def.h"
#include "settings/settings.h"

int main(int argc, char **argv) {
        static const struct schema *const all[] = { &def_schema, &settings_schema };

        for (size_t i = 0; argc == 2 && i < ARRAY_SIZE(all); i++)
                if (str_eq(argv[1], all[i]->file)) {
                        schema_print_man(stdout, all[i]);
                        return fflush(stdout) == 0 ? 0 : 1;
                }
        fputs("usage: vore-print-man vore.toml|vored.toml\n", stderr);
        return 2;
}
