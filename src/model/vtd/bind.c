/* SPDX-License-Identifier: MIT */
/* One table entry of the guest -> what the device is attached to on the host. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/rcu.h"
#include "host/host.h"
#include "model/vtd/fault_codes.h"
#include "model/vtd/nest.h"
#include "model/vtd/sanitize.h"

void nest_binding_init(struct nest_binding *binding, struct vtd_assigned *assigned, uint32_t pasid,
                       enum nest_state state)
{
    memset(binding, 0, sizeof(*binding));
    binding->assigned = assigned;
    binding->pasid = pasid;
    binding->target.state = state;
}

uint32_t nest_pasid_count(const struct vtd_assigned *assigned)
{
    unsigned int bits = viommu_host_device_info(assigned->device)->max_pasid_log2;

    if (bits > assigned->vtd->options.pasid_bits)
        bits = assigned->vtd->options.pasid_bits;
    return bits ? UINT32_C(1) << bits : 0;
}

uint32_t nest_hwpt_flags(const struct vtd_assigned *assigned)
{
    return nest_pasid_count(assigned) ? VIOMMU_HOST_HWPT_PASID : 0;
}

/* Work */

bool nest_work(struct vtd *vtd, uint64_t units)
{
    if (units <= vtd->work) {
        vtd->work -= units;
        return true;
    }
    vtd->work = 0;
    return false;
}

int nest_work_exceeded(struct viommu_error *error)
{
    return error_set(error, -E2BIG,
                     "the guest asks for more at a time than the %llu units of work that one "
                     "register write may cost; larger pages, fewer mappings or smaller batches "
                     "of invalidations help",
                     (unsigned long long)VTD_WORK_MAX);
}

/* What a valid entry asks for, and why it cannot be had. */
static void wish_of_entry(const struct vtd_assigned *assigned, struct nest_wish *wish)
{
    static const enum nest_state states[] = {
        [VTD_PGTT_FIRST] = NEST_BOUND,
        [VTD_PGTT_SECOND] = NEST_SHADOWED,
        [VTD_PGTT_NESTED] = NEST_BOUND,
        [VTD_PGTT_PASS_THROUGH] = NEST_PARENT,
    };

    wish->state = states[wish->entry.pgtt];
    if (wish->state == NEST_BOUND && !viommu_host_device_is_nest_parent(assigned->device))
        wish->refusal = "the host has no nesting parent for a first-stage table";
    if (wish->refusal)
        wish->state = NEST_BLOCKED;
}

void nest_binding_wish(const struct nest_binding *binding, struct nest_wish *wish)
{
    const struct vtd_assigned *assigned = binding->assigned;
    const struct vtd *vtd = assigned->vtd;
    uint64_t translation = __atomic_load_n(&vtd->translation, __ATOMIC_ACQUIRE);

    memset(wish, 0, sizeof(*wish));
    if (!(translation & VTD_TRANSLATION_ENABLED)) {
        wish->state = binding->pasid == VIOMMU_PASID_NONE ? NEST_PARENT : NEST_BLOCKED;
        return;
    }
    rcu_enter();
    vtd_entry_find(vtd, translation, assigned->requester_id, binding->pasid, &wish->entry);
    rcu_exit();
    if (wish->entry.status != VIOMMU_DMA_OK)
        return;
    wish->by_entry = true;
    wish_of_entry(assigned, wish);
}

static bool same_first_stage(const struct vtd_entry *a, const struct vtd_entry *b)
{
    return a->first_root == b->first_root && a->first_levels == b->first_levels &&
           a->first_sre == b->first_sre && a->first_wpe == b->first_wpe &&
           a->first_eafe == b->first_eafe;
}

static bool same_second_stage(const struct vtd_entry *a, const struct vtd_entry *b)
{
    return a->second_root == b->second_root && a->second_levels == b->second_levels &&
           a->legacy == b->legacy;
}

/* Whether the entry that is in force and a new one give the host the same. */
static bool same_table(const struct nest_binding *binding, const struct nest_wish *wish)
{
    const struct vtd_entry *old = &binding->entry;
    const struct vtd_entry *new = &wish->entry;

    if (binding->target.state != wish->state)
        return false;
    if (wish->state == NEST_BOUND)
        return same_first_stage(old, new) && old->pgtt == new->pgtt &&
               (new->pgtt != VTD_PGTT_NESTED || same_second_stage(old, new));
    return wish->state != NEST_SHADOWED || same_second_stage(old, new);
}

/* Host objects */

