/* SPDX-License-Identifier: MIT */
/* Primary fault logging, and the interrupts of the unit itself (VT-d 5.0, 7.2 to 7.4). */
#include <stdio.h>

#include "model/vtd/fault_codes.h"
#include "model/vtd/register_map.h"
#include "model/vtd/tables.h"

/* Where an event's registers are, and the status that it announces. */
static const struct event {
    uint16_t control, data, address, upper;
    uint16_t status;
    uint32_t status_bits;
} events[VTD_EVENT_COUNT] = {
    [VTD_EVENT_FAULT] = {VTD_FECTL, VTD_FEDATA, VTD_FEADDR, VTD_FEUADDR, VTD_FSTS, VTD_FSTS_EVENTS},
    [VTD_EVENT_INVALIDATION] = {VTD_IECTL, VTD_IEDATA, VTD_IEADDR, VTD_IEUADDR, VTD_ICS,
                                VTD_ICS_IWC},
    [VTD_EVENT_PAGE_REQUEST] = {VTD_PECTL, VTD_PEDATA, VTD_PEADDR, VTD_PEUADDR, VTD_PRS,
                                VTD_PRS_EVENTS},
};

struct message {
    bool send;
    uint64_t address;
    uint32_t data;
};

/* Under fault_lock: what is pending and not masked becomes a message to send (7.3). */
static struct message take(struct vtd *vtd, const struct event *event)
{
    uint32_t control = vtd_get32(vtd, event->control);
    struct message message = {0};

    if (!(control & VTD_ECTL_IP) || control & VTD_ECTL_IM)
        return message;
    vtd_change32(vtd, event->control, VTD_ECTL_IP, 0);
    message.send = true;
    message.address = (uint64_t)vtd_get32(vtd, event->upper) << 32 | vtd_get32(vtd, event->address);
    message.data = vtd_get32(vtd, event->data);
    return message;
}

/* Without fault_lock: the embedder's code runs here. */
static void deliver(struct vtd *vtd, const struct message *message)
{
    if (!message->send || !vtd->options.msi)
        return;
    vtd_count(vtd, interrupts);
    vtd->options.msi(vtd->options.msi_opaque, message->address, message->data);
}

void vtd_event_raise(struct vtd *vtd, enum vtd_event event)
{
    struct message message;

    pthread_mutex_lock(&vtd->fault_lock);
    vtd_change32(vtd, events[event].control, 0, VTD_ECTL_IP);
    message = take(vtd, &events[event]);
    pthread_mutex_unlock(&vtd->fault_lock);
    deliver(vtd, &message);
}

/* Under fault_lock. An event whose status was served before it was sent is not sent (11.4.7.3, IP).
 */
static struct message update(struct vtd *vtd, const struct event *event)
{
    if (!(vtd_get32(vtd, event->status) & event->status_bits))
        vtd_change32(vtd, event->control, VTD_ECTL_IP, 0);
    return take(vtd, event);
}

void vtd_event_update(struct vtd *vtd, enum vtd_event event)
{
    struct message message;

    pthread_mutex_lock(&vtd->fault_lock);
    message = update(vtd, &events[event]);
    pthread_mutex_unlock(&vtd->fault_lock);
    deliver(vtd, &message);
}

/* Under fault_lock: set FSTS bits; only the first one after all were clear makes an event. */
static struct message set_status(struct vtd *vtd, uint32_t clear, uint32_t set)
{
    uint32_t old = vtd_change32(vtd, VTD_FSTS, clear, set);

    if (!(old & VTD_FSTS_EVENTS))
        vtd_change32(vtd, VTD_FECTL, 0, VTD_ECTL_IP);
    return take(vtd, &events[VTD_EVENT_FAULT]);
}

void vtd_fault_status(struct vtd *vtd, uint32_t fsts_bits)
{
    struct message message;

    pthread_mutex_lock(&vtd->fault_lock);
    message = set_status(vtd, 0, fsts_bits);
    pthread_mutex_unlock(&vtd->fault_lock);
    deliver(vtd, &message);
}

