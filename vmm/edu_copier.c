/* SPDX-License-Identifier: MIT */
#include "edu_copier.h"
#include "dma.h"
#include "pci.h"
#include "pci_ats.h"
#include <errno.h>
#include <viommu/ats.h>
#include <viommu/dma.h>

static struct vmm_edu_copier *function_of(struct vmm_copier *copier)
{
    return vmm_container_of(copier, struct vmm_edu_copier, copier);
}

static struct viommu_dma_request make_request(uint32_t pasid, uint64_t address, uint64_t length,
                                              uint8_t access)
{
    struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;

    request.address = address;
    request.length = length;
    request.pasid = pasid;
    request.access = access;
    return request;
}

static bool copier_pasid_enabled(struct vmm_copier *copier)
{
    return vmm_pci_pasid_enabled(function_of(copier)->fn);
}

static bool copier_ats_enabled(struct vmm_copier *copier)
{
    return vmm_pci_ats_enabled(function_of(copier)->fn);
}

static uint32_t copier_page_requests_allowed(struct vmm_copier *copier)
{
    return vmm_pci_pri_allowed(function_of(copier)->fn);
}

static int copier_translate(struct vmm_copier *copier, uint32_t pasid, uint64_t address,
                            uint8_t access, struct vmm_atc_entry *out)
{
    const struct vmm_dma *dma = function_of(copier)->dma;
    uint64_t page = address & ~(uint64_t)(VMM_ATC_PAGE_SIZE - 1);
    struct viommu_dma_request request = make_request(pasid, page, VMM_ATC_PAGE_SIZE, access);
    struct viommu_dma_result result;
    int ret;

    request.type = VIOMMU_DMA_TRANSLATION_REQUEST;
    ret = dma->translate(dma, &request, &result);
    if (ret)
        return ret;
    out->permissions = result.permissions & (VIOMMU_DMA_READ | VIOMMU_DMA_WRITE);
    out->translated = result.gpa;
    out->untranslated = result.flags & VIOMMU_DMA_FLAG_UNTRANSLATED_ONLY;
    return 0;
}

static struct viommu_dma_request access_request(uint32_t pasid, bool translated, uint64_t address,
                                                size_t length, uint8_t access)
{
    struct viommu_dma_request request = make_request(pasid, address, length, access);

    if (translated)
        request.type = VIOMMU_DMA_TRANSLATED;
    return request;
}

static int copier_read(struct vmm_copier *copier, uint32_t pasid, bool translated, uint64_t address,
                       void *buffer, size_t length)
{
    const struct vmm_dma *dma = function_of(copier)->dma;
    struct viommu_dma_request request =
        access_request(pasid, translated, address, length, VIOMMU_DMA_READ);

    return dma->read_request(dma, &request, buffer);
}

static int copier_write(struct vmm_copier *copier, uint32_t pasid, bool translated,
                        uint64_t address, const void *buffer, size_t length)
{
    const struct vmm_dma *dma = function_of(copier)->dma;
    struct viommu_dma_request request =
        access_request(pasid, translated, address, length, VIOMMU_DMA_WRITE);

    return dma->write_request(dma, &request, buffer);
}

static int copier_page_request(struct vmm_copier *copier, uint32_t pasid, uint64_t page,
                               uint8_t access, uint16_t group, bool last)
{
    struct viommu_pci_page_request request = VIOMMU_PCI_PAGE_REQUEST_INIT;
    const struct vmm_dma *dma = function_of(copier)->dma;

    request.address = page;
    request.pasid = pasid;
    request.access = access;
    request.group = group;
    request.last = last;
    return dma->page_request(dma, &request);
}

static void copier_response_failed(struct vmm_copier *copier)
{
    vmm_pci_pri_set_response_failure(function_of(copier)->fn);
}

static void copier_response_unexpected(struct vmm_copier *copier)
{
    vmm_pci_pri_set_unexpected_index(function_of(copier)->fn);
}

static void copier_quiet(struct vmm_copier *copier)
{
    struct vmm_pci_function *fn = function_of(copier)->fn;

    if (!vmm_pci_pri_enabled(fn))
        vmm_pci_pri_set_stopped(fn, true);
}

