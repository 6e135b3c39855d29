/* SPDX-License-Identifier: MIT */
/* The host as a whole; devices bound and described. */
#include "host/type1/type1.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "host/host.h"
#include "host/pci_device.h"
#include "host/type1/uapi.h"

uint32_t type1_next_id(struct type1_host *host)
{
    return ++host->last_id;
}

struct type1_device *type1_device_find(struct type1_host *host, uint32_t id)
{
    struct type1_device *device;

    LIST_FOREACH(device, &host->devices, link)
    {
        if (device->id == id)
            break;
    }
    return device;
}

/* What there is to know of an IOMMU without iommufd: its registers, from sysfs. */
static void describe(struct type1_host *host, struct type1_device *device,
                     const struct host_pci_device *pci)
{
    struct viommu_host_hw_info *info = &device->info;
    uint64_t *registers = info->registers;

    *info = (struct viommu_host_hw_info){.size = sizeof(*info)};
    snprintf(info->name, sizeof(info->name), "%s", pci->iommu[0] ? pci->iommu : "IOMMU");
    if (host_pci_iommu_register(&host->sys, host->sysfs, pci->address, "intel-iommu/cap",
                                &registers[0]) &&
        host_pci_iommu_register(&host->sys, host->sysfs, pci->address, "intel-iommu/ecap",
                                &registers[1]))
        info->type = VIOMMU_HOST_IOMMU_VTD;
    else if (host_pci_iommu_register(&host->sys, host->sysfs, pci->address, "amd-iommu/features",
                                     &registers[0]))
        info->type = VIOMMU_HOST_IOMMU_AMD;
    if (info->type != VIOMMU_HOST_IOMMU_VTD)
        registers[1] = 0;
    if (info->type == VIOMMU_HOST_IOMMU_NONE)
        registers[0] = 0;
}

static int open_device(struct type1_host *host, struct type1_device *device,
                       struct viommu_error *error)
{
    int ret = host->sys.ioctl(host->sys.opaque, device->group->descriptor, UAPI_GROUP_GET_DEVICE,
                              device->address);

    if (ret < 0)
        return error_set(error, ret,
                         "Device %s cannot be had from its IOMMU group: %s; is it bound to "
                         "vfio-pci, and used by nobody else?",
                         device->address, strerror(-ret));
    device->descriptor = ret;
    return 0;
}

static struct type1_device *find_address(struct type1_host *host, const char *address)
{
    struct type1_device *device;

    LIST_FOREACH(device, &host->devices, link)
    {
        if (!strcmp(device->address, address))
            break;
    }
    return device;
}

static int bind_device(struct type1_host *host, const struct host_pci_device *pci,
                       struct type1_device **out, struct viommu_error *error)
{
    struct type1_device *device = calloc(1, sizeof(*device));
    int ret;

    if (!device)
        return error_set(error, -ENOMEM, "No memory for device %s", pci->address);
    memcpy(device->address, pci->address, sizeof(device->address));
    ret = type1_group_get(host, pci, &device->group, error);
    if (ret)
        goto free_device;
    ret = open_device(host, device, error);
    if (ret)
        goto put_group;
    describe(host, device, pci);
    device->id = type1_next_id(host);
    LIST_INSERT_HEAD(&host->devices, device, link);
    *out = device;
    return 0;

put_group:
    type1_group_put(host, device->group);
free_device:
    free(device);
    return ret;
}

static int bind_locked(struct type1_host *host, const char *name, uint32_t *device_id,
                       struct viommu_error *error)
{
    struct host_pci_device pci;
    struct type1_device *device;
    int ret = host_pci_find(&host->sys, host->sysfs, name, &pci, error);

    if (!ret)
        ret = host_pci_check_usable(&pci, error);
    if (ret)
        return ret;
    device = find_address(host, pci.address);
    if (device)
        return error_set(error, -EBUSY, "Device %s is bound already, as device %u", pci.address,
                         device->id);
    ret = bind_device(host, &pci, &device, error);
    if (ret)
        return ret;
    *device_id = device->id;
    log_message(&host->log, VIOMMU_LOG_INFO, "Device %s is bound as device %u, behind %s",
                device->address, device->id, device->info.name);
    return 0;
}

static int type1_bind(void *opaque, const char *name, uint32_t *device_id,
                      struct viommu_error *error)
{
    struct type1_host *host = opaque;
    int ret;

    pthread_mutex_lock(&host->lock);
    ret = bind_locked(host, name, device_id, error);
    pthread_mutex_unlock(&host->lock);
    return ret;
}

/* The last device of a group takes the container with it, and so what that still maps. */
static void device_end(struct type1_host *host, struct type1_device *device)
{
    struct viommu_error ignored;

    if (type1_device_detach(host, device, &ignored))
        host_pci_reset(&host->sys, device->descriptor);
    LIST_REMOVE(device, link);
    host->sys.close(host->sys.opaque, device->descriptor);
    type1_group_put(host, device->group);
    free(device);
}

