/* SPDX-License-Identifier: MIT */
/*
 * Asking the kernel itself: each device that VFIO has, and that is free, is bound to iommufd for a
 * moment. Nothing is attached or mapped, and everything given back.
 */
#include "host.h"
#include "text.h"
#include <stdio.h>
#include <string.h>
#include <viommu/iommufd.h>

/* Whether the kernel makes a nesting parent for it: only then does it use what the hardware has. */
static bool makes_parent(struct viommu_host *kernel, uint32_t id)
{
    struct viommu_host_hwpt_options options = {
        .size = sizeof(options), .device_id = id, .flags = VIOMMU_HOST_HWPT_NEST_PARENT};
    uint32_t hwpt;
    bool made;

    if (viommu_host_ioas_alloc(kernel, &options.parent_id, NULL))
        return false;
    made = !viommu_host_hwpt_alloc(kernel, &options, &hwpt, NULL);
    if (made)
        viommu_host_destroy_object(kernel, hwpt, NULL);
    viommu_host_destroy_object(kernel, options.parent_id, NULL);
    return made;
}

static void probe_device(struct viommu_host *kernel, struct host_device *device)
{
    struct host_probe *probe = &device->probe;
    struct viommu_error error;
    uint32_t id;
    int ret = viommu_host_bind(kernel, device->name, &id, &error);

    probe->asked = true;
    if (!ret) {
        probe->info.size = sizeof(probe->info);
        ret = viommu_host_hw_info(kernel, id, &probe->info, &error);
        probe->nest_parent = makes_parent(kernel, id);
        viommu_host_unbind(kernel, id);
    }
    probe->told = !ret;
    if (ret)
        snprintf(probe->refusal, sizeof(probe->refusal), "%.300s", error.message);
}

/* The kernel's word counts more than what sysfs says, and than what follows from options. */
static void take_probe(struct host *host, const struct host_device *device)
{
    struct host_iommu *iommu = host_find_iommu(host, device->iommu);
    const struct viommu_host_hw_info *info = &device->probe.info;

    if (!iommu || info->type != VIOMMU_HOST_IOMMU_VTD || iommu->kind != HOST_VTD)
        return;
    memcpy(iommu->info.registers, info->registers, sizeof(info->registers));
    iommu->info.quirks = info->quirks;
    iommu->has_registers = true;
    if (device->probe.nest_parent)
        host->scalable = ANSWER_YES;
    else if (host_iommu_can_nest(iommu))
        host->scalable = ANSWER_NO;
}

static bool is_free(const struct host_device *device)
{
    return device->node_usable && !device->user;
}

static bool is_named(const char *const *devices, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (!strcmp(devices[i], name))
            return true;
    }
    return !count;
}

void host_probe(struct host *host, const char *const *devices, size_t count)
{
    struct viommu_host *kernel;
    struct viommu_error error;
    unsigned int told = 0, asked = 0;

    if (viommu_iommufd_create(&kernel, NULL, &error)) {
        snprintf(host->probed, sizeof(host->probed), "cannot be asked for: %.230s", error.message);
        return;
    }
    for (size_t i = 0; i < host->device_count; i++) {
        struct host_device *device = &host->devices[i];

        if (!is_free(device) || !is_named(devices, count, device->name))
            continue;
        asked++;
        probe_device(kernel, device);
        if (device->probe.told) {
            told++;
            take_probe(host, device);
        }
    }
    viommu_host_destroy(kernel);
    snprintf(host->probed, sizeof(host->probed), "of %u of the %u devices that VFIO has free", told,
             asked);
}
