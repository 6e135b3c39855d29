/* SPDX-License-Identifier: MIT */
/* The host IOMMU device: one attached device, and what its IOMMU can do. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "host/host.h"

struct viommu_host_device {
    struct viommu_host *host;
    uint32_t device_id;
    uint32_t ioas_id;
    uint32_t hwpt_id;
    bool nest_parent;
    bool unbound; /* by force; atomic */
    pthread_mutex_t lost_lock;
    bool lost; /* unbound, and the handler's to know */
    viommu_host_lost_fn *lost_fn;
    void *lost_opaque;
    struct viommu_host_hw_info info;
};

int host_device_create(struct viommu_host_device **out, struct viommu_host *host,
                       uint32_t device_id, uint32_t ioas_id, uint32_t hwpt_id, bool nest_parent,
                       struct viommu_error *error)
{
    struct viommu_host_device *device = calloc(1, sizeof(*device));

    if (!device)
        return error_set(error, -ENOMEM, "No memory for the host IOMMU device of device %u",
                         device_id);
    device->host = host;
    device->device_id = device_id;
    device->ioas_id = ioas_id;
    device->hwpt_id = hwpt_id;
    device->nest_parent = nest_parent;
    device->info.size = sizeof(device->info);
    pthread_mutex_init(&device->lost_lock, NULL);
    *out = device;
    return 0;
}

int host_device_realize(struct viommu_host_device *device, struct viommu_error *error)
{
    return viommu_host_hw_info(device->host, device->device_id, &device->info, error);
}

void host_device_destroy(struct viommu_host_device *device)
{
    if (device)
        pthread_mutex_destroy(&device->lost_lock);
    free(device);
}

bool host_device_is_unbound(const struct viommu_host_device *device)
{
    return __atomic_load_n(&device->unbound, __ATOMIC_ACQUIRE);
}

/* Under lost_lock. */
static void tell_of_loss(struct viommu_host_device *device)
{
    if (!device->lost || !device->lost_fn)
        return;
    device->lost = false;
    device->lost_fn(device->lost_opaque);
}

void host_device_unbind(struct viommu_host_device *device)
{
    if (__atomic_exchange_n(&device->unbound, true, __ATOMIC_ACQ_REL))
        return;
    viommu_host_unbind(device->host, device->device_id);
    pthread_mutex_lock(&device->lost_lock);
    device->lost = true;
    tell_of_loss(device);
    pthread_mutex_unlock(&device->lost_lock);
}

void viommu_host_device_set_lost_handler(struct viommu_host_device *device, viommu_host_lost_fn *fn,
                                         void *opaque)
{
    pthread_mutex_lock(&device->lost_lock);
    device->lost_fn = fn;
    device->lost_opaque = opaque;
    tell_of_loss(device);
    pthread_mutex_unlock(&device->lost_lock);
}

static int check_bound(const struct viommu_host_device *device, struct viommu_error *error)
{
    if (!host_device_is_unbound(device))
        return 0;
    return error_set(error, -ENODEV,
                     "Device %u was taken away from host %s when it could not be detached; detach "
                     "it from the guest and attach it again",
                     device->device_id, device->host->ops->name);
}

struct viommu_host *viommu_host_device_host(const struct viommu_host_device *device)
{
    return device->host;
}

uint32_t viommu_host_device_id(const struct viommu_host_device *device)
{
    return device->device_id;
}

const struct viommu_host_hw_info *viommu_host_device_info(const struct viommu_host_device *device)
{
    return &device->info;
}

uint32_t viommu_host_device_parent_hwpt(const struct viommu_host_device *device)
{
    return device->hwpt_id;
}

uint32_t viommu_host_device_ioas(const struct viommu_host_device *device)
{
    return device->ioas_id;
}

bool viommu_host_device_is_nest_parent(const struct viommu_host_device *device)
{
    return device->nest_parent;
}

int viommu_host_device_attach(struct viommu_host_device *device, uint32_t pasid, uint32_t hwpt_id,
                              struct viommu_error *error)
{
    int ret = check_bound(device, error);

    return ret ? ret : viommu_host_attach(device->host, device->device_id, pasid, hwpt_id, error);
}

int viommu_host_device_detach(struct viommu_host_device *device, uint32_t pasid,
                              struct viommu_error *error)
{
    int ret = check_bound(device, error);

    return ret ? ret : viommu_host_detach(device->host, device->device_id, pasid, error);
}

int viommu_host_device_set_fault_handler(struct viommu_host_device *device,
                                         viommu_host_fault_fn *fn, void *opaque,
                                         struct viommu_error *error)
{
    struct viommu_host *host = device->host;
    struct viommu_error own;
    int ret = check_bound(device, error);

    if (ret)
        return ret;
    ret = host_call_begin(host, VIOMMU_HOST_CALL_SET_FAULT_HANDLER, &own);
    if (!ret && !host->ops->set_fault_handler)
        ret = error_set(&own, -EOPNOTSUPP, "Host %s cannot tell the faults of a device",
                        host->ops->name);
    if (!ret)
        ret = host->ops->set_fault_handler(host->opaque, device->device_id, fn, opaque, &own);
    return host_call_end(host, VIOMMU_HOST_CALL_SET_FAULT_HANDLER, ret, &own, error);
}
