/* SPDX-License-Identifier: MIT */
/*
 * From a requester ID and a PASID to the entry that says how to translate: root, context, PASID
 * directory and PASID table entries (VT-d 5.0, chapter 9). Each is read once; the copy is judged.
 *
 * A function here returns the fault reason that it found (fault_codes.h), 0 when there is none. The
 * order of the checks is that of the specification's table 30: not present, reserved, invalid.
 */
#include "model/vtd/tables.h"

#include <string.h>

#include "dma/walk.h"
#include "model/vtd/fault_codes.h"
#include "model/vtd/register_map.h"

/* What is being looked for, and where. */
struct lookup {
    const struct vtd *vtd;
    uint64_t root; /* root table */
    uint16_t requester_id;
    uint32_t pasid;
    uint8_t type;        /* enum viommu_dma_type, or VTD_TYPE_PAGE_REQUEST */
    uint64_t host_width; /* bits of a pointer that are beyond the host address width */
};

static bool ecap_has(const struct vtd *vtd, uint64_t bit)
{
    return vtd->ecap & bit;
}

/* Read a structure of so many bytes, which is aligned to them, once. */
static bool read_entry(const struct lookup *lookup, uint64_t address, uint64_t *entry, size_t size)
{
    return walk_read(lookup->vtd->options.memory, address, entry, size / sizeof(*entry));
}

/* Domain-ID bits that the unit does not implement are reserved (9.3, 9.6). */
static uint64_t domain_reserved(const struct vtd *vtd)
{
    unsigned int bits = 4 + 2 * field_get(VTD_CAP_ND, vtd->cap);

    return low_bits(16) & ~low_bits(bits);
}

/* Is an AW value one of those in CAP.SAGAW? Bit n of SAGAW stands for AW value n. */
static bool width_supported(const struct vtd *vtd, unsigned int aw)
{
    return aw < 5 && (field_get(VTD_CAP_SAGAW, vtd->cap) >> aw & 1);
}

unsigned int vtd_second_stage_width(const struct vtd *vtd, unsigned int levels)
{
    unsigned int mgaw = field_get(VTD_CAP_MGAW, vtd->cap) + 1;
    unsigned int agaw = 12 + 9 * levels;

    return agaw < mgaw ? agaw : mgaw;
}

static void set_second_stage(struct vtd_entry *entry, uint64_t pointer, unsigned int aw)
{
    entry->second_root = pointer & VTD_ENTRY_POINTER;
    entry->second_levels = aw + 2;
}

static uint32_t legacy_context_pointer(const struct lookup *lookup, uint64_t *context)
{
    uint64_t root[2];
    uint64_t address = lookup->root + (lookup->requester_id >> 8) * VTD_ROOT_SIZE;

    if (!read_entry(lookup, address, root, sizeof(root)))
        return VTD_FAULT_ROOT_ACCESS;
    if (!(root[0] & VTD_ENTRY_P))
        return VTD_FAULT_ROOT_NOT_PRESENT;
    if ((root[0] & (VTD_ROOT_RSVD_0 | lookup->host_width)) || (root[1] & VTD_ROOT_RSVD_1))
        return VTD_FAULT_ROOT_RESERVED;
    *context = (root[0] & VTD_ENTRY_POINTER) + (lookup->requester_id & 0xff) * VTD_CONTEXT_SIZE;
    return VTD_FAULT_NONE;
}

/* Reserved bits of a context entry; SSPTPTR is ignored for pass-through (9.3). */
static bool legacy_context_reserved(const struct lookup *lookup, const uint64_t *raw)
{
    uint64_t reserved = VTD_CONTEXT_RSVD_0;

    if (field_get(VTD_CONTEXT_TT, raw[0]) != VTD_TT_PASS_THROUGH)
        reserved |= lookup->host_width;
    return (raw[0] & reserved) ||
           (raw[1] &
            (VTD_CONTEXT_RSVD_1 | field_prep(VTD_CONTEXT_DID, domain_reserved(lookup->vtd))));
}

