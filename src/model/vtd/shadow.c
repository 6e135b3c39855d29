/* SPDX-License-Identifier: MIT */
/*
 * A guest's second-stage table, mirrored into an IOAS of its own.
 *
 * Leaves that adjoin in both IOVA and memory are one area of the IOAS. Areas never grow over what
 * an earlier invalidation made, and therefore usually are what the guest mapped in one go and
 * unmaps in one go. But an area can only be unmapped as a whole: when an invalidation would cut
 * one, bind.c moves the device to a new mirror that is `exact`, so that DMA to the part that stays
 * never misses.
 */
#include <errno.h>
#include <search.h>
#include <stdlib.h>

#include "base/bits.h"
#include "base/error.h"
#include "model/vtd/shadow.h"

/* Areas that overlap are equal: looking up a range finds one that is in it. */
static int compare_areas(const void *left, const void *right)
{
    const struct area *a = left, *b = right;

    if (a->iova + (a->length - 1) < b->iova)
        return -1;
    return b->iova + (b->length - 1) < a->iova;
}

/* Before a host call for an area. */
static int charge(struct vtd_shadow *shadow, const struct area *area, struct viommu_error *error)
{
    if (nest_work(shadow->assigned->vtd, NEST_WORK_CALL + (area->length >> 16)))
        return 0;
    return nest_work_exceeded(error);
}

static void count_area(struct vtd_shadow *shadow, int change)
{
    shadow->count += change;
    shadow->assigned->vtd->nest->areas += change;
}

static int unmap_area(struct vtd_shadow *shadow, const struct area *area,
                      struct viommu_error *error)
{
    struct viommu_host *host = viommu_host_device_host(shadow->assigned->device);
    int ret = charge(shadow, area, error);

    if (ret)
        return ret;
    vtd_count(shadow->assigned->vtd, shadow_unmaps);
    return viommu_host_ioas_unmap(host, shadow->ioas, area->iova, area->length, NULL, error);
}

/* Remember an area that is mapped. */
static int keep_area(struct vtd_shadow *shadow, const struct area *area, struct viommu_error *error)
{
    struct area *node = malloc(sizeof(*node));

    if (!node || !(*node = *area, tsearch(node, &shadow->areas, compare_areas))) {
        free(node);
        return error_set(error, -ENOMEM, "no memory to mirror its second-stage table");
    }
    count_area(shadow, 1);
    return 0;
}

static int map_area(struct vtd_shadow *shadow, const struct area *area, struct viommu_error *error)
{
    struct viommu_host *host = viommu_host_device_host(shadow->assigned->device);
    int ret = charge(shadow, area, error);

    if (ret)
        return ret;
    if (shadow->assigned->vtd->nest->areas >= NEST_AREAS_MAX)
        return shadow_too_many_areas(error);
    vtd_count(shadow->assigned->vtd, shadow_maps);
    ret = viommu_host_ioas_map(host, shadow->ioas, area->iova, area->host, area->length,
                               area->flags, error);
    return ret ? ret : keep_area(shadow, area, error);
}

static int order_areas(const void *left, const void *right)
{
    const struct area *a = left, *b = right;

    return a->iova < b->iova ? -1 : a->iova > b->iova;
}

/* The range grows to hold the areas that reach out of it. */
static void grow_to_areas(const struct vtd_shadow *shadow, struct scan *scan)
{
    const struct area first = {.iova = scan->start, .length = 1};
    const struct area last = {.iova = scan->last, .length = 1};
    struct area *const *node = tfind(&first, &shadow->areas, compare_areas);

    if (node)
        scan->start = (*node)->iova;
    node = tfind(&last, &shadow->areas, compare_areas);
    if (node)
        scan->last = area_end(*node) - 1;
}

/*
 * Read the table for a range, which grows until neither an area nor a page reaches out of it: a
 * page may be several areas, and an area several pages.
 */
