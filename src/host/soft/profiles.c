/* SPDX-License-Identifier: MIT */
/*
 * Machines that the simulated host can be. The registers are those that Linux printed on real ones;
 * everything else, the descriptions too, is derived from them.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "base/error.h"
#include "host/soft/soft.h"

/* VT-d 5.0, 11.4.2: capability register. */
#define CAP_SAGAW_39 BIT64(9)
#define CAP_SAGAW_48 BIT64(10)
#define CAP_SAGAW_57 BIT64(11)
#define CAP_MGAW     GENMASK64(21, 16)
#define CAP_SSLPS_2M BIT64(34)
#define CAP_SSLPS_1G BIT64(35)
#define CAP_FS1GP    BIT64(56)
#define CAP_FS5LP    BIT64(60)

/* VT-d 5.0, 11.4.3: extended capability register. */
#define ECAP_DT    BIT64(2)
#define ECAP_NEST  BIT64(26)
#define ECAP_PRS   BIT64(29)
#define ECAP_ERS   BIT64(30)
#define ECAP_SRS   BIT64(31)
#define ECAP_EAFS  BIT64(34)
#define ECAP_PSS   GENMASK64(39, 35)
#define ECAP_PASID BIT64(40)
#define ECAP_SMTS  BIT64(43)
#define ECAP_SSADS BIT64(45)
#define ECAP_SSTS  BIT64(46)
#define ECAP_FSTS  BIT64(47)

/* AMD IOMMU 3.08, 3.4.10: extended feature register. */
#define EFR_GTSUP  BIT64(4)
#define EFR_PASMAX GENMASK64(36, 32)
#define EFR_HDSUP  BIT64(52)

#define GNR_CAP  UINT64_C(0xf9ed008cee780c66)
#define GNR_ECAP UINT64_C(0x3fef9ea6f0efdf)

struct profile {
    const char *name;
    const char *version; /* of the specification, as the IOMMU's version register says; or NULL */
    enum viommu_host_iommu type;
    uint64_t registers[2];
    uint32_t quirks;
};

static const struct profile profiles[] = {
    {"broadwell-ep", "1.0", VIOMMU_HOST_IOMMU_VTD, {0x8d2078c106f0466, 0xf020df}, 0},
    {"skylake-sp-pch", "1.0", VIOMMU_HOST_IOMMU_VTD, {0x8d2078c106f0466, 0xf020de}, 0},
    {"tiger-lake-graphics", "4.0", VIOMMU_HOST_IOMMU_VTD, {0x1c0000c40660462, 0x69e2ff0505e}, 0},
    {"client-graphics-49e", "4.0", VIOMMU_HOST_IOMMU_VTD, {0x1c0000c40660462, 0x49e2ff0505e}, 0},
    {"alder-lake-graphics", "4.0", VIOMMU_HOST_IOMMU_VTD, {0x1c0000c40660462, 0x29a00f0505e}, 0},
    {"alder-lake-system", "5.0", VIOMMU_HOST_IOMMU_VTD, {0xd2008c40660462, 0xf050da}, 0},
    {"client-system-8d2", "5.0", VIOMMU_HOST_IOMMU_VTD, {0x8d2008c40660462, 0xf050da}, 0},
    {"sapphire-rapids",
     "6.0",
     VIOMMU_HOST_IOMMU_VTD,
     {0x9ed008c40780466, 0x3ee9e86f050df},
     VIOMMU_HOST_QUIRK_772415},
    {"lunar-lake", "7.0", VIOMMU_HOST_IOMMU_VTD, {0xc9de008cee690462, 0x12ca9a00f0ef5e}, 0},
    {"granite-rapids", "7.0", VIOMMU_HOST_IOMMU_VTD, {GNR_CAP, GNR_ECAP}, 0},
    {"amd-zen", NULL, VIOMMU_HOST_IOMMU_AMD, {0x4f77ef22294ada, 0x0}, 0},
    {"amd-zen2", NULL, VIOMMU_HOST_IOMMU_AMD, {0x58f77ef22294a5a, 0x0}, 0},
    {"amd-zen3-mobile", NULL, VIOMMU_HOST_IOMMU_AMD, {0x206d73ef22254ade, 0x0}, 0},
    {"amd-zen4", NULL, VIOMMU_HOST_IOMMU_AMD, {0x246577efa2254afa, 0x10}, 0},
    {"amd-zen4-5-server", NULL, VIOMMU_HOST_IOMMU_AMD, {0xa5bf7320a2294aee, 0x1d}, 0},
    /* What tests need: the newest server, each time without one ability. */
    {"no-nesting", "7.0", VIOMMU_HOST_IOMMU_VTD, {GNR_CAP, GNR_ECAP & ~ECAP_NEST}, 0},
    {"no-first-stage",
     "7.0",
     VIOMMU_HOST_IOMMU_VTD,
     {GNR_CAP, GNR_ECAP & ~(ECAP_NEST | ECAP_FSTS)},
     0},
    {"no-scalable",
     "7.0",
     VIOMMU_HOST_IOMMU_VTD,
     {GNR_CAP, GNR_ECAP & ~(ECAP_SMTS | ECAP_NEST | ECAP_FSTS | ECAP_SSTS | ECAP_PASID)},
     0},
    {"no-1g", "7.0", VIOMMU_HOST_IOMMU_VTD, {GNR_CAP & ~(CAP_FS1GP | CAP_SSLPS_1G), GNR_ECAP}, 0},
    {"no-5-level", "7.0", VIOMMU_HOST_IOMMU_VTD, {GNR_CAP & ~CAP_FS5LP, GNR_ECAP}, 0},
    {"no-pasid", "7.0", VIOMMU_HOST_IOMMU_VTD, {GNR_CAP, GNR_ECAP & ~ECAP_PASID}, 0},
    {"narrow-pasid", /* 8 bits: PSS 7 */
     "7.0",
     VIOMMU_HOST_IOMMU_VTD,
     {GNR_CAP, (GNR_ECAP & ~ECAP_PSS) | UINT64_C(7) << 35},
     0},
};

