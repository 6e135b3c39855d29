/* SPDX-License-Identifier: MIT */
/* Devices and PASIDs attached to page tables. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/error.h"
#include "host/iommufd/iommufd.h"

static int device_call(struct iommufd_host *host, const struct iommufd_device *device,
                       unsigned long request, void *argument)
{
    return host->sys.ioctl(host->sys.opaque, device->descriptor, request, argument);
}

static int kernel_attach(struct iommufd_host *host, const struct iommufd_device *device,
                         uint32_t pasid, uint32_t hwpt_id)
{
    struct uapi_vfio_attach attach = {.argsz = sizeof(attach), .pt_id = hwpt_id};

    if (pasid != VIOMMU_PASID_NONE) {
        attach.flags = UAPI_VFIO_PASID;
        attach.pasid = pasid;
    }
    return device_call(host, device, UAPI_VFIO_ATTACH, &attach);
}

static int kernel_detach(struct iommufd_host *host, const struct iommufd_device *device,
                         uint32_t pasid)
{
    struct uapi_vfio_detach detach = {.argsz = sizeof(detach)};

    if (pasid != VIOMMU_PASID_NONE) {
        detach.flags = UAPI_VFIO_PASID;
        detach.pasid = pasid;
    }
    return device_call(host, device, UAPI_VFIO_DETACH, &detach);
}

/*
 * Linux answers success for a PASID of a device that has none, and does nothing; so what it says of
 * the device's width decides. PASID 0 is that of requests without PASID.
 */
static int check_pasid(const struct iommufd_device *device, uint32_t pasid,
                       struct viommu_error *error)
{
    unsigned int bits = device->info.max_pasid_log2;

    if (pasid == VIOMMU_PASID_NONE || (pasid && pasid <= low_bits(bits)))
        return 0;
    return error_set(error, -EINVAL,
                     "PASID %u of device %s cannot be attached: it has %u bits of PASID (that "
                     "needs Linux 6.15, and a device and an IOMMU with PASIDs), and 0 stands for "
                     "requests without PASID",
                     pasid, device->name, bits);
}

static int say_reserved(struct iommufd_host *host, const struct iommufd_device *device,
                        uint32_t hwpt_id, struct viommu_error *error)
{
    char regions[512];

    host_pci_reserved_regions(&host->sys, host->sysfs, device->address, regions, sizeof(regions));
    return error_set(error, -EADDRINUSE,
                     "Device %s cannot use HWPT %u: guest memory is mapped where its IOVAs are "
                     "reserved (%s); leave those out of the guest's memory map",
                     device->name, hwpt_id, regions[0] ? regions : "see reserved_regions in sysfs");
}

static int attach_failed(struct iommufd_host *host, const struct iommufd_device *device,
                         uint32_t hwpt_id, int ret, struct viommu_error *error)
{
    switch (ret) {
    case -EADDRINUSE:
        return say_reserved(host, device, hwpt_id, error);
    case -EINVAL:
        return error_set(error, ret,
                         "HWPT %u does not fit the IOMMU of device %s (another IOMMU's, another "
                         "width, or not of the PASID kind), or another device of its IOMMU group "
                         "is attached to a different one; allocate one for this device, and attach "
                         "all devices of a group to the same",
                         hwpt_id, device->name);
    case -ENOENT:
        return error_set(error, ret, "There is no HWPT %u to attach device %s to", hwpt_id,
                         device->name);
    case -ENODEV:
        return error_set(error, ret,
                         "Device %s cannot be attached to HWPT %u: it was removed, or makes no "
                         "page requests (PRI) and the HWPT wants them",
                         device->name, hwpt_id);
    case -EBUSY:
        return error_set(error, ret,
                         "Device %s cannot be attached to HWPT %u: it is being reset, or another "
                         "device of its group is attached elsewhere",
                         device->name, hwpt_id);
    default:
        return error_set(error, ret, "Device %s cannot be attached to HWPT %u: %s", device->name,
                         hwpt_id, strerror(-ret));
    }
}

static struct iommufd_pasid *find_pasid(const struct iommufd_device *device, uint32_t pasid)
{
    struct iommufd_pasid *entry;

