/* SPDX-License-Identifier: MIT */
/* Functions and bridges that cannot fail to be added, and pointers that PCI hands through. */
#ifndef UNIT_PCI_TREE_H
#define UNIT_PCI_TREE_H

#include <viommu/pci.h>

#include "unit.h"

/* The wrappers never look inside. */
static struct viommu_dma_space *const plain = (struct viommu_dma_space *)0x1000;
static struct viommu_host_device *const host_device = (struct viommu_host_device *)0x3000;

static inline struct viommu_pci_device *add(struct viommu_pci_bus *bus, uint8_t devfn)
{
    struct viommu_pci_device *device;

    assert_int_equal(viommu_pci_device_add(bus, devfn, NULL, &device, NULL), 0);
    return device;
}

/* Returns the bus below. device: receives the bridge, or NULL. */
static inline struct viommu_pci_bus *bridge(struct viommu_pci_bus *bus, uint8_t devfn,
                                            enum viommu_pci_bridge kind, uint8_t secondary,
                                            struct viommu_pci_device **device)
{
    struct viommu_pci_bus *below;

    assert_int_equal(viommu_pci_bridge_add(bus, devfn, kind, secondary, device, &below, NULL), 0);
    return below;
}

/* A topology with a root bus 00 of segment 0. */
static inline void tree_create(struct viommu_pci **pci, struct viommu_pci_bus **root)
{
    assert_int_equal(viommu_pci_create(pci, plain, NULL), 0);
    assert_int_equal(viommu_pci_root_bus_add(*pci, 0, 0, root, NULL), 0);
}

#endif
