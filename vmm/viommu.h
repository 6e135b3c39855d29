/* SPDX-License-Identifier: MIT */
/*
 * The library's objects in this machine: guest memory, PCI topology, vIOMMU and simulated host.
 */
#ifndef VMM_VIOMMU_H
#define VMM_VIOMMU_H

#include <viommu/error.h>

struct vmm;

/* Create what --viommu and --host ask for; the root bus exists and is protected afterwards. */
int vmm_viommu_create(struct vmm *vm, struct viommu_error *err);

/* After all devices are gone. */
void vmm_viommu_destroy(struct vmm *vm);

/* --stats: every counter of the vIOMMU and of the host, to standard error. */
void vmm_viommu_print_stats(struct vmm *vm);

#endif
