/* SPDX-License-Identifier: MIT */
/*
 * The library's objects in this machine: guest memory, PCI topology, vIOMMU and simulated host.
 */
#ifndef VMM_LIBRARY_H
#define VMM_LIBRARY_H

#include <viommu/error.h>

struct vmm;

/* Create what --viommu and --host ask for; the root buses exist and are protected afterwards. */
int vmm_library_create(struct vmm *vm, struct viommu_error *err);

/* Reset the machine's IOMMUs; the devices are quiet already. All attachments stay. */
void vmm_library_reset(struct vmm *vm);

/* After all devices are gone. */
void vmm_library_destroy(struct vmm *vm);

/* --stats: every counter of the vIOMMUs and of the host, to standard error. */
void vmm_library_print_stats(struct vmm *vm);

#endif
