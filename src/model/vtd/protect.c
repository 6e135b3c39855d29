/* SPDX-License-Identifier: MIT */
/*
 * Protected memory regions (VT-d 5.0, 11.4.8): DMA that no table translates does not reach them.
 * That is DMA while translation is off, pass-through, and what carries a translated address;
 * whether tables lead there is for the software that writes them to see to. What is refused is not
 * recorded.
 */
#include "base/bits.h"
#include "base/rcu.h"
#include "model/vtd/register_map.h"
#include "model/vtd/vtd.h"

/* The bits below are decoded as zeros in a base, as ones in a limit. */
static struct vtd_region region(uint64_t base, uint64_t limit)
{
    return (struct vtd_region){base, limit | low_bits(VTD_PROTECTED_LOG2)};
}

static void enable(struct vtd *vtd)
{
    vtd->protection.regions[0] = region(vtd_get32(vtd, VTD_PLMBASE), vtd_get32(vtd, VTD_PLMLIMIT));
    vtd->protection.regions[1] = region(vtd_get64(vtd, VTD_PHMBASE), vtd_get64(vtd, VTD_PHMLIMIT));
    rcu_publish(vtd->protected, &vtd->protection);
}

/* Software must not change the regions while they are enabled: those of before stay in force. */
void vtd_protect_written(struct vtd *vtd, uint64_t value)
{
    bool on = value & VTD_PMEN_EPM;

    if (on == (vtd->protected != NULL))
        return;
    if (on)
        enable(vtd);
    else
        rcu_publish(vtd->protected, NULL);
    /* Drained: nobody uses what went before, in the caches or of `protection`. */
    vtd_invalidate_everything(vtd);
    vtd_change32(vtd, VTD_PMEN, on ? 0 : VTD_PMEN_PRS, on ? VTD_PMEN_PRS : 0);
}

static bool overlaps(const struct vtd_region *region, uint64_t address, unsigned int log2)
{
    uint64_t first = address & ~low_bits(log2), last = address | low_bits(log2);

    return region->base <= region->last && region->base <= last && region->last >= first;
}

void vtd_protect(const struct vtd *vtd, uint64_t address, struct dma_translation *translation)
{
    const struct vtd_protection *protection = rcu_read(vtd->protected);
    unsigned int log2 = translation->granule_log2;

    if (!protection || translation->status != VIOMMU_DMA_OK)
        return;
    for (unsigned int i = 0; i < VTD_PROTECTED_REGIONS; i++) {
        const struct vtd_region *region = &protection->regions[i];

        if (overlaps(region, address, 0)) {
            translation->status = VIOMMU_DMA_BLOCKED;
            return;
        }
        while (overlaps(region, address, log2))
            log2--;
    }
    if (log2 == translation->granule_log2)
        return;
    translation->granule_log2 = log2;
    translation->gpa = address & ~low_bits(log2);
    translation->fractured = true;
}
