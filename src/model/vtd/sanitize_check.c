/* SPDX-License-Identifier: MIT */
/* The sanitizer's two moments: an invalidation takes records, a wait looks at those that are left.
 */
#include <string.h>

#include "base/bits.h"
#include "base/rcu.h"
#include "model/vtd/sanitizer.h"

/* Records that one invalidation misses narrowly and that are compared with memory for it: that only
 * makes a report say "too narrow" instead of "missing", and must not cost more than the rest. */
#define MISSES_MAX 32

/* Where the caches are filled from one another, in this order. */
enum group {
    STRUCTURES,
    PAGES,
    DEVICE_TLBS,
};

static enum group group_of(const struct sanitize_record *record)
{
    if (record->cache == CACHE_DEVICE_TLB)
        return DEVICE_TLBS;
    return record->cache == CACHE_CONTEXT || record->cache == CACHE_PASID ? STRUCTURES : PAGES;
}

static bool is_page(const struct sanitize_record *record)
{
    return group_of(record) != STRUCTURES;
}

/* The copy of the context or PASID entry that a word on a page's way belongs to, if it is held. */
static const struct sanitize_record *find_structure(const struct vtd_sanitizer *sanitizer,
                                                    const struct sanitize_record *record,
                                                    const struct sanitize_link *link)
{
    struct sanitize_record key = {
        .cache = link->word >= WORD_PDE ? CACHE_PASID : CACHE_CONTEXT,
        .requester_id = record->requester_id,
        .request_pasid = link->word >= WORD_PDE ? record->pasid : VIOMMU_PASID_NONE,
        .address_log2 = 64,
    };

    if (link->word == WORD_FIRST || link->word == WORD_SECOND)
        return NULL;
    return sanitize_find(sanitizer, &key);
}

/* The same page in the IOTLB, from which the device was told. */
static struct sanitize_record *find_source(const struct vtd_sanitizer *sanitizer,
                                           const struct sanitize_record *record)
{
    struct sanitize_record key = {
        .cache = CACHE_TRANSLATION,
        .requester_id = record->requester_id,
        .request_pasid = record->request_pasid,
        .address = record->address,
        .address_log2 = record->address_log2,
    };

    return record->cache == CACHE_DEVICE_TLB ? sanitize_find(sanitizer, &key) : NULL;
}

/* It differs from memory in the same word as what the IOTLB still has. */
static bool is_held_by_page(const struct vtd_sanitizer *sanitizer,
                            const struct sanitize_record *record, unsigned int link)
{
    const struct sanitize_record *source = find_source(sanitizer, record);

    return source && link < source->count &&
           source->links[link].address == record->links[link].address &&
           sanitize_same(&record->links[link], source->links[link].value);
}

/* A page's way differs from memory in a structure of which a cache still has the old copy, too: the
 * page can be cached again from that. */
static bool is_held(const struct vtd_sanitizer *sanitizer, const struct sanitize_record *record,
                    const struct sanitize_judgement *judgement)
{
    const struct sanitize_link *link = &record->links[judgement->link];
    const struct sanitize_record *structure;

    if (judgement->verdict <= VERDICT_HARMLESS)
        return false;
    if (is_held_by_page(sanitizer, record, judgement->link))
        return true;
    structure = find_structure(sanitizer, record, link);
    for (unsigned int i = 0; structure && i < structure->count; i++)
        if (structure->links[i].address == link->address)
            return sanitize_same(link, structure->links[i].value);
    return false;
}

/* What was made from a context or PASID entry that has been reported says nothing new. */
static void drop_dependents(struct vtd_sanitizer *sanitizer,
                            const struct sanitize_record *structure)
{
    struct sanitize_record *record, *next;

    for (record = TAILQ_FIRST(&sanitizer->used); record; record = next) {
        next = TAILQ_NEXT(record, age);
        if (is_page(record) && record->requester_id == structure->requester_id &&
            (structure->cache == CACHE_CONTEXT || structure->pasid == record->pasid))
            sanitize_drop(sanitizer, record);
    }
}

/* So does what a device was told of a page that has been reported. */
static void drop_told(struct vtd_sanitizer *sanitizer, const struct sanitize_record *page)
{
    struct sanitize_record key = {
        .cache = CACHE_DEVICE_TLB,
        .requester_id = page->requester_id,
        .request_pasid = page->request_pasid,
        .address = page->address,
        .address_log2 = page->address_log2,
    };
    struct sanitize_record *told = sanitize_find(sanitizer, &key);

    if (told)
        sanitize_drop(sanitizer, told);
}

