/* SPDX-License-Identifier: MIT */
/*
 * Second-stage tables of a paging HWPT, in the format of VT-d 5.0, 9.8 ("second-stage paging
 * entries"), whatever the profile: nobody but this host reads them. An entry holds an HPA, which
 * is an address of this process.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/bits.h"
#include "host/soft/soft.h"

#define SECOND_READ       BIT64(0)
#define SECOND_WRITE      BIT64(1)
#define SECOND_PAGE_SIZE  BIT64(7)
#define SECOND_ACCESSED   BIT64(8)
#define SECOND_DIRTY      BIT64(9)
#define SECOND_ADDRESS    GENMASK64(51, 12)
#define SECOND_PRESENT    (SECOND_READ | SECOND_WRITE)
#define SECOND_INDEX_BITS 9
#define SECOND_ENTRIES    (1u << SECOND_INDEX_BITS)

static unsigned int level_shift(unsigned int level)
{
    return SOFT_PAGE_SHIFT + SECOND_INDEX_BITS * (level - 1);
}

static size_t level_index(uint64_t input, unsigned int level)
{
    return (input >> level_shift(level)) & (SECOND_ENTRIES - 1);
}

static uint64_t *entry_table(uint64_t entry)
{
    return (uint64_t *)(uintptr_t)(entry & SECOND_ADDRESS);
}

static bool is_leaf(uint64_t entry, unsigned int level)
{
    return level == 1 || (entry & SECOND_PAGE_SIZE);
}

static uint64_t *table_alloc(struct soft_host *host)
{
    uint64_t *table = aligned_alloc(SOFT_PAGE_SIZE, SOFT_PAGE_SIZE);

    if (!table)
        return NULL;
    for (size_t i = 0; i < SECOND_ENTRIES; i++)
        table[i] = 0;
    host->table_pages++;
    return table;
}

static void table_free(struct soft_host *host, uint64_t *table)
{
    free(table);
    host->table_pages--;
}

static bool table_is_empty(const uint64_t *table)
{
    for (size_t i = 0; i < SECOND_ENTRIES; i++) {
        if (table[i])
            return false;
    }
    return true;
}

int soft_second_create(struct soft_hwpt *hwpt)
{
    hwpt->root = table_alloc(hwpt->host);
    return hwpt->root ? 0 : -ENOMEM;
}

/* Clear [start, last], offsets from the first address that the table translates. */
static void table_unmap(struct soft_host *host, uint64_t *table, unsigned int level, uint64_t start,
                        uint64_t last)
{
    unsigned int shift = level_shift(level);
    uint64_t span = low_bits(shift);

    for (uint64_t i = start >> shift; i <= last >> shift; i++) {
        uint64_t *child;

        /* No table is NULL: entry_at() has put their addresses into the entries that are not 0. */
        /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
        if (!table[i])
            continue;
        if (is_leaf(table[i], level)) {
            table[i] = 0;
            continue;
        }
        child = entry_table(table[i]);
        table_unmap(host, child, level - 1, i == start >> shift ? start & span : 0,
                    i == last >> shift ? last & span : span);
        if (table_is_empty(child)) {
            table_free(host, child);
            table[i] = 0;
        }
    }
}

void soft_second_unmap(struct soft_hwpt *hwpt, uint64_t iova, uint64_t length)
{
    table_unmap(hwpt->host, hwpt->root, hwpt->host->caps.levels, iova, iova + length - 1);
}

void soft_second_destroy(struct soft_hwpt *hwpt)
{
    unsigned int levels = hwpt->host->caps.levels;

    table_unmap(hwpt->host, hwpt->root, levels, 0, low_bits(level_shift(levels + 1)));
    table_free(hwpt->host, hwpt->root);
    hwpt->root = NULL;
}

/* The largest page for which everything is aligned and that the profile has: its level. */
static unsigned int leaf_level(const struct soft_caps *caps, uint64_t addresses, uint64_t length)
{
    if (caps->second_1g && length >= BIT64(30) && is_aligned(addresses, BIT64(30)))
        return 3;
    if (caps->second_2m && length >= BIT64(21) && is_aligned(addresses, BIT64(21)))
        return 2;
    return 1;
}

