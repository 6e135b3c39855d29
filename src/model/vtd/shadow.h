/* SPDX-License-Identifier: MIT */
/*
 * A guest's second-stage table, mirrored into an IOAS of its own: what these files share.
 *
 *   shadow.c          the mirror, and changing it
 *   shadow_scan.c     what the guest's table maps
 */
#ifndef VTD_SHADOW_H
#define VTD_SHADOW_H

#include "model/vtd/nest.h"

struct area {
    uint64_t iova;
    uint64_t length;
    char *host;
    uint32_t flags; /* VIOMMU_HOST_MAP_* */
};

static inline uint64_t area_end(const struct area *area)
{
    return area->iova + area->length;
}

static inline uint64_t min64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Areas in ascending order. */
struct area_list {
    struct area *areas;
    size_t count, room;
};

/* -ENOMEM */
int area_list_add(struct area_list *list, const struct area *area);

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

/* Reading the guest's table. */
struct scan {
    struct vtd_shadow *shadow;
    uint64_t start, last;   /* IOVA */
    uint64_t low, high;     /* first and last IOVA of all pages that reach into that */
    struct area_list *list; /* what is found */
};

/* Fills in low, high, and the list. */
int shadow_scan(struct scan *scan, struct viommu_error *error);

int shadow_too_many_areas(struct viommu_error *error);

#endif
