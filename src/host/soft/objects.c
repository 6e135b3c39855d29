/* SPDX-License-Identifier: MIT */
/* Objects with IDs, and page tables among them: how they are made, found and ended. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "host/soft/soft.h"

/* An ID is never used twice, so that a stale one is noticed. */
int soft_object_add(struct soft_host *host, struct soft_object *object, enum soft_type type,
                    struct viommu_error *error)
{
    if (host->last_id == UINT32_MAX)
        return error_set(error, -ENOSPC, "All 2^32 IDs of this host are used up");
    object->id = ++host->last_id;
    object->type = type;
    LIST_INSERT_HEAD(&host->objects, object, link);
    return 0;
}

void soft_object_remove(struct soft_object *object)
{
    LIST_REMOVE(object, link);
    object->id = 0;
}

static struct soft_object *find(struct soft_host *host, uint32_t id)
{
    struct soft_object *object;

    LIST_FOREACH(object, &host->objects, link)
    {
        if (object->id == id)
            return object;
    }
    return NULL;
}

struct viommu_soft_device *soft_find_device(struct soft_host *host, uint32_t id)
{
    struct soft_object *object = find(host, id);

    return object && object->type == SOFT_DEVICE ? (struct viommu_soft_device *)object : NULL;
}

struct soft_ioas *soft_find_ioas(struct soft_host *host, uint32_t id)
{
    struct soft_object *object = find(host, id);

    return object && object->type == SOFT_IOAS ? (struct soft_ioas *)object : NULL;
}

struct soft_hwpt *soft_find_hwpt(struct soft_host *host, uint32_t id)
{
    struct soft_object *object = find(host, id);
    bool is_hwpt = object && (object->type == SOFT_PAGING || object->type == SOFT_NESTED);

    return is_hwpt ? (struct soft_hwpt *)object : NULL;
}

static void hwpt_free(struct soft_hwpt *hwpt)
{
    if (hwpt->root)
        soft_second_destroy(hwpt);
    if (hwpt->faults)
        hwpt->faults->users--;
    soft_cache_destroy(&hwpt->cache);
    free(hwpt);
}

static struct soft_hwpt *hwpt_new(struct soft_host *host, unsigned int iommu, uint32_t flags)
{
    struct soft_hwpt *hwpt = calloc(1, sizeof(*hwpt));

    if (!hwpt)
        return NULL;
    hwpt->host = host;
    hwpt->iommu = iommu;
    hwpt->flags = flags;
    LIST_INIT(&hwpt->nested);
    soft_cache_init(&hwpt->cache, host);
    return hwpt;
}

static int check_paging(const struct soft_host *host,
                        const struct viommu_host_hwpt_options *options, struct viommu_error *error)
{
    const uint32_t known =
        VIOMMU_HOST_HWPT_NEST_PARENT | VIOMMU_HOST_HWPT_DIRTY_TRACKING | VIOMMU_HOST_HWPT_PASID;

    if (options->flags & ~known)
        return error_set(error, -EOPNOTSUPP, "HWPT flags 0x%x: the simulated host knows 0x%x",
                         options->flags, known);
    if (options->data_type != VIOMMU_HOST_DATA_NONE)
        return error_set(error, -EINVAL,
                         "HWPT on IOAS %u with vendor data of type %d: only a nested HWPT has it",
                         options->parent_id, (int)options->data_type);
    if ((options->flags & VIOMMU_HOST_HWPT_NEST_PARENT) && !host->caps.nest_parent)
        return error_set(error, -EOPNOTSUPP,
                         "The IOMMU of %s cannot nest, so it has no nesting parents (VT-d: "
                         "ECAP.SMTS, NEST and SSTS); use hw-nested=off, or another host",
                         host->info.name);
    if ((options->flags & VIOMMU_HOST_HWPT_DIRTY_TRACKING) && !host->caps.dirty_tracking)
        return error_set(error, -EOPNOTSUPP, "The IOMMU of %s does not track dirty pages",
                         host->info.name);
    return 0;
}

static int alloc_paging(struct soft_host *host, struct viommu_soft_device *device,
                        struct soft_ioas *ioas, const struct viommu_host_hwpt_options *options,
                        struct soft_hwpt **out, struct viommu_error *error)
{
    struct soft_hwpt *hwpt;
    int ret = check_paging(host, options, error);

    if (ret)
        return ret;
    hwpt = hwpt_new(host, device->iommu, options->flags);
    if (!hwpt || soft_second_create(hwpt)) {
        ret = error_set(error, -ENOMEM, "No memory for a HWPT on IOAS %u", ioas->object.id);
        goto out_free;
    }
    ret = soft_ioas_fill(ioas, hwpt, error);
    if (!ret)
        ret = soft_object_add(host, &hwpt->object, SOFT_PAGING, error);
    if (ret)
        goto out_free;
    hwpt->ioas = ioas;
    LIST_INSERT_HEAD(&ioas->hwpts, hwpt, sibling);
    *out = hwpt;
    return 0;

out_free:
    if (hwpt)
        hwpt_free(hwpt);
    return ret;
}

