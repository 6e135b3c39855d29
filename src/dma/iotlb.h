/* SPDX-License-Identifier: MIT */
/*
 * The IOTLB of one address space: a set-associative array for each of three page sizes. A set is
 * found by the IOVA alone, so that an invalidation by address, which may know no PASID, probes one
 * set; its ways hold different PASIDs.
 *
 * A lookup only loads. A slot is a seqlock: odd while somebody changes it; a lookup that sees it
 * change is a miss. An entry counts only while the generations that it was filled under are still
 * the current ones: dropping a domain, or everything, is one increment.
 */
#ifndef DMA_IOTLB_H
#define DMA_IOTLB_H

#include <stdbool.h>
#include <stdint.h>

#include "dma/space.h"

#define IOTLB_WAYS    4
#define IOTLB_DOMAINS 64 /* generation counters; domains that share one are dropped together */
#define IOTLB_LINE    64

/* Page sizes: a page of another size is held as the pages of the next size below that are used. */
enum iotlb_class {
    IOTLB_4K,
    IOTLB_2M,
    IOTLB_1G,
    IOTLB_CLASSES
};

#define IOTLB_SETS_4K 256
#define IOTLB_SETS_2M 64
#define IOTLB_SETS_1G 32
#define IOTLB_SETS    (IOTLB_SETS_4K + IOTLB_SETS_2M + IOTLB_SETS_1G)

struct iotlb_class_info {
    uint8_t page_log2;
    uint16_t sets; /* power of two */
    uint16_t first_set;
};

static const struct iotlb_class_info iotlb_classes[IOTLB_CLASSES] = {
    [IOTLB_4K] = {12, IOTLB_SETS_4K, 0},
    [IOTLB_2M] = {21, IOTLB_SETS_2M, IOTLB_SETS_4K},
    [IOTLB_1G] = {30, IOTLB_SETS_1G, IOTLB_SETS_4K + IOTLB_SETS_2M},
};

/* All members are accessed atomically. A slot of zeros is empty: generations begin at 1. */
struct iotlb_slot {
    uint64_t sequence;
    uint64_t iova; /* of the page's first byte */
    uint64_t key;  /* iotlb_key() of the requests that it serves */
    uint64_t generation;
    uint64_t gpa;
    uint64_t attributes;
} __attribute__((aligned(IOTLB_LINE)));

/* Bits of attributes. */
#define IOTLB_PERMISSIONS  UINT64_C(0xff)
#define IOTLB_GRANULE      (UINT64_C(0xff) << 8)
#define IOTLB_NESTED       (UINT64_C(1) << 16)
#define IOTLB_FRACTURED    (UINT64_C(1) << 17)
#define IOTLB_DOMAIN_SHIFT 32

struct iotlb {
    /* What lookups load; written by invalidations, and when a class is used for the first time. */
    uint64_t used; /* bit for each class that may hold an entry */
    uint64_t generation;
    uint64_t domain_generation[IOTLB_DOMAINS];
    /* Not loaded by lookups. */
    uint64_t sequence __attribute__((aligned(IOTLB_LINE))); /* counts invalidations */
    uint64_t victim;                                        /* next way to replace */
    /* The sum of generations under which such an entry was last filled, for each domain. */
    uint64_t nested[IOTLB_DOMAINS];
    uint64_t fractured[IOTLB_DOMAINS];
    struct iotlb_slot slots[IOTLB_SETS][IOTLB_WAYS];
};

struct iotlb_hit {
    uint64_t gpa;    /* where the address lies */
    uint64_t length; /* contiguous bytes from there on */
    uint64_t attributes;
};

struct iotlb *iotlb_create(void);
void iotlb_destroy(struct iotlb *iotlb);

/* Sample before a walk whose outcome is to be filled in. */
uint64_t iotlb_sequence(const struct iotlb *iotlb);

/*
 * Keep what a walk for `address` has found, unless an invalidation began since the sequence was
 * sampled, or the slot is busy.
 */
