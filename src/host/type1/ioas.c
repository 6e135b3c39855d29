/* SPDX-License-Identifier: MIT */
/* Address spaces and page tables, which are lists of ours; the containers follow. */
#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "host/type1/type1.h"

static struct type1_ioas *ioas_find(struct type1_host *host, uint32_t id)
{
    struct type1_ioas *ioas;

    LIST_FOREACH(ioas, &host->ioases, link)
    {
        if (ioas->id == id)
            break;
    }
    return ioas;
}

struct type1_hwpt *type1_hwpt_find(struct type1_host *host, uint32_t id)
{
    struct type1_hwpt *hwpt;

    LIST_FOREACH(hwpt, &host->hwpts, link)
    {
        if (hwpt->id == id)
            break;
    }
    return hwpt;
}

int type1_ioas_alloc(void *opaque, uint32_t *ioas_id, struct viommu_error *error)
{
    struct type1_host *host = opaque;
    struct type1_ioas *ioas = calloc(1, sizeof(*ioas));

    if (!ioas)
        return error_set(error, -ENOMEM, "No memory for an IOAS");
    pthread_mutex_lock(&host->lock);
    *ioas_id = ioas->id = type1_next_id(host);
    LIST_INSERT_HEAD(&host->ioases, ioas, link);
    pthread_mutex_unlock(&host->lock);
    return 0;
}

/* Mapping */

static bool uses(const struct type1_group *group, const struct type1_ioas *ioas)
{
    return group->hwpt && group->hwpt->ioas == ioas;
}

static void undo_map(struct type1_host *host, const struct type1_ioas *ioas,
                     const struct host_area *area)
{
    struct type1_group *group;

    LIST_FOREACH(group, &host->groups, link)
    {
        if (uses(group, ioas))
            type1_group_undo_map(host, group, area);
    }
}

/* In the containers of all groups that use the IOAS, or in none. */
static int map_into_all(struct type1_host *host, const struct type1_ioas *ioas,
                        const struct host_area *area, struct viommu_error *error)
{
    struct type1_group *group;
    int ret = 0;

    LIST_FOREACH(group, &host->groups, link)
    {
        if (uses(group, ioas) && !ret)
            ret = type1_group_map(host, group, ioas->id, area, error);
    }
    if (ret)
        undo_map(host, ioas, area);
    return ret;
}

static int add_area(struct type1_host *host, struct type1_ioas *ioas, struct host_area *area,
                    struct viommu_error *error)
{
    int ret = host_areas_check_free(&ioas->areas, ioas->id, area->start, area->last, error);

    if (ret)
        return ret;
    if (!tsearch(area, &ioas->areas, host_areas_compare))
        return error_set(error, -ENOMEM, "No memory for a mapping of IOAS %u", ioas->id);
    ret = map_into_all(host, ioas, area, error);
    if (ret)
        tdelete(area, &ioas->areas, host_areas_compare);
    return ret;
}

int type1_ioas_map(void *opaque, uint32_t ioas_id, uint64_t iova, void *address, uint64_t length,
                   uint32_t flags, struct viommu_error *error)
{
    struct type1_host *host = opaque;
    struct host_area *area = malloc(sizeof(*area));
    struct type1_ioas *ioas;
    int ret;

    if (!area)
        return error_set(error, -ENOMEM, "No memory for a mapping of IOAS %u", ioas_id);
    *area = (struct host_area){iova, iova + length - 1, (uintptr_t)address, flags};
    pthread_mutex_lock(&host->lock);
    ioas = ioas_find(host, ioas_id);
    if (ioas)
        ret = add_area(host, ioas, area, error);
    else
        ret = error_set(error, -ENOENT, "There is no IOAS %u to map into", ioas_id);
    pthread_mutex_unlock(&host->lock);
    if (ret)
        free(area);
    return ret;
}

/* From all containers, or it is mapped again in those that let go of it. */
static int remove_area(struct type1_host *host, struct type1_ioas *ioas, struct host_area *area,
                       struct viommu_error *error)
{
    struct type1_group *group, *undo;
    int ret;

    LIST_FOREACH(group, &host->groups, link)
    {
        ret = uses(group, ioas) ? type1_group_unmap(host, group, area) : 0;
        if (!ret)
            continue;
        for (undo = LIST_FIRST(&host->groups); undo != group; undo = LIST_NEXT(undo, link)) {
            if (uses(undo, ioas))
                type1_group_map(host, undo, ioas->id, area, error);
        }
        return error_set(error, ret, "IOVAs 0x%llx-0x%llx of IOAS %u cannot be unmapped: %s",
                         (unsigned long long)area->start, (unsigned long long)area->last, ioas->id,
                         strerror(-ret));
    }
    tdelete(area, &ioas->areas, host_areas_compare);
    free(area);
    return 0;
}

