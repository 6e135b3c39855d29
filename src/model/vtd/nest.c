/* SPDX-License-Identifier: MIT */
/* Assigned devices of a unit: their coming and going, invalidations, faults, guest memory. */
#include "model/vtd/nest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/error.h"
#include "base/log.h"
#include "base/rcu.h"
#include "model/vtd/fault_codes.h"
#include "model/vtd/sanitize.h"

/* Every binding of a device, the one without PASID first. */
typedef void binding_fn(struct nest_binding *binding, const struct vtd_invalidation *what);

static void for_each_binding(struct vtd_assigned *assigned, binding_fn *fn,
                             const struct vtd_invalidation *what)
{
    struct nest_binding *binding, *next;

    fn(&assigned->rid, what);
    for (binding = TAILQ_FIRST(&assigned->pasids); binding; binding = next) {
        next = TAILQ_NEXT(binding, link);
        fn(binding, what);
    }
}

static bool pasid_known(const struct vtd_assigned *assigned, uint32_t pasid)
{
    return assigned->pasid_bits[pasid / 64] & BIT64(pasid % 64);
}

/* PASIDs that are not attached are not remembered. */
static void drop_blocked_pasids(struct vtd_assigned *assigned)
{
    struct nest_binding *binding, *next;

    for (binding = TAILQ_FIRST(&assigned->pasids); binding; binding = next) {
        next = TAILQ_NEXT(binding, link);
        if (binding->target.state != NEST_BLOCKED || binding->dirty)
            continue;
        TAILQ_REMOVE(&assigned->pasids, binding, link);
        assigned->pasid_bits[binding->pasid / 64] &= ~BIT64(binding->pasid % 64);
        assigned->pasid_count--;
        free(binding);
    }
}

/* Table entries that may have changed */

/* The old domain-ID counts as much as the new one: guests announce a change under either. */
static bool names_entry(const struct vtd_invalidation *what, bool valid,
                        const struct vtd_entry *entry)
{
    if (!valid || entry->domain != what->domain)
        return false;
    return what->scope != VTD_SCOPE_PASID || entry->pasid == what->pasid;
}

static bool names_new_entry(const struct nest_binding *binding, const struct vtd_invalidation *what)
{
    struct nest_wish wish;

    if (what->scope == VTD_SCOPE_PASID && binding->pasid != VIOMMU_PASID_NONE &&
        binding->pasid != what->pasid)
        return false;
    if (!nest_work(binding->assigned->vtd, NEST_WORK_ENTRY))
        return true;
    nest_binding_wish(binding, &wish);
    return names_entry(what, wish.by_entry, &wish.entry);
}

static bool concerns(const struct nest_binding *binding, const struct vtd_invalidation *what)
{
    if (what->scope == VTD_SCOPE_GLOBAL)
        return true;
    if (what->scope == VTD_SCOPE_DEVICE)
        return vtd_invalidation_names(what, binding->assigned->requester_id);
    return names_entry(what, binding->by_entry, &binding->entry) || names_new_entry(binding, what);
}

/* However often an entry is named, the next commit reads it once. what NULL: whatever changed. */
static void mark(struct nest_binding *binding, const struct vtd_invalidation *what)
{
    if (!binding->dirty)
        binding->dirty = !what || concerns(binding, what);
}

static void reread(struct nest_binding *binding, const struct vtd_invalidation *what)
{
    struct nest_wish wish;

    (void)what;
    if (!binding->dirty)
        return;
    binding->dirty = false;
    nest_work(binding->assigned->vtd, NEST_WORK_ENTRY);
    nest_binding_wish(binding, &wish);
    nest_binding_apply(binding, &wish);
}

/* What is marked is made true now. */
static void settle(struct vtd_assigned *assigned)
{
    for_each_binding(assigned, reread, NULL);
    drop_blocked_pasids(assigned);
}

/*
 * A PASID that is not attached: the commit binds it when its entry is there now. Returns the
 * entry's fault reason, 0 when it is valid.
 */
