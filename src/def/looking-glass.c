#include "def/looking-glass.h"

#include "base/macros.h"
#include "base/size.h"

#define MIB (UINT64_C(1) << 20)

uint64_t looking_glass_released(int64_t width, int64_t height, int64_t bit_depth) {
        uint64_t pixel = bit_depth > 8 ? 8 : 4;

        return (uint64_t) width * (uint64_t) height * pixel * 2 + 10 * MIB;
}

uint64_t looking_glass_coming(int64_t width, int64_t height) {
        uint64_t line = (4 * (uint64_t) width + 255) / 256 * 256;

        return line * (uint64_t) height * 3 + 4 * MIB;
}

uint64_t looking_glass_need(int64_t width, int64_t height, int64_t bit_depth) {
        uint64_t released = looking_glass_released(width, height, bit_depth);
        uint64_t coming = looking_glass_coming(width, height);

        return size_pow2_ceil(MAX(released, coming));
}
