/* SPDX-License-Identifier: MIT */
/* I/O address spaces: areas that never overlap, mapped into every paging HWPT of the IOAS. */
#include <errno.h>
#include <search.h>
#include <stdlib.h>

#include "base/bits.h"
#include "base/error.h"
#include "host/areas.h"
#include "host/soft/soft.h"

int soft_ioas_alloc(void *opaque, uint32_t *ioas_id, struct viommu_error *error)
{
    struct soft_host *host = opaque;
    struct soft_ioas *ioas = calloc(1, sizeof(*ioas));
    int ret;

    if (!ioas)
        return error_set(error, -ENOMEM, "No memory for an IOAS");
    LIST_INIT(&ioas->hwpts);
    pthread_rwlock_wrlock(&host->lock);
    ret = soft_object_add(host, &ioas->object, SOFT_IOAS, error);
    if (!ret)
        *ioas_id = ioas->object.id;
    pthread_rwlock_unlock(&host->lock);
    if (ret)
        free(ioas);
    return ret;
}

static void area_free(struct soft_host *host, struct host_area *area)
{
    host->mapped_bytes -= host_area_length(area);
    free(area);
}

void soft_ioas_free(struct soft_host *host, struct soft_ioas *ioas)
{
    struct host_area *area;

    while ((area = host_areas_find(&ioas->areas, 0, UINT64_MAX))) {
        tdelete(area, &ioas->areas, host_areas_compare);
        area_free(host, area);
    }
    soft_object_remove(&ioas->object);
    free(ioas);
}

/* Erratum 772415: a nesting parent must not have read-only pages, the hardware would write them. */
static int check_readonly(const struct soft_hwpt *hwpt, uint64_t iova, uint32_t flags,
                          struct viommu_error *error)
{
    if ((flags & VIOMMU_HOST_MAP_WRITE) || !(hwpt->flags & VIOMMU_HOST_HWPT_NEST_PARENT) ||
        !(hwpt->host->info.quirks & VIOMMU_HOST_QUIRK_772415))
        return 0;
    return error_set(
        error, -EINVAL,
        "Read-only mapping at IOVA 0x%llx in nesting parent HWPT %u: erratum 772415 of "
        "%s does not honour it; map it writable, or leave it out",
        (unsigned long long)iova, hwpt->object.id, hwpt->host->info.name);
}

static int map_into(struct soft_hwpt *hwpt, const struct host_area *area,
                    struct viommu_error *error)
{
    int ret = check_readonly(hwpt, area->start, area->flags, error);

    if (ret)
        return ret;
    ret = soft_second_map(hwpt, area->start, area->address, host_area_length(area), area->flags);
    if (ret)
        error_set(error, ret, "No memory for second-stage tables of HWPT %u", hwpt->object.id);
    return ret;
}

/* In all HWPTs of the IOAS, or in none. */
static int map_into_all(struct soft_ioas *ioas, const struct host_area *area,
                        struct viommu_error *error)
{
    struct soft_hwpt *hwpt, *undo;

    LIST_FOREACH(hwpt, &ioas->hwpts, sibling)
    {
        int ret = map_into(hwpt, area, error);

        if (!ret)
            continue;
        for (undo = LIST_FIRST(&ioas->hwpts); undo != hwpt; undo = LIST_NEXT(undo, sibling))
            soft_second_unmap(undo, area->start, host_area_length(area));
        return ret;
    }
    return 0;
}

static int check_area(struct soft_host *host, struct soft_ioas *ioas, const struct host_area *area,
                      struct viommu_error *error)
{
    uint64_t limit = low_bits(host->caps.address_width);

    if (area->last > limit)
        return error_set(
            error, -EINVAL,
            "IOVA 0x%llx is beyond the %u bits (0x%llx) that the IOMMU of %s translates",
            (unsigned long long)area->last, host->caps.address_width, (unsigned long long)limit,
            host->info.name);
    if (area->start <= SOFT_MSI_LAST && area->last >= SOFT_MSI_START)
        return error_set(
            error, -EINVAL,
            "IOVAs 0x%llx..0x%llx reach into the interrupt range 0x%llx..0x%llx; leave "
            "it out",
            (unsigned long long)area->start, (unsigned long long)area->last,
            (unsigned long long)SOFT_MSI_START, (unsigned long long)SOFT_MSI_LAST);
    return host_areas_check_free(&ioas->areas, ioas->object.id, area->start, area->last, error);
}

static int add_area(struct soft_host *host, struct soft_ioas *ioas, struct host_area *area,
                    struct viommu_error *error)
{
    int ret = check_area(host, ioas, area, error);

    if (ret)
        return ret;
    if (!tsearch(area, &ioas->areas, host_areas_compare))
        return error_set(error, -ENOMEM, "No memory for a mapping of IOAS %u", ioas->object.id);
    ret = map_into_all(ioas, area, error);
    if (ret) {
        tdelete(area, &ioas->areas, host_areas_compare);
        return ret;
    }
    host->mapped_bytes += host_area_length(area);
    return 0;
}

int soft_ioas_map(void *opaque, uint32_t ioas_id, uint64_t iova, void *address, uint64_t length,
                  uint32_t flags, struct viommu_error *error)
{
    struct soft_host *host = opaque;
    struct host_area *area = malloc(sizeof(*area));
    struct soft_ioas *ioas;
    int ret;

    if (!area)
        return error_set(error, -ENOMEM, "No memory for a mapping of IOAS %u", ioas_id);
    *area = (struct host_area){iova, iova + length - 1, (uintptr_t)address, flags};
    pthread_rwlock_wrlock(&host->lock);
    ioas = soft_find_ioas(host, ioas_id);
    if (ioas)
        ret = add_area(host, ioas, area, error);
    else
        ret = error_set(error, -ENOENT, "There is no IOAS %u to map into", ioas_id);
    pthread_rwlock_unlock(&host->lock);
    if (ret)
        free(area);
    return ret;
}