static uint32_t adopt_pasid(struct vtd_assigned *assigned, uint32_t pasid,
                            const struct vtd_invalidation *what)
{
    struct vtd *vtd = assigned->vtd;
    struct nest_binding probe, *binding;
    struct nest_wish wish;

    nest_binding_init(&probe, assigned, pasid, NEST_BLOCKED);
    nest_binding_wish(&probe, &wish);
    if (!wish.by_entry || (what && !names_entry(what, true, &wish.entry)))
        return wish.entry.reason;
    binding = assigned->pasid_count < NEST_PASIDS_MAX ? malloc(sizeof(*binding)) : NULL;
    if (!binding) {
        log_limited(&vtd->options.log, &vtd->nest_limit, VIOMMU_LOG_WARNING,
                    "%s: PASID %u is blocked, %u PASIDs are bound and %u can be; free some",
                    assigned->name, pasid, assigned->pasid_count, NEST_PASIDS_MAX);
        return 0;
    }
    *binding = probe;
    binding->dirty = true;
    TAILQ_INSERT_TAIL(&assigned->pasids, binding, link);
    assigned->pasid_bits[pasid / 64] |= BIT64(pasid % 64);
    assigned->pasid_count++;
    return 0;
}

static void say_pasids_missed(const struct vtd_assigned *assigned, uint32_t pasid)
{
    struct vtd *vtd = assigned->vtd;
    struct viommu_error error;

    nest_work_exceeded(&error);
    log_limited(&vtd->options.log, &vtd->nest_limit, VIOMMU_LOG_WARNING,
                "%s: PASIDs from %u on that became present stay blocked: %s", assigned->name, pasid,
                error.message);
}

/*
 * An invalidation that names no PASID may have made any of them present. Where a whole PASID table
 * (64 entries; VT-d 5.0, 9.5) is missing it is passed over; entries looked at are bounded, for each
 * scan and by the work that is left.
 *
 * PASID 0 is never attached on its own: hosts use it for requests without PASID. That is what it is
 * for a guest, too, unless it sets RID_PASID; then its PASID 0 is what its RID_PASID is.
 */
#define SCAN_MAX (1u << 15)

static void scan_pasids(struct vtd_assigned *assigned)
{
    uint32_t count = nest_pasid_count(assigned);
    unsigned int looked = 0;

    if (!(__atomic_load_n(&assigned->vtd->translation, __ATOMIC_ACQUIRE) & VTD_TRANSLATION_ENABLED))
        return;
    for (uint32_t pasid = 1; pasid < count && looked < SCAN_MAX; looked++) {
        uint32_t reason = 0;

        if (!nest_work(assigned->vtd, NEST_WORK_ENTRY)) {
            say_pasids_missed(assigned, pasid);
            return;
        }
        if (!pasid_known(assigned, pasid))
            reason = adopt_pasid(assigned, pasid, NULL);
        if (reason && reason < VTD_FAULT_SM_PDE_ACCESS && reason != VTD_FAULT_SM_PASID_IS_RID_PASID)
            return;
        if (reason >= VTD_FAULT_SM_PDE_ACCESS && reason <= VTD_FAULT_SM_PDE_RESERVED)
            pasid |= 63;
        pasid++;
    }
}

static void pasid_changed(struct vtd_assigned *assigned, const struct vtd_invalidation *what)
{
    if (!what->pasid || what->pasid >= nest_pasid_count(assigned) ||
        pasid_known(assigned, what->pasid))
        return;
    if (assigned->pasid_count == NEST_PASIDS_MAX && nest_work(assigned->vtd, NEST_PASIDS_MAX))
        settle(assigned); /* the same batch may have made room */
    if (nest_work(assigned->vtd, NEST_WORK_ENTRY))
        adopt_pasid(assigned, what->pasid, what);
    else
        say_pasids_missed(assigned, what->pasid);
}

static void tables_changed(struct vtd_assigned *assigned, const struct vtd_invalidation *what)
{
    if (what->scope == VTD_SCOPE_PASID) {
        pasid_changed(assigned, what);
    } else if (what->scope != VTD_SCOPE_DEVICE ||
               vtd_invalidation_names(what, assigned->requester_id)) {
        assigned->scan = nest_pasid_count(assigned) != 0;
    }
    for_each_binding(assigned, mark, what);
}

