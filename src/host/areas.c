/* SPDX-License-Identifier: MIT */
#include "host/areas.h"

#include <errno.h>
#include <search.h>

#include "base/error.h"

uint64_t host_area_length(const struct host_area *area)
{
    return area->last - area->start + 1;
}

int host_areas_compare(const void *a, const void *b)
{
    const struct host_area *left = a, *right = b;

    if (left->last < right->start)
        return -1;
    return left->start > right->last;
}

struct host_area *host_areas_find(void *const *root, uint64_t start, uint64_t last)
{
    const struct host_area key = {.start = start, .last = last};
    struct host_area **node = tfind(&key, root, host_areas_compare);

    return node ? *node : NULL;
}

int host_areas_check_free(void *const *root, uint32_t ioas_id, uint64_t start, uint64_t last,
                          struct viommu_error *error)
{
    const struct host_area *other = host_areas_find(root, start, last);

    if (!other)
        return 0;
    return error_set(error, -EEXIST,
                     "IOVAs 0x%llx..0x%llx overlap the mapping 0x%llx..0x%llx of IOAS %u; unmap "
                     "that first",
                     (unsigned long long)start, (unsigned long long)last,
                     (unsigned long long)other->start, (unsigned long long)other->last, ioas_id);
}

/* Only the mappings at the two ends can be cut. */
int host_areas_check_cut(void *const *root, uint32_t ioas_id, uint64_t start, uint64_t last,
                         struct viommu_error *error)
{
    const struct host_area *ends[2] = {host_areas_find(root, start, start),
                                       host_areas_find(root, last, last)};

    for (int i = 0; i < 2; i++) {
        if (ends[i] && (ends[i]->start < start || ends[i]->last > last))
            return error_set(error, -ENOENT,
                             "Unmapping IOVAs 0x%llx..0x%llx of IOAS %u would cut the mapping "
                             "0x%llx..0x%llx; unmap whole mappings",
                             (unsigned long long)start, (unsigned long long)last, ioas_id,
                             (unsigned long long)ends[i]->start, (unsigned long long)ends[i]->last);
    }
    return 0;
}
