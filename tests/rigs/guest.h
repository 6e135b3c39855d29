/* SPDX-License-Identifier: MIT */
/* A guest with a function that a host device is assigned to, behind a vIOMMU that the rig plays. */
#ifndef RIGS_GUEST_H
#define RIGS_GUEST_H

#include <viommu.h>

struct guest {
    uint64_t cap; /* VIOMMU_CAP_*; with HW_NESTED the vIOMMU refuses what is no nesting parent */
    struct viommu_memory *memory;
    struct viommu_dma_space *space;
    struct viommu_pci *pci;
    struct viommu_pci_device *function;
    struct viommu_assign *assign;
    struct viommu_assigned_device *assigned;
};

/* Guest memory is [gpa, gpa + size) at `host`. */
int guest_begin(struct guest *guest, struct viommu_host *host, void *memory, uint64_t gpa,
                uint64_t size, uint64_t cap, struct viommu_error *error);
void guest_end(struct guest *guest);
int guest_attach(struct guest *guest, const char *name, struct viommu_error *error);
void guest_detach(struct guest *guest);

#endif
