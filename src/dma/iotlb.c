/* SPDX-License-Identifier: MIT */
/*
 * Filling and emptying the IOTLB.
 *
 * A fill races with an invalidation: a walk may have read the guest's tables before the guest
 * changed them, and be filled in after the invalidation has looked. So every invalidation first
 * raises `sequence`, then removes; a filler samples it before its walk, and again when it holds the
 * slot and has read the generations. If the second sample differs, the entry is dropped. If it does
 * not, the invalidation comes later than the sample, so it bumps a generation that the entry
 * already carries, or finds the slot, waiting until the filler lets go of it. The accesses that
 * this rests on (sequence, a slot's sequence, the marks) are sequentially consistent.
 */
#include "dma/iotlb.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

#define SPINS_BEFORE_YIELD 100

struct iotlb *iotlb_create(void)
{
    struct iotlb *iotlb = NULL;

    if (posix_memalign((void **)&iotlb, IOTLB_LINE, sizeof(*iotlb)))
        return NULL;
    memset(iotlb, 0, sizeof(*iotlb));
    iotlb->generation = 1;
    return iotlb;
}

void iotlb_destroy(struct iotlb *iotlb)
{
    free(iotlb);
}

uint64_t iotlb_sequence(const struct iotlb *iotlb)
{
    return __atomic_load_n(&iotlb->sequence, __ATOMIC_SEQ_CST);
}

