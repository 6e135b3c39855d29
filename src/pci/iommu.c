/* SPDX-License-Identifier: MIT */
/* The IOMMU that a bus carries: the hooks, and their wrappers, which have an answer for everybody.
 */
#include <errno.h>

#include "base/error.h"
#include "pci/pci.h"

int viommu_pci_bus_set_iommu(struct viommu_pci_bus *bus, const struct viommu_pci_iommu_ops *ops,
                             void *opaque, struct viommu_error *error)
{
    struct viommu_pci_iommu_ops copy = {0};
    int ret = 0;

    if (ops) {
        ret = error_copy_options(&copy, sizeof(copy), ops, "PCI IOMMU ops", error);
        if (ret)
            return ret;
        if (!copy.get_address_space)
            return error_set(error, -EINVAL,
                             "the IOMMU ops for PCI bus %04x:%02x have no get_address_space, "
                             "which is mandatory",
                             bus->segment, bus->number);
    }
    pthread_mutex_lock(&bus->pci->lock);
    if (ops && bus->ops.get_address_space) {
        ret = -EBUSY;
    } else {
        bus->ops = copy;
        bus->opaque = opaque;
    }
    pthread_mutex_unlock(&bus->pci->lock);
    if (ret)
        return error_set(error, ret, "PCI bus %04x:%02x has an IOMMU already; take that away first",
                         bus->segment, bus->number);
    return 0;
}

/* What protects a function, and the IDs it is known by there, all of one moment. */
struct protection {
    struct viommu_pci_iommu_ops ops; /* all NULL: nothing */
    void *opaque;
    struct viommu_pci_id id;
    struct viommu_pci_id alias;
};

static struct protection find_protection(const struct viommu_pci_device *device)
{
    struct viommu_pci *pci = device->bus->pci;
    struct protection found = {0};
    const struct viommu_pci_bus *bus = device->bus;

    if (device->bypass)
        return found;
    pthread_mutex_lock(&pci->lock);
    while (!bus->ops.get_address_space && bus->bridge)
        bus = bus->bridge->bus;
    found.ops = bus->ops;
    found.opaque = bus->opaque;
    found.id = pci_device_id_locked(device);
    found.alias = pci_device_alias_locked(device);
    pthread_mutex_unlock(&pci->lock);
    return found;
}

struct viommu_dma_space *viommu_pci_device_get_address_space(const struct viommu_pci_device *device)
{
    struct protection by = find_protection(device);

    if (!by.ops.get_address_space)
        return device->bus->pci->plain;
    return by.ops.get_address_space(by.opaque, by.alias);
}

uint64_t viommu_pci_device_get_viommu_cap(const struct viommu_pci_device *device)
{
    struct protection by = find_protection(device);

    return by.ops.get_viommu_cap ? by.ops.get_viommu_cap(by.opaque) : 0;
}

int viommu_pci_device_set_iommu_device(const struct viommu_pci_device *device,
                                       struct viommu_host_device *host_device,
                                       struct viommu_error *error)
{
    struct protection by = find_protection(device);

    if (!by.ops.set_iommu_device)
        return 0;
    return by.ops.set_iommu_device(by.opaque, by.id, by.alias, host_device, error);
}

void viommu_pci_device_unset_iommu_device(const struct viommu_pci_device *device)
{
    struct protection by = find_protection(device);

    if (by.ops.unset_iommu_device)
        by.ops.unset_iommu_device(by.opaque, by.id);
}
