/* SPDX-License-Identifier: MIT */
/* What the topology and the IOMMU hooks share. */
#ifndef PCI_PCI_H
#define PCI_PCI_H

#include <pthread.h>
#include <sys/queue.h>
#include <viommu/ats.h>
#include <viommu/interrupt.h>

#define PCI_FUNCTIONS 256 /* of one bus */

/* An IOMMU that a bus or a function carries, for itself and all below it. Under lock. */
struct pci_carried {
    struct viommu_pci_iommu_ops ops; /* get_address_space NULL: carries none */
    void *opaque;
};

struct viommu_pci_bus {
    struct viommu_pci *pci;
    struct viommu_pci_device *bridge; /* above this bus; NULL: a root bus */
    enum viommu_pci_bridge kind;      /* of that bridge */
    uint16_t segment;
    uint8_t number; /* under lock when not a root bus */
    struct pci_carried iommu;
    struct viommu_pci_device *devices[PCI_FUNCTIONS]; /* by devfn; under lock */
    TAILQ_ENTRY(viommu_pci_bus) link;                 /* root buses */
};

/* What protects a function, and the IDs it is known by there. */
struct pci_protection {
    struct pci_carried iommu; /* all NULL: nothing */
    struct viommu_pci_id id;
    struct viommu_pci_id alias;
};

struct viommu_pci_device {
    struct viommu_pci_bus *bus;
    struct viommu_pci_bus *secondary; /* the bus behind a bridge, else NULL */
    uint8_t devfn;
    bool bypass;
    struct pci_carried iommu; /* of this function and what is behind it; goes before the bus's */
    /* Under changes. While host_device is set: whom it was handed to, and the IDs told last. */
    struct viommu_host_device *host_device;
    struct pci_protection handed;
    /* Under changes, and as it is while the owner of the device uses it. */
    bool has_ats;
    struct viommu_pci_ats ats;
    struct pci_protection ats_handed; /* as `handed`, for ats */
    char name[];
};

/*
 * `lock` makes the getters safe against a change of the topology elsewhere in it. It is never held
 * while an IOMMU's callback runs. `changes` is, and keeps numbers and IOMMUs as they are while host
 * devices come and go. It is taken before `lock`, and before anything of an IOMMU.
 */
struct viommu_pci {
    struct viommu_dma_space *plain;
    pthread_mutex_t changes;
    pthread_mutex_t lock;
    TAILQ_HEAD(, viommu_pci_bus) roots;
};

/* Under lock. */
struct viommu_pci_id pci_device_id_locked(const struct viommu_pci_device *device);
struct viommu_pci_id pci_device_alias_locked(const struct viommu_pci_device *device);

/* iommu.c. A message that no IOMMU remaps. */
void pci_interrupt_pass(uint64_t address, uint32_t data, uint32_t flags,
                        viommu_interrupt_deliver_fn *deliver, void *opaque,
                        struct viommu_interrupt *out);

/* iommu.c. Under changes, without lock: the function's host device and ATS are unset, when it has
 * them; and those at and below a bus are told of their IDs, where they are new. */
void pci_device_release(struct viommu_pci_device *device);
void pci_bus_renumbered(struct viommu_pci_bus *bus);
/* What protects a function, all of one moment. */
struct pci_protection pci_protection_find(const struct viommu_pci_device *device);

/* ats.c. Under changes, without lock. */
void pci_ats_release(struct viommu_pci_device *device);
void pci_ats_renumbered(struct viommu_pci_device *device);

#endif
