/* SPDX-License-Identifier: MIT */
/*
 * Mappings: guest memory that a device touches directly for a while.
 *
 * A mapping is translated and put on the list in one hold of the space's lock. An invalidation
 * first empties the IOTLB, then takes the lock to look through the list: a mapping that was made
 * before is found, one that is made after has been translated anew. The same holds for memory that
 * goes away: it refuses new holders before the listener is called.
 *
 * Callbacks are called without the lock. While one is being called, the mapping is the `current` of
 * its revocation, and viommu_dma_unmap() in another thread waits for it to return.
 */
#include <errno.h>
#include <stddef.h>

#include "base/bits.h"
#include "base/rcu.h"
#include "dma/internal.h"

/*
 * What stands in viommu_dma_mapping.priv. iova is that of the page, which may be larger than what
 * is mapped: an invalidation of any part of a page takes it away.
 */
struct __attribute__((may_alias)) mapping {
    LIST_ENTRY(mapping) link; /* mappings, a revocation's queue, or revoked */
    struct memory_hold *hold;
    uint64_t iova;
    uint64_t gpa;
    uint32_t domain;
    uint32_t pasid;
    uint8_t granule_log2;
    bool nested;
    bool fractured;
    bool is_revoked;
};
_Static_assert(sizeof(struct mapping) <= sizeof(((struct viommu_dma_mapping *)0)->priv),
               "a mapping must fit into priv");

/* One thread that is revoking. */
struct revocation {
    pthread_t thread;
    struct mapping_list queue; /* callbacks to come */
    struct mapping *current;   /* callback being called */
    LIST_ENTRY(revocation) link;
};

static struct mapping *mapping_of(struct viommu_dma_mapping *public)
{
    return (struct mapping *)public->priv;
}

static struct viommu_dma_mapping *public_of(struct mapping *mapping)
{
    return (struct viommu_dma_mapping *)((char *)mapping -
                                         offsetof(struct viommu_dma_mapping, priv));
}

/* Translate and hold. Under lock, within a read-side section. */
static enum viommu_dma_status mapping_make(struct viommu_dma_space *space,
                                           const struct viommu_dma_request *request,
                                           struct viommu_dma_mapping *public,
                                           struct dma_piece *piece)
{
    const uint8_t memory_access = VIOMMU_DMA_READ | VIOMMU_DMA_WRITE;
    const struct dma_translation *translation = &piece->translation;
    enum viommu_dma_status status = dma_resolve(space, request, piece);
    struct memory_hold *hold;
    uint64_t available = 0;
    uint32_t flags = 0;

    if (status != VIOMMU_DMA_OK)
        return status;
    hold = memory_hold(space->memory, translation->gpa, &public->host, &available, &flags);
    if (!hold)
        return VIOMMU_DMA_NO_MEMORY;
    status = dma_fit_memory(request, piece, available, flags);
    if (status != VIOMMU_DMA_OK) {
        memory_release(hold);
        return status;
    }
    public->length = piece->length;
    public->gpa = translation->gpa;
    public->permissions = request->access & memory_access;
    *mapping_of(public) = (struct mapping){
        .hold = hold,
        .iova = request->address & ~low_bits(translation->granule_log2),
        .gpa = translation->gpa,
        .domain = translation->domain,
        .pasid = request->pasid,
        .granule_log2 = translation->granule_log2,
        .nested = translation->nested,
        .fractured = translation->fractured,
    };
    return VIOMMU_DMA_OK;
}

int viommu_dma_map(struct viommu_dma_space *space, const struct viommu_dma_request *request,
                   struct viommu_dma_mapping *mapping, struct viommu_dma_result *result)
{
    enum viommu_dma_status status =
        request->length ? dma_check_access(request) : VIOMMU_DMA_BAD_REQUEST;
    struct dma_piece piece = {.translation.status = status};

    if (status == VIOMMU_DMA_OK) {
        pthread_mutex_lock(&space->lock);
        rcu_enter();
        status = mapping_make(space, request, mapping, &piece);
        rcu_exit();
        if (status == VIOMMU_DMA_OK)
            LIST_INSERT_HEAD(&space->mappings, mapping_of(mapping), link);
        pthread_mutex_unlock(&space->lock);
    }
    dma_result_set(result, &piece, status);
    if (status == VIOMMU_DMA_OK)
        result->length = piece.length;
    else
        mapping->host = NULL;
    dma_report_fault(space, request, request->address, result);
    return dma_status_errno(status);
}

/* Whether another thread is calling this mapping's callback. In our own, let it go. */
static bool is_being_called(struct viommu_dma_space *space, const struct mapping *mapping)
{
    struct revocation *revocation;

    LIST_FOREACH(revocation, &space->revocations, link)
    {
        if (revocation->current != mapping)
            continue;
        if (!pthread_equal(revocation->thread, pthread_self()))
            return true;
        revocation->current = NULL;
    }
    return false;
}

