/* SPDX-License-Identifier: MIT */
/*
 * The guest sanitizer, from outside: what the other chapters call. Each call costs one look at a
 * pointer when the unit does not sanitize. The design is in sanitize.c.
 */
#ifndef VTD_SANITIZE_H
#define VTD_SANITIZE_H

#include "model/vtd/vtd.h"

/* 0 or -ENOMEM; without the property nothing is made. */
int vtd_sanitize_create(struct vtd *vtd);
void vtd_sanitize_destroy(struct vtd *vtd);

/* vtd_translate() for an address space that caches the outcome, which is remembered. Within a
 * read-side section; any thread. Only when there is a sanitizer. */
void vtd_sanitize_translate(const struct vtd *vtd, const struct viommu_dma_request *request,
                            struct dma_translation *translation);

/* The host refused a DMA of an assigned device that the guest's tables permit. Any thread, not
 * within a read-side section. */
void vtd_sanitizer_refused(const struct vtd *vtd, const struct viommu_dma_request *request);

static inline void vtd_sanitize_refused(const struct vtd *vtd,
                                        const struct viommu_dma_request *request)
{
    if (vtd->sanitizer)
        vtd_sanitizer_refused(vtd, request);
}

/* The rest is under vtd->lock. */
void vtd_sanitizer_bound(const struct vtd *vtd, uint16_t requester_id, uint32_t pasid,
                         const struct vtd_entry *entry);
void vtd_sanitizer_shadowed(const struct vtd *vtd, uint16_t requester_id, uint32_t pasid,
                            uint64_t address, uint64_t length, unsigned int *budget);
void vtd_sanitizer_invalidate(struct vtd *vtd, const struct vtd_invalidation *what);
void vtd_sanitizer_drained(struct vtd *vtd);
void vtd_sanitizer_wait(struct vtd *vtd);
void vtd_sanitizer_forget(struct vtd *vtd);
void vtd_sanitizer_tlb_gone(struct vtd *vtd, uint16_t requester_id);
void vtd_sanitizer_mask(struct vtd *vtd, uint16_t domain, uint64_t address, unsigned int mask);

/* An assigned function, or a PASID of it, is attached to the host as this entry says. */
static inline void vtd_sanitize_bound(const struct vtd *vtd, uint16_t requester_id, uint32_t pasid,
                                      const struct vtd_entry *entry)
{
    if (vtd->sanitizer)
        vtd_sanitizer_bound(vtd, requester_id, pasid, entry);
}

/* Pages looked at after an invalidation or a bind: half of what is remembered in all. */
#define SANITIZE_SHADOWED_MAX 512u

/* These second-stage pages are mapped on the host as the table has them. *budget: pages that may
 * still be looked at. */
static inline void vtd_sanitize_shadowed(const struct vtd *vtd, uint16_t requester_id,
                                         uint32_t pasid, uint64_t address, uint64_t length,
                                         unsigned int *budget)
{
    if (vtd->sanitizer && *budget)
        vtd_sanitizer_shadowed(vtd, requester_id, pasid, address, length, budget);
}

/* The guest invalidates; before our own caches follow. */
static inline void vtd_sanitize_invalidate(struct vtd *vtd, const struct vtd_invalidation *what)
{
    if (vtd->sanitizer)
        vtd_sanitizer_invalidate(vtd, what);
}

/* Every request that began before the last invalidation has ended. */
static inline void vtd_sanitize_drained(struct vtd *vtd)
{
    if (vtd->sanitizer)
        vtd_sanitizer_drained(vtd);
}

/* The guest is about to be told that its invalidations are complete. */
static inline void vtd_sanitize_wait(struct vtd *vtd)
{
    if (vtd->sanitizer)
        vtd_sanitizer_wait(vtd);
}

/* All caches are empty. */
static inline void vtd_sanitize_forget(struct vtd *vtd)
{
    if (vtd->sanitizer)
        vtd_sanitizer_forget(vtd);
}

/* A device TLB with this requester ID ended: its translations did. */
static inline void vtd_sanitize_tlb_gone(struct vtd *vtd, uint16_t requester_id)
{
    if (vtd->sanitizer)
        vtd_sanitizer_tlb_gone(vtd, requester_id);
}

/* An invalidation of second-stage pages was refused for its mask. */
static inline void vtd_sanitize_mask(struct vtd *vtd, uint16_t domain, uint64_t address,
                                     unsigned int mask)
{
    if (vtd->sanitizer)
        vtd_sanitizer_mask(vtd, domain, address, mask);
}

#endif