/* Which translation types there are depends on ECAP.DT and ECAP.PT (9.3, "TT"). */
static bool legacy_type_supported(const struct vtd *vtd, unsigned int tt)
{
    return tt == VTD_TT_MULTI_LEVEL || (tt == VTD_TT_DEVICE_TLB && ecap_has(vtd, VTD_ECAP_DT)) ||
           (tt == VTD_TT_PASS_THROUGH && ecap_has(vtd, VTD_ECAP_PT));
}

static uint32_t legacy_find(const struct lookup *lookup, struct vtd_entry *entry)
{
    uint64_t address = 0;
    uint32_t reason;
    unsigned int tt, aw;

    entry->legacy = true;
    if (lookup->type == VTD_TYPE_PAGE_REQUEST)
        return VTD_FAULT_RTADDR_PAGE_REQUEST;
    if (lookup->pasid != VIOMMU_PASID_NONE)
        return VTD_FAULT_RTADDR_PASID;
    reason = legacy_context_pointer(lookup, &address);
    if (reason)
        return reason;
    if (!read_entry(lookup, address, entry->raw, VTD_CONTEXT_SIZE))
        return VTD_FAULT_CONTEXT_ACCESS;
    entry->fault_disable = entry->raw[0] & VTD_ENTRY_FPD;
    if (!(entry->raw[0] & VTD_ENTRY_P))
        return VTD_FAULT_CONTEXT_NOT_PRESENT;
    if (legacy_context_reserved(lookup, entry->raw))
        return VTD_FAULT_CONTEXT_RESERVED;
    tt = field_get(VTD_CONTEXT_TT, entry->raw[0]);
    aw = field_get(VTD_CONTEXT_AW, entry->raw[1]);
    if (!width_supported(lookup->vtd, aw) || !legacy_type_supported(lookup->vtd, tt))
        return VTD_FAULT_CONTEXT_INVALID;
    entry->untranslated_only = tt != VTD_TT_DEVICE_TLB;
    if (entry->untranslated_only && lookup->type != VIOMMU_DMA_UNTRANSLATED)
        return VTD_FAULT_TRANSLATION_BLOCKED;
    entry->pgtt = tt == VTD_TT_PASS_THROUGH ? VTD_PGTT_PASS_THROUGH : VTD_PGTT_SECOND;
    entry->domain = field_get(VTD_CONTEXT_DID, entry->raw[1]);
    set_second_stage(entry, entry->raw[0], aw);
    return VTD_FAULT_NONE;
}

/* The half of the root entry that stands for this device; the other is not looked at (9.2). */
static uint32_t sm_context_pointer(const struct lookup *lookup, uint64_t *context)
{
    uint8_t devfn = lookup->requester_id & 0xff;
    uint64_t address = lookup->root + (lookup->requester_id >> 8) * VTD_ROOT_SIZE +
                       (devfn >> 7) * VTD_SM_ROOT_HALF;
    uint64_t root;

    if (!read_entry(lookup, address, &root, sizeof(root)))
        return VTD_FAULT_SM_ROOT_ACCESS;
    if (!(root & VTD_ENTRY_P))
        return VTD_FAULT_SM_ROOT_NOT_PRESENT;
    if (root & (VTD_SM_ROOT_RSVD | lookup->host_width))
        return VTD_FAULT_SM_ROOT_RESERVED;
    *context = (root & VTD_ENTRY_POINTER) + (devfn & 0x7f) * VTD_SM_CONTEXT_SIZE;
    return VTD_FAULT_NONE;
}

/* Fields of features that the unit does not have are reserved (9.4). */
static bool sm_context_reserved(const struct lookup *lookup, const uint64_t *context)
{
    const struct vtd *vtd = lookup->vtd;
    uint64_t reserved_0 =
        VTD_SM_CONTEXT_RSVD_0 | VTD_SM_CONTEXT_HPTE | VTD_SM_CONTEXT_EPTR | lookup->host_width;
    uint64_t reserved_1 = VTD_SM_CONTEXT_RSVD_1;

    if (!ecap_has(vtd, VTD_ECAP_DT))
        reserved_0 |= VTD_SM_CONTEXT_DTE;
    if (!ecap_has(vtd, VTD_ECAP_PASID))
        reserved_0 |= VTD_SM_CONTEXT_PASIDE;
    if (!ecap_has(vtd, VTD_ECAP_PRS))
        reserved_0 |= VTD_SM_CONTEXT_PRE;
    if (!ecap_has(vtd, VTD_ECAP_RPS))
        reserved_1 |= VTD_SM_CONTEXT_RID_PASID;
    if (!ecap_has(vtd, VTD_ECAP_RPRIVS))
        reserved_1 |= VTD_SM_CONTEXT_RID_PRIV;
    return (context[0] & reserved_0) || (context[1] & reserved_1) || context[2] || context[3];
}

