/* SPDX-License-Identifier: MIT */
/* The edu device as a PCI function, emulated or assigned from the simulated host. */
#ifndef VMM_EDU_PCI_H
#define VMM_EDU_PCI_H

#include <viommu/error.h>

struct vmm;

#define VMM_EDU_ARGUMENTS                                                                          \
    "assign=soft,iommu=N,segment=N,rmrr=SIZE,dma-mask=MASK,pasid=on|off,ats=on|off,pri=on|off"

/*
 * --device edu[,KEY=VALUE]...; see struct vmm_device_kind. rmrr: bytes of memory that are mapped
 * for it one to one whatever the driver does. pasid, ats, pri: PCI capabilities, which bring the
 * copy engine of copier.h.
 */
int vmm_edu_create(struct vmm *vm, const char *arguments, struct viommu_error *err);
int vmm_edu_check(const char *arguments, struct viommu_error *err);

#endif
