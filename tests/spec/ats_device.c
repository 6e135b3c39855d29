/* SPDX-License-Identifier: MIT */
#include "ats_device.h"

#include <string.h>

#include "model/vtd/register_map.h"

static int invalidate(void *opaque, const struct viommu_pci_tlb_invalidation *what)
{
    struct ats_device *device = opaque;

    if (device->told_count < ATS_DEVICE_MAX)
        device->told[device->told_count] = *what;
    device->told_count++;
    return device->answer;
}

static void page_response(void *opaque, const struct viommu_pci_page_response *response)
{
    struct ats_device *device = opaque;

    if (device->response_count < ATS_DEVICE_MAX)
        device->responses[device->response_count] = *response;
    device->response_count++;
}

static const struct viommu_pci_ats_ops ops = {
    .size = sizeof(ops), .invalidate = invalidate, .page_response = page_response};

void ats_device_create(struct ats_device *device, struct guest *guest, unsigned int index)
{
    struct viommu_error error = {0};

    memset(device, 0, sizeof(*device));
    device->guest = guest;
    device->function = guest->machine.device[index];
    if (viommu_pci_device_set_ats(device->function, &ops, device, &error))
        fail_msg("%s", error.message);
}

void ats_device_destroy(struct ats_device *device)
{
    viommu_pci_device_unset_ats(device->function);
}

struct viommu_dma_result ats_translates(struct guest *guest, const struct guest_dma *dma,
                                        uint8_t permissions)
{
    struct guest_dma request = *dma;
    struct viommu_dma_result result;

    request.type = VIOMMU_DMA_TRANSLATION_REQUEST;
    if (guest_dma(guest, &request, &result))
        fail_msg("translation request at 0x%llx: %s, fault reason 0x%02x",
                 (unsigned long long)dma->address, viommu_dma_status_name(result.status),
                 result.fault_code);
    assert_int_equal(result.status, VIOMMU_DMA_OK);
    assert_int_equal(result.fault_code, 0);
    assert_int_equal(result.permissions, permissions);
    assert_false(read32(&guest->machine, VTD_FSTS) & VTD_FSTS_PPF);
    return result;
}
