/* SPDX-License-Identifier: MIT */
/* What every unit test begins with. */
#ifndef UNIT_H
#define UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define SEED_DEFAULT UINT64_C(0x9e3779b97f4a7c15)

/* xorshift64*: every random test is repeatable by its seed. */
static inline uint64_t unit_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(0x2545f4914f6cdd1d);
}

/* The seed of this run: VIOMMU_TEST_SEED, or always the same. Printed, so that it can be repeated.
 */
static inline uint64_t unit_seed(void)
{
    const char *text = getenv("VIOMMU_TEST_SEED");
    uint64_t seed = text ? strtoull(text, NULL, 0) : SEED_DEFAULT;

    seed = seed ? seed : SEED_DEFAULT;
    print_message("seed: VIOMMU_TEST_SEED=0x%llx\n", (unsigned long long)seed);
    return seed;
}

/* Page-aligned memory of zeros; free() it. */
static inline void *unit_pages(size_t count)
{
    void *pages = aligned_alloc(4096, count * 4096);

    if (!pages)
        abort();
    return memset(pages, 0, count * 4096);
}

#endif