    LIST_FOREACH(entry, &device->pasids, link)
    {
        if (entry->pasid == pasid)
            break;
    }
    return entry;
}

/* Remembered before the kernel is asked: 1: it is new, 0: it was there, -ENOMEM. */
static int remember_pasid(struct iommufd_device *device, uint32_t pasid, struct viommu_error *error)
{
    struct iommufd_pasid *entry;

    if (pasid == VIOMMU_PASID_NONE || find_pasid(device, pasid))
        return 0;
    entry = malloc(sizeof(*entry));
    if (!entry)
        return error_set(error, -ENOMEM, "No memory to attach PASID %u of device %s", pasid,
                         device->name);
    entry->pasid = pasid;
    LIST_INSERT_HEAD(&device->pasids, entry, link);
    return 1;
}

static void forget_pasid(struct iommufd_device *device, uint32_t pasid)
{
    struct iommufd_pasid *entry = find_pasid(device, pasid);

    if (!entry)
        return;
    LIST_REMOVE(entry, link);
    free(entry);
}

static int attach_locked(struct iommufd_host *host, struct iommufd_device *device, uint32_t pasid,
                         uint32_t hwpt_id, struct viommu_error *error)
{
    int ret = check_pasid(device, pasid, error), is_new;

    if (ret)
        return ret;
    is_new = remember_pasid(device, pasid, error);
    if (is_new < 0)
        return is_new;
    ret = kernel_attach(host, device, pasid, hwpt_id);
    if (ret >= 0) {
        iommufd_fault_requests_drop(host, device->id, pasid);
        return 0;
    }
    if (is_new)
        forget_pasid(device, pasid);
    return attach_failed(host, device, hwpt_id, ret, error);
}

int iommufd_attach(void *opaque, uint32_t device_id, uint32_t pasid, uint32_t hwpt_id,
                   struct viommu_error *error)
{
    struct iommufd_host *host = opaque;
    struct iommufd_device *device;
    int ret;

    pthread_mutex_lock(&host->lock);
    device = iommufd_device_find(host, device_id);
    if (device)
        ret = attach_locked(host, device, pasid, hwpt_id, error);
    else
        ret = error_set(error, -ENOENT, "There is no bound device %u to attach", device_id);
    pthread_mutex_unlock(&host->lock);
    return ret;
}

/* What is not attached is detached: a kernel without PASIDs need not be asked. */
static int detach_locked(struct iommufd_host *host, struct iommufd_device *device, uint32_t pasid,
                         struct viommu_error *error)
{
    int ret;

    if (pasid != VIOMMU_PASID_NONE && !find_pasid(device, pasid))
        return 0;
    ret = kernel_detach(host, device, pasid);
    if (ret < 0)
        return error_set(error, ret, "Device %s cannot be detached: %s", device->name,
                         strerror(-ret));
    forget_pasid(device, pasid);
    iommufd_fault_requests_drop(host, device->id, pasid);
    return 0;
}

int iommufd_detach(void *opaque, uint32_t device_id, uint32_t pasid, struct viommu_error *error)
{
    struct iommufd_host *host = opaque;
    struct iommufd_device *device;
    int ret;

    pthread_mutex_lock(&host->lock);
    device = iommufd_device_find(host, device_id);
    if (device)
        ret = detach_locked(host, device, pasid, error);
    else
        ret = error_set(error, -ENOENT, "There is no bound device %u to detach", device_id);
    pthread_mutex_unlock(&host->lock);
    return ret;
}

bool iommufd_detach_all(struct iommufd_host *host, struct iommufd_device *device)
{
    struct iommufd_pasid *entry, *next;
    bool detached = true;

    for (entry = LIST_FIRST(&device->pasids); entry; entry = next) {
        next = LIST_NEXT(entry, link);
        detached &= !kernel_detach(host, device, entry->pasid);
        iommufd_fault_requests_drop(host, device->id, entry->pasid);
        LIST_REMOVE(entry, link);
        free(entry);
    }
    detached &= !kernel_detach(host, device, VIOMMU_PASID_NONE);
    iommufd_fault_requests_drop(host, device->id, VIOMMU_PASID_NONE);
    return detached;
}
