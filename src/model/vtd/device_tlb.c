/* SPDX-License-Identifier: MIT */
/*
 * Functions with a device TLB: their coming and going, and invalidations that they have not
 * answered yet (VT-d 5.0, chapter 4; 6.5.2.5, 6.5.2.6).
 *
 * An invalidation that is not answered at once holds the queue at the next wait descriptor. The
 * answer to the last one lets it go on, in the thread that gives it. One that timed out is told
 * when nothing is outstanding any more: the wait descriptor is then aborted (6.5.2.11).
 */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "model/vtd/register_map.h"
#include "model/vtd/sanitize.h"
#include "model/vtd/vtd.h"

/* Invalidations of one function that are not answered yet: as many as there are ITags (PCIe base
 * spec, 10.3.1). */
#define TAGS 32

struct vtd_tlb {
    const struct viommu_pci_ats *ats;
    uint16_t requester_id;
    struct vtd_function *function; /* of the same; NULL: no memory for it */
    /* Under vtd->lock: outstanding ones, in no order. */
    unsigned int count;
    uint32_t tags[TAGS];
    struct vtd_tlb *next;
};

static struct vtd_tlb *find(const struct vtd *vtd, const struct viommu_pci_ats *ats)
{
    struct vtd_tlb *tlb = vtd->tlbs;

    while (tlb && tlb->ats != ats)
        tlb = tlb->next;
    return tlb;
}

/* function->tlb is any of those that have this requester ID at the moment. */
static void update_function(const struct vtd *vtd, struct vtd_function *function)
{
    struct vtd_tlb *tlb = vtd->tlbs;

    if (!function)
        return;
    while (tlb && tlb->function != function)
        tlb = tlb->next;
    __atomic_store_n(&function->tlb, tlb, __ATOMIC_RELEASE);
}

/* Answers */

/* The first one is told; it is the one that software has to look at. */
static void timed_out(struct vtd *vtd, const struct vtd_tlb *tlb)
{
    if (!vtd->tlb_timed_out)
        vtd->tlb_timed_out_by = tlb->requester_id;
    vtd->tlb_timed_out = true;
}

static void set_error_field(struct vtd *vtd, uint64_t field, uint16_t requester_id)
{
    vtd_set64(vtd, VTD_IQERCD,
              (vtd_get64(vtd, VTD_IQERCD) & ~field) | field_prep(field, requester_id));
}

static void answered(struct vtd *vtd, const struct vtd_tlb *tlb, int result)
{
    if (!result)
        return;
    log_limited(&vtd->options.log, &vtd->queue_limit, VIOMMU_LOG_WARNING,
                "vtd: the device TLB of %02x:%02x.%x %s an invalidation", tlb->requester_id >> 8,
                tlb->requester_id >> 3 & 31, tlb->requester_id & 7,
                result == -ETIMEDOUT ? "does not answer" : "answers nonsense to");
    if (result == -ETIMEDOUT) {
        timed_out(vtd, tlb);
    } else {
        set_error_field(vtd, VTD_IQERCD_ICESID, tlb->requester_id);
        vtd_fault_status(vtd, VTD_FSTS_ICE);
    }
}

enum vtd_tlb_outcome vtd_tlb_outcome(const struct vtd *vtd)
{
    if (vtd->tlb_outstanding)
        return VTD_TLB_OUTSTANDING;
    return vtd->tlb_timed_out ? VTD_TLB_TIMED_OUT : VTD_TLB_DONE;
}

void vtd_tlb_tell_timeout(struct vtd *vtd)
{
    vtd->tlb_timed_out = false;
    set_error_field(vtd, VTD_IQERCD_ITESID, vtd->tlb_timed_out_by);
    vtd_fault_status(vtd, VTD_FSTS_ITE);
}

/* Those that the function has not answered are over. */
static void forget(struct vtd *vtd, struct vtd_tlb *tlb)
{
    vtd->tlb_outstanding -= tlb->count;
    tlb->count = 0;
}

void vtd_tlb_reset(struct vtd *vtd)
{
    for (struct vtd_tlb *tlb = vtd->tlbs; tlb; tlb = tlb->next)
        forget(vtd, tlb);
    vtd->tlb_timed_out = false;
}

static bool take_tag(struct vtd_tlb *tlb, uint32_t tag)
{
    unsigned int i = 0;

    while (i < tlb->count && tlb->tags[i] != tag)
        i++;
    if (i == tlb->count)
        return false;
    tlb->tags[i] = tlb->tags[--tlb->count];
    return true;
}

int vtd_tlb_done(struct vtd *vtd, const struct viommu_pci_ats *ats, uint32_t tag, int result)
{
    struct vtd_tlb *tlb;
    bool known;

    pthread_mutex_lock(&vtd->lock);
    tlb = find(vtd, ats);
    known = tlb && take_tag(tlb, tag);
    if (known) {
        vtd_work_refill(vtd);
        vtd->tlb_outstanding--;
        answered(vtd, tlb, result);
        vtd_queue_run(vtd);
    }
    pthread_mutex_unlock(&vtd->lock);
    return known ? 0 : -ENOENT;
}

/* Requests */

