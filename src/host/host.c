/* SPDX-License-Identifier: MIT */
/*
 * The calls on a host. Each one asks the observer, is counted, checks what does not depend on the
 * backend, and only then reaches the backend.
 */
#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/error.h"
#include "host/host.h"

#define HOST_PAGE_SIZE UINT64_C(4096)
#define HOST_PASID_MAX ((UINT32_C(1) << 20) - 1) /* PCIe base spec, 6.20: 20 bits */

_Static_assert(VIOMMU_HOST_CALL_COUNT <= VIOMMU_HOST_CALL_ROOM,
               "the statistics have room for every call; more room is another ABI");

static const char *const call_names[VIOMMU_HOST_CALL_COUNT] = {
    [VIOMMU_HOST_CALL_BIND] = "bind",
    [VIOMMU_HOST_CALL_UNBIND] = "unbind",
    [VIOMMU_HOST_CALL_IOAS_ALLOC] = "ioas_alloc",
    [VIOMMU_HOST_CALL_IOAS_MAP] = "ioas_map",
    [VIOMMU_HOST_CALL_IOAS_UNMAP] = "ioas_unmap",
    [VIOMMU_HOST_CALL_IOAS_IOVA_RANGES] = "ioas_iova_ranges",
    [VIOMMU_HOST_CALL_HWPT_ALLOC] = "hwpt_alloc",
    [VIOMMU_HOST_CALL_DESTROY_OBJECT] = "destroy_object",
    [VIOMMU_HOST_CALL_ATTACH] = "attach",
    [VIOMMU_HOST_CALL_DETACH] = "detach",
    [VIOMMU_HOST_CALL_INVALIDATE] = "invalidate",
    [VIOMMU_HOST_CALL_HW_INFO] = "hw_info",
    [VIOMMU_HOST_CALL_SET_FAULT_HANDLER] = "set_fault_handler",
    [VIOMMU_HOST_CALL_FAULT_QUEUE_ALLOC] = "fault_queue_alloc",
    [VIOMMU_HOST_CALL_FAULT_QUEUE_READ] = "fault_queue_read",
    [VIOMMU_HOST_CALL_FAULT_QUEUE_RESPOND] = "fault_queue_respond",
};

const char *viommu_host_call_name(enum viommu_host_call call)
{
    return (unsigned int)call < VIOMMU_HOST_CALL_COUNT ? call_names[call] : "unknown call";
}

/* A backend must have every call but set_fault_handler and those of fault queues. */
static const char *missing_op(const struct viommu_host_ops *ops)
{
    const struct {
        bool present;
        const char *name;
    } needed[] = {
        {ops->destroy, "destroy"},       {ops->bind, "bind"},
        {ops->unbind, "unbind"},         {ops->ioas_alloc, "ioas_alloc"},
        {ops->ioas_map, "ioas_map"},     {ops->ioas_unmap, "ioas_unmap"},
        {ops->attach, "attach"},         {ops->ioas_iova_ranges, "ioas_iova_ranges"},
        {ops->detach, "detach"},         {ops->hwpt_alloc, "hwpt_alloc"},
        {ops->invalidate, "invalidate"}, {ops->destroy_object, "destroy_object"},
        {ops->hw_info, "hw_info"},
    };

    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        if (!needed[i].present)
            return needed[i].name;
    }
    return NULL;
}

int viommu_host_create(struct viommu_host **out, const struct viommu_host_ops *ops, void *opaque,
                       const struct viommu_log *log, struct viommu_error *error)
{
    struct viommu_host *host;
    const char *missing;
    int ret;

    if (!out || !ops)
        return error_set(error, -EINVAL, "A host needs a place to put it and the backend's calls");
    host = calloc(1, sizeof(*host));
    if (!host)
        return error_set(error, -ENOMEM, "No memory for a host");
    ret = error_copy_options(&host->own_ops, sizeof(host->own_ops), ops, "viommu_host_ops", error);
    if (ret)
        goto out_free;
    missing = missing_op(&host->own_ops);
    if (missing) {
        ret = error_set(error, -EINVAL, "Host backend %s lacks the mandatory call %s",
                        host->own_ops.name ? host->own_ops.name : "without name", missing);
        goto out_free;
    }
    if (!host->own_ops.name)
        host->own_ops.name = "unnamed";
    host->ops = &host->own_ops;
    host->opaque = opaque;
    if (log)
        host->log = *log;
    pthread_mutex_init(&host->nested_lock, NULL);
    *out = host;
    return 0;

out_free:
    free(host);
    return ret;
}

