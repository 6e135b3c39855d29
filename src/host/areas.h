/* SPDX-License-Identifier: MIT */
/* What is mapped in an address space, as backends that keep a list of it do: areas never overlap.
 */
#ifndef HOST_AREAS_H
#define HOST_AREAS_H

#include <stdint.h>
#include <viommu/error.h>

struct host_area {
    uint64_t start;
    uint64_t last;
    uint64_t address; /* in this process */
    uint32_t flags;   /* VIOMMU_HOST_MAP_* */
};

uint64_t host_area_length(const struct host_area *area);

/* For tsearch() and the like. Areas that overlap compare as equal: a search for a range finds one
 * of those in it. */
int host_areas_compare(const void *a, const void *b);
struct host_area *host_areas_find(void *const *root, uint64_t start, uint64_t last);

/* -EEXIST: [start, last] overlaps what is mapped. */
int host_areas_check_free(void *const *root, uint32_t ioas_id, uint64_t start, uint64_t last,
                          struct viommu_error *error);
/* -ENOENT: an unmap of [start, last] would cut an area. */
int host_areas_check_cut(void *const *root, uint32_t ioas_id, uint64_t start, uint64_t last,
                         struct viommu_error *error);

#endif