static struct viommu_sanitize_report *outbox_slot(struct vtd_sanitizer *sanitizer)
{
    return &sanitizer->outbox[sanitizer->outbox_count++];
}

static bool outbox_full(const struct vtd_sanitizer *sanitizer)
{
    return sanitizer->outbox_count == SANITIZE_OUTBOX;
}

typedef void visit_fn(struct vtd *vtd, struct sanitize_record *record, const void *opaque);

/* Visit records until all were, or the outbox is full. The one that is visited may be dropped, and
 * with it some of a later group: the next one is of the same. */
static bool visit_some(struct vtd *vtd, enum group group, visit_fn *visit, const void *opaque)
{
    struct vtd_sanitizer *sanitizer = vtd->sanitizer;
    struct sanitize_record *record, *next;
    bool full;

    pthread_mutex_lock(&sanitizer->lock);
    rcu_enter();
    for (record = TAILQ_FIRST(&sanitizer->used); record && !outbox_full(sanitizer); record = next) {
        next = TAILQ_NEXT(record, age);
        while (next && group_of(next) != group)
            next = TAILQ_NEXT(next, age);
        if (group_of(record) == group)
            visit(vtd, record, opaque);
    }
    full = outbox_full(sanitizer);
    rcu_exit();
    pthread_mutex_unlock(&sanitizer->lock);
    return full;
}

static void empty_outbox(struct vtd *vtd)
{
    struct vtd_sanitizer *sanitizer = vtd->sanitizer;

    for (unsigned int i = 0; i < sanitizer->outbox_count; i++)
        sanitize_send(vtd, &sanitizer->outbox[i]);
    sanitizer->outbox_count = 0;
}

/* Each report is of a record that goes, so a few rounds suffice, whatever the guest adds meanwhile.
 */
static void visit_all(struct vtd *vtd, enum group group, visit_fn *visit, const void *opaque)
{
    bool full = true;

    for (unsigned int i = 0; full && i <= SANITIZE_RECORDS_MAX / SANITIZE_OUTBOX; i++) {
        full = visit_some(vtd, group, visit, opaque);
        empty_outbox(vtd);
    }
}

static bool skips_drain(const struct vtd_invalidation *what, const struct sanitize_record *record)
{
    return (what->writes_undrained && record->permissions & VIOMMU_DMA_WRITE) ||
           (what->reads_undrained && record->permissions & VIOMMU_DMA_READ);
}

static void note_undrained(struct vtd_sanitizer *sanitizer, const struct sanitize_record *record,
                           const struct sanitize_judgement *judgement)
{
    if (sanitizer->undrained)
        return;
    sanitizer->undrained = true;
    sanitize_describe(record, judgement, &sanitizer->undrained_report);
    sanitizer->undrained_report.kind = VIOMMU_SANITIZE_DRAIN;
    sanitizer->undrained_report.needed =
        "DW and DR in the IOTLB invalidation, as CAP_REG has DWD and DRD: requests that use the "
        "old entry may still be under way when the wait completes";
}

/* The page goes; the tables on the way to it stay. */
static void keep_tables(struct vtd_sanitizer *sanitizer, struct sanitize_record *record)
{
    const uint8_t word = record->pgtt == VTD_PGTT_SECOND ? WORD_SECOND : WORD_FIRST;
    struct sanitize_record made;
    const struct sanitize_record *known;

    sanitize_copy(&made, record);
    sanitize_drop(sanitizer, record);
    while (made.count && made.links[made.count - 1].word != word)
        made.count--;
    /* Without the leaf: is there a table left? In a nested way, others stand between. */
    for (made.count -= made.count > 0; made.count; made.count--)
        if (made.links[made.count - 1].word == word)
            break;
    if (!made.count)
        return;
    made.cache = CACHE_TABLES;
    made.address_log2 = made.page_log2 = (uint8_t)(made.page_log2 + 9);
    made.address &= ~low_bits(made.address_log2);
    known = sanitize_find(sanitizer, &made);
    if (!known)
        sanitize_keep(sanitizer, &made);
}

/* All of a page, or only the page and not the tables, is invalidated. */
static void take_page(struct vtd *vtd, struct sanitize_record *record,
                      const struct vtd_invalidation *what, bool leaf_only)
{
    struct vtd_sanitizer *sanitizer = vtd->sanitizer;
    struct sanitize_judgement judgement;

    sanitize_judge(vtd, record, &judgement);
    if (is_held(sanitizer, record, &judgement)) {
        record->miss = MISS_EARLY;
        return;
    }
    if (judgement.verdict > VERDICT_HARMLESS && record->cache != CACHE_ABSENT &&
        skips_drain(what, record))
        note_undrained(sanitizer, record, &judgement);
    if (!leaf_only || record->cache == CACHE_ABSENT) {
        sanitize_drop(sanitizer, record);
        return;
    }
    record->miss = judgement.verdict > VERDICT_HARMLESS ? MISS_HINT : MISS_NONE;
    if (record->cache == CACHE_TRANSLATION)
        keep_tables(sanitizer, record);
}

