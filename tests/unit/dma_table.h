/* SPDX-License-Identifier: MIT */
/* A model of an IOMMU that is as small as can be: a table of 4 KiB pages, for tests of address
 * spaces.
 */
#ifndef DMA_TABLE_H
#define DMA_TABLE_H

#include <urcu/urcu-bp.h>

#include "dma/space.h"

#define TABLE_PAGES  16
#define TABLE_PAGE   4096
#define TABLE_DOMAIN 7

/* The owner of a space. Entries are read and written atomically: GPA | permissions; 0: not present.
 */
struct dma_table {
    uint64_t entries[TABLE_PAGES];
    unsigned int walks;
    bool uncacheable;
    bool walked_outside; /* of a read-side section */
    enum viommu_dma_status fail;
    /* The last fault that was reported. */
    unsigned int faults;
    bool fault_inside; /* a read-side section */
    uint64_t fault_address;
    uint8_t fault_access;
    struct viommu_dma_result fault_result;
};

static inline void table_walk(struct viommu_dma_space *space,
                              const struct viommu_dma_request *request,
                              struct dma_translation *translation)
{
    struct dma_table *table = dma_space_owner(space);
    uint64_t page = request->address / TABLE_PAGE, entry;

    __atomic_fetch_add(&table->walks, 1, __ATOMIC_RELAXED);
    if (!urcu_bp_read_ongoing())
        __atomic_store_n(&table->walked_outside, true, __ATOMIC_RELAXED);
    entry = page < TABLE_PAGES ? __atomic_load_n(&table->entries[page], __ATOMIC_ACQUIRE) : 0;
    *translation = (struct dma_translation){
        .status = table->fail  ? table->fail
                  : entry == 0 ? VIOMMU_DMA_NOT_PRESENT
                               : VIOMMU_DMA_OK,
        .fault_code = table->fail || !entry ? 0x71 : 0,
        .gpa = entry & ~(uint64_t)(TABLE_PAGE - 1),
        .domain = TABLE_DOMAIN,
        .granule_log2 = 12,
        .permissions = (uint8_t)(entry & 7),
        .uncacheable = table->uncacheable,
    };
}

static inline void table_fault(struct viommu_dma_space *space,
                               const struct viommu_dma_request *request, uint64_t address,
                               const struct viommu_dma_result *result)
{
    struct dma_table *table = dma_space_owner(space);

    table->faults++;
    table->fault_inside = urcu_bp_read_ongoing();
    table->fault_address = address;
    table->fault_access = request->access;
    table->fault_result = *result;
}

static const struct dma_space_ops table_ops = {.walk = table_walk, .fault = table_fault};

static inline void table_set(struct dma_table *table, uint64_t iova, uint64_t entry)
{
    __atomic_store_n(&table->entries[iova / TABLE_PAGE], entry, __ATOMIC_RELEASE);
}

static inline void table_invalidate(struct viommu_dma_space *space, uint64_t iova)
{
    struct dma_invalidation what = {DMA_INVALIDATE_PAGES, TABLE_DOMAIN, DMA_PASID_ANY, iova,
                                    TABLE_PAGE,           false};

    dma_space_invalidate(space, &what);
}

#endif
