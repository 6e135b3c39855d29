/* SPDX-License-Identifier: MIT */
/* Assigned devices of a unit: what an invalidation means for what they are attached to. */
#include "model/vtd/nest.h"

#include <stdlib.h>

#include "base/bits.h"
#include "base/log.h"
#include "model/vtd/fault_codes.h"

void nest_for_each_binding(struct vtd_assigned *assigned, nest_binding_fn *fn,
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

void nest_drop_blocked_pasids(struct vtd_assigned *assigned)
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
    nest_for_each_binding(assigned, reread, NULL);
    nest_drop_blocked_pasids(assigned);
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
    nest_for_each_binding(assigned, mark, what);
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
            nest_for_each_binding(assigned, pages_changed, what);
    }
}

static void flush(struct nest_binding *binding, const struct vtd_invalidation *what)
{
    (void)what;
    nest_binding_flush(binding);
}

void nest_commit_device(struct vtd_assigned *assigned)
{
    if (assigned->lost)
        return;
    settle(assigned);
    if (assigned->scan)
        scan_pasids(assigned);
    assigned->scan = false;
    settle(assigned);
    nest_for_each_binding(assigned, flush, NULL);
    nest_drop_blocked_pasids(assigned);
    nest_collect(assigned);
}

void vtd_nest_commit(struct vtd *vtd)
{
    struct vtd_assigned *assigned;

    TAILQ_FOREACH(assigned, &vtd->nest->devices, link)
    nest_commit_device(assigned);
}

void nest_replay_device(struct vtd_assigned *assigned)
{
    nest_for_each_binding(assigned, mark, NULL);
    assigned->scan = nest_pasid_count(assigned) != 0;
}

void vtd_nest_replay(struct vtd *vtd)
{
    struct vtd_assigned *assigned;

    TAILQ_FOREACH(assigned, &vtd->nest->devices, link)
    nest_replay_device(assigned);
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
