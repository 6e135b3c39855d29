/* SPDX-License-Identifier: MIT */
/* What a fuzzer made up, taken from its beginning. */
#ifndef RANDOM_INPUT_H
#define RANDOM_INPUT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct input {
    const uint8_t *bytes;
    size_t length;
};

/* The next n (1..8) bytes as a number; zeros beyond the end. */
static inline uint64_t input_take(struct input *input, size_t n)
{
    uint64_t value = 0;

    if (n > input->length)
        n = input->length;
    memcpy(&value, input->bytes, n);
    input->bytes += n;
    input->length -= n;
    return value;
}

#endif
