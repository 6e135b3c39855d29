/* SPDX-License-Identifier: MIT */
/* VFIO character devices: found, opened, bound to /dev/iommu. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "host/host.h"
#include "host/iommufd/iommufd.h"

struct iommufd_device *iommufd_device_find(struct iommufd_host *host, uint32_t id)
{
    struct iommufd_device *device;

    LIST_FOREACH(device, &host->devices, link)
    {
        if (device->bound && device->id == id)
            break;
    }
    return device;
}

static struct iommufd_device *find_name(struct iommufd_host *host, const char *name)
{
    struct iommufd_device *device;

    LIST_FOREACH(device, &host->devices, link)
    {
        if (!strcmp(device->name, name))
            break;
    }
    return device;
}

static struct iommufd_device *device_new(const char *name, int descriptor,
                                         struct viommu_error *error)
{
    struct iommufd_device *device = calloc(1, sizeof(*device));

    if (device)
        device->name = strdup(name);
    if (!device || !device->name) {
        free(device);
        error_set(error, -ENOMEM, "No memory for device %s", name);
        return NULL;
    }
    device->descriptor = descriptor;
    LIST_INIT(&device->pasids);
    return device;
}

static void device_close(struct iommufd_host *host, struct iommufd_device *device)
{
    if (device->told && host->vfio_files.closing)
        host->vfio_files.closing(host->vfio_files.opaque, device->descriptor);
    host->sys.close(host->sys.opaque, device->descriptor);
    free(device->name);
    free(device);
}

/* Opening */

static int open_failed(const char *name, const char *path, int ret, struct viommu_error *error)
{
    if (ret == -EACCES || ret == -EPERM)
        return error_set(error, ret,
                         "You may not open %s for device %s: run as root, or give yourself read "
                         "and write access to it",
                         path, name);
    if (ret == -ENOENT)
        return error_set(error, ret,
                         "There is no %s for device %s: it is not bound to vfio-pci, the kernel "
                         "lacks CONFIG_VFIO_DEVICE_CDEV (Linux 6.6; the host type1 does without), "
                         "or this container lacks the device node",
                         path, name);
    return error_set(error, ret, "%s of device %s cannot be opened: %s", path, name,
                     strerror(-ret));
}

static int open_path(struct iommufd_host *host, const char *name, const char *path,
                     struct viommu_error *error)
{
    int descriptor = host->sys.open(host->sys.opaque, path, O_RDWR);

    return descriptor < 0 ? open_failed(name, path, descriptor, error) : descriptor;
}

static int open_address(struct iommufd_host *host, const char *name, struct host_pci_device *pci,
                        struct viommu_error *error)
{
    char path[64];
    int ret = host_pci_find(&host->sys, host->sysfs, name, pci, error);

    if (!ret)
        ret = host_pci_check_usable(pci, error);
    if (ret)
        return ret;
    if (!pci->vfio[0])
        return error_set(error, -ENODEV,
                         "Device %s has driver %s, but no VFIO character device: this kernel lacks "
                         "CONFIG_VFIO_DEVICE_CDEV (Linux 6.6); use the host type1",
                         name, pci->driver);
    snprintf(path, sizeof(path), "/dev/vfio/devices/%s", pci->vfio);
    return open_path(host, name, path, error);
}

/* What sysfs tells of a descriptor whose device was not named by its address. */
static void identify(struct iommufd_host *host, int descriptor, struct host_pci_device *pci)
{
    char address[HOST_PCI_ADDRESS_SIZE];

    host_pci_address_of(&host->sys, host->sysfs, descriptor, address);
    if (!address[0] || host_pci_find(&host->sys, host->sysfs, address, pci, NULL))
        *pci = (struct host_pci_device){.address = ""};
}

static void take_identity(struct iommufd_device *device, const struct host_pci_device *pci)
{
    memcpy(device->address, pci->address, sizeof(device->address));
    memcpy(device->iommu, pci->iommu, sizeof(device->iommu));
}

/* By path, or by PCI address. */
static int open_device(struct iommufd_host *host, const char *name, struct iommufd_device **out,
                       struct viommu_error *error)
{
    struct host_pci_device pci = {.address = ""};
    int descriptor =
        name[0] == '/' ? open_path(host, name, name, error) : open_address(host, name, &pci, error);

    if (descriptor < 0)
        return descriptor;
    *out = device_new(name, descriptor, error);
    if (!*out) {
        host->sys.close(host->sys.opaque, descriptor);
        return -ENOMEM;
    }
    take_identity(*out, &pci);
    return 0;
}

/* Binding */

static int say_group_busy(struct iommufd_host *host, const struct iommufd_device *device,
                          struct viommu_error *error)
{
    struct host_pci_device own = {.vfio = ""}, rival = {.address = ""};

    snprintf(own.address, sizeof(own.address), "%s", device->address);
    if (own.address[0])
        host_pci_find_rival(&host->sys, host->sysfs, &own, &rival);
    if (rival.address[0])
        return error_set(error, -EBUSY,
                         "The IOMMU group of device %s is not viable: device %s of it is bound to "
                         "driver %s; bind that to vfio-pci, too, or unbind it",
                         device->name, rival.address, rival.driver);
    return error_set(error, -EBUSY,
                     "Device %s, or another of its IOMMU group, is in use: by another program, "
                     "through /dev/vfio/GROUP, or by a driver of the kernel; end that first",
                     device->name);
}

