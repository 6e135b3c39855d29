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

/*
 * Reset every function: its configuration space goes back to what it was at power-on, its DMA has
 * ended. No function decodes an address until vmm_pci_host_start().
 */
void vmm_pci_host_reset(struct vmm *vm);

/* Give all BARs addresses and enable decoding and bus mastering, as firmware does and we at first.
 */
int vmm_pci_host_start(struct vmm *vm, struct viommu_error *err);

/* Destroy all functions, the last one first, and the host bridge. All vCPU threads are gone. */
void vmm_pci_host_destroy(struct vmm *vm);

#endif
