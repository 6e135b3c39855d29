/* SPDX-License-Identifier: MIT */
/* DMA of the simulated devices: request checks, translation page by page, moving bytes, faults. */
#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "host/soft/soft.h"

#define PASID_LIMIT (UINT32_C(1) << 20)

void soft_trace_step(struct soft_trace *trace, uint8_t stage, uint8_t level, uint64_t input,
                     uint64_t entry_address, uint64_t entry)
{
    if (!trace)
        return;
    if (trace->count < trace->room)
        trace->steps[trace->count] =
            (struct viommu_soft_step){stage, level, input, entry_address, entry};
    trace->count++;
}

static enum viommu_dma_status check_request(const struct viommu_dma_request *request)
{
    const uint8_t need_pasid = VIOMMU_DMA_EXECUTE | VIOMMU_DMA_PRIVILEGED;
    const uint8_t move = VIOMMU_DMA_READ | VIOMMU_DMA_WRITE;
    bool has_pasid = request->pasid != VIOMMU_PASID_NONE;

    if (!request->length || range_overflows(request->address, request->length) ||
        !(request->access & move) || (request->access & ~(move | need_pasid)) ||
        (has_pasid && request->pasid >= PASID_LIMIT) ||
        (!has_pasid && (request->access & need_pasid)) || request->type > VIOMMU_DMA_TRANSLATED)
        return VIOMMU_DMA_BAD_REQUEST;
    /* ATS is never enabled on these devices. */
    return request->type == VIOMMU_DMA_UNTRANSLATED ? VIOMMU_DMA_OK : VIOMMU_DMA_UNSUPPORTED;
}

static int status_errno(enum viommu_dma_status status)
{
    static const int errnos[VIOMMU_DMA_READONLY + 1] = {
        [VIOMMU_DMA_BAD_REQUEST] = -EINVAL,
        [VIOMMU_DMA_NO_MEMORY] = -EFAULT,
        [VIOMMU_DMA_READONLY] = -EFAULT,
    };

    if (status == VIOMMU_DMA_OK)
        return 0;
    return errnos[status] ? errnos[status] : -EACCES;
}

/*
 * Without a first stage what may be read may be executed. Privileged requests are refused: Linux
 * enables them (VT-d 5.0, 9.6, SRE) for nested tables alone.
 */
static void paging_walk(const struct soft_hwpt *hwpt, const struct viommu_dma_request *request,
                        uint64_t iova, bool quiet, struct soft_trace *trace,
                        struct soft_translation *translation)
{
    const uint8_t move = VIOMMU_DMA_READ | VIOMMU_DMA_WRITE;

    soft_second_walk(hwpt, iova, request->access & move, quiet, trace, translation);
    if (translation->status != VIOMMU_DMA_OK)
        return;
    if (request->access & VIOMMU_DMA_PRIVILEGED)
        translation->status = VIOMMU_DMA_PERMISSION;
    if (hwpt->host->caps.execute && (translation->permissions & VIOMMU_DMA_READ))
        translation->permissions |= VIOMMU_DMA_EXECUTE;
    if ((request->access & VIOMMU_DMA_EXECUTE) && !(translation->permissions & VIOMMU_DMA_EXECUTE))
        translation->status = VIOMMU_DMA_PERMISSION;
}

static void walk(const struct soft_hwpt *hwpt, const struct viommu_dma_request *request,
                 uint64_t iova, bool quiet, struct soft_trace *trace,
                 struct soft_translation *translation)
{
    if (hwpt->object.type == SOFT_NESTED)
        soft_nested_walk(hwpt, request, iova, quiet, trace, translation);
    else
        paging_walk(hwpt, request, iova, quiet, trace, translation);
}

/*
 * What is cached serves a request that it permits. Otherwise the tables are walked again, as
 * hardware does before it refuses or sets a dirty bit.
 */
