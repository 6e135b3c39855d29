/* SPDX-License-Identifier: MIT */
/*
 * What an invalidation does to our caches and to the host.
 *
 * Emulation caches translations only; a miss reads every table entry again. A translation was made
 * from a context and a PASID entry, so an invalidation of those caches drops the translations too.
 */
#include <errno.h>
#include <stdlib.h>

#include "model/vtd/register_map.h"
#include "model/vtd/sanitize.h"
#include "model/vtd/vtd.h"

/* Address spaces in one wait. More than that are drained in several. */
#define SPACES_MAX 64

/* Invalidated since the last commit. */
struct vtd_pending {
    struct viommu_dma_space *spaces[SPACES_MAX];
    uint16_t requester_ids[SPACES_MAX];
    size_t count;
    uint64_t marked[(UINT16_MAX + 1) / 64]; /* requester IDs whose space is in `spaces` */
    bool nest;                              /* nest.c was told of something */
};

int vtd_invalidate_create(struct vtd *vtd)
{
    vtd->pending = calloc(1, sizeof(*vtd->pending));
    return vtd->pending ? 0 : -ENOMEM;
}

void vtd_invalidate_destroy(struct vtd *vtd)
{
    free(vtd->pending);
    vtd->pending = NULL;
}

void vtd_invalidation_pages(struct vtd_invalidation *what, uint64_t address, unsigned int mask)
{
    what->length = mask < 52 ? BIT64(12 + mask) : 0;
    what->given = address;
    what->address = what->length ? address & ~(what->length - 1) : 0;
}

static void drain(struct vtd_pending *pending)
{
    if (!pending->count)
        return;
    dma_drain(pending->spaces, pending->count);
    for (size_t i = 0; i < pending->count; i++)
        pending->marked[pending->requester_ids[i] / 64] &= ~BIT64(pending->requester_ids[i] % 64);
    pending->count = 0;
}

/* The function's space is to be drained before anything is called complete. */
static void mark(struct vtd_pending *pending, const struct vtd_function *function)
{
    uint64_t *word = &pending->marked[function->requester_id / 64];
    uint64_t bit = BIT64(function->requester_id % 64);

    if (*word & bit)
        return;
    if (pending->count == SPACES_MAX)
        drain(pending);
    *word |= bit;
    pending->requester_ids[pending->count] = function->requester_id;
    pending->spaces[pending->count++] = function->space;
}

/* How one function's translations are concerned by what the guest asked for. */
struct job {
    const struct vtd_invalidation *what;
    struct dma_invalidation drop;
    bool without_pasid; /* requests without PASID, too */
};

/* FM leaves out that many of the high bits of the function number (VT-d 5.0, 6.5.2.1). */
bool vtd_invalidation_names(const struct vtd_invalidation *what, uint16_t requester_id)
{
    static const uint16_t compared[] = {0xffff, 0xfffb, 0xfff9, 0xfff8};

    return !((what->requester_id ^ requester_id) & compared[what->function_mask & 3]);
}

static void drop_translations(struct vtd_function *function, void *opaque)
{
    const struct job *job = opaque;
    struct dma_invalidation drop = job->drop;

    if (job->what->scope == VTD_SCOPE_DEVICE &&
        !vtd_invalidation_names(job->what, function->requester_id))
        return;
    dma_space_invalidate(function->space, &drop);
    if (job->without_pasid) {
        drop.pasid = VIOMMU_PASID_NONE;
        dma_space_invalidate(function->space, &drop);
    }
    mark(function->vtd->pending, function);
}

static void fill_job(struct job *job, const struct vtd_invalidation *what)
{
    static const enum dma_invalidate_scope scopes[] = {
        [VTD_SCOPE_GLOBAL] = DMA_INVALIDATE_ALL,  [VTD_SCOPE_DOMAIN] = DMA_INVALIDATE_DOMAIN,
        [VTD_SCOPE_DEVICE] = DMA_INVALIDATE_ALL,  [VTD_SCOPE_PASID] = DMA_INVALIDATE_DOMAIN,
        [VTD_SCOPE_PAGES] = DMA_INVALIDATE_PAGES,
    };
    bool by_pasid = what->scope == VTD_SCOPE_PASID || what->kind == VTD_INVALIDATE_PIOTLB;

    *job = (struct job){
        .what = what,
        .drop = {.scope = scopes[what->scope],
                 .domain = what->domain,
                 .pasid = by_pasid ? what->pasid : DMA_PASID_ANY,
                 .address = what->address,
                 .length = what->length,
                 .second_stage = what->kind == VTD_INVALIDATE_IOTLB},
        /* Requests without PASID use the PASID of RID_PASID, but are cached as what they are; which
         * PASID that was when they were cached is not known any more. */
        .without_pasid = by_pasid,
    };
}

void vtd_invalidate(struct vtd *vtd, const struct vtd_invalidation *what)
{
    struct vtd_invalidation request = *what;
    struct job job;

    /* 6.5.2.1: scalable-mode context entries have no domain: all of them may be meant. */
    if (request.kind == VTD_INVALIDATE_CONTEXT && request.scope == VTD_SCOPE_DOMAIN &&
        field_get(VTD_TTM_MASK, vtd->root) != VTD_TTM_LEGACY)
        request.scope = VTD_SCOPE_GLOBAL;
    vtd_sanitize_invalidate(vtd, &request);
    if (request.kind != VTD_INVALIDATE_DEVICE) {
        fill_job(&job, &request);
        vtd_for_each_function(vtd, drop_translations, &job);
    }
    vtd_nest_invalidate(vtd, &request);
    vtd->pending->nest = true;
}

void vtd_invalidate_commit(struct vtd *vtd)
{
    drain(vtd->pending);
    vtd_sanitize_drained(vtd);
    if (vtd->pending->nest) {
        vtd->pending->nest = false;
        vtd_nest_commit(vtd);
    }
    vtd_interrupt_commit(vtd);
}

void vtd_invalidate_everything(struct vtd *vtd)
{
    static const struct vtd_invalidation everything = {.scope = VTD_SCOPE_GLOBAL};
    struct job job;

    vtd_sanitize_forget(vtd);
    fill_job(&job, &everything);
    vtd_for_each_function(vtd, drop_translations, &job);
    vtd_invalidate_commit(vtd);
}
