/* SPDX-License-Identifier: MIT */
/*
 * Page requests: from devices into the guest's page request queue (VT-d 5.0, 7.4 to 7.6, 11.4.10).
 *
 * A device is answered by the guest, or here and at once: a request that the context entry does not
 * allow is invalid; where tables or the queue are broken the interface fails; when the queue is
 * full the device is told to try again, and the guest of the overflow. Only the last request of a
 * group is answered.
 */
#include <errno.h>

#include "base/rcu.h"
#include "model/vtd/fault_codes.h"
#include "model/vtd/queue_descriptors.h"
#include "model/vtd/register_map.h"
#include "model/vtd/tables.h"

/* The queue as the registers describe it. Whatever the guest wrote there stays within its size. */
struct page_queue {
    uint64_t base;
    uint64_t size; /* bytes */
    uint64_t head, tail;
};

static struct page_queue read_queue(const struct vtd *vtd)
{
    uint64_t pqa = vtd_get64(vtd, VTD_PQA);
    uint64_t size = UINT64_C(4096) << field_get(VTD_PQA_PQS, pqa);

    return (struct page_queue){
        .base = pqa & VTD_PQA_PQA,
        .size = size,
        .head = vtd_get64(vtd, VTD_PQH) & (size - 1),
        .tail = vtd_get64(vtd, VTD_PQT) & (size - 1),
    };
}

/* The fields of a page request descriptor (7.4.1.1). */
static void describe(const struct viommu_pci_page_request *request, uint16_t requester_id,
                     uint64_t *quadwords)
{
    bool with_pasid = request->pasid != VIOMMU_PASID_NONE;
    uint8_t access = request->access;

    quadwords[0] = VTD_PRQ_TYPE_PAGE_REQUEST | field_prep(VTD_PRQ_RID, requester_id) |
                   (with_pasid ? VTD_PRQ_PP | field_prep(VTD_PRQ_PASID, request->pasid) : 0) |
                   (access & VIOMMU_DMA_EXECUTE ? VTD_PRQ_EXE : 0) |
                   (access & VIOMMU_DMA_PRIVILEGED ? VTD_PRQ_PRIV : 0);
    quadwords[1] = (request->address & VTD_PRQ_ADDR) | field_prep(VTD_PRQ_PRGI, request->group) |
                   (access & VIOMMU_DMA_READ ? VTD_PRQ_RD : 0) |
                   (access & VIOMMU_DMA_WRITE ? VTD_PRQ_WR : 0) |
                   (request->last ? VTD_PRQ_LPIG : 0);
    quadwords[2] = quadwords[3] = 0;
}

/* Status bits that announce an event when none of them was set before (7.5). */
static bool set_status(struct vtd *vtd, uint32_t bit)
{
    return !(vtd_change32(vtd, VTD_PRS, 0, bit) & VTD_PRS_EVENTS);
}

static bool write_descriptor(struct vtd *vtd, uint64_t where, const uint64_t *quadwords)
{
    for (unsigned int i = 0; i < VTD_PRQ_SIZE / 8; i++)
        if (memory_store64(vtd->options.memory, where + i * 8, quadwords[i]))
            return false;
    return true;
}

/* Under prq_lock. *event: the guest is to be told of a status that it has not seen yet. */
static enum vtd_page_outcome put(struct vtd *vtd, const uint64_t *quadwords, bool *event)
{
    struct page_queue queue = read_queue(vtd);
    uint64_t next = (queue.tail + VTD_PRQ_SIZE) & (queue.size - 1);

    if (vtd_get32(vtd, VTD_PRS) & VTD_PRS_PRO)
        return VTD_PAGE_OVERFLOW;
    if (next == queue.head) {
        *event = set_status(vtd, VTD_PRS_PRO);
        return VTD_PAGE_OVERFLOW;
    }
    if (!write_descriptor(vtd, queue.base + queue.tail, quadwords)) {
        *event = set_status(vtd, VTD_PRS_PRO);
        return VTD_PAGE_FAILED;
    }
    vtd_set64(vtd, VTD_PQT, next);
    *event = set_status(vtd, VTD_PRS_PPR);
    return VTD_PAGE_QUEUED;
}

static void log_refusal(struct vtd *vtd, uint16_t requester_id, const char *why)
{
    log_limited(&vtd->options.log, &vtd->queue_limit, VIOMMU_LOG_WARNING,
                "vtd: a page request of %02x:%02x.%x is not given to the guest: %s",
                requester_id >> 8, requester_id >> 3 & 31, requester_id & 7, why);
}

/* The fault reason for which the tables do not allow the request; 0: they do. Records the fault. */
static uint32_t check_tables(struct vtd *vtd, uint64_t translation, uint16_t requester_id,
                             const struct viommu_pci_page_request *request)
{
    const struct viommu_dma_request fault = {
        .address = request->address & VTD_PRQ_ADDR,
        .pasid = request->pasid,
        .requester_id = requester_id,
        .access = request->access,
        .type = VTD_TYPE_PAGE_REQUEST,
    };
    struct vtd_entry entry;

    rcu_enter();
    vtd_entry_find_typed(vtd, translation, requester_id, request->pasid, VTD_TYPE_PAGE_REQUEST,
                         &entry);
    rcu_exit();
    if (entry.reason)
        vtd_translate_fault(vtd, &fault, fault.address, entry.reason);
    return entry.reason;
}

