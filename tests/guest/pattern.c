/* SPDX-License-Identifier: MIT */
#include "guest.h"

#include <string.h>

/* A 64-bit finalizer (murmur3's constants): neighbouring inputs give unrelated words. */
static uint64_t mix(uint64_t x)
{
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdull;
    x ^= x >> 33;
    x *= 0xc4ceb9fe1a85ec53ull;
    return x ^ x >> 33;
}

/* Eight bytes of the pattern, at a multiple of eight; guests in an emulator feel the difference. */
static uint64_t pattern_word(uint64_t seed, uint64_t offset)
{
    return mix((seed << 40) + offset / 8 + 1);
}

/* Bytes of the word at offset that lie before its end and the end of size bytes. */
static size_t piece(uint64_t offset, size_t size)
{
    size_t left = 8 - offset % 8;

    return left < size ? left : size;
}

void pattern_fill(void *buf, size_t size, uint64_t seed, uint64_t offset)
{
    uint8_t *bytes = buf;

    for (size_t n; size; bytes += n, size -= n, offset += n) {
        uint64_t word = pattern_word(seed, offset);

        n = piece(offset, size);
        memcpy(bytes, (uint8_t *)&word + offset % 8, n);
    }
}

bool pattern_matches(const void *buf, size_t size, uint64_t seed, uint64_t offset)
{
    const uint8_t *bytes = buf;

    for (size_t n; size; bytes += n, size -= n, offset += n) {
        uint64_t word = pattern_word(seed, offset);

        n = piece(offset, size);
        if (memcmp(bytes, (uint8_t *)&word + offset % 8, n))
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
