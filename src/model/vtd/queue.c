/* SPDX-License-Identifier: MIT */
/* The invalidation queue (VT-d 5.0, 6.5.2): fetching, checking and carrying out descriptors. */
#include "model/vtd/queue_descriptors.h"
#include "model/vtd/register_map.h"
#include "model/vtd/sanitize.h"
#include "model/vtd/vtd.h"

#define QUADWORDS 4

struct descriptor {
    const char *name;
    bool scalable;               /* does not exist in legacy mode */
    uint64_t defined[QUADWORDS]; /* bits that are not reserved */
    enum vtd_queue_error (*run)(struct vtd *vtd, const uint64_t *quadwords);
    uint64_t ecap; /* does not exist without this bit of ECAP_REG */
};

static uint16_t domain_of(const struct vtd *vtd, const uint64_t *quadwords)
{
    return (uint16_t)(field_get(VTD_DESC_DID, quadwords[0]) & low_bits(vtd->options.domain_bits));
}

static uint32_t pasid_of(const uint64_t *quadwords)
{
    return (uint32_t)field_get(VTD_DESC_PASID_FIELD, quadwords[0]);
}

static enum vtd_queue_error run_context(struct vtd *vtd, const uint64_t *quadwords)
{
    static const uint8_t scopes[] = {
        [VTD_GRANULARITY_GLOBAL] = VTD_SCOPE_GLOBAL,
        [VTD_GRANULARITY_DOMAIN] = VTD_SCOPE_DOMAIN,
        [VTD_GRANULARITY_FINE] = VTD_SCOPE_DEVICE,
    };
    uint64_t granularity = field_get(VTD_DESC_G, quadwords[0]);
    struct vtd_invalidation what = {
        .kind = VTD_INVALIDATE_CONTEXT,
        .scope = scopes[granularity],
        .domain = domain_of(vtd, quadwords),
        .requester_id = (uint16_t)field_get(VTD_DESC_CONTEXT_SID, quadwords[0]),
        .function_mask = (uint8_t)field_get(VTD_DESC_CONTEXT_FM, quadwords[0]),
    };

    if (granularity == VTD_GRANULARITY_NONE)
        return VTD_QUEUE_RESERVED;
    vtd_invalidate(vtd, &what);
    return VTD_QUEUE_OK;
}

static enum vtd_queue_error run_iotlb(struct vtd *vtd, const uint64_t *quadwords)
{
    static const uint8_t scopes[] = {
        [VTD_GRANULARITY_GLOBAL] = VTD_SCOPE_GLOBAL,
        [VTD_GRANULARITY_DOMAIN] = VTD_SCOPE_DOMAIN,
        [VTD_GRANULARITY_FINE] = VTD_SCOPE_PAGES,
    };
    uint64_t granularity = field_get(VTD_DESC_G, quadwords[0]);
    unsigned int mask = (unsigned int)field_get(VTD_DESC_AM, quadwords[1]);
    struct vtd_invalidation what = {
        .kind = VTD_INVALIDATE_IOTLB,
        .scope = scopes[granularity],
        .domain = domain_of(vtd, quadwords),
        .reads_undrained = vtd->cap & VTD_CAP_DRD && !(quadwords[0] & VTD_DESC_IOTLB_DR),
        .writes_undrained = vtd->cap & VTD_CAP_DWD && !(quadwords[0] & VTD_DESC_IOTLB_DW),
    };

    if (granularity == VTD_GRANULARITY_NONE)
        return VTD_QUEUE_RESERVED;
    if (granularity == VTD_GRANULARITY_FINE) {
        if (mask > VTD_MAMV) {
            vtd_sanitize_mask(vtd, what.domain, quadwords[1] & VTD_DESC_ADDR, mask);
            return VTD_QUEUE_RESERVED;
        }
        vtd_invalidation_pages(
            &what, quadwords[1] & VTD_DESC_ADDR & low_bits(vtd->options.address_width), mask);
        what.leaf_only = quadwords[1] & VTD_DESC_IH;
    }
    vtd_invalidate(vtd, &what);
    return VTD_QUEUE_OK;
}

/* CAP.MAMV speaks of the second stage only: any mask is good here. */
static enum vtd_queue_error run_piotlb(struct vtd *vtd, const uint64_t *quadwords)
{
    uint64_t granularity = field_get(VTD_DESC_G, quadwords[0]);
    struct vtd_invalidation what = {
        .kind = VTD_INVALIDATE_PIOTLB,
        .scope = VTD_SCOPE_PASID,
        .domain = domain_of(vtd, quadwords),
        .pasid = pasid_of(quadwords),
    };