static enum vtd_page_outcome enqueue(struct vtd *vtd, uint16_t requester_id,
                                     const struct viommu_pci_page_request *request)
{
    enum vtd_page_outcome outcome;
    bool event = false;
    uint64_t quadwords[VTD_PRQ_SIZE / 8];

    describe(request, requester_id, quadwords);
    pthread_mutex_lock(&vtd->prq_lock);
    outcome = put(vtd, quadwords, &event);
    pthread_mutex_unlock(&vtd->prq_lock);
    if (event)
        vtd_event_raise(vtd, VTD_EVENT_PAGE_REQUEST);
    if (outcome == VTD_PAGE_OVERFLOW)
        log_refusal(vtd, requester_id, "its page request queue is full, or was and PRO is set");
    if (outcome == VTD_PAGE_FAILED)
        log_refusal(vtd, requester_id, "there is no memory at PQA_REG");
    return outcome;
}

enum vtd_page_outcome vtd_prq_put(struct vtd *vtd, uint16_t requester_id,
                                  const struct viommu_pci_page_request *request)
{
    uint64_t translation = __atomic_load_n(&vtd->translation, __ATOMIC_ACQUIRE);
    enum vtd_page_outcome outcome = VTD_PAGE_BLOCKED;
    uint32_t reason;

    if (translation & VTD_TRANSLATION_ENABLED) {
        reason = check_tables(vtd, translation, requester_id, request);
        if (!reason)
            outcome = enqueue(vtd, requester_id, request);
        else if (vtd_fault_code(reason)->status != VIOMMU_DMA_UNSUPPORTED)
            outcome = VTD_PAGE_FAILED;
    }
    if (outcome == VTD_PAGE_QUEUED)
        vtd_count(vtd, page_requests);
    else
        vtd_count(vtd, page_requests_refused);
    return outcome;
}

uint8_t vtd_prq_code(enum vtd_page_outcome outcome)
{
    static const uint8_t codes[] = {
        [VTD_PAGE_QUEUED] = VIOMMU_PCI_PAGE_SUCCESS,
        [VTD_PAGE_OVERFLOW] = VIOMMU_PCI_PAGE_SUCCESS,
        [VTD_PAGE_BLOCKED] = VIOMMU_PCI_PAGE_INVALID,
        [VTD_PAGE_FAILED] = VIOMMU_PCI_PAGE_FAILURE,
    };

    return codes[outcome];
}

int vtd_prq_request(struct vtd *vtd, const struct viommu_pci_ats *ats,
                    const struct viommu_pci_page_request *request)
{
    struct viommu_pci_page_response response = {request->pasid, request->group, 0};
    enum vtd_page_outcome outcome;
    uint16_t requester_id;

    if (!vtd->options.page_requests || !vtd_tlb_requester_id(vtd, ats, &requester_id))
        return -EOPNOTSUPP;
    outcome = vtd_prq_put(vtd, requester_id, request);
    /* A stop marker has no answer, and wants nothing. */
    if (outcome != VTD_PAGE_QUEUED && request->last && request->access) {
        response.code = vtd_prq_code(outcome);
        ats->ops.page_response(ats->opaque, &response);
    }
    return 0;
}

/* What one wait descriptor fetches from hosts. */
#define DRAIN_MAX 4096

/* Requests are put into the queue at once: when nobody is at it, all are there. Those of assigned
 * devices wait at the host. */
void vtd_prq_drain(struct vtd *vtd)
{
    pthread_mutex_lock(&vtd->prq_lock);
    pthread_mutex_unlock(&vtd->prq_lock);
    vtd_nest_forward(vtd, DRAIN_MAX);
}

/* 6.5.2.7. Who has not asked gets it, too: devices check what they are told. */
enum vtd_queue_error vtd_queue_page_response(struct vtd *vtd, const uint64_t *quadwords)
{
    uint16_t requester_id = (uint16_t)field_get(VTD_DESC_RESPONSE_RID, quadwords[0]);
    bool with_pasid = quadwords[0] & VTD_DESC_RESPONSE_PP;
    const struct viommu_pci_page_response response = {
        .pasid = with_pasid ? (uint32_t)field_get(VTD_DESC_PASID_FIELD, quadwords[0])
                            : VIOMMU_PASID_NONE,
        .group = (uint16_t)field_get(VTD_DESC_RESPONSE_PRGI, quadwords[1]),
        .code = (uint8_t)field_get(VTD_DESC_RESPONSE_RC, quadwords[0]),
    };

    vtd_count(vtd, page_responses);
    vtd_tlb_respond(vtd, requester_id, &response);
    vtd_nest_respond(vtd, requester_id, &response);
    return VTD_QUEUE_OK;
}
