/* How much memory Looking Glass shares with its guest.
 *
 * Its documentation has two formulas, and nobody can know which client somebody has:
 *   released (B6, B7), doc/install.rst "Determining memory" and doc/install_libvirt.rst:
 *     W x H x B x 2 + 10 MiB, B bytes for a pixel: 4, or 8 for HDR
 *   coming (after B7, with the virtual display), doc/install_libvirt.rst:
 *     P x H x 3 + 4 MiB, P bytes for a line: 4 x W, rounded up to a multiple of 256; HDR needs no more
 * Both then go up to a power of two, as a PCI device's memory must have one. */
#pragma once

#include <stdint.h>

/* Bytes for a screen of width x height pixels with bit_depth bits for each colour (8, or more for HDR);
 * before the power of two. Sides up to 65535 do not overflow. */
uint64_t looking_glass_released(int64_t width, int64_t height, int64_t bit_depth);
uint64_t looking_glass_coming(int64_t width, int64_t height);

/* What is enough for both, as a power of two. */
uint64_t looking_glass_need(int64_t width, int64_t height, int64_t bit_depth);
