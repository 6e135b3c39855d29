/* SPDX-License-Identifier: MIT */
/* What a group's container maps: nothing, or what the IOAS of its HWPT holds. */
#include <errno.h>
#include <search.h>

#include "base/error.h"
#include "base/log.h"
#include "host/type1/type1.h"

/*
 * Going through the areas of an IOAS that are not in another one, too; ends with the first failure.
 */
struct walk {
    struct type1_host *host;
    struct type1_group *group;
    uint32_t ioas_id;
    const struct type1_ioas *but; /* NULL: all areas */
    struct viommu_error *error;
    int ret;
};

static bool is_meant(const struct walk *walk, VISIT visit, const struct host_area *area)
{
    const struct host_area *other;

    if (visit != postorder && visit != leaf)
        return false;
    other = walk->but ? host_areas_find(&walk->but->areas, area->start, area->last) : NULL;
    return !other || other->start != area->start || other->last != area->last ||
           other->address != area->address || other->flags != area->flags;
}

static void map_visit(const void *node, VISIT visit, void *opaque)
{
    struct walk *walk = opaque;

    if (is_meant(walk, visit, *(struct host_area *const *)node) && !walk->ret)
        walk->ret = type1_group_map(walk->host, walk->group, walk->ioas_id,
                                    *(struct host_area *const *)node, walk->error);
}

static void unmap_visit(const void *node, VISIT visit, void *opaque)
{
    struct walk *walk = opaque;

    if (is_meant(walk, visit, *(struct host_area *const *)node) && !walk->ret)
        walk->ret = type1_group_unmap(walk->host, walk->group, *(struct host_area *const *)node);
}

static void undo_map_visit(const void *node, VISIT visit, void *opaque)
{
    struct walk *walk = opaque;

    if (is_meant(walk, visit, *(struct host_area *const *)node))
        type1_group_undo_map(walk->host, walk->group, *(struct host_area *const *)node);
}

/* What maps already in an IOAS that was emptied in part is EEXIST to the kernel: it may be. */
static void map_again_visit(const void *node, VISIT visit, void *opaque)
{
    struct walk *walk = opaque;
    int ret;

    if (!is_meant(walk, visit, *(struct host_area *const *)node))
        return;
    ret = type1_group_map(walk->host, walk->group, walk->ioas_id, *(struct host_area *const *)node,
                          walk->error);
    if (ret && ret != -EEXIST)
        walk->ret = ret;
}

static int walk(struct type1_host *host, struct type1_group *group, const struct type1_ioas *ioas,
                const struct type1_ioas *but, void (*visit)(const void *, VISIT, void *),
                struct viommu_error *error)
{
    struct walk walk = {host, group, ioas->id, but, error, 0};

    twalk_r(ioas->areas, visit, &walk);
    return walk.ret;
}

/* The container held all of this before; what it does not take again is blocked. */
static void restore(struct type1_host *host, struct type1_group *group)
{
    struct viommu_error error;

    if (group->hwpt && walk(host, group, group->hwpt->ioas, NULL, map_again_visit, &error))
        log_message(&host->log, VIOMMU_LOG_ERROR,
                    "IOMMU group %s has lost mappings of HWPT %u, its DMA to these is blocked: %s",
                    group->number, group->hwpt->id, error.message);
}

/* Take away what is not in `but`, too. */
static int empty(struct type1_host *host, struct type1_group *group, const struct type1_ioas *but,
                 struct viommu_error *error)
{
    int ret = group->hwpt ? walk(host, group, group->hwpt->ioas, but, unmap_visit, error) : 0;

    if (!ret)
        return 0;
    restore(host, group);
    return error_set(error, ret, "The mappings of IOMMU group %s cannot be taken away",
                     group->number);
}

/* What the container maps already and shall map stays: DMA to it is not missed. */
static int refill(struct type1_host *host, struct type1_group *group, const struct type1_hwpt *hwpt,
                  struct viommu_error *error)
{
    const struct type1_ioas *old = group->hwpt ? group->hwpt->ioas : NULL;
    struct viommu_error ignored;
    int ret = empty(host, group, hwpt->ioas, error);

