/* SPDX-License-Identifier: MIT */
/* The calls of a device: translate, read, write. */
#include <errno.h>

#include "base/bits.h"
#include "base/rcu.h"
#include "dma/internal.h"
#include "memory/copy.h"

/*
 * Longest copy in one read-side section: some 2 microseconds. A grace period that has to wait for
 * longer goes to sleep for 10 milliseconds (liburcu).
 */
#define SECTION_BYTES 16384
#define PASID_LIMIT   BIT64(20)

#define ACCESS_MEMORY (VIOMMU_DMA_READ | VIOMMU_DMA_WRITE)
#define ACCESS_PASID  (VIOMMU_DMA_EXECUTE | VIOMMU_DMA_PRIVILEGED) /* only with a PASID */

static const struct {
    const char *name;
    int code;
    bool fault; /* the guest hears of it */
} statuses[] = {
    [VIOMMU_DMA_OK] = {"ok", 0, false},
    [VIOMMU_DMA_BAD_REQUEST] = {"bad-request", -EINVAL, false},
    [VIOMMU_DMA_BLOCKED] = {"blocked", -EACCES, true},
    [VIOMMU_DMA_UNSUPPORTED] = {"unsupported", -EACCES, true},
    [VIOMMU_DMA_ADDRESS_WIDTH] = {"address-width", -EACCES, true},
    [VIOMMU_DMA_NOT_PRESENT] = {"not-present", -EACCES, true},
    [VIOMMU_DMA_PERMISSION] = {"permission", -EACCES, true},
    [VIOMMU_DMA_RESERVED] = {"reserved", -EACCES, true},
    [VIOMMU_DMA_TABLE_ACCESS] = {"table-access", -EACCES, true},
    [VIOMMU_DMA_INTERRUPT_RANGE] = {"interrupt-range", -EACCES, true},
    [VIOMMU_DMA_NO_MEMORY] = {"no-memory", -EFAULT, false},
    [VIOMMU_DMA_READONLY] = {"read-only", -EFAULT, false},
};

#define STATUS_COUNT (sizeof(statuses) / sizeof(statuses[0]))

const char *viommu_dma_status_name(enum viommu_dma_status status)
{
    return (unsigned int)status < STATUS_COUNT ? statuses[status].name : "unknown";
}

int dma_status_errno(enum viommu_dma_status status)
{
    return (unsigned int)status < STATUS_COUNT ? statuses[status].code : -EACCES;
}

/* A read of no bytes is a request of its own (PCIe base spec, 2.2.5): it only asks. */
static bool length_allowed(const struct viommu_dma_request *request)
{
    return request->length ||
           (request->access == VIOMMU_DMA_READ && request->type == VIOMMU_DMA_UNTRANSLATED);
}

enum viommu_dma_status dma_check_request(const struct viommu_dma_request *request)
{
    bool has_pasid = request->pasid != VIOMMU_PASID_NONE;

    if (!length_allowed(request) ||
        (request->length && range_overflows(request->address, request->length)) ||
        !(request->access & ACCESS_MEMORY) || request->access & ~(ACCESS_MEMORY | ACCESS_PASID) ||
        (request->access & ACCESS_PASID && !has_pasid) ||
        (has_pasid && request->pasid >= PASID_LIMIT) || request->type > VIOMMU_DMA_TRANSLATED)
        return VIOMMU_DMA_BAD_REQUEST;
    return VIOMMU_DMA_OK;
}

enum viommu_dma_status dma_check_access(const struct viommu_dma_request *request)
{
    if (request->type == VIOMMU_DMA_TRANSLATION_REQUEST)
        return VIOMMU_DMA_BAD_REQUEST;
    return dma_check_request(request);
}

void dma_result_set(struct viommu_dma_result *result, const struct dma_piece *piece,
                    enum viommu_dma_status status)
{
    const struct dma_translation *translation = &piece->translation;

    *result = (struct viommu_dma_result){.status = status};
    if (translation->status == VIOMMU_DMA_OK) {
        result->gpa = translation->gpa;
        result->permissions = translation->permissions;
        result->granule_log2 = translation->granule_log2;
        result->flags = translation->flags;
    } else {
        result->fault_code = translation->fault_code;
    }
}

void dma_report_fault(struct viommu_dma_space *space, const struct viommu_dma_request *request,
                      uint64_t address, const struct viommu_dma_result *result)
{
    if (space->ops->fault && (unsigned int)result->status < STATUS_COUNT &&
        statuses[result->status].fault)
        space->ops->fault(space, request, address, result);
}

