/* SPDX-License-Identifier: MIT */
#include "pci_ats.h"
#include "pci.h"
#include <viommu/assign.h>

#define CAPABILITY_ATS   0x000fu
#define CAPABILITY_PRI   0x0013u
#define CAPABILITY_PASID 0x001bu
#define VERSION          1u

/* PCI Express 6.0, 7.8.9 */
#define PASID_LENGTH      8u
#define PASID_CAPABILITY  4u
#define PASID_CONTROL     6u
#define PASID_WIDTH_SHIFT 8
#define PASID_ENABLE      0x0001u

/* PCI Express 6.0, 10.5.1 */
#define ATS_LENGTH       8u
#define ATS_CAPABILITY   4u
#define ATS_CONTROL      6u
#define ATS_PAGE_ALIGNED 0x0020u /* the queue depth below is 0: 32 invalidations */
#define ATS_GLOBAL       0x0040u
#define ATS_UNIT_MASK    0x001fu
#define ATS_ENABLE       0x8000u

/* PCI Express 6.0, 10.5.2 */
#define PRI_LENGTH           16u
#define PRI_CONTROL          4u
#define PRI_STATUS           6u
#define PRI_CAPACITY         8u
#define PRI_ALLOCATION       12u
#define PRI_ENABLE           0x0001u
#define PRI_RESET            0x0002u
#define PRI_RESPONSE_FAILURE 0x0001u
#define PRI_UNEXPECTED_INDEX 0x0002u
#define PRI_STOPPED          0x0100u
#define PRI_PASID_REQUIRED   0x8000u

static void add_pasid(struct vmm_pci_function *fn, unsigned int bits)
{
    uint16_t at =
        vmm_pci_add_extended_capability(fn, CAPABILITY_PASID, VERSION, PASID_LENGTH, true);

    fn->pasid_offset = at;
    vmm_pci_put16(fn->config, at + PASID_CAPABILITY, (uint16_t)(bits << PASID_WIDTH_SHIFT));
    vmm_pci_put16(fn->write_mask, at + PASID_CONTROL, PASID_ENABLE);
}

static void add_ats(struct vmm_pci_function *fn)
{
    uint16_t at = vmm_pci_add_extended_capability(fn, CAPABILITY_ATS, VERSION, ATS_LENGTH, true);

    fn->ats_offset = at;
    vmm_pci_put16(fn->config, at + ATS_CAPABILITY, ATS_PAGE_ALIGNED | ATS_GLOBAL);
    vmm_pci_put16(fn->write_mask, at + ATS_CONTROL, ATS_ENABLE | ATS_UNIT_MASK);
}

static void add_pri(struct vmm_pci_function *fn)
{
    uint16_t at = vmm_pci_add_extended_capability(fn, CAPABILITY_PRI, VERSION, PRI_LENGTH, true);

    fn->pri_offset = at;
    vmm_pci_put16(fn->write_mask, at + PRI_CONTROL, PRI_ENABLE | PRI_RESET);
    vmm_pci_put16(fn->config, at + PRI_STATUS, PRI_STOPPED | PRI_PASID_REQUIRED);
    vmm_pci_put16(fn->clear_mask, at + PRI_STATUS, PRI_RESPONSE_FAILURE | PRI_UNEXPECTED_INDEX);
    vmm_pci_put32(fn->config, at + PRI_CAPACITY, VMM_PCI_PRI_CAPACITY);
    vmm_pci_put32(fn->write_mask, at + PRI_ALLOCATION, UINT32_MAX);
}

_Static_assert(PASID_LENGTH + ATS_LENGTH + PRI_LENGTH == VMM_PCI_SERVICES_SIZE, "all of them");

void vmm_pci_add_services(struct vmm_pci_function *fn, const struct vmm_pci_services *services)
{
    if (services->pasid_bits)
        add_pasid(fn, services->pasid_bits);
    if (services->ats)
        add_ats(fn);
    if (services->pri)
        add_pri(fn);
}

void vmm_pci_limit_services(struct vmm_pci_services *services, const struct vmm_pci_function *fn,
                            const struct viommu_assigned_device *attachment)
{
    const struct viommu_host_hw_info *info =
        viommu_host_device_info(viommu_assigned_device_host_device(attachment));
    uint64_t promised = viommu_pci_device_get_viommu_cap(fn->viommu);

    if (!(promised & VIOMMU_CAP_PASID))
        services->pasid_bits = 0;
    else if (services->pasid_bits > info->max_pasid_log2)
        services->pasid_bits = info->max_pasid_log2;
    services->ats &= (promised & VIOMMU_CAP_ATS) && info->ats;
    services->pri &= services->ats && (promised & VIOMMU_CAP_PRI) && info->page_requests;
}

static bool is_set(struct vmm_pci_function *fn, uint16_t at, unsigned int offset, uint16_t bit)
{
    return at && (vmm_pci_config_load(fn, at + offset, 2) & bit);
}

bool vmm_pci_pasid_enabled(struct vmm_pci_function *fn)
{
    return is_set(fn, fn->pasid_offset, PASID_CONTROL, PASID_ENABLE);
}

bool vmm_pci_ats_enabled(struct vmm_pci_function *fn)
{
    return is_set(fn, fn->ats_offset, ATS_CONTROL, ATS_ENABLE);
}

bool vmm_pci_pri_enabled(struct vmm_pci_function *fn)
{
    return is_set(fn, fn->pri_offset, PRI_CONTROL, PRI_ENABLE);
}

uint32_t vmm_pci_pri_allowed(struct vmm_pci_function *fn)
{
    uint32_t allowed;

    if (!vmm_pci_pri_enabled(fn) || is_set(fn, fn->pri_offset, PRI_STATUS, PRI_RESPONSE_FAILURE))
        return 0;
    allowed = vmm_pci_config_load(fn, fn->pri_offset + PRI_ALLOCATION, 4);
    return allowed < VMM_PCI_PRI_CAPACITY ? allowed : VMM_PCI_PRI_CAPACITY;
}

static void change(struct vmm_pci_function *fn, unsigned int offset, uint16_t clear, uint16_t set)
{
    if (fn->pri_offset)
        vmm_pci_config_change16(fn, fn->pri_offset + offset, clear, set);
}

bool vmm_pci_pri_take_reset(struct vmm_pci_function *fn)
{
    bool asked = is_set(fn, fn->pri_offset, PRI_CONTROL, PRI_RESET);

    change(fn, PRI_CONTROL, PRI_RESET, 0);
    return asked;
}

void vmm_pci_pri_set_response_failure(struct vmm_pci_function *fn)
{
    change(fn, PRI_STATUS, 0, PRI_RESPONSE_FAILURE);
}

void vmm_pci_pri_set_unexpected_index(struct vmm_pci_function *fn)
{
    change(fn, PRI_STATUS, 0, PRI_UNEXPECTED_INDEX);
}

void vmm_pci_pri_set_stopped(struct vmm_pci_function *fn, bool stopped)
{
    change(fn, PRI_STATUS, PRI_STOPPED, stopped ? PRI_STOPPED : 0);
}

void vmm_pci_pri_clear_errors(struct vmm_pci_function *fn)
{
    change(fn, PRI_STATUS, PRI_RESPONSE_FAILURE | PRI_UNEXPECTED_INDEX, 0);
}

void vmm_pci_pri_follow(struct vmm_pci_function *fn)
{
    bool enabled = vmm_pci_pri_enabled(fn);

    if (vmm_pci_pri_take_reset(fn) && !enabled)
        vmm_pci_pri_clear_errors(fn);
    vmm_pci_pri_set_stopped(fn, !enabled);
}
