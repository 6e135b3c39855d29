/* SPDX-License-Identifier: MIT */
/*
 * The guest sanitizer: finds mistakes of the guest's IOMMU driver that real hardware punishes once
 * in a while, and an emulation never (property sanitize).
 *
 * The record. A large cache is simulated (VT-d 5.0, 6.2). Each walk for an emulated
 * device leaves what hardware may keep of it: the root and context entry (by function), the PASID
 * entry (by function and PASID), and the page with the tables on the way to it; each with the words
 * that it was made from, as they were read (sanitize_chain.c). Hits need no record, as they were
 * filled by a walk. At most SANITIZE_RECORDS_MAX are kept; beyond, the oldest is forgotten, and the
 * log says how many. A record is never refreshed while it differs from memory: what counts is what
 * was not invalidated.
 *
 * Invalidations take records, as 6.5.2 says and not as our own IOTLB does, which drops more
 * (sanitize_cover.c): a context or PASID-cache invalidation leaves translations; the hint IH leaves
 * the tables; a PASID-based one leaves second-stage pages; and an IOTLB invalidation leaves what
 * can be filled again from a context or PASID entry that changed and is still cached. One that
 * comes near is remembered as the reason ("too narrow"). A walk that is under way when an
 * invalidation begins may have read older tables, and leaves its record later: it samples
 * `sequence` before, and the invalidations since the last drain are looked through before the
 * record is made.
 *
 * The check. When a wait completes, or a register's invalidation, and before the guest can see
 * that, what is left is compared with memory (sanitize_judge.c). Differing alone proves nothing:
 *
 *   - a mapping that was taken away may be invalidated much later (Linux's flush queue). What is
 *     wrong is to use the address again before: then the entry is present again and leads
 *     elsewhere. Likewise a table: it may be unlinked, but not filled with other things, while a
 *     cache leads to it.
 *   - another vCPU's wait may complete between a change and its invalidation. So a difference has
 *     to outlive sanitize-patience waits. 0 makes each wait count, for guests of one thread.
 *
 * sanitize-strict also reports what was taken away and not invalidated within that patience.
 *
 * At once, and without patience, is said what no later invalidation mends: a present context or
 * PASID entry that became another present one in the fields for which 6.5.3.3 wants it not present
 * in between, seen when it is invalidated; a mask beyond CAP.MAMV; and a wait for something that
 * had changed and was invalidated, but whose requests under way nobody drained (6.5.4: DR and DW,
 * where CAP.DRD and DWD are set; of the register only DW, as Linux does without the other there).
 *
 * Device TLBs. What a device was told that asked for a translation is a record, too, which only a
 * device-TLB invalidation takes (6.5.2.5, 6.5.2.6), or the end of the device TLB or its context
 * entry. It is patient in the same way: Linux puts both invalidations into one batch, but a batch
 * may end, with a wait, between the two. The device TLB is filled from the IOTLB: an invalidation
 * of it that comes before that of the IOTLB takes nothing, and while the IOTLB holds the page, that
 * alone is reported.
 *
 * Assigned devices translate in the host, and what its caches hold is not seen. Known for certain,
 * and remembered, are the context and PASID entries by which they are attached, and the
 * second-stage pages that are mirrored, as far as the first SANITIZE_SHADOWED_MAX of a bind or of a
 * batch of invalidations. With CAP.CM a page that became present needs an invalidation, too (6.1):
 * a DMA that the host refused although the guest's table permits it leaves a record "absent", which
 * is reported when it is not invalidated either, and the mirror still lacks the page
 * (sanitize_assigned.c).
 *
 * Entries of one way depend on each other, so one mistake is one report: a translation waits for
 * the context or PASID entry that it was made from to be invalidated first, and goes with it.
 *
 * Locks: `lock` of the sanitizer is the innermost. Walks take it for a moment in their read-side
 * section, and only when they miss; nobody drains while holding it.
 */
#include "model/vtd/sanitizer.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

int vtd_sanitize_create(struct vtd *vtd)
{
    struct vtd_sanitizer *sanitizer;

    if (!vtd->options.sanitize)
        return 0;
    sanitizer = calloc(1, sizeof(*sanitizer));
    if (!sanitizer)
        return -ENOMEM;
    pthread_mutex_init(&sanitizer->lock, NULL);
    TAILQ_INIT(&sanitizer->used);
    TAILQ_INIT(&sanitizer->unused);
    for (unsigned int i = 0; i < SANITIZE_RECORDS_MAX; i++)
        TAILQ_INSERT_TAIL(&sanitizer->unused, &sanitizer->records[i], age);
    vtd->sanitizer = sanitizer;
    return 0;
}

