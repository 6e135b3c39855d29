/* SPDX-License-Identifier: MIT */
/* A function with a device TLB, which writes down what it is told. */
#ifndef SPEC_ATS_DEVICE_H
#define SPEC_ATS_DEVICE_H

#include "guest_tables.h"

#define ATS_DEVICE_MAX 64

struct ats_device {
    struct guest *guest;
    struct viommu_pci_device *function;
    int answer; /* of the next invalidations */
    struct viommu_pci_tlb_invalidation told[ATS_DEVICE_MAX];
    unsigned int told_count; /* may exceed the maximum; the first ones are kept */
    struct viommu_pci_page_response responses[ATS_DEVICE_MAX];
    unsigned int response_count;
};

/* Register machine.device[index]. */
void ats_device_create(struct ats_device *device, struct guest *guest, unsigned int index);
void ats_device_destroy(struct ats_device *device);

/* A translation request for one page succeeds with exactly these permissions, and no fault is
 * recorded. Returns the result for more checks. */
struct viommu_dma_result ats_translates(struct guest *guest, const struct guest_dma *dma,
                                        uint8_t permissions);

#endif
