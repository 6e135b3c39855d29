/* SPDX-License-Identifier: MIT */
/* The IOMMU that a bus or a function carries: the hooks, and their wrappers, which have an answer
 * for everybody.
 */
#include <errno.h>
#include <stdio.h>

#include "base/error.h"
#include "pci/pci.h"

static bool carries(const struct pci_carried *iommu)
{
    return iommu->ops.get_address_space;
}

static const struct viommu_pci_device *find_user(const struct viommu_pci_bus *bus);

/* This function, or one behind it, that an IOMMU of this function's would protect, and that has a
 * host device, or ATS set. */
static const struct viommu_pci_device *find_user_at(const struct viommu_pci_device *device)
{
    if ((device->host_device || device->has_ats) && !device->bypass)
        return device;
    if (device->secondary && !carries(&device->secondary->iommu))
        return find_user(device->secondary);
    return NULL;
}

/* The same at or below a bus. */
static const struct viommu_pci_device *find_user(const struct viommu_pci_bus *bus)
{
    const struct viommu_pci_device *found = NULL;

    for (unsigned int devfn = 0; devfn < PCI_FUNCTIONS && !found; devfn++) {
        const struct viommu_pci_device *device = bus->devices[devfn];

        if (device && !carries(&device->iommu))
            found = find_user_at(device);
    }
    return found;
}

/* What carries, or shall carry, an IOMMU: a bus, or one function of it. */
struct place {
    struct viommu_pci_bus *bus;
    struct viommu_pci_device *device; /* or NULL */
};

static struct pci_carried *carried_at(const struct place *place)
{
    return place->device ? &place->device->iommu : &place->bus->iommu;
}

/* "PCI bus 0000:00" or "function NAME": a string of the caller's. */
static const char *name_of(const struct place *place, char *text, size_t size)
{
    if (place->device)
        snprintf(text, size, "function %s", place->device->name);
    else
        snprintf(text, size, "PCI bus %04x:%02x", place->bus->segment, place->bus->number);
    return text;
}

static int check_change(const struct place *place, bool adds, struct viommu_error *error)
{
    bool has = carries(carried_at(place));
    const struct viommu_pci_device *user = NULL;
    char name[128];

    if (adds && has)
        return error_set(error, -EBUSY, "%s has an IOMMU already; take that away first",
                         name_of(place, name, sizeof(name)));
    if (adds || has)
        user = place->device ? find_user_at(place->device) : find_user(place->bus);
    if (user)
        return error_set(
            error, -EBUSY, "the IOMMU of %s cannot be %s while function %s has %s first",
            name_of(place, name, sizeof(name)), adds ? "set" : "taken away", user->name,
            user->host_device ? "a host device; detach that" : "ATS set; unset that");
    return 0;
}

static int copy_ops(const struct place *place, struct viommu_pci_iommu_ops *copy,
                    const struct viommu_pci_iommu_ops *ops, struct viommu_error *error)
{
    int ret = error_copy_options(copy, sizeof(*copy), ops, "PCI IOMMU ops", error);
    char name[128];

    if (ret || copy->get_address_space)
        return ret;
    return error_set(error, -EINVAL,
                     "the IOMMU ops for %s have no get_address_space, which is mandatory",
                     name_of(place, name, sizeof(name)));
}

static int set_iommu(const struct place *place, const struct viommu_pci_iommu_ops *ops,
                     void *opaque, struct viommu_error *error)
{
    struct viommu_pci *pci = place->bus->pci;
    struct pci_carried iommu = {.opaque = opaque};
    int ret = ops ? copy_ops(place, &iommu.ops, ops, error) : 0;

    if (ret)
        return ret;
    pthread_mutex_lock(&pci->changes);
    ret = check_change(place, ops, error);
    if (!ret) {
        pthread_mutex_lock(&pci->lock);
        *carried_at(place) = iommu;
        pthread_mutex_unlock(&pci->lock);
    }
    pthread_mutex_unlock(&pci->changes);
    return ret;
}

int viommu_pci_bus_set_iommu(struct viommu_pci_bus *bus, const struct viommu_pci_iommu_ops *ops,
                             void *opaque, struct viommu_error *error)
{
    return set_iommu(&(struct place){bus, NULL}, ops, opaque, error);
}

int viommu_pci_device_set_iommu(struct viommu_pci_device *device,
                                const struct viommu_pci_iommu_ops *ops, void *opaque,
                                struct viommu_error *error)
{
    const struct viommu_pci_bus *bus = device->bus;

    if (ops && bus->bridge && bus->kind != VIOMMU_PCI_BRIDGE_PCIE_PORT)
        return error_set(
            error, -EINVAL,
            "function %s is on a conventional bus, whose functions share one requester "
            "ID: give the IOMMU to the bridge above it or to the whole bus",
            device->name);
    return set_iommu(&(struct place){device->bus, device}, ops, opaque, error);
}

