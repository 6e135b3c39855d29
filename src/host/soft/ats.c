/* SPDX-License-Identifier: MIT */
/*
 * Device TLBs of simulated devices: what they are told to forget.
 *
 * As a kernel does, the host forgets in its own caches first and then tells the devices: of what a
 * nested table's owner invalidates, of attachments that end, and of memory that goes away.
 */
#include <errno.h>

#include "base/bits.h"
#include "base/error.h"
#include "base/log.h"
#include "host/soft/soft.h"

static bool same(const struct viommu_pci_tlb_invalidation *a,
                 const struct viommu_pci_tlb_invalidation *b)
{
    return a->address == b->address && a->length == b->length && a->pasid == b->pasid;
}

/* The smallest power of two that has it all; length 0 is everything. */
static struct viommu_pci_tlb_invalidation cover(uint32_t pasid, uint64_t start, uint64_t last)
{
    unsigned int bits = 64 - (unsigned int)__builtin_clzll((start ^ last) | SOFT_PAGE_MASK);

    if (bits == 64)
        return (struct viommu_pci_tlb_invalidation){.pasid = pasid};
    return (struct viommu_pci_tlb_invalidation){
        .address = start & ~low_bits(bits), .length = BIT64(bits), .pasid = pasid};
}

/* It will forget everything: there is nothing to add. */
static bool is_full(const struct soft_pending *pending)
{
    return pending->count && pending->ranges[0].global;
}

void soft_tlb_forget(struct viommu_soft_device *device, uint32_t pasid, uint64_t start,
                     uint64_t last)
{
    const struct viommu_pci_tlb_invalidation range = cover(pasid, start, last);
    struct soft_pending *pending = &device->pending;

    if (!device->has_ats || is_full(pending))
        return;
    for (unsigned int i = 0; i < pending->count; i++)
        if (same(&pending->ranges[i], &range))
            return;
    if (pending->count < SOFT_PENDING) {
        pending->ranges[pending->count++] = range;
        return;
    }
    pending->ranges[0] =
        (struct viommu_pci_tlb_invalidation){.pasid = VIOMMU_PASID_NONE, .global = true};
    pending->count = 1;
}

/* PASID 0 is that of requests without PASID, see soft_device_hwpt(). */
static void forget_attached(struct viommu_soft_device *device, const struct soft_hwpt *hwpt,
                            uint64_t start, uint64_t last)
{
    const struct soft_pasid *pasid;

    if (device->hwpt == hwpt) {
        soft_tlb_forget(device, VIOMMU_PASID_NONE, start, last);
        soft_tlb_forget(device, 0, start, last);
    }
    LIST_FOREACH(pasid, &device->pasids, link)
    {
        if (pasid->hwpt == hwpt)
            soft_tlb_forget(device, pasid->pasid, start, last);
    }
}

void soft_tlb_forget_hwpt(const struct soft_hwpt *hwpt, uint64_t start, uint64_t last)
{
    struct viommu_soft_device *device;

    LIST_FOREACH(device, &hwpt->host->devices, plugged_link)
    {
        if (device->has_ats && !is_full(&device->pending))
            forget_attached(device, hwpt, start, last);
    }
}

static void tell(struct viommu_soft_device *device)
{
    const struct viommu_pci_ats_ops *ops = &device->ats.ops;
    struct viommu_pci_page_response response;

    for (unsigned int i = 0; i < device->pending.count; i++) {
        if (ops->invalidate(device->ats.opaque, &device->pending.ranges[i]))
            log_limited(&device->host->log, &device->tlb_limit, VIOMMU_LOG_WARNING,
                        "Device %s of the simulated host does not answer an invalidation of its "
                        "device TLB",
                        device->name);
        __atomic_fetch_add(&device->host->device_tlb_invalidations, 1, __ATOMIC_RELAXED);
    }
    device->pending.count = 0;
    while (ops->page_response && viommu_soft_device_page_response(device, &response))
        ops->page_response(device->ats.opaque, &response);
}

void soft_lock(struct soft_host *host)
{
    pthread_mutex_lock(&host->telling);
    pthread_rwlock_wrlock(&host->lock);
}

void soft_unlock(struct soft_host *host)
{
    struct viommu_soft_device *device;

    pthread_rwlock_unlock(&host->lock);
    LIST_FOREACH(device, &host->devices, plugged_link)
    {
        if (device->has_ats)
            tell(device);
    }
    pthread_mutex_unlock(&host->telling);
}

static int check_ats(const struct viommu_soft_device *device, const struct viommu_pci_ats_ops *ops,
                     struct viommu_error *error)
{
    if (!ops->invalidate)
        return error_set(error, -EINVAL,
                         "The ATS ops for device %s have no invalidate, which is mandatory",
                         device->name);
    if (!device->host->caps.device_tlb)
        return error_set(error, -EOPNOTSUPP,
                         "Device %s cannot have a device TLB: the IOMMU of %s serves none "
                         "(ECAP.DT)",
                         device->name, device->host->info.name);
    return 0;
}

int viommu_soft_device_set_ats(struct viommu_soft_device *device,
                               const struct viommu_pci_ats_ops *ops, void *opaque,
                               struct viommu_error *error)
{
    struct viommu_pci_ats_ops copy;
    int ret = error_copy_options(&copy, sizeof(copy), ops, "viommu_pci_ats_ops", error);

    if (!ret)
        ret = check_ats(device, &copy, error);
    if (ret)
        return ret;
    soft_lock(device->host);
    if (device->has_ats) {
        ret =
            error_set(error, -EBUSY, "Device %s has ATS set already; unset it first", device->name);
    } else {
        device->ats = (struct viommu_pci_ats){copy, opaque};
        device->has_ats = true;
    }
    soft_unlock(device->host);
    return ret;
}

void viommu_soft_device_unset_ats(struct viommu_soft_device *device)
{
    soft_lock(device->host);
    device->has_ats = false;
    device->pending.count = 0;
    soft_unlock(device->host);
}
