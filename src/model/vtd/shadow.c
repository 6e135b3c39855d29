/* SPDX-License-Identifier: MIT */
/*
 * A guest's second-stage table, mirrored into an IOAS of its own.
 *
 * The table is enumerated by its present bits, and each leaf that is found is then translated by
 * the one walker: only that says what an entry means. Leaves that adjoin in both IOVA and memory
 * become one area of the IOAS. Areas never grow over what an earlier invalidation made, and
 * therefore usually are what the guest mapped in one go and unmaps in one go. But an area can only
 * be unmapped as a whole: when an invalidation would cut one, bind.c moves the device to a new
 * mirror that is `exact`, so that DMA to the part that stays never misses.
 */
#include <errno.h>
#include <search.h>
#include <stdlib.h>

#include "base/bits.h"
#include "base/error.h"
#include "base/rcu.h"
#include "model/vtd/fault_codes.h"
#include "model/vtd/nest.h"

/* Second-stage paging entries (VT-d 5.0, 9.10). */
#define SS_PRESENT GENMASK64(2, 0) /* read, write, execute */
#define SS_LARGE   BIT64(7)
#define SS_ADDRESS GENMASK64(51, 12)

/* DMA to it is an interrupt, whatever the tables say (VT-d 5.0, 3.14). */
#define INTERRUPT_START UINT64_C(0xfee00000)
#define INTERRUPT_END   UINT64_C(0xfef00000)
#define INTERRUPT_SIZE  (INTERRUPT_END - INTERRUPT_START)

struct area {
    uint64_t iova;
    uint64_t length;
    char *host;
    uint32_t flags; /* VIOMMU_HOST_MAP_* */
};

struct vtd_shadow {
    struct vtd_assigned *assigned;
    struct vtd_entry entry;
    uint32_t ioas;
    uint32_t hwpt;
    void *areas; /* tsearch() tree of struct area, by IOVA */
    size_t count;
    bool exact;  /* every leaf is an area of its own */
    bool parent; /* a first-stage table is nested on it */
};

/* Areas in ascending order. */
struct list {
    struct area *areas;
    size_t count, room;
};

static uint64_t area_end(const struct area *area)
{
    return area->iova + area->length;
}

/* Areas that overlap are equal: looking up a range finds one that is in it. */
static int compare_areas(const void *left, const void *right)
{
    const struct area *a = left, *b = right;

    if (a->iova + (a->length - 1) < b->iova)
        return -1;
    return b->iova + (b->length - 1) < a->iova;
}

static int list_add(struct list *list, const struct area *area)
{
    struct area *grown;

    if (list->count == list->room) {
        list->room = list->room ? list->room * 2 : 64;
        grown = realloc(list->areas, list->room * sizeof(*grown));
        if (!grown)
            return -ENOMEM;
        list->areas = grown;
    }
    list->areas[list->count++] = *area;
    return 0;
}

/* Reading the guest's table */

struct scan {
    struct vtd_shadow *shadow;
    uint64_t start, last; /* IOVA */
    uint64_t low, high;   /* first and last IOVA of all pages that reach into that */
    struct list *list;    /* what is found */
};

static int too_many_areas(struct viommu_error *error)
{
    return error_set(error, -E2BIG,
                     "second-stage tables of assigned devices map more than %u pieces; use larger "
                     "pages, or buffers that adjoin",
                     NEST_AREAS_MAX);
}

static bool adjoins(const struct area *before, const struct area *after)
{
    return area_end(before) == after->iova && before->host + before->length == after->host &&
           before->flags == after->flags;
}

static int scan_found(struct scan *scan, const struct area *area)
{
    struct list *list = scan->list;

    if (!scan->shadow->exact && list->count && adjoins(&list->areas[list->count - 1], area)) {
        list->areas[list->count - 1].length += area->length;
        return 0;
    }
    if (list->count == NEST_AREAS_MAX)
        return -ENOSPC;
    return list_add(list, area);
}