void viommu_dma_unmap(struct viommu_dma_space *space, struct viommu_dma_mapping *public)
{
    struct mapping *mapping = mapping_of(public);
    struct memory_hold *hold = mapping->hold;

    pthread_mutex_lock(&space->lock);
    LIST_REMOVE(mapping, link);
    if (mapping->is_revoked && !--space->revoked_count)
        pthread_cond_broadcast(&space->changed);
    while (is_being_called(space, mapping))
        pthread_cond_wait(&space->changed, &space->lock);
    pthread_mutex_unlock(&space->lock);
    memory_release(hold);
}

typedef bool mapping_match_fn(const struct mapping *mapping, const void *what);

/* Move the mappings that match to the revocation's queue. Under lock. */
static void gather(struct viommu_dma_space *space, struct revocation *revocation,
                   mapping_match_fn *match, const void *what)
{
    struct mapping *mapping = LIST_FIRST(&space->mappings);

    while (mapping) {
        struct mapping *next = LIST_NEXT(mapping, link);

        if (match(mapping, what)) {
            LIST_REMOVE(mapping, link);
            LIST_INSERT_HEAD(&revocation->queue, mapping, link);
            mapping->is_revoked = true;
            space->revoked_count++;
        }
        mapping = next;
    }
}

/* Call the callback of one. Under lock, which is given up meanwhile. */
static void call_revoke(struct viommu_dma_space *space, struct revocation *revocation,
                        struct mapping *mapping)
{
    struct viommu_dma_mapping *public = public_of(mapping);

    LIST_REMOVE(mapping, link);
    LIST_INSERT_HEAD(&space->revoked, mapping, link);
    if (!public->revoke)
        return;
    revocation->current = mapping;
    pthread_mutex_unlock(&space->lock);
    public->revoke(public, public->opaque);
    pthread_mutex_lock(&space->lock);
    revocation->current = NULL;
    pthread_cond_broadcast(&space->changed);
}

static void revoke_all(struct viommu_dma_space *space, mapping_match_fn *match, const void *what)
{
    struct revocation revocation = {.thread = pthread_self()};

    LIST_INIT(&revocation.queue);
    pthread_mutex_lock(&space->lock);
    gather(space, &revocation, match, what);
    LIST_INSERT_HEAD(&space->revocations, &revocation, link);
    while (!LIST_EMPTY(&revocation.queue))
        call_revoke(space, &revocation, LIST_FIRST(&revocation.queue));
    LIST_REMOVE(&revocation, link);
    pthread_mutex_unlock(&space->lock);
}

/* A length of 0 stands for everything. */
static bool overlaps(const struct mapping *mapping, uint64_t address, uint64_t length)
{
    return !length || (mapping->iova <= address + (length - 1) &&
                       address <= mapping->iova + low_bits(mapping->granule_log2));
}

static bool match_invalidation(const struct mapping *mapping, const void *opaque)
{
    const struct dma_invalidation *what = opaque;

    if (what->scope == DMA_INVALIDATE_ALL)
        return true;
    if (mapping->domain != what->domain ||
        (what->pasid != DMA_PASID_ANY && what->pasid != mapping->pasid))
        return false;
    return what->scope == DMA_INVALIDATE_DOMAIN || mapping->fractured ||
           (what->second_stage && mapping->nested) ||
           overlaps(mapping, what->address, what->length);
}

void mapping_invalidate(struct viommu_dma_space *space, const struct dma_invalidation *what)
{
    revoke_all(space, match_invalidation, what);
}

void mapping_wait(struct viommu_dma_space *space)
{
    pthread_mutex_lock(&space->lock);
    while (space->revoked_count)
        pthread_cond_wait(&space->changed, &space->lock);
    pthread_mutex_unlock(&space->lock);
}

/* A mapping lies in one range of memory. */
static bool match_memory(const struct mapping *mapping, const void *opaque)
{
    const struct viommu_memory_range *range = opaque;

    return mapping->gpa - range->gpa < range->size;
}

static int memory_added(struct memory_listener *listener, const struct viommu_memory_range *range,
                        struct viommu_error *error)
{
    (void)listener;
    (void)range;
    (void)error;
    return 0;
}

static void memory_removed(struct memory_listener *listener,
                           const struct viommu_memory_range *range)
{
    struct viommu_dma_space *space =
        (struct viommu_dma_space *)((char *)listener - offsetof(struct viommu_dma_space, listener));

    revoke_all(space, match_memory, range);
}

int mapping_init(struct viommu_dma_space *space)
{
    pthread_mutex_init(&space->lock, NULL);
    pthread_cond_init(&space->changed, NULL);
    LIST_INIT(&space->mappings);
    LIST_INIT(&space->revoked);
    LIST_INIT(&space->revocations);
    space->listener.add = memory_added;
    space->listener.remove = memory_removed;
    return memory_listener_register(space->memory, &space->listener, NULL);
}

void mapping_exit(struct viommu_dma_space *space)
{
    memory_listener_unregister(space->memory, &space->listener);
    pthread_cond_destroy(&space->changed);
    pthread_mutex_destroy(&space->lock);
}