void vtd_sanitize_destroy(struct vtd *vtd)
{
    if (!vtd->sanitizer)
        return;
    pthread_mutex_destroy(&vtd->sanitizer->lock);
    free(vtd->sanitizer);
    vtd->sanitizer = NULL;
}

static unsigned int bucket_of(const struct sanitize_record *key)
{
    uint64_t hash = key->address >> 12 ^ (uint64_t)key->requester_id << 32 ^
                    (uint64_t)key->request_pasid << 40 ^ (uint64_t)key->cache << 30;

    return (unsigned int)(hash * UINT64_C(0x9e3779b97f4a7c15) >> 54) % SANITIZE_BUCKETS;
}

static bool same_key(const struct sanitize_record *a, const struct sanitize_record *b)
{
    return a->cache == b->cache && a->requester_id == b->requester_id &&
           a->request_pasid == b->request_pasid && a->address == b->address &&
           a->address_log2 == b->address_log2;
}

struct sanitize_record *sanitize_find(const struct vtd_sanitizer *sanitizer,
                                      const struct sanitize_record *key)
{
    struct sanitize_record *record;

    LIST_FOREACH(record, &sanitizer->buckets[bucket_of(key)], bucket)
    {
        if (same_key(record, key))
            return record;
    }
    return NULL;
}

void sanitize_drop(struct vtd_sanitizer *sanitizer, struct sanitize_record *record)
{
    LIST_REMOVE(record, bucket);
    TAILQ_REMOVE(&sanitizer->used, record, age);
    TAILQ_INSERT_HEAD(&sanitizer->unused, record, age);
}

void sanitize_copy(struct sanitize_record *to, const struct sanitize_record *from)
{
    size_t begin = offsetof(struct sanitize_record, cache);

    memcpy((char *)to + begin, (const char *)from + begin,
           offsetof(struct sanitize_record, links) - begin + from->count * sizeof(*from->links));
}

void sanitize_keep(struct vtd_sanitizer *sanitizer, const struct sanitize_record *made)
{
    struct sanitize_record *record = TAILQ_FIRST(&sanitizer->unused);

    if (!record) {
        sanitizer->forgotten++;
        sanitize_drop(sanitizer, TAILQ_FIRST(&sanitizer->used));
        record = TAILQ_FIRST(&sanitizer->unused);
    }
    TAILQ_REMOVE(&sanitizer->unused, record, age);
    sanitize_copy(record, made);
    TAILQ_INSERT_TAIL(&sanitizer->used, record, age);
    LIST_INSERT_HEAD(&sanitizer->buckets[bucket_of(record)], record, bucket);
}

/* Did an invalidation that began after `sequence` was sampled take what this was made from? */
static bool is_outdated(const struct vtd *vtd, const struct sanitize_record *made,
                        uint64_t sequence)
{
    const struct vtd_sanitizer *sanitizer = vtd->sanitizer;
    enum sanitize_miss miss;
    uint8_t tables;

    if (sequence < sanitizer->pending_lost)
        return true;
    for (unsigned int i = 0; i < sanitizer->pending_count; i++) {
        const struct sanitize_pending *pending = &sanitizer->pending[i];

        if (sequence < pending->sequence &&
            sanitize_cover(&pending->what, made, &miss, &tables) != COVERS_NOTHING)
            return true;
    }
    return false;
}

void sanitize_remember(const struct vtd *vtd, const struct sanitize_record *made, uint64_t sequence)
{
    struct vtd_sanitizer *sanitizer = vtd->sanitizer;
    struct sanitize_record *record;
    struct sanitize_judgement judgement;

    if (is_outdated(vtd, made, sequence))
        return;
    record = sanitize_find(sanitizer, made);
    if (!record) {
        sanitize_keep(sanitizer, made);
        return;
    }
    sanitize_judge(vtd, record, &judgement);
    if (judgement.verdict > VERDICT_HARMLESS)
        return;
    sanitize_copy(record, made);
}

void sanitize_take_links(struct sanitize_record *made, const struct sanitize_chain *chain,
                         unsigned int first, unsigned int end)
{
    made->count = end - first;
    memcpy(made->links, &chain->links[first], made->count * sizeof(*made->links));
}

