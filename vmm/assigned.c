/* SPDX-License-Identifier: MIT */
#include "assigned.h"
#include "pci.h"
#include "vmm.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
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

static int assigned_translate(const struct vmm_dma *dma, const struct viommu_dma_request *request,
                              struct viommu_dma_result *result)
{
    const struct vmm_assigned *assigned = assigned_of(dma);

    if (!vmm_pci_bus_master(assigned->fn))
        return -EPERM;
    return viommu_soft_device_translate(assigned->device, request, result);
}

static int assigned_set_ats(const struct vmm_dma *dma, const struct viommu_pci_ats_ops *ops,
                            void *opaque, struct viommu_error *err)
{
    return viommu_soft_device_set_ats(assigned_of(dma)->device, ops, opaque, err);
}

static void assigned_unset_ats(const struct vmm_dma *dma)
{
    viommu_soft_device_unset_ats(assigned_of(dma)->device);
}

static int assigned_page_request(const struct vmm_dma *dma,
                                 const struct viommu_pci_page_request *request)
{
    return viommu_soft_device_page_request(assigned_of(dma)->device, request);
}

static void assigned_forget_page_requests(const struct vmm_dma *dma)
{
    viommu_soft_device_reset(assigned_of(dma)->device);
}

static const struct vmm_dma assigned_dma = {
    .read = vmm_dma_read_by_request,
    .write = vmm_dma_write_by_request,
    .read_request = assigned_read_request,
    .write_request = assigned_write_request,
    .translate = assigned_translate,
    .set_ats = assigned_set_ats,
    .unset_ats = assigned_unset_ats,
    .page_request = assigned_page_request,
    .forget_page_requests = assigned_forget_page_requests,
};

static int watch(struct vmm_assigned *assigned, struct viommu_error *err)
{
    int ret = vmm_pci_loss_create(&assigned->loss, assigned->fn, VMM_PCI_LOSS_BY_HOST);

    if (ret)
        return vmm_fail(err, -ret, "%s: nothing can wait for its loss: %s", assigned->fn->id.name,
                        strerror(-ret));
    vmm_pci_loss_listen(&assigned->loss, assigned->attachment);
    return 0;
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
    assigned->dma = assigned_dma;
    assigned->fn = fn;
    snprintf(name, sizeof(name), "%04x:%02x:%02x.%x", fn->id.segment, HOST_BUS, fn->devfn >> 3,
             fn->devfn & 7);
    ret = viommu_soft_device_add(vm->host, name, assigned->iommu, &assigned->device, err);
    if (ret)
        return ret;
    ret = viommu_assign_attach(vm->assign, fn->viommu, name, &assigned->attachment, err);
    if (!ret)
        ret = watch(assigned, err);
    if (ret)
        vmm_assigned_detach(assigned);
    return ret;
}

static void remove_device(struct vmm_assigned *assigned)
{
    viommu_soft_device_remove(assigned->device);
    assigned->device = NULL;
}

static void detach(struct vmm_assigned *assigned)
{
    if (!assigned->attachment)
        return;
    vmm_pci_loss_ignore(assigned->attachment);
    viommu_assign_detach(assigned->attachment);
    assigned->attachment = NULL;
}

void vmm_assigned_detach(struct vmm_assigned *assigned)
{
    detach(assigned);
    remove_device(assigned);
    vmm_pci_loss_destroy(&assigned->loss);
}

void vmm_assigned_lose(struct vmm_assigned *assigned)
{
    remove_device(assigned);
    detach(assigned);
}
