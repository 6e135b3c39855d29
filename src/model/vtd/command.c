/* SPDX-License-Identifier: MIT */
/* What writes to the command registers do (VT-d 5.0, 11.4.4 to 11.4.6). */
#include "model/vtd/register_map.h"
#include "model/vtd/sanitize.h"
#include "model/vtd/vtd.h"

/* Nothing of the translation before may be in use when this returns. */
static void set_translation(struct vtd *vtd, bool enabled)
{
    uint64_t translation = vtd->root | (enabled ? VTD_TRANSLATION_ENABLED : 0);

    __atomic_store_n(&vtd->translation, translation, __ATOMIC_RELEASE);
    vtd_invalidate_everything(vtd);
    vtd_nest_replay(vtd);
    vtd_nest_commit(vtd);
}

/* 11.4.5: the address and the mode take effect here, not when RTADDR_REG is written. */
static void set_root_table(struct vtd *vtd)
{
    vtd_change32(vtd, VTD_GSTS, VTD_GSTS_RTPS, 0);
    vtd->root = vtd_get64(vtd, VTD_RTADDR);
    set_translation(vtd, vtd_get32(vtd, VTD_GSTS) & VTD_GSTS_TES);
    vtd_change32(vtd, VTD_GSTS, 0, VTD_GSTS_RTPS);
}

static void set_translation_enable(struct vtd *vtd, bool enable)
{
    set_translation(vtd, enable);
    if (enable)
        vtd_count(vtd, translation_enables);
    else
        vtd_fault_restart(vtd);
    vtd_change32(vtd, VTD_GSTS, enable ? 0 : VTD_GSTS_TES, enable ? VTD_GSTS_TES : 0);
}

/*
 * 11.4.4.1. TE and QIE are levels, SRTP is an order. WBF has no effect, as CAP.RWBF says; nor have
 * SFL and EAFL without advanced fault logging.
 */
void vtd_command_global(struct vtd *vtd, uint64_t command)
{
    uint64_t changed = command ^ vtd_get32(vtd, VTD_GSTS);

    if (command & VTD_GCMD_SRTP)
        set_root_table(vtd);
    if (changed & VTD_GCMD_QIE)
        vtd_queue_enable(vtd, command & VTD_GCMD_QIE);
    if (changed & VTD_GCMD_TE)
        set_translation_enable(vtd, command & VTD_GCMD_TE);
    vtd_interrupt_command(vtd, command);
}

/*
 * 6.5.1: registers invalidate only in legacy mode, and while the queue is off. What they do not
 * understand is ignored and answered with granularity 0.
 */
static bool registers_invalidate(const struct vtd *vtd)
{
    return !(vtd_get32(vtd, VTD_GSTS) & VTD_GSTS_QIES) &&
           field_get(VTD_TTM_MASK, vtd->root) == VTD_TTM_LEGACY;
}

static uint16_t domain_of(const struct vtd *vtd, uint64_t mask, uint64_t command)
{
    return (uint16_t)(field_get(mask, command) & low_bits(vtd->options.domain_bits));
}

/* Carries out a register's request. Returns the granularity of what was done. */
static uint64_t invalidate(struct vtd *vtd, const struct vtd_invalidation *what,
                           uint64_t granularity)
{
    if (granularity == VTD_GRANULARITY_NONE || !registers_invalidate(vtd))
        return VTD_GRANULARITY_NONE;
    vtd_invalidate(vtd, what);
    vtd_invalidate_commit(vtd);
    vtd_sanitize_wait(vtd);
    return granularity;
}

/* 11.4.6.1 */
void vtd_command_context(struct vtd *vtd, uint64_t command)
{
    static const uint8_t scopes[] = {
        [VTD_GRANULARITY_GLOBAL] = VTD_SCOPE_GLOBAL,
        [VTD_GRANULARITY_DOMAIN] = VTD_SCOPE_DOMAIN,
        [VTD_GRANULARITY_FINE] = VTD_SCOPE_DEVICE,
    };
    uint64_t granularity = field_get(VTD_CCMD_CIRG, command);
    struct vtd_invalidation what = {
        .kind = VTD_INVALIDATE_CONTEXT,
        .scope = scopes[granularity],
        .domain = domain_of(vtd, VTD_CCMD_DID, command),
        .requester_id = (uint16_t)field_get(VTD_CCMD_SID, command),
        .function_mask = (uint8_t)field_get(VTD_CCMD_FM, command),
    };

    if (!(command & VTD_CCMD_ICC))
        return;
    granularity = invalidate(vtd, &what, granularity);
    vtd_set64(vtd, VTD_CCMD,
              (command & ~(VTD_CCMD_ICC | VTD_CCMD_CAIG)) | field_prep(VTD_CCMD_CAIG, granularity));
}

/* 11.4.6.3 */
void vtd_command_iotlb(struct vtd *vtd, uint64_t command)
{
    static const uint8_t scopes[] = {
        [VTD_GRANULARITY_GLOBAL] = VTD_SCOPE_GLOBAL,
        [VTD_GRANULARITY_DOMAIN] = VTD_SCOPE_DOMAIN,
        [VTD_GRANULARITY_FINE] = VTD_SCOPE_PAGES,
    };
    uint64_t granularity = field_get(VTD_IOTLB_IIRG, command);
    uint64_t iva = vtd_get64(vtd, VTD_IVA);
    uint64_t mask = field_get(VTD_IVA_AM, iva);
    struct vtd_invalidation what = {
        .kind = VTD_INVALIDATE_IOTLB,
        .scope = scopes[granularity],
        .domain = domain_of(vtd, VTD_IOTLB_DID, command),
        .writes_undrained = vtd->cap & VTD_CAP_DWD && !(command & VTD_IOTLB_DW),
    };

    if (!(command & VTD_IOTLB_IVT))
        return;
    if (granularity == VTD_GRANULARITY_FINE) {
        if (mask > VTD_MAMV) {
            vtd_sanitize_mask(vtd, what.domain, iva & VTD_IVA_ADDR, (unsigned int)mask);
            granularity = VTD_GRANULARITY_NONE;
        }
        vtd_invalidation_pages(&what, iva & VTD_IVA_ADDR & low_bits(vtd->options.address_width),
                               (unsigned int)mask);
        what.leaf_only = iva & VTD_IVA_IH;
    }
    granularity = invalidate(vtd, &what, granularity);
    vtd_set64(vtd, VTD_IOTLB,
              (command & ~(VTD_IOTLB_IVT | VTD_IOTLB_IAIG)) |
                  field_prep(VTD_IOTLB_IAIG, granularity));
}