static bool cached(struct soft_hwpt *hwpt, const struct viommu_dma_request *request, uint64_t iova,
                   struct soft_translation *translation)
{
    uint8_t wanted = request->access & ~VIOMMU_DMA_PRIVILEGED;

    return soft_cache_find(&hwpt->cache, iova, request->access & VIOMMU_DMA_PRIVILEGED,
                           translation) &&
           !(wanted & ~translation->permissions) &&
           (!(wanted & VIOMMU_DMA_WRITE) || translation->write_ready);
}

/* Requests with a PASID are translated in the interrupt range too (VT-d 5.0, 3.14). */
static bool is_interrupt(const struct viommu_dma_request *request, uint64_t iova)
{
    return request->pasid == VIOMMU_PASID_NONE && iova >= SOFT_MSI_START && iova <= SOFT_MSI_LAST;
}

static void translate(const struct viommu_soft_device *device,
                      const struct viommu_dma_request *request, uint64_t iova,
                      struct soft_translation *translation)
{
    struct soft_hwpt *hwpt = soft_device_hwpt(device, request->pasid);
    struct soft_host *host = device->host;

    *translation = (struct soft_translation){.status = VIOMMU_DMA_BLOCKED};
    if (is_interrupt(request, iova)) {
        translation->status = VIOMMU_DMA_INTERRUPT_RANGE;
        return;
    }
    if (!hwpt)
        return;
    if (host->cache_mode == VIOMMU_SOFT_CACHE_HOARD && cached(hwpt, request, iova, translation))
        return;
    walk(hwpt, request, iova, false, NULL, translation);
    if (host->cache_mode == VIOMMU_SOFT_CACHE_HOARD && translation->status == VIOMMU_DMA_OK)
        soft_cache_insert(&hwpt->cache, iova, request->access & VIOMMU_DMA_PRIVILEGED, translation);
}

static void report(const struct soft_translation *translation, uint64_t offset,
                   struct viommu_dma_result *result)
{
    result->gpa = translation->hpa | offset;
    result->permissions = translation->permissions;
    result->granule_log2 = translation->granule_log2;
}

/* Lock held for reading. Moves up to the first page that is refused. */
static void move_bytes(const struct viommu_soft_device *device,
                       const struct viommu_dma_request *request, void *to_device,
                       const void *from_device, struct viommu_dma_result *result)
{
    while (result->length < request->length) {
        uint64_t iova = request->address + result->length, offset = iova & SOFT_PAGE_MASK;
        uint64_t left = request->length - result->length;
        uint64_t bytes = left < SOFT_PAGE_SIZE - offset ? left : SOFT_PAGE_SIZE - offset;
        struct soft_translation translation;
        char *memory;

        translate(device, request, iova, &translation);
        result->status = translation.status;
        if (translation.status != VIOMMU_DMA_OK)
            return;
        if (!result->length)
            report(&translation, offset, result);
        memory = (char *)(uintptr_t)(translation.hpa | offset);
        if (to_device)
            memcpy((char *)to_device + result->length, memory, bytes);
        else
            /* A read has given to_device, as its length is not 0. */
            /* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker) */
            memcpy(memory, (const char *)from_device + result->length, bytes);
        result->length += bytes;
    }
}

/* The handler to call once the lock is dropped, entered into the gate while it is still held. */
struct fault_call {
    viommu_host_fault_fn *fn;
    void *opaque;
    unsigned int epoch;
};

static struct fault_call fault_prepare(struct viommu_soft_device *device)
{
    struct fault_call call = {device->fault_fn, device->fault_opaque, 0};

    if (call.fn)
        call.epoch = soft_gate_enter(&device->handlers);
    return call;
}

static void fault_deliver(struct viommu_soft_device *device, const struct fault_call *call,
                          const struct viommu_dma_request *request,
                          const struct viommu_dma_result *result)
{
    struct viommu_host_fault fault = {
        .address = request->address + result->length,
        .pasid = request->pasid,
        .access = request->access,
        .status = result->status,
    };

    if (!call->fn)
        return;
    call->fn(call->opaque, &fault);
    soft_gate_exit(&device->handlers, call->epoch);
}

