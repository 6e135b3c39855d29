/* SPDX-License-Identifier: MIT */
/*
 * A guest's second-stage table, mirrored into an IOAS of its own.
 *
 * Leaves that adjoin in both IOVA and memory are one area of the IOAS. Areas never grow over what
 * an earlier invalidation made, and therefore usually are what the guest mapped in one go and
 * unmaps in one go. But an area can only be unmapped as a whole: when an invalidation would cut
 * one, or map it to something else, bind.c moves the device to a copy of the mirror in which that
 * is done, so that DMA to what stays mapped never misses.
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
    int ret;

    if (shadow->planned)
        return 0;
    ret = charge(shadow, area, error);
    if (ret)
        return ret;
    vtd_count(shadow->assigned->vtd, shadow_unmaps);
    return viommu_host_ioas_unmap(host, shadow->ioas, area->iova, area->length, NULL, error);
}

/* Remember an area that is mapped, or planned. */
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

static int call_map(struct vtd_shadow *shadow, const struct area *area, struct viommu_error *error)
{
    struct viommu_host *host = viommu_host_device_host(shadow->assigned->device);
    int ret = charge(shadow, area, error);

    if (ret)
        return ret;
    vtd_count(shadow->assigned->vtd, shadow_maps);
    return viommu_host_ioas_map(host, shadow->ioas, area->iova, area->host, area->length,
                                area->flags, error);
}

