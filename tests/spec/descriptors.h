/* SPDX-License-Identifier: MIT */
/* Invalidation descriptors as a guest writes them. */
#ifndef SPEC_DESCRIPTORS_H
#define SPEC_DESCRIPTORS_H

#include "guest_tables.h"
#include "model/vtd/register_map.h"

#define QUEUE  UINT64_C(0x20000) /* where the tests put the queue, and the status of waits */
#define STATUS UINT64_C(0x70000)

#define WAIT         UINT64_C(5)
#define WAIT_IF      (UINT64_C(1) << 4)
#define WAIT_SW      (UINT64_C(1) << 5)
#define WAIT_FN      (UINT64_C(1) << 6)
#define WAIT_DATA(n) ((uint64_t)(n) << 32)
#define DOMAIN(n)    ((uint64_t)(n) << 16)
#define PASID(n)     ((uint64_t)(n) << 32)
#define G(n)         ((uint64_t)(n) << 4)

static inline void wait_for(struct machine *machine, uint32_t data)
{
    machine_submit(machine, WAIT | WAIT_SW | WAIT_DATA(data), STATUS);
}

static inline bool queue_stopped(struct machine *machine)
{
    return read32(machine, VTD_FSTS) & VTD_FSTS_IQE;
}

#endif
