/* SPDX-License-Identifier: MIT */
/*
 * The walk of a guest's first-stage table for a nested HWPT (VT-d 5.0, 3.6 first-stage translation,
 * 3.8 nested translation, 9.7 first-stage paging entries). Each address in the table is a GPA,
 * which the parent's second stage translates.
 *
 * What the second stage refuses is said from the guest's side, since the guest cannot see that
 * stage: a table outside of its memory is TABLE_ACCESS, a page NO_MEMORY or READONLY.
 */
#include <endian.h>
#include <string.h>

#include "base/bits.h"
#include "host/soft/soft.h"

#define FIRST_PRESENT         BIT64(0)
#define FIRST_READ_WRITE      BIT64(1)
#define FIRST_USER            BIT64(2)
#define FIRST_ACCESSED        BIT64(5)
#define FIRST_DIRTY           BIT64(6)
#define FIRST_PAGE_SIZE       BIT64(7)
#define FIRST_EXTENDED        BIT64(10) /* extended-accessed */
#define FIRST_EXECUTE_DISABLE BIT64(63)
#define FIRST_ADDRESS         GENMASK64(51, 12)
#define FIRST_MAX_LEVELS      5
#define FIRST_INDEX_BITS      9

/* A guest that changes an entry between our read and our update makes us begin again; this often.
 */
#define WALK_ATTEMPTS 64

/* An entry that a walk used. */
struct used_entry {
    uint64_t gpa;
    uint64_t *where;
    uint64_t value;
};

struct walk {
    const struct soft_hwpt *hwpt;
    uint64_t iova;
    uint8_t access;
    bool quiet;
    struct soft_trace *trace;
    struct used_entry entries[FIRST_MAX_LEVELS];
    unsigned int depth;
    unsigned int leaf_level;
    uint64_t common; /* bits that all entries have: R/W and U/S must be set in each */
    uint64_t any;    /* bits that some entry has: XD counts once it is set anywhere */
};

static unsigned int level_shift(unsigned int level)
{
    return SOFT_PAGE_SHIFT + FIRST_INDEX_BITS * (level - 1);
}

static bool is_leaf(uint64_t value, unsigned int level)
{
    return level == 1 || (level <= 3 && (value & FIRST_PAGE_SIZE));
}

/*
 * Bits that must be 0 (VT-d 5.0, 9.7). Address bits end at 51 here: what lies beyond the host's
 * memory the second stage refuses.
 */
static uint64_t reserved_bits(const struct soft_caps *caps, uint64_t value, unsigned int level)
{
    if (level >= 4 || (level == 3 && !caps->first_1g))
        return FIRST_PAGE_SIZE;
    if (level == 3 && (value & FIRST_PAGE_SIZE))
        return GENMASK64(29, 13);
    if (level == 2 && (value & FIRST_PAGE_SIZE))
        return GENMASK64(20, 13);
    return 0;
}

/* Where the table entry at gpa lies in this process. access WRITE: to update its bits. */
static uint64_t *entry_lookup(const struct walk *walk, uint64_t gpa, uint8_t access,
                              struct soft_trace *trace)
{
    struct soft_translation second;

    soft_second_walk(walk->hwpt->parent, gpa, access, walk->quiet, trace, &second);
    if (second.status != VIOMMU_DMA_OK)
        return NULL;
    return (uint64_t *)(uintptr_t)(second.hpa | (gpa & SOFT_PAGE_MASK));
}

static enum viommu_dma_status use_entry(struct walk *walk, uint64_t gpa, unsigned int level)
{
    struct used_entry *used = &walk->entries[walk->depth];

    used->gpa = gpa;
    used->where = entry_lookup(walk, gpa, VIOMMU_DMA_READ, walk->trace);
    if (!used->where)
        return VIOMMU_DMA_TABLE_ACCESS;
    used->value = le64toh(__atomic_load_n(used->where, __ATOMIC_ACQUIRE));
    soft_trace_step(walk->trace, 1, level, walk->iova, gpa, used->value);
    if (!(used->value & FIRST_PRESENT))
        return VIOMMU_DMA_NOT_PRESENT;
    if (used->value & reserved_bits(&walk->hwpt->host->caps, used->value, level))
        return VIOMMU_DMA_RESERVED;
    walk->common &= used->value;
    walk->any |= used->value;
    walk->depth++;
    return VIOMMU_DMA_OK;
}

/* From the top table down to the entry that maps the page. */
static enum viommu_dma_status read_entries(struct walk *walk)
{
    uint64_t table = walk->hwpt->first_stage.pgtbl_addr & FIRST_ADDRESS;
    unsigned int level = walk->hwpt->first_stage.addr_width == 57 ? 5 : 4;

    walk->depth = 0;
    walk->common = ~UINT64_C(0);
    walk->any = 0;
    for (;; level--) {
        uint64_t index = (walk->iova >> level_shift(level)) & low_bits(FIRST_INDEX_BITS);
        enum viommu_dma_status status = use_entry(walk, table | index << 3, level);

        if (status != VIOMMU_DMA_OK)
            return status;
        if (is_leaf(walk->entries[walk->depth - 1].value, level))
            break;
        table = walk->entries[walk->depth - 1].value & FIRST_ADDRESS;
    }
    walk->leaf_level = level;
    return VIOMMU_DMA_OK;
}

