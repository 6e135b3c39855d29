/* SPDX-License-Identifier: MIT */
/* What is mapped of a guest's second-stage table, and what that maps now. */
#include <string.h>

#include "model/vtd/shadow.h"

bool shadow_unchanged(const struct area *area, const struct area_list *found, size_t *at)
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

bool shadow_disturbs(const struct area_list *mapped, const struct area_list *found)
{
    size_t at = 0;

    for (size_t i = 0; i < mapped->count; i++) {
        const struct area *area = &mapped->areas[i];

        if (!shadow_unchanged(area, found, &at) && at < found->count &&
            found->areas[at].iova < area_end(area))
            return true;
    }
    return false;
}

/* Holes */

static bool note_hole(struct hole_list *list, uint64_t start, uint64_t end)
{
    for (size_t i = 0; i < list->count; i++) {
        if (list->holes[i].start == start && list->holes[i].length == end - start)
            return false;
    }
    if (start == end || list->count == SHADOW_HOLES_MAX)
        return false;
    list->holes[list->count++] = (struct hole){start, end - start};
    return true;
}

static bool same_place(const struct area *a, const struct area *b)
{
    return a->flags == b->flags && (uintptr_t)a->host - a->iova == (uintptr_t)b->host - b->iova;
}

/* What is found begins at `at`. An area of which nothing stays has no hole. */
static bool note_holes_of(struct hole_list *list, const struct area *area,
                          const struct area_list *found, size_t at)
{
    uint64_t end = area_end(area), iova = area->iova;
    bool stays = false, noted = false;

    for (; at < found->count && found->areas[at].iova < end; at++) {
        const struct area *now = &found->areas[at];

        if (!same_place(now, area))
            continue;
        if (now->iova > iova)
            noted |= note_hole(list, iova, now->iova);
        iova = min64(area_end(now), end);
        stays = true;
    }
    return stays && (note_hole(list, iova, end) || noted);
}

bool shadow_note_holes(struct vtd_shadow *shadow, const struct area_list *mapped,
                       const struct area_list *found)
{
    bool noted = false;
    size_t at = 0;

    for (size_t i = 0; i < mapped->count; i++) {
        if (!shadow_unchanged(&mapped->areas[i], found, &at))
            noted |= note_holes_of(&shadow->cut, &mapped->areas[i], found, at);
    }
    return noted;
}

static unsigned int pieces(const struct vtd_shadow *shadow)
{
    return SHADOW_PIECES << shadow->level;
}

static uint64_t distance(const struct hole *hole, uint64_t iova)
{
    return iova < hole->start ? hole->start - iova : iova - hole->start;
}

static bool is_near(const struct hole *hole, uint64_t iova, uint64_t lengths)
{
    return distance(hole, iova) / hole->length <= lengths;
}

static bool near_earlier(const struct vtd_shadow *shadow, const struct hole *hole)
{
    for (size_t i = 0; i < shadow->earlier.count; i++) {
        if (is_near(&shadow->earlier.holes[i], hole->start, pieces(shadow)))
            return true;
    }
    return false;
}

static void remember_hole(struct hole_list *list, const struct hole *hole)
{
    list->count = min64(list->count + 1, SHADOW_HOLES_MAX);
    memmove(list->holes + 1, list->holes, (list->count - 1) * sizeof(*hole));
    list->holes[0] = *hole;
}

void shadow_learn_holes(struct vtd_shadow *shadow)
{
    const struct hole_list *cut = &shadow->cut;
    bool near = false;

    for (size_t i = 0; i < cut->count; i++)
        near |= near_earlier(shadow, &cut->holes[i]);
    if (near && shadow->level < SHADOW_LEVEL_MAX)
        shadow->level++;
    if (!near && shadow->level)
        shadow->level--;
    for (size_t i = 0; i < cut->count; i++)
        remember_hole(&shadow->earlier, &cut->holes[i]);
}

/* Pieces are only for speed, and must not be what makes a mirror have too many. */
bool shadow_splits(const struct vtd_shadow *shadow, size_t found, uint64_t iova)
{
    const struct hole_list *cut = &shadow->cut;

    if (!cut->count || shadow->assigned->vtd->nest->areas + found >= NEST_AREAS_MAX / 2)
        return false;
    for (size_t i = 0; i < cut->count; i++) {
        const struct hole *hole = &cut->holes[i];

        if (is_near(hole, iova, pieces(shadow) / 2 / cut->count) &&
            distance(hole, iova) % hole->length == 0)
            return true;
    }
    return false;
}