static void copier_interrupt(struct vmm_copier *copier)
{
    vmm_pci_notify(function_of(copier)->fn, 0);
}

static const struct vmm_copier_ops copier_ops = {
    .pasid_enabled = copier_pasid_enabled,
    .ats_enabled = copier_ats_enabled,
    .page_requests_allowed = copier_page_requests_allowed,
    .translate = copier_translate,
    .read = copier_read,
    .write = copier_write,
    .page_request = copier_page_request,
    .response_failed = copier_response_failed,
    .response_unexpected = copier_response_unexpected,
    .quiet = copier_quiet,
    .interrupt = copier_interrupt,
};

/*
 * A device may forget more than it must. One that names no PASID empties it of all: Linux, since
 * 6.10, says so that a whole address space is flushed, as after fork()
 * (cache_tag_flush_devtlb_all).
 */
static int tlb_invalidate(void *opaque, const struct viommu_pci_tlb_invalidation *what)
{
    const struct vmm_atc_range range = {
        .address = what->length ? what->address : 0,
        .last = what->length ? what->address + (what->length - 1) : UINT64_MAX,
        .pasid = what->pasid,
        .global = what->global || what->pasid == VIOMMU_PASID_NONE,
    };

    vmm_copier_invalidate(opaque, &range);
    return 0;
}

static void tlb_page_response(void *opaque, const struct viommu_pci_page_response *response)
{
    vmm_copier_page_response(opaque, response->pasid, response->group, response->code);
}

static const struct viommu_pci_ats_ops tlb_ops = {
    .size = sizeof(tlb_ops),
    .invalidate = tlb_invalidate,
    .page_response = tlb_page_response,
};

int vmm_edu_copier_init(struct vmm_edu_copier *copier, struct vmm_pci_function *fn,
                        const struct vmm_dma *dma, const struct vmm_pci_services *services,
                        struct viommu_error *err)
{
    int ret;

    if (!services->pasid_bits && !services->ats)
        return 0;
    copier->fn = fn;
    copier->dma = dma;
    ret = vmm_copier_init(&copier->copier, &copier_ops, err);
    if (ret)
        return ret;
    copier->present = true;
    if (services->ats)
        ret = dma->set_ats(dma, &tlb_ops, &copier->copier, err);
    copier->known = services->ats && !ret;
    if (ret)
        vmm_edu_copier_fini(copier);
    else
        vmm_pci_add_services(fn, services);
    return ret;
}

void vmm_edu_copier_disconnect(struct vmm_edu_copier *copier)
{
    if (!copier->present)
        return;
    vmm_copier_stop(&copier->copier);
    if (copier->known)
        copier->dma->unset_ats(copier->dma);
    copier->known = false;
}

void vmm_edu_copier_fini(struct vmm_edu_copier *copier)
{
    if (!copier->present)
        return;
    vmm_edu_copier_disconnect(copier);
    vmm_copier_fini(&copier->copier);
    copier->present = false;
}

void vmm_edu_copier_reset(struct vmm_edu_copier *copier)
{
    if (!copier->present)
        return;
    vmm_copier_reset(&copier->copier);
    if (copier->known)
        copier->dma->forget_page_requests(copier->dma);
}

bool vmm_edu_copier_decodes(const struct vmm_edu_copier *copier, uint64_t offset)
{
    return copier->present && offset - VMM_EDU_COPIER_ADDRESS < VMM_COPIER_SIZE;
}

void vmm_edu_copier_config_written(struct vmm_edu_copier *copier)
{
    struct vmm_pci_function *fn = copier->fn;
    bool enabled = vmm_pci_pri_enabled(fn);

    if (!vmm_pci_ats_enabled(fn))
        vmm_copier_forget_translations(&copier->copier);
    if (vmm_pci_pri_take_reset(fn) && !enabled) {
        vmm_copier_forget_page_requests(&copier->copier);
        copier->dma->forget_page_requests(copier->dma);
        vmm_pci_pri_clear_errors(fn);
    }
    if (enabled || vmm_copier_is_quiet(&copier->copier))
        vmm_pci_pri_set_stopped(fn, !enabled);
}
