/* SPDX-License-Identifier: MIT */
/* Address spaces: their making and end, resolving an address, invalidating and draining. */
#include "dma/space.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bits.h"
#include "base/error.h"
#include "base/rcu.h"
#include "dma/internal.h"

static int space_create(struct viommu_dma_space **out, struct viommu_memory *memory,
                        const struct dma_space_ops *ops, void *owner, bool cacheable)
{
    struct viommu_dma_space *space = calloc(1, sizeof(*space));

    if (!space)
        return -ENOMEM;
    space->memory = memory;
    space->ops = ops;
    space->owner = owner;
    space->cacheable = cacheable;
    if (mapping_init(space)) {
        free(space);
        return -ENOMEM;
    }
    *out = space;
    return 0;
}

int dma_space_create(struct viommu_dma_space **out, struct viommu_memory *memory,
                     const struct dma_space_ops *ops, void *owner)
{
    return space_create(out, memory, ops, owner, true);
}

void *dma_space_owner(const struct viommu_dma_space *space)
{
    return space->owner;
}

/* IOVA is GPA: the lower or the upper half of all addresses is one page. */
static void plain_walk(struct viommu_dma_space *space, const struct viommu_dma_request *request,
                       struct dma_translation *translation)
{
    (void)space;
    *translation = (struct dma_translation){
        .status = VIOMMU_DMA_OK,
        .gpa = request->address & BIT64(63),
        .granule_log2 = 63,
        .permissions = VIOMMU_DMA_READ | VIOMMU_DMA_WRITE | VIOMMU_DMA_EXECUTE,
        .uncacheable = true,
    };
}

static const struct dma_space_ops plain_ops = {.walk = plain_walk};

int viommu_dma_space_create_plain(struct viommu_dma_space **out, struct viommu_memory *memory,
                                  struct viommu_error *error)
{
    if (space_create(out, memory, &plain_ops, NULL, false))
        return error_set(error, -ENOMEM, "no memory for a DMA address space");
    return 0;
}

void viommu_dma_space_destroy(struct viommu_dma_space *space)
{
    if (!space)
        return;
    mapping_exit(space);
    iotlb_destroy(space->iotlb);
    free(space);
}

/*
 * Bits that a request wants, of those that a translation permits. A zero-length read is content
 * with any right, and a translation without one is never handed out.
 */
static uint8_t wanted(const struct viommu_dma_request *request)
{
    if (!request->length)
        return 0;
    return request->access & (VIOMMU_DMA_READ | VIOMMU_DMA_WRITE | VIOMMU_DMA_EXECUTE);
}

/* An entry that lacks a permission is no answer: the guest may grant one without invalidating. */
static bool resolve_cached(const struct viommu_dma_space *space,
                           const struct viommu_dma_request *request, struct dma_piece *piece)
{
    const struct iotlb *iotlb = dma_iotlb(space);
    struct iotlb_hit hit;

    if (!iotlb || !iotlb_lookup(iotlb, request->address, iotlb_key(request), &hit) ||
        wanted(request) & ~hit.attributes)
        return false;
    piece->length = hit.length;
    piece->translation = (struct dma_translation){
        .status = VIOMMU_DMA_OK,
        .gpa = hit.gpa,
        .domain = (uint32_t)(hit.attributes >> IOTLB_DOMAIN_SHIFT),
        .granule_log2 = (uint8_t)field_get(IOTLB_GRANULE, hit.attributes),
        .permissions = (uint8_t)(hit.attributes & IOTLB_PERMISSIONS),
        .nested = hit.attributes & IOTLB_NESTED,
        .fractured = hit.attributes & IOTLB_FRACTURED,
    };
    return true;
}

/*
 * The first fill makes the IOTLB: a space that never translates anything (functions that are not
 * there, bus numbers that were given up) costs little. NULL when there is no memory, or when
 * another thread was first: then nothing is kept this time.
 */
static struct iotlb *first_iotlb(struct viommu_dma_space *space)
{
    struct iotlb *iotlb = iotlb_create(), *none = NULL;

    if (iotlb && __atomic_compare_exchange_n(&space->iotlb, &none, iotlb, false, __ATOMIC_SEQ_CST,
                                             __ATOMIC_SEQ_CST))
        return iotlb;
    iotlb_destroy(iotlb);
    return NULL;
}

