/* SPDX-License-Identifier: MIT */
/* The edu device as a PCI function, emulated or assigned from the simulated host. */
#ifndef VMM_EDU_PCI_H
#define VMM_EDU_PCI_H

#include <viommu/error.h>

struct vmm;

#define VMM_EDU_ARGUMENTS "assign=soft,iommu=N,segment=N,rmrr=SIZE,dma-mask=MASK"

/*
 * --device edu[,KEY=VALUE]...; see struct vmm_device_kind. rmrr: bytes of memory that are mapped
 * for it one to one whatever the driver does.
 */
int vmm_edu_create(struct vmm *vm, const char *arguments, struct viommu_error *err);

#endif
