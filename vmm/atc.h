/* SPDX-License-Identifier: MIT */
/*
 * A device's address translation cache (device TLB). It holds what it was told until an
 * invalidation, or until a newer translation needs the place: a missing invalidation is seen.
 *
 * An answer that was under way while an invalidation came must not be kept. So the device takes
 * the cache's generation before it asks, and hands it back with the answer.
 */
#ifndef VMM_ATC_H
#define VMM_ATC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VMM_ATC_SETS 256u
#define VMM_ATC_WAYS 4u

#define VMM_ATC_PAGE_SIZE 4096u

/* The translation of one page of 4096 bytes; larger ones are kept page by page. */
struct vmm_atc_entry {
    uint64_t page;       /* untranslated, page-aligned */
    uint64_t translated; /* page-aligned */
    uint32_t pasid;      /* or VIOMMU_PASID_NONE */
    uint8_t permissions; /* VIOMMU_DMA_* bits; 0: the place is free */
    bool untranslated;   /* to be accessed by untranslated requests only */
};

struct vmm_atc {
    struct vmm_atc_entry entries[VMM_ATC_SETS][VMM_ATC_WAYS];
    uint8_t next[VMM_ATC_SETS]; /* the way that is replaced next */
    uint64_t generation;        /* changes with each invalidation */
};

/* The pages [address, last] of one PASID or, with `global`, of all. */
struct vmm_atc_range {
    uint64_t address;
    uint64_t last;
    uint32_t pasid;
    bool global;
};

/* Not locked: the device's lock does that. Zeros are an empty cache. */
void vmm_atc_clear(struct vmm_atc *atc);

/* The entry for the page that `address` is in; NULL: ask for it. Valid until the next change. */
const struct vmm_atc_entry *vmm_atc_find(const struct vmm_atc *atc, uint32_t pasid,
                                         uint64_t address);

/*
 * Keep an answer, in place of what is known of the page. False: there was an invalidation since
 * `generation`, so the answer may be stale and is not kept; ask anew.
 */
bool vmm_atc_insert(struct vmm_atc *atc, uint64_t generation, const struct vmm_atc_entry *entry);

void vmm_atc_invalidate(struct vmm_atc *atc, const struct vmm_atc_range *range);

bool vmm_atc_range_has(const struct vmm_atc_range *range, uint32_t pasid, uint64_t page);

#endif
