/* SPDX-License-Identifier: MIT */
/*
 * Interrupt remapping (VT-d 5.0, chapter 5).
 *
 * There is no interrupt entry cache: each request reads its entry, which costs no more than finding
 * it in a cache would. What an invalidation still has to do is to wait for requests under way, and
 * to tell the embedder, whose routes are a cache of ours.
 */
#include "model/vtd/interrupt.h"
#include "base/rcu.h"
#include "model/vtd/fault_codes.h"
#include "model/vtd/irte.h"
#include "model/vtd/register_map.h"

struct format {
    uint64_t reserved[2];
    bool (*invalid)(const struct interrupt_job *job); /* more that is reserved; NULL: nothing */
    uint32_t (*resolve)(struct vtd *vtd, struct interrupt_job *job); /* a fault reason, or 0 */
};

/* What reaches the local APICs; as KVM takes it, with DST 31:8 in address bits 63:40.
 */
void vtd_interrupt_compose(struct viommu_interrupt *out)
{
    out->address = VTD_IRQ_RANGE | (uint64_t)(out->destination & 0xff) << 12 |
                   (uint64_t)(out->destination & 0xffffff00) << 32 |
                   (out->redirection_hint ? 1u << 3 : 0) | (out->logical ? 1u << 2 : 0);
    out->data = out->vector | (uint32_t)out->delivery_mode << 8 | 1u << 14 /* assert */ |
                (out->level ? 1u << 15 : 0);
}

/* 9.9: delivery modes that there are not; destinations beyond 8 bits, without EIM. */
static bool remapped_invalid(const struct interrupt_job *job)
{
    static const uint16_t delivery_modes =
        1u << VIOMMU_INTERRUPT_FIXED | 1u << VIOMMU_INTERRUPT_LOWEST_PRIORITY |
        1u << VIOMMU_INTERRUPT_SMI | 1u << VIOMMU_INTERRUPT_NMI | 1u << VIOMMU_INTERRUPT_INIT |
        1u << VIOMMU_INTERRUPT_EXTINT;
    uint64_t irte = job->irte[0];

    return !(delivery_modes >> field_get(VTD_IRTE_DLM, irte) & 1) ||
           (!(job->mode & VTD_IRTA_EIME) && irte & VTD_IRTE_DST & ~VTD_IRTE_DST_XAPIC);
}

/* 9.9 */
static uint32_t resolve_remapped(struct vtd *vtd, struct interrupt_job *job)
{
    struct viommu_interrupt *out = job->out;
    uint64_t irte = job->irte[0];

    (void)vtd;
    out->delivery_mode = (uint8_t)field_get(VTD_IRTE_DLM, irte);
    out->destination = (uint32_t)(job->mode & VTD_IRTA_EIME ? field_get(VTD_IRTE_DST, irte)
                                                            : field_get(VTD_IRTE_DST_XAPIC, irte));
    out->vector = (uint8_t)field_get(VTD_IRTE_V, irte);
    out->logical = irte & VTD_IRTE_DM;
    out->redirection_hint = irte & VTD_IRTE_RH;
    out->level = irte & VTD_IRTE_TM;
    out->outcome = VIOMMU_INTERRUPT_REMAPPED;
    vtd_interrupt_compose(out);
    return VTD_FAULT_NONE;
}

enum {
    REMAPPED,
    POSTED
};
static const struct format formats[] = {
    [REMAPPED] = {{~(VTD_IRTE_P | VTD_IRTE_FPD | VTD_IRTE_DM | VTD_IRTE_RH | VTD_IRTE_TM |
                     VTD_IRTE_DLM | VTD_IRTE_AVAIL | VTD_IRTE_V | VTD_IRTE_DST),
                   ~(VTD_IRTE_SID | VTD_IRTE_SQ | VTD_IRTE_SVT)},
                  remapped_invalid,
                  resolve_remapped},
    [POSTED] = {{~(VTD_IRTE_P | VTD_IRTE_FPD | VTD_IRTE_AVAIL | VTD_IRTE_URG | VTD_IRTE_IM |
                   VTD_IRTE_V | VTD_IRTE_PDA_LOW),
                 ~(VTD_IRTE_SID | VTD_IRTE_SQ | VTD_IRTE_SVT | VTD_IRTE_PDA_HIGH)},
                NULL,
                vtd_posted_resolve},
};

/*
 * 5.1.3: an entry is one thing of 128 bits, that software changes as such. It was, when its second
 * quadword is the same before and after the first was read; a guest that changes it all the time
 * gets some of what it wrote.
 */
