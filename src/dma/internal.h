/* SPDX-License-Identifier: MIT */
/* What the files of this room share: the address space, and how one piece of a request is resolved.
 */
#ifndef DMA_INTERNAL_H
#define DMA_INTERNAL_H

#include <pthread.h>
#include <sys/queue.h>

#include "dma/iotlb.h"
#include "dma/space.h"
#include "memory/memory.h"

struct mapping;
struct revocation;
LIST_HEAD(mapping_list, mapping);

struct viommu_dma_space {
    struct viommu_memory *memory;
    const struct dma_space_ops *ops;
    void *owner;
    struct iotlb *iotlb; /* dma_iotlb(): made by the first fill, there until the end */
    bool cacheable;      /* the model's translations are; else there is never an IOTLB */

    /* Mappings (mapping.c), under lock. It may be held while walking, never while draining. */
    pthread_mutex_t lock;
    pthread_cond_t changed; /* a mapping was ended, or a callback has returned */
    struct mapping_list mappings;
    struct mapping_list revoked; /* callback called, not yet ended */
    uint64_t revoked_count;      /* of these, and of those whose callback is still to come */
    LIST_HEAD(, revocation) revocations;
    struct memory_listener listener;
    uint64_t invalidations; /* counted; atomic */
};

/* NULL: nothing was filled in yet. */
static inline struct iotlb *dma_iotlb(const struct viommu_dma_space *space)
{
    return __atomic_load_n(&space->iotlb, __ATOMIC_ACQUIRE);
}

/* A translation of one address, and how far it goes. translation.gpa is that of the address itself.
 */
struct dma_piece {
    struct dma_translation translation;
    uint64_t length;
};

/* BAD_REQUEST or OK; the second one for what accesses memory, which a translation request does not.
 */
enum viommu_dma_status dma_check_request(const struct viommu_dma_request *request);
enum viommu_dma_status dma_check_access(const struct viommu_dma_request *request);

/*
 * Translate request->address, by the IOTLB or a walk. Within a read-side section. The status of the
 * outcome is also in piece->translation; the length is at most the request's.
 */
enum viommu_dma_status dma_resolve(struct viommu_dma_space *space,
                                   const struct viommu_dma_request *request,
                                   struct dma_piece *piece);

/*
 * dma_resolve(), and find the memory: *host receives where the address lies, and the piece becomes
 * no longer than the range of memory it is in.
 */
enum viommu_dma_status dma_resolve_host(struct viommu_dma_space *space,
                                        const struct viommu_dma_request *request,
                                        struct dma_piece *piece, void **host);

/* What the memory allows of a piece that was translated into it. */
enum viommu_dma_status dma_fit_memory(const struct viommu_dma_request *request,
                                      struct dma_piece *piece, uint64_t available, uint32_t flags);

/* Write what a piece says into a result, but for its length. */
void dma_result_set(struct viommu_dma_result *result, const struct dma_piece *piece,
                    enum viommu_dma_status status);

/* Tell the guest, when the status is one that it should hear of. Outside of a read-side section. */
void dma_report_fault(struct viommu_dma_space *space, const struct viommu_dma_request *request,
                      uint64_t address, const struct viommu_dma_result *result);

/* What the public calls return for a status. */
int dma_status_errno(enum viommu_dma_status status);

/* mapping.c */
int mapping_init(struct viommu_dma_space *space);
void mapping_exit(struct viommu_dma_space *space);
void mapping_invalidate(struct viommu_dma_space *space, const struct dma_invalidation *what);
void mapping_wait(struct viommu_dma_space *space);

#endif