#define PROFILE_COUNT (sizeof(profiles) / sizeof(profiles[0]))

static char descriptions[PROFILE_COUNT][96];
static pthread_once_t descriptions_once = PTHREAD_ONCE_INIT;

/* The number of PASID bits; 0 when the IOMMU has no PASIDs. */
static uint8_t pasid_bits(const struct viommu_host_hw_info *info)
{
    if (info->type == VIOMMU_HOST_IOMMU_VTD && (info->registers[1] & ECAP_PASID))
        return field_get(ECAP_PSS, info->registers[1]) + 1;
    if (info->type == VIOMMU_HOST_IOMMU_AMD && (info->registers[0] & EFR_GTSUP))
        return field_get(EFR_PASMAX, info->registers[0]) + 1;
    return 0;
}

static void derive_vtd(struct soft_caps *caps, uint64_t cap, uint64_t ecap)
{
    unsigned int width = cap & CAP_SAGAW_57 ? 57 : cap & CAP_SAGAW_48 ? 48 : 39;
    unsigned int most = field_get(CAP_MGAW, cap) + 1;
    bool scalable = ecap & ECAP_SMTS;

    caps->levels = (width - SOFT_PAGE_SHIFT) / 9;
    caps->address_width = most < width ? most : width;
    caps->second_2m = cap & CAP_SSLPS_2M;
    caps->second_1g = cap & CAP_SSLPS_1G;
    caps->first_1g = cap & CAP_FS1GP;
    caps->first_5level = cap & CAP_FS5LP;
    caps->supervisor = ecap & ECAP_SRS;
    caps->execute = ecap & ECAP_ERS;
    caps->extended_access = ecap & ECAP_EAFS;
    caps->page_requests = scalable && (ecap & ECAP_PRS);
    caps->device_tlb = ecap & ECAP_DT;
    caps->nest = scalable && (ecap & ECAP_NEST);
    caps->nest_parent = caps->nest && (ecap & ECAP_SSTS);
    caps->dirty_tracking = scalable && (ecap & ECAP_SSADS) && (ecap & ECAP_SSTS);
}

/* Linux makes nesting parents on AMD, but offers nothing that could be nested on them. */
static void derive_amd(struct soft_caps *caps, uint64_t efr)
{
    caps->second_2m = true;
    caps->second_1g = true;
    caps->nest_parent = efr & EFR_GTSUP;
    caps->dirty_tracking = efr & EFR_HDSUP;
}