static bool destroyed(struct vtd_assigned *assigned, uint32_t id, enum viommu_log_level level)
{
    struct viommu_error error;

    if (!viommu_host_destroy_object(viommu_host_device_host(assigned->device), id, &error))
        return true;
    log_limited(&assigned->vtd->options.log, &assigned->vtd->nest_limit, level,
                "%s: object %u of the host stays for now: %s", assigned->name, id, error.message);
    return false;
}

static void destroy(struct vtd_assigned *assigned, uint32_t id, bool filled)
{
    struct nest_leftover *leftover;

    if (destroyed(assigned, id, VIOMMU_LOG_WARNING))
        return;
    leftover = calloc(1, sizeof(*leftover));
    if (!leftover)
        return;
    leftover->id = id;
    leftover->filled = filled;
    TAILQ_INSERT_TAIL(&assigned->leftovers, leftover, link);
}

void nest_destroy_object(struct vtd_assigned *assigned, uint32_t id)
{
    destroy(assigned, id, false);
}

static bool emptied(struct vtd_assigned *assigned, uint32_t id, enum viommu_log_level level)
{
    struct viommu_error error;

    if (!viommu_host_ioas_unmap(viommu_host_device_host(assigned->device), id, 0, UINT64_MAX, NULL,
                                &error))
        return true;
    log_limited(&assigned->vtd->options.log, &assigned->vtd->nest_limit, level,
                "%s: IOAS %u of the host, which nothing uses any more, stays filled for now: %s",
                assigned->name, id, error.message);
    return false;
}

void nest_destroy_ioas(struct vtd_assigned *assigned, uint32_t id)
{
    destroy(assigned, id, !emptied(assigned, id, VIOMMU_LOG_WARNING));
}

/* In the order in which they came: a HWPT before the IOAS below it. */
void nest_collect(struct vtd_assigned *assigned)
{
    struct nest_leftover *leftover, *next;

    for (leftover = TAILQ_FIRST(&assigned->leftovers); leftover; leftover = next) {
        next = TAILQ_NEXT(leftover, link);
        leftover->filled = leftover->filled && !emptied(assigned, leftover->id, VIOMMU_LOG_DEBUG);
        if (!destroyed(assigned, leftover->id, VIOMMU_LOG_DEBUG))
            continue;
        TAILQ_REMOVE(&assigned->leftovers, leftover, link);
        free(leftover);
    }
}

static int alloc_nested(const struct vtd_assigned *assigned, const struct vtd_entry *entry,
                        uint32_t parent, uint32_t *hwpt, struct viommu_error *error)
{
    struct viommu_host_vtd_s1 data = {
        .flags = (entry->first_sre ? VIOMMU_HOST_VTD_S1_SRE : 0) |
                 (entry->first_eafe ? VIOMMU_HOST_VTD_S1_EAFE : 0) |
                 (entry->first_wpe ? VIOMMU_HOST_VTD_S1_WPE : 0),
        .pgtbl_addr = entry->first_root,
        .addr_width = 12 + 9 * entry->first_levels,
    };
    struct viommu_host_hwpt_options options = {
        .size = sizeof(options),
        .device_id = viommu_host_device_id(assigned->device),
        .parent_id = parent,
        .flags = nest_hwpt_flags(assigned) |
                 (nest_requests_queue(assigned) ? VIOMMU_HOST_HWPT_FAULT_QUEUE : 0),
        .data_type = VIOMMU_HOST_DATA_VTD_S1,
        .data = &data,
        .data_length = sizeof(data),
        .fault_queue_id = nest_requests_queue(assigned),
    };

    return viommu_host_hwpt_alloc(viommu_host_device_host(assigned->device), &options, hwpt, error);
}

/*
 * Make what a wish needs, from the bottom: the table of guest memory or a mirror of the guest's
 * second stage, and what is nested on it. *hwpt is what to attach to.
 */
static int target_make(const struct nest_binding *binding, const struct nest_wish *wish,
                       struct nest_target *target, uint32_t *hwpt, struct viommu_error *error)
{
    struct vtd_assigned *assigned = binding->assigned;
    int ret = 0;

    *target = (struct nest_target){.state = wish->state};
    *hwpt = viommu_host_device_parent_hwpt(assigned->device);
    if (wish->state == NEST_SHADOWED ||
        (wish->state == NEST_BOUND && wish->entry.pgtt == VTD_PGTT_NESTED)) {
        if (wish->copy)
            ret = vtd_shadow_copy(&target->shadow, binding->target.shadow, wish->copy, error);
        else
            ret = vtd_shadow_create(&target->shadow, assigned, &wish->entry, error);
        if (ret)
            return ret;
        *hwpt = vtd_shadow_hwpt(target->shadow);
    }
    if (wish->state == NEST_BOUND) {
        ret = alloc_nested(assigned, &wish->entry, *hwpt, &target->hwpt, error);
        *hwpt = target->hwpt;
    }
    if (ret && target->shadow)
        vtd_shadow_destroy(target->shadow);
    return ret;
}

