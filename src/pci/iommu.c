/* SPDX-License-Identifier: MIT */
/* The IOMMU that a bus carries: the hooks, and their wrappers, which have an answer for everybody.
 */
#include <errno.h>

#include "base/error.h"
#include "pci/pci.h"

/* A function at or below a bus that the bus's IOMMU would protect, and that has a host device. */
static const struct viommu_pci_device *find_assigned(const struct viommu_pci_bus *bus)
{
    for (unsigned int devfn = 0; devfn < PCI_FUNCTIONS; devfn++) {
        const struct viommu_pci_device *device = bus->devices[devfn], *below = NULL;

        if (!device)
            continue;
        if (device->host_device && !device->bypass)
            return device;
        if (device->secondary && !device->secondary->ops.get_address_space)
            below = find_assigned(device->secondary);
        if (below)
            return below;
    }
    return NULL;
}

static int check_change(const struct viommu_pci_bus *bus, bool adds, struct viommu_error *error)
{
    const struct viommu_pci_device *device = NULL;
    bool carries = bus->ops.get_address_space;

    if (adds && carries)
        return error_set(error, -EBUSY,
                         "PCI bus %04x:%02x has an IOMMU already; take that away first",
                         bus->segment, bus->number);
    if (adds || carries)
        device = find_assigned(bus);
    if (device)
        return error_set(error, -EBUSY,
                         "the IOMMU of PCI bus %04x:%02x cannot be %s while function %s has a host "
                         "device; detach that first",
                         bus->segment, bus->number, adds ? "set" : "taken away", device->name);
    return 0;
}

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
    pthread_mutex_lock(&bus->pci->changes);
    ret = check_change(bus, ops, error);
    if (!ret) {
        pthread_mutex_lock(&bus->pci->lock);
        bus->ops = copy;
        bus->opaque = opaque;
        pthread_mutex_unlock(&bus->pci->lock);
    }
    pthread_mutex_unlock(&bus->pci->changes);
    return ret;
}

/* All of one moment. */
static struct pci_protection find_protection(const struct viommu_pci_device *device)
{
    struct viommu_pci *pci = device->bus->pci;
    struct pci_protection found = {0};
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
    struct pci_protection by = find_protection(device);

    if (!by.ops.get_address_space)
        return device->bus->pci->plain;
    return by.ops.get_address_space(by.opaque, by.alias);
}

uint64_t viommu_pci_device_get_viommu_cap(const struct viommu_pci_device *device)
{
    struct pci_protection by = find_protection(device);

    return by.ops.get_viommu_cap ? by.ops.get_viommu_cap(by.opaque) : 0;
}

static int set_device(struct viommu_pci_device *device, struct viommu_host_device *host_device,
                      struct viommu_error *error)
{
    struct pci_protection by = find_protection(device);
    int ret = 0;

    if (device->host_device)
        return error_set(error, -EBUSY, "function %s has a host device already; detach it first",
                         device->name);
    if (by.ops.set_iommu_device)
        ret = by.ops.set_iommu_device(by.opaque, by.id, by.alias, host_device, error);
    if (ret)
        return ret;
    device->host_device = host_device;
    device->handed = by;
    return 0;
}

int viommu_pci_device_set_iommu_device(struct viommu_pci_device *device,
                                       struct viommu_host_device *host_device,
                                       struct viommu_error *error)
{
    struct viommu_pci *pci = device->bus->pci;
    int ret;

    pthread_mutex_lock(&pci->changes);
    ret = set_device(device, host_device, error);
    pthread_mutex_unlock(&pci->changes);
    return ret;
}

void pci_device_release(struct viommu_pci_device *device)
{
    const struct pci_protection *by = &device->handed;

    if (device->host_device && by->ops.unset_iommu_device)
        by->ops.unset_iommu_device(by->opaque, by->id, device->host_device);
    device->host_device = NULL;
}

void viommu_pci_device_unset_iommu_device(struct viommu_pci_device *device)
{
    struct viommu_pci *pci = device->bus->pci;

    pthread_mutex_lock(&pci->changes);
    pci_device_release(device);
    pthread_mutex_unlock(&pci->changes);
}

static bool same_id(struct viommu_pci_id a, struct viommu_pci_id b)
{
    return a.segment == b.segment && a.requester_id == b.requester_id;
}

/* A vIOMMU that does not want to be told goes on knowing the function by its old IDs. */
static void device_renumbered(struct viommu_pci_device *device)
{
    struct pci_protection *by = &device->handed;
    struct viommu_pci_id id = viommu_pci_device_id(device);
    struct viommu_pci_id alias = viommu_pci_device_alias(device);

    if (!by->ops.requester_changed || (same_id(id, by->id) && same_id(alias, by->alias)))
        return;
    by->id = id;
    by->alias = alias;
    by->ops.requester_changed(by->opaque, id, alias, device->host_device);
}

void pci_bus_renumbered(struct viommu_pci_bus *bus)
{
    for (unsigned int devfn = 0; devfn < PCI_FUNCTIONS; devfn++) {
        struct viommu_pci_device *device = bus->devices[devfn];

        if (!device)
            continue;
        if (device->host_device)
            device_renumbered(device);
        if (device->secondary)
            pci_bus_renumbered(device->secondary);
    }
}