static int scan_whole(struct scan *scan, struct viommu_error *error)
{
    int ret;

    for (;;) {
        grow_to_areas(scan->shadow, scan);
        ret = shadow_scan(scan, error);
        if (ret || (scan->low >= scan->start && scan->high <= scan->last))
            return ret;
        scan->start = min64(scan->start, scan->low);
        if (scan->high > scan->last)
            scan->last = scan->high;
    }
}

/* Take the areas that overlap a range out of the tree. */
static int take_areas(struct vtd_shadow *shadow, const struct scan *scan, struct area_list *taken,
                      struct viommu_error *error)
{
    const struct area key = {.iova = scan->start, .length = scan->last - scan->start + 1};
    struct area **node;

    while ((node = tfind(&key, &shadow->areas, compare_areas))) {
        struct area *area = *node;

        if (!nest_work(shadow->assigned->vtd, NEST_WORK_AREA))
            return nest_work_exceeded(error);
        if (area_list_add(taken, area))
            return error_set(error, -ENOMEM, "no memory to mirror its second-stage table");
        tdelete(area, &shadow->areas, compare_areas);
        free(area);
        count_area(shadow, -1);
    }
    if (taken->count)
        qsort(taken->areas, taken->count, sizeof(taken->areas[0]), order_areas);
    return 0;
}

/* Whether the table still maps all of an area as it is; *at is where to begin in what was found. */
static bool unchanged(const struct area *area, const struct area_list *found, size_t *at)
{
    uint64_t iova = area->iova;

    while (*at < found->count && area_end(&found->areas[*at]) <= iova)
        ++*at;
    for (size_t i = *at; i < found->count && iova < area_end(area); i++) {
        const struct area *now = &found->areas[i];

        if (now->iova > iova || now->flags != area->flags ||
            now->host + (iova - now->iova) != area->host + (iova - area->iova))
            return false;
        iova = area_end(now);
    }
    return iova >= area_end(area);
}

static bool same_place(const struct area *a, const struct area *b)
{
    return a->flags == b->flags && (uintptr_t)a->host - a->iova == (uintptr_t)b->host - b->iova;
}

/* Whether a part of an area stays as it is while another does not. */
static bool cuts(const struct area_list *taken, const struct area_list *found)
{
    size_t at = 0;

    for (size_t i = 0; i < taken->count; i++) {
        const struct area *area = &taken->areas[i];

        if (unchanged(area, found, &at))
            continue;
        for (size_t j = at; j < found->count && found->areas[j].iova < area_end(area); j++)
            if (same_place(&found->areas[j], area))
                return true;
    }
    return false;
}

static int put_back(struct vtd_shadow *shadow, const struct area_list *taken,
                    struct viommu_error *error)
{
    int ret = 0;

    for (size_t i = 0; i < taken->count && !ret; i++)
        ret = keep_area(shadow, &taken->areas[i], error);
    return ret ? ret : -ESTALE;
}

/* Unmap what changed; what did not stays in `taken`. */
static int unmap_changed(struct vtd_shadow *shadow, struct area_list *taken,
                         const struct area_list *found, struct viommu_error *error)
{
    size_t kept = 0, at = 0;
    int ret = 0;

    for (size_t i = 0; i < taken->count && !ret; i++) {
        if (unchanged(&taken->areas[i], found, &at))
            taken->areas[kept++] = taken->areas[i];
        else
            ret = unmap_area(shadow, &taken->areas[i], error);
    }
    taken->count = kept;
    for (size_t i = 0; i < kept && !ret; i++)
        ret = keep_area(shadow, &taken->areas[i], error);
    return ret;
}

/* Map the part of an area from IOVA `from` to `to`. */
static int map_part(struct vtd_shadow *shadow, const struct area *area, uint64_t from, uint64_t to,
                    struct viommu_error *error)
{
    struct area part = {from, to - from, area->host + (from - area->iova), area->flags};

    return from < to ? map_area(shadow, &part, error) : 0;
}