static void target_drop(struct vtd_assigned *assigned, struct nest_target *target)
{
    if (target->state == NEST_BOUND)
        nest_destroy_object(assigned, target->hwpt);
    if (target->shadow)
        vtd_shadow_destroy(target->shadow);
    *target = (struct nest_target){.state = NEST_BLOCKED};
}

static void pending_clear(struct nest_pending *pending)
{
    pending->count = 0;
    pending->everything = false;
}

/* The binding is attached to `target` now: what it was attached to before goes. */
static void target_replace(struct nest_binding *binding, const struct nest_target *target)
{
    struct nest_target old = binding->target;

    binding->target = *target;
    pending_clear(&binding->first);
    pending_clear(&binding->second);
    if (old.state == NEST_BOUND) {
        vtd_count(binding->assigned->vtd, nested_unbinds);
        nest_requests_forget(binding->assigned, binding->pasid);
    }
    target_drop(binding->assigned, &old);
}

/* Blocking */

static void mark_blocked(struct nest_binding *binding)
{
    const struct nest_target nothing = {.state = NEST_BLOCKED};

    binding->by_entry = false;
    if (binding->target.state == NEST_BLOCKED)
        return;
    vtd_count(binding->assigned->vtd, blocks);
    target_replace(binding, &nothing);
}

/* The last resort, which cannot fail: the host takes the device away, all its PASIDs included. */
static void lose(struct vtd_assigned *assigned)
{
    struct nest_binding *binding;

    nest_requests_ignore(assigned);
    host_device_unbind(assigned->device);
    assigned->lost = true;
    mark_blocked(&assigned->rid);
    TAILQ_FOREACH(binding, &assigned->pasids, link)
    mark_blocked(binding);
}

void nest_check_leftovers(struct vtd_assigned *assigned)
{
    struct nest_leftover *leftover;

    TAILQ_FOREACH(leftover, &assigned->leftovers, link)
    {
        if (leftover->filled)
            break;
    }
    if (!leftover || assigned->lost)
        return;
    log_message(&assigned->vtd->options.log, VIOMMU_LOG_ERROR,
                "%s is taken away from the host until it is plugged again: IOAS %u of it cannot be "
                "emptied of memory that is being removed from the guest",
                assigned->name, leftover->id);
    lose(assigned);
}

void nest_binding_block(struct nest_binding *binding)
{
    struct vtd_assigned *assigned = binding->assigned;
    struct viommu_error error;
    int ret = -1;

    if (binding->target.state == NEST_BLOCKED)
        return;
    for (int attempt = 0; ret && attempt < 2; attempt++)
        ret = viommu_host_device_detach(assigned->device, binding->pasid, &error);
    if (!ret) {
        mark_blocked(binding);
        return;
    }
    log_message(&assigned->vtd->options.log, VIOMMU_LOG_ERROR,
                "%s cannot be detached and is taken away from the host instead, "
                "until it is plugged again: %s",
                assigned->name, error.message);
    lose(assigned);
}

/* The entry is valid and the guest expects it to work; it does not. */
static void tell_guest(const struct nest_binding *binding, const struct vtd_entry *entry)
{
    const struct vtd_assigned *assigned = binding->assigned;
    uint8_t reason = entry->legacy ? VTD_FAULT_CONTEXT_INVALID : VTD_FAULT_SM_PASID_INVALID;
    struct vtd_fault fault = {
        .pasid = binding->pasid,
        .requester_id = assigned->requester_id,
        .reason = reason,
        .access = VIOMMU_DMA_READ,
        .type = VIOMMU_DMA_UNTRANSLATED,
        .qualified = vtd_fault_code(reason)->qualified,
        .disabled = entry->fault_disable,
        .of_dma = true,
    };

    vtd_fault_record(assigned->vtd, &fault);
}

static void refuse(struct nest_binding *binding, const struct vtd_entry *entry, const char *why)
{
    struct vtd_assigned *assigned = binding->assigned;
    struct vtd *vtd = assigned->vtd;
    struct vtd_entry copy = *entry; /* may be the binding's own, which blocking forgets */

    nest_binding_block(binding);
    vtd_count(vtd, nested_bind_failures);
    tell_guest(binding, &copy);
    log_limited(&vtd->options.log, &vtd->nest_limit, VIOMMU_LOG_WARNING,
                "%s is blocked, domain %u cannot be given to the host: %s", assigned->name,
                copy.domain, why);
}

