/* SPDX-License-Identifier: MIT */
#include "host.h"
#include <stdlib.h>
#include <string.h>

const struct host_kind_names host_kinds[HOST_KIND_COUNT] = {
    [HOST_VTD] = {"vtd", "VT-d", VIOMMU_HOST_IOMMU_VTD, {"cap", "ecap"}},
    [HOST_AMD] = {"amd", "AMD-Vi", VIOMMU_HOST_IOMMU_AMD, {"efr", "efr2"}},
    [HOST_SMMUV3] = {"smmuv3", "SMMUv3", VIOMMU_HOST_IOMMU_SMMUV3, {NULL, NULL}},
    [HOST_SMMU] = {"smmu", "SMMU", VIOMMU_HOST_IOMMU_NONE, {NULL, NULL}},
    [HOST_VIRTIO] = {"virtio", "virtio-iommu", VIOMMU_HOST_IOMMU_NONE, {NULL, NULL}},
    [HOST_OTHER] = {"other", "of an unknown type", VIOMMU_HOST_IOMMU_NONE, {NULL, NULL}},
};

const char *const host_lack_names[LACK_KIND_COUNT] = {
    [LACK_HARDWARE] = "hardware",     [LACK_KERNEL] = "kernel", [LACK_OPTION] = "option",
    [LACK_PERMISSION] = "permission", [LACK_DEVICE] = "device",
};

/* The array with one more member, zeroed; NULL: no memory, and the array is as it was. */
static void *grow(void *members, size_t count, size_t size)
{
    char *grown = realloc(members, (count + 1) * size);

    if (grown)
        memset(grown + count * size, 0, size);
    return grown;
}

struct host_iommu *host_add_iommu(struct host *host)
{
    struct host_iommu *grown = grow(host->iommus, host->iommu_count, sizeof(*grown));

    if (!grown)
        return NULL;
    host->iommus = grown;
    grown = &grown[host->iommu_count++];
    grown->info.size = sizeof(grown->info);
    return grown;
}

struct host_group *host_add_group(struct host *host)
{
    struct host_group *grown = grow(host->groups, host->group_count, sizeof(*grown));

    if (!grown)
        return NULL;
    host->groups = grown;
    return &grown[host->group_count++];
}

struct host_region *host_add_region(struct host_group *group)
{
    struct host_region *grown = grow(group->regions, group->region_count, sizeof(*grown));

    if (!grown)
        return NULL;
    group->regions = grown;
    return &grown[group->region_count++];
}

struct host_device *host_add_device(struct host *host)
{
    struct host_device *grown = grow(host->devices, host->device_count, sizeof(*grown));

    if (!grown)
        return NULL;
    host->devices = grown;
    return &grown[host->device_count++];
}

struct host_lack *host_add_lack(struct host *host)
{
    struct host_lack *grown = grow(host->lacks, host->lack_count, sizeof(*grown));

    if (!grown)
        return NULL;
    host->lacks = grown;
    return &grown[host->lack_count++];
}

void host_free(struct host *host)
{
    for (size_t i = 0; i < host->group_count; i++)
        free(host->groups[i].regions);
    free(host->groups);
    free(host->iommus);
    free(host->devices);
    free(host->lacks);
    *host = (struct host){.iommus = NULL};
}

struct host_iommu *host_find_iommu(const struct host *host, const char *name)
{
    for (size_t i = 0; i < host->iommu_count; i++) {
        if (!strcmp(host->iommus[i].info.name, name))
            return &host->iommus[i];
    }
    return NULL;
}

struct host_device *host_find_device(const struct host *host, const char *name)
{
    for (size_t i = 0; i < host->device_count; i++) {
        if (!strcmp(host->devices[i].name, name))
            return &host->devices[i];
    }
    return NULL;
}

const struct host_group *host_find_group(const struct host *host, unsigned int number)
{
    for (size_t i = 0; i < host->group_count; i++) {
        if (host->groups[i].number == number)
            return &host->groups[i];
    }
    return NULL;
}

bool host_same_abilities(const struct host_iommu *one, const struct host_iommu *other)
{
    return one->kind == other->kind && one->has_registers == other->has_registers &&
           !memcmp(one->info.registers, other->info.registers, sizeof(one->info.registers));
}

bool host_is_vfio(const struct host_device *device)
{
    return device->node[0] || !strncmp(device->driver, "vfio", strlen("vfio"));
}

/* PCI code and ID assignment: base class 06h. */
bool host_is_bridge(const struct host_device *device)
{
    return device->class_code >> 16 == 0x06;
}
