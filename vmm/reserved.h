/* SPDX-License-Identifier: MIT */
/*
 * Memory that a device uses by itself, without a driver that tells it to: at the end of low RAM,
 * reserved in the guest's memory map, and an RMRR of the DMAR when the device is behind a vIOMMU.
 * A guest keeps it mapped one to one for the device.
 */
#ifndef VMM_RESERVED_H
#define VMM_RESERVED_H

#include <stdint.h>
#include <viommu/error.h>

struct vmm;
struct vmm_pci_function;

#define VMM_RESERVED_MAX 8u
#define VMM_RESERVED_SIZE_MAX                                                                      \
    (UINT64_C(64) << 20) /* of one, and never a half of low RAM in all                             \
                          */

struct vmm_reserved {
    const struct vmm_pci_function *fn;
    uint64_t base;
    uint64_t size;
};

/* `size` bytes, a multiple of 4096, for this function, before the first vCPU thread exists. */
int vmm_reserve(const struct vmm_pci_function *fn, uint64_t size, uint64_t *base,
                struct viommu_error *err);

/* Give back what was reserved for this function last. */
void vmm_unreserve(const struct vmm_pci_function *fn);

/* Where RAM ends that the guest may use as it likes, below 4 GiB. */
uint64_t vmm_low_ram_end(const struct vmm *vm);

#endif
