/* SPDX-License-Identifier: MIT */
/*
 * The copy engine of an edu function that has PASIDs: what QEMU's edu has not. Its two pages of
 * registers lie in BAR 0; what it may do is in the function's PASID, ATS and PRI capabilities.
 */
#ifndef VMM_EDU_COPIER_H
#define VMM_EDU_COPIER_H

#include "copier.h"

#define VMM_EDU_COPIER_ADDRESS 0x1000u /* in BAR 0 */

struct vmm_dma;
struct vmm_pci_function;
struct vmm_pci_services;

struct vmm_edu_copier {
    struct vmm_copier copier;
    struct vmm_pci_function *fn;
    const struct vmm_dma *dma; /* borrowed */
    bool present;
    bool known; /* to what is behind `dma`, as a device with a device TLB */
};

/*
 * Add the capabilities to `fn`, which is initialized and not registered, and start the engine;
 * without any capability there is none. The IOMMU is told of a device TLB. -EAGAIN, or the
 * library's refusal; then there is no engine, and vmm_edu_copier_fini() has nothing to do.
 */
int vmm_edu_copier_init(struct vmm_edu_copier *copier, struct vmm_pci_function *fn,
                        const struct vmm_dma *dma, const struct vmm_pci_services *services,
                        struct viommu_error *err);
void vmm_edu_copier_fini(struct vmm_edu_copier *copier);

/* The function is unplugged: the thread ends, the IOMMU knows of no device TLB any more. */
void vmm_edu_copier_disconnect(struct vmm_edu_copier *copier);

/* As at power-on: see vmm_copier_reset(). */
void vmm_edu_copier_reset(struct vmm_edu_copier *copier);

/* Whether an access to BAR 0 is the engine's; then offsets are its own. */
bool vmm_edu_copier_decodes(const struct vmm_edu_copier *copier, uint64_t offset);

/* The guest wrote to the capabilities. */
void vmm_edu_copier_config_written(struct vmm_edu_copier *copier);

#endif
