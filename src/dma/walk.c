/* SPDX-License-Identifier: MIT */
#include "dma/walk.h"

#include <errno.h>

enum walk_status walk_update(const struct viommu_memory *memory, uint64_t where, uint64_t *entry,
                             uint64_t bits, bool *settled)
{
    uint64_t desired = *entry | bits;
    int ret = memory_cmpxchg64(memory, where, entry, desired);

    if (ret == -EAGAIN) {
        *settled = false;
        return WALK_OK;
    }
    if (ret)
        return WALK_UPDATE_FAILED;
    *entry = desired;
    return WALK_OK;
}

const char *walk_status_name(enum walk_status status)
{
    static const char *const names[] = {
        [WALK_OK] = "ok",
        [WALK_NOT_PRESENT] = "not-present",
        [WALK_RESERVED] = "reserved",
        [WALK_TABLE_ACCESS] = "table-access",
        [WALK_ADDRESS_WIDTH] = "address-width",
        [WALK_PRIVILEGE] = "privilege",
        [WALK_NO_PERMISSION] = "no-permission",
        [WALK_NO_READ] = "no-read",
        [WALK_NO_WRITE] = "no-write",
        [WALK_NO_EXECUTE] = "no-execute",
        [WALK_UPDATE_FORBIDDEN] = "update-forbidden",
        [WALK_UPDATE_FAILED] = "update-failed",
        [WALK_UPDATE_NO_WRITE] = "update-no-write",
        [WALK_TABLE_NESTED] = "table-nested",
        [WALK_FINAL_NESTED] = "final-nested",
    };

    if ((unsigned int)status >= sizeof(names) / sizeof(names[0]))
        return "unknown";
    return names[status];
}