    if (ret)
        return ret;
    ret = walk(host, group, hwpt->ioas, old, map_visit, error);
    if (!ret)
        return 0;
    walk(host, group, hwpt->ioas, old, undo_map_visit, &ignored);
    restore(host, group);
    return ret;
}

static void set_hwpt(struct type1_group *group, struct type1_hwpt *hwpt)
{
    if (group->hwpt)
        group->hwpt->groups--;
    group->hwpt = hwpt;
    if (hwpt)
        hwpt->groups++;
}

static int check_stuck(const struct type1_group *group, struct viommu_error *error)
{
    if (!group->stuck)
        return 0;
    return error_set(error, -EIO,
                     "IOMMU group %s maps what it should not, and the kernel did not undo that; "
                     "unbind its devices",
                     group->number);
}

static int attach_group(struct type1_host *host, struct type1_group *group, struct type1_hwpt *hwpt,
                        struct viommu_error *error)
{
    int ret = check_stuck(group, error);

    if (!ret && (!group->hwpt || group->hwpt->ioas != hwpt->ioas))
        ret = refill(host, group, hwpt, error);
    if (!ret)
        set_hwpt(group, hwpt);
    return ret;
}

static int check_pasid(uint32_t pasid, struct viommu_error *error)
{
    if (pasid == VIOMMU_PASID_NONE)
        return 0;
    return error_set(error, -EINVAL,
                     "PASID %u cannot be attached: VFIO containers know none; use the host iommufd",
                     pasid);
}

static int attach_locked(struct type1_host *host, uint32_t device_id, uint32_t hwpt_id,
                         struct viommu_error *error)
{
    struct type1_device *device = type1_device_find(host, device_id);
    struct type1_hwpt *hwpt = type1_hwpt_find(host, hwpt_id);
    int ret;

    if (!device)
        return error_set(error, -ENOENT, "There is no bound device %u to attach", device_id);
    if (!hwpt)
        return error_set(error, -ENOENT, "There is no HWPT %u to attach device %s to", hwpt_id,
                         device->address);
    ret = attach_group(host, device->group, hwpt, error);
    if (!ret)
        device->attached = true;
    return ret;
}

int type1_attach(void *opaque, uint32_t device_id, uint32_t pasid, uint32_t hwpt_id,
                 struct viommu_error *error)
{
    struct type1_host *host = opaque;
    int ret = check_pasid(pasid, error);

    if (ret)
        return ret;
    pthread_mutex_lock(&host->lock);
    ret = attach_locked(host, device_id, hwpt_id, error);
    pthread_mutex_unlock(&host->lock);
    return ret;
}

static bool others_attached(const struct type1_host *host, const struct type1_device *device)
{
    const struct type1_device *other;

    LIST_FOREACH(other, &host->devices, link)
    {
        if (other != device && other->group == device->group && other->attached)
            return true;
    }
    return false;
}

/* While another device of the group is attached the container keeps its mappings, for that one. */
int type1_device_detach(struct type1_host *host, struct type1_device *device,
                        struct viommu_error *error)
{
    int ret = check_stuck(device->group, error);

    if (ret || !device->attached)
        return ret;
    if (!others_attached(host, device)) {
        ret = empty(host, device->group, NULL, error);
        if (!ret)
            set_hwpt(device->group, NULL);
    }
    if (!ret)
        device->attached = false;
    return ret;
}

int type1_detach(void *opaque, uint32_t device_id, uint32_t pasid, struct viommu_error *error)
{
    struct type1_host *host = opaque;
    struct type1_device *device;
    int ret = 0;

    pthread_mutex_lock(&host->lock);
    device = type1_device_find(host, device_id);
    if (!device)
        ret = error_set(error, -ENOENT, "There is no bound device %u to detach", device_id);
    else if (pasid == VIOMMU_PASID_NONE)
        ret = type1_device_detach(host, device, error);
    pthread_mutex_unlock(&host->lock);
    return ret;
}