static unsigned int record_offset(unsigned int index)
{
    return VTD_FRCD + index * VTD_FRCD_SIZE;
}

static bool record_pending(const struct vtd *vtd, unsigned int index)
{
    return vtd_get64(vtd, record_offset(index) + 8) & VTD_FRCD_F;
}

void vtd_fault_update(struct vtd *vtd)
{
    struct message message;
    bool pending = false;

    pthread_mutex_lock(&vtd->fault_lock);
    for (unsigned int i = 0; i < vtd->options.fault_records && !pending; i++)
        pending = record_pending(vtd, i);
    if (!pending)
        vtd_change32(vtd, VTD_FSTS, VTD_FSTS_PPF, 0);
    message = update(vtd, &events[VTD_EVENT_FAULT]);
    pthread_mutex_unlock(&vtd->fault_lock);
    deliver(vtd, &message);
}

/*
 * 11.4.7.6, FI: bits beyond the widest address that any table translates are reserved; but of an
 * interrupt it holds the index, in its highest bits.
 */
static uint64_t address_of(const struct vtd *vtd, const struct vtd_fault *fault)
{
    unsigned int width = vtd->options.five_level    ? 57
                         : vtd->options.first_stage ? 48
                                                    : vtd->options.address_width;

    return fault->address & VTD_FRCD_FI & (fault->interrupt ? UINT64_MAX : low_bits(width));
}

/*
 * T1 and T2 tell write, read, atomic and page request apart. A translation request is a read when
 * it asks for no more.
 */
static uint64_t kind_of(const struct vtd *vtd, const struct vtd_fault *fault)
{
    uint8_t direction = fault->access & (VIOMMU_DMA_READ | VIOMMU_DMA_WRITE);
    uint64_t kind = 0;

    if (fault->type == VTD_TYPE_PAGE_REQUEST)
        return VTD_FRCD_T2;
    if (vtd->ecap & VTD_ECAP_DT)
        kind = field_prep(VTD_FRCD_AT, fault->type);
    if (fault->type == VIOMMU_DMA_TRANSLATION_REQUEST && vtd->ecap & VTD_ECAP_DT)
        return kind | (direction & VIOMMU_DMA_WRITE ? 0 : VTD_FRCD_T1);
    if (direction & VIOMMU_DMA_READ)
        kind |= VTD_FRCD_T1;
    if (direction == (VIOMMU_DMA_READ | VIOMMU_DMA_WRITE))
        kind |= VTD_FRCD_T2;
    return kind;
}

/*
 * The upper half of a fault record, F included (11.4.7.6). AT is reserved without device TLBs; so
 * is all about PASIDs when ECAP.PASID is 0.
 */
static uint64_t record_of(const struct vtd *vtd, const struct vtd_fault *fault)
{
    uint8_t direction = fault->access & (VIOMMU_DMA_READ | VIOMMU_DMA_WRITE);
    uint64_t record = VTD_FRCD_F | field_prep(VTD_FRCD_SID, fault->requester_id) |
                      field_prep(VTD_FRCD_FR, fault->reason) | kind_of(vtd, fault);

    if (fault->pasid == VIOMMU_PASID_NONE || !(vtd->ecap & VTD_ECAP_PASID))
        return record;
    record |= VTD_FRCD_PP | field_prep(VTD_FRCD_PV, fault->pasid);
    if (fault->access & VIOMMU_DMA_EXECUTE && direction == VIOMMU_DMA_READ)
        record |= VTD_FRCD_EXE;
    if (fault->access & VIOMMU_DMA_PRIVILEGED)
        record |= VTD_FRCD_PRIV;
    return record;
}

/*
 * 7.2.1 allows not to record a fault of a requester that has one pending. We do so only when the
 * pending one is the very same, so that a device which tries again and again does not push out what
 * others have to tell.
 */
static bool recorded_already(const struct vtd *vtd, uint64_t address, uint64_t record)
{
    for (unsigned int i = 0; i < vtd->options.fault_records; i++)
        if (vtd_get64(vtd, record_offset(i) + 8) == record &&
            vtd_get64(vtd, record_offset(i)) == address)
            return true;
    return false;
}