/* All that a function was told. */
static void empty_device_tlb(struct vtd_sanitizer *sanitizer, uint16_t requester_id)
{
    struct sanitize_record *record, *next;

    for (record = TAILQ_FIRST(&sanitizer->used); record; record = next) {
        next = TAILQ_NEXT(record, age);
        if (record->cache == CACHE_DEVICE_TLB && record->requester_id == requester_id)
            sanitize_drop(sanitizer, record);
    }
}

/*
 * Without a context entry translated requests are refused. Software that takes it away may have
 * switched ATS off in the device before, which nobody sees here, and so have emptied its TLB.
 */
static bool cannot_use_device_tlb(const struct vtd *vtd, const struct sanitize_record *record)
{
    struct sanitize_judgement judgement;

    if (record->cache != CACHE_CONTEXT)
        return false;
    sanitize_judge(vtd, record, &judgement);
    return judgement.verdict == VERDICT_TAKEN;
}

static void take_structure(struct vtd *vtd, struct sanitize_record *record)
{
    struct vtd_sanitizer *sanitizer = vtd->sanitizer;
    struct sanitize_judgement judgement;
    struct viommu_sanitize_report *report;

    if (cannot_use_device_tlb(vtd, record))
        empty_device_tlb(sanitizer, record->requester_id);
    if (sanitize_rewritten(vtd, record, &judgement)) {
        report = outbox_slot(sanitizer);
        sanitize_describe(record, &judgement, report);
        report->kind = VIOMMU_SANITIZE_ORDER;
        report->needed = "the entry not present and invalidated first, and only then its other "
                         "fields changed, as it may be fetched half-written";
    }
    sanitize_drop(sanitizer, record);
}

static void take(struct vtd *vtd, struct sanitize_record *record, const void *opaque)
{
    const struct vtd_invalidation *what = opaque;
    struct sanitize_judgement judgement;
    enum sanitize_miss miss;
    uint8_t tables;

    switch (sanitize_cover(what, record, &miss, &tables)) {
    case COVERS_ALL:
        if (is_page(record))
            take_page(vtd, record, what, false);
        else
            take_structure(vtd, record);
        return;
    case COVERS_LEAF:
        take_page(vtd, record, what, true);
        return;
    case COVERS_TABLES:
        record->tables_kept &= (uint8_t)~tables;
        break;
    case COVERS_NOTHING:
        break;
    }
    if (miss == MISS_NONE || !vtd->sanitizer->misses_left)
        return;
    vtd->sanitizer->misses_left--;
    sanitize_judge(vtd, record, &judgement);
    if (judgement.verdict > VERDICT_HARMLESS)
        record->miss = miss;
}

/* A walk that began earlier may still leave what this invalidates. */
static void await_drain(struct vtd_sanitizer *sanitizer, const struct vtd_invalidation *what)
{
    uint64_t sequence = __atomic_add_fetch(&sanitizer->sequence, 1, __ATOMIC_SEQ_CST);

    pthread_mutex_lock(&sanitizer->lock);
    if (sanitizer->pending_count < SANITIZE_PENDING_MAX)
        sanitizer->pending[sanitizer->pending_count++] = (struct sanitize_pending){sequence, *what};
    else
        sanitizer->pending_lost = sequence;
    pthread_mutex_unlock(&sanitizer->lock);
}

void vtd_sanitizer_invalidate(struct vtd *vtd, const struct vtd_invalidation *what)
{
    bool iotlb = what->kind == VTD_INVALIDATE_IOTLB || what->kind == VTD_INVALIDATE_PIOTLB;

    /* One drain waits for all requests. */
    if (iotlb && !what->writes_undrained && !what->reads_undrained)
        vtd->sanitizer->undrained = false;
    vtd->sanitizer->misses_left = MISSES_MAX;
    await_drain(vtd->sanitizer, what);
    if (what->kind == VTD_INVALIDATE_DEVICE)
        visit_all(vtd, DEVICE_TLBS, take, what);
    else
        visit_all(vtd, iotlb ? PAGES : STRUCTURES, take, what);
}

