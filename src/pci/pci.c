/* SPDX-License-Identifier: MIT */
/*
 * The PCI topology: segments, buses, bridges and functions; requester IDs and aliases.
 */
#include "pci/pci.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/error.h"

#define DEVICE_OF(devfn)   ((devfn) >> 3)
#define FUNCTION_OF(devfn) ((devfn)&7)

static uint16_t requester_id(uint8_t bus, uint8_t devfn)
{
    return (uint16_t)(bus << 8 | devfn);
}

int viommu_pci_create(struct viommu_pci **out, struct viommu_dma_space *plain,
                      struct viommu_error *error)
{
    struct viommu_pci *pci;

    if (!plain)
        return error_set(error, -EINVAL,
                         "a PCI topology needs the plain memory that functions behind no IOMMU "
                         "get; make one with viommu_dma_space_create_plain()");
    pci = calloc(1, sizeof(*pci));
    if (!pci)
        return error_set(error, -ENOMEM, "no memory for a PCI topology");
    pci->plain = plain;
    pthread_mutex_init(&pci->changes, NULL);
    pthread_mutex_init(&pci->lock, NULL);
    TAILQ_INIT(&pci->roots);
    *out = pci;
    return 0;
}

static void bus_release(struct viommu_pci_bus *bus);

/* Unset the host devices of a function and of all below it. */
static void device_release(struct viommu_pci_device *device)
{
    pci_device_release(device);
    if (device->secondary)
        bus_release(device->secondary);
}

static void bus_release(struct viommu_pci_bus *bus)
{
    for (unsigned int devfn = 0; devfn < PCI_FUNCTIONS; devfn++) {
        if (bus->devices[devfn])
            device_release(bus->devices[devfn]);
    }
}

/* Free a bus with everything below it. */
static void bus_free(struct viommu_pci_bus *bus)
{
    for (unsigned int devfn = 0; devfn < PCI_FUNCTIONS; devfn++) {
        struct viommu_pci_device *device = bus->devices[devfn];

        if (!device)
            continue;
        if (device->secondary)
            bus_free(device->secondary);
        free(device);
    }
    free(bus);
}

void viommu_pci_destroy(struct viommu_pci *pci)
{
    struct viommu_pci_bus *bus;

    if (!pci)
        return;
    while ((bus = TAILQ_FIRST(&pci->roots))) {
        TAILQ_REMOVE(&pci->roots, bus, link);
        bus_release(bus);
        bus_free(bus);
    }
    pthread_mutex_destroy(&pci->lock);
    pthread_mutex_destroy(&pci->changes);
    free(pci);
}

static struct viommu_pci_bus *bus_alloc(struct viommu_pci *pci, uint16_t segment, uint8_t number,
                                        struct viommu_error *error)
{
    struct viommu_pci_bus *bus = calloc(1, sizeof(*bus));

    if (!bus) {
        error_set(error, -ENOMEM, "no memory for PCI bus %04x:%02x", segment, number);
        return NULL;
    }
    bus->pci = pci;
    bus->segment = segment;
    bus->number = number;
    return bus;
}

static struct viommu_pci_bus *root_find(const struct viommu_pci *pci, uint16_t segment,
                                        uint8_t number)
{
    struct viommu_pci_bus *bus;

    TAILQ_FOREACH(bus, &pci->roots, link)
    {
        if (bus->segment == segment && bus->number == number)
            return bus;
    }
    return NULL;
}

int viommu_pci_root_bus_add(struct viommu_pci *pci, uint16_t segment, uint8_t number,
                            struct viommu_pci_bus **out, struct viommu_error *error)
{
    struct viommu_pci_bus *bus;

    if (root_find(pci, segment, number))
        return error_set(error, -EEXIST,
                         "there is a PCI root bus %04x:%02x already; choose another number",
                         segment, number);
    bus = bus_alloc(pci, segment, number, error);
    if (!bus)
        return -ENOMEM;
    pthread_mutex_lock(&pci->lock);
    TAILQ_INSERT_TAIL(&pci->roots, bus, link);
    pthread_mutex_unlock(&pci->lock);
    *out = bus;
    return 0;
}

/*
 * A name that stays right whatever bus numbers the guest programs: the root bus and the path from
 * there, "0000:00:1c.0/00.0".
 */
static size_t path_name(const struct viommu_pci_bus *bus, uint8_t devfn, char *name, size_t room)
{
    size_t used;
    int length;

    if (!bus->bridge) {
        length = snprintf(name, room, "%04x:%02x:%02x.%x", bus->segment, bus->number,
                          DEVICE_OF(devfn), FUNCTION_OF(devfn));
        return (size_t)length;
    }
    used = path_name(bus->bridge->bus, bus->bridge->devfn, name, room);
    length = snprintf(used < room ? name + used : NULL, used < room ? room - used : 0, "/%02x.%x",
                      DEVICE_OF(devfn), FUNCTION_OF(devfn));
    return used + (size_t)length;
}

