/* SPDX-License-Identifier: MIT */
/*
 * The translation cache of one HWPT, and its invalidation. It holds 4 KiB pages and never evicts: a
 * translation that should have been invalidated stays, and is seen. But a guest decides how many
 * there are: at the host's limit all caches are emptied, and the log says that this has happened.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/error.h"
#include "base/log.h"
#include "host/soft/soft.h"

#define FIRST_BUCKETS      64
#define INVALIDATE_ENTRIES (UINT32_C(1) << 19) /* as many as Linux takes in one call */
#define INVALIDATE_LENGTH  4096                /* bytes of one entry that Linux takes */

struct soft_cache_entry {
    struct soft_cache_entry *next;
    uint64_t page; /* IOVA >> 12 */
    bool privileged;
    struct soft_translation translation;
};

void soft_cache_init(struct soft_cache *cache, struct soft_host *host)
{
    pthread_mutex_init(&cache->lock, NULL);
    cache->host = host;
}

void soft_cache_destroy(struct soft_cache *cache)
{
    soft_cache_clear(cache);
    free(cache->buckets);
    pthread_mutex_destroy(&cache->lock);
}

/* Fibonacci hashing; bucket_count is a power of two. */
static size_t bucket_of(const struct soft_cache *cache, uint64_t page)
{
    return ((page * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (cache->bucket_count - 1);
}

static struct soft_cache_entry **find_link(const struct soft_cache *cache, uint64_t page,
                                           bool privileged)
{
    struct soft_cache_entry **link = &cache->buckets[bucket_of(cache, page)];

    while (*link && ((*link)->page != page || (*link)->privileged != privileged))
        link = &(*link)->next;
    return link;
}

bool soft_cache_find(struct soft_cache *cache, uint64_t iova, bool privileged,
                     struct soft_translation *translation)
{
    struct soft_cache_entry *entry = NULL;

    pthread_mutex_lock(&cache->lock);
    if (cache->count)
        entry = *find_link(cache, iova >> SOFT_PAGE_SHIFT, privileged);
    if (entry)
        *translation = entry->translation;
    pthread_mutex_unlock(&cache->lock);
    return entry;
}

/* Double the buckets when they are full. Without memory the chains just grow longer. */
static bool grow(struct soft_cache *cache)
{
    size_t old_count = cache->bucket_count, wanted = old_count ? old_count * 2 : FIRST_BUCKETS;
    struct soft_cache_entry **old = cache->buckets, **buckets;

    if (cache->count < old_count)
        return true;
    buckets = calloc(wanted, sizeof(struct soft_cache_entry *));
    if (!buckets)
        return old_count;
    cache->buckets = buckets;
    cache->bucket_count = wanted;
    for (size_t i = 0; i < old_count; i++) {
        for (struct soft_cache_entry *entry = old[i], *next; entry; entry = next) {
            size_t bucket = bucket_of(cache, entry->page);

            next = entry->next;
            entry->next = buckets[bucket];
            buckets[bucket] = entry;
        }
    }
    free(old);
    return true;
}

static bool is_large(const struct soft_cache_entry *entry)
{
    return entry->translation.first_stage_log2 > SOFT_PAGE_SHIFT;
}

static void drop_link(struct soft_cache *cache, struct soft_cache_entry **link)
{
    struct soft_cache_entry *entry = *link;

    *link = entry->next;
    cache->count--;
    cache->large -= is_large(entry);
    __atomic_fetch_sub(&cache->host->cache_entries, 1, __ATOMIC_RELAXED);
    free(entry);
}

static void clear_all(struct soft_host *host)
{
    struct soft_object *object;

    LIST_FOREACH(object, &host->objects, link)
    {
        if (object->type == SOFT_PAGING || object->type == SOFT_NESTED)
            soft_cache_clear(&((struct soft_hwpt *)object)->cache);
    }
    if (!__atomic_fetch_add(&host->cache_clears, 1, __ATOMIC_RELAXED))
        log_message(
            &host->log, VIOMMU_LOG_WARNING,
            "Simulated host %s: the translation cache reached its limit of %llu entries and "
            "was emptied, so invalidations that were missing until now may stay unseen; "
            "raise cache_limit to keep more (said once)",
            host->info.name, (unsigned long long)host->cache_limit);
}

/* Whether there is room for one entry more; while another thread makes room, there is none. */
static bool make_room(struct soft_host *host)
{
    if (__atomic_load_n(&host->cache_entries, __ATOMIC_RELAXED) < host->cache_limit)
        return true;
    if (__atomic_exchange_n(&host->cache_clearing, true, __ATOMIC_ACQUIRE))
        return false;
    if (__atomic_load_n(&host->cache_entries, __ATOMIC_RELAXED) >= host->cache_limit)
        clear_all(host);
    __atomic_store_n(&host->cache_clearing, false, __ATOMIC_RELEASE);
    return true;
}

/*
 * A translation that finds no memory is not kept: caches may always forget. The host's lock is held
 * for reading.
 */
void soft_cache_insert(struct soft_cache *cache, uint64_t iova, bool privileged,
                       const struct soft_translation *translation)
{
    struct soft_cache_entry *entry, **link;

    if (!make_room(cache->host))
        return;
    entry = malloc(sizeof(*entry));
    if (!entry)
        return;
    *entry = (struct soft_cache_entry){
        .page = iova >> SOFT_PAGE_SHIFT, .privileged = privileged, .translation = *translation};
    pthread_mutex_lock(&cache->lock);
    if (!grow(cache)) {
        pthread_mutex_unlock(&cache->lock);
        free(entry);
        return;
    }
    link = find_link(cache, entry->page, privileged);
    if (*link)
        drop_link(cache, link);
    entry->next = cache->buckets[bucket_of(cache, entry->page)];
    cache->buckets[bucket_of(cache, entry->page)] = entry;
    cache->count++;
    cache->large += is_large(entry);
    __atomic_fetch_add(&cache->host->cache_entries, 1, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&cache->lock);
}

static bool overlaps(const struct soft_cache_entry *entry, uint64_t start, uint64_t last)
{
    uint64_t span = low_bits(entry->translation.first_stage_log2);
    uint64_t first = (entry->page << SOFT_PAGE_SHIFT) & ~span;

    return first <= last && (first | span) >= start;
}

static void drop_by_scan(struct soft_cache *cache, uint64_t start, uint64_t last)
{
    for (size_t i = 0; i < cache->bucket_count; i++) {
        struct soft_cache_entry **link = &cache->buckets[i];

        while (*link) {
            if (overlaps(*link, start, last))
                drop_link(cache, link);
            else
                link = &(*link)->next;
        }
    }
}

static void drop_by_page(struct soft_cache *cache, uint64_t first, uint64_t last)
{
    for (uint64_t page = first; page <= last && cache->count; page++) {
        for (int privileged = 0; privileged < 2; privileged++) {
            struct soft_cache_entry **link = find_link(cache, page, privileged);

            if (*link)
                drop_link(cache, link);
        }
    }
}

/* Drop what overlaps [start, last]; of a large first-stage page all, whichever part of it is hit.
 */
void soft_cache_drop(struct soft_cache *cache, uint64_t start, uint64_t last)
{
    uint64_t first_page = start >> SOFT_PAGE_SHIFT, last_page = last >> SOFT_PAGE_SHIFT;

    pthread_mutex_lock(&cache->lock);
    if (!cache->large && last_page - first_page < cache->count)
        drop_by_page(cache, first_page, last_page);
    else
        drop_by_scan(cache, start, last);
    pthread_mutex_unlock(&cache->lock);
}

void soft_cache_clear(struct soft_cache *cache)
{
    soft_cache_drop(cache, 0, UINT64_MAX);
}

static int check_invalidation(const struct viommu_host_vtd_s1_invalidate *entry,
                              struct viommu_error *error)
{
    if ((entry->flags & ~VIOMMU_HOST_VTD_INV_LEAF) || entry->reserved)
        return error_set(error, -EOPNOTSUPP,
                         "Invalidation flags 0x%x, reserved 0x%x: LEAF (1) is the only flag, "
                         "reserved is 0",
                         entry->flags, entry->reserved);
    if (!is_aligned(entry->addr, SOFT_PAGE_SIZE))
        return error_set(error, -EINVAL, "Invalidation address 0x%llx is not a multiple of 4096",
                         (unsigned long long)entry->addr);
    if (entry->npages == UINT64_MAX && entry->addr)
        return error_set(error, -EINVAL,
                         "Invalidation of everything at address 0x%llx: it goes with address 0",
                         (unsigned long long)entry->addr);
    return 0;
}

/* Entries beyond the end of the address space count up to the end. */
static void invalidate_one(struct soft_hwpt *hwpt,
                           const struct viommu_host_vtd_s1_invalidate *entry)
{
    uint64_t most = ((UINT64_MAX - entry->addr) >> SOFT_PAGE_SHIFT) + 1;
    uint64_t npages = entry->npages < most ? entry->npages : most;

    uint64_t last = entry->addr + ((npages - 1) << SOFT_PAGE_SHIFT) + SOFT_PAGE_MASK;

    if (!npages)
        return;
    soft_cache_drop(&hwpt->cache, entry->addr, last);
    soft_tlb_forget_hwpt(hwpt, entry->addr, last);
}

/* Take one entry of the caller's length: ours at its start, nothing unknown behind it. */
static int copy_entry(struct viommu_host_vtd_s1_invalidate *entry, const char *from, size_t length,
                      struct viommu_error *error)
{
    memcpy(entry, from, sizeof(*entry));
    for (size_t i = sizeof(*entry); i < length; i++) {
        if (from[i])
            return error_set(error, -E2BIG,
                             "Invalidation entry of %zu bytes: byte %zu is not 0, but only %zu are "
                             "known",
                             length, i, sizeof(*entry));
    }
    return 0;
}

static int check_call(struct soft_hwpt *hwpt, uint32_t hwpt_id, enum viommu_host_data type,
                      size_t entry_length, uint32_t count, struct viommu_error *error)
{
    if (!hwpt)
        return error_set(error, -ENOENT, "There is no HWPT %u to invalidate", hwpt_id);
    if (hwpt->object.type != SOFT_NESTED)
        return error_set(error, -EINVAL, "HWPT %u is not nested: only nested ones are invalidated",
                         hwpt_id);
    if (type != VIOMMU_HOST_DATA_VTD_S1)
        return error_set(error, -EINVAL,
                         "Invalidation of HWPT %u with data type %d: it is VTD_S1 "
                         "(1)",
                         hwpt_id, (int)type);
    if (count && (entry_length < sizeof(struct viommu_host_vtd_s1_invalidate) ||
                  entry_length > INVALIDATE_LENGTH))
        return error_set(error, -EINVAL, "Invalidation entries of %zu bytes: %zu to %d are taken",
                         entry_length, sizeof(struct viommu_host_vtd_s1_invalidate),
                         INVALIDATE_LENGTH);
    if (count > INVALIDATE_ENTRIES)
        return error_set(error, -EINVAL, "%u invalidation entries in one call: at most %u", count,
                         INVALIDATE_ENTRIES);
    return 0;
}

int soft_invalidate(void *opaque, uint32_t hwpt_id, enum viommu_host_data type, const void *entries,
                    size_t entry_length, uint32_t *count, struct viommu_error *error)
{
    struct soft_host *host = opaque;
    uint32_t asked = *count, done = 0;
    struct soft_hwpt *hwpt;
    int ret;

    soft_lock(host);
    hwpt = soft_find_hwpt(host, hwpt_id);
    ret = check_call(hwpt, hwpt_id, type, entry_length, asked, error);
    while (!ret && done < asked) {
        struct viommu_host_vtd_s1_invalidate entry;

        ret = copy_entry(&entry, (const char *)entries + done * entry_length, entry_length, error);
        if (!ret)
            ret = check_invalidation(&entry, error);
        if (ret)
            break;
        invalidate_one(hwpt, &entry);
        done++;
    }
    soft_unlock(host);
    *count = done;
    return ret;
}
