/* SPDX-License-Identifier: MIT */
/*
 * A DMA address space as a model makes it: the model walks its tables when the IOTLB misses, and
 * says what an invalidation covers; everything else (caching, moving bytes, mappings, draining) is
 * done here, for all models.
 */
#ifndef DMA_SPACE_H
#define DMA_SPACE_H

#include <viommu/dma.h>

/* A translation, or why there is none. The page is [iova, iova + 2^granule_log2). */
struct dma_translation {
    enum viommu_dma_status status;
    uint32_t fault_code;  /* the model's, when status is not OK */
    uint64_t gpa;         /* of the page's first byte */
    uint32_t domain;      /* domain-ID that the entry is tagged with */
    uint8_t granule_log2; /* 12..63 */
    /*
     * VIOMMU_DMA_READ | WRITE | EXECUTE, for the request's privilege. Leave WRITE out while a write
     * would still have to set a dirty bit: a request that misses a permission is walked again.
     */
    uint8_t permissions;
    uint8_t flags; /* VIOMMU_DMA_FLAG_*; only of translation requests, which are not cached */
    bool nested;   /* second-stage invalidations of its domain must drop it, whatever the address */
    bool fractured;   /* granule is smaller than the first-stage page it is part of */
    bool uncacheable; /* do not put it into the IOTLB (translation off, ...) */
};

struct dma_space_ops {
    /*
     * Translate the page that holds request->address. Within a read-side section: takes no lock
     * that anybody holds while draining. Does not report faults to the guest.
     */
    void (*walk)(struct viommu_dma_space *space, const struct viommu_dma_request *request,
                 struct dma_translation *translation);
    /*
     * A request failed at `address`: tell the guest, as the model does. Outside of the read-side
     * section. May be NULL. Not called for viommu_dma_translate(), nor for NO_MEMORY and READONLY
     * of a translated address.
     */
    void (*fault)(struct viommu_dma_space *space, const struct viommu_dma_request *request,
                  uint64_t address, const struct viommu_dma_result *result);
};

/*
 * Create a space of a model; end it with viommu_dma_space_destroy(), when no request is under way
 * and no mapping is left. owner is what dma_space_owner() gives back. 0 or -ENOMEM.
 */
int dma_space_create(struct viommu_dma_space **out, struct viommu_memory *memory,
                     const struct dma_space_ops *ops, void *owner);
void *dma_space_owner(const struct viommu_dma_space *space);

/* What an invalidation covers. */
enum dma_invalidate_scope {
    DMA_INVALIDATE_ALL,    /* every translation of the space */
    DMA_INVALIDATE_DOMAIN, /* all that are tagged with `domain` (and PASID, when given) */
    DMA_INVALIDATE_PAGES,  /* those of `domain` (and PASID) that overlap [address, address + length)
                            */
};

#define DMA_PASID_ANY (UINT32_MAX - 1)

struct dma_invalidation {
    enum dma_invalidate_scope scope;
    uint32_t domain;
    uint32_t pasid;    /* one PASID, VIOMMU_PASID_NONE, or DMA_PASID_ANY */
    uint64_t address;  /* aligned to length */
    uint64_t length;   /* power of two, at least 4096; 0: 2^64 */
    bool second_stage; /* address is an input of the second stage: nested entries of the domain go
                          as a whole */
};

/*
 * Drop translations. Cost: a constant for ALL and DOMAIN, the number of pages (bounded) for PAGES;
 * never what is cached. When it returns, no new request uses them; those under way may, until
 * dma_drain(). Mappings that overlap are revoked (their callbacks run here).
 */
void dma_space_invalidate(struct viommu_dma_space *space, const struct dma_invalidation *what);

/*
 * Wait for every request that is under way anywhere, and for the revoked mappings of these spaces
 * to be unmapped. One call for a batch of invalidations; the spaces that were invalidated are
 * linked by the caller's array.
 */
void dma_drain(struct viommu_dma_space *const *spaces, size_t count);

#endif
