/* SPDX-License-Identifier: MIT */
#include "guest.h"

#include <errno.h>

static struct viommu_dma_space *get_space(void *opaque, struct viommu_pci_id alias)
{
    (void)alias;
    return ((struct guest *)opaque)->space;
}

static uint64_t get_cap(void *opaque)
{
    return ((struct guest *)opaque)->cap;
}

static int set_device(void *opaque, struct viommu_pci_id id, struct viommu_pci_id alias,
                      struct viommu_host_device *device, struct viommu_error *error)
{
    const struct guest *guest = opaque;

    (void)id;
    (void)alias;
    (void)error;
    if (!(guest->cap & VIOMMU_CAP_HW_NESTED) || viommu_host_device_is_nest_parent(device))
        return 0;
    return -EOPNOTSUPP;
}

static void unset_device(void *opaque, struct viommu_pci_id id, struct viommu_host_device *device)
{
    (void)opaque;
    (void)id;
    (void)device;
}

static const struct viommu_pci_iommu_ops ops = {
    .size = sizeof(ops),
    .get_address_space = get_space,
    .get_viommu_cap = get_cap,
    .set_iommu_device = set_device,
    .unset_iommu_device = unset_device,
};

int guest_begin(struct guest *guest, struct viommu_host *host, void *memory, uint64_t gpa,
                uint64_t size, uint64_t cap, struct viommu_error *error)
{
    struct viommu_memory_range range = {.gpa = gpa, .size = size, .host = memory};
    struct viommu_pci_bus *bus;
    int ret;

    *guest = (struct guest){.cap = cap};
    ret = viommu_memory_create(&guest->memory, error);
    ret = ret ? ret : viommu_memory_add(guest->memory, &range, error);
    ret = ret ? ret : viommu_dma_space_create_plain(&guest->space, guest->memory, error);
    ret = ret ? ret : viommu_pci_create(&guest->pci, guest->space, error);
    ret = ret ? ret : viommu_pci_root_bus_add(guest->pci, 0, 0, &bus, error);
    ret = ret ? ret : viommu_pci_bus_set_iommu(bus, &ops, guest, error);
    ret = ret ? ret : viommu_pci_device_add(bus, 0, NULL, &guest->function, error);
    return ret ? ret : viommu_assign_create(&guest->assign, host, guest->memory, NULL, error);
}

void guest_end(struct guest *guest)
{
    viommu_assign_destroy(guest->assign);
    viommu_pci_destroy(guest->pci);
    viommu_dma_space_destroy(guest->space);
    viommu_memory_destroy(guest->memory);
}

int guest_attach(struct guest *guest, const char *name, struct viommu_error *error)
{
    return viommu_assign_attach(guest->assign, guest->function, name, &guest->assigned, error);
}

void guest_detach(struct guest *guest)
{
    viommu_assign_detach(guest->assigned);
}
