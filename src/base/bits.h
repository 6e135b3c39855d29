/* SPDX-License-Identifier: MIT */
/* Bit fields of 64-bit registers and structures, and arithmetic that notices overflow. */
#ifndef BASE_BITS_H
#define BASE_BITS_H

#include <stdbool.h>
#include <stdint.h>

#define BIT64(n)             (UINT64_C(1) << (n))
#define GENMASK64(high, low) ((~UINT64_C(0) >> (63 - (high))) & (~UINT64_C(0) << (low)))

/* The field of value that mask (contiguous, not 0) covers, shifted down. */
static inline uint64_t field_get(uint64_t mask, uint64_t value)
{
    return (value & mask) >> __builtin_ctzll(mask);
}

/* value shifted up to where mask lies; bits that do not fit are dropped. */
static inline uint64_t field_prep(uint64_t mask, uint64_t value)
{
    return (value << __builtin_ctzll(mask)) & mask;
}

/* The lowest n bits; n is 0..64. */
static inline uint64_t low_bits(unsigned int n)
{
    return n >= 64 ? ~UINT64_C(0) : BIT64(n) - 1;
}

static inline bool is_aligned(uint64_t value, uint64_t power_of_two)
{
    return !(value & (power_of_two - 1));
}

/* True when [start, start + length) does not exist within 64 bits. */
static inline bool range_overflows(uint64_t start, uint64_t length)
{
    return length && start + (length - 1) < start;
}

#endif
