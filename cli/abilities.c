/* SPDX-License-Identifier: MIT */
#include "abilities.h"
#include "text.h"
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* VT-d 5.0, 11.4.2 (CAP, register 0) and 11.4.3 (ECAP, register 1). */
#define VTD_PASID    40
#define VTD_IR       3
#define VTD_SMTS     43
#define VTD_SSADS    45
#define VTD_SSTS     46
#define VTD_PSS(e)   ((unsigned int)((e) >> 35) & 31)
#define VTD_MGAW(c)  ((unsigned int)((c) >> 16) & 63)
#define VTD_SAGAW(c) ((unsigned int)((c) >> 8) & 31)

static const struct ability vtd_abilities[] = {
    {"scalable_mode", "scalable mode", 1, VTD_SMTS},
    {"first_stage", "first stage", 1, 47},
    {"second_stage", "second stage in scalable mode", 1, VTD_SSTS},
    {"nesting", "nested translation", 1, 26},
    {"five_level", "first stage of 5 levels", 0, 60},
    {"first_stage_1g", "first-stage pages of 1 GiB", 0, 56},
    {"second_stage_2m", "second-stage pages of 2 MiB", 0, 34},
    {"second_stage_1g", "second-stage pages of 1 GiB", 0, 35},
    {"dirty_tracking", "accessed and dirty bits in the second stage", 1, VTD_SSADS},
    {"pasid", "PASIDs", 1, VTD_PASID},
    {"device_tlbs", "device TLBs (ATS)", 1, 2},
    {"page_requests", "page requests (PRI)", 1, 29},
    {"extended_accessed", "extended-accessed bits", 1, 34},
    {"supervisor", "supervisor requests", 1, 31},
    {"execute", "execute requests", 1, 30},
    {"coherent", "coherent walks", 1, 0},
    {"coherent_scalable", "coherent walks in scalable mode", 1, 48},
    {"snoop_control", "snoop control", 1, 7},
    {"write_drain", "write drain", 0, 54},
    {"read_drain", "read drain", 0, 55},
    {"pass_through", "pass-through", 1, 6},
    {"abort_dma", "abort-DMA mode", 1, 52},
    {"interrupt_remapping", "interrupt remapping", 1, VTD_IR},
    {"x2apic", "x2APIC", 1, 4},
    {"posted_interrupts", "posted interrupts", 0, 59},
    {"protected_memory", "protected memory", 0, 5},
    {"caching_mode", "caching mode (it is a virtual one itself)", 0, 7},
};

/* AMD IOMMU 3.08, 3.4.10: extended feature register. */
#define AMD_GUEST_TABLES 4
#define AMD_HDSUP        52
#define AMD_HATS(e)      ((unsigned int)((e) >> 10) & 3)
#define AMD_PASMAX(e)    ((unsigned int)((e) >> 32) & 31)

static const struct ability amd_abilities[] = {
    {"first_stage", "first-stage (guest) tables", 0, AMD_GUEST_TABLES},
    {"page_requests", "page requests (PRI)", 0, 1},
    {"guest_io", "guest I/O protection", 0, 48},
    {"accessed_bits", "accessed bits", 0, 49},
    {"dirty_tracking", "dirty bits", 0, AMD_HDSUP},
    {"x2apic", "x2APIC", 0, 2},
    {"posted_interrupts", "posted interrupts (virtual APIC)", 0, 7},
    {"no_execute", "no-execute", 0, 3},
    {"prefetch", "prefetch", 0, 0},
    {"secure_nested_paging", "secure nested paging (SNP)", 0, 63},
};

static bool has(const struct viommu_host_hw_info *info, unsigned int index, unsigned int bit)
{
    return info->registers[index] >> bit & 1;
}

const struct ability *abilities_of(enum viommu_host_iommu type, size_t *count)
{
    if (type == VIOMMU_HOST_IOMMU_VTD) {
        *count = COUNT(vtd_abilities);
        return vtd_abilities;
    }
    if (type == VIOMMU_HOST_IOMMU_AMD) {
        *count = COUNT(amd_abilities);
        return amd_abilities;
    }
    *count = 0;
    return NULL;
}

bool ability_has(const struct ability *ability, const struct viommu_host_hw_info *info)
{
    return has(info, ability->index, ability->bit);
}

unsigned int abilities_address_bits(const struct viommu_host_hw_info *info)
{
    uint64_t first = info->registers[0];
    unsigned int width;

    if (info->type == VIOMMU_HOST_IOMMU_AMD)
        return AMD_HATS(first) >= 2 ? 64 : 48 + 9 * AMD_HATS(first);
    if (info->type != VIOMMU_HOST_IOMMU_VTD)
        return 0;
    width = VTD_SAGAW(first) & 8 ? 57 : VTD_SAGAW(first) & 4 ? 48 : VTD_SAGAW(first) & 2 ? 39 : 0;
    return width < VTD_MGAW(first) + 1 ? width : VTD_MGAW(first) + 1;
}

unsigned int abilities_pasid_bits(const struct viommu_host_hw_info *info)
{
    if (info->type == VIOMMU_HOST_IOMMU_VTD && has(info, 1, VTD_PASID))
        return VTD_PSS(info->registers[1]) + 1;
    if (info->type == VIOMMU_HOST_IOMMU_AMD && has(info, 0, AMD_GUEST_TABLES))
        return AMD_PASMAX(info->registers[0]) + 1;
    return 0;
}

bool abilities_track_dirty(const struct viommu_host_hw_info *info)
{
    if (info->type == VIOMMU_HOST_IOMMU_VTD)
        return has(info, 1, VTD_SMTS) && has(info, 1, VTD_SSADS) && has(info, 1, VTD_SSTS);
    return info->type == VIOMMU_HOST_IOMMU_AMD && has(info, 0, AMD_HDSUP);
}

bool abilities_remaps_interrupts(const struct viommu_host_hw_info *info)
{
    return info->type != VIOMMU_HOST_IOMMU_VTD || has(info, 1, VTD_IR);
}

void abilities_describe(const struct viommu_host_hw_info *info, char *text, size_t size)
{
    unsigned int pasid = abilities_pasid_bits(info);
    const struct ability *abilities;
    size_t count;

    text[0] = '\0';
    abilities = abilities_of(info->type, &count);
    if (abilities_address_bits(info))
        text_append(text, size, ", ", "%u address bits", abilities_address_bits(info));
    if (pasid)
        text_append(text, size, ", ", "PASIDs of %u bits", pasid);
    for (size_t i = 0; i < count; i++) {
        if (ability_has(&abilities[i], info) && strcmp(abilities[i].key, "pasid") != 0)
            text_append(text, size, ", ", "%s", abilities[i].words);
    }
}