/* Binding */

static void attached(struct nest_binding *binding, const struct nest_wish *wish,
                     const struct nest_target *target)
{
    struct vtd *vtd = binding->assigned->vtd;

    target_replace(binding, target);
    binding->entry = wish->entry;
    binding->by_entry = wish->by_entry;
    if (wish->state == NEST_BOUND)
        vtd_count(vtd, nested_binds);
    if (wish->state == NEST_PARENT)
        vtd_count(vtd, parent_attaches);
}

/* Make the new, attach it, and only then let go of the old. On failure nothing has changed. */
static int bind_once(struct nest_binding *binding, const struct nest_wish *wish,
                     struct viommu_error *error)
{
    struct vtd_assigned *assigned = binding->assigned;
    struct nest_target target;
    uint32_t hwpt;
    int ret;

    /* Guest physical addresses again, translation being off: that is the way back, and is done. */
    if (wish->by_entry && !nest_work(assigned->vtd, NEST_WORK_BIND))
        return nest_work_exceeded(error);
    ret = target_make(binding, wish, &target, &hwpt, error);
    if (ret)
        return ret;
    ret = viommu_host_device_attach(assigned->device, binding->pasid, hwpt, error);
    if (ret)
        target_drop(assigned, &target);
    else
        attached(binding, wish, &target);
    return ret;
}

/*
 * Hosts may have fault queues and yet refuse a table that delivers to one: Linux does so when the
 * table is allocated, or when it is attached. Of the two errors, the first one tells more.
 */
static int try_bind(struct nest_binding *binding, const struct nest_wish *wish,
                    struct viommu_error *error)
{
    struct vtd_assigned *assigned = binding->assigned;
    struct viommu_error second;
    int ret = bind_once(binding, wish, error);

    if (wish->state != NEST_BOUND || !nest_requests_queue(assigned) ||
        (ret != -EOPNOTSUPP && ret != -ENODEV && ret != -EINVAL))
        return ret;
    nest_requests_suspend(assigned, true);
    if (bind_once(binding, wish, &second)) {
        nest_requests_suspend(assigned, false);
        return ret;
    }
    log_message(&assigned->vtd->options.log, VIOMMU_LOG_WARNING,
                "%s: its page requests do not reach the guest: %s", assigned->name, error->message);
    return 0;
}

static void rebind(struct nest_binding *binding, const struct nest_wish *wish)
{
    struct viommu_error error;

    if (try_bind(binding, wish, &error))
        refuse(binding, &wish->entry, error.message);
}

/* Pieces of a mirror, or of ranges, that the sanitizer is told of. */
struct told {
    const struct nest_binding *binding;
    unsigned int budget;
};

static void tell_shadowed(uint64_t iova, uint64_t length, void *opaque)
{
    struct told *told = opaque;
    const struct vtd_assigned *assigned = told->binding->assigned;

    vtd_sanitize_shadowed(assigned->vtd, assigned->requester_id, told->binding->pasid, iova, length,
                          &told->budget);
}

/* What the host has of a second stage: all, or what was invalidated. */
static void tell_mirrored(const struct nest_binding *binding, const struct nest_pending *ranges)
{
    struct told told = {binding, SANITIZE_SHADOWED_MAX};

    if (!binding->assigned->vtd->sanitizer || binding->target.state != NEST_SHADOWED)
        return;
    if (!ranges || ranges->everything)
        vtd_shadow_for_each(binding->target.shadow, tell_shadowed, &told);
    for (unsigned int i = 0; ranges && !ranges->everything && i < ranges->count; i++)
        tell_shadowed(ranges->entries[i].addr, ranges->entries[i].npages << 12, &told);
}

static void tell_sanitizer(const struct nest_binding *binding)
{
    const struct vtd_assigned *assigned = binding->assigned;

    if (binding->by_entry && binding->target.state != NEST_BLOCKED)
        vtd_sanitize_bound(assigned->vtd, assigned->requester_id, binding->pasid, &binding->entry);
}

void nest_binding_apply(struct nest_binding *binding, const struct nest_wish *wish)
{
    if (binding->assigned->lost)
        return;
    if (wish->refusal) {
        refuse(binding, &wish->entry, wish->refusal);
    } else if (wish->state == NEST_BLOCKED) {
        nest_binding_block(binding);
    } else if (same_table(binding, wish)) {
        nest_binding_invalidate_first(binding, 0, 0, false);
        nest_binding_invalidate_second(binding, 0, 0);
        binding->entry = wish->entry;
        binding->by_entry = wish->by_entry;
    } else {
        rebind(binding, wish);
        tell_mirrored(binding, NULL);
    }
    tell_sanitizer(binding);
}

