/* SPDX-License-Identifier: MIT */
/* IOMMU groups with their containers: opened, filled and emptied. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "host/type1/type1.h"
#include "host/type1/uapi.h"

#define CONTAINER_PATH "/dev/vfio/vfio"

static int call(const struct host_sys *sys, int descriptor, unsigned long request, void *argument)
{
    return sys->ioctl(sys->opaque, descriptor, request, argument);
}

/* Containers */

static int open_failed(const char *path, const char *absent, int ret, struct viommu_error *error)
{
    if (ret == -ENOENT || ret == -ENODEV || ret == -ENXIO)
        return error_set(error, ret, "There is no %s: %s", path, absent);
    if (ret == -EACCES || ret == -EPERM)
        return error_set(error, ret,
                         "You may not open %s: run as root, or give yourself read and write access "
                         "to it",
                         path);
    if (ret == -EBUSY)
        return error_set(error, ret,
                         "%s is in use by another program, or its device through "
                         "/dev/vfio/devices; end that first",
                         path);
    return error_set(error, ret, "%s cannot be opened: %s", path, strerror(-ret));
}

static int check_container(const struct host_sys *sys, int container, struct viommu_error *error)
{
    int version = call(sys, container, UAPI_GET_API_VERSION, NULL);
    int type1;

    if (version < 0)
        return error_set(error, version, "%s does not answer as VFIO: %s", CONTAINER_PATH,
                         strerror(-version));
    if (version != UAPI_API_VERSION)
        return error_set(error, -EOPNOTSUPP, "%s is of version %d, wanted is %d", CONTAINER_PATH,
                         version, UAPI_API_VERSION);
    type1 = call(sys, container, UAPI_CHECK_EXTENSION, (void *)(uintptr_t)UAPI_TYPE1V2);
    if (type1 > 0)
        return 0;
    return error_set(error, type1 < 0 ? type1 : -EOPNOTSUPP,
                     "%s has no type 1 IOMMU: load the module vfio_iommu_type1", CONTAINER_PATH);
}

int type1_container_open(const struct host_sys *sys, struct viommu_error *error)
{
    int container = sys->open(sys->opaque, CONTAINER_PATH, O_RDWR), ret;

    if (container < 0)
        return open_failed(CONTAINER_PATH,
                           "load the module vfio, or use a kernel with CONFIG_VFIO_CONTAINER",
                           container, error);
    ret = check_container(sys, container, error);
    if (!ret)
        return container;
    sys->close(sys->opaque, container);
    return ret;
}

/* Groups */

static int say_not_viable(struct type1_host *host, const struct host_pci_device *pci,
                          struct viommu_error *error)
{
    struct host_pci_device rival = {.address = ""};

    host_pci_find_rival(&host->sys, host->sysfs, pci, &rival);
    if (rival.address[0])
        return error_set(error, -EBUSY,
                         "The IOMMU group %s of device %s is not viable: device %s of it is bound "
                         "to driver %s; bind that to vfio-pci, too, or unbind it",
                         pci->group, pci->address, rival.address, rival.driver);
    return error_set(error, -EBUSY,
                     "The IOMMU group %s of device %s is not viable: another device of it is bound "
                     "to a driver of the kernel; bind that to vfio-pci, too, or unbind it",
                     pci->group, pci->address);
}

static int check_viable(struct type1_host *host, int descriptor, const struct host_pci_device *pci,
                        struct viommu_error *error)
{
    struct uapi_group_status status = {.argsz = sizeof(status)};
    int ret = call(&host->sys, descriptor, UAPI_GROUP_GET_STATUS, &status);

    if (ret < 0)
        return error_set(error, ret, "The state of IOMMU group %s cannot be read: %s", pci->group,
                         strerror(-ret));
    return status.flags & UAPI_GROUP_VIABLE ? 0 : say_not_viable(host, pci, error);
}