static struct viommu_pci_device *device_alloc(struct viommu_pci_bus *bus, uint8_t devfn,
                                              const struct viommu_pci_device_options *options)
{
    size_t size = 1 + (options->name ? strlen(options->name) : path_name(bus, devfn, NULL, 0));
    struct viommu_pci_device *device = calloc(1, sizeof(*device) + size);

    if (!device)
        return NULL;
    device->bus = bus;
    device->devfn = devfn;
    device->bypass = options->bypass;
    if (options->name)
        memcpy(device->name, options->name, size);
    else
        path_name(bus, devfn, device->name, size);
    return device;
}

/* A function, not yet on its bus. */
static int device_make(struct viommu_pci_bus *bus, uint8_t devfn,
                       const struct viommu_pci_device_options *options,
                       struct viommu_pci_device **out, struct viommu_error *error)
{
    if (bus->devices[devfn])
        return error_set(error, -EEXIST,
                         "PCI bus %04x:%02x has a function at %02x.%x already (%s); remove that "
                         "or choose another place",
                         bus->segment, bus->number, DEVICE_OF(devfn), FUNCTION_OF(devfn),
                         bus->devices[devfn]->name);
    *out = device_alloc(bus, devfn, options);
    if (!*out)
        return error_set(error, -ENOMEM, "no memory for a PCI function");
    return 0;
}

static void device_plug(struct viommu_pci_device *device)
{
    struct viommu_pci *pci = device->bus->pci;

    pthread_mutex_lock(&pci->changes);
    pthread_mutex_lock(&pci->lock);
    device->bus->devices[device->devfn] = device;
    pthread_mutex_unlock(&pci->lock);
    pthread_mutex_unlock(&pci->changes);
}

int viommu_pci_device_add(struct viommu_pci_bus *bus, uint8_t devfn,
                          const struct viommu_pci_device_options *options,
                          struct viommu_pci_device **out, struct viommu_error *error)
{
    struct viommu_pci_device_options copy = VIOMMU_PCI_DEVICE_OPTIONS_INIT;
    struct viommu_pci_device *device;
    int ret = 0;

    if (options)
        ret = error_copy_options(&copy, sizeof(copy), options, "PCI function options", error);
    if (!ret)
        ret = device_make(bus, devfn, &copy, &device, error);
    if (ret)
        return ret;
    device_plug(device);
    if (out)
        *out = device;
    return 0;
}

/* What kinds of bridge may sit on a bus, by what the bus itself is. A root bus takes every kind. */
static int check_bridge(const struct viommu_pci_bus *bus, enum viommu_pci_bridge kind,
                        struct viommu_error *error)
{
    static const char *const names[] = {
        [VIOMMU_PCI_BRIDGE_PCIE_PORT] = "PCIe port",
        [VIOMMU_PCI_BRIDGE_PCIE_TO_PCI] = "PCIe-to-PCI bridge",
        [VIOMMU_PCI_BRIDGE_PCI_TO_PCI] = "conventional PCI-to-PCI bridge",
    };
    bool is_pcie = bus->kind == VIOMMU_PCI_BRIDGE_PCIE_PORT;

    if ((unsigned int)kind >= sizeof(names) / sizeof(names[0]))
        return error_set(error, -EINVAL,
                         "unknown kind of PCI bridge %u; use enum viommu_pci_bridge", kind);
    if (bus->bridge && is_pcie == (kind == VIOMMU_PCI_BRIDGE_PCI_TO_PCI))
        return error_set(error, -EINVAL, "a %s cannot sit on bus %04x:%02x, which is %s; %s",
                         names[kind], bus->segment, bus->number,
                         is_pcie ? "PCI Express" : "conventional PCI",
                         is_pcie ? "put a PCIe-to-PCI bridge between them"
                                 : "put it above the PCIe-to-PCI bridge");
    return 0;
}

int viommu_pci_bridge_add(struct viommu_pci_bus *bus, uint8_t devfn, enum viommu_pci_bridge kind,
                          uint8_t secondary, struct viommu_pci_device **device,
                          struct viommu_pci_bus **out, struct viommu_error *error)
{
    const struct viommu_pci_device_options options = VIOMMU_PCI_DEVICE_OPTIONS_INIT;
    struct viommu_pci_device *bridge;
    int ret = check_bridge(bus, kind, error);

    if (!ret)
        ret = device_make(bus, devfn, &options, &bridge, error);
    if (ret)
        return ret;
    bridge->secondary = bus_alloc(bus->pci, bus->segment, secondary, error);
    if (!bridge->secondary) {
        free(bridge);
        return -ENOMEM;
    }
    bridge->secondary->bridge = bridge;
    bridge->secondary->kind = kind;
    device_plug(bridge);
    if (device)
        *device = bridge;
    *out = bridge->secondary;
    return 0;
}