/* Rights of this request's privilege (VT-d 5.0, 3.6.1); WPE matters to a supervisor only. */
static uint8_t rights(const struct walk *walk)
{
    bool privileged = walk->access & VIOMMU_DMA_PRIVILEGED;
    uint64_t flags = walk->hwpt->first_stage.flags;
    uint8_t permissions = VIOMMU_DMA_READ;

    if (privileged ? !(flags & VIOMMU_HOST_VTD_S1_SRE) : !(walk->common & FIRST_USER))
        return 0;
    if ((walk->common & FIRST_READ_WRITE) || (privileged && !(flags & VIOMMU_HOST_VTD_S1_WPE)))
        permissions |= VIOMMU_DMA_WRITE;
    if (walk->hwpt->host->caps.execute && !(walk->any & FIRST_EXECUTE_DISABLE))
        permissions |= VIOMMU_DMA_EXECUTE;
    return permissions;
}

/*
 * Set accessed, extended-accessed and dirty bits in the entries that were used (VT-d 5.0, 3.6.2),
 * each by a compare-and-exchange against the value that was walked. false: the guest was faster.
 */
static bool update_entries(struct walk *walk, enum viommu_dma_status *status)
{
    uint64_t accessed = FIRST_ACCESSED;

    if (walk->hwpt->first_stage.flags & VIOMMU_HOST_VTD_S1_EAFE)
        accessed |= FIRST_EXTENDED;
    for (unsigned int i = 0; i < walk->depth; i++) {
        struct used_entry *used = &walk->entries[i];
        uint64_t wanted = used->value | accessed, expected = htole64(used->value);

        if (i == walk->depth - 1 && (walk->access & VIOMMU_DMA_WRITE))
            wanted |= FIRST_DIRTY;
        if (wanted == used->value)
            continue;
        if (!entry_lookup(walk, used->gpa, VIOMMU_DMA_WRITE, NULL)) {
            *status = VIOMMU_DMA_TABLE_ACCESS;
            return true;
        }
        if (!__atomic_compare_exchange_n(used->where, &expected, htole64(wanted), false,
                                         __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
            return false;
        used->value = wanted;
    }
    return true;
}

static enum viommu_dma_status from_guests_side(const struct soft_translation *second)
{
    if (second->status == VIOMMU_DMA_PERMISSION && second->permissions == VIOMMU_DMA_READ)
        return VIOMMU_DMA_READONLY;
    return second->status == VIOMMU_DMA_OK ? VIOMMU_DMA_OK : VIOMMU_DMA_NO_MEMORY;
}

/* The page's GPA through the second stage, and both stages' answers made into one. */
static enum viommu_dma_status finish(struct walk *walk, uint8_t permissions,
                                     struct soft_translation *translation)
{
    const uint8_t both = VIOMMU_DMA_READ | VIOMMU_DMA_WRITE;
    uint64_t leaf = walk->entries[walk->depth - 1].value;
    unsigned int shift = level_shift(walk->leaf_level);
    uint64_t gpa = (leaf & FIRST_ADDRESS & ~low_bits(shift)) | (walk->iova & low_bits(shift));
    enum viommu_dma_status status;

    soft_trace_step(walk->trace, 1, 0, walk->iova, 0, gpa);
    soft_second_walk(walk->hwpt->parent, gpa, walk->access & both, walk->quiet, walk->trace,
                     translation);
    status = from_guests_side(translation);
    if (!(translation->permissions & VIOMMU_DMA_READ))
        permissions &= ~VIOMMU_DMA_EXECUTE;
    translation->permissions = permissions & (translation->permissions | VIOMMU_DMA_EXECUTE);
    if (translation->granule_log2 > shift)
        translation->granule_log2 = shift;
    translation->first_stage_log2 = shift;
    translation->write_ready &= (walk->access & VIOMMU_DMA_WRITE) || (leaf & FIRST_DIRTY);
    return status;
}

/* One attempt. false: the guest changed an entry under it, and nothing is decided. */
static bool attempt(struct walk *walk, struct soft_translation *translation)
{
    uint8_t wanted = walk->access & ~VIOMMU_DMA_PRIVILEGED, permissions;

    *translation = (struct soft_translation){.first_stage_log2 = SOFT_PAGE_SHIFT};
    translation->status = read_entries(walk);
    if (translation->status != VIOMMU_DMA_OK)
        return true;
    permissions = rights(walk);
    if (wanted & ~permissions) {
        translation->status = VIOMMU_DMA_PERMISSION;
        return true;
    }
    translation->status = finish(walk, permissions, translation);
    if (walk->quiet || translation->status != VIOMMU_DMA_OK)
        return true;
    return update_entries(walk, &translation->status);
}

/* First-stage input addresses are canonical: the bits above the width repeat the highest one. */
static bool is_canonical(uint64_t iova, unsigned int width)
{
    uint64_t high = iova >> (width - 1);

    return high == 0 || high == low_bits(65 - width);
}

void soft_nested_walk(const struct soft_hwpt *hwpt, const struct viommu_dma_request *request,
                      uint64_t iova, bool quiet, struct soft_trace *trace,
                      struct soft_translation *translation)
{
    struct walk walk = {.hwpt = hwpt, .iova = iova, .access = request->access, .quiet = quiet};
    size_t before = trace ? trace->count : 0;

    walk.trace = trace;
    if (!is_canonical(iova, hwpt->first_stage.addr_width)) {
        *translation = (struct soft_translation){.status = VIOMMU_DMA_ADDRESS_WIDTH};
        return;
    }
    for (int i = 0; i < WALK_ATTEMPTS; i++) {
        if (trace)
            trace->count = before;
        if (attempt(&walk, translation))
            return;
    }
    translation->status = VIOMMU_DMA_TABLE_ACCESS;
}