static int read_entry(const struct vtd *vtd, uint64_t gpa, uint64_t irte[2])
{
    const struct viommu_memory *memory = vtd->options.memory;
    uint64_t again = 0;
    int ret = memory_load64(memory, gpa + 8, &irte[1]);

    for (unsigned int tries = 0; !ret && tries < 4; tries++) {
        ret = memory_load64(memory, gpa, &irte[0]);
        if (!ret)
            ret = memory_load64(memory, gpa + 8, &again);
        if (ret || again == irte[1])
            break;
        irte[1] = again;
    }
    return ret;
}

/* 9.9, SVT */
static bool source_is_valid(const struct vtd *vtd, const struct interrupt_job *job)
{
    static const uint16_t compared[] = {0xffff, 0xfffb, 0xfff9, 0xfff8}; /* by SQ */
    uint16_t from = job->request->requester_id;
    uint16_t sid = (uint16_t)field_get(VTD_IRTE_SID, job->irte[1]);

    if (vtd->options.ioapic_any_source && job->request->flags & VIOMMU_INTERRUPT_IOAPIC)
        return true;
    switch (field_get(VTD_IRTE_SVT, job->irte[1])) {
    case VTD_SVT_ID:
        return !((from ^ sid) & compared[field_get(VTD_IRTE_SQ, job->irte[1])]);
    case VTD_SVT_BUS:
        return from >> 8 >= sid >> 8 && from >> 8 <= (sid & 0xff);
    default:
        return true;
    }
}

static uint32_t resolve_entry(struct vtd *vtd, struct interrupt_job *job)
{
    const struct format *format;
    uint64_t gpa = (job->mode & VTD_IRTA_IRTA) + (uint64_t)job->index * VTD_IRTE_SIZE;

    if (read_entry(vtd, gpa, job->irte))
        return VTD_FAULT_IRTE_ACCESS;
    if (!(job->irte[0] & VTD_IRTE_P))
        return VTD_FAULT_IRTE_NOT_PRESENT;
    format = &formats[job->irte[0] & VTD_IRTE_IM && vtd->options.posted ? POSTED : REMAPPED];
    if (job->irte[0] & format->reserved[0] || job->irte[1] & format->reserved[1] ||
        field_get(VTD_IRTE_SVT, job->irte[1]) == VTD_SVT_RESERVED ||
        (format->invalid && format->invalid(job)))
        return VTD_FAULT_IRTE_RESERVED;
    if (!source_is_valid(vtd, job))
        return VTD_FAULT_IRTE_SOURCE;
    return format->resolve(vtd, job);
}

/* 5.1.3: the index, and the entry there. */
static uint32_t resolve_remappable(struct vtd *vtd, struct interrupt_job *job)
{
    const struct viommu_interrupt_request *request = job->request;

    job->index = (uint32_t)(field_get(VTD_IRQ_HANDLE, request->address) |
                            field_get(VTD_IRQ_HANDLE_15, request->address) << 15);
    if (request->address & VTD_IRQ_SHV) {
        if (request->data & VTD_IRQ_DATA_RESERVED)
            return VTD_FAULT_IRQ_RESERVED;
        job->index += (uint32_t)(request->data & VTD_IRQ_SUBHANDLE);
    }
    job->out->index = (uint16_t)job->index;
    if (job->index >> (field_get(VTD_IRTA_S, job->mode) + 1))
        return VTD_FAULT_IRQ_INDEX;
    return resolve_entry(vtd, job);
}

/* Returns a fault reason, or 0 with the outcome filled in. */
static uint32_t resolve(struct vtd *vtd, struct interrupt_job *job)
{
    const struct viommu_interrupt_request *request = job->request;

    job->mode = __atomic_load_n(&vtd->interrupt, __ATOMIC_ACQUIRE);
    *job->out = (struct viommu_interrupt){
        .outcome = VIOMMU_INTERRUPT_PASSED, .address = request->address, .data = request->data};
    if (!(job->mode & VTD_INTERRUPT_ENABLED) ||
        (request->address & VTD_IRQ_RANGE_MASK) != VTD_IRQ_RANGE)
        return VTD_FAULT_NONE;
    if (request->address & VTD_IRQ_FORMAT)
        return resolve_remappable(vtd, job);
    /* 5.1.2.1: EIME blocks the compatibility format, whatever CFI says. */
    return job->mode & VTD_IRTA_EIME || !(job->mode & VTD_INTERRUPT_COMPATIBILITY)
               ? VTD_FAULT_IRQ_COMPATIBILITY
               : VTD_FAULT_NONE;
}

static void block(const struct interrupt_job *job, uint32_t reason)
{
    *job->out = (struct viommu_interrupt){
        .outcome = VIOMMU_INTERRUPT_BLOCKED, .index = (uint16_t)job->index, .reason = reason};
}