/* Whether the context entry lets this request through, and with which PASID. */
static uint32_t sm_context_admit(const struct lookup *lookup, const uint64_t *context,
                                 struct vtd_entry *entry)
{
    uint64_t pasids = BIT64(13 + field_get(VTD_SM_CONTEXT_PDTS, context[0]));
    uint32_t rid_pasid = field_get(VTD_SM_CONTEXT_RID_PASID, context[1]);
    bool dte = context[0] & VTD_SM_CONTEXT_DTE;

    if ((context[0] & VTD_SM_CONTEXT_PRE) && !dte)
        return VTD_FAULT_SM_CONTEXT_INVALID;
    if (rid_pasid >= pasids)
        return VTD_FAULT_SM_CONTEXT_INVALID;
    entry->untranslated_only = !dte;
    if (lookup->type == VTD_TYPE_PAGE_REQUEST && !(context[0] & VTD_SM_CONTEXT_PRE))
        return VTD_FAULT_SM_PRE_CLEAR;
    if (!dte && lookup->type != VIOMMU_DMA_UNTRANSLATED)
        return VTD_FAULT_SM_DTE_CLEAR;
    entry->pasid = rid_pasid;
    entry->rid_privileged = context[1] & VTD_SM_CONTEXT_RID_PRIV;
    if (lookup->pasid == VIOMMU_PASID_NONE)
        return VTD_FAULT_NONE;
    if (!(context[0] & VTD_SM_CONTEXT_PASIDE))
        return VTD_FAULT_SM_PASIDE_CLEAR;
    if (lookup->pasid >= pasids)
        return VTD_FAULT_SM_PASID_TOO_LARGE;
    if (lookup->pasid == rid_pasid)
        return VTD_FAULT_SM_PASID_IS_RID_PASID;
    /* ECAP.PSS is the number of PASID bits less one (11.4.3). */
    if (lookup->pasid >> (field_get(VTD_ECAP_PSS, lookup->vtd->ecap) + 1))
        return VTD_FAULT_SM_PASID_WIDTH;
    entry->pasid = lookup->pasid;
    return VTD_FAULT_NONE;
}

static uint32_t sm_pasid_pointer(const struct lookup *lookup, uint64_t directory,
                                 struct vtd_entry *entry, uint64_t *pasid_entry)
{
    uint64_t address = directory + (entry->pasid >> 6) * VTD_PDE_SIZE;
    uint64_t pde;

    if (!read_entry(lookup, address, &pde, sizeof(pde)))
        return VTD_FAULT_SM_PDE_ACCESS;
    entry->fault_disable |= (pde & VTD_ENTRY_FPD) != 0;
    if (!(pde & VTD_ENTRY_P))
        return VTD_FAULT_SM_PDE_NOT_PRESENT;
    if (pde & (VTD_PDE_RSVD | lookup->host_width))
        return VTD_FAULT_SM_PDE_RESERVED;
    *pasid_entry = (pde & VTD_ENTRY_POINTER) + (entry->pasid & 0x3f) * VTD_PASID_SIZE;
    return VTD_FAULT_NONE;
}

/* A field of a PASID entry that is reserved unless the unit has a feature (9.6). */
struct feature_field {
    uint8_t quadword;
    uint64_t field;
    uint64_t ecap;
};

/*
 * Not here: AW, which Linux sets for first-stage entries also on units without a second stage; and
 * FSPM, whose bad values are faults of their own (SPT.4.3).
 */
