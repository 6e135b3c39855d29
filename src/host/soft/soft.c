/* SPDX-License-Identifier: MIT */
/* The simulated host as a whole: its beginning and end, devices plugged in and out, the census. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "host/host.h"
#include "host/soft/soft.h"

#define DEFAULT_PROFILE "granite-rapids"

static void device_unplug(struct viommu_soft_device *device)
{
    struct soft_host *host = device->host;

    soft_lock(host);
    device->has_ats = false; /* it hears nothing any more */
    soft_device_block(device);
    device->plugged = false;
    LIST_REMOVE(device, plugged_link);
    soft_unlock(host);
    soft_gate_drain(&device->handlers);
    soft_gate_drain(&device->requests);
    soft_device_put(device);
}

/* Bound devices, also those that were removed without being unbound. */
static void unbind_all(struct soft_host *host)
{
    struct soft_object *object, *next;

    for (object = LIST_FIRST(&host->objects); object; object = next) {
        next = LIST_NEXT(object, link);
        if (object->type == SOFT_DEVICE)
            soft_unbind(host, object->id);
    }
}

static void soft_destroy(void *opaque)
{
    struct soft_host *host = opaque;

    unbind_all(host);
    while (!LIST_EMPTY(&host->devices))
        device_unplug(LIST_FIRST(&host->devices));
    soft_destroy_all_objects(host);
    pthread_rwlock_destroy(&host->lock);
    pthread_mutex_destroy(&host->telling);
    free(host);
}

static int soft_hw_info(void *opaque, uint32_t device_id, struct viommu_host_hw_info *info,
                        struct viommu_error *error)
{
    struct soft_host *host = opaque;
    bool found;

    pthread_rwlock_rdlock(&host->lock);
    found = soft_find_device(host, device_id);
    pthread_rwlock_unlock(&host->lock);
    if (!found)
        return error_set(error, -ENOENT, "There is no bound device %u", device_id);
    *info = host->info;
    return 0;
}

static const struct viommu_host_ops soft_ops = {
    .size = sizeof(soft_ops),
    .name = "soft",
    .destroy = soft_destroy,
    .bind = soft_bind,
    .unbind = soft_unbind,
    .ioas_alloc = soft_ioas_alloc,
    .ioas_map = soft_ioas_map,
    .ioas_unmap = soft_ioas_unmap,
    .ioas_iova_ranges = soft_ioas_iova_ranges,
    .hwpt_alloc = soft_hwpt_alloc,
    .destroy_object = soft_destroy_object,
    .attach = soft_attach,
    .detach = soft_detach,
    .invalidate = soft_invalidate,
    .hw_info = soft_hw_info,
    .set_fault_handler = soft_set_fault_handler,
    .fault_queue_alloc = soft_fault_queue_alloc,
    .fault_queue_read = soft_fault_queue_read,
    .fault_queue_respond = soft_fault_queue_respond,
};

struct soft_host *soft_host_of(const struct viommu_host *host)
{
    return host && host->ops->destroy == soft_destroy ? host->opaque : NULL;
}

static int take_info(struct viommu_host_hw_info *info, const struct viommu_soft_options *options,
                     struct viommu_error *error)
{
    int ret;

    if (!options->custom)
        return soft_profile_find(options->profile ? options->profile : DEFAULT_PROFILE, info,
                                 error);
    ret = error_copy_options(info, sizeof(*info), options->custom, "viommu_host_hw_info", error);
    if (ret)
        return ret;
    info->size = sizeof(*info);
    info->name[sizeof(info->name) - 1] = '\0';
    if (!info->name[0])
        strcpy(info->name, "custom");
    return soft_caps_check(info, error);
}

/* A call that waits for the lock must not be overtaken for ever by DMA that keeps coming. */
static int lock_init(pthread_rwlock_t *lock)
{
    pthread_rwlockattr_t attributes;
    int ret = pthread_rwlockattr_init(&attributes);

    if (ret)
        return -ret;
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    ret = pthread_rwlock_init(lock, &attributes);
    pthread_rwlockattr_destroy(&attributes);
    return -ret;
}

static int soft_host_new(struct soft_host **out, const struct viommu_soft_options *options,
                         struct viommu_error *error)
{
    struct soft_host *host = calloc(1, sizeof(*host));
    int ret;

    if (!host || lock_init(&host->lock)) {
        free(host);
        return error_set(error, -ENOMEM, "No memory for a simulated host");
    }
    pthread_mutex_init(&host->telling, NULL);
    LIST_INIT(&host->objects);
    LIST_INIT(&host->devices);
    host->cache_mode = options->cache;
    host->cache_limit = options->cache_limit ? options->cache_limit : VIOMMU_SOFT_CACHE_LIMIT;
    host->log = options->log;
    ret = take_info(&host->info, options, error);
    if (ret) {
        soft_destroy(host);
        return ret;
    }
    soft_caps_derive(&host->caps, &host->info);
    host->info.page_requests = host->caps.page_requests;
    host->info.ats = host->caps.device_tlb;
    *out = host;
    return 0;
}

