/* SPDX-License-Identifier: MIT */
/* The host side of a unit as a whole, and guest memory coming and going. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "model/vtd/nest.h"

static void sync_shadows(struct vtd_nest *nest)
{
    struct vtd_assigned *assigned;
    struct nest_binding *binding;

    TAILQ_FOREACH(assigned, &nest->devices, link)
    {
        nest_binding_invalidate_second(&assigned->rid, 0, 0);
        TAILQ_FOREACH(binding, &assigned->pasids, link)
        nest_binding_invalidate_second(binding, 0, 0);
        vtd_work_refill(nest->vtd);
        nest_commit_device(assigned);
    }
}

static int insert_range(struct vtd_nest *nest, const struct viommu_memory_range *range)
{
    struct viommu_memory_range *grown =
        realloc(nest->ranges, (nest->range_count + 1) * sizeof(*grown));
    size_t at = 0;

    if (!grown)
        return -ENOMEM;
    nest->ranges = grown;
    while (at < nest->range_count && grown[at].gpa < range->gpa)
        at++;
    memmove(grown + at + 1, grown + at, (nest->range_count - at) * sizeof(*grown));
    grown[at] = *range;
    nest->range_count++;
    return 0;
}

static int memory_added(struct memory_listener *listener, const struct viommu_memory_range *range,
                        struct viommu_error *error)
{
    struct vtd_nest *nest = (struct vtd_nest *)listener;
    int ret;

    pthread_mutex_lock(&nest->vtd->lock);
    ret = insert_range(nest, range);
    pthread_mutex_unlock(&nest->vtd->lock);
    return ret ? error_set(error, ret, "no memory for a range") : 0;
}

/* Not before: the range may hold the tables themselves. */
static void memory_published(struct memory_listener *listener)
{
    struct vtd_nest *nest = (struct vtd_nest *)listener;

    pthread_mutex_lock(&nest->vtd->lock);
    sync_shadows(nest);
    pthread_mutex_unlock(&nest->vtd->lock);
}

static void memory_removed(struct memory_listener *listener,
                           const struct viommu_memory_range *range)
{
    struct vtd_nest *nest = (struct vtd_nest *)listener;
    struct vtd_assigned *assigned;
    size_t at = 0;

    pthread_mutex_lock(&nest->vtd->lock);
    while (at < nest->range_count && nest->ranges[at].gpa != range->gpa)
        at++;
    if (at < nest->range_count) {
        memmove(nest->ranges + at, nest->ranges + at + 1,
                (nest->range_count - at - 1) * sizeof(nest->ranges[0]));
        nest->range_count--;
        sync_shadows(nest);
        TAILQ_FOREACH(assigned, &nest->devices, link)
        nest_check_leftovers(assigned);
    }
    pthread_mutex_unlock(&nest->vtd->lock);
}

static void free_nest(struct vtd_nest *nest)
{
    nest_requests_destroy(nest);
    free(nest->ranges);
    free(nest);
}

int vtd_nest_create(struct vtd *vtd)
{
    struct vtd_nest *nest = calloc(1, sizeof(*nest));
    int ret;

    if (!nest)
        return -ENOMEM;
    nest->vtd = vtd;
    ret = nest_requests_create(nest);
    if (ret) {
        free(nest);
        return ret;
    }
    nest->listener.add = memory_added;
    nest->listener.remove = memory_removed;
    nest->listener.published = memory_published;
    TAILQ_INIT(&nest->devices);
    vtd->nest = nest;
    ret = memory_listener_register(vtd->options.memory, &nest->listener, NULL);
    if (ret)
        free_nest(nest);
    return ret;
}

void vtd_nest_destroy(struct vtd *vtd)
{
    struct vtd_nest *nest = vtd->nest;
    struct vtd_assigned *assigned;

    pthread_mutex_lock(&vtd->lock);
    while ((assigned = TAILQ_FIRST(&nest->devices)))
        nest_remove_device(assigned); /* NOLINT(clang-analyzer-unix.Malloc): it leaves the list */
    pthread_mutex_unlock(&vtd->lock);
    memory_listener_unregister(vtd->options.memory, &nest->listener);
    free_nest(nest);
}