static int unmap_range(struct type1_host *host, struct type1_ioas *ioas, uint64_t start,
                       uint64_t last, uint64_t *unmapped, struct viommu_error *error)
{
    bool all = start == 0 && last == UINT64_MAX;
    int ret = host_areas_check_cut(&ioas->areas, ioas->id, start, last, error);
    struct host_area *area;

    *unmapped = 0;
    while (!ret && (area = host_areas_find(&ioas->areas, start, last))) {
        uint64_t length = host_area_length(area);

        ret = remove_area(host, ioas, area, error);
        *unmapped += length;
    }
    if (ret || *unmapped || all)
        return ret;
    return error_set(error, -ENOENT, "Nothing is mapped at IOVAs 0x%llx..0x%llx of IOAS %u",
                     (unsigned long long)start, (unsigned long long)last, ioas->id);
}

int type1_ioas_unmap(void *opaque, uint32_t ioas_id, uint64_t iova, uint64_t length,
                     uint64_t *unmapped, struct viommu_error *error)
{
    struct type1_host *host = opaque;
    uint64_t last = length == UINT64_MAX ? UINT64_MAX : iova + length - 1;
    struct type1_ioas *ioas;
    int ret;

    pthread_mutex_lock(&host->lock);
    ioas = ioas_find(host, ioas_id);
    if (ioas)
        ret = unmap_range(host, ioas, iova, last, unmapped, error);
    else
        ret = error_set(error, -ENOENT, "There is no IOAS %u to unmap from", ioas_id);
    pthread_mutex_unlock(&host->lock);
    return ret;
}

/* Where one can map */

struct ranges {
    struct viommu_host_iova_range all[TYPE1_RANGES_MAX];
    size_t count;
};

static void intersect(struct ranges *ranges, const struct ranges *with)
{
    struct ranges both = {.count = 0};

    for (size_t i = 0; i < ranges->count; i++) {
        for (size_t j = 0; j < with->count && both.count < TYPE1_RANGES_MAX; j++) {
            const struct viommu_host_iova_range *a = &ranges->all[i], *b = &with->all[j];
            uint64_t start = a->start > b->start ? a->start : b->start;
            uint64_t last = a->last < b->last ? a->last : b->last;

            if (start <= last)
                both.all[both.count++] = (struct viommu_host_iova_range){start, last};
        }
    }
    *ranges = both;
}

static int ranges_of(struct type1_host *host, const struct type1_ioas *ioas, struct ranges *ranges,
                     struct viommu_error *error)
{
    struct type1_group *group;
    struct ranges own;
    int ret;

    *ranges = (struct ranges){.all = {{0, UINT64_MAX}}, .count = 1};
    LIST_FOREACH(group, &host->groups, link)
    {
        if (!uses(group, ioas))
            continue;
        ret = type1_group_ranges(host, group, own.all, &own.count);
        if (ret)
            return error_set(error, ret, "The IOVA ranges of IOMMU group %s cannot be read: %s",
                             group->number, strerror(-ret));
        intersect(ranges, &own);
    }
    return 0;
}

int type1_ioas_iova_ranges(void *opaque, uint32_t ioas_id, struct viommu_host_iova_range *ranges,
                           size_t *count, struct viommu_error *error)
{
    struct type1_host *host = opaque;
    struct type1_ioas *ioas;
    size_t room = *count;
    struct ranges found;
    int ret;

    pthread_mutex_lock(&host->lock);
    ioas = ioas_find(host, ioas_id);
    if (ioas)
        ret = ranges_of(host, ioas, &found, error);
    else
        ret = error_set(error, -ENOENT, "There is no IOAS %u", ioas_id);
    pthread_mutex_unlock(&host->lock);
    if (ret)
        return ret;
    *count = found.count;
    if (room < found.count)
        return error_set(error, -EMSGSIZE, "IOAS %u has %zu ranges of IOVAs, there is room for %zu",
                         ioas_id, found.count, room);
    memcpy(ranges, found.all, found.count * sizeof(found.all[0]));
    return 0;
}

/* Page tables */