static int map_area(struct vtd_shadow *shadow, const struct area *area, struct viommu_error *error)
{
    int ret = 0;

    if (shadow->assigned->vtd->nest->areas >= NEST_AREAS_MAX)
        return shadow_too_many_areas(error);
    if (!shadow->planned)
        ret = call_map(shadow, area, error);
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

static int put_back(struct vtd_shadow *shadow, const struct area_list *taken,
                    struct viommu_error *error)
{
    int ret = 0;

    for (size_t i = 0; i < taken->count && !ret; i++)
        ret = keep_area(shadow, &taken->areas[i], error);
    return ret;
}

/* Unmap what changed; what did not stays in `taken`. */
static int unmap_changed(struct vtd_shadow *shadow, struct area_list *taken,
                         const struct area_list *found, struct viommu_error *error)
{
    size_t kept = 0, at = 0;
    int ret = 0;

    for (size_t i = 0; i < taken->count && !ret; i++) {
        if (shadow_unchanged(&taken->areas[i], found, &at))
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

/* What is mapped in a range, and what the table maps there now. */
static int look(struct scan *scan, struct area_list *taken, struct viommu_error *error)
{
    int ret = scan_whole(scan, error);

    taken->count = 0;
    return ret ? ret : take_areas(scan->shadow, scan, taken, error);
}

/* Not now: everything as it was, -ESTALE. */
static int leave(struct vtd_shadow *shadow, const struct area_list *taken,
                 const struct area_list *found, struct viommu_error *error)
{
    int ret;

    if (shadow_note_holes(shadow, taken, found))
        shadow_learn_holes(shadow);
    ret = put_back(shadow, taken, error);
    return ret ? ret : -ESTALE;
}

/* The lists are the caller's to free. */
static int sync_range(struct scan *scan, struct area_list *taken, bool may_disturb,
                      struct viommu_error *error)
{
    struct vtd_shadow *shadow = scan->shadow;
    int ret = look(scan, taken, error);

    if (ret)
        return ret;
    if (!may_disturb && shadow_disturbs(taken, scan->list))
        return leave(shadow, taken, scan->list, error);
    if (shadow_note_holes(shadow, taken, scan->list)) { /* once more, split near them */
        ret = put_back(shadow, taken, error);
        if (!ret)
            ret = look(scan, taken, error);
    }
    if (!ret)
        ret = unmap_changed(shadow, taken, scan->list, error);
    return ret ? ret : map_missing(shadow, taken, scan->list, error);
}

/* A range that the scan before it has grown over is done. */
int vtd_shadow_sync(struct vtd_shadow *shadow, const struct nest_pending *ranges, bool may_disturb,
                    struct viommu_error *error)
{
    uint64_t limit = low_bits(12 + 9 * shadow->entry.second_levels);
    struct area_list taken = {0}, found = {0};
    struct scan scan = {.shadow = shadow, .start = 1, .last = 0, .list = &found};
    int ret = 0;

    if (!may_disturb)
        shadow->cut.count = 0;
    for (unsigned int i = 0; i < ranges->count && !ret; i++) {
        uint64_t start = ranges->entries[i].addr;
        uint64_t last = min64(start + (ranges->entries[i].npages << 12) - 1, limit);

        if (start > limit || (start >= scan.start && last <= scan.last))
            continue;
        scan.start = start;
        scan.last = last;
        ret = sync_range(&scan, &taken, may_disturb, error);
    }
    free(taken.areas);
    free(found.areas);
    return ret;
}

static int create_objects(struct vtd_shadow *shadow, struct viommu_error *error)
{
    struct vtd_assigned *assigned = shadow->assigned;
    struct viommu_host *host = viommu_host_device_host(assigned->device);
    struct viommu_host_hwpt_options options = {
        .size = sizeof(options),
        .device_id = viommu_host_device_id(assigned->device),
        .flags = nest_hwpt_flags(assigned) | (shadow->parent ? VIOMMU_HOST_HWPT_NEST_PARENT : 0),
    };
    int ret = viommu_host_ioas_alloc(host, &shadow->ioas, error);

    if (ret)
        return ret;
    options.parent_id = shadow->ioas;
    ret = viommu_host_hwpt_alloc(host, &options, &shadow->hwpt, error);
    if (ret)
        nest_destroy_ioas(assigned, shadow->ioas);
    return ret;
}

static int create_empty(struct vtd_shadow **out, struct vtd_assigned *assigned,
                        const struct vtd_entry *entry, struct viommu_error *error)
{
    struct vtd_shadow *shadow = calloc(1, sizeof(*shadow));
    int ret;

    if (!shadow)
        return error_set(error, -ENOMEM, "no memory to mirror its second-stage table");
    shadow->assigned = assigned;
    shadow->entry = *entry;
    shadow->parent = entry->pgtt == VTD_PGTT_NESTED;
    ret = create_objects(shadow, error);
    if (ret)
        free(shadow);
    else
        *out = shadow;
    return ret;
}

int vtd_shadow_create(struct vtd_shadow **out, struct vtd_assigned *assigned,
                      const struct vtd_entry *entry, struct viommu_error *error)
{
    static const struct nest_pending all = {.count = 1, .entries = {{.npages = UINT64_MAX}}};
    int ret = create_empty(out, assigned, entry, error);

    if (ret)
        return ret;
    ret = vtd_shadow_sync(*out, &all, true, error);
    if (ret)
        vtd_shadow_destroy(*out);
    return ret;
}

/* A walk through all areas of a mirror, to another one or to the host. */
struct walk {
    struct vtd_shadow *to;
    struct viommu_error *error;
    int ret;
};

static void plan_visit(const void *node, VISIT visit, void *opaque)
{
    const struct area *area = *(const struct area *const *)node;
    struct walk *walk = opaque;

    if (walk->ret || (visit != postorder && visit != leaf))
        return;
    if (nest_work(walk->to->assigned->vtd, NEST_WORK_AREA))
        walk->ret = map_area(walk->to, area, walk->error);
    else
        walk->ret = nest_work_exceeded(walk->error);
}

static void map_visit(const void *node, VISIT visit, void *opaque)
{
    struct walk *walk = opaque;

    if (!walk->ret && (visit == postorder || visit == leaf))
        walk->ret = call_map(walk->to, *(const struct area *const *)node, walk->error);
}

/* What was mapped as it was, and the ranges as they are in the table: first planned, then mapped.
 */
static int fill_copy(struct vtd_shadow *shadow, const struct vtd_shadow *old,
                     const struct nest_pending *ranges, struct viommu_error *error)
{
    struct walk walk = {shadow, error, 0};

    shadow->level = old->level;
    shadow->cut = old->cut;
    shadow->earlier = old->earlier;
    shadow->planned = true;
    twalk_r(old->areas, plan_visit, &walk);
    if (!walk.ret)
        walk.ret = vtd_shadow_sync(shadow, ranges, true, error);
    shadow->planned = false;
    if (!walk.ret)
        twalk_r(shadow->areas, map_visit, &walk);
    return walk.ret;
}

int vtd_shadow_copy(struct vtd_shadow **out, const struct vtd_shadow *old,
                    const struct nest_pending *ranges, struct viommu_error *error)
{
    int ret = create_empty(out, old->assigned, &old->entry, error);

    if (ret)
        return ret;
    ret = fill_copy(*out, old, ranges, error);
    if (ret)
        vtd_shadow_destroy(*out);
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

struct visitor {
    vtd_shadow_fn *fn;
    void *opaque;
};

static void visit_area(const void *node, VISIT visit, void *opaque)
{
    const struct area *area = *(const struct area *const *)node;
    const struct visitor *visitor = opaque;

    if (visit == postorder || visit == leaf)
        visitor->fn(area->iova, area->length, visitor->opaque);
}

void vtd_shadow_for_each(const struct vtd_shadow *shadow, vtd_shadow_fn *fn, void *opaque)
{
    struct visitor visitor = {fn, opaque};

    twalk_r(shadow->areas, visit_area, &visitor);
}

void vtd_shadow_destroy(struct vtd_shadow *shadow)
{
    nest_destroy_object(shadow->assigned, shadow->hwpt);
    nest_destroy_ioas(shadow->assigned, shadow->ioas);
    shadow->assigned->vtd->nest->areas -= shadow->count;
    tdestroy(shadow->areas, free);
    free(shadow);
}
