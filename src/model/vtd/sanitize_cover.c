/* SPDX-License-Identifier: MIT */
/* Which invalidation takes what from which cache (VT-d 5.0, 6.5.2). */
#include "base/bits.h"
#include "model/vtd/sanitizer.h"

/* An invalidation of other pages looks meant for one when they share so much: one table of 4 KiB
 * pages. */
#define NEAR_LOG2 21

/* Do [address, address + length) and the block of 2^log2 bytes around `where` meet? Both are
 * aligned; 0 and 64: everything. */
static bool meets(uint64_t address, uint64_t length, uint64_t where, unsigned int log2)
{
    uint64_t length_mask = length ? length - 1 : ~UINT64_C(0);

    return !((address ^ where) & ~(length_mask | low_bits(log2)));
}

/* Tables on the way of which a page lies among those invalidated: these go with it. */
static uint8_t tables_of(const struct vtd_invalidation *what, const struct sanitize_record *record)
{
    uint8_t tables = 0;

    for (unsigned int level = 2; level <= 6; level++)
        if (meets(what->address, what->length, record->address, 12 + 9 * (level - 1)))
            tables |= (uint8_t)BIT64(level);
    return tables;
}

/* As the address was given, not rounded down to the mask. */
static bool meant(const struct vtd_invalidation *what, const struct sanitize_record *record)
{
    return what->length && what->given != what->address &&
           record->address + low_bits(record->page_log2) >= what->given &&
           record->address - what->given <= what->length - 1;
}

static enum sanitize_coverage cover_pages(const struct vtd_invalidation *what,
                                          const struct sanitize_record *record,
                                          enum sanitize_miss *miss, uint8_t *tables)
{
    unsigned int log2 =
        record->page_log2 > record->address_log2 ? record->page_log2 : record->address_log2;

    if (meets(what->address, what->length, record->address, log2)) {
        *miss = what->leaf_only ? MISS_HINT : MISS_NONE;
        return what->leaf_only ? COVERS_LEAF : COVERS_ALL;
    }
    if (meant(what, record))
        *miss = MISS_ALIGNED;
    else if (meets(what->address, what->length, record->address, NEAR_LOG2))
        *miss = MISS_PAGES;
    *tables = what->leaf_only ? 0 : tables_of(what, record);
    return *tables ? COVERS_TABLES : COVERS_NOTHING;
}

/* 6.5.2.3. Pages are those of the second stage: what a first stage made of them goes as a whole. */
static enum sanitize_coverage cover_iotlb(const struct vtd_invalidation *what,
                                          const struct sanitize_record *record,
                                          enum sanitize_miss *miss, uint8_t *tables)
{
    bool first = record->pgtt == VTD_PGTT_FIRST || record->pgtt == VTD_PGTT_NESTED;

    if (what->scope == VTD_SCOPE_GLOBAL)
        return COVERS_ALL;
    if (what->domain != record->domain)
        return COVERS_NOTHING;
    if (what->scope == VTD_SCOPE_DOMAIN || first)
        return COVERS_ALL;
    return cover_pages(what, record, miss, tables);
}

/* 6.5.2.4 */
static enum sanitize_coverage cover_piotlb(const struct vtd_invalidation *what,
                                           const struct sanitize_record *record,
                                           enum sanitize_miss *miss, uint8_t *tables)
{
    if (what->domain != record->domain || what->pasid != record->pasid)
        return COVERS_NOTHING;
    if (record->pgtt == VTD_PGTT_SECOND) {
        *miss = MISS_KIND;
        return COVERS_NOTHING;
    }
    if (what->scope == VTD_SCOPE_PASID)
        return COVERS_ALL;
    return cover_pages(what, record, miss, tables);
}

/* 6.5.2.5, 6.5.2.6. One without PASID takes those of all PASIDs, too: Linux from 6.10 on means that
 * (cache_tag_flush_devtlb_all), and devices empty themselves. */
static enum sanitize_coverage cover_device_tlb(const struct vtd_invalidation *what,
                                               const struct sanitize_record *record,
                                               enum sanitize_miss *miss)
{
    if (what->kind != VTD_INVALIDATE_DEVICE || what->requester_id != record->requester_id)
        return COVERS_NOTHING;
    if (what->scope != VTD_SCOPE_GLOBAL && what->pasid != VIOMMU_PASID_NONE &&
        what->pasid != record->request_pasid)
        return COVERS_NOTHING;
    if (meets(what->address, what->length, record->address, record->address_log2))
        return COVERS_ALL;
    if (meets(what->address, what->length, record->address, NEAR_LOG2))
        *miss = MISS_PAGES;
    return COVERS_NOTHING;
}

/* 6.5.2.1; scalable-mode context entries have no domain. */
static bool covers_context(const struct vtd_invalidation *what,
                           const struct sanitize_record *record)
{
    if (what->kind != VTD_INVALIDATE_CONTEXT)
        return false;
    if (what->scope == VTD_SCOPE_DEVICE)
        return vtd_invalidation_names(what, record->requester_id);
    return what->scope == VTD_SCOPE_GLOBAL || !record->legacy || what->domain == record->domain;
}

/* 6.5.2.2 */
static bool covers_pasid(const struct vtd_invalidation *what, const struct sanitize_record *record)
{
    if (what->kind != VTD_INVALIDATE_PASID)
        return false;
    if (what->scope == VTD_SCOPE_GLOBAL)
        return true;
    return what->domain == record->domain &&
           (what->scope == VTD_SCOPE_DOMAIN || what->pasid == record->pasid);
}

enum sanitize_coverage sanitize_cover(const struct vtd_invalidation *what,
                                      const struct sanitize_record *record,
                                      enum sanitize_miss *miss, uint8_t *tables)
{
    bool covered = false;

    *miss = MISS_NONE;
    *tables = 0;
    if (record->cache == CACHE_CONTEXT)
        covered = covers_context(what, record);
    else if (record->cache == CACHE_PASID)
        covered = covers_pasid(what, record);
    else if (record->cache == CACHE_DEVICE_TLB)
        return cover_device_tlb(what, record, miss);
    else if (what->kind == VTD_INVALIDATE_IOTLB)
        return cover_iotlb(what, record, miss, tables);
    else if (what->kind == VTD_INVALIDATE_PIOTLB)
        return cover_piotlb(what, record, miss, tables);
    return covered ? COVERS_ALL : COVERS_NOTHING;
}
