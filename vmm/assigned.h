/* SPDX-License-Identifier: MIT */
/*
 * A device of the simulated host that is given to the guest: what its model needs to do DMA as
 * hardware would, through the host's IOMMU and without the VMM in between.
 */
#ifndef VMM_ASSIGNED_H
#define VMM_ASSIGNED_H

#include "dma.h"
#include "pci_loss.h"
#include <viommu/error.h>

struct viommu_assigned_device;
struct viommu_soft_device;
struct vmm_pci_function;

struct vmm_assigned {
    struct vmm_dma dma; /* through the host's IOMMU; refused without bus mastering */
    struct vmm_pci_function *fn;
    unsigned int iommu; /* of the host, that the device is behind; set before it is attached */
    struct viommu_soft_device *device;
    struct viommu_assigned_device *attachment;
    struct vmm_pci_loss loss; /* the host could not detach it */
};

/*
 * Plug a device into the machine's simulated host and attach it as the guest's function `fn`,
 * which has been initialized and can be unplugged, which it is when the host loses the device.
 * The sentence of a refusal is the library's, with every mismatch.
 * -EINVAL: the machine has no host, one that is not simulated, or without this IOMMU. Undo with
 * vmm_assigned_detach(), which also takes a structure of zeros.
 */
int vmm_assigned_attach(struct vmm_assigned *assigned, struct vmm_pci_function *fn,
                        struct viommu_error *err);
void vmm_assigned_detach(struct vmm_assigned *assigned);

/* The same by surprise: the device leaves the host first, while the guest's tables are bound. */
void vmm_assigned_lose(struct vmm_assigned *assigned);

#endif