/*
 * The thread whose DMA was refused comes here a while later. A reset switches translation off
 * before it takes fault_lock to clear the records, so none of before appears in them afterwards.
 */
static bool too_late(const struct vtd *vtd, const struct vtd_fault *fault)
{
    return fault->of_dma &&
           !(__atomic_load_n(&vtd->translation, __ATOMIC_ACQUIRE) & VTD_TRANSLATION_ENABLED);
}

/* Under fault_lock. False: the fault is lost. */
static bool record(struct vtd *vtd, const struct vtd_fault *fault, struct message *message)
{
    uint64_t address = address_of(vtd, fault);
    uint64_t upper = record_of(vtd, fault);
    uint32_t status = vtd_get32(vtd, VTD_FSTS);
    unsigned int index = vtd->fault_next;

    if (status & VTD_FSTS_PFO || recorded_already(vtd, address, upper) || too_late(vtd, fault))
        return false;
    if (record_pending(vtd, index)) {
        *message = set_status(vtd, 0, VTD_FSTS_PFO);
        return false;
    }
    vtd_set64(vtd, record_offset(index), address);
    vtd_set64(vtd, record_offset(index) + 8, upper);
    vtd->fault_next = (index + 1) % vtd->options.fault_records;
    /* FRI stays at the first of those that are pending. */
    if (status & VTD_FSTS_PPF)
        return true;
    *message =
        set_status(vtd, VTD_FSTS_FRI, (uint32_t)(VTD_FSTS_PPF | field_prep(VTD_FSTS_FRI, index)));
    return true;
}

static void log_interrupt(struct vtd *vtd, const struct vtd_fault *fault)
{
    log_limited(&vtd->options.log, &vtd->fault_limit, VIOMMU_LOG_WARNING,
                "vtd: an interrupt of %02x:%02x.%x with index %u is blocked: %s (fault reason "
                "0x%02x)",
                fault->requester_id >> 8, fault->requester_id >> 3 & 31, fault->requester_id & 7,
                (unsigned int)field_get(VTD_FRCD_IDX, fault->address),
                vtd_fault_code(fault->reason)->condition, fault->reason);
}

static void log_fault(struct vtd *vtd, const struct vtd_fault *fault)
{
    const struct vtd_fault_code *code = vtd_fault_code(fault->reason);
    char pasid[24] = "";

    if (fault->pasid != VIOMMU_PASID_NONE)
        snprintf(pasid, sizeof(pasid), " PASID 0x%x", fault->pasid);
    log_limited(&vtd->options.log, &vtd->fault_limit, VIOMMU_LOG_WARNING,
                "vtd: DMA %s of %04x:%02x:%02x.%x%s at 0x%llx is refused: %s (%s, fault reason "
                "0x%02x)",
                fault->access & VIOMMU_DMA_WRITE ? "write" : "read", vtd->options.segment,
                fault->requester_id >> 8, fault->requester_id >> 3 & 31, fault->requester_id & 7,
                pasid, (unsigned long long)fault->address, viommu_dma_status_name(code->status),
                code->condition ? code->condition : "unknown", fault->reason);
}

void vtd_fault_restart(struct vtd *vtd)
{
    pthread_mutex_lock(&vtd->fault_lock);
    vtd->fault_next = 0;
    pthread_mutex_unlock(&vtd->fault_lock);
}

void vtd_fault_record(struct vtd *vtd, const struct vtd_fault *fault)
{
    struct message message = {0};
    bool recorded;

    if (fault->qualified && fault->disabled) {
        vtd_count(vtd, faults_disabled);
        return;
    }
    pthread_mutex_lock(&vtd->fault_lock);
    recorded = record(vtd, fault, &message);
    pthread_mutex_unlock(&vtd->fault_lock);
    if (recorded)
        vtd_count(vtd, faults_recorded);
    else
        vtd_count(vtd, faults_lost);
    deliver(vtd, &message);
    (fault->interrupt ? log_interrupt : log_fault)(vtd, fault);
}