/* Map what was found and is not among the areas that were kept. */
static int map_missing(struct vtd_shadow *shadow, const struct area_list *kept,
                       const struct area_list *found, struct viommu_error *error)
{
    size_t at = 0;
    int ret = 0;

    for (size_t i = 0; i < found->count && !ret; i++) {
        const struct area *area = &found->areas[i];
        uint64_t from = area->iova;

        while (at < kept->count && kept->areas[at].iova < area_end(area) && !ret) {
            ret = map_part(shadow, area, from, kept->areas[at].iova, error);
            from = area_end(&kept->areas[at]);
            if (from > area_end(area))
                break;
            at++;
        }
        if (!ret)
            ret = map_part(shadow, area, from, area_end(area), error);
    }
    return ret;
}

static uint64_t last_iova(const struct vtd_shadow *shadow)
{
    return low_bits(12 + 9 * shadow->entry.second_levels);
}

int vtd_shadow_sync(struct vtd_shadow *shadow, uint64_t address, uint64_t length, bool may_cut,
                    struct viommu_error *error)
{
    uint64_t limit = last_iova(shadow);
    struct area_list taken = {0}, found = {0};
    struct scan scan = {.shadow = shadow, .start = 0, .last = limit, .list = &found};
    int ret;

    if (length) {
        scan.start = address;
        scan.last = min64(address + length - 1, limit);
    }
    if (scan.start > limit)
        return 0;
    ret = scan_whole(&scan, error);
    if (!ret)
        ret = take_areas(shadow, &scan, &taken, error);
    if (!ret && !may_cut && cuts(&taken, &found))
        ret = put_back(shadow, &taken, error);
    if (!ret)
        ret = unmap_changed(shadow, &taken, &found, error);
    if (!ret)
        ret = map_missing(shadow, &taken, &found, error);
    free(taken.areas);
    free(found.areas);
    return ret;
}

int vtd_shadow_create(struct vtd_shadow **out, struct vtd_assigned *assigned,
                      const struct vtd_entry *entry, bool exact, struct viommu_error *error)
{
    struct viommu_host *host = viommu_host_device_host(assigned->device);
    struct viommu_host_hwpt_options options = {
        .size = sizeof(options),
        .device_id = viommu_host_device_id(assigned->device),
        .flags = nest_hwpt_flags(assigned),
    };
    bool parent = entry->pgtt == VTD_PGTT_NESTED;
    struct vtd_shadow *shadow = calloc(1, sizeof(*shadow));
    int ret;

    if (!shadow)
        return error_set(error, -ENOMEM, "no memory to mirror its second-stage table");
    shadow->assigned = assigned;
    shadow->entry = *entry;
    shadow->exact = exact;
    shadow->parent = parent;
    options.flags |= parent ? VIOMMU_HOST_HWPT_NEST_PARENT : 0;
    ret = viommu_host_ioas_alloc(host, &shadow->ioas, error);
    if (ret)
        goto free_shadow;
    options.parent_id = shadow->ioas;
    ret = viommu_host_hwpt_alloc(host, &options, &shadow->hwpt, error);
    if (ret)
        goto free_ioas;
    ret = vtd_shadow_sync(shadow, 0, 0, true, error);
    if (ret)
        goto free_hwpt;
    *out = shadow;
    return 0;

free_hwpt:
    vtd_shadow_destroy(shadow);
    return ret;
free_ioas:
    nest_destroy_ioas(assigned, shadow->ioas);
free_shadow:
    free(shadow);
    return ret;
}

uint32_t vtd_shadow_hwpt(const struct vtd_shadow *shadow)
{
    return shadow->hwpt;
}

bool vtd_shadow_maps(const struct vtd_shadow *shadow, uint64_t address)
{
    const struct area key = {.iova = address & ~low_bits(12), .length = 4096};

    return tfind(&key, &shadow->areas, compare_areas);
}

void vtd_shadow_destroy(struct vtd_shadow *shadow)
{
    nest_destroy_object(shadow->assigned, shadow->hwpt);
    nest_destroy_ioas(shadow->assigned, shadow->ioas);
    shadow->assigned->vtd->nest->areas -= shadow->count;
    tdestroy(shadow->areas, free);
    free(shadow);
}