void iotlb_fill(struct iotlb *iotlb, uint64_t address, uint64_t key,
                const struct dma_translation *translation, uint64_t sequence);

void iotlb_invalidate(struct iotlb *iotlb, const struct dma_invalidation *what);

/*
 * What must be equal for a request to be served by an entry, besides the page. Holds every bit of
 * access but READ and WRITE, so a malformed request finds nothing.
 */
static inline uint64_t iotlb_key(const struct viommu_dma_request *request)
{
    const uint8_t compared = (uint8_t) ~(VIOMMU_DMA_READ | VIOMMU_DMA_WRITE);

    return request->pasid | (uint64_t)(request->access & compared) << 32 |
           (uint64_t)request->type << 40;
}

static inline uint32_t iotlb_key_pasid(uint64_t key)
{
    return (uint32_t)key;
}

static inline uint64_t iotlb_current(const struct iotlb *iotlb, uint32_t domain)
{
    return __atomic_load_n(&iotlb->generation, __ATOMIC_ACQUIRE) +
           __atomic_load_n(&iotlb->domain_generation[domain % IOTLB_DOMAINS], __ATOMIC_ACQUIRE);
}

static inline const struct iotlb_slot *iotlb_set(const struct iotlb *iotlb,
                                                 enum iotlb_class page_class, uint64_t address)
{
    const struct iotlb_class_info *info = &iotlb_classes[page_class];

    return iotlb->slots[info->first_set + ((address >> info->page_log2) & (info->sets - 1u))];
}

/* The loads are acquire so that none is done after the second one of the sequence. */
static inline bool iotlb_read_slot(const struct iotlb *iotlb, const struct iotlb_slot *slot,
                                   uint64_t page, uint64_t key, struct iotlb_hit *hit)
{
    uint64_t sequence = __atomic_load_n(&slot->sequence, __ATOMIC_ACQUIRE);
    uint64_t generation;

    if (__atomic_load_n(&slot->iova, __ATOMIC_ACQUIRE) != page ||
        __atomic_load_n(&slot->key, __ATOMIC_ACQUIRE) != key)
        return false;
    generation = __atomic_load_n(&slot->generation, __ATOMIC_ACQUIRE);
    hit->gpa = __atomic_load_n(&slot->gpa, __ATOMIC_ACQUIRE);
    hit->attributes = __atomic_load_n(&slot->attributes, __ATOMIC_ACQUIRE);
    if (generation != iotlb_current(iotlb, (uint32_t)(hit->attributes >> IOTLB_DOMAIN_SHIFT)))
        return false;
    return !(sequence & 1) && __atomic_load_n(&slot->sequence, __ATOMIC_RELAXED) == sequence;
}

static inline bool iotlb_probe(const struct iotlb *iotlb, enum iotlb_class page_class,
                               uint64_t address, uint64_t key, struct iotlb_hit *hit)
{
    uint64_t size = UINT64_C(1) << iotlb_classes[page_class].page_log2;
    uint64_t offset = address & (size - 1);
    const struct iotlb_slot *set = iotlb_set(iotlb, page_class, address);

    for (unsigned int way = 0; way < IOTLB_WAYS; way++) {
        if (!iotlb_read_slot(iotlb, &set[way], address - offset, key, hit))
            continue;
        hit->gpa += offset;
        hit->length = size - offset;
        return true;
    }
    return false;
}

static inline bool iotlb_lookup(const struct iotlb *iotlb, uint64_t address, uint64_t key,
                                struct iotlb_hit *hit)
{
    uint64_t used = __atomic_load_n(&iotlb->used, __ATOMIC_RELAXED);

    return (used & 1u << IOTLB_4K && iotlb_probe(iotlb, IOTLB_4K, address, key, hit)) ||
           (used & 1u << IOTLB_2M && iotlb_probe(iotlb, IOTLB_2M, address, key, hit)) ||
           (used & 1u << IOTLB_1G && iotlb_probe(iotlb, IOTLB_1G, address, key, hit));
}

#endif
