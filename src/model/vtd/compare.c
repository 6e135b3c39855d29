/* SPDX-License-Identifier: MIT */
/* What the guest was promised against what a host has: every mismatch at once. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>

#include "base/bits.h"
#include "base/error.h"
#include "model/vtd/register_map.h"
#include "model/vtd/vtd.h"

/*
 * Without a host that nests, the way out is to give the guest second-stage tables, which any host
 * can mirror, scalable mode or not: hw-nested=off alone would leave it first-stage ones, which none
 * can walk.
 */
#define MIRROR "first-stage=off,second-stage=on"

/* When a rule counts. */
enum scope {
    NESTING,   /* what the guest's first-stage tables ask of the host's walk */
    EVERYWHERE /* what the host does on behalf of any assigned device */
};

/* A property that is on needs a bit of the host's CAP (0) or ECAP (1). */
struct flag_rule {
    size_t property; /* offset in struct viommu_vtd_options */
    enum scope scope;
    unsigned int index;
    uint64_t bit;
    const char *promise, *ability, *remedy;
};

#define PROPERTY(name) offsetof(struct viommu_vtd_options, name)

/* VT-d 5.0, 11.4.2 (CAP) and 11.4.3 (ECAP). */
static const struct flag_rule flag_rules[] = {
    {PROPERTY(hw_nested), NESTING, 1, VTD_ECAP_NEST, "nesting", "host ECAP.NEST=0", MIRROR},
    {PROPERTY(hw_nested), NESTING, 1, VTD_ECAP_SSTS, "second stage", "host ECAP.SSTS=0", MIRROR},
    {PROPERTY(scalable), NESTING, 1, VTD_ECAP_SMTS, "scalable mode", "host ECAP.SMTS=0", MIRROR},
    {PROPERTY(first_stage), NESTING, 1, VTD_ECAP_FSTS, "first stage", "host ECAP.FSTS=0", MIRROR},
    {PROPERTY(large_1g), NESTING, 0, VTD_CAP_FS1GP, "1 GiB pages", "host CAP.FS1GP=0", "1g=off"},
    {PROPERTY(five_level), NESTING, 0, VTD_CAP_FS5LP, "5-level first stage", "host CAP.FS5LP=0",
     "5-level=off,aw=48"},
    {PROPERTY(supervisor), NESTING, 1, VTD_ECAP_SRS, "supervisor requests", "host ECAP.SRS=0",
     "supervisor=off"},
    {PROPERTY(extended_accessed), NESTING, 1, VTD_ECAP_EAFS, "extended-accessed",
     "host ECAP.EAFS=0", "extended-accessed=off"},
    {PROPERTY(coherent), NESTING, 1, VTD_ECAP_SMPWCS, "coherent walks", "host ECAP.SMPWCS=0",
     "coherent=off"},
    {PROPERTY(snoop_control), EVERYWHERE, 1, VTD_ECAP_SC, "snoop control", "host ECAP.SC=0",
     "snoop-control=off"},
    {PROPERTY(drain), EVERYWHERE, 0, VTD_CAP_DRD, "read drain", "host CAP.DRD=0", "drain=off"},
    {PROPERTY(drain), EVERYWHERE, 0, VTD_CAP_DWD, "write drain", "host CAP.DWD=0", "drain=off"},
    {PROPERTY(device_iotlb), EVERYWHERE, 1, VTD_ECAP_DT, "device TLBs", "host ECAP.DT=0",
     "device-iotlb=off"},
    {PROPERTY(page_requests), EVERYWHERE, 1, VTD_ECAP_PRS, "page requests", "host ECAP.PRS=0",
     "page-requests=off"},
};

struct comparison {
    const struct viommu_vtd_options *options;
    const struct viommu_host_hw_info *info;
    bool nests;
    viommu_vtd_mismatch_fn *report;
    void *opaque;
    struct viommu_error *error;
    unsigned int mismatches;
};

static void mismatch(struct comparison *comparison, const char *promise, const char *ability,
                     const char *remedy)
{
    const struct viommu_vtd_mismatch found = {sizeof(found), promise, ability, remedy};

    if (comparison->report)
        comparison->report(comparison->opaque, &found);
    if (!comparison->mismatches++)
        error_set(comparison->error, -EOPNOTSUPP,
                  "host %s does not keep what the guest is promised",
                  comparison->info->name[0] ? comparison->info->name : "IOMMU");
    error_append(comparison->error, "%s %s: %s (%s)", comparison->mismatches == 1 ? ":" : ";",
                 promise, ability, remedy ? remedy : "no setting helps");
}

static void compare_flags(struct comparison *comparison)
{
    for (size_t i = 0; i < sizeof(flag_rules) / sizeof(flag_rules[0]); i++) {
        const struct flag_rule *rule = &flag_rules[i];
        const bool *promised = (const void *)((const char *)comparison->options + rule->property);

        if ((rule->scope == NESTING && !comparison->nests) || !*promised)
            continue;
        if (!(comparison->info->registers[rule->index] & rule->bit))
            mismatch(comparison, rule->promise, rule->ability, rule->remedy);
    }
}