/*
 * Pages that may have changed. The pages of an IOTLB invalidation are those of a second stage; what
 * a first stage made of the domain goes altogether (VT-d 5.0, 6.5.2.3), as in translate.c.
 */
static void pages_changed(struct nest_binding *binding, const struct vtd_invalidation *what)
{
    bool pages = what->scope == VTD_SCOPE_PAGES;
    bool first = what->kind == VTD_INVALIDATE_PIOTLB && pages;

    if (!binding->by_entry)
        return;
    if (what->scope != VTD_SCOPE_GLOBAL && binding->entry.domain != what->domain)
        return;
    if (what->kind == VTD_INVALIDATE_PIOTLB && binding->entry.pasid != what->pasid)
        return;
    nest_binding_invalidate_first(binding, first ? what->address : 0, first ? what->length : 0,
                                  first && what->leaf_only);
    if (what->kind == VTD_INVALIDATE_IOTLB || binding->target.state == NEST_SHADOWED)
        nest_binding_invalidate_second(binding, pages ? what->address : 0,
                                       pages ? what->length : 0);
}

void vtd_nest_invalidate(struct vtd *vtd, const struct vtd_invalidation *what)
{
    struct vtd_assigned *assigned;

    TAILQ_FOREACH(assigned, &vtd->nest->devices, link)
    {
        if (assigned->lost)
            continue;
        if (what->kind == VTD_INVALIDATE_CONTEXT || what->kind == VTD_INVALIDATE_PASID)
            tables_changed(assigned, what);
        if (what->kind == VTD_INVALIDATE_IOTLB || what->kind == VTD_INVALIDATE_PIOTLB)
            for_each_binding(assigned, pages_changed, what);
    }
}

static void flush(struct nest_binding *binding, const struct vtd_invalidation *what)
{
    (void)what;
    nest_binding_flush(binding);
}

static void commit_device(struct vtd_assigned *assigned)
{
    if (assigned->lost)
        return;
    settle(assigned);
    if (assigned->scan)
        scan_pasids(assigned);
    assigned->scan = false;
    settle(assigned);
    for_each_binding(assigned, flush, NULL);
    drop_blocked_pasids(assigned);
    nest_collect(assigned);
}

void vtd_nest_commit(struct vtd *vtd)
{
    struct vtd_assigned *assigned;

    TAILQ_FOREACH(assigned, &vtd->nest->devices, link)
    commit_device(assigned);
}

static void replay_device(struct vtd_assigned *assigned)
{
    for_each_binding(assigned, mark, NULL);
    assigned->scan = nest_pasid_count(assigned) != 0;
}

void vtd_nest_replay(struct vtd *vtd)
{
    struct vtd_assigned *assigned;

    TAILQ_FOREACH(assigned, &vtd->nest->devices, link)
    replay_device(assigned);
}

static bool lacks(const struct nest_binding *binding, uint64_t address)
{
    return binding->target.state == NEST_SHADOWED &&
           !vtd_shadow_maps(binding->target.shadow, address);
}

bool vtd_nest_lacks(const struct vtd *vtd, uint16_t requester_id, uint32_t pasid, uint64_t address)
{
    const struct vtd_assigned *assigned;
    const struct nest_binding *binding;

    TAILQ_FOREACH(assigned, &vtd->nest->devices, link)
    {
        if (assigned->requester_id != requester_id)
            continue;
        if (pasid == VIOMMU_PASID_NONE && lacks(&assigned->rid, address))
            return true;
        TAILQ_FOREACH(binding, &assigned->pasids, link)
        {
            if (binding->pasid == pasid && lacks(binding, address))
                return true;
        }
    }
    return false;
}

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
    commit_device(assigned);
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
    replay_device(assigned);
    vtd_work_refill(vtd);
    commit_device(assigned);
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

    for_each_binding(assigned, block, NULL);
    drop_blocked_pasids(assigned);
    if (!assigned->lost &&
        viommu_host_device_set_fault_handler(assigned->device, NULL, NULL, &error))
        log_message(&assigned->vtd->options.log, VIOMMU_LOG_DEBUG,
                    "%s: the fault handler stays until the device is unbound: %s", assigned->name,
                    error.message);
    forget_leftovers(assigned);
    nest_requests_close(assigned);
}