int viommu_soft_create(struct viommu_host **out, const struct viommu_soft_options *options,
                       struct viommu_error *error)
{
    struct viommu_soft_options copy = VIOMMU_SOFT_OPTIONS_INIT;
    struct soft_host *host = NULL;
    int ret = 0;

    if (options)
        ret = error_copy_options(&copy, sizeof(copy), options, "viommu_soft_options", error);
    if (ret)
        return ret;
    if (copy.cache != VIOMMU_SOFT_CACHE_HOARD && copy.cache != VIOMMU_SOFT_CACHE_NONE)
        return error_set(error, -EINVAL, "Cache mode %d of a simulated host: HOARD (0) or NONE (1)",
                         (int)copy.cache);
    ret = soft_host_new(&host, &copy, error);
    if (ret)
        return ret;
    ret = viommu_host_create(out, &soft_ops, host, &copy.log, error);
    if (ret) {
        soft_destroy(host);
        return ret;
    }
    log_message(&copy.log, VIOMMU_LOG_INFO, "Simulated host: %s", host->info.name);
    return 0;
}

struct viommu_soft_device *soft_find_plugged(struct soft_host *host, const char *name)
{
    struct viommu_soft_device *device;

    LIST_FOREACH(device, &host->devices, plugged_link)
    {
        if (!strcmp(device->name, name))
            return device;
    }
    return NULL;
}

static struct viommu_soft_device *device_new(struct soft_host *host, const char *name,
                                             unsigned int iommu)
{
    struct viommu_soft_device *device = calloc(1, sizeof(*device));

    if (!device)
        return NULL;
    device->name = strdup(name);
    if (!device->name) {
        free(device);
        return NULL;
    }
    device->host = host;
    device->iommu = iommu;
    device->plugged = true;
    device->references = 1;
    LIST_INIT(&device->pasids);
    TAILQ_INIT(&device->groups);
    soft_gate_init(&device->handlers);
    soft_gate_init(&device->requests);
    return device;
}

int viommu_soft_device_add(struct viommu_host *host, const char *name, unsigned int iommu,
                           struct viommu_soft_device **out, struct viommu_error *error)
{
    struct soft_host *soft = soft_host_of(host);
    struct viommu_soft_device *device;
    bool taken;

    if (!soft || !name || !*name)
        return error_set(error, -EINVAL,
                         "A simulated device needs a host of viommu_soft_create() and a name");
    device = device_new(soft, name, iommu);
    if (!device)
        return error_set(error, -ENOMEM, "No memory for simulated device %s", name);
    soft_lock(soft);
    taken = soft_find_plugged(soft, name);
    if (!taken)
        LIST_INSERT_HEAD(&soft->devices, device, plugged_link);
    soft_unlock(soft);
    if (taken) {
        soft_device_put(device);
        return error_set(error, -EEXIST, "The simulated host has a device %s already", name);
    }
    *out = device;
    return 0;
}

void viommu_soft_device_remove(struct viommu_soft_device *device)
{
    if (device)
        device_unplug(device);
}

static void count_object(struct viommu_soft_census *census, const struct soft_object *object)
{
    const struct soft_hwpt *hwpt = (const struct soft_hwpt *)object;
    uint64_t *const counters[] = {
        [SOFT_DEVICE] = &census->bound_devices,     [SOFT_IOAS] = &census->ioas,
        [SOFT_PAGING] = &census->paging_hwpts,      [SOFT_NESTED] = &census->nested_hwpts,
        [SOFT_FAULT_QUEUE] = &census->fault_queues,
    };

    ++*counters[object->type];
    if (object->type == SOFT_PAGING || object->type == SOFT_NESTED)
        census->attachments += hwpt->attachments;
}

void viommu_soft_get_census(struct viommu_host *host, struct viommu_soft_census *census)
{
    struct viommu_soft_census now = {.size = census->size};
    size_t known = census->size < sizeof(now) ? census->size : sizeof(now);
    struct soft_host *soft = soft_host_of(host);
    struct soft_object *object;

    memset((char *)census + known, 0, census->size - known);
    if (soft) {
        pthread_rwlock_rdlock(&soft->lock);
        LIST_FOREACH(object, &soft->objects, link)
        {
            count_object(&now, object);
        }
        now.mapped_bytes = soft->mapped_bytes;
        now.table_pages = soft->table_pages;
        now.cache_entries = __atomic_load_n(&soft->cache_entries, __ATOMIC_RELAXED);
        now.cache_clears = __atomic_load_n(&soft->cache_clears, __ATOMIC_RELAXED);
        now.dma_requests = __atomic_load_n(&soft->dma_requests, __ATOMIC_RELAXED);
        now.dma_faults = __atomic_load_n(&soft->dma_faults, __ATOMIC_RELAXED);
        now.translation_requests = __atomic_load_n(&soft->translation_requests, __ATOMIC_RELAXED);
        now.device_tlb_invalidations =
            __atomic_load_n(&soft->device_tlb_invalidations, __ATOMIC_RELAXED);
        pthread_rwlock_unlock(&soft->lock);
    }
    memcpy(census, &now, known);
}
