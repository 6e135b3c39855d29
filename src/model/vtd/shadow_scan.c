/* SPDX-License-Identifier: MIT */
/*
 * What a guest's second-stage table maps. It is enumerated by its present bits, and each leaf that
 * is found is then translated by the one walker: only that says what an entry means. Leaves that
 * adjoin in both IOVA and memory become one area, but around what was cut.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/bits.h"
#include "base/error.h"
#include "base/rcu.h"
#include "model/vtd/fault_codes.h"
#include "model/vtd/shadow.h"

/* Second-stage paging entries (VT-d 5.0, 9.10). */
#define SS_PRESENT GENMASK64(2, 0) /* read, write, execute */
#define SS_LARGE   BIT64(7)
#define SS_ADDRESS GENMASK64(51, 12)

/* DMA to it is an interrupt, whatever the tables say (VT-d 5.0, 3.14). */
#define INTERRUPT_START UINT64_C(0xfee00000)
#define INTERRUPT_END   UINT64_C(0xfef00000)
#define INTERRUPT_SIZE  (INTERRUPT_END - INTERRUPT_START)

int area_list_add(struct area_list *list, const struct area *area)
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

int shadow_too_many_areas(struct viommu_error *error)
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
    struct area_list *list = scan->list;

    if (list->count && adjoins(&list->areas[list->count - 1], area) &&
        !shadow_splits(scan->shadow, list->count, area->iova)) {
        list->areas[list->count - 1].length += area->length;
        return 0;
    }
    if (list->count == NEST_AREAS_MAX)
        return -ENOSPC;
    return area_list_add(list, area);
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

int shadow_scan(struct scan *scan, struct viommu_error *error)
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
        return shadow_too_many_areas(error);
    if (ret)
        return error_set(error, ret, "no memory to mirror its second-stage table");
    return 0;
}