static void type1_unbind(void *opaque, uint32_t device_id)
{
    struct type1_host *host = opaque;
    struct type1_device *device;

    pthread_mutex_lock(&host->lock);
    device = type1_device_find(host, device_id);
    if (device)
        device_end(host, device);
    pthread_mutex_unlock(&host->lock);
}

static int type1_hw_info(void *opaque, uint32_t device_id, struct viommu_host_hw_info *info,
                         struct viommu_error *error)
{
    struct type1_host *host = opaque;
    struct type1_device *device;

    pthread_mutex_lock(&host->lock);
    device = type1_device_find(host, device_id);
    if (device)
        *info = device->info;
    pthread_mutex_unlock(&host->lock);
    return device ? 0 : error_set(error, -ENOENT, "There is no bound device %u", device_id);
}

static void type1_end(void *opaque)
{
    struct type1_host *host = opaque;
    struct type1_device *device, *next;

    for (device = LIST_FIRST(&host->devices); device; device = next) {
        next = LIST_NEXT(device, link);
        device_end(host, device);
    }
    type1_objects_destroy(host);
    pthread_mutex_destroy(&host->lock);
    free(host);
}

static const struct viommu_host_ops type1_ops = {
    .size = sizeof(type1_ops),
    .name = "type1",
    .destroy = type1_end,
    .bind = type1_bind,
    .unbind = type1_unbind,
    .ioas_alloc = type1_ioas_alloc,
    .ioas_map = type1_ioas_map,
    .ioas_unmap = type1_ioas_unmap,
    .ioas_iova_ranges = type1_ioas_iova_ranges,
    .hwpt_alloc = type1_hwpt_alloc,
    .destroy_object = type1_destroy_object,
    .attach = type1_attach,
    .detach = type1_detach,
    .invalidate = type1_invalidate,
    .hw_info = type1_hw_info,
};

int type1_create(struct viommu_host **out, const struct host_sys *sys, const char *sysfs,
                 const struct viommu_type1_options *options, struct viommu_error *error)
{
    struct viommu_type1_options copy = VIOMMU_TYPE1_OPTIONS_INIT;
    struct type1_host *host;
    int ret = 0;

    if (options)
        ret = error_copy_options(&copy, sizeof(copy), options, "viommu_type1_options", error);
    if (ret)
        return ret;
    ret = type1_container_open(sys, error); /* to see whether there are any */
    if (ret < 0)
        return ret;
    sys->close(sys->opaque, ret);
    host = calloc(1, sizeof(*host));
    if (!host)
        return error_set(error, -ENOMEM, "No memory for a host on VFIO containers");
    host->sys = *sys;
    host->sysfs = sysfs;
    host->log = copy.log;
    host->files = copy.files;
    LIST_INIT(&host->ioases);
    LIST_INIT(&host->hwpts);
    LIST_INIT(&host->groups);
    LIST_INIT(&host->devices);
    pthread_mutex_init(&host->lock, NULL);
    ret = viommu_host_create(out, &type1_ops, host, &copy.log, error);
    if (ret)
        type1_end(host);
    return ret;
}

int viommu_type1_create(struct viommu_host **out, const struct viommu_type1_options *options,
                        struct viommu_error *error)
{
    return type1_create(out, &host_sys_real, HOST_SYSFS, options, error);
}

/* NULL: another backend's. */
static struct type1_host *host_of(const struct viommu_host *handle)
{
    return handle && handle->ops->destroy == type1_end ? handle->opaque : NULL;
}

int viommu_type1_device_descriptor(struct viommu_host *handle, uint32_t device_id,
                                   struct viommu_error *error)
{
    struct type1_host *host = host_of(handle);
    struct type1_device *device;
    int descriptor = -1;

    if (!host)
        return error_set(error, -EINVAL,
                         "A device's descriptor is had from a host of viommu_type1_create()");
    pthread_mutex_lock(&host->lock);
    device = type1_device_find(host, device_id);
    if (device)
        descriptor = device->descriptor;
    pthread_mutex_unlock(&host->lock);
    return device ? descriptor
                  : error_set(error, -ENOENT, "There is no bound device %u", device_id);
}

int viommu_type1_group_descriptor(struct viommu_host *handle, uint32_t number,
                                  struct viommu_error *error)
{
    struct type1_host *host = host_of(handle);
    const struct type1_group *group;
    int descriptor = -1;

    if (!host)
        return error_set(error, -EINVAL,
                         "A group's descriptor is had from a host of viommu_type1_create()");
    pthread_mutex_lock(&host->lock);
    group = type1_group_find(host, number);
    if (group)
        descriptor = group->descriptor;
    pthread_mutex_unlock(&host->lock);
    return group ? descriptor
                 : error_set(error, -ENOENT, "No device of IOMMU group %u is bound here", number);
}