/* In the order in which Linux checks: the core first, then the IOMMU's driver. */
static int check_nested(const struct soft_host *host, const struct viommu_soft_device *device,
                        const struct soft_hwpt *parent,
                        const struct viommu_host_hwpt_options *options, struct viommu_error *error)
{
    const uint32_t known = VIOMMU_HOST_HWPT_PASID | VIOMMU_HOST_HWPT_FAULT_QUEUE;

    if ((options->flags & ~known) || options->data_type == VIOMMU_HOST_DATA_NONE)
        return error_set(error, -EOPNOTSUPP,
                         "Nested HWPT with flags 0x%x and data type %d: it may have the flags "
                         "FAULT_QUEUE (4) and PASID (8), and needs vendor data",
                         options->flags, (int)options->data_type);
    if (!(parent->flags & VIOMMU_HOST_HWPT_NEST_PARENT))
        return error_set(error, -EINVAL,
                         "HWPT %u cannot be a parent: it was not allocated as a nesting parent",
                         parent->object.id);
    if (parent->iommu != device->iommu)
        return error_set(error, -EINVAL,
                         "Device %s is behind IOMMU %u, nesting parent HWPT %u belongs to IOMMU "
                         "%u; allocate a parent for this device",
                         device->name, device->iommu, parent->object.id, parent->iommu);
    if (!host->caps.nest || options->data_type != VIOMMU_HOST_DATA_VTD_S1)
        return error_set(error, -EOPNOTSUPP,
                         "The IOMMU of %s cannot nest a table with data type %d", host->info.name,
                         (int)options->data_type);
    return 0;
}

static int copy_first_stage(struct viommu_host_vtd_s1 *to,
                            const struct viommu_host_hwpt_options *options,
                            struct viommu_error *error)
{
    const char *from = options->data;

    if (options->data_length < sizeof(*to))
        return error_set(error, -EINVAL, "VTD_S1 data of %zu bytes: it has %zu",
                         options->data_length, sizeof(*to));
    for (size_t i = sizeof(*to); i < options->data_length; i++) {
        if (from[i])
            return error_set(error, -E2BIG,
                             "VTD_S1 data of %zu bytes: byte %zu is not 0, but only %zu are known",
                             options->data_length, i, sizeof(*to));
    }
    memcpy(to, from, sizeof(*to));
    return 0;
}

static int alloc_nested(struct soft_host *host, struct viommu_soft_device *device,
                        struct soft_hwpt *parent, const struct viommu_host_hwpt_options *options,
                        struct soft_hwpt **out, struct viommu_error *error)
{
    struct viommu_host_vtd_s1 first_stage;
    struct soft_fault_queue *faults = NULL;
    struct soft_hwpt *hwpt;
    int ret = check_nested(host, device, parent, options, error);

    if (!ret)
        ret = copy_first_stage(&first_stage, options, error);
    if (!ret && options->flags & VIOMMU_HOST_HWPT_FAULT_QUEUE) {
        faults = soft_find_fault_queue(host, options->fault_queue_id);
        if (!faults)
            ret = error_set(error, -ENOENT, "There is no fault queue %u for a nested HWPT",
                            options->fault_queue_id);
    }
    if (ret)
        return ret;
    hwpt = hwpt_new(host, device->iommu, options->flags);
    if (!hwpt)
        return error_set(error, -ENOMEM, "No memory for a nested HWPT");
    ret = soft_object_add(host, &hwpt->object, SOFT_NESTED, error);
    if (ret) {
        hwpt_free(hwpt);
        return ret;
    }
    hwpt->first_stage = first_stage;
    hwpt->faults = faults;
    if (faults)
        faults->users++;
    hwpt->parent = parent;
    LIST_INSERT_HEAD(&parent->nested, hwpt, sibling);
    *out = hwpt;
    return 0;
}

static int alloc_locked(struct soft_host *host, const struct viommu_host_hwpt_options *options,
                        struct soft_hwpt **hwpt, struct viommu_error *error)
{
    struct viommu_soft_device *device = soft_find_device(host, options->device_id);
    struct soft_ioas *ioas = soft_find_ioas(host, options->parent_id);
    struct soft_hwpt *parent = soft_find_hwpt(host, options->parent_id);

    if (!device)
        return error_set(error, -ENOENT, "There is no bound device %u to allocate a HWPT for",
                         options->device_id);
    if (ioas)
        return alloc_paging(host, device, ioas, options, hwpt, error);
    if (parent)
        return alloc_nested(host, device, parent, options, hwpt, error);
    return error_set(error, -EINVAL, "Parent %u of a new HWPT is neither an IOAS nor a HWPT",
                     options->parent_id);
}

