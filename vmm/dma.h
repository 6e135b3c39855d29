/* SPDX-License-Identifier: MIT */
/*
 * How a device model reaches guest memory. Which way a request goes (through the IOMMU of the
 * function, past it, or through a host's IOMMU) is the choice of whoever fills in the two calls;
 * a test fills in calls of its own.
 */
#ifndef VMM_DMA_H
#define VMM_DMA_H

#include <stdint.h>

struct viommu_dma_request;
struct viommu_dma_result;
struct viommu_dma_space;
struct viommu_pci_ats_ops;
struct viommu_pci_page_request;
struct vmm_pci_function;
struct viommu_error;

/*
 * The calls return 0 or a negative errno; a write that fails may have moved the bytes before the
 * failing page. Any thread, and with the device's own lock held.
 */
struct vmm_dma {
    int (*read)(const struct vmm_dma *dma, uint64_t address, void *buffer, uint64_t length);
    int (*write)(const struct vmm_dma *dma, uint64_t address, const void *buffer, uint64_t length);
    /*
     * For devices whose requests carry PASIDs, or addresses that they translated themselves:
     * address, length, PASID, access and type are the request's, the requester ID is filled in.
     */
    int (*read_request)(const struct vmm_dma *dma, const struct viommu_dma_request *request,
                        void *buffer);
    int (*write_request)(const struct vmm_dma *dma, const struct viommu_dma_request *request,
                         const void *buffer);
    int (*translate)(const struct vmm_dma *dma, const struct viommu_dma_request *request,
                     struct viommu_dma_result *result);
    /*
     * For devices with a device TLB (viommu/ats.h): `ops` tell what it is to forget, until
     * unset_ats() has returned. Not with a lock held that a callback takes.
     */
    int (*set_ats)(const struct vmm_dma *dma, const struct viommu_pci_ats_ops *ops, void *opaque,
                   struct viommu_error *err);
    void (*unset_ats)(const struct vmm_dma *dma);
    int (*page_request)(const struct vmm_dma *dma, const struct viommu_pci_page_request *request);
    /* The function, or its page request interface, was reset: it waits for no answer. As
     * unset_ats(). */
    void (*forget_page_requests)(const struct vmm_dma *dma);
};

/*
 * vmm_dma.read and .write by way of .read_request and .write_request: untranslated requests without
 * PASID.
 */
int vmm_dma_read_by_request(const struct vmm_dma *dma, uint64_t address, void *buffer,
                            uint64_t length);
int vmm_dma_write_by_request(const struct vmm_dma *dma, uint64_t address, const void *buffer,
                             uint64_t length);

/* The DMA of a PCI function; it is refused while the guest has bus mastering switched off. */
struct vmm_function_dma {
    struct vmm_dma dma;
    struct vmm_pci_function *fn;
    struct viommu_dma_space *space;
    uint16_t requester_id; /* as it arrives at the root complex */
};

/* Requests go to the address space that the function's bus gives it. -ENOMEM. */
int vmm_function_dma_init(struct vmm_function_dma *out, struct vmm_pci_function *fn,
                          struct viommu_error *err);

/* Requests carry guest physical addresses, whatever IOMMU protects the bus. */
void vmm_function_dma_init_plain(struct vmm_function_dma *out, struct vmm_pci_function *fn);

#endif