static void serve(struct viommu_soft_device *device, const struct viommu_dma_request *request,
                  void *to_device, const void *from_device, struct viommu_dma_result *result)
{
    struct soft_host *host = device->host;
    struct fault_call call = {0};

    pthread_rwlock_rdlock(&host->lock);
    if (result->status == VIOMMU_DMA_OK)
        move_bytes(device, request, to_device, from_device, result);
    if (result->status != VIOMMU_DMA_OK)
        call = fault_prepare(device);
    pthread_rwlock_unlock(&host->lock);
    __atomic_fetch_add(result->status == VIOMMU_DMA_OK ? &host->dma_requests : &host->dma_faults, 1,
                       __ATOMIC_RELAXED);
    fault_deliver(device, &call, request, result);
}

/* One of to_device and from_device is NULL: reads and writes are named from the device's side. */
static int dma(struct viommu_soft_device *device, const struct viommu_dma_request *asked,
               uint8_t access, void *to_device, const void *from_device,
               struct viommu_dma_result *result)
{
    struct viommu_dma_request request = *asked;
    unsigned int epoch;

    request.access |= access;
    *result = (struct viommu_dma_result){.status = check_request(&request)};
    if (result->status == VIOMMU_DMA_BAD_REQUEST)
        return -EINVAL;
    epoch = soft_gate_enter(&device->requests);
    serve(device, &request, to_device, from_device, result);
    soft_gate_exit(&device->requests, epoch);
    return status_errno(result->status);
}

int viommu_soft_device_read(struct viommu_soft_device *device,
                            const struct viommu_dma_request *request, void *buffer,
                            struct viommu_dma_result *result)
{
    return dma(device, request, VIOMMU_DMA_READ, buffer, NULL, result);
}

int viommu_soft_device_write(struct viommu_soft_device *device,
                             const struct viommu_dma_request *request, const void *buffer,
                             struct viommu_dma_result *result)
{
    return dma(device, request, VIOMMU_DMA_WRITE, NULL, buffer, result);
}

static void explain(const struct viommu_soft_device *device,
                    const struct viommu_dma_request *request, struct soft_trace *trace,
                    struct viommu_dma_result *result)
{
    struct soft_hwpt *hwpt = soft_device_hwpt(device, request->pasid);
    uint64_t offset = request->address & SOFT_PAGE_MASK, left = SOFT_PAGE_SIZE - offset;
    struct soft_translation translation;

    if (is_interrupt(request, request->address)) {
        result->status = VIOMMU_DMA_INTERRUPT_RANGE;
        return;
    }
    if (!hwpt) {
        result->status = VIOMMU_DMA_BLOCKED;
        return;
    }
    walk(hwpt, request, request->address, true, trace, &translation);
    result->status = translation.status;
    if (translation.status != VIOMMU_DMA_OK)
        return;
    report(&translation, offset, result);
    result->length = request->length < left ? request->length : left;
}

int viommu_soft_device_explain(struct viommu_soft_device *device,
                               const struct viommu_dma_request *request,
                               struct viommu_soft_step *steps, size_t *count,
                               struct viommu_dma_result *result)
{
    struct soft_trace trace = {.steps = steps, .room = steps ? *count : 0};
    unsigned int epoch = soft_gate_enter(&device->requests);

    *result = (struct viommu_dma_result){.status = check_request(request)};
    pthread_rwlock_rdlock(&device->host->lock);
    if (result->status == VIOMMU_DMA_OK)
        explain(device, request, &trace, result);
    pthread_rwlock_unlock(&device->host->lock);
    soft_gate_exit(&device->requests, epoch);
    *count = trace.count;
    return result->status == VIOMMU_DMA_OK ? 0 : -EACCES;
}
