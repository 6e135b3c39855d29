/* SPDX-License-Identifier: MIT */
#include "dma.h"
#include "pci.h"
#include "vmm.h"
#include <errno.h>
#include <viommu/ats.h>
#include <viommu/dma.h>
#include <viommu/memory.h>
#include <viommu/pci.h>

static struct viommu_dma_request request_for(uint64_t address, uint64_t length)
{
    struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;

    request.address = address;
    request.length = length;
    return request;
}

int vmm_dma_read_by_request(const struct vmm_dma *dma, uint64_t address, void *buffer,
                            uint64_t length)
{
    const struct viommu_dma_request request = request_for(address, length);

    return dma->read_request(dma, &request, buffer);
}

int vmm_dma_write_by_request(const struct vmm_dma *dma, uint64_t address, const void *buffer,
                             uint64_t length)
{
    const struct viommu_dma_request request = request_for(address, length);

    return dma->write_request(dma, &request, buffer);
}

static const struct vmm_function_dma *function_dma(const struct vmm_dma *dma)
{
    return vmm_container_of(dma, const struct vmm_function_dma, dma);
}

/* The request as it arrives; false while the function is no bus master. */
static bool as_it_arrives(const struct vmm_function_dma *dma,
                          const struct viommu_dma_request *request, struct viommu_dma_request *out)
{
    *out = *request;
    out->requester_id = dma->requester_id;
    return vmm_pci_bus_master(dma->fn);
}

static int function_read_request(const struct vmm_dma *dma,
                                 const struct viommu_dma_request *request, void *buffer)
{
    const struct vmm_function_dma *function = function_dma(dma);
    struct viommu_dma_request arriving;
    struct viommu_dma_result result;

    if (!as_it_arrives(function, request, &arriving))
        return -EPERM;
    return viommu_dma_read(function->space, &arriving, buffer, &result);
}

static int function_write_request(const struct vmm_dma *dma,
                                  const struct viommu_dma_request *request, const void *buffer)
{
    const struct vmm_function_dma *function = function_dma(dma);
    struct viommu_dma_request arriving;
    struct viommu_dma_result result;

    if (!as_it_arrives(function, request, &arriving))
        return -EPERM;
    return viommu_dma_write(function->space, &arriving, buffer, &result);
}

static int function_translate(const struct vmm_dma *dma, const struct viommu_dma_request *request,
                              struct viommu_dma_result *result)
{
    const struct vmm_function_dma *function = function_dma(dma);
    struct viommu_dma_request arriving;

    if (!as_it_arrives(function, request, &arriving))
        return -EPERM;
    return viommu_dma_translate(function->space, &arriving, result);
}

static int function_set_ats(const struct vmm_dma *dma, const struct viommu_pci_ats_ops *ops,
                            void *opaque, struct viommu_error *err)
{
    return viommu_pci_device_set_ats(function_dma(dma)->fn->viommu, ops, opaque, err);
}

static void function_unset_ats(const struct vmm_dma *dma)
{
    viommu_pci_device_unset_ats(function_dma(dma)->fn->viommu);
}

static int function_page_request(const struct vmm_dma *dma,
                                 const struct viommu_pci_page_request *request)
{
    return viommu_pci_device_page_request(function_dma(dma)->fn->viommu, request);
}

/* The guest's unit remembers none: a late answer comes, and the device does not expect it. */
static void function_forget_page_requests(const struct vmm_dma *dma)
{
    (void)dma;
}

static int plain_read(const struct vmm_dma *dma, uint64_t address, void *buffer, uint64_t length)
{
    const struct vmm_pci_function *fn = function_dma(dma)->fn;

    if (!vmm_pci_bus_master(fn))
        return -EPERM;
    return viommu_memory_read(fn->vm->memory, address, buffer, length);
}

static int plain_write(const struct vmm_dma *dma, uint64_t address, const void *buffer,
                       uint64_t length)
{
    const struct vmm_pci_function *fn = function_dma(dma)->fn;

    if (!vmm_pci_bus_master(fn))
        return -EPERM;
    return viommu_memory_write(fn->vm->memory, address, buffer, length);
}

int vmm_function_dma_init(struct vmm_function_dma *out, struct vmm_pci_function *fn,
                          struct viommu_error *err)
{
    out->dma.read = vmm_dma_read_by_request;
    out->dma.write = vmm_dma_write_by_request;
    out->dma.read_request = function_read_request;
    out->dma.write_request = function_write_request;
    out->dma.translate = function_translate;
    out->dma.set_ats = function_set_ats;
    out->dma.unset_ats = function_unset_ats;
    out->dma.page_request = function_page_request;
    out->dma.forget_page_requests = function_forget_page_requests;
    out->fn = fn;
    out->requester_id = viommu_pci_device_alias(fn->viommu).requester_id;
    out->space = viommu_pci_device_get_address_space(fn->viommu);
    if (!out->space)
        return vmm_fail(err, ENOMEM, "%s: there is no memory for its DMA address space",
                        fn->id.name);
    return 0;
}

void vmm_function_dma_init_plain(struct vmm_function_dma *out, struct vmm_pci_function *fn)
{
    out->dma = (struct vmm_dma){0};
    out->dma.read = plain_read;
    out->dma.write = plain_write;
    out->fn = fn;
    out->requester_id = vmm_pci_requester_id(fn);
    out->space = NULL;
}
