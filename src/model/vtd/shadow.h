/* SPDX-License-Identifier: MIT */
/*
 * A guest's second-stage table, mirrored into an IOAS of its own: what these files share.
 *
 *   shadow.c          the mirror, and changing it
 *   shadow_scan.c     what the guest's table maps
 *   shadow_compare.c  that, compared with what is mapped
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

/* What an invalidation takes out of an area of which the rest stays. */
struct hole {
    uint64_t start, length;
};

#define SHADOW_HOLES_MAX 16

struct hole_list {
    size_t count;
    struct hole holes[SHADOW_HOLES_MAX];
};

/*
 * More holes come near to one, and of the same size. Therefore what stays of an area is split near
 * each, at multiples of its length from its start: into SHADOW_PIECES pieces, twice as many for
 * each level. The level rises when a hole is near to an earlier one, and falls when none is.
 */
#define SHADOW_PIECES    8u
#define SHADOW_LEVEL_MAX 12

struct vtd_shadow {
    struct vtd_assigned *assigned;
    struct vtd_entry entry;
    uint32_t ioas;
    uint32_t hwpt;
    void *areas; /* tsearch() tree of struct area, by IOVA */
    size_t count;
    bool parent;  /* a first-stage table is nested on it */
    bool planned; /* the IOAS is still empty: only `areas` change */
    unsigned int level;
    struct hole_list cut;     /* that this invalidation makes: others are not split for */
    struct hole_list earlier; /* those before, the last one first */
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

/* Areas that are mapped, and what the guest's table maps now in the range that holds them. */

/* Whether all of an area is still mapped as it is; *at is where to begin in what was found. */
bool shadow_unchanged(const struct area *area, const struct area_list *found, size_t *at);
/* Whether anything stays mapped of an area that changes: as it is, or to something else. */
bool shadow_disturbs(const struct area_list *mapped, const struct area_list *found);
/* Note the holes that areas get, in shadow->cut. Returns whether any was not noted before. */
bool shadow_note_holes(struct vtd_shadow *shadow, const struct area_list *mapped,
                       const struct area_list *found);
/* These become earlier ones, and the level follows. */
void shadow_learn_holes(struct vtd_shadow *shadow);
/* Whether the next of what is found is to be split at this IOVA, where it could be joined. */
bool shadow_splits(const struct vtd_shadow *shadow, size_t found, uint64_t iova);

#endif
