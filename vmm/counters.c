/* SPDX-License-Identifier: MIT */
#include "counters.h"
#include <stdint.h>
#include <stdio.h>
#include <string.h>

void vmm_counters_print(const char *prefix, const struct vmm_counter *counters, size_t count,
                        const void *values)
{
    uint64_t value;
    size_t i;

    for (i = 0; i < count; i++) {
        memcpy(&value, (const char *)values + counters[i].offset, sizeof(value));
        fprintf(stderr, "stats: %s.%s %llu\n", prefix, counters[i].name, (unsigned long long)value);
    }
}
