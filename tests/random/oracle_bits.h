/* SPDX-License-Identifier: MIT */
/* Bits of a number, as the specification names them: [high:low]. */
#ifndef RANDOM_ORACLE_BITS_H
#define RANDOM_ORACLE_BITS_H

#include <stdbool.h>
#include <stdint.h>

static inline bool bit(uint64_t value, unsigned int n)
{
    return value >> n & 1;
}

static inline uint64_t bits(uint64_t value, unsigned int high, unsigned int low)
{
    return value << (63 - high) >> (63 - high + low);
}

#endif