/* The first range of guest memory that ends above gpa, or NULL. */
static const struct viommu_memory_range *next_range(const struct vtd_nest *nest, uint64_t gpa)
{
    for (size_t i = 0; i < nest->range_count; i++) {
        if (nest->ranges[i].gpa + nest->ranges[i].size > gpa)
            return &nest->ranges[i];
    }
    return NULL;
}

static uint32_t map_flags(const struct viommu_memory_range *range, uint8_t permissions)
{
    uint32_t flags = permissions & VIOMMU_DMA_READ ? VIOMMU_HOST_MAP_READ : 0;

    if ((permissions & VIOMMU_DMA_WRITE) && !(range->flags & VIOMMU_MEMORY_READONLY))
        flags |= VIOMMU_HOST_MAP_WRITE;
    return flags;
}

static uint64_t min64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/*
 * Whether an area can be mapped at all. What is read-only stays out of a nesting parent on every
 * host, as in assign: Linux refuses it there, and one with erratum 772415 would write to it.
 */
static bool fits(const struct vtd_shadow *shadow, const struct area *area)
{
    return shadow->parent ? area->flags & VIOMMU_HOST_MAP_WRITE : area->flags;
}

/* The parts of a page that are guest memory; the rest stays unmapped, DMA to it faults. */
static int scan_page(struct scan *scan, uint64_t iova, uint64_t gpa, uint64_t length,
                     uint8_t permissions)
{
    const struct vtd_nest *nest = scan->shadow->assigned->vtd->nest;
    const struct viommu_memory_range *range;
    int ret = 0;

    while (length && !ret && (range = next_range(nest, gpa))) {
        uint64_t skip = gpa < range->gpa ? min64(length, range->gpa - gpa) : 0;
        struct area area;

        iova += skip;
        gpa += skip;
        length -= skip;
        if (!length)
            break;
        area =
            (struct area){iova, min64(length, range->gpa + range->size - gpa),
                          (char *)range->host + (gpa - range->gpa), map_flags(range, permissions)};
        if (fits(scan->shadow, &area))
            ret = scan_found(scan, &area);
        iova += area.length;
        gpa += area.length;
        length -= area.length;
    }
    return ret;
}

/* A page, without what lies in the interrupt address range. */
static int scan_around_interrupts(struct scan *scan, uint64_t iova, uint64_t gpa, uint64_t length,
                                  uint8_t permissions)
{
    uint64_t end = iova + length;
    int ret = 0;

    if (iova < INTERRUPT_START)
        ret = scan_page(scan, iova, gpa, min64(end, INTERRUPT_START) - iova, permissions);
    if (!ret && end > INTERRUPT_END) {
        uint64_t from = iova > INTERRUPT_END ? iova : INTERRUPT_END;

        ret = scan_page(scan, from, gpa + (from - iova), end - from, permissions);
    }
    return ret;
}

/* What the walker says of `iova`; returns how far that goes, within the page up to `end`. */
static uint64_t scan_granule(struct scan *scan, uint64_t iova, uint64_t end, int *ret)
{
    const struct vtd_shadow *shadow = scan->shadow;
    struct dma_translation page;
    uint64_t length, offset;

    rcu_enter();
    vtd_translate_second_stage(shadow->assigned->vtd, &shadow->entry, iova, &page);
    rcu_exit();
    if (page.fault_code == VTD_FAULT_INTERRUPT_RANGE ||
        page.fault_code == VTD_FAULT_SM_INTERRUPT_RANGE)
        return min64(end - iova, INTERRUPT_SIZE - (iova & (INTERRUPT_SIZE - 1)));
    if (page.status != VIOMMU_DMA_OK)
        return end - iova;
    offset = iova & low_bits(page.granule_log2);
    length = min64(end - iova, BIT64(page.granule_log2) - offset);
    *ret = scan_around_interrupts(scan, iova, page.gpa + offset, length, page.permissions);
    return length;
}

/*
 * A leaf entry maps [iova, iova + 2^shift), as far as the walker agrees: in several granules where
 * the output reaches into the interrupt range.
 */
