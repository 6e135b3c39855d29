/* SPDX-License-Identifier: MIT */
/*
 * Translation requests of device TLBs (VT-d 5.0, 4.2).
 *
 * What a table entry does not permit is no fault, but an answer: the translation has fewer
 * permissions than was asked for, or none (7.1.2, recoverable faults). So the request is walked as
 * it came, and again for less as long as a permission stands in its way: that way the accessed and
 * dirty bits are those of what is granted.
 */
#include "model/vtd/fault_codes.h"
#include "model/vtd/register_map.h"
#include "model/vtd/tables.h"

#define ACCESS_MEMORY (VIOMMU_DMA_READ | VIOMMU_DMA_WRITE)

/* The permission that a fault reason says is missing; 0: asking for less does not help. */
static uint8_t missing(uint32_t reason)
{
    switch (reason) {
    case VTD_FAULT_WRITE:
    case VTD_FAULT_SM_WRITE:
        return VIOMMU_DMA_WRITE;
    case VTD_FAULT_READ:
    case VTD_FAULT_SM_READ:
        return VIOMMU_DMA_READ;
    case VTD_FAULT_SM_EXECUTE:
        return VIOMMU_DMA_EXECUTE;
    default:
        return 0;
    }
}

static bool recoverable(const struct dma_translation *translation)
{
    return translation->status == VIOMMU_DMA_NOT_PRESENT ||
           translation->status == VIOMMU_DMA_PERMISSION;
}

/* A successful completion without R and W. */
static void complete_nothing(const struct viommu_dma_request *request,
                             struct dma_translation *translation)
{
    *translation = (struct dma_translation){
        .status = VIOMMU_DMA_OK,
        .gpa = request->address & ~low_bits(12),
        .granule_log2 = 12,
        .uncacheable = true,
    };
}

/* Exe and Priv are those of the request, R and W what the tables say. */
static uint8_t granted(const struct viommu_dma_request *request, uint8_t permissions)
{
    uint8_t echoed = request->pasid == VIOMMU_PASID_NONE
                         ? 0
                         : request->access & (VIOMMU_DMA_EXECUTE | VIOMMU_DMA_PRIVILEGED);

    return (permissions | VIOMMU_DMA_PRIVILEGED) & (ACCESS_MEMORY | echoed);
}

void vtd_ats_complete(const struct vtd *vtd, const struct viommu_dma_request *request,
                      struct dma_translation *translation)
{
    struct viommu_dma_request less = *request;
    uint8_t drop;

    less.length = 1; /* a translation is of a page, not of bytes */
    do {
        vtd_translate_once(vtd, &less, translation);
        drop = less.access & missing(translation->fault_code);
        less.access &= ~drop;
    } while (translation->status != VIOMMU_DMA_OK && drop && less.access & ACCESS_MEMORY);
    if (recoverable(translation))
        complete_nothing(request, translation);
    if (translation->status == VIOMMU_DMA_OK)
        translation->permissions = granted(request, translation->permissions);
}

void vtd_ats_admit(const struct vtd_function *function, struct dma_translation *translation)
{
    uint64_t state = __atomic_load_n(&function->vtd->translation, __ATOMIC_ACQUIRE);
    bool legacy = field_get(VTD_TTM_MASK, state) == VTD_TTM_LEGACY;

    if (translation->status != VIOMMU_DMA_OK || __atomic_load_n(&function->tlb, __ATOMIC_ACQUIRE))
        return;
    translation->fault_code = legacy ? VTD_FAULT_TRANSLATION_BLOCKED : VTD_FAULT_SM_DTE_CLEAR;
    translation->status = VIOMMU_DMA_UNSUPPORTED;
}
