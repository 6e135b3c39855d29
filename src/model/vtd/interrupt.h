/* SPDX-License-Identifier: MIT */
/* One interrupt request on its way, as interrupt.c and posted.c share it. */
#ifndef VTD_INTERRUPT_H
#define VTD_INTERRUPT_H

#include "model/vtd/vtd.h"

struct interrupt_job {
    const struct viommu_interrupt_request *request;
    uint64_t mode; /* vtd->interrupt of this moment */
    uint32_t index;
    uint64_t irte[2];
    struct viommu_interrupt *out;
};

/* Make address and data of the decoded fields. */
void vtd_interrupt_compose(struct viommu_interrupt *out);

/* posted.c: an entry in posted format. A fault reason, or 0 with the outcome. */
uint32_t vtd_posted_resolve(struct vtd *vtd, struct interrupt_job *job);

#endif
