/* What a script's worker sends over its pipe: arbitrary JSON must never hurt whoever reads it, and what is
 * taken survives the way back. */
#include "script/script.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_json_ json_t *j = NULL, *again = NULL, *back = NULL;
        struct script_result result = { 0 }, second = { 0 };

        if (json_parse((const char *) data, size, &j, NULL) < 0 ||
            script_result_from_json(j, &result, NULL) < 0)
                return 0;
        again = script_result_to_json(&result);
        if (script_result_from_json(again, &second, NULL) < 0)
                abort();
        back = script_result_to_json(&second);
        if (!json_equal(again, back))
                abort();
        script_result_done(&result);
        script_result_done(&second);
        return 0;
}
