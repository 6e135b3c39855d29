/* SPDX-License-Identifier: MIT */
#include "host/map_errors.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"

static bool is_within(const struct host_map *map, const struct viommu_host_iova_range *ranges,
                      size_t count)
{
    uint64_t last = map->iova + map->length - 1;

    for (size_t i = 0; i < count; i++) {
        if (map->iova >= ranges[i].start && last <= ranges[i].last)
            return true;
    }
    return false;
}

static int say_hole(const struct host_map *map, const struct viommu_host_iova_range *ranges,
                    size_t count, struct viommu_error *error)
{
    error_set(error, -EINVAL,
              "IOVAs 0x%llx-0x%llx are not all among those that the devices of IOAS %u can use "
              "(others are beyond the IOMMU's width, for interrupts, or reserved by the firmware); "
              "move this memory of the guest into",
              (unsigned long long)map->iova, (unsigned long long)(map->iova + map->length - 1),
              map->ioas_id);
    for (size_t i = 0; i < count; i++)
        error_append(error, "%s 0x%llx-0x%llx", i ? "," : "", (unsigned long long)ranges[i].start,
                     (unsigned long long)ranges[i].last);
    return -EINVAL;
}

static int say_invalid(const struct host_map *map, struct viommu_error *error)
{
    if (!(map->flags & VIOMMU_HOST_MAP_WRITE))
        return error_set(error, -EINVAL,
                         "Read-only memory at IOVA 0x%llx cannot be mapped in IOAS %u: a nesting "
                         "parent does not take it (erratum 772415); map it writable, or leave it "
                         "out",
                         (unsigned long long)map->iova, map->ioas_id);
    return error_set(error, -EINVAL,
                     "The kernel does not map 0x%llx bytes at %p to IOVA 0x%llx of IOAS %u: "
                     "addresses and length must be multiples of the page size of the IOMMU",
                     (unsigned long long)map->length, map->address, (unsigned long long)map->iova,
                     map->ioas_id);
}

/* The same errno tells of a limit and of a machine without memory. */
static int say_no_memory(const struct host_sys *sys, const struct host_map *map,
                         struct viommu_error *error)
{
    uint64_t limit = sys->memlock_limit(sys->opaque);

    if (limit == UINT64_MAX)
        return error_set(error, -ENOMEM,
                         "0x%llx bytes at IOVA 0x%llx cannot be pinned: the machine is out of "
                         "memory (there is no limit on locked memory)",
                         (unsigned long long)map->length, (unsigned long long)map->iova);
    return error_set(error, -ENOMEM,
                     "0x%llx bytes at IOVA 0x%llx cannot be pinned: the limit on locked memory is "
                     "%llu KiB, and all guest memory counts; raise it (ulimit -l, LimitMEMLOCK= of "
                     "systemd), or give CAP_IPC_LOCK",
                     (unsigned long long)map->length, (unsigned long long)map->iova,
                     (unsigned long long)limit / 1024);
}

int host_map_failed(const struct host_sys *sys, const struct host_map *map,
                    const struct viommu_host_iova_range *ranges, size_t count, int code,
                    struct viommu_error *error)
{
    unsigned long long iova = map->iova, last = map->iova + map->length - 1;

    switch (code) {
    case -EINVAL:
        return count && !is_within(map, ranges, count) ? say_hole(map, ranges, count, error)
                                                       : say_invalid(map, error);
    case -ENOMEM:
        return say_no_memory(sys, map, error);
    case -EEXIST:
        return error_set(error, code,
                         "IOVAs 0x%llx-0x%llx overlap a mapping of IOAS %u; unmap that first", iova,
                         last, map->ioas_id);
    case -EFAULT:
        return error_set(error, code,
                         "Memory at %p for IOVA 0x%llx cannot be pinned: it is not mapped, not "
                         "writable, or a device's BAR; BARs cannot be given to other devices, "
                         "leave them out",
                         map->address, iova);
    case -ENOSPC:
        return error_set(error, code,
                         "IOVA 0x%llx cannot be mapped: the kernel allows no more mappings of a "
                         "container; raise vfio_iommu_type1.dma_entry_limit (65535 unless told "
                         "otherwise), or let the guest use larger pages",
                         iova);
    case -ENOENT:
        return error_set(error, code, "There is no IOAS %u to map into", map->ioas_id);
    default:
        return error_set(error, code, "IOVAs 0x%llx-0x%llx cannot be mapped in IOAS %u: %s", iova,
                         last, map->ioas_id, strerror(-code));
    }
}