    if (granularity < VTD_DESC_PIOTLB_G_PASID)
        return VTD_QUEUE_RESERVED;
    if (granularity == VTD_DESC_PIOTLB_G_PAGES) {
        what.scope = VTD_SCOPE_PAGES;
        what.leaf_only = quadwords[1] & VTD_DESC_IH;
        vtd_invalidation_pages(&what, quadwords[1] & VTD_DESC_ADDR,
                               (unsigned int)field_get(VTD_DESC_AM, quadwords[1]));
    }
    vtd_invalidate(vtd, &what);
    return VTD_QUEUE_OK;
}

static enum vtd_queue_error run_pasid(struct vtd *vtd, const uint64_t *quadwords)
{
    static const uint8_t scopes[] = {
        [VTD_DESC_PASID_G_DOMAIN] = VTD_SCOPE_DOMAIN,
        [VTD_DESC_PASID_G_PASID] = VTD_SCOPE_PASID,
        [VTD_DESC_PASID_G_GLOBAL] = VTD_SCOPE_GLOBAL,
    };
    uint64_t granularity = field_get(VTD_DESC_G, quadwords[0]);
    struct vtd_invalidation what = {
        .kind = VTD_INVALIDATE_PASID,
        .scope = scopes[granularity],
        .domain = domain_of(vtd, quadwords),
        .pasid = pasid_of(quadwords),
    };

    if (granularity == VTD_DESC_PASID_G_RESERVED)
        return VTD_QUEUE_RESERVED;
    vtd_invalidate(vtd, &what);
    return VTD_QUEUE_OK;
}

/* Without interrupt remapping there is nothing to invalidate. */
static enum vtd_queue_error run_interrupt(struct vtd *vtd, const uint64_t *quadwords)
{
    uint32_t index = (uint32_t)field_get(VTD_DESC_INTERRUPT_IIDX, quadwords[0]);
    unsigned int mask = (unsigned int)field_get(VTD_DESC_INTERRUPT_IM, quadwords[0]);

    if (!vtd->options.interrupt_remapping)
        return VTD_QUEUE_OK;
    if (!(quadwords[0] & VTD_DESC_INTERRUPT_G)) {
        vtd_interrupt_invalidate(vtd, 0, VTD_INTERRUPT_ENTRIES);
        return VTD_QUEUE_OK;
    }
    if (mask > VTD_MHMV)
        return VTD_QUEUE_RESERVED;
    index &= ~(uint32_t)low_bits(mask);
    vtd_interrupt_invalidate(vtd, index, index + (1u << mask));
    return VTD_QUEUE_OK;
}

/*
 * Everything before is done when a wait is, so FN adds nothing: device TLBs are waited for here.
 * The status write comes before the interrupt. A status address without memory stops the queue:
 * software that waits for the write finds an error instead of nothing.
 */
static enum vtd_queue_error run_wait(struct vtd *vtd, const uint64_t *quadwords)
{
    uint32_t data = (uint32_t)field_get(VTD_DESC_WAIT_DATA, quadwords[0]);
    uint64_t status =
        quadwords[1] & VTD_DESC_WAIT_STATUS & low_bits(vtd->options.host_address_width);

    if (vtd_tlb_outcome(vtd) != VTD_TLB_DONE)
        return vtd_tlb_outcome(vtd) == VTD_TLB_TIMED_OUT ? VTD_QUEUE_ABORT : VTD_QUEUE_HOLD;
    vtd_invalidate_commit(vtd);
    if (quadwords[0] & VTD_DESC_WAIT_PD)
        vtd_prq_drain(vtd);
    vtd_sanitize_wait(vtd);
    if (quadwords[0] & VTD_DESC_WAIT_SW && memory_store32(vtd->options.memory, status, data))
        return VTD_QUEUE_UNKNOWN;
    vtd_count(vtd, waits);
    if (quadwords[0] & VTD_DESC_WAIT_IF &&
        !(vtd_change32(vtd, VTD_ICS, 0, VTD_ICS_IWC) & VTD_ICS_IWC))
        vtd_event_raise(vtd, VTD_EVENT_INVALIDATION);
    return VTD_QUEUE_OK;
}

#define TYPE_AND_G  (VTD_DESC_TYPE | VTD_DESC_G)
#define TYPE_DOMAIN (TYPE_AND_G | VTD_DESC_DID)
#define PAGES       (VTD_DESC_ADDR | VTD_DESC_IH | VTD_DESC_AM)

