/* SPDX-License-Identifier: MIT */
/* Assigned devices of a unit: their coming and going, and their faults. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bits.h"
#include "base/error.h"
#include "base/log.h"
#include "base/rcu.h"
#include "model/vtd/fault_codes.h"
#include "model/vtd/nest.h"
#include "model/vtd/sanitize.h"

/* Faults */

/*
 * In the thread of the DMA, perhaps while the holder of vtd->lock waits for that DMA: takes no lock
 * but fault_lock and the sanitizer's, and knows nothing but the function, which lives as long as
 * the unit.
 *
 * The host says only that it refused. Why is found by walking the guest's tables as an emulated
 * device would; when the walk succeeds, the table is valid but blocked on the host, or has just
 * changed.
 */
static void host_fault(void *opaque, const struct viommu_host_fault *fault)
{
    struct vtd_function *function = opaque;
    struct vtd *vtd = function->vtd;
    uint64_t state = __atomic_load_n(&vtd->translation, __ATOMIC_ACQUIRE);
    struct viommu_dma_request request = VIOMMU_DMA_REQUEST_INIT;
    struct dma_translation translation;
    bool memory;

    request.address = fault->address;
    request.length = 1;
    request.pasid = fault->pasid;
    request.requester_id = function->requester_id;
    request.access = fault->access;
    if (!(state & VTD_TRANSLATION_ENABLED))
        return;
    rcu_enter();
    vtd_translate(vtd, &request, &translation);
    memory = translation.status == VIOMMU_DMA_OK &&
             memory_lookup(vtd->options.memory,
                           translation.gpa + (fault->address & low_bits(translation.granule_log2)),
                           NULL, NULL);
    rcu_exit();
    /* No memory behind a valid translation is no fault of the translation: emulated devices are
     * not told either. */
    if (translation.status == VIOMMU_DMA_OK && !memory)
        return;
    if (translation.status == VIOMMU_DMA_OK) {
        vtd_sanitize_refused(vtd, &request);
        translation.fault_code = field_get(VTD_TTM_MASK, state) == VTD_TTM_LEGACY
                                     ? VTD_FAULT_CONTEXT_INVALID
                                     : VTD_FAULT_SM_PASID_INVALID;
    }
    vtd_translate_fault(vtd, &request, fault->address, translation.fault_code);
}

/* Devices */

/* Not by ID: two functions behind bridges of the same number have the same. */
static struct vtd_assigned *find_device(const struct vtd *vtd,
                                        const struct viommu_host_device *device)
{
    struct vtd_assigned *assigned;

    TAILQ_FOREACH(assigned, &vtd->nest->devices, link)
    {
        if (assigned->device == device)
            break;
    }
    return assigned;
}

/* function->assigned is any of the devices that share the alias. */
static void update_function(struct vtd *vtd, struct vtd_function *function)
{
    struct vtd_assigned *assigned;

    if (!function)
        return;
    TAILQ_FOREACH(assigned, &vtd->nest->devices, link)
    {
        if (assigned->function == function)
            break;
    }
    __atomic_store_n(&function->assigned, assigned, __ATOMIC_RELEASE);
}

static void set_ids(struct vtd_assigned *assigned, struct viommu_pci_id id,
                    struct viommu_pci_id alias)
{
    assigned->id = id;
    assigned->requester_id = alias.requester_id;
    assigned->function = vtd_function_find(assigned->vtd, alias.requester_id);
    snprintf(assigned->name, sizeof(assigned->name), "%04x:%02x:%02x.%x", id.segment,
             id.requester_id >> 8, (id.requester_id >> 3) & 31, id.requester_id & 7);
}

static struct vtd_assigned *new_device(struct vtd *vtd, struct viommu_pci_id id,
                                       struct viommu_pci_id alias,
                                       struct viommu_host_device *device)
{
    struct vtd_assigned *assigned = calloc(1, sizeof(*assigned));

    if (!assigned)
        return NULL;
    assigned->vtd = vtd;
    assigned->device = device;
    assigned->pasid_bits = calloc(nest_pasid_count(assigned) / 64 + 1, sizeof(uint64_t));
    if (!assigned->pasid_bits) {
        free(assigned);
        return NULL;
    }
    set_ids(assigned, id, alias);
    TAILQ_INIT(&assigned->pasids);
    TAILQ_INIT(&assigned->leftovers);
    nest_binding_init(&assigned->rid, assigned, VIOMMU_PASID_NONE, NEST_PARENT);
    return assigned;
}

static int watch_faults(struct vtd_assigned *assigned, struct viommu_error *error)
{
    return viommu_host_device_set_fault_handler(assigned->device, host_fault, assigned->function,
                                                error);
}

