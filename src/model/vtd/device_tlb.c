/* SPDX-License-Identifier: MIT */
/* Functions with a device TLB: their coming and going (VT-d 5.0, chapter 4). */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "model/vtd/vtd.h"

struct vtd_tlb {
    const struct viommu_pci_ats *ats;
    uint16_t requester_id;
    struct vtd_function *function; /* of the same; NULL: no memory for it */
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

/* Both locks; making a function takes the memory map's lock, so it is found before (spaces.c). */
static void lock(struct vtd *vtd)
{
    pthread_mutex_lock(&vtd->lock);
    pthread_mutex_lock(&vtd->tlb_lock);
}

static void unlock(struct vtd *vtd)
{
    pthread_mutex_unlock(&vtd->tlb_lock);
    pthread_mutex_unlock(&vtd->lock);
}

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
    function = vtd_function_get(vtd, id.requester_id);
    tlb = calloc(1, sizeof(*tlb));
    if (!function || !tlb) {
        free(tlb);
        return error_set(error, -ENOMEM, "no memory for a device TLB");
    }
    *tlb = (struct vtd_tlb){ats, id.requester_id, function, NULL};
    lock(vtd);
    tlb->next = vtd->tlbs;
    vtd->tlbs = tlb;
    update_function(vtd, function);
    unlock(vtd);
    return 0;
}

void vtd_tlb_unset(struct vtd *vtd, const struct viommu_pci_ats *ats)
{
    struct vtd_tlb **link = &vtd->tlbs, *tlb;

    lock(vtd);
    while (*link && (*link)->ats != ats)
        link = &(*link)->next;
    tlb = *link;
    if (tlb) {
        *link = tlb->next;
        update_function(vtd, tlb->function);
    }
    unlock(vtd);
    free(tlb);
}

void vtd_tlb_move(struct vtd *vtd, struct viommu_pci_id id, const struct viommu_pci_ats *ats)
{
    struct vtd_function *function = vtd_function_get(vtd, id.requester_id), *old;
    struct vtd_tlb *tlb;

    lock(vtd);
    tlb = find(vtd, ats);
    if (tlb) {
        old = tlb->function;
        tlb->requester_id = id.requester_id;
        tlb->function = function;
        update_function(vtd, old);
        update_function(vtd, function);
    }
    unlock(vtd);
}

void vtd_tlb_destroy(struct vtd *vtd)
{
    struct vtd_tlb *tlb;

    while ((tlb = vtd->tlbs)) {
        vtd->tlbs = tlb->next;
        free(tlb);
    }
}