/* By type. What is missing is not a type (table 26): HPT invalidations. */
static const struct descriptor descriptors[VTD_DESC_TYPES] = {
    [VTD_DESC_CONTEXT] = {"context cache",
                          false,
                          {TYPE_DOMAIN | VTD_DESC_CONTEXT_SID | VTD_DESC_CONTEXT_FM},
                          run_context},
    [VTD_DESC_IOTLB] = {"IOTLB",
                        false,
                        {TYPE_DOMAIN | VTD_DESC_IOTLB_DW | VTD_DESC_IOTLB_DR, PAGES},
                        run_iotlb},
    [VTD_DESC_INTERRUPT] = {"interrupt entry cache",
                            false,
                            {VTD_DESC_TYPE | VTD_DESC_INTERRUPT_G | VTD_DESC_INTERRUPT_IM |
                             VTD_DESC_INTERRUPT_IIDX},
                            run_interrupt},
    [VTD_DESC_WAIT] = {"wait",
                       false,
                       {VTD_DESC_TYPE | VTD_DESC_WAIT_IF | VTD_DESC_WAIT_SW | VTD_DESC_WAIT_FN |
                            VTD_DESC_WAIT_PD | VTD_DESC_WAIT_DATA,
                        VTD_DESC_WAIT_STATUS},
                       run_wait},
    [VTD_DESC_PIOTLB] = {"PASID-based IOTLB",
                         true,
                         {TYPE_DOMAIN | VTD_DESC_PASID_FIELD, PAGES},
                         run_piotlb},
    [VTD_DESC_PASID] = {"PASID cache", true, {TYPE_DOMAIN | VTD_DESC_PASID_FIELD}, run_pasid},
    [VTD_DESC_DEVICE_TLB] = {"device TLB",
                             false,
                             {VTD_DESC_TYPE | VTD_DESC_DEVICE_MIP | VTD_DESC_DEVICE_SID,
                              VTD_DESC_ADDR | VTD_DESC_DEVICE_S},
                             vtd_queue_device_tlb,
                             VTD_ECAP_DT},
    [VTD_DESC_PASID_DEVICE_TLB] = {"PASID-based device TLB",
                                   true,
                                   {VTD_DESC_TYPE | VTD_DESC_PDEVICE_MIP | VTD_DESC_PDEVICE_SID |
                                        VTD_DESC_PASID_FIELD,
                                    VTD_DESC_ADDR | VTD_DESC_PDEVICE_S | VTD_DESC_PDEVICE_G},
                                   vtd_queue_pasid_device_tlb,
                                   VTD_ECAP_DT},
    [VTD_DESC_PAGE_RESPONSE] = {"page group response",
                                true,
                                {VTD_DESC_TYPE | VTD_DESC_RESPONSE_PP | VTD_DESC_RESPONSE_RC |
                                     VTD_DESC_RESPONSE_RID | VTD_DESC_PASID_FIELD,
                                 VTD_DESC_RESPONSE_LPIG | VTD_DESC_RESPONSE_PRGI},
                                vtd_queue_page_response,
                                VTD_ECAP_PRS},
};

/* The queue as the registers describe it at the beginning of a run. */
struct queue {
    uint64_t base;
    uint32_t size;    /* bytes */
    uint32_t granule; /* bytes of a descriptor */
    uint32_t head, tail;
};

static void read_queue(const struct vtd *vtd, struct queue *queue)
{
    uint64_t iqa = vtd_get64(vtd, VTD_IQA);

    queue->base = iqa & VTD_IQA_IQA;
    queue->size = UINT32_C(4096) << field_get(VTD_IQA_QS, iqa);
    queue->granule = iqa & VTD_IQA_DW ? 32 : 16;
    queue->head = (uint32_t)vtd_get64(vtd, VTD_IQH);
    queue->tail = (uint32_t)vtd_get64(vtd, VTD_IQT);
}

/* 11.4.9: what the registers may not say. IQA_REG may have been written while the queue was on. */
static enum vtd_queue_error check_queue(const struct vtd *vtd, const struct queue *queue)
{
    uint64_t mode = field_get(VTD_TTM_MASK, vtd->root);

    if (!is_aligned(queue->tail, queue->granule))
        return VTD_QUEUE_TAIL_ALIGNMENT;
    if (queue->tail >= queue->size || queue->head >= queue->size ||
        !is_aligned(queue->head, queue->granule))
        return VTD_QUEUE_TAIL;
    if (queue->head == queue->tail)
        return VTD_QUEUE_OK;
    if (mode == VTD_TTM_RESERVED || (mode == VTD_TTM_ABORT && !(vtd->ecap & VTD_ECAP_ADMS)))
        return VTD_QUEUE_TTM;
    if (queue->granule == 32 ? !vtd->options.scalable : mode != VTD_TTM_LEGACY)
        return VTD_QUEUE_WIDTH;
    return VTD_QUEUE_OK;
}