static void compare_number(struct comparison *comparison, unsigned int promised, unsigned int has,
                           const char *what, const char *remedy)
{
    char promise[32], ability[32];

    if (promised <= has)
        return;
    snprintf(promise, sizeof(promise), "%u bits of %s", promised, what);
    snprintf(ability, sizeof(ability), "host has %u", has);
    mismatch(comparison, promise, ability, remedy);
}

/* Bits that the second stage translates: SAGAW says what it can walk, MGAW what it may be given. */
static unsigned int second_stage_width(uint64_t cap)
{
    unsigned int mgaw = field_get(VTD_CAP_MGAW, cap) + 1;
    unsigned int sagaw = field_get(VTD_CAP_SAGAW, cap);
    unsigned int width = sagaw & VTD_SAGAW_57 ? 57 : sagaw & VTD_SAGAW_48 ? 48 : 39;

    if (!(sagaw & (VTD_SAGAW_39 | VTD_SAGAW_48 | VTD_SAGAW_57)))
        return 0;
    return width < mgaw ? width : mgaw;
}

static unsigned int pasid_width(uint64_t ecap)
{
    return ecap & VTD_ECAP_PASID ? field_get(VTD_ECAP_PSS, ecap) + 1 : 0;
}

/*
 * GPAs are the input of the nesting parent. IOVAs of the guest's second-stage tables are those of a
 * shadow; a guest that may use the first stage has them only when it chooses legacy mode. A guest
 * has 39, 48 or 57 bits of IOVA, and not more of physical addresses: a host below 48 leaves 39.
 */
static void compare_widths(struct comparison *comparison)
{
    const struct viommu_vtd_options *options = comparison->options;
    unsigned int width = second_stage_width(comparison->info->registers[0]);
    unsigned int pasid = pasid_width(comparison->info->registers[1]);
    unsigned int fits = width >= 48 ? 48 : 39;
    char remedy[24];

    snprintf(remedy, sizeof(remedy), "haw=%u", fits);
    compare_number(comparison, options->host_address_width, width, "GPA",
                   width < 39 ? NULL : remedy);
    snprintf(remedy, sizeof(remedy), "aw=%u", fits);
    compare_number(comparison, options->address_width, width, "IOVA", width < 39 ? NULL : remedy);
    snprintf(remedy, sizeof(remedy), "pasid-bits=%u", pasid);
    compare_number(comparison, options->pasid_bits, pasid, "PASID", remedy);
}

/* What no host can make good for an assigned device. */
static void compare_model(struct comparison *comparison)
{
    const struct viommu_vtd_options *options = comparison->options;

    if (!options->caching_mode)
        mismatch(comparison, "caching mode", "off, so new mappings would stay unseen",
                 "caching-mode=on");
    if (options->protected_memory)
        mismatch(comparison, "protected memory",
                 "hosts give all of guest memory to untranslated DMA", "pmr=off");
    if (options->rid_privilege)
        mismatch(comparison, "RID_PRIV", "hosts are not told whose requests these are",
                 "rid-priv=off");
    if (options->execute)
        mismatch(comparison, "execute requests", "hosts are not told ERE and NXE", "execute=off");
    if (options->dirty_tracking)
        mismatch(comparison, "accessed/dirty bits", "hosts set none in guest tables", "ad=off");
    if (options->scalable && options->first_stage && !comparison->nests)
        mismatch(comparison, "first stage", "not walked by the host without hw-nested", MIRROR);
}

static int compare(struct comparison *comparison, bool nest_parent)
{
    comparison->nests = vtd_options_viommu_cap(comparison->options) & VIOMMU_CAP_HW_NESTED;
    if (comparison->nests && !nest_parent)
        mismatch(comparison, "a nesting parent", "host made none", MIRROR);
    if (comparison->info->type == VIOMMU_HOST_IOMMU_VTD) {
        compare_flags(comparison);
        compare_widths(comparison);
    } else if (comparison->nests) {
        mismatch(comparison, "VT-d nesting", "the host's IOMMU is no VT-d", MIRROR);
    }
    compare_model(comparison);
    return comparison->mismatches ? -EOPNOTSUPP : 0;
}

int vtd_compare_host(const struct viommu_vtd_options *options,
                     const struct viommu_host_device *device, struct viommu_error *error)
{
    struct comparison comparison = {
        .options = options, .info = viommu_host_device_info(device), .error = error};

    return compare(&comparison, viommu_host_device_is_nest_parent(device));
}

int viommu_vtd_compare(const struct viommu_vtd_options *options,
                       const struct viommu_host_hw_info *info, viommu_vtd_mismatch_fn *report,
                       void *opaque, struct viommu_error *error)
{
    struct viommu_vtd_options promised;
    struct viommu_host_hw_info has;
    struct comparison comparison = {
        .options = &promised, .info = &has, .report = report, .opaque = opaque, .error = error};
    int ret = error_copy_options(&promised, sizeof(promised), options, "viommu_vtd_options", error);

    if (!ret)
        ret = error_copy_options(&has, sizeof(has), info, "viommu_host_hw_info", error);
    if (ret)
        return ret;
    has.name[sizeof(has.name) - 1] = '\0';
    return compare(&comparison, true);
}