/* Nested caches go as a whole: which of their pages came through this one is not remembered. */
static void unmap_from_all(struct soft_ioas *ioas, const struct host_area *area)
{
    struct soft_hwpt *hwpt, *child;

    LIST_FOREACH(hwpt, &ioas->hwpts, sibling)
    {
        soft_second_unmap(hwpt, area->start, host_area_length(area));
        soft_cache_drop(&hwpt->cache, area->start, area->last);
        soft_tlb_forget_hwpt(hwpt, area->start, area->last);
        LIST_FOREACH(child, &hwpt->nested, sibling)
        {
            soft_cache_clear(&child->cache);
            soft_tlb_forget_hwpt(child, 0, UINT64_MAX);
        }
    }
}

static int unmap_range(struct soft_host *host, struct soft_ioas *ioas, uint64_t start,
                       uint64_t last, uint64_t *unmapped, struct viommu_error *error)
{
    bool all = start == 0 && last == UINT64_MAX;
    int ret = host_areas_check_cut(&ioas->areas, ioas->object.id, start, last, error);
    struct host_area *area;

    if (ret)
        return ret;
    *unmapped = 0;
    while ((area = host_areas_find(&ioas->areas, start, last))) {
        unmap_from_all(ioas, area);
        *unmapped += host_area_length(area);
        tdelete(area, &ioas->areas, host_areas_compare);
        area_free(host, area);
    }
    if (!*unmapped && !all)
        return error_set(error, -ENOENT, "Nothing is mapped at IOVAs 0x%llx..0x%llx of IOAS %u",
                         (unsigned long long)start, (unsigned long long)last, ioas->object.id);
    return 0;
}

int soft_ioas_unmap(void *opaque, uint32_t ioas_id, uint64_t iova, uint64_t length,
                    uint64_t *unmapped, struct viommu_error *error)
{
    struct soft_host *host = opaque;
    uint64_t last = length == UINT64_MAX ? UINT64_MAX : iova + length - 1;
    struct soft_ioas *ioas;
    int ret;

    soft_lock(host);
    ioas = soft_find_ioas(host, ioas_id);
    if (ioas)
        ret = unmap_range(host, ioas, iova, last, unmapped, error);
    else
        ret = error_set(error, -ENOENT, "There is no IOAS %u to unmap from", ioas_id);
    soft_unlock(host);
    return ret;
}

/* The same before and after a HWPT is allocated: all IOMMUs of a host are of one profile. */
int soft_ioas_iova_ranges(void *opaque, uint32_t ioas_id, struct viommu_host_iova_range *ranges,
                          size_t *count, struct viommu_error *error)
{
    struct soft_host *host = opaque;
    const struct viommu_host_iova_range all[] = {
        {0, SOFT_MSI_START - 1},
        {SOFT_MSI_LAST + 1, low_bits(host->caps.address_width)},
    };
    const size_t needed = sizeof(all) / sizeof(all[0]);
    size_t room = *count;
    struct soft_ioas *ioas;

    pthread_rwlock_rdlock(&host->lock);
    ioas = soft_find_ioas(host, ioas_id);
    pthread_rwlock_unlock(&host->lock);
    if (!ioas)
        return error_set(error, -ENOENT, "There is no IOAS %u", ioas_id);
    *count = needed;
    if (room < needed)
        return error_set(error, -EMSGSIZE, "IOAS %u has %zu ranges of IOVAs, there is room for %zu",
                         ioas_id, needed, room);
    for (size_t i = 0; i < needed; i++)
        ranges[i] = all[i];
    return 0;
}

struct fill {
    struct soft_hwpt *hwpt;
    struct viommu_error *error;
    int ret;
};

static void fill_visit(const void *node, VISIT visit, void *opaque)
{
    struct fill *fill = opaque;

    if ((visit == postorder || visit == leaf) && !fill->ret)
        fill->ret = map_into(fill->hwpt, *(struct host_area *const *)node, fill->error);
}

/* Map what the IOAS holds into a new HWPT; when it fails, destroying the HWPT undoes it. */
int soft_ioas_fill(struct soft_ioas *ioas, struct soft_hwpt *hwpt, struct viommu_error *error)
{
    struct fill fill = {hwpt, error, 0};

    twalk_r(ioas->areas, fill_visit, &fill);
    return fill.ret;
}

struct holds {
    uint64_t hpa;
    uint64_t last;
    uint8_t access;
    enum viommu_dma_status status;
};

static void holds_visit(const void *node, VISIT visit, void *opaque)
{
    struct holds *holds = opaque;
    const struct host_area *area;

    if ((visit != postorder && visit != leaf) || holds->status == VIOMMU_DMA_OK)
        return;
    area = *(struct host_area *const *)node;
    if (holds->hpa < area->address || holds->last > area->address + (host_area_length(area) - 1))
        return;
    if ((holds->access & VIOMMU_DMA_WRITE) && !(area->flags & VIOMMU_HOST_MAP_WRITE))
        holds->status = VIOMMU_DMA_READONLY;
    else
        holds->status = VIOMMU_DMA_OK;
}

enum viommu_dma_status soft_ioas_holds(const struct soft_ioas *ioas, uint64_t hpa, uint64_t length,
                                       uint8_t access)
{
    struct holds holds = {hpa, hpa + (length - 1), access, VIOMMU_DMA_NO_MEMORY};

    twalk_r(ioas->areas, holds_visit, &holds);
    return holds.status;
}
