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

/* `types` has a bit for each enum viommu_dma_type that the call takes. */
static enum viommu_dma_status check_request(const struct viommu_dma_request *request,
                                            unsigned int types)
{
    const uint8_t need_pasid = VIOMMU_DMA_EXECUTE | VIOMMU_DMA_PRIVILEGED;
    const uint8_t move = VIOMMU_DMA_READ | VIOMMU_DMA_WRITE;
    bool has_pasid = request->pasid != VIOMMU_PASID_NONE;

    if (!request->length || range_overflows(request->address, request->length) ||
        !(request->access & move) || (request->access & ~(move | need_pasid)) ||
        (has_pasid && request->pasid >= PASID_LIMIT) ||
        (!has_pasid && (request->access & need_pasid)) || request->type > VIOMMU_DMA_TRANSLATED)
        return VIOMMU_DMA_BAD_REQUEST;
    return types & 1u << request->type ? VIOMMU_DMA_OK : VIOMMU_DMA_UNSUPPORTED;
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

/*
 * The address is the host's already. Hardware would believe it; here it must be memory that the
 * device could reach by the table that it is attached to. Lock held for reading.
 */
static void move_translated(const struct viommu_soft_device *device,
                            const struct viommu_dma_request *request, void *to_device,
                            const void *from_device, struct viommu_dma_result *result)
{
    const struct soft_hwpt *hwpt = soft_device_hwpt(device, request->pasid);
    void *memory = (void *)(uintptr_t)request->address;

    result->status = device->has_ats ? VIOMMU_DMA_BLOCKED : VIOMMU_DMA_UNSUPPORTED;
    if (!device->has_ats || !hwpt)
        return;
    if (hwpt->parent)
        hwpt = hwpt->parent;
    result->status =
        soft_ioas_holds(hwpt->ioas, request->address, request->length, request->access);
    if (result->status != VIOMMU_DMA_OK)
        return;
    if (to_device)
        memcpy(to_device, memory, request->length);
    else
        /* As above: it is a write. */
        /* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker) */
        memcpy(memory, from_device, request->length);
    result->gpa = request->address;
    result->length = request->length;
    result->permissions = request->access;
    result->granule_log2 = SOFT_PAGE_SHIFT;
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
    if (result->status == VIOMMU_DMA_OK && request->type == VIOMMU_DMA_TRANSLATED)
        move_translated(device, request, to_device, from_device, result);
    else if (result->status == VIOMMU_DMA_OK)
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
    *result = (struct viommu_dma_result){
        .status =
            check_request(&request, 1u << VIOMMU_DMA_UNTRANSLATED | 1u << VIOMMU_DMA_TRANSLATED)};
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

/* Translation requests */

/* What is not there, or not permitted, is an answer and no fault (VT-d 5.0, 7.1.2). */
static bool recoverable(enum viommu_dma_status status)
{
    return status == VIOMMU_DMA_NOT_PRESENT || status == VIOMMU_DMA_PERMISSION ||
           status == VIOMMU_DMA_READONLY || status == VIOMMU_DMA_NO_MEMORY;
}

/* As much of what was asked for as there is: all, without execution, reading or writing alone. */
static void translate_most(const struct viommu_soft_device *device,
                           const struct viommu_dma_request *request, uint64_t page,
                           struct soft_translation *translation)
{
    static const uint8_t less[] = {0, VIOMMU_DMA_EXECUTE, VIOMMU_DMA_EXECUTE | VIOMMU_DMA_WRITE,
                                   VIOMMU_DMA_EXECUTE | VIOMMU_DMA_READ};
    struct viommu_dma_request asked = *request;

    for (size_t i = 0; i < sizeof(less); i++) {
        asked.access = request->access & ~less[i];
        if (!(asked.access & (VIOMMU_DMA_READ | VIOMMU_DMA_WRITE)))
            continue;
        translate(device, &asked, page, translation);
        if (translation->status != VIOMMU_DMA_PERMISSION &&
            translation->status != VIOMMU_DMA_READONLY)
            return;
    }
}

/* Writing is granted when no dirty bit is left to be set; privilege and execution are echoed. */
static uint8_t granted(const struct viommu_dma_request *request,
                       const struct soft_translation *translation)
{
    uint8_t permissions = translation->permissions | VIOMMU_DMA_PRIVILEGED;

    if (!translation->write_ready)
        permissions &= ~VIOMMU_DMA_WRITE;
    return permissions & (VIOMMU_DMA_READ | VIOMMU_DMA_WRITE |
                          (request->access & (VIOMMU_DMA_EXECUTE | VIOMMU_DMA_PRIVILEGED)));
}

/* Lock held for reading. */
static void complete(const struct viommu_soft_device *device,
                     const struct viommu_dma_request *request, struct viommu_dma_result *result)
{
    uint64_t page = request->address & ~SOFT_PAGE_MASK, offset = request->address & SOFT_PAGE_MASK;
    struct soft_translation translation = {.status = VIOMMU_DMA_UNSUPPORTED};

    if (device->has_ats)
        translate_most(device, request, page, &translation);
    if (recoverable(translation.status)) {
        *result = (struct viommu_dma_result){
            .gpa = page, .length = SOFT_PAGE_SIZE - offset, .granule_log2 = SOFT_PAGE_SHIFT};
        return;
    }
    result->status = translation.status;
    if (translation.status != VIOMMU_DMA_OK)
        return;
    report(&translation, offset, result);
    result->permissions = granted(request, &translation);
    result->length = SOFT_PAGE_SIZE - offset;
}

int viommu_soft_device_translate(struct viommu_soft_device *device,
                                 const struct viommu_dma_request *request,
                                 struct viommu_dma_result *result)
{
    struct soft_host *host = device->host;
    struct fault_call call = {0};
    unsigned int epoch;

    *result = (struct viommu_dma_result){
        .status = check_request(request, 1u << VIOMMU_DMA_TRANSLATION_REQUEST)};
    if (result->status != VIOMMU_DMA_OK)
        return -EINVAL;
    epoch = soft_gate_enter(&device->requests);
    pthread_rwlock_rdlock(&host->lock);
    complete(device, request, result);
    if (result->status != VIOMMU_DMA_OK)
        call = fault_prepare(device);
    pthread_rwlock_unlock(&host->lock);
    __atomic_fetch_add(result->status == VIOMMU_DMA_OK ? &host->translation_requests
                                                       : &host->dma_faults,
                       1, __ATOMIC_RELAXED);
    fault_deliver(device, &call, request, result);
    soft_gate_exit(&device->requests, epoch);
    return result->status == VIOMMU_DMA_OK ? 0 : -EACCES;
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

    *result =
        (struct viommu_dma_result){.status = check_request(request, 1u << VIOMMU_DMA_UNTRANSLATED)};
    pthread_rwlock_rdlock(&device->host->lock);
    if (result->status == VIOMMU_DMA_OK)
        explain(device, request, &trace, result);
    pthread_rwlock_unlock(&device->host->lock);
    soft_gate_exit(&device->requests, epoch);
    *count = trace.count;
    return result->status == VIOMMU_DMA_OK ? 0 : -EACCES;
}