static int set_iommu(struct type1_host *host, int container, const struct host_pci_device *pci,
                     struct viommu_error *error)
{
    int ret = call(&host->sys, container, UAPI_SET_IOMMU, (void *)(uintptr_t)UAPI_TYPE1V2);

    if (ret == -EPERM)
        return error_set(error, ret,
                         "Device %s cannot be used: the IOMMU does not isolate its interrupts; "
                         "switch interrupt remapping on (intremap=on), or, if you trust the guest, "
                         "set vfio_iommu_type1.allow_unsafe_interrupts=1",
                         pci->address);
    if (ret < 0)
        return error_set(error, ret, "The IOMMU of device %s cannot be set up: %s", pci->address,
                         strerror(-ret));
    return 0;
}

/* Closing them undoes it. */
static int join(struct type1_host *host, int descriptor, int container,
                const struct host_pci_device *pci, struct viommu_error *error)
{
    int ret = check_viable(host, descriptor, pci, error);

    if (ret)
        return ret;
    ret = call(&host->sys, descriptor, UAPI_GROUP_SET_CONTAINER, &container);
    if (ret < 0)
        return error_set(error, ret, "IOMMU group %s cannot be put into a container: %s",
                         pci->group, strerror(-ret));
    return set_iommu(host, container, pci, error);
}

/* The group leaves its container, and what that maps goes. */
static void close_group(struct type1_host *host, const struct type1_group *group)
{
    host->sys.close(host->sys.opaque, group->descriptor);
    host->sys.close(host->sys.opaque, group->container);
}

static int open_group(struct type1_host *host, struct type1_group *group,
                      const struct host_pci_device *pci, struct viommu_error *error)
{
    char path[64];
    int ret;

    snprintf(path, sizeof(path), "/dev/vfio/%s", pci->group);
    group->descriptor = host->sys.open(host->sys.opaque, path, O_RDWR);
    if (group->descriptor < 0)
        return open_failed(path, "bind the device to vfio-pci; in a container, pass the node in",
                           group->descriptor, error);
    group->container = type1_container_open(&host->sys, error);
    if (group->container < 0) {
        host->sys.close(host->sys.opaque, group->descriptor);
        return group->container;
    }
    ret = join(host, group->descriptor, group->container, pci, error);
    if (ret)
        close_group(host, group);
    return ret;
}

struct type1_group *type1_group_find(struct type1_host *host, uint32_t number)
{
    struct type1_group *group;

    LIST_FOREACH(group, &host->groups, link)
    {
        if (strtoul(group->number, NULL, 10) == number)
            break;
    }
    return group;
}

int type1_group_get(struct type1_host *host, const struct host_pci_device *pci,
                    struct type1_group **out, struct viommu_error *error)
{
    struct type1_group *group;
    int ret;

    LIST_FOREACH(group, &host->groups, link)
    {
        if (!strcmp(group->number, pci->group))
            break;
    }
    if (!group) {
        group = calloc(1, sizeof(*group));
        if (!group)
            return error_set(error, -ENOMEM, "No memory for IOMMU group %s", pci->group);
        ret = open_group(host, group, pci, error);
        if (ret) {
            free(group);
            return ret;
        }
        memcpy(group->number, pci->group, sizeof(group->number));
        LIST_INSERT_HEAD(&host->groups, group, link);
        if (host->files.opened)
            host->files.opened(host->files.opaque, group->descriptor);
    }
    group->devices++;
    *out = group;
    return 0;
}

void type1_group_put(struct type1_host *host, struct type1_group *group)
{
    if (--group->devices)
        return;
    if (group->hwpt)
        group->hwpt->groups--;
    LIST_REMOVE(group, link);
    if (host->files.closing)
        host->files.closing(host->files.opaque, group->descriptor);
    close_group(host, group);
    free(group);
}

/* What a container maps */

