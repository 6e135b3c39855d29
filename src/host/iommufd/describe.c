/* SPDX-License-Identifier: MIT */
/* What the IOMMU of a device can do. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "base/error.h"
#include "host/iommufd/iommufd.h"

/* VT-d 5.0, 11.4.3: extended capability register. */
#define ECAP_DT   BIT64(2)
#define ECAP_PRS  BIT64(29)
#define ECAP_SMTS BIT64(43)

/* PCIe base specification, 10.5.1 and 10.5.2. */
#define PCI_EXT_CAP_ATS 0x0f
#define PCI_EXT_CAP_PRI 0x13

#define PASID_BITS_MAX 20

/* What each type of IOMMU tells. */
union vendor_data {
    struct uapi_hw_info_vtd vtd;
    struct uapi_hw_info_amd amd;
    unsigned char bytes[64];
};

static void take_vtd(struct viommu_host_hw_info *info, const union vendor_data *data)
{
    info->type = VIOMMU_HOST_IOMMU_VTD;
    info->registers[0] = data->vtd.cap_reg;
    info->registers[1] = data->vtd.ecap_reg;
    info->quirks = data->vtd.flags & UAPI_HW_INFO_VTD_772415 ? VIOMMU_HOST_QUIRK_772415 : 0;
}

static void take_amd(struct viommu_host_hw_info *info, const union vendor_data *data)
{
    info->type = VIOMMU_HOST_IOMMU_AMD;
    info->registers[0] = data->amd.efr;
    info->registers[1] = data->amd.efr2;
}

/* How an IOMMU is called when sysfs does not say. */
static const char *const type_names[] = {
    [UAPI_HW_INFO_NONE] = "IOMMU",
    [UAPI_HW_INFO_VTD] = "VT-d",
    [UAPI_HW_INFO_SMMUV3] = "SMMUv3",
    [UAPI_HW_INFO_AMD] = "AMD-Vi",
};

static void take_name(struct viommu_host_hw_info *info, const char *name, uint32_t type)
{
    const size_t known = sizeof(type_names) / sizeof(type_names[0]);

    if (name[0])
        snprintf(info->name, sizeof(info->name), "%s", name);
    else if (type < known && type_names[type])
        snprintf(info->name, sizeof(info->name), "%s", type_names[type]);
    else
        snprintf(info->name, sizeof(info->name), "IOMMU of unknown type 0x%x", type);
}

/* Of a type that is not known nothing is believed: it can be shadowed for, as one without a type.
 */
static void take_data(struct viommu_host_hw_info *info, uint32_t type,
                      const union vendor_data *data)
{
    if (type == UAPI_HW_INFO_VTD)
        take_vtd(info, data);
    else if (type == UAPI_HW_INFO_AMD)
        take_amd(info, data);
    else if (type == UAPI_HW_INFO_SMMUV3)
        info->type = VIOMMU_HOST_IOMMU_SMMUV3;
}

static bool has_capability(const struct iommufd_host *host, const struct iommufd_device *device,
                           unsigned int id)
{
    return device->address[0] &&
           host_pci_has_extended_capability(&host->sys, host->sysfs, device->address, id);
}

/* The kernel says when it does not use ATS although both have it, but only since lately. */
static bool has_device_tlb(const struct iommufd_host *host, const struct iommufd_device *device,
                           uint64_t capabilities)
{
    const struct viommu_host_hw_info *info = &device->info;

    return info->type == VIOMMU_HOST_IOMMU_VTD && info->registers[1] & ECAP_DT &&
           !(capabilities & UAPI_HW_CAP_ATS_NOT_SUPPORTED) &&
           has_capability(host, device, PCI_EXT_CAP_ATS);
}

/*
 * A HWPT with a fault queue can be attached only to a device that can ask for pages itself. 0 and
 * *can, or why that cannot be told.
 */
static int can_request_pages(struct iommufd_host *host, const struct iommufd_device *device,
                             bool *can)
{
    const struct viommu_host_hw_info *info = &device->info;
    int ret;

    *can = false;
    if (info->type != VIOMMU_HOST_IOMMU_VTD || !(info->registers[1] & ECAP_PRS) ||
        !(info->registers[1] & ECAP_SMTS) || !has_capability(host, device, PCI_EXT_CAP_PRI))
        return 0;
    ret = iommufd_fault_queues_probe(host);
    *can = !ret;
    return ret == -EOPNOTSUPP ? 0 : ret;
}

static int describe_failed(const struct iommufd_device *device, int ret, struct viommu_error *error)
{
    return error_set(error, ret, "What the IOMMU of device %s can do cannot be read: %s",
                     device->name, strerror(-ret));
}

int iommufd_describe(struct iommufd_host *host, struct iommufd_device *device,
                     struct viommu_error *error)
{
    union vendor_data data = {.bytes = {0}};
    struct uapi_hw_info cmd = {
        .size = sizeof(cmd),
        .dev_id = device->id,
        .data_len = sizeof(data),
        .data_uptr = (uintptr_t)&data,
    };
    struct viommu_host_hw_info *info = &device->info;
    int ret = iommufd_call(host, UAPI_GET_HW_INFO, &cmd);

    if (ret < 0 && ret != -ENOTTY && ret != -EOPNOTSUPP)
        return describe_failed(device, ret, error);
    *info = (struct viommu_host_hw_info){.size = sizeof(*info)};
    if (ret < 0)
        cmd.out_data_type = UAPI_HW_INFO_NONE;
    take_name(info, device->iommu, cmd.out_data_type);
    take_data(info, cmd.out_data_type, &data);
    if (ret < 0)
        return 0;
    info->dirty_tracking = cmd.out_capabilities & UAPI_HW_CAP_DIRTY_TRACKING;
    info->max_pasid_log2 =
        cmd.out_max_pasid_log2 < PASID_BITS_MAX ? cmd.out_max_pasid_log2 : PASID_BITS_MAX;
    info->ats = has_device_tlb(host, device, cmd.out_capabilities);
    ret = can_request_pages(host, device, &info->page_requests);
    return ret ? describe_failed(device, ret, error) : 0;
}

int iommufd_hw_info(void *opaque, uint32_t device_id, struct viommu_host_hw_info *info,
                    struct viommu_error *error)
{
    struct iommufd_host *host = opaque;
    struct iommufd_device *device;

    pthread_mutex_lock(&host->lock);
    device = iommufd_device_find(host, device_id);
    if (device)
        *info = device->info;
    pthread_mutex_unlock(&host->lock);
    return device ? 0 : error_set(error, -ENOENT, "There is no bound device %u", device_id);
}
