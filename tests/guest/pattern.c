/* SPDX-License-Identifier: MIT */
#include "guest.h"

/* A 64-bit finalizer (murmur3's constants): neighbouring inputs give unrelated words. */
static uint64_t mix(uint64_t x)
{
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdull;
    x ^= x >> 33;
    x *= 0xc4ceb9fe1a85ec53ull;
    return x ^ x >> 33;
}

static uint8_t pattern_byte(uint64_t seed, uint64_t offset)
{
    uint64_t word = mix((seed << 40) + offset / 8 + 1);

    return (uint8_t)(word >> offset % 8 * 8);
}

void pattern_fill(void *buf, size_t size, uint64_t seed, uint64_t offset)
{
    uint8_t *bytes = buf;

    for (size_t i = 0; i < size; i++)
        bytes[i] = pattern_byte(seed, offset + i);
}

bool pattern_matches(const void *buf, size_t size, uint64_t seed, uint64_t offset)
{
    const uint8_t *bytes = buf;

    for (size_t i = 0; i < size; i++) {
        if (bytes[i] != pattern_byte(seed, offset + i))
            return false;
    }
    return true;
}

/* FNV-1a, 64 bits. */
uint64_t checksum(uint64_t sum, const void *buf, size_t size)
{
    const uint8_t *bytes = buf;

    for (size_t i = 0; i < size; i++)
        sum = (sum ^ bytes[i]) * 0x100000001b3ull;
    return sum;
}