static int kernel_map(struct type1_host *host, const struct type1_group *group,
                      const struct host_area *area)
{
    struct uapi_dma_map map = {
        .argsz = sizeof(map),
        .flags = (area->flags & VIOMMU_HOST_MAP_READ ? UAPI_DMA_READ : 0) |
                 (area->flags & VIOMMU_HOST_MAP_WRITE ? UAPI_DMA_WRITE : 0),
        .vaddr = area->address,
        .iova = area->start,
        .size = host_area_length(area),
    };

    return call(&host->sys, group->container, UAPI_MAP_DMA, &map);
}

int type1_group_map(struct type1_host *host, const struct type1_group *group, uint32_t ioas_id,
                    const struct host_area *area, struct viommu_error *error)
{
    struct viommu_host_iova_range ranges[TYPE1_RANGES_MAX];
    const struct host_map map = {
        .ioas_id = ioas_id,
        .iova = area->start,
        .length = host_area_length(area),
        .address = (void *)(uintptr_t)area->address,
        .flags = area->flags,
    };
    int ret = kernel_map(host, group, area);
    size_t count = 0;

    if (ret >= 0)
        return 0;
    if (ret == -EINVAL && type1_group_ranges(host, group, ranges, &count))
        count = 0;
    return host_map_failed(&host->sys, &map, ranges, count, ret, error);
}

int type1_group_unmap(struct type1_host *host, const struct type1_group *group,
                      const struct host_area *area)
{
    struct uapi_dma_unmap unmap = {
        .argsz = sizeof(unmap),
        .iova = area->start,
        .size = host_area_length(area),
    };
    int ret = call(&host->sys, group->container, UAPI_UNMAP_DMA, &unmap);

    return ret < 0 && ret != -ENOENT ? ret : 0; /* ENOENT: iommufd's containers found nothing */
}

void type1_group_undo_map(struct type1_host *host, struct type1_group *group,
                          const struct host_area *area)
{
    if (!type1_group_unmap(host, group, area))
        return;
    group->stuck = true;
    log_message(&host->log, VIOMMU_LOG_ERROR,
                "IOMMU group %s maps IOVAs 0x%llx-0x%llx, which cannot be undone; its devices can "
                "only be unbound",
                group->number, (unsigned long long)area->start, (unsigned long long)area->last);
}

/* Room for all that Linux tells of a container. */
union info_buffer {
    struct uapi_type1_info info;
    unsigned char bytes[4096];
};

/* Copy the ranges of a capability at `offset`, as many as are there whole. */
static void take_ranges(const union info_buffer *buffer, size_t size, size_t offset,
                        struct viommu_host_iova_range *ranges, size_t *count)
{
    struct uapi_info_cap_ranges cap;

    if (offset + sizeof(cap) > size)
        return;
    memcpy(&cap, buffer->bytes + offset, sizeof(cap));
    offset += sizeof(cap);
    while (*count < cap.count && *count < TYPE1_RANGES_MAX && offset + sizeof(*ranges) <= size) {
        memcpy(&ranges[(*count)++], buffer->bytes + offset, sizeof(*ranges));
        offset += sizeof(*ranges);
    }
}

int type1_group_ranges(struct type1_host *host, const struct type1_group *group,
                       struct viommu_host_iova_range *ranges, size_t *count)
{
    union info_buffer buffer = {.info = {.argsz = sizeof(buffer)}};
    int ret = call(&host->sys, group->container, UAPI_IOMMU_GET_INFO, &buffer);
    size_t size, offset;
    struct uapi_info_cap cap;

    *count = 0;
    if (ret < 0)
        return ret;
    size = buffer.info.argsz < sizeof(buffer) ? buffer.info.argsz : sizeof(buffer);
    offset = buffer.info.flags & UAPI_INFO_CAPS ? buffer.info.cap_offset : 0;
    while (offset && offset + sizeof(cap) <= size) {
        memcpy(&cap, buffer.bytes + offset, sizeof(cap));
        if (cap.id == UAPI_INFO_CAP_RANGES) {
            take_ranges(&buffer, size, offset, ranges, count);
            break;
        }
        if (cap.next <= offset)
            break;
        offset = cap.next;
    }
    return *count ? 0 : -ENODATA;
}