static enum vtd_queue_error run_descriptor(struct vtd *vtd, const struct queue *queue,
                                           uint64_t *quadwords)
{
    const struct descriptor *descriptor;

    if (memory_read_once(vtd->options.memory, queue->base + queue->head, quadwords, queue->granule))
        return VTD_QUEUE_FETCH;
    descriptor = &descriptors[field_get(VTD_DESC_TYPE, quadwords[0])];
    if (!descriptor->run || quadwords[0] & VTD_DESC_TYPE_HIGH || (descriptor->ecap & ~vtd->ecap) ||
        (descriptor->scalable && field_get(VTD_TTM_MASK, vtd->root) == VTD_TTM_LEGACY))
        return VTD_QUEUE_TYPE;
    /* PD of a wait is reserved without ECAP.PDS; no other type has it here. */
    if (descriptor->run == run_wait && quadwords[0] & VTD_DESC_WAIT_PD &&
        !(vtd->ecap & VTD_ECAP_PDS))
        return VTD_QUEUE_RESERVED;
    for (unsigned int i = 0; i < queue->granule / 8; i++)
        if (quadwords[i] & ~descriptor->defined[i])
            return VTD_QUEUE_RESERVED;
    return descriptor->run(vtd, quadwords);
}

/* 6.5.2.11: the head stays where the error is, and nothing is fetched until software clears IQE. */
static void stop(struct vtd *vtd, const struct queue *queue, enum vtd_queue_error error,
                 const uint64_t *quadwords)
{
    static const char *const texts[] = {
        [VTD_QUEUE_TAIL] = "the tail or head lies outside",
        [VTD_QUEUE_FETCH] = "there is no memory",
        [VTD_QUEUE_TYPE] = "no such descriptor type",
        [VTD_QUEUE_RESERVED] = "reserved bits or values",
        [VTD_QUEUE_WIDTH] = "descriptors of this width do not exist in this mode",
        [VTD_QUEUE_TAIL_ALIGNMENT] = "the tail is within a descriptor",
        [VTD_QUEUE_TTM] = "reserved translation table mode",
        [VTD_QUEUE_UNKNOWN] = "the status address is not writable memory",
    };

    vtd_count(vtd, queue_errors);
    vtd_set64(vtd, VTD_IQERCD,
              (vtd_get64(vtd, VTD_IQERCD) & ~VTD_IQERCD_IQEI) |
                  field_prep(VTD_IQERCD_IQEI, error == VTD_QUEUE_UNKNOWN ? 0 : error));
    log_limited(&vtd->options.log, &vtd->queue_limit, VIOMMU_LOG_WARNING,
                "vtd: the invalidation queue at 0x%llx stops at 0x%x (tail 0x%x, descriptor "
                "%016llx %016llx): %s; it goes on when the guest clears FSTS_REG.IQE",
                (unsigned long long)queue->base, queue->head, queue->tail,
                (unsigned long long)quadwords[0], (unsigned long long)quadwords[1], texts[error]);
    vtd_fault_status(vtd, VTD_FSTS_IQE);
}

/*
 * Carries out descriptors until one is an error, or waits for a device. One that is aborted is not
 * to be fetched again: software looks for it before the head (6.5.2.11).
 */
static enum vtd_queue_error run_descriptors(struct vtd *vtd, struct queue *queue,
                                            uint64_t *quadwords)
{
    enum vtd_queue_error error = VTD_QUEUE_OK;

    while (!error && queue->head != queue->tail) {
        error = run_descriptor(vtd, queue, quadwords);
        if (error && error != VTD_QUEUE_ABORT)
            break;
        vtd_count(vtd, descriptors);
        queue->head = (queue->head + queue->granule) % queue->size;
        vtd_set64(vtd, VTD_IQH, queue->head);
    }
    return error;
}

/* Nothing is fetched while one of these is set. */
#define STOPPED (VTD_FSTS_IQE | VTD_FSTS_ITE)

/* Runs once around the queue at most: the tail is read once. */
void vtd_queue_run(struct vtd *vtd)
{
    uint64_t quadwords[QUADWORDS] = {0};
    enum vtd_queue_error error;
    struct queue queue;

    if (!(vtd_get32(vtd, VTD_GSTS) & VTD_GSTS_QIES) || vtd_get32(vtd, VTD_FSTS) & STOPPED)
        return;
    read_queue(vtd, &queue);
    error = check_queue(vtd, &queue);
    if (!error)
        error = run_descriptors(vtd, &queue, quadwords);
    /* Nothing stays pending when no wait descriptor follows. */
    vtd_invalidate_commit(vtd);
    if (error && error < VTD_QUEUE_HOLD)
        stop(vtd, &queue, error, quadwords);
    if (error != VTD_QUEUE_HOLD && vtd_tlb_outcome(vtd) == VTD_TLB_TIMED_OUT)
        vtd_tlb_tell_timeout(vtd);
}

void vtd_queue_enable(struct vtd *vtd, bool on)
{
    if (!on)
        vtd->tlb_timed_out = false;
    vtd_set64(vtd, VTD_IQH, 0);
    vtd_change32(vtd, VTD_GSTS, on ? 0 : VTD_GSTS_QIES, on ? VTD_GSTS_QIES : 0);
    if (on)
        vtd_queue_run(vtd);
}
