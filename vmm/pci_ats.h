/* SPDX-License-Identifier: MIT */
/*
 * The extended capabilities of a function that translates its own addresses: PASID, Address
 * Translation Services and the Page Request Interface (PCI Express 6.0, 7.8.9, 10.5.1 and 10.5.2).
 * What they switch is the device's to obey: it asks here before each request.
 */
#ifndef VMM_PCI_ATS_H
#define VMM_PCI_ATS_H

#include <stdbool.h>
#include <stdint.h>

struct viommu_assigned_device;
struct vmm_pci_function;

/* Bytes that the capabilities take. */
#define VMM_PCI_SERVICES_SIZE 32u

/* Outstanding page requests that a function offers to have (Page Request Capacity). */
#define VMM_PCI_PRI_CAPACITY 32u

/* Which of the capabilities a function has. */
struct vmm_pci_services {
    unsigned int pasid_bits; /* 0: no PASIDs; else 1..20 */
    bool ats;
    bool pri; /* only with ats */
};

/*
 * Add them to a PCIe function that is not registered yet. The capabilities are watched: the
 * device's config_write then looks at what is enabled now.
 */
void vmm_pci_add_services(struct vmm_pci_function *fn, const struct vmm_pci_services *services);

/*
 * Take from `services`, which are the device's own, what an assigned function may not show its
 * guest: what its vIOMMU is not configured for, and what the host has not.
 */
void vmm_pci_limit_services(struct vmm_pci_services *services, const struct vmm_pci_function *fn,
                            const struct viommu_assigned_device *attachment);

/* What the guest has enabled; without the capability nothing. Any thread. */
bool vmm_pci_pasid_enabled(struct vmm_pci_function *fn);
bool vmm_pci_ats_enabled(struct vmm_pci_function *fn);
bool vmm_pci_pri_enabled(struct vmm_pci_function *fn);

/*
 * Page requests that may be outstanding at this moment: what the guest allows, as far as we are
 * capable; 0 while the interface is off, or until it is reset after a response that was a failure.
 */
uint32_t vmm_pci_pri_allowed(struct vmm_pci_function *fn);

/* Whether the guest's last write asked for a reset of the interface; the bit reads as 0 again. */
bool vmm_pci_pri_take_reset(struct vmm_pci_function *fn);

/* The status register: the two errors, until the guest clears them, and "stopped". */
void vmm_pci_pri_set_response_failure(struct vmm_pci_function *fn);
void vmm_pci_pri_set_unexpected_index(struct vmm_pci_function *fn);
void vmm_pci_pri_set_stopped(struct vmm_pci_function *fn, bool stopped);
void vmm_pci_pri_clear_errors(struct vmm_pci_function *fn);

/* After a write, for a function whose page requests we do not see: the status register follows. */
void vmm_pci_pri_follow(struct vmm_pci_function *fn);

#endif