/* Whose IOMMU goes for a function: its own, its bus's, that of the bridge above, and so on up. */
static const struct pci_carried *find_carried(const struct viommu_pci_device *device)
{
    const struct viommu_pci_bus *bus = device->bus;

    while (!carries(&device->iommu)) {
        if (carries(&bus->iommu) || !bus->bridge)
            return &bus->iommu;
        device = bus->bridge;
        bus = device->bus;
    }
    return &device->iommu;
}

struct pci_protection pci_protection_find(const struct viommu_pci_device *device)
{
    struct viommu_pci *pci = device->bus->pci;
    struct pci_protection found = {0};

    if (device->bypass)
        return found;
    pthread_mutex_lock(&pci->lock);
    found.iommu = *find_carried(device);
    found.id = pci_device_id_locked(device);
    found.alias = pci_device_alias_locked(device);
    pthread_mutex_unlock(&pci->lock);
    return found;
}

struct viommu_dma_space *viommu_pci_device_get_address_space(const struct viommu_pci_device *device)
{
    struct pci_protection by = pci_protection_find(device);

    if (!by.iommu.ops.get_address_space)
        return device->bus->pci->plain;
    return by.iommu.ops.get_address_space(by.iommu.opaque, by.alias);
}

uint64_t viommu_pci_device_get_viommu_cap(const struct viommu_pci_device *device)
{
    struct pci_protection by = pci_protection_find(device);

    return by.iommu.ops.get_viommu_cap ? by.iommu.ops.get_viommu_cap(by.iommu.opaque) : 0;
}

void pci_interrupt_pass(uint64_t address, uint32_t data, uint32_t flags,
                        viommu_interrupt_deliver_fn *deliver, void *opaque,
                        struct viommu_interrupt *out)
{
    *out = (struct viommu_interrupt){
        .outcome = VIOMMU_INTERRUPT_PASSED, .address = address, .data = data};
    if (deliver && !(flags & VIOMMU_INTERRUPT_LOOKUP))
        deliver(opaque, out);
}

void viommu_pci_device_send_interrupt(const struct viommu_pci_device *device, uint64_t address,
                                      uint32_t data, uint32_t flags,
                                      viommu_interrupt_deliver_fn *deliver, void *opaque,
                                      struct viommu_interrupt *out)
{
    struct pci_protection by = pci_protection_find(device);
    struct viommu_interrupt unused;
    const struct viommu_interrupt_request request = {
        .address = address,
        .data = data,
        .requester_id = by.alias.requester_id,
        .flags = flags & VIOMMU_INTERRUPT_LOOKUP,
    };

    out = out ? out : &unused;
    if (by.iommu.ops.send_interrupt)
        by.iommu.ops.send_interrupt(by.iommu.opaque, by.alias, &request, deliver, opaque, out);
    else
        pci_interrupt_pass(address, data, flags, deliver, opaque, out);
}

static int set_device(struct viommu_pci_device *device, struct viommu_host_device *host_device,
                      struct viommu_error *error)
{
    struct pci_protection by = pci_protection_find(device);
    int ret = 0;

    if (device->host_device)
        return error_set(error, -EBUSY, "function %s has a host device already; detach it first",
                         device->name);
    if (by.iommu.ops.set_iommu_device)
        ret = by.iommu.ops.set_iommu_device(by.iommu.opaque, by.id, by.alias, host_device, error);
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

static void host_device_release(struct viommu_pci_device *device)
{
    const struct pci_protection *by = &device->handed;

    if (device->host_device && by->iommu.ops.unset_iommu_device)
        by->iommu.ops.unset_iommu_device(by->iommu.opaque, by->id, device->host_device);
    device->host_device = NULL;
}

void pci_device_release(struct viommu_pci_device *device)
{
    host_device_release(device);
    pci_ats_release(device);
}

void viommu_pci_device_unset_iommu_device(struct viommu_pci_device *device)
{
    struct viommu_pci *pci = device->bus->pci;

    pthread_mutex_lock(&pci->changes);
    host_device_release(device);
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

    if (!by->iommu.ops.requester_changed || (same_id(id, by->id) && same_id(alias, by->alias)))
        return;
    by->id = id;
    by->alias = alias;
    by->iommu.ops.requester_changed(by->iommu.opaque, id, alias, device->host_device);
}

void pci_bus_renumbered(struct viommu_pci_bus *bus)
{
    for (unsigned int devfn = 0; devfn < PCI_FUNCTIONS; devfn++) {
        struct viommu_pci_device *device = bus->devices[devfn];

        if (!device)
            continue;
        if (device->host_device)
            device_renumbered(device);
        if (device->has_ats)
            pci_ats_renumbered(device);
        if (device->secondary)
            pci_bus_renumbered(device->secondary);
    }
}
