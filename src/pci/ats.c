/* SPDX-License-Identifier: MIT */
/* Functions with a device TLB: their registration with the IOMMU, and what goes from one to the
 * other. */
#include <errno.h>

#include "base/error.h"
#include "pci/pci.h"

#define GROUPS      512
#define PASID_LIMIT (UINT32_C(1) << 20)

/* Why a function cannot have a device TLB; NULL: it can. */
static const char *refusal(const struct viommu_pci_device *device, const struct pci_protection *by)
{
    if (device->bypass)
        return "bypasses its IOMMU: add it without bypass";
    if (!by->iommu.ops.set_ats)
        return "is behind no IOMMU that knows of device TLBs: leave ATS out of its capabilities";
    if (by->id.requester_id != by->alias.requester_id)
        return "is behind a bridge that replaces its requester ID, which no ATS passes: put it "
               "below PCI Express ports only";
    return NULL;
}

static int set_ats(struct viommu_pci_device *device, const struct viommu_pci_ats_ops *ops,
                   void *opaque, struct viommu_error *error)
{
    struct pci_protection by = pci_protection_find(device);
    const char *why = refusal(device, &by);
    int ret;

    if (device->has_ats)
        return error_set(error, -EBUSY, "function %s has ATS set already; unset it first",
                         device->name);
    if (why)
        return error_set(error, -EOPNOTSUPP, "function %s %s", device->name, why);
    device->ats = (struct viommu_pci_ats){*ops, opaque};
    device->ats_handed = by;
    ret = by.iommu.ops.set_ats(by.iommu.opaque, by.id, &device->ats, error);
    device->has_ats = !ret;
    return ret;
}

int viommu_pci_device_set_ats(struct viommu_pci_device *device,
                              const struct viommu_pci_ats_ops *ops, void *opaque,
                              struct viommu_error *error)
{
    struct viommu_pci *pci = device->bus->pci;
    struct viommu_pci_ats_ops copy;
    int ret = error_copy_options(&copy, sizeof(copy), ops, "ATS ops", error);

    if (ret)
        return ret;
    if (!copy.invalidate)
        return error_set(error, -EINVAL,
                         "the ATS ops for function %s have no invalidate, which is mandatory",
                         device->name);
    pthread_mutex_lock(&pci->changes);
    ret = set_ats(device, &copy, opaque, error);
    pthread_mutex_unlock(&pci->changes);
    return ret;
}

void pci_ats_release(struct viommu_pci_device *device)
{
    const struct pci_protection *by = &device->ats_handed;

    if (device->has_ats && by->iommu.ops.unset_ats)
        by->iommu.ops.unset_ats(by->iommu.opaque, &device->ats);
    device->has_ats = false;
}

void viommu_pci_device_unset_ats(struct viommu_pci_device *device)
{
    struct viommu_pci *pci = device->bus->pci;

    pthread_mutex_lock(&pci->changes);
    pci_ats_release(device);
    pthread_mutex_unlock(&pci->changes);
}

void pci_ats_renumbered(struct viommu_pci_device *device)
{
    struct pci_protection *by = &device->ats_handed;
    struct viommu_pci_id id = viommu_pci_device_id(device);

    if (!by->iommu.ops.ats_moved || id.requester_id == by->id.requester_id)
        return;
    by->id = by->alias = id;
    by->iommu.ops.ats_moved(by->iommu.opaque, id, &device->ats);
}

int viommu_pci_device_invalidation_done(struct viommu_pci_device *device, uint32_t tag, int result)
{
    const struct pci_protection *by = &device->ats_handed;

    if (!device->has_ats || !by->iommu.ops.ats_invalidation_done)
        return -ENOENT;
    return by->iommu.ops.ats_invalidation_done(by->iommu.opaque, &device->ats, tag, result);
}

/* PCIe base spec, 10.4.1: execute and privileged only with a PASID; so is a stop marker. */
static bool well_formed(const struct viommu_pci_page_request *request)
{
    const uint8_t access = VIOMMU_DMA_READ | VIOMMU_DMA_WRITE;
    const uint8_t pasid_access = VIOMMU_DMA_EXECUTE | VIOMMU_DMA_PRIVILEGED;
    bool with_pasid = request->pasid != VIOMMU_PASID_NONE;

    if (request->group >= GROUPS || (with_pasid && request->pasid >= PASID_LIMIT))
        return false;
    if (request->access & ~(access | pasid_access) ||
        (request->access & pasid_access && !with_pasid))
        return false;
    return request->access & access || (!request->access && request->last && with_pasid);
}

int viommu_pci_device_page_request(struct viommu_pci_device *device,
                                   const struct viommu_pci_page_request *request)
{
    const struct pci_protection *by = &device->ats_handed;

    if (!device->has_ats || !device->ats.ops.page_response || !by->iommu.ops.ats_page_request)
        return -EOPNOTSUPP;
    if (!well_formed(request))
        return -EINVAL;
    return by->iommu.ops.ats_page_request(by->iommu.opaque, &device->ats, request);
}
