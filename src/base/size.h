/* Sizes as people write them: binary units, "12G", "512M", "1536 MiB", "1T". */
#pragma once

#include <stdint.h>

/* The whole text is a decimal integer, optional spaces, an optional unit K M G T P with optional "i"
 * and "B" ("12GiB", "12 gb", "12g"; B alone is bytes), or no unit: default_unit bytes. Returns 0,
 * -EINVAL (not a size) or -ERANGE (does not fit in 63 bits). */
int size_parse(const char *text, uint64_t default_unit, uint64_t *ret);

/* The largest unit that divides it: 12884901888 -> "12G"; 0 -> "0". buf holds at least 32 bytes. */
const char *size_print(uint64_t bytes, char buf[static 32]);

/* The lowest power of two that is >= n; 0 if it does not fit in 63 bits. n = 0 gives 1. */
uint64_t size_pow2_ceil(uint64_t n);