/* Only while nobody else changes the slot: 0 when somebody does, else what to unlock with. */
static uint64_t slot_trylock(struct iotlb_slot *slot)
{
    uint64_t sequence = __atomic_load_n(&slot->sequence, __ATOMIC_SEQ_CST);

    if (sequence & 1 || !__atomic_compare_exchange_n(&slot->sequence, &sequence, sequence + 1,
                                                     false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        return 0;
    return sequence + 2;
}

static void slot_unlock(struct iotlb_slot *slot, uint64_t sequence)
{
    __atomic_store_n(&slot->sequence, sequence, __ATOMIC_RELEASE);
}

/* A store into a locked slot; release, so that no lookup sees it without seeing the lock. */
static void slot_store(uint64_t *member, uint64_t value)
{
    __atomic_store_n(member, value, __ATOMIC_RELEASE);
}

static uint64_t slot_load(const uint64_t *member)
{
    return __atomic_load_n(member, __ATOMIC_ACQUIRE);
}

static uint32_t slot_domain(const struct iotlb_slot *slot)
{
    return (uint32_t)(slot_load(&slot->attributes) >> IOTLB_DOMAIN_SHIFT);
}

static enum iotlb_class class_of(uint8_t granule_log2)
{
    enum iotlb_class page_class = IOTLB_1G;

    while (page_class > IOTLB_4K && iotlb_classes[page_class].page_log2 > granule_log2)
        page_class--;
    return page_class;
}

/* The way for a new entry: the one that it replaces, one that is empty or outdated, any. */
static struct iotlb_slot *choose_way(struct iotlb *iotlb, struct iotlb_slot *set, uint64_t page,
                                     uint64_t key)
{
    struct iotlb_slot *vacant = NULL;

    for (unsigned int way = 0; way < IOTLB_WAYS; way++) {
        struct iotlb_slot *slot = &set[way];

        if (slot_load(&slot->generation) != iotlb_current(iotlb, slot_domain(slot))) {
            if (!vacant)
                vacant = slot;
        } else if (slot_load(&slot->iova) == page && slot_load(&slot->key) == key) {
            return slot;
        }
    }
    if (vacant)
        return vacant;
    return &set[__atomic_fetch_add(&iotlb->victim, 1, __ATOMIC_RELAXED) % IOTLB_WAYS];
}

/* Remember that an entry of this kind was filled under this generation; the latest one counts. */
static void mark(uint64_t *marks, uint32_t domain, uint64_t generation)
{
    uint64_t *slot = &marks[domain % IOTLB_DOMAINS];
    uint64_t seen = __atomic_load_n(slot, __ATOMIC_SEQ_CST);

    while (seen < generation && !__atomic_compare_exchange_n(slot, &seen, generation, false,
                                                             __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        ;
}

static bool is_marked(const struct iotlb *iotlb, const uint64_t *marks, uint32_t domain)
{
    return __atomic_load_n(&marks[domain % IOTLB_DOMAINS], __ATOMIC_SEQ_CST) ==
           iotlb_current(iotlb, domain);
}

static uint64_t attributes_of(const struct dma_translation *translation, bool fractured)
{
    return translation->permissions | (uint64_t)translation->granule_log2 << 8 |
           (translation->nested ? IOTLB_NESTED : 0) | (fractured ? IOTLB_FRACTURED : 0) |
           (uint64_t)translation->domain << IOTLB_DOMAIN_SHIFT;
}

/* Note what invalidations must know, before they can miss the entry. */
static void announce(struct iotlb *iotlb, enum iotlb_class page_class, uint64_t generation,
                     uint64_t attributes)
{
    uint32_t domain = (uint32_t)(attributes >> IOTLB_DOMAIN_SHIFT);

    if (!(__atomic_load_n(&iotlb->used, __ATOMIC_SEQ_CST) & 1u << page_class))
        __atomic_fetch_or(&iotlb->used, 1u << page_class, __ATOMIC_SEQ_CST);
    if (attributes & IOTLB_NESTED)
        mark(iotlb->nested, domain, generation);
    if (attributes & IOTLB_FRACTURED)
        mark(iotlb->fractured, domain, generation);
}

void iotlb_fill(struct iotlb *iotlb, uint64_t address, uint64_t key,
                const struct dma_translation *translation, uint64_t sequence)
{
    enum iotlb_class page_class = class_of(translation->granule_log2);
    uint8_t page_log2 = iotlb_classes[page_class].page_log2;
    uint64_t page = address & ~low_bits(page_log2);
    /* One part of a larger page does not answer for the address by which that is invalidated. */
    bool fractured = translation->fractured || translation->granule_log2 != page_log2;
    uint64_t attributes = attributes_of(translation, fractured);
    struct iotlb_slot *set = (struct iotlb_slot *)iotlb_set(iotlb, page_class, address);
    struct iotlb_slot *slot = choose_way(iotlb, set, page, key);
    uint64_t unlock = slot_trylock(slot);
    uint64_t generation;

    if (!unlock)
        return;
    generation = iotlb_current(iotlb, translation->domain);
    announce(iotlb, page_class, generation, attributes);
    if (iotlb_sequence(iotlb) == sequence) {
        slot_store(&slot->iova, page);
        slot_store(&slot->key, key);
        slot_store(&slot->gpa, translation->gpa + (page & low_bits(translation->granule_log2)));
        slot_store(&slot->attributes, attributes);
        slot_store(&slot->generation, generation);
    }
    slot_unlock(slot, unlock);
}

static bool slot_matches(const struct iotlb_slot *slot, uint64_t page,
                         const struct dma_invalidation *what)
{
    return slot_load(&slot->iova) == page && slot_load(&slot->generation) &&
           slot_domain(slot) == what->domain &&
           (what->pasid == DMA_PASID_ANY || iotlb_key_pasid(slot_load(&slot->key)) == what->pasid);
}

/* Empty the slot if it matches; a fill that is under way is waited for. */
static void slot_drop(struct iotlb_slot *slot, uint64_t page, const struct dma_invalidation *what)
{
    for (unsigned int tries = 1;; tries++) {
        uint64_t sequence = __atomic_load_n(&slot->sequence, __ATOMIC_SEQ_CST);

        if (!(sequence & 1) && !slot_matches(slot, page, what) &&
            __atomic_load_n(&slot->sequence, __ATOMIC_SEQ_CST) == sequence)
            return;
        if (!(sequence & 1)) {
            uint64_t unlock = slot_trylock(slot);

            if (unlock) {
                if (slot_matches(slot, page, what))
                    slot_store(&slot->generation, 0);
                slot_unlock(slot, unlock);
                return;
            }
        }
        if (!(tries % SPINS_BEFORE_YIELD))
            sched_yield();
    }
}

/* Pages of one size that the range touches; the range is aligned to its length. */
static uint64_t pages_in(const struct dma_invalidation *what, enum iotlb_class page_class)
{
    uint64_t pages = what->length >> iotlb_classes[page_class].page_log2;

    return pages ? pages : 1;
}

static void drop_class(struct iotlb *iotlb, enum iotlb_class page_class,
                       const struct dma_invalidation *what)
{
    uint64_t size = BIT64(iotlb_classes[page_class].page_log2);
    uint64_t page = what->address & ~(size - 1);

    for (uint64_t left = pages_in(what, page_class); left; left--, page += size) {
        struct iotlb_slot *set = (struct iotlb_slot *)iotlb_set(iotlb, page_class, page);

        for (unsigned int way = 0; way < IOTLB_WAYS; way++)
            slot_drop(&set[way], page, what);
    }
}

/*
 * Whether pages are dropped with their whole domain: the range has more pages than there are sets,
 * or there are entries that cannot be found by the address.
 */
static bool takes_domain(const struct iotlb *iotlb, const struct dma_invalidation *what,
                         uint64_t used)
{
    if (!what->length || is_marked(iotlb, iotlb->fractured, what->domain) ||
        (what->second_stage && is_marked(iotlb, iotlb->nested, what->domain)))
        return true;
    for (enum iotlb_class page_class = 0; page_class < IOTLB_CLASSES; page_class++) {
        if (used & 1u << page_class && pages_in(what, page_class) > iotlb_classes[page_class].sets)
            return true;
    }
    return false;
}

void iotlb_invalidate(struct iotlb *iotlb, const struct dma_invalidation *what)
{
    uint64_t used;

    __atomic_fetch_add(&iotlb->sequence, 1, __ATOMIC_SEQ_CST);
    used = __atomic_load_n(&iotlb->used, __ATOMIC_SEQ_CST);
    if (what->scope == DMA_INVALIDATE_ALL) {
        __atomic_fetch_add(&iotlb->generation, 1, __ATOMIC_SEQ_CST);
    } else if (what->scope == DMA_INVALIDATE_DOMAIN || takes_domain(iotlb, what, used)) {
        __atomic_fetch_add(&iotlb->domain_generation[what->domain % IOTLB_DOMAINS], 1,
                           __ATOMIC_SEQ_CST);
    } else {
        for (enum iotlb_class page_class = 0; page_class < IOTLB_CLASSES; page_class++) {
            if (used & 1u << page_class)
                drop_class(iotlb, page_class, what);
        }
    }
}
