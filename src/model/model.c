/* SPDX-License-Identifier: MIT */
/* The calls that every model has: they only find the model's own function. */
#include "model/model.h"

#include <errno.h>

#include "base/error.h"
#include "pci/pci.h"

void viommu_destroy(struct viommu *viommu)
{
    if (viommu)
        viommu->ops->destroy(viommu);
}

void viommu_reset(struct viommu *viommu)
{
    viommu->ops->reset(viommu);
}

uint64_t viommu_mmio_size(const struct viommu *viommu)
{
    return viommu->ops->mmio_size(viommu);
}

uint64_t viommu_mmio_read(struct viommu *viommu, uint64_t offset, unsigned int size)
{
    return viommu->ops->mmio_read(viommu, offset, size);
}

void viommu_mmio_write(struct viommu *viommu, uint64_t offset, unsigned int size, uint64_t value)
{
    viommu->ops->mmio_write(viommu, offset, size, value);
}

int viommu_protect_bus(struct viommu *viommu, struct viommu_pci_bus *bus,
                       struct viommu_error *error)
{
    if (bus->segment != viommu->segment)
        return error_set(error, -EINVAL,
                         "PCI bus %04x:%02x is not on the IOMMU's segment, which is %04x; make one "
                         "IOMMU for each segment",
                         bus->segment, bus->number, viommu->segment);
    return viommu_pci_bus_set_iommu(bus, viommu->ops->pci_ops, viommu, error);
}

int viommu_protect_device(struct viommu *viommu, struct viommu_pci_device *device,
                          struct viommu_error *error)
{
    if (device->bus->segment != viommu->segment)
        return error_set(error, -EINVAL,
                         "function %s is not on the IOMMU's segment, which is %04x; make one "
                         "IOMMU for each segment",
                         device->name, viommu->segment);
    return viommu_pci_device_set_iommu(device, viommu->ops->pci_ops, viommu, error);
}

void viommu_interrupt_send(struct viommu *viommu, const struct viommu_interrupt_request *request,
                           viommu_interrupt_deliver_fn *deliver, void *opaque,
                           struct viommu_interrupt *out)
{
    struct viommu_interrupt unused;

    out = out ? out : &unused;
    if (viommu->ops->interrupt_send)
        viommu->ops->interrupt_send(viommu, request, deliver, opaque, out);
    else
        pci_interrupt_pass(request->address, request->data, request->flags, deliver, opaque, out);
}

void viommu_interrupt_remap(struct viommu *viommu, const struct viommu_interrupt_request *request,
                            struct viommu_interrupt *out)
{
    viommu_interrupt_send(viommu, request, NULL, NULL, out);
}

void viommu_interrupt_set_listener(struct viommu *viommu, viommu_interrupt_changed_fn *changed,
                                   void *opaque)
{
    if (viommu->ops->interrupt_set_listener)
        viommu->ops->interrupt_set_listener(viommu, changed, opaque);
}

int viommu_page_request_descriptor(const struct viommu *viommu)
{
    return viommu->ops->page_request_descriptor ? viommu->ops->page_request_descriptor(viommu) : -1;
}

unsigned int viommu_forward_page_requests(struct viommu *viommu, unsigned int limit)
{
    return viommu->ops->forward_page_requests ? viommu->ops->forward_page_requests(viommu, limit)
                                              : 0;
}

uint64_t viommu_get_cap(const struct viommu *viommu)
{
    return viommu->ops->get_cap(viommu);
}

void viommu_get_stats(const struct viommu *viommu, struct viommu_stats *stats)
{
    viommu->ops->get_stats(viommu, stats);
}
