/* Time: CLOCK_MONOTONIC for spans, CLOCK_REALTIME for people. Microseconds. */
#pragma once

#include <stdint.h>

uint64_t clock_monotonic_us(void);
uint64_t clock_realtime_us(void);
