/* SPDX-License-Identifier: MIT */
/*
 * Tables and requests under a fuzzer that looks for disagreement: the model, the simulated host and
 * the oracle of tests/random see what the fuzzer makes up. Something that crashes or leaks is
 * found, too.
 */
#include <stdlib.h>

#include "random/bytes.h"
#include "random/shrink.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static struct world world;
    struct test_case test;
    size_t at;

    case_from_bytes(&test, bytes, length);
    if (!replay(&world, &test, &at)) {
        fprintf(stderr, "operation %zu of %zu: %s\n", at + 1, test.count, world.failure);
        case_print(&test, stderr);
        abort();
    }
    case_free(&test);
    world_end(&world);
    return 0;
}