void viommu_pci_bus_set_number(struct viommu_pci_bus *bus, uint8_t number)
{
    if (!bus->bridge)
        return; /* a root bus has its number from the platform */
    pthread_mutex_lock(&bus->pci->changes);
    pthread_mutex_lock(&bus->pci->lock);
    bus->number = number;
    pthread_mutex_unlock(&bus->pci->lock);
    pci_bus_renumbered(bus);
    pthread_mutex_unlock(&bus->pci->changes);
}

void viommu_pci_device_remove(struct viommu_pci_device *device)
{
    struct viommu_pci_bus *bus = device->bus;

    pthread_mutex_lock(&bus->pci->changes);
    device_release(device);
    pthread_mutex_lock(&bus->pci->lock);
    bus->devices[device->devfn] = NULL;
    pthread_mutex_unlock(&bus->pci->lock);
    pthread_mutex_unlock(&bus->pci->changes);
    if (device->secondary)
        bus_free(device->secondary);
    free(device);
}

struct viommu_pci_bus *viommu_pci_device_bus(const struct viommu_pci_device *device)
{
    return device->bus;
}

const char *viommu_pci_device_name(const struct viommu_pci_device *device)
{
    return device->name;
}

/* The bus below `bus` that has a number now; 0 is a bridge that nobody has programmed. */
static const struct viommu_pci_bus *bus_below(const struct viommu_pci_bus *bus, uint8_t number)
{
    for (unsigned int devfn = 0; devfn < PCI_FUNCTIONS; devfn++) {
        const struct viommu_pci_bus *secondary =
            bus->devices[devfn] ? bus->devices[devfn]->secondary : NULL;
        const struct viommu_pci_bus *found;

        if (!secondary || !secondary->number)
            continue;
        found = secondary->number == number ? secondary : bus_below(secondary, number);
        if (found)
            return found;
    }
    return NULL;
}

static const struct viommu_pci_bus *bus_find(const struct viommu_pci *pci, uint16_t segment,
                                             uint8_t number)
{
    const struct viommu_pci_bus *root = root_find(pci, segment, number), *found = NULL;

    if (root)
        return root;
    TAILQ_FOREACH(root, &pci->roots, link)
    {
        if (root->segment == segment)
            found = bus_below(root, number);
        if (found)
            return found;
    }
    return NULL;
}

struct viommu_pci_device *viommu_pci_find(const struct viommu_pci *pci, struct viommu_pci_id id)
{
    pthread_mutex_t *lock = (pthread_mutex_t *)&pci->lock;
    struct viommu_pci_device *device = NULL;
    const struct viommu_pci_bus *bus;

    pthread_mutex_lock(lock);
    bus = bus_find(pci, id.segment, id.requester_id >> 8);
    if (bus)
        device = bus->devices[id.requester_id & 0xff];
    pthread_mutex_unlock(lock);
    return device;
}

struct viommu_pci_id pci_device_id_locked(const struct viommu_pci_device *device)
{
    const struct viommu_pci_bus *bus = device->bus;

    return (struct viommu_pci_id){bus->segment, requester_id(bus->number, device->devfn)};
}

/*
 * Each bridge on the way to the root may replace the ID that came from below, so the topmost one
 * that does has the last word (PCIe to PCI bridge spec 1.0, 2.3; PCIe base spec, 2.2.4.2).
 */
struct viommu_pci_id pci_device_alias_locked(const struct viommu_pci_device *device)
{
    struct viommu_pci_id alias = pci_device_id_locked(device);

    for (const struct viommu_pci_bus *bus = device->bus; bus->bridge; bus = bus->bridge->bus) {
        if (bus->kind == VIOMMU_PCI_BRIDGE_PCIE_TO_PCI)
            alias.requester_id = requester_id(bus->number, 0);
        else if (bus->kind == VIOMMU_PCI_BRIDGE_PCI_TO_PCI)
            alias = pci_device_id_locked(bus->bridge);
    }
    return alias;
}

struct viommu_pci_id viommu_pci_device_id(const struct viommu_pci_device *device)
{
    struct viommu_pci_id id;

    pthread_mutex_lock(&device->bus->pci->lock);
    id = pci_device_id_locked(device);
    pthread_mutex_unlock(&device->bus->pci->lock);
    return id;
}

struct viommu_pci_id viommu_pci_device_alias(const struct viommu_pci_device *device)
{
    struct viommu_pci_id alias;

    pthread_mutex_lock(&device->bus->pci->lock);
    alias = pci_device_alias_locked(device);
    pthread_mutex_unlock(&device->bus->pci->lock);
    return alias;
}
