/* SPDX-License-Identifier: MIT */
/* Descriptors that go to devices: invalidations of their TLBs, answers to their page requests
 * (VT-d 5.0, 6.5.2.5 to 6.5.2.7). */
#include "model/vtd/queue_descriptors.h"
#include "model/vtd/sanitize.h"
#include "model/vtd/vtd.h"

/*
 * S tells that the lowest bit of the address that is clear gives the size: bit 12 two pages, bit 13
 * four. Without a clear bit, or with bit 63, everything is meant.
 */
static void set_pages(struct vtd_invalidation *what, uint64_t address, bool s)
{
    uint64_t pages = ~(address >> 12) & low_bits(52);
    unsigned int mask = s ? 52 : 0;

    if (s && pages)
        mask = (unsigned int)__builtin_ctzll(pages) + 1;
    vtd_invalidation_pages(what, address, mask);
}

static enum vtd_queue_error send(struct vtd *vtd, const struct vtd_invalidation *what)
{
    vtd_sanitize_invalidate(vtd, what);
    return vtd_tlb_invalidate(vtd, what) ? VTD_QUEUE_OK : VTD_QUEUE_HOLD;
}

enum vtd_queue_error vtd_queue_device_tlb(struct vtd *vtd, const uint64_t *quadwords)
{
    struct vtd_invalidation what = {
        .kind = VTD_INVALIDATE_DEVICE,
        .scope = VTD_SCOPE_PAGES,
        .requester_id = (uint16_t)field_get(VTD_DESC_DEVICE_SID, quadwords[0]),
        .pasid = VIOMMU_PASID_NONE,
    };

    set_pages(&what, quadwords[1] & VTD_DESC_ADDR, quadwords[1] & VTD_DESC_DEVICE_S);
    return send(vtd, &what);
}

enum vtd_queue_error vtd_queue_pasid_device_tlb(struct vtd *vtd, const uint64_t *quadwords)
{
    struct vtd_invalidation what = {
        .kind = VTD_INVALIDATE_DEVICE,
        .scope = quadwords[1] & VTD_DESC_PDEVICE_G ? VTD_SCOPE_GLOBAL : VTD_SCOPE_PAGES,
        .requester_id = (uint16_t)field_get(VTD_DESC_PDEVICE_SID, quadwords[0]),
        .pasid = (uint32_t)field_get(VTD_DESC_PASID_FIELD, quadwords[0]),
    };

    set_pages(&what, quadwords[1] & VTD_DESC_ADDR, quadwords[1] & VTD_DESC_PDEVICE_S);
    return send(vtd, &what);
}
