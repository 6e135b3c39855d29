/* SPDX-License-Identifier: MIT */
/* --stats: 64-bit counters of a structure, as lines "stats: PREFIX.NAME VALUE" on standard error.
 */
#ifndef VMM_COUNTERS_H
#define VMM_COUNTERS_H

#include <stddef.h>

struct vmm_counter {
    const char *name;
    size_t offset;
};

#define VMM_COUNTER(type, member)                                                                  \
    {                                                                                              \
#member, offsetof(type, member)                                                            \
    }

void vmm_counters_print(const char *prefix, const struct vmm_counter *counters, size_t count,
                        const void *values);

#endif
