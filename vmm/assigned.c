/* SPDX-License-Identifier: MIT */
#include "assigned.h"
#include "pci.h"
#include "vmm.h"
#include <errno.h>
#include <stdio.h>
#include <viommu/assign.h>
#include <viommu/soft.h>

/* The bus that the devices have on the host; any but the guest's, to tell the two apart. */
#define HOST_BUS 0x3au

static const struct vmm_assigned *assigned_of(const struct vmm_dma *dma)
{
    return vmm_container_of(dma, const struct vmm_assigned, dma);
}

static int assigned_read_request(const struct vmm_dma *dma,
                                 const struct viommu_dma_request *request, void *buffer)
{
    const struct vmm_assigned *assigned = assigned_of(dma);
    struct viommu_dma_result result;

    if (!vmm_pci_bus_master(assigned->fn))
        return -EPERM;
    return viommu_soft_device_read(assigned->device, request, buffer, &result);
}

static int assigned_write_request(const struct vmm_dma *dma,
                                  const struct viommu_dma_request *request, const void *buffer)
{
    const struct vmm_assigned *assigned = assigned_of(dma);
    struct viommu_dma_result result;

    if (!vmm_pci_bus_master(assigned->fn))
        return -EPERM;
    return viommu_soft_device_write(assigned->device, request, buffer, &result);
}

int vmm_assigned_attach(struct vmm_assigned *assigned, struct vmm_pci_function *fn,
                        struct viommu_error *err)
{
    struct vmm *vm = fn->vm;
    char name[24];
    int ret;

    if (!vm->host || !vm->assign)
        return vmm_fail(err, EINVAL,
                        "%s: there is no host to assign it from: add --host soft to the command",
                        fn->id.name);
    if (assigned->iommu >= vm->host_iommus)
        return vmm_fail(
            err, EINVAL,
            "%s: iommu=%u is beyond the %u of the host, counted from 0; give it more by "
            "--host soft,iommus=%u",
            fn->id.name, assigned->iommu, vm->host_iommus, assigned->iommu + 1);
    assigned->dma.read = vmm_dma_read_by_request;
    assigned->dma.write = vmm_dma_write_by_request;
    assigned->dma.read_request = assigned_read_request;
    assigned->dma.write_request = assigned_write_request;
    assigned->fn = fn;
    snprintf(name, sizeof(name), "%04x:%02x:%02x.%x", fn->id.segment, HOST_BUS, fn->devfn >> 3,
             fn->devfn & 7);
    ret = viommu_soft_device_add(vm->host, name, assigned->iommu, &assigned->device, err);
    if (ret)
        return ret;
    ret = viommu_assign_attach(vm->assign, fn->viommu, name, &assigned->attachment, err);
    if (ret)
        vmm_assigned_detach(assigned);
    return ret;
}

void vmm_assigned_detach(struct vmm_assigned *assigned)
{
    if (assigned->attachment)
        viommu_assign_detach(assigned->attachment);
    if (assigned->device)
        viommu_soft_device_remove(assigned->device);
    assigned->attachment = NULL;
    assigned->device = NULL;
}

unsigned int vmm_assigned_pasid_bits(const struct vmm_assigned *assigned)
{
    const struct viommu_host_hw_info *info =
        viommu_host_device_info(viommu_assigned_device_host_device(assigned->attachment));

    if (!(viommu_pci_device_get_viommu_cap(assigned->fn->viommu) & VIOMMU_CAP_PASID))
        return 0;
    return info->max_pasid_log2 < 20 ? info->max_pasid_log2 : 20;
}