static int check_options(struct type1_host *host, const struct viommu_host_hwpt_options *options,
                         struct viommu_error *error)
{
    if (options->flags || options->data_type != VIOMMU_HOST_DATA_NONE)
        return error_set(error, -EOPNOTSUPP,
                         "VFIO containers have no HWPT with flags 0x%x and data type %d: no "
                         "nesting, PASIDs, page requests or dirty tracking; use hw-nested=off, or "
                         "the host iommufd",
                         options->flags, (int)options->data_type);
    if (!type1_device_find(host, options->device_id))
        return error_set(error, -ENOENT, "There is no bound device %u to allocate a HWPT for",
                         options->device_id);
    return 0;
}

static int alloc_locked(struct type1_host *host, const struct viommu_host_hwpt_options *options,
                        uint32_t *hwpt_id, struct viommu_error *error)
{
    struct type1_ioas *ioas = ioas_find(host, options->parent_id);
    int ret = check_options(host, options, error);
    struct type1_hwpt *hwpt;

    if (ret)
        return ret;
    if (!ioas)
        return error_set(error, -EINVAL, "Parent %u of a new HWPT is no IOAS", options->parent_id);
    hwpt = calloc(1, sizeof(*hwpt));
    if (!hwpt)
        return error_set(error, -ENOMEM, "No memory for a HWPT");
    *hwpt_id = hwpt->id = type1_next_id(host);
    hwpt->ioas = ioas;
    ioas->hwpts++;
    LIST_INSERT_HEAD(&host->hwpts, hwpt, link);
    return 0;
}

int type1_hwpt_alloc(void *opaque, const struct viommu_host_hwpt_options *options,
                     uint32_t *hwpt_id, struct viommu_error *error)
{
    struct type1_host *host = opaque;
    int ret;

    pthread_mutex_lock(&host->lock);
    ret = alloc_locked(host, options, hwpt_id, error);
    pthread_mutex_unlock(&host->lock);
    return ret;
}

/* No HWPT here is nested. */
int type1_invalidate(void *opaque, uint32_t hwpt_id, enum viommu_host_data type,
                     const void *entries, size_t entry_length, uint32_t *count,
                     struct viommu_error *error)
{
    (void)opaque;
    (void)type;
    (void)entries;
    (void)entry_length;
    *count = 0;
    return error_set(error, -EINVAL, "HWPT %u is not nested: there is nothing to invalidate",
                     hwpt_id);
}

/* The end of both */

static void ioas_free(struct type1_ioas *ioas)
{
    tdestroy(ioas->areas, free);
    LIST_REMOVE(ioas, link);
    free(ioas);
}

static void hwpt_free(struct type1_hwpt *hwpt)
{
    hwpt->ioas->hwpts--;
    LIST_REMOVE(hwpt, link);
    free(hwpt);
}

static int destroy_locked(struct type1_host *host, uint32_t id, struct viommu_error *error)
{
    struct type1_ioas *ioas = ioas_find(host, id);
    struct type1_hwpt *hwpt = type1_hwpt_find(host, id);

    if (type1_device_find(host, id))
        return error_set(error, -EBUSY, "Object %u is a bound device; unbind it", id);
    if (ioas && ioas->hwpts)
        return error_set(error, -EBUSY, "IOAS %u is used by %u HWPTs; destroy them first", id,
                         ioas->hwpts);
    if (hwpt && hwpt->groups)
        return error_set(error, -EBUSY,
                         "%u IOMMU groups are attached to HWPT %u; detach them first", hwpt->groups,
                         id);
    if (!ioas && !hwpt)
        return error_set(error, -ENOENT, "There is no object %u", id);
    if (ioas)
        ioas_free(ioas);
    else
        hwpt_free(hwpt);
    return 0;
}

int type1_destroy_object(void *opaque, uint32_t id, struct viommu_error *error)
{
    struct type1_host *host = opaque;
    int ret;

    pthread_mutex_lock(&host->lock);
    ret = destroy_locked(host, id, error);
    pthread_mutex_unlock(&host->lock);
    return ret;
}

void type1_objects_destroy(struct type1_host *host)
{
    struct type1_hwpt *hwpt, *next_hwpt;
    struct type1_ioas *ioas, *next_ioas;

    for (hwpt = LIST_FIRST(&host->hwpts); hwpt; hwpt = next_hwpt) {
        next_hwpt = LIST_NEXT(hwpt, link);
        hwpt_free(hwpt);
    }
    for (ioas = LIST_FIRST(&host->ioases); ioas; ioas = next_ioas) {
        next_ioas = LIST_NEXT(ioas, link);
        ioas_free(ioas);
    }
}