static int scan_leaf(struct scan *scan, uint64_t iova, unsigned int shift)
{
    uint64_t end = iova + BIT64(shift);
    int ret = 0;

    scan->low = min64(scan->low, iova);
    if (end - 1 > scan->high)
        scan->high = end - 1;
    while (iova < end && !ret) {
        if (!nest_work(scan->shadow->assigned->vtd, NEST_WORK_LEAF))
            return -E2BIG;
        iova += scan_granule(scan, iova, end, &ret);
    }
    return ret;
}

/*
 * The entries of one table that translate what is scanned; iova is the first that the table
 * translates. Recursion is as deep as there are levels.
 */
static int scan_table(struct scan *scan, uint64_t gpa, unsigned int level, uint64_t iova)
{
    const struct viommu_memory *memory = scan->shadow->assigned->vtd->options.memory;
    unsigned int shift = 12 + 9 * (level - 1);
    unsigned int first = iova < scan->start ? (scan->start - iova) >> shift : 0;
    unsigned int last = min64(511, (scan->last - iova) >> shift);
    uint64_t entries[512];
    int ret = 0;

    if (!nest_work(scan->shadow->assigned->vtd, NEST_WORK_TABLE))
        return -E2BIG;
    if (memory_read_once(memory, gpa + first * 8, entries, (last - first + 1) * 8))
        return 0;
    for (unsigned int i = first; i <= last && !ret; i++) {
        uint64_t entry = entries[i - first];
        uint64_t address = iova + ((uint64_t)i << shift);

        if (!(entry & SS_PRESENT))
            continue;
        if (level == 1 || (entry & SS_LARGE))
            ret = scan_leaf(scan, address, shift);
        else
            ret = scan_table(scan, entry & SS_ADDRESS, level - 1, address);
    }
    return ret;
}

/* Fills in low, high, and the list. */
static int scan_range(struct scan *scan, struct viommu_error *error)
{
    const struct vtd_entry *entry = &scan->shadow->entry;
    int ret;

    scan->low = UINT64_MAX;
    scan->high = 0;
    scan->list->count = 0;
    ret = scan_table(scan, entry->second_root, entry->second_levels, 0);
    if (ret == -E2BIG)
        return nest_work_exceeded(error);
    if (ret == -ENOSPC)
        return too_many_areas(error);
    if (ret)
        return error_set(error, ret, "no memory to mirror its second-stage table");
    return 0;
}

/* Changing the IOAS */

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
        return too_many_areas(error);
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
        ret = scan_range(scan, error);
        if (ret || (scan->low >= scan->start && scan->high <= scan->last))
            return ret;
        scan->start = min64(scan->start, scan->low);
        if (scan->high > scan->last)
            scan->last = scan->high;
    }
}

/* Take the areas that overlap a range out of the tree. */
static int take_areas(struct vtd_shadow *shadow, const struct scan *scan, struct list *taken,
                      struct viommu_error *error)
{
    const struct area key = {.iova = scan->start, .length = scan->last - scan->start + 1};
    struct area **node;

    while ((node = tfind(&key, &shadow->areas, compare_areas))) {
        struct area *area = *node;

        if (!nest_work(shadow->assigned->vtd, NEST_WORK_AREA))
            return nest_work_exceeded(error);
        if (list_add(taken, area))
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
static bool unchanged(const struct area *area, const struct list *found, size_t *at)
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
static bool cuts(const struct list *taken, const struct list *found)
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

static int put_back(struct vtd_shadow *shadow, const struct list *taken, struct viommu_error *error)
{
    int ret = 0;

    for (size_t i = 0; i < taken->count && !ret; i++)
        ret = keep_area(shadow, &taken->areas[i], error);
    return ret ? ret : -ESTALE;
}

/* Unmap what changed; what did not stays in `taken`. */
static int unmap_changed(struct vtd_shadow *shadow, struct list *taken, const struct list *found,
                         struct viommu_error *error)
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
static int map_missing(struct vtd_shadow *shadow, const struct list *kept, const struct list *found,
                       struct viommu_error *error)
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
    struct list taken = {0}, found = {0};
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
