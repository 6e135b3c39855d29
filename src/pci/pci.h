/* SPDX-License-Identifier: MIT */
/* What the topology and the IOMMU hooks share. */
#ifndef PCI_PCI_H
#define PCI_PCI_H

#include <pthread.h>
#include <sys/queue.h>
#include <viommu/pci.h>

#define PCI_FUNCTIONS 256 /* of one bus */

struct viommu_pci_bus {
    struct viommu_pci *pci;
    struct viommu_pci_device *bridge; /* above this bus; NULL: a root bus */
    enum viommu_pci_bridge kind;      /* of that bridge */
    uint16_t segment;
    uint8_t number;                  /* under lock when not a root bus */
    struct viommu_pci_iommu_ops ops; /* get_address_space NULL: carries no IOMMU; under lock */
    void *opaque;
    struct viommu_pci_device *devices[PCI_FUNCTIONS]; /* by devfn; under lock */
    TAILQ_ENTRY(viommu_pci_bus) link;                 /* root buses */
};

struct viommu_pci_device {
    struct viommu_pci_bus *bus;
    struct viommu_pci_bus *secondary; /* the bus behind a bridge, else NULL */
    uint8_t devfn;
    bool bypass;
    char name[];
};

struct viommu_pci {
    struct viommu_dma_space *plain;
    pthread_mutex_t lock;
    TAILQ_HEAD(, viommu_pci_bus) roots;
};

/* Under lock. */
struct viommu_pci_id pci_device_id_locked(const struct viommu_pci_device *device);
struct viommu_pci_id pci_device_alias_locked(const struct viommu_pci_device *device);

#endif