void soft_caps_derive(struct soft_caps *caps, const struct viommu_host_hw_info *info)
{
    *caps = (struct soft_caps){.levels = 4, .address_width = 48};
    if (info->type == VIOMMU_HOST_IOMMU_VTD)
        derive_vtd(caps, info->registers[0], info->registers[1]);
    else if (info->type == VIOMMU_HOST_IOMMU_AMD)
        derive_amd(caps, info->registers[0]);
    caps->pasid_bits = info->max_pasid_log2;
}

int soft_caps_check(const struct viommu_host_hw_info *info, struct viommu_error *error)
{
    uint64_t cap = info->registers[0];

    if (info->max_pasid_log2 > 20)
        return error_set(error, -EINVAL, "Custom host %s with %u bits of PASID: at most 20",
                         info->name, info->max_pasid_log2);
    if (info->type != VIOMMU_HOST_IOMMU_VTD)
        return 0;
    if (!(cap & (CAP_SAGAW_39 | CAP_SAGAW_48 | CAP_SAGAW_57)))
        return error_set(error, -EINVAL,
                         "Custom host %s: CAP 0x%llx has no address width in SAGAW (bits 12:8)",
                         info->name, (unsigned long long)cap);
    if (field_get(CAP_MGAW, cap) + 1 < 33)
        return error_set(error, -EINVAL,
                         "Custom host %s: CAP 0x%llx says %u address bits in MGAW (bits 21:16), "
                         "at least 33 are wanted",
                         info->name, (unsigned long long)cap,
                         (unsigned int)field_get(CAP_MGAW, cap) + 1);
    return 0;
}

static void profile_info(const struct profile *profile, struct viommu_host_hw_info *info)
{
    struct soft_caps caps;

    *info = (struct viommu_host_hw_info){
        .size = sizeof(*info),
        .type = profile->type,
        .quirks = profile->quirks,
        .registers = {profile->registers[0], profile->registers[1]},
    };
    snprintf(info->name, sizeof(info->name), "%s", profile->name);
    info->max_pasid_log2 = pasid_bits(info);
    soft_caps_derive(&caps, info);
    info->dirty_tracking = caps.dirty_tracking;
}

static void describe(const struct profile *profile, char *text, size_t size)
{
    struct viommu_host_hw_info info;
    struct soft_caps caps;
    char pasid[24] = "no PASID";

    profile_info(profile, &info);
    soft_caps_derive(&caps, &info);
    if (caps.pasid_bits)
        snprintf(pasid, sizeof(pasid), "PASID %u bits", caps.pasid_bits);
    snprintf(text, size, "%s%s, %s, %u address bits, %s%s",
             profile->version ? "Intel, VT-d " : "AMD", profile->version ? profile->version : "",
             caps.nest ? "nests" : "does not nest", caps.address_width, pasid,
             profile->quirks & VIOMMU_HOST_QUIRK_772415 ? ", erratum 772415" : "");
}

static void describe_all(void)
{
    for (size_t i = 0; i < PROFILE_COUNT; i++)
        describe(&profiles[i], descriptions[i], sizeof(descriptions[i]));
}

size_t viommu_soft_profile_count(void)
{
    return PROFILE_COUNT;
}

const char *viommu_soft_profile_name(size_t index)
{
    return index < PROFILE_COUNT ? profiles[index].name : NULL;
}

const char *viommu_soft_profile_description(const char *name)
{
    pthread_once(&descriptions_once, describe_all);
    for (size_t i = 0; name && i < PROFILE_COUNT; i++) {
        if (!strcmp(profiles[i].name, name))
            return descriptions[i];
    }
    return NULL;
}

int soft_profile_find(const char *name, struct viommu_host_hw_info *info,
                      struct viommu_error *error)
{
    int ret;

    for (size_t i = 0; i < PROFILE_COUNT; i++) {
        if (!strcmp(profiles[i].name, name)) {
            profile_info(&profiles[i], info);
            return 0;
        }
    }
    ret = error_set(error, -ENOENT, "there is no host profile '%s'; known are %s", name,
                    profiles[0].name);
    for (size_t i = 1; i < PROFILE_COUNT; i++)
        error_append(error, ", %s", profiles[i].name);
    return ret;
}
