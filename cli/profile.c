/* SPDX-License-Identifier: MIT */
#include "profile.h"
#include "abilities.h"
#include "host_json.h"
#include "text.h"
#include "vmm.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <viommu/soft.h>

/* What the simulated host tells of a device behind its IOMMU. */
static int ask(struct viommu_host *host, struct viommu_host_hw_info *info, struct viommu_error *err)
{
    struct viommu_soft_device *device;
    uint32_t id;
    int ret = viommu_soft_device_add(host, "any", 0, &device, err);

    if (ret)
        return ret;
    ret = viommu_host_bind(host, "any", &id, err);
    if (!ret)
        ret = viommu_host_hw_info(host, id, info, err);
    return ret;
}

static int load_builtin(struct host *host, const char *name, struct viommu_error *err)
{
    struct viommu_soft_options options = VIOMMU_SOFT_OPTIONS_INIT;
    struct host_iommu *iommu = host_add_iommu(host);
    struct viommu_host *soft;
    int ret;

    if (!iommu)
        return vmm_fail(err, ENOMEM, "no memory for host profile %s", name);
    options.profile = name;
    ret = viommu_soft_create(&soft, &options, err);
    if (ret)
        return ret;
    ret = ask(soft, &iommu->info, err);
    viommu_host_destroy(soft);
    snprintf(host->name, sizeof(host->name), "%s", name);
    iommu->kind = iommu->info.type == VIOMMU_HOST_IOMMU_AMD ? HOST_AMD : HOST_VTD;
    iommu->has_registers = true;
    return ret;
}

static bool is_builtin(const char *name)
{
    return viommu_soft_profile_description(name);
}

int profile_load(struct host *host, const char *name, struct viommu_error *err)
{
    char text[VIOMMU_ERROR_MESSAGE_SIZE];
    int ret;

    if (is_builtin(name))
        return load_builtin(host, name, err);
    ret = host_json_read(host, name, err);
    if (ret != -ENOENT)
        return ret;
    snprintf(text, sizeof(text), "there is no host profile %s: neither a file nor built in, as",
             name);
    for (size_t i = 0; i < viommu_soft_profile_count(); i++)
        text_append(text, sizeof(text), i ? ", " : " ", "%s", viommu_soft_profile_name(i));
    return vmm_fail(err, ENOENT, "%s", text);
}

static const struct host_iommu *find_named(const struct host *host, const char *file,
                                           const char *name, struct viommu_error *err)
{
    const struct host_iommu *iommu = host_find_iommu(host, name);

    if (!iommu)
        vmm_fail(err, EINVAL, "host profile %s has no IOMMU %s; the first of its %zu is %s", file,
                 name, host->iommu_count, host->iommus[0].info.name);
    return iommu;
}

/* The one that is named; without a name, all must be alike. */
static const struct host_iommu *choose(const struct host *host, const char *file, const char *name,
                                       struct viommu_error *err)
{
    if (!host->iommu_count) {
        vmm_fail(err, EINVAL, "host profile %s has no IOMMU; take one that has", file);
        return NULL;
    }
    if (name)
        return find_named(host, file, name, err);
    for (size_t i = 1; i < host->iommu_count; i++) {
        if (!host_same_abilities(&host->iommus[0], &host->iommus[i])) {
            vmm_fail(err, EINVAL,
                     "host profile %s has IOMMUs that differ: add profile-iommu=%s, or =%s, or "
                     "another of them",
                     file, host->iommus[0].info.name, host->iommus[i].info.name);
            return NULL;
        }
    }
    return &host->iommus[0];
}

int profile_read_info(const char *file, const char *iommu, struct viommu_host_hw_info *info,
                      struct viommu_error *err)
{
    struct host host = {.iommus = NULL};
    const struct host_iommu *chosen;
    int ret = host_json_read(&host, file, err);

    chosen = ret ? NULL : choose(&host, file, iommu, err);
    if (chosen && chosen->kind == HOST_VTD && !chosen->has_registers) {
        ret =
            vmm_fail(err, EINVAL, "host profile %s has no registers of IOMMU %s; take one that has",
                     file, chosen->info.name);
    } else if (chosen) {
        *info = chosen->info;
        info->dirty_tracking = abilities_track_dirty(info);
        snprintf(info->name, sizeof(info->name), "%.31s %.31s", host.name, chosen->info.name);
    } else if (!ret) {
        ret = -EINVAL;
    }
    host_free(&host);
    return ret;
}