/* Invalidations */

static void pending_add(struct nest_pending *pending, uint64_t address, uint64_t length,
                        bool leaf_only)
{
    if (pending->everything)
        return;
    if (!length || pending->count == NEST_PENDING_MAX) {
        pending->everything = true;
        pending->count = 1;
        pending->entries[0] =
            (struct viommu_host_vtd_s1_invalidate){.addr = 0, .npages = UINT64_MAX};
        return;
    }
    pending->entries[pending->count++] = (struct viommu_host_vtd_s1_invalidate){
        .addr = address,
        .npages = length >> 12,
        .flags = leaf_only ? VIOMMU_HOST_VTD_INV_LEAF : 0,
    };
}

void nest_binding_invalidate_first(struct nest_binding *binding, uint64_t address, uint64_t length,
                                   bool leaf_only)
{
    if (binding->target.state == NEST_BOUND)
        pending_add(&binding->first, address, length, leaf_only);
}

/* What adjoins the range before it is one with it: what the guest maps piece by piece, too. */
static bool pending_extend(struct nest_pending *pending, uint64_t address, uint64_t length)
{
    struct viommu_host_vtd_s1_invalidate *last;
    uint64_t end = address + length;

    if (!pending->count || pending->everything || !length || end < address)
        return false;
    last = &pending->entries[pending->count - 1];
    if (address < last->addr || address > last->addr + (last->npages << 12))
        return false;
    if (end > last->addr + (last->npages << 12))
        last->npages = (end - last->addr) >> 12;
    return true;
}

void nest_binding_invalidate_second(struct nest_binding *binding, uint64_t address, uint64_t length)
{
    if (binding->target.shadow && !pending_extend(&binding->second, address, length))
        pending_add(&binding->second, address, length, false);
}

/* One call; when it stops half-way, one more for the rest. */
static int flush_nested(struct nest_binding *binding, struct viommu_error *error)
{
    struct viommu_host *host = viommu_host_device_host(binding->assigned->device);
    struct nest_pending *pending = &binding->first;
    uint32_t done = 0;
    int ret = 0;

    if (!pending->count)
        return 0;
    if (!nest_work(binding->assigned->vtd, NEST_WORK_CALL + pending->count))
        return nest_work_exceeded(error);
    for (int attempt = 0; attempt < 2 && done < pending->count; attempt++) {
        uint32_t left = pending->count - done;
        uint32_t count = left;

        ret = viommu_host_invalidate(host, binding->target.hwpt, VIOMMU_HOST_DATA_VTD_S1,
                                     pending->entries + done, sizeof(pending->entries[0]), &count,
                                     error);
        if (count > left || (ret && count == left))
            count = 0; /* a call that failed has not done everything */
        done += count;
        __atomic_fetch_add(&binding->assigned->vtd->stats.nested_invalidations, count,
                           __ATOMIC_RELAXED);
    }
    if (!ret && done < pending->count)
        ret = error_set(error, -EIO, "the host did %u of %u invalidations", done, pending->count);
    return ret;
}

static int move_to_copy(struct nest_binding *binding, const struct nest_pending *ranges,
                        struct viommu_error *error)
{
    const struct nest_wish wish = {
        .state = binding->target.state, .by_entry = true, .copy = ranges, .entry = binding->entry};

    return try_bind(binding, &wish, error);
}

/*
 * Moving to another mirror leaves nothing pending, for neither stage. When there is no room for a
 * second mirror, what stays mapped beside what changed is missed shortly.
 */
static int flush_shadow(struct nest_binding *binding, struct viommu_error *error)
{
    struct nest_pending ranges;
    int ret;

    if (!binding->second.count)
        return 0;
    ranges = binding->second;
    ret = vtd_shadow_sync(binding->target.shadow, &ranges, false, error);
    if (ret == -ESTALE && move_to_copy(binding, &ranges, error))
        ret = vtd_shadow_sync(binding->target.shadow, &ranges, true, error);
    else if (ret == -ESTALE)
        ret = 0;
    if (!ret)
        tell_mirrored(binding, &ranges);
    return ret;
}

void nest_binding_flush(struct nest_binding *binding)
{
    struct viommu_error error;
    int ret = flush_shadow(binding, &error);

    if (!ret)
        ret = flush_nested(binding, &error);
    pending_clear(&binding->first);
    pending_clear(&binding->second);
    if (ret)
        refuse(binding, &binding->entry, error.message);
}