void vtd_sanitizer_drained(struct vtd *vtd)
{
    pthread_mutex_lock(&vtd->sanitizer->lock);
    vtd->sanitizer->pending_count = 0;
    pthread_mutex_unlock(&vtd->sanitizer->lock);
}

/* Whether what differs is wrong, or may become so. */
static bool is_suspect(const struct vtd *vtd, const struct sanitize_judgement *judgement)
{
    if (judgement->verdict == VERDICT_TAKEN)
        return vtd->options.sanitize_strict;
    return judgement->verdict > VERDICT_HARMLESS;
}

static void check(struct vtd *vtd, struct sanitize_record *record, const void *opaque)
{
    struct vtd_sanitizer *sanitizer = vtd->sanitizer;
    struct sanitize_judgement judgement;

    (void)opaque;
    if (record->cache == CACHE_ABSENT &&
        !vtd_nest_lacks(vtd, record->requester_id, record->request_pasid, record->address)) {
        sanitize_drop(sanitizer, record);
        return;
    }
    sanitize_judge(vtd, record, &judgement);
    if (judgement.verdict <= VERDICT_HARMLESS)
        record->miss = MISS_NONE;
    if (!is_suspect(vtd, &judgement) ||
        (is_page(record) && is_held(sanitizer, record, &judgement))) {
        record->suspect_since = 0;
        return;
    }
    if (!record->suspect_since)
        record->suspect_since = sanitizer->waits;
    if (sanitizer->waits - record->suspect_since < vtd->options.sanitize_patience)
        return;
    sanitize_describe(record, &judgement, outbox_slot(sanitizer));
    if (!is_page(record))
        drop_dependents(sanitizer, record);
    else if (record->cache == CACHE_TRANSLATION)
        drop_told(sanitizer, record);
    sanitize_drop(sanitizer, record);
}

static void say_forgotten(struct vtd *vtd)
{
    struct vtd_sanitizer *sanitizer = vtd->sanitizer;
    uint64_t forgotten;

    pthread_mutex_lock(&sanitizer->lock);
    forgotten = sanitizer->forgotten;
    pthread_mutex_unlock(&sanitizer->lock);
    if (forgotten == sanitizer->forgotten_said)
        return;
    sanitizer->forgotten_said = forgotten;
    log_limited(&vtd->options.log, &sanitizer->forgotten_limit, VIOMMU_LOG_INFO,
                "vtd: the sanitizer remembers %u translations, and has forgotten %llu older ones: "
                "mistakes of the guest about them are not seen",
                SANITIZE_RECORDS_MAX, (unsigned long long)forgotten);
}

void vtd_sanitizer_wait(struct vtd *vtd)
{
    struct vtd_sanitizer *sanitizer = vtd->sanitizer;

    sanitizer->waits++;
    if (sanitizer->undrained)
        sanitize_send(vtd, &sanitizer->undrained_report);
    sanitizer->undrained = false;
    visit_all(vtd, STRUCTURES, check, NULL);
    visit_all(vtd, PAGES, check, NULL);
    visit_all(vtd, DEVICE_TLBS, check, NULL);
    say_forgotten(vtd);
}

void vtd_sanitizer_forget(struct vtd *vtd)
{
    struct vtd_sanitizer *sanitizer = vtd->sanitizer;
    struct sanitize_record *record;

    __atomic_add_fetch(&sanitizer->sequence, 1, __ATOMIC_SEQ_CST);
    pthread_mutex_lock(&sanitizer->lock);
    sanitizer->pending_lost = sanitizer->sequence;
    while ((record = TAILQ_FIRST(&sanitizer->used)))
        sanitize_drop(sanitizer, record);
    pthread_mutex_unlock(&sanitizer->lock);
    sanitizer->undrained = false;
}

void vtd_sanitizer_tlb_gone(struct vtd *vtd, uint16_t requester_id)
{
    pthread_mutex_lock(&vtd->sanitizer->lock);
    empty_device_tlb(vtd->sanitizer, requester_id);
    pthread_mutex_unlock(&vtd->sanitizer->lock);
}

void vtd_sanitizer_mask(struct vtd *vtd, uint16_t domain, uint64_t address, unsigned int mask)
{
    const struct viommu_sanitize_report report = {
        .size = sizeof(report),
        .kind = VIOMMU_SANITIZE_MASK,
        .pasid = VIOMMU_PASID_NONE,
        .domain = domain,
        .address = address,
        .address_log2 = (uint8_t)(12 + mask),
        .needed = "an address mask of at most CAP_REG.MAMV, or an invalidation of the domain: this "
                  "one was refused",
    };

    sanitize_send(vtd, &report);
}