static void remove_device(struct vtd_assigned *assigned)
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
        remove_device(assigned);
}

/* Guest memory */

static void sync_shadows(struct vtd_nest *nest)
{
    struct vtd_assigned *assigned;
    struct nest_binding *binding;

    TAILQ_FOREACH(assigned, &nest->devices, link)
    {
        nest_binding_invalidate_second(&assigned->rid, 0, 0);
        TAILQ_FOREACH(binding, &assigned->pasids, link)
        nest_binding_invalidate_second(binding, 0, 0);
        vtd_work_refill(nest->vtd);
        commit_device(assigned);
    }
}

static int insert_range(struct vtd_nest *nest, const struct viommu_memory_range *range)
{
    struct viommu_memory_range *grown =
        realloc(nest->ranges, (nest->range_count + 1) * sizeof(*grown));
    size_t at = 0;

    if (!grown)
        return -ENOMEM;
    nest->ranges = grown;
    while (at < nest->range_count && grown[at].gpa < range->gpa)
        at++;
    memmove(grown + at + 1, grown + at, (nest->range_count - at) * sizeof(*grown));
    grown[at] = *range;
    nest->range_count++;
    return 0;
}

static int memory_added(struct memory_listener *listener, const struct viommu_memory_range *range,
                        struct viommu_error *error)
{
    struct vtd_nest *nest = (struct vtd_nest *)listener;
    int ret;

    pthread_mutex_lock(&nest->vtd->lock);
    ret = insert_range(nest, range);
    pthread_mutex_unlock(&nest->vtd->lock);
    return ret ? error_set(error, ret, "no memory for a range") : 0;
}

/* Not before: the range may hold the tables themselves. */
static void memory_published(struct memory_listener *listener)
{
    struct vtd_nest *nest = (struct vtd_nest *)listener;

    pthread_mutex_lock(&nest->vtd->lock);
    sync_shadows(nest);
    pthread_mutex_unlock(&nest->vtd->lock);
}

static void memory_removed(struct memory_listener *listener,
                           const struct viommu_memory_range *range)
{
    struct vtd_nest *nest = (struct vtd_nest *)listener;
    struct vtd_assigned *assigned;
    size_t at = 0;

    pthread_mutex_lock(&nest->vtd->lock);
    while (at < nest->range_count && nest->ranges[at].gpa != range->gpa)
        at++;
    if (at < nest->range_count) {
        memmove(nest->ranges + at, nest->ranges + at + 1,
                (nest->range_count - at - 1) * sizeof(nest->ranges[0]));
        nest->range_count--;
        sync_shadows(nest);
        TAILQ_FOREACH(assigned, &nest->devices, link)
        nest_check_leftovers(assigned);
    }
    pthread_mutex_unlock(&nest->vtd->lock);
}

static void free_nest(struct vtd_nest *nest)
{
    nest_requests_destroy(nest);
    free(nest->ranges);
    free(nest);
}

int vtd_nest_create(struct vtd *vtd)
{
    struct vtd_nest *nest = calloc(1, sizeof(*nest));
    int ret;

    if (!nest)
        return -ENOMEM;
    nest->vtd = vtd;
    ret = nest_requests_create(nest);
    if (ret) {
        free(nest);
        return ret;
    }
    nest->listener.add = memory_added;
    nest->listener.remove = memory_removed;
    nest->listener.published = memory_published;
    TAILQ_INIT(&nest->devices);
    vtd->nest = nest;
    ret = memory_listener_register(vtd->options.memory, &nest->listener, NULL);
    if (ret)
        free_nest(nest);
    return ret;
}

void vtd_nest_destroy(struct vtd *vtd)
{
    struct vtd_nest *nest = vtd->nest;
    struct vtd_assigned *assigned;

    pthread_mutex_lock(&vtd->lock);
    while ((assigned = TAILQ_FIRST(&nest->devices)))
        remove_device(assigned); /* NOLINT(clang-analyzer-unix.Malloc): it leaves the list */
    pthread_mutex_unlock(&vtd->lock);
    memory_listener_unregister(vtd->options.memory, &nest->listener);
    free_nest(nest);
}