static void invalidate(struct vtd *vtd, struct vtd_tlb *tlb, const struct vtd_invalidation *what)
{
    struct viommu_pci_tlb_invalidation request = {
        .address = what->address,
        .length = what->length,
        .pasid = what->pasid,
        .global = what->scope == VTD_SCOPE_GLOBAL,
        .tag = vtd->tlb_next_tag++,
    };
    int result = tlb->ats->ops.invalidate(tlb->ats->opaque, &request);

    vtd_count(vtd, device_tlb_invalidations);
    if (result == -EINPROGRESS) {
        tlb->tags[tlb->count++] = request.tag;
        vtd->tlb_outstanding++;
    } else {
        answered(vtd, tlb, result);
    }
}

/*
 * A function without a device TLB holds no translations: there is nothing to do. Nor is there for
 * assigned ones, whose TLBs the host invalidates with its own tables. Functions behind bridges that
 * have no number yet may share a requester ID: all are told.
 */
bool vtd_tlb_invalidate(struct vtd *vtd, const struct vtd_invalidation *what)
{
    for (struct vtd_tlb *tlb = vtd->tlbs; tlb; tlb = tlb->next)
        if (tlb->requester_id == what->requester_id && tlb->count == TAGS)
            return false;
    for (struct vtd_tlb *tlb = vtd->tlbs; tlb; tlb = tlb->next)
        if (tlb->requester_id == what->requester_id)
            invalidate(vtd, tlb, what);
    return true;
}

void vtd_tlb_respond(struct vtd *vtd, uint16_t requester_id,
                     const struct viommu_pci_page_response *response)
{
    for (struct vtd_tlb *tlb = vtd->tlbs; tlb; tlb = tlb->next)
        if (tlb->requester_id == requester_id && tlb->ats->ops.page_response)
            tlb->ats->ops.page_response(tlb->ats->opaque, response);
}

bool vtd_tlb_requester_id(struct vtd *vtd, const struct viommu_pci_ats *ats, uint16_t *requester_id)
{
    const struct vtd_tlb *tlb;

    pthread_mutex_lock(&vtd->tlb_lock);
    tlb = find(vtd, ats);
    if (tlb)
        *requester_id = tlb->requester_id;
    pthread_mutex_unlock(&vtd->tlb_lock);
    return tlb;
}

/* Coming and going */

int vtd_tlb_set(struct vtd *vtd, struct viommu_pci_id id, const struct viommu_pci_ats *ats,
                struct viommu_error *error)
{
    struct vtd_function *function;
    struct vtd_tlb *tlb;

    if (!vtd->options.device_iotlb)
        return error_set(
            error, -EOPNOTSUPP,
            "function %02x:%02x.%x cannot have a device TLB behind a VT-d unit without "
            "them (device-iotlb=on)",
            id.requester_id >> 8, id.requester_id >> 3 & 31, id.requester_id & 7);
    /* Before the lock: it takes that of the memory map (spaces.c). */
    function = vtd_function_get(vtd, id.requester_id);
    tlb = calloc(1, sizeof(*tlb));
    if (!function || !tlb) {
        free(tlb);
        return error_set(error, -ENOMEM, "no memory for a device TLB");
    }
    tlb->ats = ats;
    tlb->requester_id = id.requester_id;
    tlb->function = function;
    pthread_mutex_lock(&vtd->lock);
    pthread_mutex_lock(&vtd->tlb_lock);
    tlb->next = vtd->tlbs;
    vtd->tlbs = tlb;
    update_function(vtd, function);
    pthread_mutex_unlock(&vtd->tlb_lock);
    pthread_mutex_unlock(&vtd->lock);
    return 0;
}

/* Returns what stood for it, which nothing finds any more. */
static struct vtd_tlb *take_out(struct vtd *vtd, const struct viommu_pci_ats *ats)
{
    struct vtd_tlb **link = &vtd->tlbs, *tlb;

    pthread_mutex_lock(&vtd->tlb_lock);
    while (*link && (*link)->ats != ats)
        link = &(*link)->next;
    tlb = *link;
    if (tlb) {
        *link = tlb->next;
        update_function(vtd, tlb->function);
    }
    pthread_mutex_unlock(&vtd->tlb_lock);
    return tlb;
}

void vtd_tlb_unset(struct vtd *vtd, const struct viommu_pci_ats *ats)
{
    struct vtd_tlb *tlb;

    pthread_mutex_lock(&vtd->lock);
    tlb = take_out(vtd, ats);
    if (tlb)
        vtd_sanitize_tlb_gone(vtd, tlb->requester_id);
    if (tlb && tlb->count) {
        forget(vtd, tlb);
        vtd_work_refill(vtd);
        vtd_queue_run(vtd);
    }
    pthread_mutex_unlock(&vtd->lock);
    free(tlb);
}

void vtd_tlb_move(struct vtd *vtd, struct viommu_pci_id id, const struct viommu_pci_ats *ats)
{
    struct vtd_function *function = vtd_function_get(vtd, id.requester_id), *old;
    struct vtd_tlb *tlb;

    pthread_mutex_lock(&vtd->lock);
    pthread_mutex_lock(&vtd->tlb_lock);
    tlb = find(vtd, ats);
    if (tlb) {
        old = tlb->function;
        vtd_sanitize_tlb_gone(vtd, tlb->requester_id);
        tlb->requester_id = id.requester_id;
        tlb->function = function;
        update_function(vtd, old);
        update_function(vtd, function);
    }
    pthread_mutex_unlock(&vtd->tlb_lock);
    pthread_mutex_unlock(&vtd->lock);
}

void vtd_tlb_destroy(struct vtd *vtd)
{
    struct vtd_tlb *tlb;

    while ((tlb = vtd->tlbs)) {
        vtd->tlbs = tlb->next;
        free(tlb);
    }
}