/* What a fill must know of before its walk, to see whether an invalidation came in between. */
struct fill {
    struct iotlb *iotlb; /* NULL: there was none before the walk */
    uint64_t sequence;   /* of the IOTLB, or of the space */
};

static struct fill fill_begin(const struct viommu_dma_space *space)
{
    struct iotlb *iotlb = dma_iotlb(space);

    return (struct fill){iotlb, iotlb ? iotlb_sequence(iotlb)
                                      : __atomic_load_n(&space->invalidations, __ATOMIC_SEQ_CST)};
}

/*
 * An invalidation counts itself in the space and then looks for an IOTLB. When it has found none,
 * it was counted before the new one was published, so it is seen here; when it has found the new
 * one, the two settle it between them.
 */
static void fill_end(struct viommu_dma_space *space, const struct viommu_dma_request *request,
                     const struct dma_translation *translation, struct fill fill)
{
    if (!fill.iotlb) {
        fill.iotlb = first_iotlb(space);
        if (!fill.iotlb ||
            __atomic_load_n(&space->invalidations, __ATOMIC_SEQ_CST) != fill.sequence)
            return;
        fill.sequence = 0; /* what a new one begins with */
    }
    iotlb_fill(fill.iotlb, request->address, iotlb_key(request), translation, fill.sequence);
}

static void resolve_walk(struct viommu_dma_space *space, const struct viommu_dma_request *request,
                         struct dma_piece *piece)
{
    struct dma_translation *translation = &piece->translation;
    struct fill fill = fill_begin(space);
    uint64_t offset;

    *translation = (struct dma_translation){.status = VIOMMU_DMA_BLOCKED};
    space->ops->walk(space, request, translation);
    /* A translation request is answered with what there is. */
    if (translation->status == VIOMMU_DMA_OK && request->type != VIOMMU_DMA_TRANSLATION_REQUEST &&
        wanted(request) & ~translation->permissions)
        translation->status = VIOMMU_DMA_PERMISSION;
    if (translation->status != VIOMMU_DMA_OK)
        return;
    /* Translated and translation requests obey other rules: they neither use nor fill it. */
    if (space->cacheable && !translation->uncacheable && request->type == VIOMMU_DMA_UNTRANSLATED)
        fill_end(space, request, translation, fill);
    offset = request->address & low_bits(translation->granule_log2);
    translation->gpa += offset;
    piece->length = BIT64(translation->granule_log2) - offset;
}

enum viommu_dma_status dma_resolve(struct viommu_dma_space *space,
                                   const struct viommu_dma_request *request,
                                   struct dma_piece *piece)
{
    piece->length = 0;
    if (!resolve_cached(space, request, piece))
        resolve_walk(space, request, piece);
    if (piece->length > request->length)
        piece->length = request->length;
    return piece->translation.status;
}

enum viommu_dma_status dma_fit_memory(const struct viommu_dma_request *request,
                                      struct dma_piece *piece, uint64_t available, uint32_t flags)
{
    if (flags & VIOMMU_MEMORY_READONLY && request->access & VIOMMU_DMA_WRITE)
        return VIOMMU_DMA_READONLY;
    if (piece->length > available)
        piece->length = available;
    return VIOMMU_DMA_OK;
}

enum viommu_dma_status dma_resolve_host(struct viommu_dma_space *space,
                                        const struct viommu_dma_request *request,
                                        struct dma_piece *piece, void **host)
{
    enum viommu_dma_status status = dma_resolve(space, request, piece);
    uint64_t available = 0;
    uint32_t flags = 0;

    if (status != VIOMMU_DMA_OK)
        return status;
    *host = memory_lookup(space->memory, piece->translation.gpa, &available, &flags);
    if (!*host)
        return VIOMMU_DMA_NO_MEMORY;
    return dma_fit_memory(request, piece, available, flags);
}

void dma_space_invalidate(struct viommu_dma_space *space, const struct dma_invalidation *what)
{
    struct iotlb *iotlb;

    __atomic_fetch_add(&space->invalidations, 1, __ATOMIC_SEQ_CST);
    iotlb = __atomic_load_n(&space->iotlb, __ATOMIC_SEQ_CST);
    if (iotlb)
        iotlb_invalidate(iotlb, what);
    mapping_invalidate(space, what);
}

void dma_drain(struct viommu_dma_space *const *spaces, size_t count)
{
    rcu_wait();
    for (size_t i = 0; i < count; i++)
        mapping_wait(spaces[i]);
}