int soft_hwpt_alloc(void *opaque, const struct viommu_host_hwpt_options *options, uint32_t *hwpt_id,
                    struct viommu_error *error)
{
    struct soft_host *host = opaque;
    struct soft_hwpt *hwpt = NULL;
    int ret;

    pthread_rwlock_wrlock(&host->lock);
    ret = alloc_locked(host, options, &hwpt, error);
    if (!ret)
        *hwpt_id = hwpt->object.id;
    pthread_rwlock_unlock(&host->lock);
    return ret;
}

static void hwpt_remove(struct soft_hwpt *hwpt)
{
    soft_object_remove(&hwpt->object);
    LIST_REMOVE(hwpt, sibling);
    hwpt_free(hwpt);
}

static int destroy_hwpt(struct soft_hwpt *hwpt, struct viommu_error *error)
{
    if (hwpt->attachments)
        return error_set(error, -EBUSY,
                         "HWPT %u has %u attachments of devices and PASIDs; detach them first",
                         hwpt->object.id, hwpt->attachments);
    if (!LIST_EMPTY(&hwpt->nested))
        return error_set(error, -EBUSY,
                         "HWPT %u is the parent of nested HWPT %u; destroy that first",
                         hwpt->object.id, LIST_FIRST(&hwpt->nested)->object.id);
    hwpt_remove(hwpt);
    return 0;
}

static int destroy_ioas(struct soft_host *host, struct soft_ioas *ioas, struct viommu_error *error)
{
    if (!LIST_EMPTY(&ioas->hwpts))
        return error_set(error, -EBUSY, "IOAS %u is used by HWPT %u; destroy that first",
                         ioas->object.id, LIST_FIRST(&ioas->hwpts)->object.id);
    soft_ioas_free(host, ioas);
    return 0;
}

static int destroy_fault_queue(struct soft_fault_queue *queue, struct viommu_error *error)
{
    if (queue->users)
        return error_set(error, -EBUSY, "Fault queue %u is used by %u HWPTs; destroy them first",
                         queue->object.id, queue->users);
    soft_fault_queue_free(queue);
    return 0;
}

int soft_destroy_object(void *opaque, uint32_t id, struct viommu_error *error)
{
    struct soft_host *host = opaque;
    struct soft_fault_queue *queue;
    struct soft_ioas *ioas;
    struct soft_hwpt *hwpt;
    int ret;

    pthread_rwlock_wrlock(&host->lock);
    ioas = soft_find_ioas(host, id);
    hwpt = soft_find_hwpt(host, id);
    queue = soft_find_fault_queue(host, id);
    if (hwpt)
        ret = destroy_hwpt(hwpt, error);
    else if (queue)
        ret = destroy_fault_queue(queue, error);
    else if (ioas)
        ret = destroy_ioas(host, ioas, error);
    else if (soft_find_device(host, id))
        ret = error_set(error, -EBUSY, "Object %u is a bound device; unbind it", id);
    else
        ret = error_set(error, -ENOENT, "There is no object %u", id);
    pthread_rwlock_unlock(&host->lock);
    return ret;
}

/* The analyzer does not see that LIST_REMOVE() changes the head of a list. */
static void destroy_hwpts_of(struct soft_ioas *ioas)
{
    while (!LIST_EMPTY(&ioas->hwpts)) {
        struct soft_hwpt *hwpt = LIST_FIRST(&ioas->hwpts);

        while (!LIST_EMPTY(&hwpt->nested))
            hwpt_remove(LIST_FIRST(&hwpt->nested)); /* NOLINT(clang-analyzer-unix.Malloc) */
        hwpt_remove(hwpt);
    }
}

static void destroy_fault_queues(struct soft_host *host)
{
    struct soft_object *object, *next;

    for (object = LIST_FIRST(&host->objects); object; object = next) {
        next = LIST_NEXT(object, link);
        if (object->type == SOFT_FAULT_QUEUE)
            soft_fault_queue_free((struct soft_fault_queue *)object);
    }
}

/* With the devices unbound: only IOASes with what hangs on them, and fault queues, are left. */
void soft_destroy_all_objects(struct soft_host *host)
{
    struct soft_object *object, *next;

    for (object = LIST_FIRST(&host->objects); object; object = next) {
        next = LIST_NEXT(object, link);
        if (object->type != SOFT_IOAS)
            continue;
        destroy_hwpts_of((struct soft_ioas *)object);
        soft_ioas_free(host, (struct soft_ioas *)object);
        next = LIST_FIRST(&host->objects);
    }
    destroy_fault_queues(host);
}