static __attribute__((noinline)) int translate_slowly(struct viommu_dma_space *space,
                                                      const struct viommu_dma_request *request,
                                                      struct viommu_dma_result *result)
{
    enum viommu_dma_status status = dma_check_request(request);
    struct dma_piece piece = {.translation.status = status};

    if (status == VIOMMU_DMA_OK) {
        rcu_enter();
        status = dma_resolve(space, request, &piece);
        rcu_exit();
    }
    dma_result_set(result, &piece, status);
    if (status == VIOMMU_DMA_OK)
        result->length = piece.length;
    else if (request->type == VIOMMU_DMA_TRANSLATION_REQUEST)
        dma_report_fault(space, request, request->address, result);
    return dma_status_errno(status);
}

/*
 * A hit that serves the whole request is answered here. The answer may be out of date as soon as it
 * is given, so there is no read-side section. length - 1 is huge when length is 0.
 */
int viommu_dma_translate(struct viommu_dma_space *space, const struct viommu_dma_request *request,
                         struct viommu_dma_result *result)
{
    const uint8_t wanted = request->access & (ACCESS_MEMORY | VIOMMU_DMA_EXECUTE);
    const struct iotlb *iotlb = dma_iotlb(space);
    struct iotlb_hit hit;

    if (!iotlb || !iotlb_lookup(iotlb, request->address, iotlb_key(request), &hit) ||
        wanted & ~hit.attributes || !(wanted & ACCESS_MEMORY) || request->length - 1 >= hit.length)
        return translate_slowly(space, request, result);
    result->status = VIOMMU_DMA_OK;
    result->fault_code = 0;
    result->gpa = hit.gpa;
    result->length = request->length;
    result->permissions = (uint8_t)(hit.attributes & IOTLB_PERMISSIONS);
    result->granule_log2 = (uint8_t)field_get(IOTLB_GRANULE, hit.attributes);
    result->flags = 0;
    return 0;
}

/* A move of bytes, as far as it has come. One of `into` and `from` is NULL. */
struct transfer {
    struct viommu_dma_request request; /* what remains of it */
    char *into;
    const char *from;
    uint64_t done;
};

/* Move the longest piece that one page, one range of memory and one read-side section take. */
static enum viommu_dma_status move_piece(struct viommu_dma_space *space, struct transfer *transfer,
                                         struct dma_piece *piece)
{
    enum viommu_dma_status status;
    void *guest;

    rcu_enter();
    status = dma_resolve_host(space, &transfer->request, piece, &guest);
    if (status == VIOMMU_DMA_OK) {
        if (piece->length > SECTION_BYTES)
            piece->length = SECTION_BYTES;
        if (piece->length && transfer->into)
            copy_from_guest(transfer->into + transfer->done, guest, piece->length);
        else if (piece->length)
            copy_to_guest(guest, transfer->from + transfer->done, piece->length);
    }
    rcu_exit();
    return status;
}

static int move(struct viommu_dma_space *space, struct transfer *transfer,
                struct viommu_dma_result *result)
{
    const struct viommu_dma_request whole = transfer->request;
    enum viommu_dma_status status = dma_check_access(&whole);
    struct dma_piece piece = {.translation.status = status};

    dma_result_set(result, &piece, status);
    for (bool more = status == VIOMMU_DMA_OK; more; more = transfer->request.length) {
        status = move_piece(space, transfer, &piece);
        if (!transfer->done)
            dma_result_set(result, &piece, status);
        if (status != VIOMMU_DMA_OK)
            break;
        transfer->done += piece.length;
        transfer->request.address += piece.length;
        transfer->request.length -= piece.length;
    }
    result->status = status;
    if (piece.translation.status != VIOMMU_DMA_OK)
        result->fault_code = piece.translation.fault_code;
    result->length = transfer->done;
    dma_report_fault(space, &whole, transfer->request.address, result);
    return dma_status_errno(status);
}

int viommu_dma_read(struct viommu_dma_space *space, const struct viommu_dma_request *request,
                    void *buffer, struct viommu_dma_result *result)
{
    struct transfer transfer = {.request = *request, .into = buffer};

    transfer.request.access |= VIOMMU_DMA_READ;
    return move(space, &transfer, result);
}

int viommu_dma_write(struct viommu_dma_space *space, const struct viommu_dma_request *request,
                     const void *buffer, struct viommu_dma_result *result)
{
    struct transfer transfer = {.request = *request, .from = buffer};

    transfer.request.access |= VIOMMU_DMA_WRITE;
    return move(space, &transfer, result);
}
