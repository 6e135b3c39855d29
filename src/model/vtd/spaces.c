/* SPDX-License-Identifier: MIT */
/*
 * Requester ID -> address space and assigned device, and the hooks that a PCI bus carries.
 *
 * Two levels, by bus and by devfn. A function, once published, stays until the unit is destroyed:
 * finding one takes no lock.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/rcu.h"
#include "model/vtd/vtd.h"

#define DEVFNS 256

struct vtd_function *vtd_function_find(const struct vtd *vtd, uint16_t requester_id)
{
    struct vtd_function **bus = rcu_read(vtd->functions[requester_id >> 8]);

    return bus ? rcu_read(bus[requester_id & 0xff]) : NULL;
}

static struct vtd_function *function_create(struct vtd *vtd, uint16_t requester_id)
{
    struct vtd_function *function = aligned_alloc(VTD_CACHE_LINE, sizeof(*function));

    if (!function)
        return NULL;
    memset(function, 0, sizeof(*function));
    function->vtd = vtd;
    function->requester_id = requester_id;
    if (dma_space_create(&function->space, vtd->options.memory, &vtd_space_ops, function)) {
        free(function);
        return NULL;
    }
    return function;
}

struct vtd_function *vtd_function_get(struct vtd *vtd, uint16_t requester_id)
{
    struct vtd_function *function = vtd_function_find(vtd, requester_id);
    struct vtd_function **bus;

    if (function)
        return function;
    pthread_mutex_lock(&vtd->functions_lock);
    bus = vtd->functions[requester_id >> 8];
    if (!bus) {
        bus = calloc(DEVFNS, sizeof(struct vtd_function *));
        if (bus)
            rcu_publish(vtd->functions[requester_id >> 8], bus);
    }
    if (bus) {
        function = bus[requester_id & 0xff];
        if (!function) {
            function = function_create(vtd, requester_id);
            if (function) {
                function->next = vtd->all_functions;
                rcu_publish(vtd->all_functions, function);
                rcu_publish(bus[requester_id & 0xff], function);
            }
        }
    }
    pthread_mutex_unlock(&vtd->functions_lock);
    return function;
}

void vtd_for_each_function(struct vtd *vtd, vtd_function_fn *fn, void *opaque)
{
    struct vtd_function *function;

    for (function = rcu_read(vtd->all_functions); function; function = function->next)
        fn(function, opaque);
}

static struct viommu_dma_space *pci_get_address_space(void *opaque, struct viommu_pci_id alias)
{
    struct vtd_function *function = vtd_function_get(vtd_of(opaque), alias.requester_id);

    return function ? function->space : NULL;
}

/* From the configuration alone: nothing of a host may flow into it. */
static uint64_t pci_get_viommu_cap(void *opaque)
{
    return vtd_options_viommu_cap(&vtd_of(opaque)->options);
}

static int pci_set_iommu_device(void *opaque, struct viommu_pci_id id, struct viommu_pci_id alias,
                                struct viommu_host_device *device, struct viommu_error *error)
{
    struct vtd *vtd = vtd_of(opaque);
    int ret;

    /* Making a space takes the memory map's lock, within which nest_memory.c is told of memory that
     * comes and goes and takes vtd->lock: never the other way round. */
    if (!vtd_function_get(vtd, alias.requester_id))
        return error_set(error, -ENOMEM, "no memory for an address space");
    pthread_mutex_lock(&vtd->lock);
    ret = vtd_nest_set_device(vtd, id, alias, device, error);
    pthread_mutex_unlock(&vtd->lock);
    return ret;
}

static void pci_unset_iommu_device(void *opaque, struct viommu_pci_id id,
                                   struct viommu_host_device *device)
{
    struct vtd *vtd = vtd_of(opaque);

    (void)id;
    pthread_mutex_lock(&vtd->lock);
    vtd_nest_unset_device(vtd, device);
    pthread_mutex_unlock(&vtd->lock);
}

static void pci_requester_changed(void *opaque, struct viommu_pci_id id, struct viommu_pci_id alias,
                                  struct viommu_host_device *device)
{
    struct vtd *vtd = vtd_of(opaque);

    vtd_function_get(vtd, alias.requester_id); /* as above: before the lock */
    pthread_mutex_lock(&vtd->lock);
    vtd_nest_move_device(vtd, id, alias, device);
    pthread_mutex_unlock(&vtd->lock);
}

static void pci_send_interrupt(void *opaque, struct viommu_pci_id alias,
                               const struct viommu_interrupt_request *request,
                               viommu_interrupt_deliver_fn *deliver, void *deliver_opaque,
                               struct viommu_interrupt *out)
{
    (void)alias; /* the request has it, and the segment is the unit's */
    vtd_interrupt_send(opaque, request, deliver, deliver_opaque, out);
}

static int pci_set_ats(void *opaque, struct viommu_pci_id id, const struct viommu_pci_ats *ats,
                       struct viommu_error *error)
{
    return vtd_tlb_set(vtd_of(opaque), id, ats, error);
}

static void pci_unset_ats(void *opaque, const struct viommu_pci_ats *ats)
{
    vtd_tlb_unset(vtd_of(opaque), ats);
}

static void pci_ats_moved(void *opaque, struct viommu_pci_id id, const struct viommu_pci_ats *ats)
{
    vtd_tlb_move(vtd_of(opaque), id, ats);
}

static int pci_ats_invalidation_done(void *opaque, const struct viommu_pci_ats *ats, uint32_t tag,
                                     int result)
{
    return vtd_tlb_done(vtd_of(opaque), ats, tag, result);
}

static int pci_ats_page_request(void *opaque, const struct viommu_pci_ats *ats,
                                const struct viommu_pci_page_request *request)
{
    return vtd_prq_request(vtd_of(opaque), ats, request);
}

const struct viommu_pci_iommu_ops vtd_pci_ops = {
    .size = sizeof(struct viommu_pci_iommu_ops),
    .get_address_space = pci_get_address_space,
    .get_viommu_cap = pci_get_viommu_cap,
    .set_iommu_device = pci_set_iommu_device,
    .unset_iommu_device = pci_unset_iommu_device,
    .requester_changed = pci_requester_changed,
    .send_interrupt = pci_send_interrupt,
    .set_ats = pci_set_ats,
    .unset_ats = pci_unset_ats,
    .ats_moved = pci_ats_moved,
    .ats_invalidation_done = pci_ats_invalidation_done,
    .ats_page_request = pci_ats_page_request,
};