/* The entry of this level for iova, with the tables above it made when they are missing. */
static uint64_t *entry_at(struct soft_hwpt *hwpt, uint64_t iova, unsigned int level)
{
    uint64_t *table = hwpt->root;

    for (unsigned int i = hwpt->host->caps.levels; i > level; i--) {
        uint64_t *entry = &table[level_index(iova, i)];

        if (!*entry) {
            uint64_t *child = table_alloc(hwpt->host);

            if (!child)
                return NULL;
            *entry = (uintptr_t)child | SECOND_PRESENT;
        }
        table = entry_table(*entry);
    }
    return &table[level_index(iova, level)];
}

int soft_second_map(struct soft_hwpt *hwpt, uint64_t iova, uint64_t hpa, uint64_t length,
                    uint32_t flags)
{
    uint64_t bits = (flags & VIOMMU_HOST_MAP_READ ? SECOND_READ : 0) |
                    (flags & VIOMMU_HOST_MAP_WRITE ? SECOND_WRITE : 0);

    for (uint64_t done = 0, size; done < length; done += size) {
        unsigned int level =
            leaf_level(&hwpt->host->caps, (iova + done) | (hpa + done), length - done);
        uint64_t *entry = entry_at(hwpt, iova + done, level);

        if (!entry) {
            /* Also frees tables that were made on the way to the entry that failed. */
            soft_second_unmap(hwpt, iova, length);
            return -ENOMEM;
        }
        size = BIT64(level_shift(level));
        *entry = (hpa + done) | bits | (level > 1 ? SECOND_PAGE_SIZE : 0);
    }
    return 0;
}

/* Accessed and dirty bits (VT-d 5.0, 3.7.2). The tables are ours: setting bits is enough. */
static void mark(const struct soft_hwpt *hwpt, uint64_t *entry, uint64_t bits)
{
    if (hwpt->flags & VIOMMU_HOST_HWPT_DIRTY_TRACKING)
        __atomic_fetch_or(entry, bits, __ATOMIC_RELAXED);
}

static uint8_t entry_permissions(uint64_t entry)
{
    return (entry & SECOND_READ ? VIOMMU_DMA_READ : 0) |
           (entry & SECOND_WRITE ? VIOMMU_DMA_WRITE : 0);
}

static void finish(const struct soft_hwpt *hwpt, uint64_t input, uint64_t *entry,
                   unsigned int level, uint8_t access, bool quiet, struct soft_trace *trace,
                   struct soft_translation *translation)
{
    uint64_t value = __atomic_load_n(entry, __ATOMIC_RELAXED), span = low_bits(level_shift(level));
    uint64_t hpa = ((value & SECOND_ADDRESS) & ~span) | (input & span);

    translation->permissions = entry_permissions(value);
    translation->granule_log2 = level_shift(level);
    if (access & ~translation->permissions) {
        translation->status = VIOMMU_DMA_PERMISSION;
        return;
    }
    if (!quiet)
        mark(hwpt, entry, SECOND_ACCESSED | (access & VIOMMU_DMA_WRITE ? SECOND_DIRTY : 0));
    translation->write_ready = !(hwpt->flags & VIOMMU_HOST_HWPT_DIRTY_TRACKING) ||
                               (access & VIOMMU_DMA_WRITE) || (value & SECOND_DIRTY);
    translation->hpa = hpa & ~SOFT_PAGE_MASK;
    translation->status = VIOMMU_DMA_OK;
    soft_trace_step(trace, 2, 0, input, 0, hpa);
}

void soft_second_walk(const struct soft_hwpt *hwpt, uint64_t input, uint8_t access, bool quiet,
                      struct soft_trace *trace, struct soft_translation *translation)
{
    uint64_t *table = hwpt->root;

    *translation = (struct soft_translation){.first_stage_log2 = SOFT_PAGE_SHIFT};
    if (input & ~low_bits(hwpt->host->caps.address_width)) {
        translation->status = VIOMMU_DMA_ADDRESS_WIDTH;
        return;
    }
    for (unsigned int level = hwpt->host->caps.levels; level >= 1; level--) {
        uint64_t *entry = &table[level_index(input, level)];
        uint64_t value = __atomic_load_n(entry, __ATOMIC_RELAXED);

        soft_trace_step(trace, 2, level, input, (uintptr_t)entry, value);
        if (!(value & SECOND_PRESENT)) {
            translation->status = VIOMMU_DMA_NOT_PRESENT;
            return;
        }
        if (is_leaf(value, level)) {
            finish(hwpt, input, entry, level, access, quiet, trace, translation);
            return;
        }
        if (!quiet)
            mark(hwpt, entry, SECOND_ACCESSED);
        table = entry_table(value);
    }
}
