/* SPDX-License-Identifier: MIT */
/* PCI devices as Linux shows them in sysfs: who drives them, which group they are in. */
#ifndef HOST_PCI_DEVICE_H
#define HOST_PCI_DEVICE_H

#include <viommu/error.h>

#include "host/sys.h"

#define HOST_PCI_ADDRESS_SIZE 16 /* "0000:01:00.0", and longer segments */

struct host_pci_device {
    char address[HOST_PCI_ADDRESS_SIZE];
    char driver[64]; /* "": none */
    char group[16];  /* number of its IOMMU group; "": none */
    char iommu[32];  /* name of its IOMMU ("dmar0"); "": not told */
    char vfio[32];   /* its VFIO character device ("vfio3"); "": none */
};

/*
 * Find a device by its address, "[segment:]bus:device.function" in hexadecimal.
 * -EINVAL (no such form), -ENODEV (no such device).
 */
int host_pci_find(const struct host_sys *sys, const char *sysfs, const char *name,
                  struct host_pci_device *device, struct viommu_error *error);

/*
 * Whether it can be given to a guest as far as sysfs tells: it is in a group, and a VFIO driver has
 * it. 0, -ENODEV (no group: no IOMMU), -EBUSY (another driver, or none, has it).
 */
int host_pci_check_usable(const struct host_pci_device *device, struct viommu_error *error);

/*
 * A device of the same group that a driver of the kernel's own uses, which makes the group not
 * viable. "": there is none. Both are as in struct host_pci_device.
 */
void host_pci_find_rival(const struct host_sys *sys, const char *sysfs,
                         const struct host_pci_device *device, struct host_pci_device *rival);

/* The address of the device that a descriptor of a VFIO character device is of; "": not told. */
void host_pci_address_of(const struct host_sys *sys, const char *sysfs, int descriptor,
                         char address[HOST_PCI_ADDRESS_SIZE]);

/* Whether its configuration space has the extended capability; false also when it is not shown. */
bool host_pci_has_extended_capability(const struct host_sys *sys, const char *sysfs,
                                      const char *address, unsigned int id);

/* A register of its IOMMU in sysfs ("intel-iommu/cap"), a hexadecimal number; false: not shown. */
bool host_pci_iommu_register(const struct host_sys *sys, const char *sysfs, const char *address,
                             const char *name, uint64_t *value);

/*
 * The last means to end a VFIO device's DMA, when the IOMMU cannot be made to refuse it: closing
 * the descriptor does not do, while somebody has the device's memory mapped. Not every device can
 * be reset.
 */
void host_pci_reset(const struct host_sys *sys, int descriptor);

/* "0x...-0x... (msi), ...": what its group reserves; "" when not told. */
void host_pci_reserved_regions(const struct host_sys *sys, const char *sysfs, const char *address,
                               char *text, size_t size);

#endif