static int bind_failed(struct iommufd_host *host, const struct iommufd_device *device, int ret,
                       struct viommu_error *error)
{
    switch (ret) {
    case -EBUSY:
        return say_group_busy(host, device, error);
    case -EINVAL:
        return error_set(error, -EBUSY,
                         "Device %s is in use: another program, or another descriptor, has bound "
                         "it; close that first",
                         device->name);
    case -EPERM:
        return error_set(error, ret,
                         "Device %s cannot be bound: the IOMMU does not isolate its interrupts; "
                         "switch interrupt remapping on (intremap=on), or, if you trust the guest, "
                         "set iommufd.allow_unsafe_interrupts=1",
                         device->name);
    case -EACCES:
        return error_set(error, ret,
                         "Device %s cannot be bound: it is a virtual function, and the user of its "
                         "physical function has set a VF token",
                         device->name);
    case -ENOTTY:
        return error_set(error, -EINVAL,
                         "Device %s is no VFIO character device (/dev/vfio/devices/vfioN, Linux "
                         "6.6); a descriptor from a VFIO group does not do",
                         device->name);
    default:
        return error_set(error, ret, "Device %s cannot be bound: %s", device->name, strerror(-ret));
    }
}

/*
 * Bind, and read what its IOMMU can do. When the second fails only closing unbinds it, so one that
 * was passed in stays bound, attached to nothing, and another try does only the second.
 */
static int bind_device(struct iommufd_host *host, struct iommufd_device *device,
                       struct viommu_error *error)
{
    struct uapi_vfio_bind bind = {.argsz = sizeof(bind), .iommufd = host->descriptor};
    struct host_pci_device pci;
    int ret;

    if (!device->address[0]) {
        identify(host, device->descriptor, &pci);
        take_identity(device, &pci);
    }
    if (!device->told && host->vfio_files.opened)
        host->vfio_files.opened(host->vfio_files.opaque, device->descriptor);
    device->told = true;
    if (!device->kernel_bound) {
        ret = host->sys.ioctl(host->sys.opaque, device->descriptor, UAPI_VFIO_BIND_IOMMUFD, &bind);
        if (ret < 0)
            return bind_failed(host, device, ret, error);
        device->kernel_bound = true;
        device->id = bind.out_devid;
    }
    return iommufd_describe(host, device, error);
}

static int bind_locked(struct iommufd_host *host, const char *name, uint32_t *device_id,
                       struct viommu_error *error)
{
    struct iommufd_device *device = find_name(host, name);
    bool passed_in = device;
    int ret = 0;

    if (device && device->bound)
        return error_set(error, -EBUSY, "Device %s is bound already, as device %u", name,
                         device->id);
    if (!device)
        ret = open_device(host, name, &device, error);
    if (ret)
        return ret;
    ret = bind_device(host, device, error);
    if (ret && !passed_in)
        device_close(host, device);
    if (ret)
        return ret;
    device->bound = true;
    *device_id = device->id;
    if (!passed_in)
        LIST_INSERT_HEAD(&host->devices, device, link);
    log_message(&host->log, VIOMMU_LOG_INFO, "Device %s is bound as device %u, behind %s", name,
                device->id, device->info.name);
    return 0;
}

int iommufd_bind(void *opaque, const char *name, uint32_t *device_id, struct viommu_error *error)
{
    struct iommufd_host *host = opaque;
    int ret;

    pthread_mutex_lock(&host->lock);
    ret = bind_locked(host, name, device_id, error);
    pthread_mutex_unlock(&host->lock);
    return ret;
}

/* Closing unbinds, unless somebody else holds the descriptor too: so it is detached before. */
static void device_end(struct iommufd_host *host, struct iommufd_device *device)
{
    if (device->bound && !iommufd_detach_all(host, device))
        host_pci_reset(&host->sys, device->descriptor);
    LIST_REMOVE(device, link);
    device_close(host, device);
}

void iommufd_unbind(void *opaque, uint32_t device_id)
{
    struct iommufd_host *host = opaque;
    struct iommufd_device *device;

    pthread_mutex_lock(&host->lock);
    device = iommufd_device_find(host, device_id);
    if (device)
        device_end(host, device);
    pthread_mutex_unlock(&host->lock);
}

void iommufd_devices_close(struct iommufd_host *host)
{
    struct iommufd_device *device, *next;

    for (device = LIST_FIRST(&host->devices); device; device = next) {
        next = LIST_NEXT(device, link);
        device_end(host, device);
    }
}

/* Devices passed in */

int viommu_iommufd_add_device(struct viommu_host *handle, const char *name, int descriptor,
                              struct viommu_error *error)
{
    struct iommufd_host *host = iommufd_host_of(handle);
    struct iommufd_device *device;
    bool taken;

    if (!host || !name || !*name || descriptor < 0)
        return error_set(error, -EINVAL,
                         "A device that is passed in needs a host of viommu_iommufd_create(), a "
                         "name and a descriptor");
    device = device_new(name, descriptor, error);
    if (!device)
        return -ENOMEM;
    pthread_mutex_lock(&host->lock);
    taken = find_name(host, name);
    if (!taken)
        LIST_INSERT_HEAD(&host->devices, device, link);
    pthread_mutex_unlock(&host->lock);
    if (!taken)
        return 0;
    free(device->name);
    free(device);
    return error_set(error, -EEXIST, "The host has a device %s already; use another name", name);
}

int viommu_iommufd_device_descriptor(struct viommu_host *handle, uint32_t device_id,
                                     struct viommu_error *error)
{
    struct iommufd_host *host = iommufd_host_of(handle);
    struct iommufd_device *device;
    int descriptor = -1;

    if (!host)
        return error_set(error, -EINVAL,
                         "A device's descriptor is had from a host of viommu_iommufd_create()");
    pthread_mutex_lock(&host->lock);
    device = iommufd_device_find(host, device_id);
    if (device)
        descriptor = device->descriptor;
    pthread_mutex_unlock(&host->lock);
    return device ? descriptor
                  : error_set(error, -ENOENT, "There is no bound device %u", device_id);
}
