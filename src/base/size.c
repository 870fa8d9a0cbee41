#include "base/size.h"

#include "base/macros.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char units[] = "BKMGTP";

static int unit_parse(const char *text, uint64_t *ret) {
        const char *unit = strchr(units, toupper((unsigned char) *text));

        if (!unit)
                return -EINVAL;
        *ret = UINT64_C(1) << (10 * (unit - units));
        if (unit == units)
                return text[1] ? -EINVAL : 0;
        return strcasecmp(text + 1, "") == 0 || strcasecmp(text + 1, "B") == 0 ||
                               strcasecmp(text + 1, "iB") == 0 || strcasecmp(text + 1, "i") == 0 ?
                       0 :
                       -EINVAL;
}

int size_parse(const char *text, uint64_t default_unit, uint64_t *ret) {
        uint64_t n = 0, unit = default_unit;
        const char *p = text;

        if (!isdigit((unsigned char) *p))
                return -EINVAL;
        for (; isdigit((unsigned char) *p); p++)
                if (__builtin_mul_overflow(n, 10u, &n) ||
                    __builtin_add_overflow(n, (uint64_t) (*p - '0'), &n))
                        return -ERANGE;
        while (*p == ' ')
                p++;
        if (*p && unit_parse(p, &unit) < 0)
                return -EINVAL;
        if (__builtin_mul_overflow(n, unit, &n) || n > INT64_MAX)
                return -ERANGE;
        *ret = n;
        return 0;
}

const char *size_print(uint64_t bytes, char buf[static 32]) {
        int i = 0;

        while (bytes && bytes % 1024 == 0 && i < 5) {
                bytes /= 1024;
                i++;
        }
        snprintf(buf, 32, i ? "%" PRIu64 "%c" : "%" PRIu64, bytes, units[i]);
        return buf;
}

uint64_t size_pow2_ceil(uint64_t n) {
        uint64_t p = 1;

        while (p < n) {
                if (p > INT64_MAX / 2)
                        return 0;
                p *= 2;
        }
        return p;
}