/* 7.1: what is qualified is not recorded when the entry says so. */
static void report(struct vtd *vtd, const struct interrupt_job *job, uint32_t reason)
{
    const struct vtd_fault fault = {
        .interrupt = true,
        .address = field_prep(VTD_FRCD_IDX, job->index),
        .pasid = VIOMMU_PASID_NONE,
        .requester_id = job->request->requester_id,
        .reason = (uint8_t)reason,
        .qualified = vtd_fault_code(reason)->qualified,
        .disabled = job->irte[0] & VTD_IRTE_FPD,
    };

    vtd_count(vtd, interrupts_blocked);
    vtd_fault_record(vtd, &fault);
}

void vtd_interrupt_send(struct viommu *viommu, const struct viommu_interrupt_request *request,
                        viommu_interrupt_deliver_fn *deliver, void *opaque,
                        struct viommu_interrupt *out)
{
    struct interrupt_job job = {.request = request, .out = out};
    bool lookup = request->flags & VIOMMU_INTERRUPT_LOOKUP;
    struct vtd *vtd = vtd_of(viommu);
    uint32_t reason;

    rcu_enter();
    reason = resolve(vtd, &job);
    if (reason)
        block(&job, reason);
    else if (deliver && !lookup && viommu_interrupt_delivers(out))
        deliver(opaque, out);
    rcu_exit();
    if (lookup)
        return;
    if (reason)
        report(vtd, &job, reason);
    else if (out->outcome == VIOMMU_INTERRUPT_REMAPPED)
        vtd_count(vtd, interrupts_remapped);
    else if (out->outcome != VIOMMU_INTERRUPT_PASSED)
        vtd_count(vtd, interrupts_posted);
}

void vtd_interrupt_set_listener(struct viommu *viommu, viommu_interrupt_changed_fn *changed,
                                void *opaque)
{
    struct vtd *vtd = vtd_of(viommu);

    pthread_mutex_lock(&vtd->lock);
    vtd->interrupt_changed = changed;
    vtd->interrupt_opaque = opaque;
    pthread_mutex_unlock(&vtd->lock);
}

void vtd_interrupt_invalidate(struct vtd *vtd, uint32_t first, uint32_t end)
{
    if (!vtd->options.interrupt_remapping)
        return;
    if (vtd->stale_end == 0 || first < vtd->stale_first)
        vtd->stale_first = first;
    if (end > vtd->stale_end)
        vtd->stale_end = end;
}

void vtd_interrupt_commit(struct vtd *vtd)
{
    uint32_t first = vtd->stale_first, end = vtd->stale_end;

    if (!end)
        return;
    vtd->stale_end = 0;
    rcu_wait();
    if (vtd->interrupt_changed)
        vtd->interrupt_changed(vtd->interrupt_opaque, first, end - first);
}

/* Nothing of the mode or table before is in use when this returns. */
static void set_mode(struct vtd *vtd, bool enabled, bool compatibility)
{
    uint64_t mode = vtd->interrupt_table | (enabled ? VTD_INTERRUPT_ENABLED : 0) |
                    (compatibility ? VTD_INTERRUPT_COMPATIBILITY : 0);

    __atomic_store_n(&vtd->interrupt, mode, __ATOMIC_RELEASE);
    vtd_interrupt_invalidate(vtd, 0, VTD_INTERRUPT_ENTRIES);
    vtd_interrupt_commit(vtd);
}

/* 11.4.4.1. IRE and CFI are levels, SIRTP is an order; it invalidates, as CAP.ESIRTPS says. */
void vtd_interrupt_command(struct vtd *vtd, uint64_t command)
{
    const uint32_t levels = (uint32_t)(VTD_GSTS_IRES | VTD_GSTS_CFIS);
    bool pointer = command & VTD_GCMD_SIRTP;
    uint32_t wanted = (uint32_t)command & levels;

    if (!vtd->options.interrupt_remapping ||
        (!pointer && (vtd_get32(vtd, VTD_GSTS) & levels) == wanted))
        return;
    if (pointer) {
        vtd_change32(vtd, VTD_GSTS, (uint32_t)VTD_GSTS_IRTPS, 0);
        vtd->interrupt_table = vtd_get64(vtd, VTD_IRTA);
    }
    if (wanted & VTD_GSTS_IRES & ~vtd_get32(vtd, VTD_GSTS))
        vtd_count(vtd, remapping_enables);
    set_mode(vtd, wanted & VTD_GSTS_IRES, wanted & VTD_GSTS_CFIS);
    vtd_change32(vtd, VTD_GSTS, levels, wanted | (pointer ? (uint32_t)VTD_GSTS_IRTPS : 0));
}

void vtd_interrupt_reset(struct vtd *vtd)
{
    vtd->interrupt_table = 0;
    set_mode(vtd, false, false);
}
