/* SPDX-License-Identifier: MIT */
/* VFIO containers and groups of the fake kernel. */
#include "fake-parts.h"
#include "host/type1/uapi.h"

static struct fake_container *container_of_file(struct fake_kernel *kernel,
                                                const struct fake_file *file)
{
    return &kernel->containers[file - kernel->files];
}

/* ---- Containers */

static const uint64_t ranges[][2] = {
    {0, 0xfedfffff},
    {0xfef00000, (UINT64_C(1) << 39) - 1},
};

static int set_iommu(struct fake_kernel *kernel, struct fake_container *container,
                     unsigned long type)
{
    if (type != UAPI_TYPE1V2 || kernel->no_type1)
        return -EINVAL;
    if (!container->groups || container->has_iommu)
        return -EINVAL;
    if (kernel->no_intremap)
        return -EPERM;
    container->has_iommu = true;
    return 0;
}

/* The information, an empty capability, and the ranges. */
static int get_info(struct uapi_type1_info *info)
{
    char *bytes = (char *)info;
    const struct uapi_info_cap other = {.id = 3, .version = 1, .next = 48};
    const struct uapi_info_cap_ranges cap = {
        .header = {.id = UAPI_INFO_CAP_RANGES, .version = 1},
        .count = COUNT(ranges),
    };
    uint32_t needed = 48 + sizeof(cap) + sizeof(ranges);

    if (info->argsz < 16)
        return -EINVAL;
    info->flags = UAPI_INFO_CAPS | 1;
    info->pgsizes = 4096;
    if (info->argsz >= needed) {
        info->cap_offset = 32;
        memcpy(bytes + 32, &other, sizeof(other));
        memcpy(bytes + 48, &cap, sizeof(cap));
        memcpy(bytes + 48 + sizeof(cap), ranges, sizeof(ranges));
    }
    info->argsz = needed;
    return 0;
}

static int map_dma(struct fake_kernel *kernel, struct fake_container *container,
                   const struct uapi_dma_map *map)
{
    uint64_t last = map->iova + map->size - 1;
    bool inside = false;

    if (map->argsz < sizeof(*map) || !map->size || (map->iova | map->size | map->vaddr) % 4096 ||
        !(map->flags & 3) || (map->flags & ~3u))
        return -EINVAL;
    for (size_t i = 0; i < container->area_count; i++) {
        const struct fake_area *area = &container->areas[i];

        if (map->iova < area->start + area->length && area->start <= last)
            return -EEXIST;
    }
    if (container->area_count >= kernel->entry_limit)
        return -ENOSPC;
    for (size_t i = 0; i < COUNT(ranges); i++)
        inside = inside || (map->iova >= ranges[i][0] && last <= ranges[i][1]);
    if (!inside)
        return -EINVAL;
    if (map->vaddr == 0xba5000)
        return -EFAULT;
    if (kernel->pinned + map->size > kernel->memlock)
        return -ENOMEM;
    kernel->pinned += map->size;
    container->areas[container->area_count++] =
        (struct fake_area){map->iova, map->size, map->flags, false};
    return 0;
}

static int unmap_dma(struct fake_kernel *kernel, struct fake_container *container,
                     struct uapi_dma_unmap *unmap)
{
    uint64_t last = unmap->iova + unmap->size - 1, done = 0;
    size_t kept = 0;

    if (unmap->argsz < sizeof(*unmap) || unmap->flags || !unmap->size)
        return -EINVAL;
    for (size_t i = 0; i < container->area_count; i++) {
        const struct fake_area area = container->areas[i];

        if (area.start >= unmap->iova && area.start <= last)
            done += area.length;
        else
            container->areas[kept++] = area;
    }
    container->area_count = kept;
    kernel->pinned -= done;
    unmap->size = done;
    return done || !kernel->strict_containers ? 0 : -ENOENT;
}

static int container_ioctl(struct fake_kernel *kernel, struct fake_container *container,
                           unsigned long request, void *argument)
{
    switch (request) {
    case UAPI_GET_API_VERSION:
        return UAPI_API_VERSION;
    case UAPI_CHECK_EXTENSION:
        return (uintptr_t)argument == UAPI_TYPE1V2 && !kernel->no_type1;
    case UAPI_SET_IOMMU:
        return set_iommu(kernel, container, (uintptr_t)argument);
    }
    if (!container->has_iommu)
        return -EINVAL;
    switch (request) {
    case UAPI_IOMMU_GET_INFO:
        return get_info(argument);
    case UAPI_MAP_DMA:
        return map_dma(kernel, container, argument);
    case UAPI_UNMAP_DMA:
        return unmap_dma(kernel, container, argument);
    default:
        return -ENOTTY;
    }
}

/* ---- Groups */

static int set_container(struct fake_kernel *kernel, struct fake_file *group, int descriptor)
{
    struct fake_file *file = fake_file_of(kernel, descriptor);

    if (!file || file->type != FAKE_FILE_CONTAINER || group->container >= 0)
        return -EINVAL;
    group->container = (int)(file - kernel->files);
    kernel->containers[group->container].groups++;
    return 0;
}

static int get_device(struct fake_kernel *kernel, const struct fake_file *group,
                      const char *address)
{
    unsigned int bus;

    if (group->container < 0 || !kernel->containers[group->container].has_iommu)
        return -EINVAL;
    if (sscanf(address, "0000:%x:00.0", &bus) != 1 || bus < 1 || bus > FAKE_DEVICES)
        return -ENODEV;
    if (kernel->devices[bus - 1].bind_errno)
        return -kernel->devices[bus - 1].bind_errno;
    return fake_file_new(kernel, FAKE_FILE_GROUP_DEVICE, bus - 1);
}

static int group_ioctl(struct fake_kernel *kernel, struct fake_file *group, unsigned long request,
                       void *argument)
{
    struct uapi_group_status *status = argument;

    switch (request) {
    case UAPI_GROUP_GET_STATUS:
        if (status->argsz < sizeof(*status))
            return -EINVAL;
        status->flags = kernel->not_viable ? 0 : UAPI_GROUP_VIABLE;
        return 0;
    case UAPI_GROUP_SET_CONTAINER:
        return set_container(kernel, group, *(int *)argument);
    case UAPI_GROUP_GET_DEVICE:
        return get_device(kernel, group, argument);
    default:
        return -ENOTTY;
    }
}

int fake_type1_ioctl(struct fake_kernel *kernel, struct fake_file *file, unsigned long request,
                     void *argument)
{
    if (file->type == FAKE_FILE_CONTAINER)
        return container_ioctl(kernel, container_of_file(kernel, file), request, argument);
    if (file->type == FAKE_FILE_GROUP)
        return group_ioctl(kernel, file, request, argument);
    return -ENOTTY;
}

/* The last group takes what the container maps with it. */
static void leave(struct fake_kernel *kernel, struct fake_container *container)
{
    if (--container->groups)
        return;
    for (size_t i = 0; i < container->area_count; i++)
        kernel->pinned -= container->areas[i].length;
    *container = (struct fake_container){.groups = 0};
}

void fake_type1_close(struct fake_kernel *kernel, struct fake_file *file)
{
    if (file->type == FAKE_FILE_GROUP && file->container >= 0)
        leave(kernel, &kernel->containers[file->container]);
    if (file->type == FAKE_FILE_CONTAINER)
        assert_int_equal(container_of_file(kernel, file)->groups, 0);
}