void viommu_host_destroy(struct viommu_host *host)
{
    if (!host)
        return;
    host->ops->destroy(host->opaque);
    tdestroy(host->nested, free);
    pthread_mutex_destroy(&host->nested_lock);
    free(host);
}

void viommu_host_set_observer(struct viommu_host *host, viommu_host_observer_fn *fn, void *opaque)
{
    host->observer = fn;
    host->observer_opaque = opaque;
}

static void count(uint64_t *counter, uint64_t by)
{
    __atomic_fetch_add(counter, by, __ATOMIC_RELAXED);
}

static uint64_t counted(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

void viommu_host_get_stats(const struct viommu_host *host, struct viommu_host_stats *stats)
{
    struct viommu_host_stats now = {.size = stats->size};
    size_t known = stats->size < sizeof(now) ? stats->size : sizeof(now);

    for (int i = 0; i < VIOMMU_HOST_CALL_COUNT; i++) {
        now.calls[i] = counted(&host->stats.calls[i]);
        now.failures[i] = counted(&host->stats.failures[i]);
    }
    now.invalidate_entries = counted(&host->stats.invalidate_entries);
    now.nested_allocated = counted(&host->stats.nested_allocated);
    now.nested_destroyed = counted(&host->stats.nested_destroyed);
    memset((char *)stats + known, 0, stats->size - known);
    memcpy(stats, &now, known);
}

int host_call_begin(struct viommu_host *host, enum viommu_host_call call, struct viommu_error *own)
{
    int ret;

    own->code = 0;
    own->message[0] = '\0';
    count(&host->stats.calls[call], 1);
    if (!host->observer)
        return 0;
    ret = host->observer(host->observer_opaque, call);
    if (ret >= 0)
        return 0;
    return error_set(own, ret, "The observer of host %s made %s fail: %s", host->ops->name,
                     call_names[call], strerror(-ret));
}

int host_call_end(struct viommu_host *host, enum viommu_host_call call, int ret,
                  struct viommu_error *own, struct viommu_error *error)
{
    if (ret >= 0)
        return 0;
    count(&host->stats.failures[call], 1);
    if (!own->message[0])
        error_set(own, ret, "Host %s: %s failed: %s", host->ops->name, call_names[call],
                  strerror(-ret));
    if (error) {
        *error = *own;
        error->code = ret;
    }
    return ret;
}

int viommu_host_bind(struct viommu_host *host, const char *device, uint32_t *device_id,
                     struct viommu_error *error)
{
    struct viommu_error own;
    int ret = host_call_begin(host, VIOMMU_HOST_CALL_BIND, &own);

    if (!ret && (!device || !*device))
        ret = error_set(&own, -EINVAL, "Cannot bind a device without a name to host %s",
                        host->ops->name);
    if (!ret)
        ret = host->ops->bind(host->opaque, device, device_id, &own);
    return host_call_end(host, VIOMMU_HOST_CALL_BIND, ret, &own, error);
}

void viommu_host_unbind(struct viommu_host *host, uint32_t device_id)
{
    struct viommu_error own;

    host_call_begin(host, VIOMMU_HOST_CALL_UNBIND, &own);
    host->ops->unbind(host->opaque, device_id);
}

int viommu_host_ioas_alloc(struct viommu_host *host, uint32_t *ioas_id, struct viommu_error *error)
{
    struct viommu_error own;
    int ret = host_call_begin(host, VIOMMU_HOST_CALL_IOAS_ALLOC, &own);

    if (!ret)
        ret = host->ops->ioas_alloc(host->opaque, ioas_id, &own);
    return host_call_end(host, VIOMMU_HOST_CALL_IOAS_ALLOC, ret, &own, error);
}

static int check_map(uint64_t iova, const void *address, uint64_t length, uint32_t flags,
                     struct viommu_error *error)
{
    const uint32_t known = VIOMMU_HOST_MAP_READ | VIOMMU_HOST_MAP_WRITE;

    if (!flags || (flags & ~known))
        return error_set(error, -EINVAL,
                         "Map flags 0x%x at IOVA 0x%llx: give READ (1), WRITE (2) or both", flags,
                         (unsigned long long)iova);
    if (!length || !is_aligned(iova | (uintptr_t)address | length, HOST_PAGE_SIZE))
        return error_set(error, -EINVAL,
                         "Map of 0x%llx bytes at %p to IOVA 0x%llx: all three must be multiples of "
                         "4096, the length not 0",
                         (unsigned long long)length, address, (unsigned long long)iova);
    if (!address)
        return error_set(error, -EINVAL, "Map to IOVA 0x%llx without memory (address NULL)",
                         (unsigned long long)iova);
    if (range_overflows(iova, length) || range_overflows((uintptr_t)address, length))
        return error_set(error, -EOVERFLOW,
                         "Map of 0x%llx bytes at %p to IOVA 0x%llx goes beyond 64 bits",
                         (unsigned long long)length, address, (unsigned long long)iova);
    return 0;
}

int viommu_host_ioas_map(struct viommu_host *host, uint32_t ioas_id, uint64_t iova, void *address,
                         uint64_t length, uint32_t flags, struct viommu_error *error)
{
    struct viommu_error own;
    int ret = host_call_begin(host, VIOMMU_HOST_CALL_IOAS_MAP, &own);

    if (!ret)
        ret = check_map(iova, address, length, flags, &own);
    if (!ret)
        ret = host->ops->ioas_map(host->opaque, ioas_id, iova, address, length, flags, &own);
    return host_call_end(host, VIOMMU_HOST_CALL_IOAS_MAP, ret, &own, error);
}

static int check_unmap(uint64_t iova, uint64_t length, struct viommu_error *error)
{
    if (iova == 0 && length == UINT64_MAX)
        return 0;
    if (!length || !is_aligned(iova | length, HOST_PAGE_SIZE))
        return error_set(error, -EINVAL,
                         "Unmap of 0x%llx bytes at IOVA 0x%llx: both must be multiples of 4096, "
                         "the length not 0 (IOVA 0 with length 2^64-1 unmaps all)",
                         (unsigned long long)length, (unsigned long long)iova);
    if (range_overflows(iova, length))
        return error_set(error, -EOVERFLOW,
                         "Unmap of 0x%llx bytes at IOVA 0x%llx goes beyond 64 bits",
                         (unsigned long long)length, (unsigned long long)iova);
    return 0;
}

int viommu_host_ioas_unmap(struct viommu_host *host, uint32_t ioas_id, uint64_t iova,
                           uint64_t length, uint64_t *unmapped, struct viommu_error *error)
{
    struct viommu_error own;
    uint64_t bytes = 0;
    int ret = host_call_begin(host, VIOMMU_HOST_CALL_IOAS_UNMAP, &own);

    if (!ret)
        ret = check_unmap(iova, length, &own);
    if (!ret)
        ret = host->ops->ioas_unmap(host->opaque, ioas_id, iova, length, &bytes, &own);
    if (unmapped)
        *unmapped = ret < 0 ? 0 : bytes;
    return host_call_end(host, VIOMMU_HOST_CALL_IOAS_UNMAP, ret, &own, error);
}

int viommu_host_ioas_iova_ranges(struct viommu_host *host, uint32_t ioas_id,
                                 struct viommu_host_iova_range *ranges, size_t *room,
                                 struct viommu_error *error)
{
    struct viommu_error own;
    int ret = host_call_begin(host, VIOMMU_HOST_CALL_IOAS_IOVA_RANGES, &own);

    if (!ret && (!room || (*room && !ranges)))
        ret =
            error_set(&own, -EINVAL, "IOVA ranges of IOAS %u need room to be written to", ioas_id);
    if (!ret)
        ret = host->ops->ioas_iova_ranges(host->opaque, ioas_id, ranges, room, &own);
    return host_call_end(host, VIOMMU_HOST_CALL_IOAS_IOVA_RANGES, ret, &own, error);
}

static int compare_ids(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

    return left < right ? -1 : left > right;
}

/* Without memory the ID is not remembered: its end is then not counted, nothing worse. */
static void nested_remember(struct viommu_host *host, uint32_t id)
{
    uint32_t *key = malloc(sizeof(*key)), **node;

    count(&host->stats.nested_allocated, 1);
    if (!key)
        return;
    *key = id;
    pthread_mutex_lock(&host->nested_lock);
    node = tsearch(key, &host->nested, compare_ids);
    pthread_mutex_unlock(&host->nested_lock);
    if (!node || *node != key)
        free(key);
}

static void nested_forget(struct viommu_host *host, uint32_t id)
{
    uint32_t **node, *key = NULL;

    pthread_mutex_lock(&host->nested_lock);
    node = tfind(&id, &host->nested, compare_ids);
    if (node) {
        key = *node;
        tdelete(&id, &host->nested, compare_ids);
    }
    pthread_mutex_unlock(&host->nested_lock);
    if (key)
        count(&host->stats.nested_destroyed, 1);
    free(key);
}

static int check_hwpt(const struct viommu_host_hwpt_options *options, struct viommu_error *error)
{
    if (options->data_type == VIOMMU_HOST_DATA_NONE && (options->data || options->data_length))
        return error_set(error, -EINVAL,
                         "HWPT for device %u: %zu bytes of vendor data without their type",
                         options->device_id, options->data_length);
    if (options->data_type != VIOMMU_HOST_DATA_NONE && (!options->data || !options->data_length))
        return error_set(error, -EINVAL, "HWPT for device %u: vendor data of type %d is missing",
                         options->device_id, (int)options->data_type);
    return 0;
}

int viommu_host_hwpt_alloc(struct viommu_host *host, const struct viommu_host_hwpt_options *options,
                           uint32_t *hwpt_id, struct viommu_error *error)
{
    struct viommu_host_hwpt_options copy;
    struct viommu_error own;
    int ret = host_call_begin(host, VIOMMU_HOST_CALL_HWPT_ALLOC, &own);

    if (!ret)
        ret = error_copy_options(&copy, sizeof(copy), options, "viommu_host_hwpt_options", &own);
    if (!ret)
        ret = check_hwpt(&copy, &own);
    if (!ret)
        ret = host->ops->hwpt_alloc(host->opaque, &copy, hwpt_id, &own);
    if (!ret && copy.data_type != VIOMMU_HOST_DATA_NONE)
        nested_remember(host, *hwpt_id);
    return host_call_end(host, VIOMMU_HOST_CALL_HWPT_ALLOC, ret, &own, error);
}

int viommu_host_destroy_object(struct viommu_host *host, uint32_t id, struct viommu_error *error)
{
    struct viommu_error own;
    int ret = host_call_begin(host, VIOMMU_HOST_CALL_DESTROY_OBJECT, &own);

    if (!ret)
        ret = host->ops->destroy_object(host->opaque, id, &own);
    if (!ret)
        nested_forget(host, id);
    return host_call_end(host, VIOMMU_HOST_CALL_DESTROY_OBJECT, ret, &own, error);
}

static int check_pasid(uint32_t device_id, uint32_t pasid, struct viommu_error *error)
{
    if (pasid == VIOMMU_PASID_NONE || pasid <= HOST_PASID_MAX)
        return 0;
    return error_set(error, -EINVAL, "PASID 0x%x of device %u is beyond 20 bits (0x%x)", pasid,
                     device_id, HOST_PASID_MAX);
}

int viommu_host_attach(struct viommu_host *host, uint32_t device_id, uint32_t pasid,
                       uint32_t hwpt_id, struct viommu_error *error)
{
    struct viommu_error own;
    int ret = host_call_begin(host, VIOMMU_HOST_CALL_ATTACH, &own);

    if (!ret)
        ret = check_pasid(device_id, pasid, &own);
    if (!ret)
        ret = host->ops->attach(host->opaque, device_id, pasid, hwpt_id, &own);
    return host_call_end(host, VIOMMU_HOST_CALL_ATTACH, ret, &own, error);
}

int viommu_host_detach(struct viommu_host *host, uint32_t device_id, uint32_t pasid,
                       struct viommu_error *error)
{
    struct viommu_error own;
    int ret = host_call_begin(host, VIOMMU_HOST_CALL_DETACH, &own);

    if (!ret)
        ret = check_pasid(device_id, pasid, &own);
    if (!ret)
        ret = host->ops->detach(host->opaque, device_id, pasid, &own);
    return host_call_end(host, VIOMMU_HOST_CALL_DETACH, ret, &own, error);
}

int viommu_host_invalidate(struct viommu_host *host, uint32_t hwpt_id, enum viommu_host_data type,
                           const void *entries, size_t entry_length, uint32_t *entry_count,
                           struct viommu_error *error)
{
    struct viommu_error own;
    uint32_t asked = *entry_count;
    int ret = host_call_begin(host, VIOMMU_HOST_CALL_INVALIDATE, &own);

    *entry_count = 0;
    if (!ret && asked && (!entries || !entry_length))
        ret = error_set(&own, -EINVAL, "Invalidation of HWPT %u: %u entries without their bytes",
                        hwpt_id, asked);
    if (!ret) {
        *entry_count = asked;
        count(&host->stats.invalidate_entries, asked);
        ret = host->ops->invalidate(host->opaque, hwpt_id, type, entries, entry_length, entry_count,
                                    &own);
    }
    return host_call_end(host, VIOMMU_HOST_CALL_INVALIDATE, ret, &own, error);
}

int viommu_host_hw_info(struct viommu_host *host, uint32_t device_id,
                        struct viommu_host_hw_info *info, struct viommu_error *error)
{
    struct viommu_host_hw_info full = {.size = sizeof(full)};
    struct viommu_error own;
    int ret = host_call_begin(host, VIOMMU_HOST_CALL_HW_INFO, &own);
    size_t size = info->size, known = size < sizeof(full) ? size : sizeof(full);

    if (!ret && size < sizeof(info->size) + sizeof(info->type))
        ret = error_set(&own, -EINVAL,
                        "hw_info: size %zu is too small; set info->size to its sizeof", size);
    if (!ret)
        ret = host->ops->hw_info(host->opaque, device_id, &full, &own);
    if (!ret) {
        memset((char *)info + known, 0, size - known);
        full.size = size;
        memcpy(info, &full, known);
    }
    return host_call_end(host, VIOMMU_HOST_CALL_HW_INFO, ret, &own, error);
}

static int check_fault_queues(const struct viommu_host *host, struct viommu_error *error)
{
    const struct viommu_host_ops *ops = host->ops;

    if (ops->fault_queue_alloc && ops->fault_queue_read && ops->fault_queue_respond)
        return 0;
    return error_set(error, -EOPNOTSUPP, "Host %s cannot deliver page requests", ops->name);
}

int viommu_host_fault_queue_alloc(struct viommu_host *host, uint32_t *queue_id, int *descriptor,
                                  struct viommu_error *error)
{
    struct viommu_error own;
    int ret = host_call_begin(host, VIOMMU_HOST_CALL_FAULT_QUEUE_ALLOC, &own);

    if (!ret)
        ret = check_fault_queues(host, &own);
    if (!ret)
        ret = host->ops->fault_queue_alloc(host->opaque, queue_id, descriptor, &own);
    return host_call_end(host, VIOMMU_HOST_CALL_FAULT_QUEUE_ALLOC, ret, &own, error);
}

int viommu_host_fault_queue_read(struct viommu_host *host, uint32_t queue_id,
                                 struct viommu_host_page_request *requests, size_t *room,
                                 struct viommu_error *error)
{
    struct viommu_error own;
    int ret = host_call_begin(host, VIOMMU_HOST_CALL_FAULT_QUEUE_READ, &own);

    if (!ret)
        ret = check_fault_queues(host, &own);
    if (!ret)
        ret = host->ops->fault_queue_read(host->opaque, queue_id, requests, room, &own);
    if (ret)
        *room = 0;
    return host_call_end(host, VIOMMU_HOST_CALL_FAULT_QUEUE_READ, ret, &own, error);
}

int viommu_host_fault_queue_respond(struct viommu_host *host, uint32_t queue_id,
                                    const struct viommu_host_page_response *response,
                                    struct viommu_error *error)
{
    struct viommu_error own;
    int ret = host_call_begin(host, VIOMMU_HOST_CALL_FAULT_QUEUE_RESPOND, &own);

    if (!ret)
        ret = check_fault_queues(host, &own);
    if (!ret)
        ret = host->ops->fault_queue_respond(host->opaque, queue_id, response, &own);
    return host_call_end(host, VIOMMU_HOST_CALL_FAULT_QUEUE_RESPOND, ret, &own, error);
}