static const struct feature_field feature_fields[] = {
    {0, VTD_ENTRY_POINTER, VTD_ECAP_SSTS},
    {0, VTD_PASID_SSADE, VTD_ECAP_SSADS},
    {1, VTD_PASID_PWSNP, VTD_ECAP_SMPWCS},
    {1, VTD_PASID_PGSNP, VTD_ECAP_SC},
    {2, VTD_PASID_SRE, VTD_ECAP_SRS},
    {2, VTD_PASID_ERE, VTD_ECAP_ERS},
    {2, VTD_PASID_WPE | VTD_ENTRY_POINTER, VTD_ECAP_FSTS},
    {2, VTD_PASID_EAFE, VTD_ECAP_EAFS},
};

static bool sm_pasid_reserved(const struct lookup *lookup, const uint64_t *raw)
{
    const struct vtd *vtd = lookup->vtd;
    const uint64_t reserved[8] = {
        VTD_PASID_RSVD_0 | lookup->host_width,
        VTD_PASID_RSVD_1 | field_prep(VTD_PASID_DID, domain_reserved(vtd)),
        VTD_PASID_RSVD_2 | lookup->host_width,
        ~UINT64_C(0),
        ~UINT64_C(0),
        ~UINT64_C(0),
        ~UINT64_C(0),
        ~UINT64_C(0),
    };

    for (unsigned int i = 0; i < 8; i++) {
        if (raw[i] & reserved[i])
            return true;
    }
    for (unsigned int i = 0; i < sizeof(feature_fields) / sizeof(feature_fields[0]); i++) {
        const struct feature_field *field = &feature_fields[i];

        if ((raw[field->quadword] & field->field) && !ecap_has(vtd, field->ecap))
            return true;
    }
    return false;
}

/* Is the translation type one that the unit has (SPT.4.2)? */
static bool sm_type_supported(const struct vtd *vtd, unsigned int pgtt)
{
    static const uint64_t needs[8] = {
        [VTD_PGTT_FIRST] = VTD_ECAP_FSTS,
        [VTD_PGTT_SECOND] = VTD_ECAP_SSTS,
        [VTD_PGTT_NESTED] = VTD_ECAP_NEST,
        [VTD_PGTT_PASS_THROUGH] = VTD_ECAP_PT,
    };

    return ecap_has(vtd, needs[pgtt]);
}

/* Levels of a first stage of this FSPM; 0: the unit has none such (SPT.4.3). */
static unsigned int first_stage_levels(const struct vtd *vtd, unsigned int fspm)
{
    if (fspm == VTD_FSPM_4_LEVEL)
        return 4;
    return fspm == VTD_FSPM_5_LEVEL && (vtd->cap & VTD_CAP_FS5LP) ? 5 : 0;
}

/* The fields that count for this translation type, each with a value that is supported (SPT.4). */
static uint32_t sm_pasid_reduce(const struct vtd *vtd, struct vtd_entry *entry)
{
    const uint64_t *raw = entry->raw;
    unsigned int pgtt = field_get(VTD_PASID_PGTT, raw[0]);
    unsigned int aw = field_get(VTD_PASID_AW, raw[0]);

    if (!sm_type_supported(vtd, pgtt))
        return VTD_FAULT_SM_PASID_INVALID;
    entry->pgtt = (enum vtd_pgtt)pgtt;
    if (pgtt == VTD_PGTT_SECOND || pgtt == VTD_PGTT_NESTED) {
        if (!width_supported(vtd, aw))
            return VTD_FAULT_SM_PASID_INVALID;
        set_second_stage(entry, raw[0], aw);
        entry->second_ad = raw[0] & VTD_PASID_SSADE;
    }
    if (pgtt == VTD_PGTT_FIRST || pgtt == VTD_PGTT_NESTED) {
        entry->first_levels = first_stage_levels(vtd, field_get(VTD_PASID_FSPM, raw[2]));
        if (!entry->first_levels)
            return VTD_FAULT_SM_PASID_INVALID;
        entry->first_root = raw[2] & VTD_ENTRY_POINTER;
        entry->first_wpe = raw[2] & VTD_PASID_WPE;
        entry->first_eafe = raw[2] & VTD_PASID_EAFE;
        entry->first_nxe = raw[2] & VTD_PASID_NXE;
        entry->first_smep = raw[2] & VTD_PASID_SMEP;
    }
    if (pgtt == VTD_PGTT_NESTED &&
        entry->first_root & ~low_bits(vtd_second_stage_width(vtd, entry->second_levels)))
        return VTD_FAULT_SM_PASID_INVALID;
    entry->first_sre = raw[2] & VTD_PASID_SRE;
    entry->execute_enable = raw[2] & VTD_PASID_ERE;
    entry->walk_snoop = raw[1] & VTD_PASID_PWSNP;
    entry->page_snoop = raw[1] & VTD_PASID_PGSNP;
    entry->domain = field_get(VTD_PASID_DID, raw[1]);
    return VTD_FAULT_NONE;
}