static void remember_context(const struct vtd *vtd, const struct sanitize_chain *chain,
                             uint64_t sequence, struct sanitize_record *made)
{
    made->cache = CACHE_CONTEXT;
    made->request_pasid = VIOMMU_PASID_NONE;
    sanitize_take_links(made, chain, 0, chain->context_count);
    sanitize_remember(vtd, made, sequence);
}

static void remember_pasid(const struct vtd *vtd, const struct sanitize_chain *chain,
                           uint64_t sequence, struct sanitize_record *made)
{
    if (made->legacy || chain->entry_count <= chain->context_count)
        return;
    made->cache = CACHE_PASID;
    made->request_pasid = made->pasid;
    sanitize_take_links(made, chain, chain->context_count, chain->entry_count);
    sanitize_remember(vtd, made, sequence);
}

void sanitize_remember_structures(const struct vtd *vtd, const struct sanitize_chain *chain,
                                  uint64_t sequence, struct sanitize_record *made)
{
    remember_context(vtd, chain, sequence, made);
    remember_pasid(vtd, chain, sequence, made);
}

void sanitize_begin(const struct sanitize_chain *chain, uint16_t requester_id,
                    struct sanitize_record *made)
{
    memset(made, 0, offsetof(struct sanitize_record, links));
    made->pgtt = chain->entry.pgtt;
    made->legacy = chain->entry.legacy;
    made->requester_id = requester_id;
    made->domain = chain->entry.domain;
    made->pasid = chain->entry.pasid;
    made->address_log2 = 64;
}

static void remember_page(const struct vtd *vtd, const struct viommu_dma_request *request,
                          const struct dma_translation *translation,
                          const struct sanitize_chain *chain, uint64_t sequence,
                          enum sanitize_cache cache)
{
    uint64_t within = low_bits(translation->granule_log2);
    struct sanitize_record record, *made = &record;

    if (translation->status != VIOMMU_DMA_OK || !chain->complete ||
        !(translation->permissions & (VIOMMU_DMA_READ | VIOMMU_DMA_WRITE)) ||
        chain->gpa != (translation->gpa | (request->address & within)))
        return;
    sanitize_begin(chain, request->requester_id, made);
    made->cache = cache;
    made->request_pasid = request->pasid;
    made->address = request->address & ~within;
    made->address_log2 = translation->granule_log2;
    made->page_log2 = chain->page_log2;
    made->gpa = translation->gpa;
    made->permissions = translation->permissions & (VIOMMU_DMA_READ | VIOMMU_DMA_WRITE);
    made->tables_kept = UINT8_MAX;
    sanitize_take_links(made, chain, 0, chain->count);
    sanitize_remember(vtd, made, sequence);
}

/* Whoever has none is refused, and keeps nothing. */
static bool has_device_tlb(const struct vtd *vtd, uint16_t requester_id)
{
    const struct vtd_function *function = vtd_function_find(vtd, requester_id);

    return function && __atomic_load_n(&function->tlb, __ATOMIC_ACQUIRE);
}

void vtd_sanitize_translate(const struct vtd *vtd, const struct viommu_dma_request *request,
                            struct dma_translation *translation)
{
    struct vtd_sanitizer *sanitizer = vtd->sanitizer;
    uint64_t sequence = __atomic_load_n(&sanitizer->sequence, __ATOMIC_SEQ_CST);
    bool told = request->type == VIOMMU_DMA_TRANSLATION_REQUEST;
    struct sanitize_record made;
    struct sanitize_chain chain;

    vtd_translate(vtd, request, translation);
    if ((told && !has_device_tlb(vtd, request->requester_id)) ||
        request->type == VIOMMU_DMA_TRANSLATED ||
        !sanitize_chain_read(vtd, request->requester_id, request->pasid, request->address,
                             &chain) ||
        chain.entry.reason)
        return;
    sanitize_begin(&chain, request->requester_id, &made);
    pthread_mutex_lock(&sanitizer->lock);
    sanitize_remember_structures(vtd, &chain, sequence, &made);
    remember_page(vtd, request, translation, &chain, sequence, CACHE_TRANSLATION);
    if (told)
        remember_page(vtd, request, translation, &chain, sequence, CACHE_DEVICE_TLB);
    pthread_mutex_unlock(&sanitizer->lock);
}