static int watch_first(struct vtd_assigned *assigned, struct viommu_error *error)
{
    struct viommu_error cause;
    int ret = watch_faults(assigned, &cause);

    if (ret == -EOPNOTSUPP) {
        log_message(&assigned->vtd->options.log, VIOMMU_LOG_INFO,
                    "%s: the guest is not told of DMA that the host refuses: %s", assigned->name,
                    cause.message);
        return 0;
    }
    return ret ? error_set(error, ret, "%s", cause.message) : 0;
}

int vtd_nest_set_device(struct vtd *vtd, struct viommu_pci_id id, struct viommu_pci_id alias,
                        struct viommu_host_device *device, struct viommu_error *error)
{
    struct vtd_assigned *assigned;
    int ret;

    if (find_device(vtd, device))
        return error_set(error, -EBUSY,
                         "the host device for function %02x:%02x.%x is set already; unset it first",
                         id.requester_id >> 8, (id.requester_id >> 3) & 31, id.requester_id & 7);
    ret = vtd_compare_host(&vtd->options, device, error);
    if (ret)
        return ret;
    assigned = new_device(vtd, id, alias, device);
    if (!assigned)
        return error_set(error, -ENOMEM, "no memory for an assigned device");
    ret = watch_first(assigned, error);
    if (ret) {
        free(assigned->pasid_bits);
        free(assigned);
        return ret;
    }
    nest_requests_open(assigned);
    TAILQ_INSERT_TAIL(&vtd->nest->devices, assigned, link);
    update_function(vtd, assigned->function);
    assigned->scan = nest_pasid_count(assigned) != 0;
    assigned->rid.dirty = true;
    vtd_work_refill(vtd);
    nest_commit_device(assigned);
    return 0;
}

/* Whatever is wrong, a fault must not name the requester ID of before: another device may have it.
 */
static void watch_again(struct vtd_assigned *assigned)
{
    struct viommu_error error = {.message = "there is no memory for an address space"};
    int ret = assigned->function ? watch_faults(assigned, &error) : -ENOMEM;

    if (!ret || ret == -EOPNOTSUPP)
        return;
    log_limited(&assigned->vtd->options.log, &assigned->vtd->nest_limit, VIOMMU_LOG_WARNING,
                "%s: the guest is not told of DMA that the host refuses, until its bus is numbered "
                "again: %s",
                assigned->name, error.message);
    viommu_host_device_set_fault_handler(assigned->device, NULL, NULL, &error);
}

/*
 * Its tables and its faults are those of the new requester ID from here on. Where that has no
 * function for lack of memory only the faults stay untold: tables are found without.
 */
void vtd_nest_move_device(struct vtd *vtd, struct viommu_pci_id id, struct viommu_pci_id alias,
                          const struct viommu_host_device *device)
{
    struct vtd_assigned *assigned = find_device(vtd, device);
    struct vtd_function *old;

    if (!assigned)
        return;
    old = assigned->function;
    set_ids(assigned, id, alias);
    update_function(vtd, old);
    update_function(vtd, assigned->function);
    if (assigned->lost || (old && old == assigned->function))
        return;
    watch_again(assigned);
    nest_replay_device(assigned);
    vtd_work_refill(vtd);
    nest_commit_device(assigned);
}

static void block(struct nest_binding *binding, const struct vtd_invalidation *what)
{
    (void)what;
    if (binding->target.state != NEST_PARENT || binding->pasid != VIOMMU_PASID_NONE)
        nest_binding_block(binding);
}

static void forget_leftovers(struct vtd_assigned *assigned)
{
    struct nest_leftover *leftover;

    nest_collect(assigned);
    while ((leftover = TAILQ_FIRST(&assigned->leftovers))) {
        TAILQ_REMOVE(&assigned->leftovers, leftover, link);
        free(leftover);
    }
}

/*
 * A device that was translated leaves blocked: its DMA may still run, and its IOVAs are not to be
 * taken for guest physical addresses. One that uses the table of guest memory keeps it until the
 * caller, who attached it, detaches it.
 */
static void release_device(struct vtd_assigned *assigned)
{
    struct viommu_error error;

    nest_for_each_binding(assigned, block, NULL);
    nest_drop_blocked_pasids(assigned);
    if (!assigned->lost &&
        viommu_host_device_set_fault_handler(assigned->device, NULL, NULL, &error))
        log_message(&assigned->vtd->options.log, VIOMMU_LOG_DEBUG,
                    "%s: the fault handler stays until the device is unbound: %s", assigned->name,
                    error.message);
    forget_leftovers(assigned);
    nest_requests_close(assigned);
}

void nest_remove_device(struct vtd_assigned *assigned)
{
    struct vtd *vtd = assigned->vtd;

    release_device(assigned);
    TAILQ_REMOVE(&vtd->nest->devices, assigned, link);
    update_function(vtd, assigned->function);
    free(assigned->pasid_bits);
    free(assigned);
}

void vtd_nest_unset_device(struct vtd *vtd, const struct viommu_host_device *device)
{
    struct vtd_assigned *assigned = find_device(vtd, device);

    if (assigned)
        nest_remove_device(assigned);
}