static uint32_t sm_find(const struct lookup *lookup, struct vtd_entry *entry)
{
    uint64_t context[4], address = 0;
    uint32_t reason;

    reason = sm_context_pointer(lookup, &address);
    if (reason)
        return reason;
    if (!read_entry(lookup, address, context, sizeof(context)))
        return VTD_FAULT_SM_CONTEXT_ACCESS;
    entry->fault_disable = context[0] & VTD_ENTRY_FPD;
    if (!(context[0] & VTD_ENTRY_P))
        return VTD_FAULT_SM_CONTEXT_NOT_PRESENT;
    if (sm_context_reserved(lookup, context))
        return VTD_FAULT_SM_CONTEXT_RESERVED;
    reason = sm_context_admit(lookup, context, entry);
    /* 4.2.4, 7.4: those of translated and page requests were looked at with the translation. */
    if (!reason && lookup->type >= VIOMMU_DMA_TRANSLATED)
        return VTD_FAULT_NONE;
    if (!reason)
        reason = sm_pasid_pointer(lookup, context[0] & VTD_ENTRY_POINTER, entry, &address);
    if (reason)
        return reason;
    if (!read_entry(lookup, address, entry->raw, VTD_PASID_SIZE))
        return VTD_FAULT_SM_PASID_ACCESS;
    entry->fault_disable |= (entry->raw[0] & VTD_ENTRY_FPD) != 0;
    if (!(entry->raw[0] & VTD_ENTRY_P))
        return VTD_FAULT_SM_PASID_NOT_PRESENT;
    if (sm_pasid_reserved(lookup, entry->raw))
        return VTD_FAULT_SM_PASID_RESERVED;
    return sm_pasid_reduce(lookup->vtd, entry);
}

/* Choose by the translation table mode; modes that the unit does not have are faults (11.4.5). */
static uint32_t entry_find(const struct lookup *lookup, uint64_t translation,
                           struct vtd_entry *entry)
{
    switch (field_get(VTD_TTM_MASK, translation)) {
    case VTD_TTM_LEGACY:
        return legacy_find(lookup, entry);
    case VTD_TTM_SCALABLE:
        if (!ecap_has(lookup->vtd, VTD_ECAP_SMTS))
            return VTD_FAULT_RTADDR_INVALID;
        return sm_find(lookup, entry);
    case VTD_TTM_ABORT:
        return ecap_has(lookup->vtd, VTD_ECAP_ADMS) ? VTD_FAULT_RTADDR_ABORT
                                                    : VTD_FAULT_RTADDR_INVALID;
    default:
        return VTD_FAULT_RTADDR_INVALID;
    }
}

void vtd_entry_find_typed(const struct vtd *vtd, uint64_t translation, uint16_t requester_id,
                          uint32_t pasid, uint8_t type, struct vtd_entry *entry)
{
    uint64_t width = low_bits(vtd->options.host_address_width);
    const struct lookup lookup = {
        .vtd = vtd,
        .root = translation & VTD_ENTRY_POINTER & width,
        .requester_id = requester_id,
        .pasid = pasid,
        .type = type,
        .host_width = ~width,
    };

    memset(entry, 0, sizeof(*entry));
    entry->pasid = pasid;
    entry->reason = entry_find(&lookup, translation, entry);
    entry->status = vtd_fault_code(entry->reason)->status;
}

void vtd_entry_find(const struct vtd *vtd, uint64_t translation, uint16_t requester_id,
                    uint32_t pasid, struct vtd_entry *entry)
{
    vtd_entry_find_typed(vtd, translation, requester_id, pasid, VIOMMU_DMA_UNTRANSLATED, entry);
}
