/* SPDX-License-Identifier: MIT */
/*
 * Interrupt posting (VT-d 5.0, 5.2): an entry in posted format names a descriptor in guest memory;
 * the interrupt becomes a bit there, and perhaps a notification.
 *
 * Hardware changes the descriptor as one thing, while it owns the cache line. Here the request's
 * bit comes first and the decision to notify after it, each atomic: software that sees ON finds the
 * bit, and software that takes the bit before ON is set gets a notification too many, as it does
 * from other CPUs that post in this order.
 */
#include <errno.h>

#include "model/vtd/fault_codes.h"
#include "model/vtd/interrupt.h"
#include "model/vtd/irte.h"
#include "model/vtd/register_map.h"

/* How often a guest may change the control word between our look and our change. */
#define TRIES 64

static uint64_t descriptor_address(const uint64_t irte[2])
{
    return field_get(VTD_IRTE_PDA_HIGH, irte[1]) << 32 | field_get(VTD_IRTE_PDA_LOW, irte[0])
                                                             << VTD_PID_SHIFT;
}

/* 9.11: quadwords 5 to 7 are reserved altogether. */
static uint32_t check(const struct vtd *vtd, uint64_t gpa)
{
    uint64_t pid[VTD_PID_SIZE / 8];

    if (memory_read_once(vtd->options.memory, gpa, pid, sizeof(pid)))
        return VTD_FAULT_PID_ACCESS;
    if (pid[VTD_PID_CONTROL / 8] & VTD_PID_RESERVED || pid[5] || pid[6] || pid[7])
        return VTD_FAULT_PID_RESERVED;
    return VTD_FAULT_NONE;
}

/* 5.2.3: set ON, and notify, unless it is set already, or SN is and nothing is urgent. Negative
 * when the descriptor cannot be written; else *control is the word that decided. */
static int decide(const struct vtd *vtd, uint64_t gpa, bool urgent, uint64_t *control, bool *notify)
{
    int ret = memory_load64(vtd->options.memory, gpa, control);

    for (unsigned int tries = 0; !ret && tries < TRIES; tries++) {
        *notify = !(*control & VTD_PID_ON) && (urgent || !(*control & VTD_PID_SN));
        if (!*notify)
            return 0;
        ret = memory_cmpxchg64(vtd->options.memory, gpa, control, *control | VTD_PID_ON);
        if (ret != -EAGAIN)
            return ret;
        ret = 0;
    }
    /* It changed all the time: a notification too many does no harm, one too few does. */
    if (!ret)
        ret = memory_fetch_or64(vtd->options.memory, gpa, VTD_PID_ON, control);
    *notify = true;
    return ret;
}

static void notification(struct interrupt_job *job, uint64_t control)
{
    uint32_t destination = (uint32_t)field_get(VTD_PID_NDST, control);
    struct viommu_interrupt *out = job->out;

    out->outcome = VIOMMU_INTERRUPT_NOTIFIED;
    out->delivery_mode = VIOMMU_INTERRUPT_FIXED;
    out->vector = (uint8_t)field_get(VTD_PID_NV, control);
    out->destination = job->mode & VTD_IRTA_EIME
                           ? destination
                           : (uint32_t)field_get(VTD_PID_NDST_XAPIC, destination);
    vtd_interrupt_compose(out);
}

uint32_t vtd_posted_resolve(struct vtd *vtd, struct interrupt_job *job)
{
    uint64_t gpa = descriptor_address(job->irte);
    uint8_t vector = (uint8_t)field_get(VTD_IRTE_V, job->irte[0]);
    uint32_t reason = check(vtd, gpa);
    uint64_t old, control;
    bool notify;

    if (reason)
        return reason;
    job->out->outcome = VIOMMU_INTERRUPT_POSTED;
    job->out->address = 0;
    job->out->data = 0;
    if (job->request->flags & VIOMMU_INTERRUPT_LOOKUP)
        return VTD_FAULT_NONE;
    if (memory_fetch_or64(vtd->options.memory, gpa + vector / 64 * 8, BIT64(vector % 64), &old) ||
        decide(vtd, gpa + VTD_PID_CONTROL, job->irte[0] & VTD_IRTE_URG, &control, &notify))
        return VTD_FAULT_PID_ACCESS;
    if (notify)
        notification(job, control);
    return VTD_FAULT_NONE;
}
