/* SPDX-License-Identifier: MIT */
/* Why a kernel does not map memory for devices, and what to do about it. */
#ifndef HOST_MAP_ERRORS_H
#define HOST_MAP_ERRORS_H

#include <viommu/host.h>

#include "host/sys.h"

struct host_map {
    uint32_t ioas_id;
    uint64_t iova;
    uint64_t length;
    void *address;
    uint32_t flags; /* VIOMMU_HOST_MAP_* */
};

/*
 * One sentence for `code`, a negative errno of the kernel's, which it returns. The ranges are those
 * that can be mapped, count 0: not known.
 */
int host_map_failed(const struct host_sys *sys, const struct host_map *map,
                    const struct viommu_host_iova_range *ranges, size_t count, int code,
                    struct viommu_error *error);

#endif
