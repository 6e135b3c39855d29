/* SPDX-License-Identifier: MIT */
/* The edu device as a PCI function, emulated or assigned from the simulated host. */
#ifndef VMM_EDU_PCI_H
#define VMM_EDU_PCI_H

#include <viommu/error.h>

struct vmm;

#define VMM_EDU_ARGUMENTS "assign=soft,dma-mask=MASK"

/* --device edu[,assign=soft][,dma-mask=MASK]; see struct vmm_device_kind. */
int vmm_edu_create(struct vmm *vm, const char *arguments, struct viommu_error *err);

#endif
