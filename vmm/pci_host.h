/* SPDX-License-Identifier: MIT */
/*
 * What the machine needs of the PCI host bridge; devices use pci.h.
 */
#ifndef VMM_PCI_HOST_H
#define VMM_PCI_HOST_H

#include <viommu/error.h>

struct vmm;

/* Create the host bridge and function 00:00.0, with ECAM and ports CF8/CFC; sets vm->pci. */
int vmm_pci_host_create(struct vmm *vm, struct viommu_error *err);

/* Destroy all functions, the last one first, and the host bridge. All vCPU threads are gone. */
void vmm_pci_host_destroy(struct vmm *vm);

#endif
